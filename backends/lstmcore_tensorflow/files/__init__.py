"""Files that TensorFlow itself runs: SavedModel folders and TFLite models."""

import importlib.util
import os

from lstmcore.errors import MissingLibraryError

if importlib.util.find_spec("tensorflow") is None:
    raise MissingLibraryError("this takes TensorFlow, which is not installed: pip install 'lstmcore[tensorflow]'")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start-up notes are not the user's business
