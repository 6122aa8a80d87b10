"""Finds, loads and keeps backends. With `hookspecs`, the only file that knows pluggy.

Names come from package metadata; nothing is imported to list them. A plugin that does not load is a
row with its error and touches no other. Which backend is current: the innermost ``use_backend``,
else ``set_backend``, else the environment variable ``LSTMCORE_BACKEND``, else the reference, which
is the name in the entry-point group ``lstmcore.reference``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any, Literal

import pluggy

from lstmcore import hookspecs
from lstmcore.contract import API_VERSION, Backend, capabilities
from lstmcore.errors import BrokenBackendError, MissingBackendError, UnknownBackendError, near
from lstmcore.hookspecs import BackendPlugin, Format, Judge

GROUP = "lstmcore.backends"
REFERENCE_GROUP = "lstmcore.reference"
FORMATS_GROUP = "lstmcore.formats"
ENVIRONMENT = "LSTMCORE_BACKEND"

Status = Literal["available", "missing", "broken"]

_lock = threading.RLock()
_classes: dict[str, type[Backend]] = {}
_instances: dict[tuple[str, str | None], Backend] = {}
_process_default: str | None = None
_context: ContextVar[str | None] = ContextVar("lstmcore_backend", default=None)


@dataclass(frozen=True)
class BackendInfo:
    """A row of ``lstmcore.backends()``.

    ``devices`` and ``capabilities`` are asked of the backend itself: reading them loads its framework.
    They are empty where the status is not ``available``.
    """

    name: str
    version: str
    status: Status
    error: str = ""
    install: str = ""
    distribution: str = field(default="", repr=False)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices present, the default first."""
        return load(self.name).devices() if self.status == "available" else ()

    @property
    def capabilities(self) -> dict[str, Any]:
        """The ops with their kernels, and the dtypes: what its table holds."""
        return capabilities(load(self.name)) if self.status == "available" else {}


def _entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """In order of claim: a name belongs to the module called ``lstmcore_<name>``, then by alphabet."""
    return _in_order_of_claim(group, _installed())


def _installed() -> tuple[Any, ...]:
    """Differs once a package was added or removed: where packages are, and when each such folder changed."""
    return tuple((place, _changed(place or os.curdir)) for place in sys.path)


def _changed(place: str) -> tuple[int, int] | None:
    try:
        told = os.stat(place)
    except OSError:
        return None
    return told.st_mtime_ns, told.st_nlink


@lru_cache(maxsize=8)
def _in_order_of_claim(group: str, installed: tuple[Any, ...]) -> tuple[metadata.EntryPoint, ...]:
    def claim(entry: metadata.EntryPoint) -> tuple[str, bool, str, str]:
        return entry.name, entry.module != f"lstmcore_{entry.name}", _owner(entry), entry.value

    unique = {(e.name, e.value, _owner(e)): e for e in metadata.entry_points(group=group)}
    return tuple(sorted(unique.values(), key=claim))


def _owner(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def names() -> tuple[str, ...]:
    """The names of all installed backends, from metadata alone."""
    return tuple(dict.fromkeys(entry.name for entry in _entry_points(GROUP)))


@lru_cache(maxsize=1)
def reference() -> str:
    """The name of the backend that judges the others, and the default; asked of the metadata once."""
    entries = _entry_points(REFERENCE_GROUP)
    if not entries:
        raise UnknownBackendError(
            f"no installed package names a reference backend (entry-point group {REFERENCE_GROUP!r}). "
            "lstmcore is not installed properly: pip install lstmcore."
        )
    return entries[0].name


def _read(entry: metadata.EntryPoint) -> BackendPlugin:
    """Imports one plugin module, alone, and asks it who it is. BrokenBackendError says what is wrong."""
    where = f"backend {entry.name!r} (plugin {entry.value!r} of distribution {_owner(entry)!r})"
    try:
        answers = _hooks(entry).lstmcore_backend()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way; it must not take others along
        raise BrokenBackendError(f"{where} does not load: {type(error).__name__}: {error}") from error
    if len(answers) != 1 or not isinstance(answers[0], BackendPlugin):
        raise BrokenBackendError(
            f"{where} must implement the hook lstmcore_backend and return one BackendPlugin; it returned {answers!r}"
        )
    plugin: BackendPlugin = answers[0]
    if plugin.api_version != API_VERSION:
        raise BrokenBackendError(
            f"{where} was written for contract version {plugin.api_version}; this lstmcore has {API_VERSION}. "
            "Install versions of the two that belong together."
        )
    if plugin.name != entry.name:
        raise BrokenBackendError(f"{where} calls itself {plugin.name!r}; it must use the entry point's name")
    return plugin


def _hooks(entry: metadata.EntryPoint) -> Any:
    """The hooks that one plugin module implements, called alone."""
    manager = pluggy.PluginManager("lstmcore")
    manager.add_hookspecs(hookspecs.Hooks)
    manager.register(entry.load(), name=entry.name)
    manager.check_pending()
    return manager.hook


@dataclass(frozen=True)
class Files:
    """What plugins add for files: formats, engines that run them, and which plugins do not load, with the reason."""

    formats: tuple[Format, ...]
    judges: tuple[Judge, ...]
    broken: tuple[str, ...]


def files() -> Files:
    """The formats and judges of all plugins, in order of their names; imports no framework.

    They are asked once, and again where packages were added or removed.
    """
    return _files(_installed())


@lru_cache(maxsize=2)
def _files(installed: tuple[Any, ...]) -> Files:
    formats: list[Format] = []
    judges: list[Judge] = []
    broken: list[str] = []
    for entry in _entry_points(FORMATS_GROUP):
        try:
            hooks = _hooks(entry)
            new = [row for rows in hooks.lstmcore_formats() for row in rows]
            engines = [row for rows in hooks.lstmcore_judges() for row in rows]
        except (Exception, SystemExit) as error:  # as in _read
            broken.append(f"formats of {entry.value!r} ({_owner(entry)}): {type(error).__name__}: {error}")
            continue
        formats += new
        judges += engines
    return Files(tuple(formats), tuple(judges), tuple(broken))


def lacks(plugin: BackendPlugin | Judge) -> tuple[str, ...]:
    """The modules that it needs and that are not installed."""
    return tuple(module for module in plugin.requires if importlib.util.find_spec(module) is None)


def _version(plugin: BackendPlugin, entry: metadata.EntryPoint) -> str:
    try:
        return metadata.version(plugin.distribution or _owner(entry))
    except metadata.PackageNotFoundError:
        return ""


def _info(entry: metadata.EntryPoint, holder: metadata.EntryPoint) -> BackendInfo:
    if entry is not holder:
        taken = (
            f"the name {entry.name!r} is taken by {holder.value!r} of distribution {_owner(holder)!r}; "
            f"{entry.value!r} of {_owner(entry)!r} is not used. Rename or uninstall one of them."
        )
        return BackendInfo(entry.name, "", "broken", taken, distribution=_owner(entry))
    try:
        plugin = _read(entry)
    except BrokenBackendError as error:
        return BackendInfo(entry.name, "", "broken", str(error), distribution=_owner(entry))
    missing = lacks(plugin)
    if missing:
        reason = f"needs {' and '.join(missing)}, which is not installed"
        return BackendInfo(entry.name, "", "missing", reason, plugin.install, _owner(entry))
    return BackendInfo(entry.name, _version(plugin, entry), "available", "", plugin.install, _owner(entry))


def backends() -> list[BackendInfo]:
    """All installed backends with their state, sorted by name; imports no framework.

    A plugin that does not load, was written for another contract, or uses a name already taken, is a
    row with status ``broken`` and the reason; one whose framework is absent is ``missing``.
    """
    entries = _entry_points(GROUP)
    holders = {entry.name: entry for entry in reversed(entries)}
    return [_info(entry, holders[entry.name]) for entry in entries]


def load(name: str) -> type[Backend]:
    """The Backend class called ``name``; imports its framework, and nobody else's.

    UnknownBackendError, MissingBackendError (with the command that adds it) or BrokenBackendError.
    """
    with _lock:
        if name not in _classes:
            _classes[name] = _load(name)
        return _classes[name]


def _load(name: str) -> type[Backend]:
    entry = next((e for e in _entry_points(GROUP) if e.name == name), None)
    if entry is None:
        raise UnknownBackendError(f"unknown backend {name!r}.{near(name, names())}")
    plugin = _read(entry)
    missing = lacks(plugin)
    if missing:
        raise MissingBackendError(
            f"backend {name!r} needs {' and '.join(missing)}, which is not installed. Add it: {plugin.install}"
        )
    try:
        backend = plugin.load()
    except (Exception, SystemExit) as error:  # a framework may fail in any way at import
        raise BrokenBackendError(f"backend {name!r} does not load: {type(error).__name__}: {error}") from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise BrokenBackendError(f"backend {name!r}: load() must return a subclass of Backend, not {backend!r}")
    return backend


def get(identifier: str | Backend | None = None) -> Backend:
    """The backend for ``"name"`` or ``"name:device"``; None is the current one; an instance is itself.

    One instance a name and device in a process. DeviceError lists the devices present.
    """
    if isinstance(identifier, Backend):
        return identifier
    name, device = _split(current() if identifier is None else identifier)
    with _lock:
        if (name, device) not in _instances:
            _instances[name, device] = load(name)(device)
        return _instances[name, device]


def _split(identifier: object) -> tuple[str, str | None]:
    if not isinstance(identifier, str) or not identifier.strip():
        raise UnknownBackendError(
            f"a backend is given as 'name' or 'name:device', not {identifier!r}.{near(identifier, names())}"
        )
    name, colon, device = identifier.strip().partition(":")
    if colon and not device:
        raise UnknownBackendError(f"backend {identifier!r} names no device after ':'; write {name!r} for the default")
    return name, device or None


def current() -> str:
    """The name (with device, if one was given) of the backend that calls without ``backend=`` use."""
    return _context.get() or _process_default or os.environ.get(ENVIRONMENT) or reference()


def _checked(identifier: str) -> str:
    """Refuses at once a name that no plugin has; loads nothing."""
    name, _ = _split(identifier)
    if name not in names():
        raise UnknownBackendError(f"unknown backend {name!r}.{near(name, names())}")
    return identifier


def set_backend(identifier: str | None) -> None:
    """Sets the default of this process; None forgets it."""
    global _process_default
    _process_default = None if identifier is None else _checked(identifier)


def get_backend() -> str:
    """The name of the current backend."""
    return current()


@contextmanager
def use_backend(identifier: str) -> Iterator[None]:
    """Within it, and in this thread or task only, calls use that backend; it nests."""
    token = _context.set(_checked(identifier))
    try:
        yield
    finally:
        _context.reset(token)
