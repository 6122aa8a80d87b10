"""What a file that is no weight file looks like, by its first bytes."""

from __future__ import annotations

import re

HEAD = 512
"""How many of its first bytes are enough."""

_IMPORT = "Give it to lc.import_model."
_IMPORT_SPEC = "Give it to lc.import_model, with the model whose weights it holds: spec=model."
_FOREIGN = "Read its arrays where it was written, and give them to model.set_weights."
_ZIP = rb"PK\x03\x04.{26}"

# the first that matches
_LOOKS: tuple[tuple[str, bytes, str, str], ...] = (
    ("hdf5", rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes .h5", _IMPORT),
    ("keras", _ZIP + rb"(metadata|config)\.json", "a .keras archive", _IMPORT),
    ("safetensors", rb".{2}[\x00-\x1f]\x00{5}\{", "a .safetensors file", _IMPORT_SPEC),
    (
        "pt",
        _ZIP + rb"[^/]+/(data\.pkl|constants\.pkl|code/|data/|\.data/|\.format_version|byteorder|version)",
        "a PyTorch archive",
        _IMPORT_SPEC,
    ),
    ("npz", _ZIP + rb"[^\x00\x93]+?\.npy", "a NumPy .npz archive", _IMPORT),
    ("zip", rb"PK[\x03\x05\x07]", "a zip archive", _FOREIGN),
    ("npy", rb"\x93NUMPY", "a NumPy .npy file", _FOREIGN),
    (
        "pytorch",
        rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.",
        "a PyTorch file, as 1.5 and older write",
        _IMPORT_SPEC,
    ),
    ("pickle", rb"\x80[\x02-\x05]", "a Python pickle, as older PyTorch versions write", _FOREIGN),
    ("onnx", rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", "an ONNX model", _IMPORT),
    ("tar", rb".{257}ustar", "a tar archive, as the first versions of PyTorch wrote", _FOREIGN),
    ("gzip", rb"\x1f\x8b", "a gzip file", "Unpack it first."),
    ("gguf", rb"GGUF", "a GGUF file", "lstmcore does not read those."),
    ("tflite", rb".{4}TFL3", "a TensorFlow Lite model", "lstmcore does not read those."),
    ("lfs", rb"version https://git-lfs", "a Git LFS pointer", "Fetch the file itself with `git lfs pull`."),
    ("html", rb"\s*<(!doctype|!DOCTYPE|html|HTML)", "a web page", "Was the download an error page? Fetch it again."),
    (
        "json",
        rb"\s*\{[\t\n\r\x20-\x7e]*\Z",
        "a text file",
        "model_from_json and Sequential.from_config take descriptions.",
    ),
    ("text", rb"[\t\n\r\x20-\x7e]+\Z", "a text file", "model_from_json and Sequential.from_config take descriptions."),
)


def looks_like(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with ``head`` seems to be, and what to do about it; None if unknown."""
    matches = ((what, advice) for _, form, what, advice in _LOOKS if re.match(form, head[:HEAD], re.DOTALL))
    return next(matches, None)


def kind_of(head: bytes) -> str | None:
    """The short name of what a file that begins with ``head`` seems to be, such as "hdf5"; None if unknown."""
    return next((kind for kind, form, *_ in _LOOKS if re.match(form, head[:HEAD], re.DOTALL)), None)
