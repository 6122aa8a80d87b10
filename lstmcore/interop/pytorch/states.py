"""The state_dict in a file: its tensors by name, described before any number of them is read."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, UnsafeFileError, UnsupportedFileError, near
from lstmcore.interop.pytorch.described import Storage, Tensor, contiguous
from lstmcore.interop.pytorch.pickled import ADVICE, MAX_BYTES, read_pickle
from lstmcore.storage.archive import Archive
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import FOREIGN_DTYPES, MAX_TENSORS, is_text, read_container, show
from lstmcore.storage.magic import HEAD, kind_of
from lstmcore.storage.opening import Window, open_regular

Array = NDArray[Any]
SPEC, VECTORS = "lstmcore_spec", "lstmcore_vectors"
"""What lstmcore says beside the tensors of a file that it wrote: the model's description, and its test vectors."""
"""Under which lstmcore's own exports say what model they are: JSON, in the metadata or beside the state_dict."""

_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "model_state")
_SPREAD, _ROOM, _BLOCK = 8, 1 << 20, 1 << 20
_PREFIXES = ("module.", "_orig_mod.")
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


# (storage, whether its checksum is to be compared first) -> its bytes, and the checksum that is left to compare
Numbers = Callable[[Storage, bool], tuple[Window, int | None]]


@dataclass(frozen=True)
class State:
    """The tensors of a state_dict by name, without what DataParallel and torch.compile put before names.

    ``ordered`` tells whether they stand in the order in which modules were made: a .safetensors is sorted. ``key`` is
    where in a checkpoint the state_dict is, ``beside`` what else is in it, ``spec`` a description by lstmcore,
    ``vectors`` its test vectors.
    """

    name: str
    tensors: Mapping[str, Tensor]
    ordered: bool
    numbers: Numbers
    key: str | None = None
    beside: tuple[str, ...] = ()
    prefix: str = ""
    spec: str | None = None
    vectors: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0

    def read(self, name: str) -> Array:
        """The numbers of a tensor, in its shape; the array is nobody else's."""
        tensor = self.tensors[name]
        storage = tensor.storage
        if _is_whole(tensor):
            flat = np.empty(storage.size, _widened(storage.dtype))
            at = 0
            for block in self.blocks(name):
                flat[at : at + block.size] = block.reshape(-1)
                at += block.size
            return flat.reshape(tensor.shape)
        first, last = _span(tensor)
        if (last - first) > _SPREAD * tensor.size + _ROOM:
            raise UnsafeFileError(
                f"{self.name}: {show(name)} of shape {show(list(tensor.shape))} lies scattered over {last - first} "
                "numbers; save it as tensor.contiguous()."
            )
        raw = np.empty((last - first) * storage.itemsize, np.uint8)
        window = self.numbers(storage, True)[0]
        window.seek(first * storage.itemsize)
        _fill(window, raw, self.name)
        flat = _numbers(raw, tensor.dtype)
        steps = tuple(step * flat.itemsize for step in tensor.stride)
        return np.array(np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False))

    def blocks(self, name: str) -> Iterator[Array]:
        """The numbers of a tensor, some rows at a time, each block to be used before the next is asked for.

        The checksum is compared after the last.
        """
        tensor = self.tensors[name]
        if not _is_whole(tensor) or not tensor.shape:
            yield self.read(name) if tensor.shape else self._single(tensor)
            return
        window, crc = self.numbers(tensor.storage, False)
        rows, *rest = tensor.shape
        width = math.prod(rest) * tensor.storage.itemsize
        step = max(_BLOCK // max(width, 1), 1)
        buffer = np.empty(min(step, rows) * width, np.uint8)
        found = 0
        for start in range(0, rows, step):
            count = min(step, rows - start)
            raw = buffer[: count * width]
            _fill(window, raw, self.name)
            found = found if crc is None else zlib.crc32(raw.data, found)
            yield _numbers(raw, tensor.dtype).reshape(count, *rest)
        if crc is not None and found != crc:
            raise DamagedFileError(f"{self.name}: the numbers of {show(name)} are not what was written.")

    def _single(self, tensor: Tensor) -> Array:
        raw = np.empty(tensor.storage.itemsize, np.uint8)
        _fill(self.numbers(tensor.storage, True)[0], raw, self.name)
        return _numbers(raw, tensor.dtype)


def _is_whole(tensor: Tensor) -> bool:
    """Whether it is all of its storage, row by row."""
    return tensor.size == tensor.storage.size and tensor.stride == contiguous(tensor.shape)


def _widened(dtype: str) -> str:
    return "float32" if dtype == "bfloat16" else dtype


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first number of a tensor in its storage, and the one after its last."""
    if not tensor.size:
        return tensor.offset, tensor.offset
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    return tensor.offset, tensor.offset + reach + 1


def _fill(window: Window, target: Array, name: str) -> None:
    view = memoryview(target.data)
    while len(view):
        count = window.readinto(view)
        if not count:
            raise DamagedFileError(f"{name} was cut short.")
        view = view[count:]


def _numbers(raw: Array, dtype: str) -> Array:
    """Little-endian bytes as numbers; bfloat16 as the float32 of the same value."""
    if dtype == "bfloat16":
        widened: Array = (raw.view("<u2").astype("<u4") << 16).view("<f4")
        return widened.astype(np.float32, copy=False)
    little: Array = raw.view(np.dtype(dtype).newbyteorder("<"))
    return little.astype(np.dtype(dtype), copy=False)


@contextmanager
def open_state(path: PathLike, key: str | None = None) -> Iterator[State]:
    """The state_dict in a file, open as long as the block lasts; ``key`` says where in a checkpoint it is.

    Raises FileError where there is none, or several.
    """
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        head = file.read(HEAD) or b""
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        opened = _KINDS.get(kind_of(head) or "")
        if opened is None:
            _refuse_kind(head, name)
        yield opened(file, name, size, key)


def _refuse_kind(head: bytes, name: str) -> NoReturn:
    kind = kind_of(head)
    if kind == "pickle":
        raise UnsafeFileError(f"{name} is a Python pickle, and none of torch.save; those are not read. {ADVICE}")
    if kind is None and not head:
        raise DamagedFileError(f"{name} is empty.")
    raise DamagedFileError(f"{name} is no file of torch.save and no .safetensors, or a damaged one.")


# What torch.save writes.


def _zipped(file: Any, name: str, size: int, key: str | None) -> State:
    archive = Archive(file, name)
    roots = [member.removesuffix("data.pkl") for member in archive.members if member.endswith("/data.pkl")]
    if not roots and any(member.endswith("/archive_format") for member in archive.members):
        raise UnsupportedFileError(
            f"{name} is a program of torch.export with its weights, which is not run here. {ADVICE}"
        )
    if len(roots) != 1:
        raise DamagedFileError(f"{name}: it has {len(roots)} members called data.pkl; torch.save writes one.")
    (root,) = roots
    if f"{root}constants.pkl" in archive.members or any(m.startswith(f"{root}code/") for m in archive.members):
        raise UnsupportedFileError(
            f"{name} is a TorchScript archive, a program with its weights, which is not run here. {ADVICE}"
        )
    if f"{root}byteorder" in archive.members and archive.read(f"{root}byteorder", 16) != b"little":
        raise UnsupportedFileError(f"{name} was written on a big-endian machine. Save it again on another.")
    value, end = read_pickle(archive.read(f"{root}data.pkl", MAX_BYTES), name)
    if end != archive.members[f"{root}data.pkl"].size:
        raise DamagedFileError(f"{name}: bytes follow its pickle that belong to nothing.")

    checked: set[str] = set()

    def numbers(storage: Storage, check: bool) -> tuple[Window, int | None]:
        member = f"{root}data/{storage.key}"
        if not check or member in checked:
            return archive.stored(member)
        checked.add(member)
        return archive.open(member, _bytes(storage)), None

    state = _state(name, value, key, numbers, size)
    for storage in {id(t.storage): t.storage for t in state.tensors.values()}.values():
        member = archive.members.get(f"{root}data/{storage.key}")
        if member is None or member.size != _bytes(storage) or member.method != 0:
            has = "is not there" if member is None else f"has {member.size} bytes"
            raise DamagedFileError(
                f"{name}: the storage {show(storage.key)} {has}; its pickle says {_bytes(storage)}, not packed."
            )
    spec, vectors = (_member_text(archive, f"{root}{key}") for key in (SPEC, VECTORS))
    return replace(state, spec=spec or state.spec, vectors=vectors)


def _member_text(archive: Archive, name: str) -> str | None:
    return archive.read(name, MAX_BYTES).decode("utf-8", "replace") if name in archive.members else None


def _bytes(storage: Storage) -> int:
    return storage.size * storage.itemsize


def _legacy(file: Any, name: str, size: int, key: str | None) -> State:
    """What torch.save wrote before 1.6: five pickles, then each storage, its length first."""
    head = file.read(MAX_BYTES) or b""
    values, position = [], 0
    for _ in range(5):
        value, position = read_pickle(head, name, position)
        values.append(value)
    magic, protocol, system, value, keys = values
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
        raise DamagedFileError(f"{name} does not begin as torch.save writes.")
    if system.get("little_endian") is not True:
        raise UnsupportedFileError(f"{name} was written on a big-endian machine. Save it again on another.")
    if not isinstance(keys, list) or not all(isinstance(entry, str) for entry in keys) or len(keys) > MAX_TENSORS:
        raise DamagedFileError(f"{name}: its list of storages is none.")
    places: dict[str, int] = {}

    def numbers(storage: Storage, check: bool) -> tuple[Window, int | None]:
        return Window(file, places[storage.key], _bytes(storage)), None

    state = _state(name, value, key, numbers, size)
    known = {s.key: s for s in _storages(value)}
    for entry in keys:
        if entry not in known or entry in places:
            raise DamagedFileError(f"{name}: the storage {show(entry)} belongs to no tensor.")
        file.seek(position)
        if file.read(8) != known[entry].size.to_bytes(8, "little"):
            raise DamagedFileError(f"{name}: the storage {show(entry)} has not the length that its pickle says.")
        places[entry] = position + 8
        position += 8 + _bytes(known[entry])
    missing = [t.storage.key for t in state.tensors.values() if t.storage.key not in places]
    if missing or position != size:
        what = f"the storage {show(missing[0])} is not there" if missing else f"{size} bytes, not {position}"
        raise DamagedFileError(f"{name} was cut short, or added to: {what}.")
    return state


def _storages(value: Any) -> Iterator[Storage]:
    """The storages of all tensors in nested containers; each container once."""
    waiting, seen = [value], set()
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, Tensor):
            yield thing.storage
        elif isinstance(thing, (dict, list, tuple)) and id(thing) not in seen:
            seen.add(id(thing))
            waiting.extend(thing.values() if isinstance(thing, dict) else thing)


# Which dict it is.


def _state(name: str, value: Any, key: str | None, numbers: Numbers, size: int) -> State:
    found, taken, beside = _chosen(name, value, key)
    spec = value.get(SPEC)
    tensors: dict[str, Tensor] = {}
    for entry, tensor in found.items():
        if isinstance(tensor, Tensor):
            tensors[entry] = tensor
        elif entry != SPEC and not entry.endswith("_extra_state"):
            raise UnsupportedFileError(
                f"{name}: {show(entry)} in its state_dict is no tensor that is read here. {ADVICE}"
            )
    return _stripped(State(name, tensors, True, numbers, taken, beside, spec=_text(spec), size=size))


def _text(spec: Any) -> str | None:
    return spec if isinstance(spec, str) else None


def _is_state(value: Any) -> bool:
    """Whether it is a state_dict: tensors under names, at least one; other things under names may be beside them."""
    named = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    return named and any(isinstance(entry, Tensor) for entry in value.values())


def _chosen(name: str, value: Any, key: str | None) -> tuple[dict[str, Any], str | None, tuple[str, ...]]:
    """The state_dict in what was saved, its key there if it is in another dict, and what else is in that."""
    if not isinstance(value, dict):
        what = f"a single tensor of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise UnsupportedFileError(f"{name} holds {what}; expected a dict of tensors by name. {ADVICE}")
    if key is not None:
        inner = value
        for part in [key] if key in value else key.split("."):
            inner = inner.get(part) if isinstance(inner, dict) else None  # type: ignore[assignment]
        if not _is_state(inner):
            known = [entry for entry in value if isinstance(entry, str)]
            raise UnsupportedFileError(f"{name} has no state_dict under {key!r}.{near(key, known[:100])}")
        return inner, key, _others(value, key)
    candidates = [entry for entry, inner in value.items() if isinstance(entry, str) and _is_state(inner)]
    if _is_state(value) and (len(candidates) != 1 or candidates[0] not in _KEYS):
        if not candidates:
            return value, None, ()
        raise UnsupportedFileError(
            f"{name} has tensors by itself and a state_dict under {', '.join(map(show, candidates[:20]))}: say which "
            "is meant, by key=NAME."
        )
    if len(candidates) > 1:
        raise UnsupportedFileError(
            f"{name} has several state_dicts: {', '.join(map(show, candidates[:20]))}. Say which is meant, such as "
            f"key={candidates[0]!r}."
        )
    if candidates:
        return value[candidates[0]], candidates[0], _others(value, candidates[0])
    return _deeper(name, value)


def _deeper(name: str, value: dict[Any, Any]) -> tuple[dict[str, Any], str | None, tuple[str, ...]]:
    """A state_dict two levels down, as {"model": {"state_dict": ...}}."""
    found = [
        (f"{outer}.{inner}", state)
        for outer, things in value.items()
        if isinstance(outer, str) and isinstance(things, dict) and outer in _KEYS
        for inner, state in things.items()
        if isinstance(inner, str) and _is_state(state)
    ]
    if len(found) == 1:
        return found[0][1], found[0][0], _others(value, found[0][0].partition(".")[0])
    told = ", ".join(show(entry) for entry in list(value)[:20] if isinstance(entry, str)) or "nothing by name"
    raise UnsupportedFileError(f"{name} has no single state_dict: it holds {told}. {ADVICE}")


def _others(value: Mapping[Any, Any], key: str) -> tuple[str, ...]:
    return tuple(entry for entry in value if isinstance(entry, str) and entry not in (key, SPEC))


def _stripped(state: State) -> State:
    """Names as the module had them before it was wrapped; checked, as they will be shown."""
    tensors, prefix = dict(state.tensors), ""
    if not tensors:
        raise UnsupportedFileError(f"{state.name} has no tensors.")
    if len(tensors) > MAX_TENSORS:
        raise UnsafeFileError(f"{state.name} has {len(tensors)} tensors; at most {MAX_TENSORS} are read.")
    for name in tensors:
        if not is_text(name) or not name.isprintable() or len(name) > 512:
            raise UnsafeFileError(f"{state.name}: a tensor is called {show(name)}; expected at most 512 letters.")
    while wrap := next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), ""):
        tensors = {name.removeprefix(wrap): tensor for name, tensor in tensors.items()}
        prefix += wrap
    # a wrapper around a part alone: encoder._orig_mod.lstm.weight_ih_l0
    plain = {name.replace("._orig_mod.", "."): tensor for name, tensor in tensors.items()}
    tensors = plain if len(plain) == len(tensors) else tensors
    return State(**{**vars(state), "tensors": tensors, "prefix": prefix})


# What safetensors writes.


def _safetensors(file: Any, name: str, size: int, key: str | None) -> State:
    if key is not None:
        raise UnsupportedFileError(f"{name}: key= goes with checkpoints of torch.save; a .safetensors has one level.")
    container = read_container(file, name)
    metadata = container.metadata()
    entries = container.entries(FOREIGN_DTYPES)
    places: dict[str, int] = {}
    tensors: dict[str, Tensor] = {}
    for entry, found in entries.items():
        itemsize = FOREIGN_DTYPES[found.file_dtype][1]
        storage = Storage(entry, found.dtype, itemsize, math.prod(found.shape))
        tensors[entry] = Tensor(storage, 0, found.shape, contiguous(found.shape))
        places[entry] = found.start

    def numbers(storage: Storage, check: bool) -> tuple[Window, int | None]:
        return Window(file, places[storage.key], _bytes(storage)), None

    return _stripped(
        State(
            name,
            tensors,
            False,
            numbers,
            spec=metadata.get(SPEC),
            vectors=metadata.get(VECTORS),
            about=metadata,
            size=size,
        )
    )


_KINDS: Mapping[str, Callable[[Any, str, int, str | None], State]] = {
    "pt": _zipped,
    "zip": _zipped,
    "pytorch": _legacy,
    "safetensors": _safetensors,
}
