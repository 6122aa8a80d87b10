"""The house rules: who may import whom, what the core may not name, and what importing it may not load."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "lstmcore"

# Rooms from left to right: nothing may import from a room further right. Rooms on one line may not
# import each other unless the order on the line says so.
ROOMS = """
    errors
    naming tables random
    axes activations
    ops
    program
    contract
    configs
    orthogonal
    initializers regularizers constraints
    layers
    storage weights
    hookspecs
    plugins
    models
    runtime
    datasets
    cli
"""
ORDER = ROOMS.split()
