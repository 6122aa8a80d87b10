"""What a plugin implements, and the mark to implement it with.

A backend plugin is a module named in the entry-point group ``lstmcore.backends``; the entry point's
name is the backend's name. The module imports no framework: it says who it is, and how to load.
A module named in the group ``lstmcore.formats`` adds formats of files, and engines that run such files; it, too,
imports nothing for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pluggy

from lstmcore.contract import API_VERSION, Backend

__all__ = ["API_VERSION", "BackendPlugin", "Format", "Judge", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("lstmcore")
hookimpl = pluggy.HookimplMarker("lstmcore")


@dataclass(frozen=True)
class BackendPlugin:
    """Who a backend is, known without importing its framework.

    name          the same as the entry point's
    load          imports the framework and returns the Backend class
    requires      importable modules it needs, e.g. ``("torch",)``; looked for, not imported
    distribution  the package whose version is shown; "" for the plugin's own
    install       the command that adds what is missing
    api_version   the contract it was written for: `API_VERSION` at the time
    """

    name: str
    load: Callable[[], type[Backend]]
    api_version: int
    requires: tuple[str, ...] = ()
    distribution: str = ""
    install: str = ""


@dataclass(frozen=True)
class Format:
    """One format of model files. Functions are named as ``"module:function"``, and imported when they are needed.

    name      what `import_model` and `export_model` call it
    suffixes  of its files, with the dot; "/" is that of a directory
    kinds     what `storage.magic` calls its content: a file is told by them first, and by its suffix where its
              content could be several. For directories, files of which such a one holds any
    reads     ``reads(path, weights, spec, **options)`` gives the model
    writes    ``writes(model, path, **options)`` makes the file
    lists     ``lists(path)`` gives what is in the file, from its headers alone: an `interop.listing.Listing`
    """

    name: str
    suffixes: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    reads: str | None = None
    writes: str | None = None
    lists: str | None = None


@dataclass(frozen=True)
class Judge:
    """An engine that runs files of a format itself, so that it can say whether they compute what they should.

    format    the `Format` by name
    name      of the engine, as shown
    run       ``"module:function"``: ``run(path, inputs)``, with the arrays in the order of the model's inputs, gives
              ``(outputs, layers)``: a list of arrays, and by layer's name what came out of it, where that can be had
    requires  importable modules it needs; looked for, not imported
    install   the command that adds what is missing
    states    whether the states of stateful layers follow the inputs, and the next ones the outputs, each in the
              order of their names
    """

    format: str
    name: str
    run: str
    requires: tuple[str, ...] = ()
    install: str = ""
    states: bool = False


class Hooks:
    """The hooks."""

    @hookspec
    def lstmcore_backend(self) -> BackendPlugin:  # type: ignore[empty-body]
        """The backend that this module provides."""

    @hookspec
    def lstmcore_formats(self) -> Sequence[Format]:  # type: ignore[empty-body]
        """The formats that this module adds."""

    @hookspec
    def lstmcore_judges(self) -> Sequence[Judge]:  # type: ignore[empty-body]
        """The engines for files that this module knows."""
