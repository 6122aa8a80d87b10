"""Keras' files, of every generation: their description to ours, their arrays to our weights. Without Keras."""
