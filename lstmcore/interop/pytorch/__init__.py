"""PyTorch: models written as a ``state_dict`` and as a module's source, and read back."""
