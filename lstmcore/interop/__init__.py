"""Files of other programs to models: `import_model`. A row in `formats.FORMATS` for each format."""

from lstmcore.interop.formats import import_model

__all__ = ["import_model"]
