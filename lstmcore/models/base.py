"""What every model can do: weights, prediction, files, explanations. A facade over layers and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins, streaming, tree
from lstmcore.contract import Backend
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers import symbolic
from lstmcore.layers.core import InputLayer
from lstmcore.layers.module import Mask, Module
from lstmcore.layers.options import FLAG, NAME, POSITIVE, checked
from lstmcore.layers.symbolic import Call, SymbolicTensor
from lstmcore.naming import snake
from lstmcore.ops import Shape
from lstmcore.program import Builder, Program, Value

if TYPE_CHECKING:
    import os

    from lstmcore.models.explain import Explanation
    from lstmcore.runtime.session import Session
    from lstmcore.runtime.stream import Stream

Array = NDArray[Any]
BackendName = str | Backend | None


def _has_weights(module: Module) -> bool:
    return any(getattr(part, "initializers", None) for part in module.modules())


class BaseModel(Module):
    """Base of the models. ``program`` is what they lower to; layers own the weights."""

    call_arguments: ClassVar[tuple[str, ...]] = ("inputs", "training", "mask")

    def __init__(self, name: str | None = None, trainable: bool = True) -> None:
        owner = type(self).__name__
        self._auto_named = name is None
        self.name: str = checked(owner, "name", NAME, name) or snake(owner)
        self.trainable: bool = checked(owner, "trainable", FLAG, trainable)
        self._program: Program | None = None
        self._layer_shapes: dict[str, Any] = {}
        self.layer_outputs: dict[str, list[Shape]] = {}  # the shapes that each layer makes in this model
        self._sessions: dict[tuple[str, str, str], Session] = {}
        self._states: dict[str, Array] = {}
        self._calls: list[Call] = []

    def __getstate__(self) -> dict[str, Any]:
        """Copies share no session, which holds what the engines compiled, and no model around them."""
        # The calls come first and in order: no copier then has to go down a chain of them, however long.
        return {"_past": symbolic.history(self._ends()), **self.__dict__, "_sessions": {}, "_calls": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for call in self.__dict__.pop("_past"):
            if call not in call.module.calls:
                call.module.calls.append(call)

    def _ends(self) -> Sequence[SymbolicTensor]:
        """Tensors from which all calls of the model can be reached."""
        raise NotImplementedError

    # What a subclass says.

    @property
    def named_layers(self) -> dict[str, Module]:
        """The layers, and models used as such, under the names that they have in this model."""
        raise NotImplementedError

    def _lower(self) -> Program:
        raise NotImplementedError

    def lower_into(self, build: Builder, shapes: Sequence[Shape]) -> tuple[list[Value], list[Mask]]:
        """Writes the model with inputs of these shapes into a program: its outputs, and their masks."""
        raise NotImplementedError

    def _lower_for(self, shapes: Sequence[Shape]) -> Program:
        """The program for inputs of these shapes."""
        build = Builder()
        outputs, _ = self.lower_into(build, shapes)
        return build.finish([output.name for output in outputs])

    def get_config(self) -> dict[str, Any]:
        """The description of the model, under Keras 3's keys."""
        raise NotImplementedError

    # As a part of another model.

    @property
    def parts(self) -> Mapping[str, Module]:
        return self.named_layers

    @property
    def calls(self) -> list[Call]:
        return self._calls

    @property
    def auto_named(self) -> bool:
        return self._auto_named

    def name_as(self, name: str) -> None:
        self.name = name

    # Structure.

    @property
    def output_names(self) -> list[str]:
        """What each output is called: by the layer that makes it."""
        raise NotImplementedError

    @property
    def layers(self) -> list[Module]:
        """The layers, in order."""
        return list(self.named_layers.values())

    @property
    def layer_shapes(self) -> dict[str, Any]:
        """The shape that each layer takes in this model, or shapes; empty while the input's is not known."""
        return dict(self._layer_shapes)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """A layer by name or by index; SpecError if there is none."""
        named = self.named_layers
        if (name is None) == (index is None):
            raise SpecError("get_layer takes a name or an index")
        if (
            not isinstance(name, (str, type(None)))
            or isinstance(index, bool)
            or not isinstance(index, (int, type(None)))
        ):
            raise SpecError(f"get_layer takes a name or an index; given name={name!r}, index={index!r}")
        if name is not None and name in named:
            return named[name]
        if index is not None and -len(named) <= index < len(named):
            return self.layers[index]
        raise SpecError(f"model {self.name!r} has no layer {(name if index is None else index)!r}.{near(name, named)}")

    @property
    def built(self) -> bool:
        """Whether the shape of its input is known, and so its weights exist."""
        return True

    @property
    def program(self) -> Program:
        """The model in canonical ops."""
        if self._program is None:
            self._program = self._lower()
        return self._program

    def _changed(self) -> None:
        self._program = None
        self._layer_shapes.clear()
        self.layer_outputs.clear()
        self._sessions.clear()
        self._states.clear()

    @property
    def input_shape(self) -> Any:
        """The shape of the input, with batch axis; in the structure of the inputs where there are several."""
        return self._arrange_inputs(self._shapes(self.program.inputs))

    @property
    def output_shape(self) -> Any:
        """The shape of the output, with batch axis; in the structure of the outputs where there are several."""
        return self.arrange(self._shapes(self.program.outputs))

    def _shapes(self, names: Sequence[str]) -> list[Shape]:
        return [self.program.values[name].shape for name in names]

    def _arrange_inputs(self, inputs: Sequence[Any]) -> Any:
        return inputs[0] if len(inputs) == 1 else list(inputs)

    @property
    def dtype(self) -> str:
        """The dtype that the model computes in: that of its weights."""
        layers = {name: layer for name, layer in self.named_layers.items() if not isinstance(layer, InputLayer)}
        named = {name: layer.dtype for name, layer in layers.items() if _has_weights(layer)} or {
            name: layer.dtype for name, layer in layers.items()
        }
        if len(set(named.values())) > 1:
            raise SpecError(f"model {self.name!r} mixes dtypes, which it cannot: {named}")
        return next(iter(named.values()), "float32")

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Prints layers, output shapes and numbers of weights: Keras' table, and Keras' arguments.

        ``positions`` are the columns' ends as shares of ``line_length``; ``layer_range`` is (first, last), names
        or regular expressions; ``print_fn`` gets the text instead of standard output; ``expand_nested`` also
        lists the layers of the models inside.
        """
        from lstmcore.models.summary import print_summary

        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    def explain(self, backend: BackendName = None) -> Explanation:
        """The program with the kernel chosen for each node on a backend, and why; print it."""
        from lstmcore.models.explain import Explanation

        return Explanation(self.program, plugins.get(backend), self.dtype)

    # Weights.

    @property
    def weights(self) -> Mapping[str, Array]:
        """All weights by name, ``"lstm/kernel"``, in Keras' order; read-only arrays."""
        self.program  # noqa: B018  builds the weights, or says that there is no input shape yet
        return MappingProxyType(dict(super().weights))

    # Use.

    def session(self, backend: BackendName = None, dtype: str | None = None) -> Session:
        """The model ready to run on a backend (the current one by default), with its weights there."""
        from lstmcore.runtime.session import Session

        engine = plugins.get(backend)
        key = (engine.name, engine.device, dtype or self.dtype)
        program = self.program
        session = self._sessions.get(key)
        if session is None or session.backend is not engine or session.program is not program:
            session = self._sessions[key] = Session(program, engine, key[2])
        session.load(self.every_path(), self.version())
        return session

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        *,
        backend: BackendName = None,
    ) -> Any:
        """The outputs for inputs ``x``, computed in batches of ``batch_size`` (32, or what the model fixes).

        x (samples, ...) fits ``input_shape``, or yields batches: a generator, a loader, a data set of an engine, of
        which ``steps`` are taken (None: all; of (x, y) only x counts). The result is an array, or a list where there
        are several outputs. ``verbose=1`` shows a progress bar on a terminal; "auto" and 0 are silent. ``backend``
        is a name or "name:device". InputError for data that do not fit; NaN passes through.
        """
        self._build_for(x)
        count = None if steps is None else checked("predict", "steps", POSITIVE, steps)
        return self._predict(x, batch_size, count, verbose, callbacks, backend)

    def predict_on_batch(self, x: Any, backend: BackendName = None) -> Any:
        """The outputs for ``x`` as one batch."""
        self._build_for(x)
        return self._predict(x, None, None, 0, None, backend, at_once=True)

    def _predict(
        self,
        x: Any,
        size: int | None,
        steps: int | None,
        verbose: int | str,
        callbacks: Any,
        backend: BackendName,
        at_once: bool = False,
    ) -> Any:
        from lstmcore.runtime.predict import Inputs, predict, watching

        inputs = Inputs(self, x, size, steps, at_once)
        session = self.session(backend)
        with watching(self, inputs, verbose, callbacks) as everyone:
            outputs = predict(session, inputs, self._states, everyone)
        made = self.arrange(outputs)
        return made[0] if isinstance(made, list) and len(made) == 1 else made  # [y] comes back as y, as in Keras

    def __call__(self, *args: Any, backend: BackendName = None, **kwargs: Any) -> Any:
        """On arrays the same as `predict_on_batch`; on symbolic tensors, the model becomes a part of another."""
        if any(isinstance(leaf, SymbolicTensor) for leaf in tree.leaves([args, kwargs])):
            return symbolic.call(self, args, kwargs)
        given = symbolic.bind(self, args, kwargs)
        if "mask" in given:
            raise SpecError(
                f"{self.called()} takes no mask for arrays; make the mask an Input(dtype='bool') of the model"
            )
        return self.predict_on_batch(given["inputs"], backend)

    def _by_input(self, x: Any) -> Any:
        """The data as `feed` takes them: by the names of the program's inputs, or by position."""
        return x

    def _build_for(self, x: Any) -> None:
        """Lets a model without an input shape take that of the data."""

    def _batch_size(self, asked: int | None, samples: int) -> int:
        from lstmcore.runtime.feed import fixed_batch

        if asked is not None and (isinstance(asked, bool) or not isinstance(asked, (int, np.integer)) or asked < 1):
            raise InputError(f"batch_size is {asked!r}; expected a positive integer")
        fixed = fixed_batch(self.program)
        if fixed is None:
            return int(asked or 32)
        if asked not in (None, fixed) or samples % fixed:
            raise InputError(
                f"model {self.name!r} was built for batches of {fixed}; given {samples} samples"
                + (f" in batches of {asked}" if asked else "")
                + f". Give a multiple of {fixed}, or build the model without a batch size."
            )
        return fixed

    def stream(self, batch_size: int = 1, backend: BackendName = None) -> Stream:
        """The model on a sequence as it comes: ``push`` a step or a chunk, get the outputs for just those steps.

        SpecError names the layer where the model must see the whole sequence: Bidirectional, go_backwards,
        attention, pooling over time.
        """
        from lstmcore.runtime.stream import Stream

        self.program  # noqa: B018  builds the weights, or says that there is no input shape yet
        return Stream(self, checked(self.called(), "batch_size", POSITIVE, batch_size), backend)

    def streaming_program(self, batch_size: int) -> tuple[Program, dict[str, Any]]:
        """The program for any number of steps at a time, its whole past in its carries; what each value is to it."""
        fixed = {self.program.values[name].shape[0] for name in self.program.inputs} - {None}
        if fixed - {batch_size}:
            raise SpecError(f"{self.called()} was built for batches of {fixed.pop()}; asked to stream {batch_size}")
        streaming.check(self.program, self.called())
        shapes = [self.program.values[name] for name in self.program.inputs]
        opened = [
            (value.shape[0], None, *value.shape[2:]) if streaming.is_stream(value) else value.shape for value in shapes
        ]
        try:
            program = self._lower_for(opened)
        except SpecError as error:
            raise SpecError(f"{self.called()} cannot stream, where the number of steps is open: {error}") from None
        return streaming.streaming(program, self.called())

    @property
    def states(self) -> dict[str, Array]:
        """The states that stateful layers keep between calls, by name; copies. Assign them to go back to them."""
        return {name: array.copy() for name, array in self._states.items()}

    @states.setter
    def states(self, states: Mapping[str, Any]) -> None:
        kept = {c.name: self.program.values[c.before].shape for c in self.program.carries if c.stateful}
        given = {name: np.shape(array) for name, array in states.items()} if isinstance(states, Mapping) else states
        if not isinstance(given, dict) or not set(given) <= set(kept) or any(given[n] != kept[n] for n in given):
            raise InputError(f"{self.called()}: states given {given}; expected {kept}, or none of them")
        self._states = {name: np.array(array, self.dtype) for name, array in states.items()}

    def reset_states(self) -> None:
        """Sets the states of stateful layers back to zero."""
        self._states.clear()

    reset_state = reset_states  # Keras 3 has both names

    # Files and JSON.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes description and weights to one ``.safetensors`` file, atomically; see docs/weight-file.md."""
        from lstmcore.models import files

        files.save(self, path)

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """The same file as `save` writes."""
        self.save(path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Takes the weights from a file, by name. A FileError says what does not fit; then none is taken."""
        from lstmcore.models import files

        files.load_weights(self, path)

    def to_json(self, **kwargs: Any) -> str:
        """The description in Keras 3's JSON; ``kwargs`` go to ``json.dumps``."""
        return json.dumps(self.serialize(), **kwargs)
