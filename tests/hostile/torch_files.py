"""Files of PyTorch made by hand, so that they can say what PyTorch never would. No test of this imports torch."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

SPEC = {
    "class_name": "Sequential",
    "config": {
        "name": "m",
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "x"}},
            {"class_name": "Dense", "config": {"units": 2, "name": "dense"}},
        ],
    },
}
WEIGHT, BIAS = struct.pack("<6f", *range(6)), struct.pack("<2f", 7, 8)


def text(value: str) -> bytes:
    """A text on the stack."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """A number on the stack, however large."""
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(path: str) -> bytes:
    """A name on the stack, by GLOBAL."""
    module, _, last = path.rpartition(".")
    return b"c" + module.encode() + b"\n" + last.encode() + b"\n"


def sizes(values: Any) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key: str = "0", count: int = 6, kind: str = "torch.FloatStorage", place: str = "cpu") -> bytes:
    """A storage by persistent id."""
    return b"(" + text("storage") + name(kind) + text(key) + text(place) + integer(count) + b"tQ"


def tensor(
    stored: bytes, offset: int = 0, shape: Any = (2, 3), stride: Any = (3, 1), more: bytes = b"\x89}", made: str = ""
) -> bytes:
    """A tensor by torch._utils._rebuild_tensor_v2."""
    called = name(made or "torch._utils._rebuild_tensor_v2")
    return called + b"(" + stored + integer(offset) + sizes(shape) + sizes(stride) + more + b"tR"


def entries(*pairs: tuple[str, bytes]) -> bytes:
    """A dict on the stack."""
    return b"}(" + b"".join(text(key) + value for key, value in pairs) + b"u"


GOOD_BIAS = tensor(storage("1", 2), shape=(2,), stride=(1,))


def state(weight: bytes = b"", *more: tuple[str, bytes]) -> bytes:
    """A whole pickle: the state_dict of an nn.Linear(3, 2)."""
    return b"\x80\x02" + entries(("weight", weight or tensor(storage())), ("bias", GOOD_BIAS), *more) + b"."


def archive(path: Path, pickle: bytes, members: Any = (), packed: int = zipfile.ZIP_STORED, root: str = "m") -> Path:
    """A file as torch.save makes them."""
    with zipfile.ZipFile(path, "w", packed) as file:
        file.writestr(f"{root}/data.pkl", pickle)
        for member, data in {"data/0": WEIGHT, "data/1": BIAS, "version": b"3\n", **dict(members)}.items():
            if data is not None:
                file.writestr(f"{root}/{member}", data)
    return path


MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
SYSTEM = b"\x80\x02" + entries(("protocol_version", integer(1001)), ("little_endian", b"\x88")) + b"."


def legacy(
    pickle: bytes = b"", keys: Any = ("0", "1"), numbers: Any = None, system: bytes = SYSTEM, version: int = 1001
) -> bytes:
    """A file as torch.save made them before 1.6."""
    listed = b"\x80\x02](" + b"".join(map(text, keys)) + b"e."
    numbers = [struct.pack("<q", 6) + WEIGHT, struct.pack("<q", 2) + BIAS] if numbers is None else numbers
    return MAGIC + b"\x80\x02" + integer(version) + b"." + system + (pickle or state()) + listed + b"".join(numbers)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A .safetensors with any header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(shape: Any = (2, 3), offsets: Any = (0, 24), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


GOOD = {"weight": entry(), "bias": entry((2,), (24, 32))}
