"""The models: facades over specs, weights and engines."""

from lstmcore.models.files import load_model, model_from_json
from lstmcore.models.functional import Model
from lstmcore.models.sequential import Sequential

__all__ = ["Model", "Sequential", "load_model", "model_from_json"]
