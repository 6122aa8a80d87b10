"""Files that TensorFlow itself runs: SavedModel folders and TFLite models."""
