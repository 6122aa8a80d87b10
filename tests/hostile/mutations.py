"""Files altered at random, each by a seed: bits and pieces of the whole, or of what lies in it.

What has checksums gets right ones again, so that the readers behind them are reached.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 7, 255, 65536, 2**31 - 1, 2**31, 2**32, 2**40, 2**53, 2**63, -(2**63), 2**100),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, "", "x", "8", "../x", "/etc/passwd", "http://localhost:9/x", "a\0b", "\ud800"),
    *([], {}, [[]], [None], [1], [None, None, 3], {"class_name": "Lambda", "config": {}}, {"module": "os"}),
    *(
        "Sequential",
        "Functional",
        "Model",
        "LSTM",
        "GRU",
        "RNN",
        "Bidirectional",
        "TimeDistributed",
        "Dense",
        "Reshape",
    ),
    *("relu", "float64", "float16", "int32", "channels_first", "eval", "os.system", "Glorot" * 20_000),
]


def bits(data: bytes, generator: random.Random) -> bytes:
    """Some bits turned over."""
    made = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8, 64))):
        if made:
            made[generator.randrange(len(made))] ^= 1 << generator.randrange(8)
    return bytes(made)


def pieces(data: bytes, generator: random.Random) -> bytes:
    """A piece gone, doubled, elsewhere, or replaced by a number that is at a limit."""
    made = bytearray(data)
    if not made:
        return b"\0"
    start, size = generator.randrange(len(made)), generator.choice((1, 2, 4, 8, 40, 400))
    piece = made[start : start + size]
    if generator.random() < 0.3:
        piece = bytearray(generator.choice((b"\xff", b"\0", b"\x80", b"\x7f"))) * size
        made[start : start + size] = piece
        return bytes(made)
    if generator.random() < 0.5:
        del made[start : start + size]
    at = generator.randrange(len(made) + 1)
    made[at:at] = piece * generator.choice((0, 1, 2, 50))
    return bytes(made)


def text(data: bytes, generator: random.Random) -> bytes:
    """JSON with a value in it replaced, removed, doubled, renamed or put elsewhere."""
    try:
        value = json.loads(data)
    except ValueError:
        return bits(data, generator)
    for _ in range(generator.choice((1, 1, 2, 4))):
        value = _altered(value, generator)
    return json.dumps(value).encode()


def _altered(value: Any, generator: random.Random) -> Any:
    places = list(_places(value))
    if not places:
        return generator.choice(VALUES)
    outer, key = generator.choice(places)
    other, there = generator.choice(places)
    kind = generator.randrange(8)
    if kind < 4:
        outer[key] = json.loads(json.dumps(generator.choice(VALUES)))
    elif kind == 4:
        del outer[key]
    elif kind == 5:
        outer[key] = json.loads(json.dumps(other[there]))
    elif kind == 6 and isinstance(outer, dict):
        outer[str(generator.choice(VALUES))[:100]] = outer.pop(key)
    elif isinstance(outer, list):
        outer.extend(json.loads(json.dumps([outer[key]])) * generator.choice((1, 3, 30)))
    else:
        outer[key] = [outer[key]]
    return value


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def any_of(data: bytes, generator: random.Random) -> bytes:
    return generator.choice((bits, pieces, text if data[:1] in b"{[" and data else bits))(data, generator)


def zipped(data: bytes, generator: random.Random) -> bytes:
    """A member of an archive altered, its checksum right; or gone, renamed, packed, twice."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = [[info.filename, file.read(info), zipfile.ZIP_STORED] for info in file.infolist()]
    chosen = generator.choice(members)
    inner = {".h5": h5, "": pickled, ".pkl": pickled, ".npy": npy}.get(Path(chosen[0]).suffix, any_of)
    kind = generator.randrange(12)
    if kind == 0:
        members.remove(chosen)
    elif kind == 1:
        chosen[0] = generator.choice(("../x", "x" * 600, members[0][0], chosen[0].upper(), "a\\b"))
    elif kind == 2:
        chosen[2] = zipfile.ZIP_DEFLATED
    else:
        chosen[1] = inner(chosen[1], generator)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content, method in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            file.writestr(info, content)
    return made.getvalue()


def npy(data: bytes, generator: random.Random) -> bytes:
    """The header of an array altered, or a text that is held as one."""
    begin = 10 + int.from_bytes(data[8:10], "little")
    head, rest = data[:begin], data[begin:]
    if rest[:1] == b"{" and generator.random() < 0.8:
        rest = text(rest, generator)
        return (
            head[:10]
            + f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(rest)},), }}".encode().ljust(begin - 11)
            + b"\n"
            + rest
        )
    return (bits(head, generator) if generator.random() < 0.7 else pieces(head, generator)) + rest


PICKLE = b"()}]NQRbst.aeud\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94l0\x80\x8a\x8b\x95"


def pickled(data: bytes, generator: random.Random) -> bytes:
    """Instructions put between others, at random."""
    if generator.random() < 0.5 or not data.startswith(b"\x80"):
        return bits(data, generator) if generator.random() < 0.5 else pieces(data, generator)
    made = bytearray(data)
    for _ in range(generator.choice((1, 2, 5))):
        at = generator.randrange(2, len(made) + 1)
        made[at : at + generator.randrange(3)] = bytes(generator.choices(PICKLE, k=generator.randrange(1, 4)))
    return bytes(made)


def h5(data: bytes, generator: random.Random) -> bytes:
    """A text in an attribute altered, or a dataset made anew; a quarter of the time, bits."""
    import h5py
    import numpy as np

    if generator.random() < 0.25:
        return bits(data, generator)
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        places: list[Any] = []
        file.visititems(lambda name, thing: places.append(thing) and None)
        told = [(thing, key) for thing in [file, *places] for key in thing.attrs]
        arrays = [thing for thing in places if isinstance(thing, h5py.Dataset)]
        if told and generator.random() < 0.6:
            thing, key = generator.choice(told)
            value = thing.attrs[key]
            raw = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None
            new = (
                text(raw, generator)[:60_000].replace(b"\0", b"")
                if raw is not None
                else generator.choice((b"x", 3, [b"a", b"a"], [""]))
            )
            del thing.attrs[key]
            thing.attrs[key] = new
        elif arrays:
            array = generator.choice(arrays)
            name, shape = array.name, generator.choice((array.shape, array.shape[::-1], (3,), (), (0,), (2**20, 2**20)))
            dtype = generator.choice(("f2", "f4", ">f4", "f8", "i4", "S3", "c8", "?"))
            del file[name]
            if generator.random() < 0.8:
                chunks = tuple(min(n, 7) or 1 for n in shape) if shape and max(shape) > 1000 else None
                made = file.create_dataset(name, shape, dtype, chunks=chunks)
                if chunks is None and dtype[-2:] in ("f2", "f4", "f8"):
                    made[...] = np.ones(shape)
    return buffer.getvalue()


def header(data: bytes, generator: random.Random) -> bytes:
    """The header of a ``.safetensors``, its length and the digests of its metadata right."""
    from lstmcore.weights.header import metadata_digest

    size = int.from_bytes(data[:8], "little")
    fields = json.loads(data[8 : 8 + size])
    told = fields.get("__metadata__", {})
    if "model" in told and generator.random() < 0.7:
        told["model"] = text(told["model"].encode(), generator).decode()
    else:
        fields = json.loads(text(json.dumps(fields).encode(), generator))
    told = fields.get("__metadata__") if isinstance(fields, dict) else None
    if isinstance(told, dict) and isinstance(told.get("digests"), str) and generator.random() < 0.9:
        try:
            digests = {**json.loads(told["digests"]), "__metadata__": metadata_digest(told)}
            told["digests"] = json.dumps(digests)
        except (ValueError, TypeError, AttributeError):
            pass
    raw = json.dumps(fields).encode()
    return struct.pack("<Q", len(raw)) + raw + data[8 + size :]


def c(data: bytes, generator: random.Random) -> bytes:
    """The description in a header of C."""
    begin = data.rindex(b"/* lstmcore.c 1") + len(b"/* lstmcore.c 1")
    end = data.rindex(b"lstmcore.c end")
    raw = text(data[begin:end].replace(b"\n", b""), generator)
    return data[:begin] + b"\n" + raw + b"\n" + data[end:]


def proto(data: bytes, generator: random.Random) -> bytes:
    """A field somewhere in an ONNX model set, removed or doubled."""
    import onnx

    model = onnx.load_from_string(data)
    for _ in range(generator.choice((1, 1, 3))):
        message: Any = model
        while True:
            inner = [v for _, v in message.ListFields()]
            messages = [
                m for v in inner for m in (v if hasattr(v, "__len__") and not isinstance(v, (str, bytes)) else [v])
            ]
            messages = [m for m in messages if hasattr(m, "ListFields")]
            if not messages or generator.random() < 0.15:
                break
            message = generator.choice(messages)
        _set(message, generator)
    return bytes(model.SerializeToString())


def _set(message: Any, generator: random.Random) -> None:
    field = generator.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    repeated = hasattr(value, "append") or hasattr(value, "add")
    numbers = (0, 1, -1, 3, 9, 2**31 - 1, 2**62, -(2**62))
    texts = ("", "x", "LSTM", "Loop", "If", "ConstantOfShape", "Range", "Tile", "Expand", "reverse", "Tanh")
    pool: dict[int, Any] = {1: (0.0, 1e308), 2: (0.0, 1e30), 3: numbers, 9: texts, 12: (b"", b"\0" * 8, b"\xff" * 8)}
    pool[5] = (0, 1, 7, 9, 2**31 - 1, -1)
    if field.message_type is not None:
        if repeated and len(value):
            kind = generator.randrange(3)
            if kind == 0:
                del value[generator.randrange(len(value))]
            else:
                value.add().CopyFrom(generator.choice(list(value)))
        else:
            message.ClearField(field.name)
        return
    if field.type in pool or field.type in (14, 13, 4):
        chosen = generator.choice(pool.get(field.type, (0, 1, 2)))
        with contextlib.suppress(ValueError):  # an enumeration that has no such number
            if repeated:
                value.extend([chosen] * generator.choice((1, 1, 100)))
            else:
                setattr(message, field.name, chosen)


STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    **dict.fromkeys(("own", "loaded", "taken", "state", "checkpoint"), header),
    **dict.fromkeys(("keras", "pytorch", "archive", "npz"), zipped),
    **dict.fromkeys(("hdf5", "weights_hdf5", "listed", "listed_weights"), h5),
    **dict.fromkeys(("onnx", "graph"), proto),
    "legacy": pickled,
    "json": text,
    "c": c,
}


def altered(format: str, data: bytes, seed: int) -> bytes:
    """The file of that seed: bits of the whole, pieces of it, or what its format is made of."""
    generator = random.Random(f"{format} {seed}")
    ways = (bits, pieces, *[STRUCTURED.get(format, any_of)] * 3)
    return generator.choice(ways)(data, generator)


def flipped(data: bytes, seed: int) -> bytes:
    return bits(data, random.Random(seed))
