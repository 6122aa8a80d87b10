"""Files of other programs to models and back: `import_model`, `export_model`. A row in `formats.FORMATS` for each."""

from lstmcore.interop.formats import export_model, import_model

__all__ = ["export_model", "import_model"]
