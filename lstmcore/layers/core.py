"""InputLayer, Dense, Embedding: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.initializers import Constant, Initializer
from lstmcore.layers import options
from lstmcore.layers.activation import activated
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.symbolic import Call, SymbolicTensor
from lstmcore.ops import Kind, Tensor
from lstmcore.program import Builder, Value


@spec
class InputLayer(Layer):
    """What a model is fed: ``shape`` without the batch axis, or ``batch_shape`` with it.

    None stands for a length that may vary. ``dtype`` names an integer dtype for token ids.
    """

    input_kind: ClassVar[Kind | None] = None
    positional: ClassVar[tuple[str, ...]] = (
        "shape",
        "batch_size",
        "dtype",
        "sparse",
        "ragged",
        "batch_shape",
        "input_tensor",
        "optional",
        "name",
    )

    shape: Any = option(options.SHAPE, default=None, config=False, kw_only=True)
    dtype: str | None = option(options.INPUT_DTYPE, default=None, kw_only=True)
    sparse: bool | None = option(options.choice(False, None), default=None, kw_only=True)
    ragged: bool | None = option(options.choice(False, None), default=None, kw_only=True)
    batch_shape: Any = option(options.SHAPE, default=None, kw_only=True)
    input_tensor: None = option(options.ABSENT, default=None, config=False, kw_only=True)
    optional: bool = option(options.choice(False), default=False, kw_only=True)
    trainable: bool = option(options.FLAG, default=True, config=False, kw_only=True)

    def check(self) -> None:
        given = [s for s in (self.shape, self.batch_shape, self.input_shape, self.batch_input_shape) if s is not None]
        if len(given) != 1 or (self.batch_size is not None and self.batch_shape is not None):
            raise SpecError(f"{self.called()}: give one of shape (without batch) and batch_shape (with it)")
        full = self.batch_shape or self.batch_input_shape or (self.batch_size, *given[0])
        if () in (self.batch_shape, self.batch_input_shape):
            raise SpecError(f"{self.called()}: batch_shape is (); expected the batch axis and the rest")
        for name, value in (("batch_shape", full), ("shape", full[1:]), ("sparse", False), ("ragged", False)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "dtype", self.dtype or "float32")

    @property
    def built(self) -> bool:
        return True

    @property
    def kind(self) -> Kind:
        """The kind of number it declares."""
        name = self.dtype or "float32"
        return "float" if name in options.FLOATS else "bool" if name == "bool" else "int"


def Input(  # noqa: N802  Keras' name
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> SymbolicTensor:
    """What a model is fed, as a symbolic tensor to call layers on, or the first entry of a Sequential.

    ``Input((13, 5))``: 13 steps of 5 features.
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        ragged=ragged,
        batch_shape=batch_shape,
        input_tensor=tensor,
        optional=optional,
        name=name,
    )
    return symbolic_input(layer)


def symbolic_input(layer: InputLayer) -> SymbolicTensor:
    """The symbolic tensor that an InputLayer stands for."""
    (made,) = Call(layer, {}).finish([(Tensor(layer.batch_shape, layer.kind), None)], layer.dtype or "float32")
    return made


@spec
class Dense(Layer):
    """``activation(x @ kernel + bias)`` over the last axis: (batch, ..., features) -> (batch, ..., units)."""

    initializers: ClassVar[Mapping[str, str]] = {"kernel": "kernel_initializer", "bias": "bias_initializer"}

    units: int = option(options.POSITIVE)
    activation: Any = option(options.ACTIVATION, default=None)
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    lora_rank: None = option(options.ABSENT, default=None, config=False)
    lora_alpha: None = option(options.ABSENT, default=None, config=False)
    quantization_config: None = option(options.ABSENT, default=None)

    def op(self) -> ops.Affine:
        return ops.Affine(self.units, self.use_bias)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        (y,) = build.op(self.op(), x)
        return (activated(build, self.activation, y),), mask


@spec
class Embedding(Layer):
    """A row of a table per token id: int (batch, ...) -> (batch, ..., output_dim).

    Ids outside [0, input_dim) are an InputError on every engine. With ``mask_zero``, id 0 is padding:
    its positions are masked for the layers that follow. ``weights=[table]`` gives the table to start from.
    """

    input_kind: ClassVar[Kind | None] = "int"
    initializers: ClassVar[Mapping[str, str]] = {"embeddings": "embeddings_initializer"}
    spellings: ClassVar[Mapping[str, str]] = {"weights": "initial_weights"}

    input_dim: int = option(options.POSITIVE)
    output_dim: int = option(options.POSITIVE)
    embeddings_initializer: Any = option(options.INITIALIZER, default="uniform")
    embeddings_regularizer: Any = option(options.REGULARIZER, default=None)
    embeddings_constraint: Any = option(options.CONSTRAINT, default=None)
    mask_zero: bool = option(options.FLAG, default=False)
    initial_weights: Any = option(options.ARRAYS, default=None, config=False)
    lora_rank: None = option(options.ABSENT, default=None, config=False)
    lora_alpha: None = option(options.ABSENT, default=None, config=False)
    quantization_config: None = option(options.ABSENT, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, kw_only=True)

    def check(self) -> None:
        shapes = [array.shape for array in self.initial_weights or []]
        if self.initial_weights is not None and shapes != [(self.input_dim, self.output_dim)]:
            raise SpecError(
                f"{self.called()}: weights of shapes {shapes}; "
                f"expected one of shape {(self.input_dim, self.output_dim)}"
            )

    def op(self) -> ops.Embed:
        return ops.Embed(self.input_dim, self.output_dim)

    def initializer(self, weight: str) -> Initializer:
        return Constant(self.initial_weights[0]) if self.initial_weights else self.embeddings_initializer

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        (y,) = build.op(self.op(), x)
        if self.mask_zero:
            (mask,) = build.op(ops.NotEqual(0), x, name="mask")
        return (y,), mask
