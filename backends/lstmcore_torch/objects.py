"""Modules of PyTorch in this process, to models of lstmcore: `from_module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lstmcore import layers
from lstmcore.errors import SpecError
from lstmcore.interop.pytorch.live import filled, taken
from lstmcore.models.base import BaseModel
from lstmcore.models.files import model_from_json
from lstmcore.models.sequential import Sequential

SPEC = "lstmcore_spec"
_AXES = "channels_first"


def from_module(
    module: nn.Module,
    input_shape: Sequence[int | None] | None = None,
    *,
    spec: BaseModel | None = None,
    map: Mapping[str, Any] | None = None,
    ignore: Sequence[str] = (),
    return_state: bool = False,
) -> BaseModel:
    """The model that computes what a module does in ``eval()``, with copies of its weights.

    ::

        model = lstmcore_torch.from_module(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)))
        model = lstmcore_torch.from_module(nn.LSTM(3, 5, num_layers=2, bidirectional=True))
        model = lstmcore_torch.from_module(net, spec=model, map={"lstm": "encoder.rnn"})  # a forward of your own

    A recurrent module gives all outputs, and with ``return_state`` also the final states: of each layer, forwards then
    backwards, h (and c). The batch comes first, whatever ``batch_first`` says of the module; other modules keep their
    axes, so that those of a `nn.Conv1d` are (batch, channels, time).

    Args:
        module: a standard module, an `nn.Sequential` of them, or one whose class lstmcore wrote.
        input_shape: of the input, without the batch, where the first module leaves it open: ``(channels, time)``.
        spec: for a module with a ``forward`` of its own: the model that computes the same. It is given the weights.
        map: with ``spec``: which layer is which module, as in ``lc.import_model``.
        ignore: with ``spec``: modules to leave out.
        return_state: whether a recurrent module at the end also gives its final states.

    Raises:
        SpecError: a module or an option of it that lstmcore lacks, by its name.
        WeightsMismatchError: the module does not fit ``spec``.
    """
    if not isinstance(module, nn.Module):
        raise SpecError(f"from_module takes an nn.Module; given {type(module).__name__}")
    found = getattr(module, SPEC, None)
    if spec is None and isinstance(found, str):
        spec = model_from_json(found)
    if spec is not None:
        return taken(spec, type(module).__name__, _arrays(module), map, ignore)
    if map or ignore:
        raise SpecError("map= and ignore= go with spec=, the model that they are about")
    arrays = _arrays(module)
    double = any(array.dtype.name == "float64" for array in arrays.values())
    chain = _Chain(return_state, "float64" if double else "float32")
    chain.add(module, "")
    return chain.model(input_shape, arrays, type(module).__name__)


def _arrays(module: nn.Module) -> dict[str, Any]:
    """The tensors of its state_dict as arrays; bfloat16, which NumPy lacks, as float32."""
    arrays = {}
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            plain = tensor.detach().cpu()
            arrays[name] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return arrays


class _Chain:
    """The layers of a chain of modules, as they are added; each with the module that its weights are of."""

    def __init__(self, return_state: bool, dtype: str) -> None:
        self.dtype = dtype
        self.layers: list[Any] = []
        self.places: list[tuple[Any, str]] = []
        self.shape: list[int | None] | None = None
        self.ids = False
        self.rank: int | None = None
        self.time_first = False
        self.return_state = return_state
        self.ended = ""

    def add(self, module: nn.Module, name: str) -> None:
        """Appends what a module does."""
        called = f"{name or 'the module'}: {module}"
        if self.ended:
            raise SpecError(
                f"{name}: {type(module).__name__} follows {self.ended}, which gives a tuple, so PyTorch itself cannot "
                "run this chain. Where a module of yours takes the output from the tuple: from_module(module, spec=...)"
            )
        _plain(module, called)
        if type(module) is nn.Sequential:
            for part, inner in module.named_children():
                self.add(inner, f"{name}.{part}" if name else part)
            return
        build = _BUILDERS.get(type(module))
        if build is None:
            raise SpecError(
                f"{name or 'the module'}: {type(module).__module__}.{type(module).__name__} is no standard module that "
                "lstmcore knows, and its forward cannot be read. Build the model that computes the same, and give it "
                "the weights: from_module(module, spec=model), or lc.import_model(path, spec=model, map=...)"
            )
        try:
            build(self, module, name)
        except SpecError as error:
            raise SpecError(f"{called}: {str(error).removeprefix(f'{called}: ')}") from None

    def new(self, kind: Any, *args: Any, **options: Any) -> Any:
        """A layer of the module's dtype."""
        return kind(*args, dtype=self.dtype, **options)

    def put(self, layer: Any, place: str | None = None) -> None:
        """Appends a layer, its weights in the module of that name."""
        self.layers.append(layer)
        if place is not None:
            self.places.append((layer, place))

    def enters(self, *shape: int | None, ids: bool = False) -> None:
        """What the first module that minds takes."""
        if self.shape is None:
            self.shape, self.ids = list(shape), ids
            self.rank = len(shape) + 1

    def needs_batch_first(self, what: str) -> None:
        if self.time_first:
            raise SpecError(f"{what} after a recurrent module without batch_first=True takes time for the batch")

    def model(self, input_shape: Sequence[int | None] | None, arrays: Mapping[str, Any], name: str) -> BaseModel:
        """The model, its weights filled."""
        shape = self.shape if input_shape is None else list(input_shape)
        if shape is None:
            raise SpecError("no module says what the input looks like: give input_shape=, without the batch")
        if not self.layers:
            raise SpecError("the module does nothing: there is no layer")
        entry = layers.Input(tuple(shape), dtype="int32" if self.ids else self.dtype)
        try:
            made = Sequential([entry, *self.layers])
            made.program  # noqa: B018  builds the weights
        except SpecError as error:
            hint = "" if input_shape is not None else "; give input_shape=, without the batch"
            raise SpecError(f"for an input of shape {tuple(shape)}: {error}{hint}") from None
        filled(made, self.places, name, arrays)
        return made


def _plain(module: nn.Module, called: str) -> None:
    """SpecError where something acts on a module that its class does not say."""
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    if any(getattr(module, name, None) for name in hooks):
        raise SpecError(f"{called} has hooks, such as weight_norm's; remove them: they may change what it computes")
    if "forward" in vars(module):
        raise SpecError(f"{called} has a forward of its own")


# The rows.


def _no(**options: tuple[Any, Any]) -> None:
    """SpecError for the first option that is not as it must be: name=(given, needed)."""
    for name, (given, needed) in options.items():
        if given != needed:
            raise SpecError(f"{name}={given!r} has no counterpart; expected {needed!r}")


def _one(value: Any) -> int:
    """A length that PyTorch keeps as a number or as a tuple of one."""
    return int(value[0] if isinstance(value, tuple) else value)


def _linear(chain: _Chain, module: Any, name: str) -> None:
    chain.enters(module.in_features)
    chain.put(chain.new(layers.Dense, module.out_features, use_bias=module.bias is not None), name)


def _embedding(chain: _Chain, module: Any, name: str) -> None:
    _no(max_norm=(module.max_norm, None))
    chain.enters(None, ids=True)
    chain.put(chain.new(layers.Embedding, module.num_embeddings, module.embedding_dim), name)
    chain.rank = None if chain.rank is None else chain.rank + 1


def _conv(chain: _Chain, module: Any, name: str) -> None:
    chain.needs_batch_first("nn.Conv1d")
    (size,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    padding = module.padding
    if padding not in ("valid", "same", (0,)):
        _no(padding_mode=(module.padding_mode, "zeros"))
        chain.enters(module.in_channels, None)
        chain.put(chain.new(layers.ZeroPadding1D, _one(padding), data_format=_AXES))
    if padding == "same":
        _no(padding_mode=(module.padding_mode, "zeros"))
    chain.enters(module.in_channels, None)
    layer = chain.new(
        layers.Conv1D,
        module.out_channels,
        size,
        strides=stride,
        padding="same" if padding == "same" else "valid",
        data_format=_AXES,
        dilation_rate=dilation,
        groups=module.groups,
        use_bias=module.bias is not None,
    )
    chain.put(layer, name)
    chain.rank = 3


def _batch_norm(chain: _Chain, module: Any, name: str) -> None:
    chain.needs_batch_first("nn.BatchNorm1d")
    if not module.track_running_stats or module.running_mean is None:
        raise SpecError("track_running_stats=False has no counterpart: it has no statistics to predict with")
    if module.momentum is None:
        raise SpecError("momentum=None has no counterpart: the mean of all batches")
    chain.enters(module.num_features)
    affine = module.weight is not None
    layer = chain.new(
        layers.BatchNormalization, axis=1, momentum=1 - module.momentum, epsilon=module.eps, center=affine, scale=affine
    )
    chain.put(layer, name)


def _layer_norm(chain: _Chain, module: Any, name: str) -> None:
    shape = tuple(module.normalized_shape)
    chain.enters(*shape)
    axes = list(range(-len(shape), 0))
    layer = chain.new(
        layers.LayerNormalization,
        axis=-1 if len(axes) == 1 else axes,
        epsilon=module.eps,
        center=module.bias is not None,
        scale=module.weight is not None,
    )
    chain.put(layer, name if module.weight is not None else None)


_RECURRENT: Mapping[type, Callable[..., Any]] = {
    nn.LSTM: lambda m, new, **options: new(layers.LSTM, m.hidden_size, **options),
    nn.GRU: lambda m, new, **options: new(layers.GRU, m.hidden_size, **options),
    nn.RNN: lambda m, new, **options: new(layers.SimpleRNN, m.hidden_size, activation=m.nonlinearity, **options),
}


def _recurrent(chain: _Chain, module: Any, name: str) -> None:
    if module.proj_size:
        raise SpecError(f"proj_size={module.proj_size} has no counterpart; expected 0")
    if chain.rank is not None and chain.rank != 3:
        raise SpecError(f"it is given {chain.rank} axes; expected (batch, time, features)")
    chain.enters(None, module.input_size)
    chain.time_first = chain.time_first or not module.batch_first
    for k in range(module.num_layers):
        last = k == module.num_layers - 1
        options = {"return_sequences": True, "use_bias": module.bias, "return_state": last and chain.return_state}
        layer = _RECURRENT[type(module)](module, chain.new, **options)
        chain.put(
            chain.new(layers.Bidirectional, layer) if module.bidirectional else layer,
            f"{name}.l{k}" if name else f"l{k}",
        )
        if module.dropout and not last:
            chain.put(chain.new(layers.Dropout, module.dropout))
    chain.rank = 3
    chain.ended = f"{name}: nn.{type(module).__name__}"


def _flatten(chain: _Chain, module: Any, name: str) -> None:
    chain.needs_batch_first("nn.Flatten")
    _no(start_dim=(module.start_dim, 1), end_dim=(module.end_dim, -1))
    chain.put(chain.new(layers.Flatten))
    chain.rank = 2


def _max_pool(chain: _Chain, module: Any, name: str) -> None:
    chain.needs_batch_first("nn.MaxPool1d")
    _no(
        padding=(_one(module.padding), 0),
        dilation=(_one(module.dilation), 1),
        ceil_mode=(module.ceil_mode, False),
        return_indices=(module.return_indices, False),
    )
    size, stride = _one(module.kernel_size), _one(module.stride)
    chain.put(chain.new(layers.MaxPooling1D, size, strides=stride, data_format=_AXES))


def _average_pool(chain: _Chain, module: Any, name: str) -> None:
    chain.needs_batch_first("nn.AvgPool1d")
    _no(padding=(_one(module.padding), 0), ceil_mode=(module.ceil_mode, False))
    size, stride = _one(module.kernel_size), _one(module.stride)
    chain.put(chain.new(layers.AveragePooling1D, size, strides=stride, data_format=_AXES))


def _global(layer: Any) -> Callable[..., None]:
    def build(chain: _Chain, module: Any, name: str) -> None:
        chain.needs_batch_first(f"nn.{type(module).__name__}")
        _no(output_size=(_one(module.output_size), 1))
        chain.put(chain.new(layer, data_format=_AXES, keepdims=True))

    return build


def _dropout(chain: _Chain, module: Any, name: str) -> None:
    chain.put(chain.new(layers.Dropout, module.p))


def _prelu(chain: _Chain, module: Any, name: str) -> None:
    """One slope, or one for each entry of axis 1; the others share it."""
    rank = chain.rank
    if rank is None:
        raise SpecError("what stands before it does not say how many axes its input has: put it after such a module")
    shared = list(range(1 if module.num_parameters == 1 else 2, rank))
    chain.put(chain.new(layers.PReLU, shared_axes=shared or None), name)


def _softmax(function: str) -> Callable[..., None]:
    def build(chain: _Chain, module: Any, name: str) -> None:
        axis = module.dim
        if axis is None or axis == 0 or (chain.rank is not None and axis == -chain.rank):
            raise SpecError(f"dim={axis} has no counterpart; expected an axis other than the batch, such as -1")
        chain.put(chain.new(layers.Activation, {"name": function, "axis": axis}))

    return build


def _function(name: str, **parameters: Any) -> Callable[..., None]:
    """An activation function; each parameter is the attribute of the module that has it, or a check of one."""

    def build(chain: _Chain, module: Any, _: str) -> None:
        given = {ours: getattr(module, theirs) for ours, theirs in parameters.items()}
        chain.put(chain.new(layers.Activation, {"name": name, **given} if given else name))

    return build


def _gelu(chain: _Chain, module: Any, name: str) -> None:
    chain.put(chain.new(layers.Activation, {"name": "gelu", "approximate": module.approximate == "tanh"}))


def _softplus(chain: _Chain, module: Any, name: str) -> None:
    _no(beta=(module.beta, 1.0))
    # from the threshold on PyTorch leaves x as it is, which differs by exp(-threshold)
    if module.threshold < 20:
        raise SpecError(f"threshold={module.threshold} has no counterpart; expected 20 or more")
    chain.put(chain.new(layers.Activation, "softplus"))


def _hard_tanh(chain: _Chain, module: Any, name: str) -> None:
    _no(min_val=(module.min_val, -1.0), max_val=(module.max_val, 1.0))
    chain.put(chain.new(layers.Activation, "hard_tanh"))


def _nothing(chain: _Chain, module: Any, name: str) -> None:
    pass


_BUILDERS: Mapping[type, Callable[[_Chain, Any, str], None]] = {
    nn.Linear: _linear,
    nn.Embedding: _embedding,
    nn.Conv1d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    **dict.fromkeys(_RECURRENT, _recurrent),
    nn.Flatten: _flatten,
    nn.MaxPool1d: _max_pool,
    nn.AvgPool1d: _average_pool,
    nn.AdaptiveAvgPool1d: _global(layers.GlobalAveragePooling1D),
    nn.AdaptiveMaxPool1d: _global(layers.GlobalMaxPooling1D),
    nn.Dropout: _dropout,
    nn.Identity: _nothing,
    nn.PReLU: _prelu,
    nn.ReLU: _function("relu"),
    nn.ReLU6: _function("relu6"),
    nn.LeakyReLU: _function("leaky_relu", negative_slope="negative_slope"),
    nn.ELU: _function("elu", alpha="alpha"),
    nn.CELU: _function("celu", alpha="alpha"),
    nn.SELU: _function("selu"),
    nn.GELU: _gelu,
    nn.SiLU: _function("silu"),
    nn.Mish: _function("mish"),
    nn.Sigmoid: _function("sigmoid"),
    nn.LogSigmoid: _function("log_sigmoid"),
    nn.Tanh: _function("tanh"),
    nn.Tanhshrink: _function("tanh_shrink"),
    nn.Hardtanh: _hard_tanh,
    nn.Hardsigmoid: _function("hard_sigmoid"),
    nn.Hardswish: _function("hard_silu"),
    nn.Hardshrink: _function("hard_shrink", threshold="lambd"),
    nn.Softshrink: _function("soft_shrink", threshold="lambd"),
    nn.Threshold: _function("threshold", threshold="threshold", default_value="value"),
    nn.Softplus: _softplus,
    nn.Softsign: _function("softsign"),
    nn.GLU: _function("glu", axis="dim"),
    nn.Softmax: _softmax("softmax"),
    nn.LogSoftmax: _softmax("log_softmax"),
}
