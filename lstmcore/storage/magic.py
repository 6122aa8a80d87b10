"""What a file that is no weight file looks like, by its first bytes."""

from __future__ import annotations

import re

HEAD = 512
"""How many of its first bytes are enough."""

_FOREIGN = "This version reads only its own files: read the arrays there, and give them to model.set_weights."
_ZIP = rb"PK\x03\x04.{26}"

# the first that matches
_LOOKS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes .h5", _FOREIGN),
    (_ZIP + rb"(metadata|config)\.json", "a .keras archive", _FOREIGN),
    (_ZIP + rb"[^/]+/(data\.pkl|\.format_version|byteorder)", "a PyTorch archive", _FOREIGN),
    (_ZIP + rb"[^/]+\.npy", "a NumPy .npz archive", _FOREIGN),
    (rb"PK[\x03\x05\x07]", "a zip archive", _FOREIGN),
    (rb"\x93NUMPY", "a NumPy .npy file", _FOREIGN),
    (rb"\x80[\x02-\x05]", "a Python pickle, as older PyTorch versions write", _FOREIGN),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", "an ONNX model", _FOREIGN),
    (rb"\x1f\x8b", "a gzip file", "Unpack it first."),
    (rb"GGUF", "a GGUF file", "lstmcore does not read those."),
    (rb".{4}TFL3", "a TensorFlow Lite model", "lstmcore does not read those."),
    (rb"version https://git-lfs", "a Git LFS pointer", "Fetch the file itself with `git lfs pull`."),
    (rb"\s*<(!doctype|!DOCTYPE|html|HTML)", "a web page", "Was the download an error page? Fetch it again."),
    (rb"[\t\n\r\x20-\x7e]+\Z", "a text file", "model_from_json and Sequential.from_config take descriptions."),
)


def looks_like(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with ``head`` seems to be, and what to do about it; None if unknown."""
    matches = ((what, advice) for form, what, advice in _LOOKS if re.match(form, head[:HEAD], re.DOTALL))
    return next(matches, None)
