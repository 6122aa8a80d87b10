"""The models: facades over specs, weights and engines."""

from lstmcore.models.files import load_model, model_from_json
from lstmcore.models.sequential import Sequential

__all__ = ["Sequential", "load_model", "model_from_json"]
