"""A model run on a sequence as it comes: step by step or in chunks, its state in hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.errors import ForeignFileError, InputError, SpecError, WeightsMismatchError
from lstmcore.runtime.feed import as_array, feed
from lstmcore.runtime.session import Session
from lstmcore.weights import WeightFile, write

if TYPE_CHECKING:
    from lstmcore.models.base import BackendName, BaseModel

Array = NDArray[Any]
PREFIX = "state/"


class Stream:
    """A sequence on its way through a model, for ``batch_size`` sequences side by side.

    ``push`` takes the next step or steps and returns the outputs for just those; whatever the pieces, the outputs
    are those of the whole sequence. ``state`` is all that it knows of the past, as arrays: it can be kept, saved,
    and given to a stream of the same model on another backend. Made by ``model.stream``.
    """

    def __init__(self, model: BaseModel, batch_size: int, backend: BackendName) -> None:
        self.model = model
        self.batch_size = batch_size
        self.steps = 0
        self._program = model.program
        program, self._roles = model.streaming_program(batch_size)
        self._session = Session(program, plugins.get(backend), model.dtype)
        self._carries: dict[str, Any] = {}

    @property
    def backend(self) -> str:
        """The backend that it runs on."""
        return self._session.backend.name

    def __repr__(self) -> str:
        what = f"{self.batch_size} sequences, {self.steps} steps so far"
        return f"<Stream of {self.model.called()} on {self.backend}: {what}>"

    def push(self, x: Any) -> Any:
        """The outputs for the next steps.

        x (batch, time, ...) is a chunk of any length, and gives (batch, time, ...); (batch, ...) is one step, and
        gives (batch, ...). A model that returns only its last output gives that as of the newest step. Several
        inputs come as in ``predict``, all chunks of one length. InputError for what does not fit; the state then
        is as before.
        """
        self._check_model()
        chunk, single = self._chunk(x)
        arrays = feed(self._session.program, chunk, self._session.dtype)
        self._check_fit(arrays)
        self._session.load(self.model.every_path(), (id(self._program), self.model.version()))
        outputs, self._carries = self._session.run(arrays, self._carries)
        self.steps += self._lengths(arrays).pop()
        timed = zip(outputs, self._session.program.outputs, strict=True)
        return self.model.arrange(
            [np.array(y[:, 0] if single and self._roles[name] == "steps" else y) for y, name in timed]
        )

    def _check_model(self) -> None:
        """SpecError where layers were added to the model or taken away."""
        program = self.model.program
        if program is not self._program and program != self._program:
            raise SpecError(f"{self.model.called()} was changed after this stream was made: make another")
        self._program = program

    def _chunk(self, x: Any) -> tuple[Any, bool]:
        """The inputs with a time axis each, and whether that had to be added."""
        program = self._session.program
        x = self.model._by_input(x)
        given = [x[name] for name in program.inputs if name in x] if isinstance(x, Mapping) else x
        if not isinstance(x, Mapping) and len(program.inputs) == 1:
            rank = len(program.values[program.inputs[0]].shape)
            listed = isinstance(x, (list, tuple)) and len(x) == 1 and np.ndim(x[0]) == rank
            given = x if listed else [x]
        if not isinstance(given, (list, tuple)) or len(given) != len(program.inputs):
            raise InputError(f"a push takes {len(program.inputs)} inputs: {', '.join(program.inputs)}")
        arrays = [as_array(entry, name) for entry, name in zip(given, program.inputs, strict=True)]
        ranks = [len(program.values[name].shape) for name in program.inputs]
        streams = [self._roles[name] == "steps" for name in program.inputs]
        short = {rank - array.ndim for array, rank, s in zip(arrays, ranks, streams, strict=True) if s}
        if short == {1}:
            arrays = [array[:, None] if s and array.ndim else array for array, s in zip(arrays, streams, strict=True)]
        return dict(zip(program.inputs, arrays, strict=True)), short == {1}

    def _lengths(self, arrays: Mapping[str, Array]) -> set[int]:
        return {array.shape[1] for name, array in arrays.items() if self._roles[name] == "steps"}

    def _check_fit(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            if array.shape[0] != self.batch_size:
                raise InputError(
                    f"input {name!r} holds {array.shape[0]} sequences; this stream was made for {self.batch_size}"
                )
        if len(self._lengths(arrays)) > 1:
            raise InputError(f"the inputs of one push hold different numbers of steps: {self._lengths(arrays)}")

    @property
    def state(self) -> dict[str, Array]:
        """What it knows of the past: an array for each state, by name. A copy; assign one to go on from there."""
        found = {}
        for carry in self._session.program.carries:
            kept = self._carries.get(carry.name)
            shape = (self.batch_size, *self._session.program.values[carry.before].shape[1:])
            zeros = np.zeros(tuple(n or 0 for n in shape), self._session.dtype)
            found[carry.name] = zeros if kept is None else np.array(self._session.backend.numpy(kept))
        return found

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        current = self.state
        if not isinstance(state, Mapping) or set(state) != set(current):
            given = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise InputError(f"{self.model.called()}: the state given holds {given}; expected {sorted(current)}")
        taken: dict[str, Array] = {}
        for name, own in current.items():
            array = as_array(state[name], f"state {name}")
            if array.dtype.kind != "f" or array.shape != own.shape:
                raise InputError(
                    f"{self.model.called()}: state {name!r} is {array.dtype} of shape {array.shape}; "
                    f"expected floating-point numbers of shape {own.shape}"
                )
            taken[name] = np.array(array, own.dtype)
        self._carries = dict(taken)

    def reset(self) -> None:
        """Forgets the past: the next step is the first."""
        self._carries, self.steps = {}, 0

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Writes the state to a ``.safetensors`` file, atomically."""
        tensors = {f"{PREFIX}{name}": array for name, array in self.state.items()}
        write(path, tensors, self.model.to_json(), {"holds": "state", "steps": str(self.steps)})

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Goes on from a state that ``save_state`` wrote, on whatever backend. A FileError says what does not fit."""
        expected = {f"{PREFIX}{name}": (array.shape, array.dtype.name) for name, array in self.state.items()}
        with WeightFile.open(path) as file:
            if file.header.metadata.get("holds") != "state":
                raise ForeignFileError(
                    f"{file.header.name} holds weights, not the state of a stream; lc.load_model reads it"
                )
            found = {name: entry.shape for name, entry in file.header.tensors.items()}
            wanted = {name: shape for name, (shape, _) in expected.items()}
            if found != wanted:
                raise WeightsMismatchError(f"{file.header.name} holds the state {found}; this stream has {wanted}")
            arrays = file.read(expected)
            steps = file.header.metadata.get("steps", "0")
        self.state = {name.removeprefix(PREFIX): array for name, array in arrays.items()}
        self.steps = int(steps) if steps.isdecimal() and len(steps) < 19 else 0
