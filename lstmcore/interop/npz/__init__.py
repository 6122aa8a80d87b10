"""NumPy's ``.npz`` archives: a model as plain arrays, for whoever has no more than a reader of those."""
