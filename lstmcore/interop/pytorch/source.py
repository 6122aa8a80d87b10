"""A model as the source of a PyTorch module: readable, and in need of PyTorch alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lstmcore.errors import LstmcoreError
from lstmcore.interop.pytorch.helpers import HELPERS
from lstmcore.interop.pytorch.scope import File, Layers, Scope, Site
from lstmcore.interop.pytorch.state import Entry
from lstmcore.interop.pytorch.text import atom, identifier, lines, quoted
from lstmcore.layers.base import Layer, placeholder_weights
from lstmcore.models.files import model_from_json, unbuilt_description
from lstmcore.ops import Tensor
from lstmcore.program import Builder, Program

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

HEAD = '"""A PyTorch model, written by lstmcore.'
MARK = "lstmcore_spec"
_COLUMNS = 76


@dataclass(frozen=True)
class Source:
    """The text of a module file, and what is in the state_dict that it loads.

    ``states`` maps each state that is kept from call to call to the attribute that holds it; ``spec`` is the
    model's description.
    """

    text: str
    entries: tuple[Entry, ...]
    states: Mapping[str, str]
    spec: str


def source(model: BaseModel, weights: str, traced: bool = False) -> Source:
    """The module of a model, which loads the file called ``weights`` beside it.

    With ``traced`` it also puts into a dict of the module's, `TRACE`, what leaves each layer, by the layer's name.
    The same model gives the same text. Names of layers become names of Python, and nothing else of the model's text
    becomes code.
    """
    program, paths = exported(model), model.one_path()
    trained = frozenset(paths[path] for path in model.trained_paths())
    file = File(model.dtype, trained, momenta(model))
    ends = (*program.inputs, *(f"-> {name}" for name in model.output_names))
    own = getattr(model, "batch_axes", {})
    axes = {name: own.get(name.removeprefix("-> "), 0) for name in ends}
    layers = tuple(_layers(model)) if traced else ()
    return _written(program, file, weights, paths, None, description(model), axes, layers)


def source_of(program: Program, dtype: str, weights: str, states: Sequence[str] | None = None) -> Source:
    """The same of a program, all of whose weights are trained; ``states`` are kept, by default the stateful ones."""
    return _written(program, File(dtype, frozenset(program.weights)), weights, {}, states, "")


def _written(
    program: Program,
    file: File,
    weights: str,
    paths: Mapping[str, str],
    states: Sequence[str] | None,
    spec: str,
    axes: Mapping[str, int | None] = MappingProxyType({}),
    traced: Sequence[str] = (),
) -> Source:
    if states is not None:
        carries = (replace(carry, stateful=carry.name in states) for carry in program.carries)
        program = replace(program, carries=tuple(carries))
    layers = Layers(file)
    arguments: list[str] = []
    for name in program.inputs:
        arguments.append(identifier(name, {*arguments, *file.taken}))
    kept = _states(layers, program)
    scope = Scope(layers, program, paths, arguments)
    scope.hold(kept)
    for name, value in zip(arguments, program.inputs, strict=True):
        scope.lines += _batch_first(name, axes.get(value, 0))
    write_nodes(scope, _tracing(scope, traced))
    body = list(_class(scope, kept, arguments, axes))
    rest = "\n".join([*_helpers(file), *body, *_loader(weights), *_end(spec), ""])
    text = "\n".join([*_head(file, weights, rest), rest])
    return Source(text, tuple(layers.entries), kept, spec)


def _batch_first(name: str, axis: int | None) -> list[str]:
    """Where the data have the batch elsewhere, or none of it, the rest has it first."""
    if axis == 0:
        return []
    return [f"{name} = {name}.unsqueeze(0)" if axis is None else f"{name} = {name}.movedim({axis}, 0)"]


def _batch_back(text: str, axis: int | None) -> str:
    if axis == 0:
        return text
    return f"{atom(text)}.squeeze(0)" if axis is None else f"{atom(text)}.movedim(0, {axis})"


def _layers(model: Any, prefix: str = "") -> Iterator[str]:
    """The paths of the layers, those of models inside too."""
    for name, layer in model.named_layers.items():
        yield prefix + name
        yield from _layers(layer, f"{prefix}{name}/") if hasattr(layer, "named_layers") else ()


def _tracing(scope: Scope, layers: Sequence[str]) -> dict[str, str]:
    """The first number that leaves each layer -> the layer."""
    values = scope.program.values
    made = {layer: [v for v in scope.leaves.get(layer, []) if values[v].kind == "float"] for layer in layers}
    return {found[0]: layer for layer, found in made.items() if found}


def exported(model: BaseModel) -> Program:
    """The model's program, with the noise of the layers that act in training."""
    build = Builder()
    build.noisy = True
    shapes = [model.program.values[name].shape for name in model.program.inputs]
    outputs, _ = model.lower_into(build, shapes)
    return build.finish([output.name for output in outputs])


def momenta(model: BaseModel) -> dict[str, float]:
    """The momentum of each BatchNormalization, by the path of its mean."""
    return {path: getattr(owner, "momentum", 0.99) for path, owner, name in model.owners() if name == "moving_mean"}


def write_nodes(scope: Scope, traced: Mapping[str, str] = MappingProxyType({})) -> None:
    """All nodes, by the table of writers; those values into the trace, under these names."""
    from lstmcore.interop.pytorch.bidirectional import pairs
    from lstmcore.interop.pytorch.writers import WRITERS

    scope.partners = pairs(scope)
    scope.second = {partner.outputs[0] for partner in scope.partners.values()}
    for position, node in enumerate(scope.nodes):
        scope.position = position
        if not scope.written(node):
            text = WRITERS[type(node.op)](Site(scope, node))
            if text is not None:
                scope.settle(node, text)
        for value in node.outputs:
            if value in traced:
                scope.line(f"TRACE[{quoted(traced[value])}] = {scope.named(value)}")
    scope.position = len(scope.nodes)


_TWO_BIASES = ("nn.LSTM(", "nn.RNN(")


def attributes(layers: Layers) -> Iterator[str]:
    """The method that makes what the class holds."""
    yield "    def __init__(self):"
    yield "        super().__init__()"
    if any(maker.startswith(_TWO_BIASES) and "bias=False" not in maker for maker in layers.made.values()):
        yield "        # PyTorch adds two biases where this model has one: bias_hh is zero, and training"
        yield "        # moves the sum twice as fast."
    for name, maker in layers.made.items():
        kind, _, value = maker.partition(":")
        if kind == "register_buffer":
            yield from lines(f'self.register_buffer("{name}", {value})')
        elif kind == "register_state":
            yield from lines(f'self.register_buffer("{name}", {value}, persistent=False)')
        else:
            yield from lines(f"self.{name} = {maker}")
    for statement in layers.after:
        yield from lines(statement)
    yield ""


def _states(layers: Layers, program: Program) -> dict[str, str]:
    """The states that the model keeps from call to call: carry -> attribute."""
    found = {}
    for carry in program.carries:
        if carry.stateful:
            shape = ", ".join(str(n or 1) for n in program.values[carry.before].shape)
            found[carry.name] = name = identifier(f"{carry.name}_state", layers.made)
            layers.made[name] = f"register_state:torch.zeros({shape})"
    return found


def _head(file: File, weights: str, rest: str) -> Iterator[str]:
    yield HEAD
    yield ""
    yield "load() gives it with its weights, Model() new."
    yield '"""'
    yield ""
    yield "from pathlib import Path"
    yield ""
    if re.search(r"(?<![\w.])torch\.", rest):
        yield "import torch"
    if re.search(r"(?<![\w.])F\.", rest):
        yield "import torch.nn.functional as F"
    if weights.endswith(".safetensors"):
        yield "from safetensors.torch import load_file"
    yield "from torch import Tensor, nn"
    yield from sorted({line for name in file.helpers for line in HELPERS[name].imports})


def _helpers(file: File) -> Iterator[str]:
    for name in file.helpers:
        yield "\n" + HELPERS[name].source.rstrip("\n")
    for text in file.classes.values():
        yield "\n\n" + text


def _class(
    scope: Scope, states: Mapping[str, str], arguments: Sequence[str], axes: Mapping[str, int | None]
) -> Iterator[str]:
    program = scope.program
    yield "\n\nclass Model(nn.Module):"
    yield from _described(program, arguments, axes)
    yield ""
    made = list(attributes(scope.layers))
    if scope.file.dtype == "float64":
        made.insert(len(made) - 1, "        self.double()")
    yield from made
    single = len(program.outputs) == 1
    returned = "Tensor" if single else "tuple[Tensor, ...]"
    head = f"    def forward(self, {', '.join(f'{name}: Tensor' for name in arguments)}) -> {returned}:"
    yield from _signature(head, arguments, returned)
    for statement in scope.lines:
        yield from lines(statement)
    for carry in program.carries:
        if carry.stateful:
            after = scope.read(carry.after).text
            yield from lines(f"self.{states[carry.name]} = {after}.detach()")
    ends = zip(program.outputs, _ends(axes) or [0] * len(program.outputs), strict=True)
    yield from lines(f"return {', '.join(_batch_back(scope.tensor(value), axis) for value, axis in ends)}")
    if states:
        yield ""
        yield "    def reset_states(self) -> None:"
        yield '        """Sets the states that are kept from call to call back to zero."""'
        for name in states.values():
            yield f"        self.{name} = torch.zeros_like(self.{name})"


def _signature(head: str, arguments: Sequence[str], returned: str) -> Iterator[str]:
    if len(head) <= 88:
        yield head
        return
    inside = ", ".join(["self", *(f"{name}: Tensor" for name in arguments)])
    yield "    def forward("
    if len(inside) + 8 <= 88:
        yield f"        {inside}"
    else:
        yield "        self,"
        yield from (f"        {name}: Tensor," for name in arguments)
    yield f"    ) -> {returned}:"


_KINDS = {"float": "", "int": ", integers", "bool": ", True or False"}


def _described(program: Program, arguments: Sequence[str], axes: Mapping[str, int | None]) -> Iterator[str]:
    yield '    """What goes in, and what comes out.'
    yield ""
    for name, value in zip(arguments, program.inputs, strict=True):
        yield f"    {name}: {_shape(program.values[value], axes.get(value, 0))}"
    for value, axis in zip(program.outputs, _ends(axes) or [0] * len(program.outputs), strict=True):
        yield f"    -> {_shape(program.values[value], axis)}"
    yield '    """'


def _ends(axes: Mapping[str, int | None]) -> list[int | None]:
    return [axis for name, axis in axes.items() if name.startswith("-> ")]


def _shape(tensor: Tensor, batch: int | None) -> str:
    words = ("batch", "time")
    shown = [str(n) if n is not None else words[k] if k < 2 else "?" for k, n in enumerate(tensor.shape)]
    if batch is None:
        shown = shown[1:]
    elif shown:
        shown.insert(batch, shown.pop(0))
    return f"({', '.join(shown)}{',' if len(shown) == 1 else ''}){_KINDS[tensor.kind]}"


def _loader(weights: str) -> Iterator[str]:
    read = "load_file(path)" if weights.endswith(".safetensors") else 'torch.load(path, "cpu", weights_only=True)'
    yield "\n"
    yield f"WEIGHTS = Path(__file__).with_name({quoted(weights)})"
    yield "\n"
    yield "def load(path=WEIGHTS) -> Model:"
    yield '    """The model with the weights of a state_dict, ready to predict."""'
    yield "    model = Model()"
    yield f"    model.load_state_dict({read})"
    yield "    return model.eval()"


def _end(text: str) -> Iterator[str]:
    """The model's description, for the way back."""
    if not text:
        return
    yield "\n"
    yield "# What this model is in lstmcore, which can read it back; nothing here needs it."
    yield f"Model.{MARK} = ("
    for start in range(0, len(text), _COLUMNS - 6):
        yield f"    {quoted(text[start : start + _COLUMNS - 6])}"
    yield ")"


def description(model: BaseModel) -> str:
    """The model's JSON without what is at its default."""
    full = unbuilt_description(model)
    short = json.dumps(_short(json.loads(full)), separators=(",", ":"))
    try:
        with placeholder_weights():
            same = unbuilt_description(model_from_json(short)) == unbuilt_description(model_from_json(full))
    except LstmcoreError:
        return full
    return short if same else full


_BESIDE = ("module", "registered_name", "build_config")


def _short(data: Any) -> Any:
    if isinstance(data, list):
        return [_short(entry) for entry in data]
    if not isinstance(data, dict):
        return data
    cls = Layer.registry.get(str(data.get("class_name")))
    config = data.get("config")
    if cls is not None and isinstance(config, dict) and data.get("registered_name") is None:
        defaults = _defaults(cls)
        data = {**data, "config": {k: v for k, v in config.items() if k not in defaults or defaults[k] != v}}
        data = {key: value for key, value in data.items() if key not in _BESIDE}
    return {key: _short(value) for key, value in data.items()}


def _defaults(cls: type[Layer]) -> dict[str, Any]:
    found = {}
    for f in cls.config_fields():
        if f.default is not MISSING:
            value = f.metadata["kind"].read(f.default)
            found[f.name] = None if value is None else json.loads(json.dumps(f.metadata["kind"].write(value)))
    return found
