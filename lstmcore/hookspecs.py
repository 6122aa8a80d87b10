"""What a plugin implements, and the mark to implement it with.

A backend plugin is a module named in the entry-point group ``lstmcore.backends``; the entry point's
name is the backend's name. The module imports no framework: it says who it is, and how to load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pluggy

from lstmcore.contract import API_VERSION, Backend

__all__ = ["API_VERSION", "BackendPlugin", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("lstmcore")
hookimpl = pluggy.HookimplMarker("lstmcore")


@dataclass(frozen=True)
class BackendPlugin:
    """Who a backend is, known without importing its framework.

    name          the same as the entry point's
    load          imports the framework and returns the Backend class
    requires      importable modules it needs, e.g. ``("torch",)``; looked for, not imported
    distribution  the package whose version is shown; "" for the plugin's own
    install       the command that adds what is missing
    api_version   the contract it was written for: `API_VERSION` at the time
    """

    name: str
    load: Callable[[], type[Backend]]
    api_version: int
    requires: tuple[str, ...] = ()
    distribution: str = ""
    install: str = ""


class Hooks:
    """The hooks."""

    @hookspec
    def lstmcore_backend(self) -> BackendPlugin:  # type: ignore[empty-body]
        """The backend that this module provides."""
