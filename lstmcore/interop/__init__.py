"""Models to and from the files of other frameworks: one room a format."""
