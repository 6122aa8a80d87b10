"""C: a model as one header of C99 for those who have no framework, its weights as arrays and itself as functions."""
