"""Pickles of PyTorch, read without unpickling: what they say of tensors, dicts and numbers, and nothing else.

A pickle is a program for a small stack machine, and two of its instructions call whatever Python function it names.
Here a machine of our own runs it. It has no such instructions: a name stands for itself, must be on a list, and what
PyTorch's functions would build is written down as a `Tensor`. Nothing is imported and nothing is called, whatever
the file says. (Python's `pickle` documents the instructions in `pickletools`.)
"""

from __future__ import annotations

import pickletools
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from lstmcore.errors import DamagedFileError, UnsafeFileError
from lstmcore.interop.pytorch.described import DTYPES, MOST, Opaque, Storage, Tensor
from lstmcore.storage.container import MAX_AXES, show

MAX_BYTES = 8 << 20
"""The most bytes of a pickle; a tensor takes some 120 of them."""

_MEMORY = 24 << 20
_STEP, _SLOT, _CONTAINER, _ITEM = 24, 16, 128, 112
_MOST_KEY = 1 << 31
_MARK = Opaque("mark")

ADVICE = "Save the weights alone: torch.save(model.state_dict(), path), or safetensors.torch.save_model."


def _named(module: str, names: str) -> frozenset[str]:
    return frozenset(f"{module}{name}" for name in names.split())


# Names of things beside the weights that checkpoints are full of. They are not looked at any further.
_HARMLESS = (
    _named("collections.", "OrderedDict defaultdict Counter")
    | _named("builtins.", "set frozenset list dict tuple int float str bool bytes bytearray complex range slice")
    | _named("numpy.", "dtype ndarray core.multiarray.scalar core.multiarray._reconstruct")
    | _named("numpy._core.", "multiarray.scalar multiarray._reconstruct")
    | _named("_codecs.", "encode")
    | _named("argparse.", "Namespace")
    | _named("pathlib.", "PosixPath WindowsPath PurePosixPath PureWindowsPath")
    | _named("datetime.", "datetime date timedelta")
    | _named("torch.", "Size device strided half float double bfloat16 float16 float32 float64 complex64 complex128")
    | _named("torch.", "bool short int long int8 int16 int32 int64 uint8 uint16 uint32 uint64")
)
_MODULES = {"__builtin__": "builtins"}
_DICTS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict")


@dataclass(frozen=True, eq=False)
class Global:
    """A name in a pickle, ``module.name``; only a name."""

    path: str


def read_pickle(data: bytes, name: str, position: int = 0) -> tuple[Any, int]:
    """What the pickle at that position says, and where it ends; ``name`` is the file's, for messages.

    Tensors are `Tensor`, what is none of dict, list, tuple, text or number is `Opaque`. UnsafeFileError for a name that
    is not on the list or more than a state_dict needs, DamagedFileError where it is no pickle.
    """
    return _Machine(data, name, position).run()


class _Machine:
    def __init__(self, data: bytes, name: str, position: int) -> None:
        self.data, self.name, self.position = data, name, position
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.left = _MEMORY

    def run(self) -> tuple[Any, int]:
        while (code := self.take(1)) != b".":
            self.spend(_STEP)
            if code not in _INSTRUCTIONS:
                self.unknown(code)
            _INSTRUCTIONS[code](self)
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            self.damaged("it ends with a stack that holds no single thing")
        return self.stack[0], self.position

    # Bytes, and the stack.

    def take(self, count: int) -> bytes:
        """The next bytes."""
        piece = self.data[self.position : self.position + count]
        if len(piece) != count:
            self.damaged("it ends too soon")
        self.position += count
        return piece

    def number(self, form: str) -> Any:
        """The next number."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def spend(self, count: int) -> None:
        """Counts the memory that things take, and as such the instructions."""
        self.left -= count
        if self.left < 0:
            self.refuse(f"it describes more than {_MEMORY >> 20} MiB of things beside its numbers. {ADVICE}")

    def push(self, value: Any, size: int = 0) -> None:
        self.spend(_SLOT + size)
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            self.damaged("it takes from a stack that is empty")
        return self.stack.pop()

    def top(self, kinds: tuple[type, ...]) -> Any:
        """What is on top, of one of these kinds."""
        if not self.stack or not isinstance(self.stack[-1], kinds) or self.stack[-1] is _MARK:
            self.damaged("it adds to something that is no list and no dict")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """What lies above the last mark."""
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            self.damaged("it goes back to a mark that is not there")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    # Texts, names, containers.

    def text(self, form: str) -> None:
        raw = self.take(self.number(form))
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            self.damaged("a text in it is no UTF-8")
        self.push(value, sys.getsizeof(value))

    def raw(self, form: str) -> None:
        length = self.number(form)
        self.take(length)
        self.push(Opaque(f"{length} bytes"), _CONTAINER)

    def old_text(self, form: str) -> None:
        """A str of Python 2: bytes of which nothing is known but that names are ASCII."""
        length = self.number(form)
        if length < 0:
            self.damaged("a text in it has a negative length")
        value = self.take(length).decode("latin-1")
        self.push(value, sys.getsizeof(value))

    def integer(self) -> None:
        value = int.from_bytes(self.take(self.number("B")), "little", signed=True)
        self.push(value, sys.getsizeof(value))

    def named(self, module: str, name: str) -> None:
        """A name, which must be on a list."""
        module = _MODULES.get(module, module)
        path = f"{module}.{name}"
        known = path in _BUILDERS or path in _HARMLESS
        if not known and path not in _STORAGES:
            self.refuse(_foreign(path))
        self.push(Global(path), _CONTAINER)

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            self.damaged("a name in it has no end")
        raw = self.take(end + 1 - self.position)[:-1]
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.damaged("a name in it is no UTF-8")

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            self.damaged("a name in it is no text")
        self.named(module, name)

    def put(self, index: int) -> None:
        if not self.stack:
            self.damaged("it takes from a stack that is empty")
        self.spend(_ITEM)
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            self.damaged(f"it refers to thing {index} before there is one")
        self.push(self.memo[index])

    def tuple_of(self, count: int) -> None:
        items = tuple(self.pop() for _ in range(count))[::-1]
        self.push(items, _CONTAINER)

    def extend(self, items: list[Any]) -> None:
        target = self.top((list, Opaque))
        if isinstance(target, list):
            self.spend(_SLOT * len(items))
            target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top((dict, Opaque))
        if len(items) % 2:
            self.damaged("a dict in it has a key without a value")
        if isinstance(target, dict):
            self.spend(_ITEM * len(items) // 2)
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[_key(key)] = value

    # What calls would make.

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, Global) or not isinstance(arguments, (tuple, Opaque)):
            self.refuse(f"it calls something that has no name. {ADVICE}")
        builder = _BUILDERS.get(called.path)
        if builder is None:
            self.push(Opaque(called.path), _CONTAINER)
            return
        try:
            made = builder(self, *arguments) if isinstance(arguments, tuple) else None
        except (TypeError, ValueError):
            made = None
        if made is None:
            self.refuse(f"it says {called.path} of what is no tensor")
        self.push(made, 2 * _CONTAINER)

    def build(self) -> None:
        """What is on top gets attributes: ``_metadata`` of a state_dict, which says nothing that its names do not."""
        self.pop()
        self.top((dict, Opaque))

    def persistent(self) -> None:
        """A storage: ('storage', class, key, device, size), with a sixth entry in old files."""
        found = self.pop()
        if not isinstance(found, tuple) or len(found) not in (5, 6) or found[0] != "storage":
            self.refuse(f"it refers to something outside that is no storage. {ADVICE}")
        _, kind, key, _, size = found[:5]
        row = _STORAGES.get(kind.path) if isinstance(kind, Global) else None
        if row is None or not isinstance(key, str) or not _is_size(size):
            self.refuse(f"a storage in it is {show(key)} of {show(size)} numbers, of no kind that is known")
        if len(found) == 6 and found[5] is not None:
            self.refuse("a storage in it is a part of another, as PyTorch wrote before 0.4")
        storage = Storage(key, *row, size)
        if self.storages.setdefault(key, storage) != storage:
            self.refuse(f"the storage {show(key)} is described in two ways")
        self.push(storage, _CONTAINER)

    # Faults.

    def unknown(self, code: bytes) -> NoReturn:
        known = [row.name for row in pickletools.opcodes if row.code == code.decode("latin-1")]
        if not known:
            self.damaged(f"it has the byte {code[0]} where an instruction should be")
        self.refuse(f"it has the instruction {known[0]}, which no state_dict needs. {ADVICE}")

    def refuse(self, fault: str) -> NoReturn:
        raise UnsafeFileError(f"{self.name}: its pickle is not read further: {fault.removesuffix('.')}.")

    def damaged(self, fault: str) -> NoReturn:
        raise DamagedFileError(f"{self.name}: its pickle is damaged: {fault}.")


def _foreign(path: str) -> str:
    inner = path.startswith(("torch.nn.", "__main__.")) or path.split(".")[-1][:1].isupper()
    what = "a whole object is pickled in it, which only its own code can read" if inner else "it would run code"
    return f"it names {show(path)[1:-1]}: {what}. lstmcore runs nothing from a file. {ADVICE}"


def _key(key: Any) -> Any:
    """What may be a key as it is; others could be made to collide, and are only counted."""
    small = type(key) in (int, bool) and -_MOST_KEY < key < _MOST_KEY
    return key if small or key is None or isinstance(key, str) else Opaque("key")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > MAX_AXES or not all(map(_is_size, value)):
        raise ValueError
    return tuple(value)


def _tensor(machine: _Machine, storage: Any, offset: Any, shape: Any, stride: Any) -> Tensor:
    shape, stride = _sizes(shape), _sizes(stride)
    if not isinstance(storage, Storage) or not _is_size(offset) or len(shape) != len(stride):
        raise ValueError
    tensor = Tensor(storage, offset, shape, stride)
    if not tensor.within():
        machine.refuse(
            f"a tensor of shape {show(list(shape))} begins at number {offset} of a storage of {storage.size} and "
            f"reaches beyond its end"
        )
    return tensor


def _tensor_v2(
    machine: _Machine, storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, about: Any = None
) -> Tensor:
    if about:  # such as a sign that is still to be changed
        machine.refuse("a tensor in it is to be changed when it is loaded")
    return _tensor(machine, storage, offset, shape, stride)


def _tensor_v3(
    machine: _Machine,
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    about: Any = None,
) -> Opaque:
    return Opaque(f"tensor of {dtype.path}" if isinstance(dtype, Global) else "tensor")


def _parameter(machine: _Machine, data: Any, grad: Any, hooks: Any, state: Any = None) -> Any:
    return data if isinstance(data, (Tensor, Opaque)) else None


def _dict(machine: _Machine, *arguments: Any) -> dict[Any, Any]:
    """An empty one, or one of pairs, as Python 2 wrote it."""
    pairs = arguments[0] if arguments and isinstance(arguments[0], (list, tuple)) else []
    machine.spend(_ITEM * len(pairs))
    return {_key(key): value for key, value in pairs}


_BUILDERS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(_DICTS, _dict),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_STORAGES: Mapping[str, tuple[str, int]] = {
    **{f"torch.{name}": row for name, row in DTYPES.items()},
    **{f"torch.cuda.{name}": row for name, row in DTYPES.items()},
    "torch.storage.UntypedStorage": ("bytes", 1),
    "torch.UntypedStorage": ("bytes", 1),
}


def _protocol(machine: _Machine) -> None:
    version = machine.number("B")
    if version > 5:
        machine.damaged(f"it is of version {version}")


def _frame(machine: _Machine) -> None:
    if machine.number("<Q") > len(machine.data):
        machine.damaged("it ends too soon")


def _new_object(machine: _Machine) -> None:
    machine.pop()
    called = machine.pop()
    if not isinstance(called, Global) or called.path in _BUILDERS or called.path in _STORAGES:
        machine.refuse(f"it makes something that has no name. {ADVICE}")
    machine.push(Opaque(called.path), _CONTAINER)


_Instruction = Callable[[_Machine], None]

_INSTRUCTIONS: Mapping[bytes, _Instruction] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": lambda m: m.push(_MARK),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i"), 32),
    b"K": lambda m: m.push(m.number("B")),
    b"M": lambda m: m.push(m.number("<H"), 32),
    b"\x8a": _Machine.integer,
    b"G": lambda m: m.push(m.number(">d"), 32),
    b"X": lambda m: m.text("<I"),
    b"\x8c": lambda m: m.text("B"),
    b"\x8d": lambda m: m.text("<Q"),
    b"T": lambda m: m.old_text("<i"),
    b"U": lambda m: m.old_text("B"),
    b"C": lambda m: m.raw("B"),
    b"B": lambda m: m.raw("<I"),
    b"\x8e": lambda m: m.raw("<Q"),
    b"\x96": lambda m: m.raw("<Q"),
    b"}": lambda m: m.push({}, _CONTAINER),
    b"]": lambda m: m.push([], _CONTAINER),
    b")": lambda m: m.push(()),
    b"\x8f": lambda m: m.push(Opaque("set"), _CONTAINER),
    b"d": lambda m: _made_dict(m, m.marked()),
    b"l": lambda m: _made_list(m, m.marked()),
    b"t": lambda m: _made_tuple(m, m.marked()),
    b"\x91": lambda m: _made_set(m, m.marked()),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.set_items(m.marked()),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.marked()),
    b"\x90": lambda m: m.extend(m.marked()),
    b"q": lambda m: m.put(m.number("B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.get(m.number("B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"c": lambda m: m.named(m.line(), m.line()),
    b"\x93": _Machine.stack_global,
    b"R": _Machine.reduce,
    b"\x81": _new_object,
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
}


def _made_dict(machine: _Machine, items: list[Any]) -> None:
    machine.push({}, _CONTAINER)
    machine.set_items(items)


def _made_list(machine: _Machine, items: list[Any]) -> None:
    machine.push(items, _CONTAINER + 8 * len(items))


def _made_tuple(machine: _Machine, items: list[Any]) -> None:
    machine.push(tuple(items), _CONTAINER + 8 * len(items))


def _made_set(machine: _Machine, items: list[Any]) -> None:
    machine.push(Opaque("frozenset"), _CONTAINER)
