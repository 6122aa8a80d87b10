"""MultiHeadAttention: arguments and numbers of Keras 3.15, measured."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from lstmcore import activations, ops
from lstmcore.errors import SpecError
from lstmcore.initializers import Initializer
from lstmcore.layers import options
from lstmcore.layers.attention import only_allowed, softmax, thinned
from lstmcore.layers.base import Layer
from lstmcore.layers.broadcasting import combined, number, with_axis
from lstmcore.layers.module import Lowered, Mask
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import known_length
from lstmcore.ops import Shape
from lstmcore.ops.base import may_equal
from lstmcore.program import Builder, Value

_WEIGHTS = [
    f"{part}/{weight}"
    for part in ("query", "key", "gate", "value", "attention_output")
    for weight in ("kernel", "bias")
]


class Axes(NamedTuple):
    """Letters for the axes: of the query, of key and value, and of the scores, those of the features aside.

    ``over`` are the axes that attention goes over. Other letters: N head, H its features in query and key, V in
    the value, I features of an input.
    """

    over: tuple[int, ...]
    query: str
    key: str
    scores: str

    @classmethod
    def of(cls, rank: int, over: tuple[int, ...]) -> Axes:
        """For inputs with so many axes: scores over (batch, axes left alone, head, queries, keys)."""
        query = string.ascii_lowercase[: rank - 1]
        fresh = dict(zip(over, string.ascii_lowercase[rank - 1 :], strict=False))
        key = "".join(fresh.get(k, letter) for k, letter in enumerate(query))
        alone = "".join(letter for k, letter in enumerate(query) if k not in over)
        return cls(over, query, key, f"{alone}N{''.join(query[k] for k in over)}{''.join(key[k] for k in over)}")


@spec
class MultiHeadAttention(Layer):
    """Attention in ``num_heads`` heads (Vaswani et al. 2017), called on (query, value, key); the key may be left out::

        q, k, v = query @ Wq + bq, key @ Wk + bk, value @ Wv + bv        (B, T, N, H); v (B, S, N, V)
        scores = q kᵀ / √key_dim of each head                            (B, N, T, S)
        y = Σ (softmax(scores) @ v ⊙ gate) @ Wo + bo over the heads      (B, T, *output_shape)

    query (B, T, D); value, key (B, S, any); output_shape None is (D,). With ``use_gate`` gate is σ(query @ Wg + bg),
    else 1. Weights: kernels (D, N, H), biases (N, H) of query, key, value and attention_output, whose kernel is
    (N, V, *output_shape). Inputs may have more axes; ``attention_axes`` are those that attention goes over, None all
    but batch and features.

    Masks of query (B, T), value and key (B, S), ``attention_mask`` (B, T, S), True where q may look at k,
    ``use_causal_mask``, k <= q, and ``sliding_window``, abs(q - k) < sliding_window, hold together; the query's goes
    on. A query that may look at nothing looks at everything evenly; but where the scores are returned, with dropout,
    and on inputs of other than three axes, it attends to nothing: y is the bias (Keras 3.15 on TensorFlow, measured).
    An explicit ``query_mask`` counts as one that comes with the query does; Keras 3.15 ignores it.
    """

    call_arguments: ClassVar[tuple[str, ...]] = (
        *("query", "value", "key", "query_mask", "value_mask", "key_mask"),
        *("attention_mask", "return_attention_scores", "training", "use_causal_mask"),
    )
    masked_arguments: ClassVar[tuple[str, ...]] = ("value", "key")
    takes_several: ClassVar[bool] = True  # to say itself what it is called on
    initializers: ClassVar[Mapping[str, str]] = {path: f"{path.rpartition('/')[2]}_initializer" for path in _WEIGHTS}

    num_heads: int = option(options.POSITIVE)
    key_dim: int = option(options.POSITIVE)
    value_dim: Any = option(options.COUNT, default=None)
    dropout: float = option(options.RATE, default=0.0)
    use_bias: bool = option(options.FLAG, default=True)
    output_shape: Any = option(options.OPTIONAL_LENGTHS, default=None)
    attention_axes: Any = option(options.OPTIONAL_AXES, default=None)
    sliding_window: Any = option(options.COUNT, default=None)
    flash_attention: Any = option(options.choice(None, False), default=None, config=False)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    use_gate: bool = option(options.FLAG, default=False)
    seed: Any = option(options.SEED, default=None)

    def check(self) -> None:
        object.__setattr__(self, "value_dim", self.value_dim or self.key_dim)

    def initializer(self, weight: str) -> Initializer:
        """As Keras counts the fans of a kernel: what it sums over, and what it makes."""
        found = super().initializer(weight)
        if not weight.endswith("kernel") or getattr(found, "input_axes", ()) is not None:
            return found
        made = len(self.output_shape or (0,))
        fans = ((0, 1), tuple(range(2, 2 + made))) if weight.startswith("attention_output") else ((0,), (1, 2))
        return replace(found, input_axes=fans[0], output_axes=fans[1])  # type: ignore[type-var]  # a dataclass

    def serialize(self) -> dict[str, Any]:
        """Without the shapes that it was built for, as Keras' way of reading those would take one input for all."""
        return {key: value for key, value in super().serialize().items() if key != "build_config"}

    def outline(self, input_shape: Any) -> tuple[Builder, tuple[Value, ...]]:
        """The layer lowered for the shapes of query, value and, if it is there, key."""
        build = Builder()
        names = ("query", "value", "key")
        pairs = zip(names, input_shape, strict=False)
        given: dict[str, Any] = {n: build.input(n, self._checked_shape(s)) for n, s in pairs if s is not None}
        outputs, _ = self.lower(build, given.pop("query"), None, **given)
        return build, outputs

    def compute_output_shape(  # type: ignore[override]  # it has several inputs
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> Any:
        """The shape of the output for these, each with its batch axis."""
        return super().compute_output_shape([query_shape, value_shape, key_shape])

    def build(  # type: ignore[override]  # it has several inputs
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Makes the weights for inputs of these shapes, once."""
        super().build([shape for shape in (query_shape, value_shape, key_shape) if shape is not None])

    def lower(
        self,
        build: Builder,
        x: Value,
        mask: Mask,
        value: Any = None,
        key: Any = None,
        query_mask: Mask = None,
        value_mask: Mask = None,
        key_mask: Mask = None,
        attention_mask: Mask = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Lowered:
        key = value if key is None else key
        axes = self._axes(x, value, key)
        mask = mask if query_mask is None else query_mask
        q = self._projected(build, "query", x, axes.query, "H", self.key_dim)
        k = self._projected(build, "key", key, axes.key, "H", self.key_dim)
        gate = self._projected(build, "gate", x, axes.query, "V", self.value_dim) if self.use_gate else None
        if gate is not None:
            (gate,) = build.op(ops.Activate(activations.function("sigmoid")), gate, name="gate")
        v = self._projected(build, "value", value, axes.key, "V", self.value_dim)
        projections = [q, k, v, *([] if gate is None else [gate])]
        (q,) = build.op(ops.Binary("multiply"), q, number(build, 1 / math.sqrt(self.key_dim), q), name="scaled")
        (scores,) = build.op(ops.Einsum(f"{axes.query}NH,{axes.key}NH->{axes.scores}"), q, k, name="scores")
        reach = [*_sequence_masks(build, scores, axes, mask, value_mask, key_mask)]
        if attention_mask is not None:
            reach.append(_grown(build, "attention_mask", _as_bool(build, attention_mask), scores, axes))
        if use_causal_mask or self.sliding_window:
            reach += self._near(build, scores, axes, use_causal_mask)
        allowed = combined(build, "and", reach) if reach else None
        weights = _softmax_over(build, only_allowed(build, allowed, scores), len(axes.over))
        weights = thinned(build, weights, self.dropout)
        if allowed is not None and (return_attention_scores or self.dropout or len(x.shape) != 3):
            (weights,) = build.op(ops.Select(), allowed, weights, number(build, 0, weights), name="allowed")
        (y,) = build.op(ops.Einsum(f"{axes.scores},{axes.key}NV->{axes.query}NV"), weights, v, name="attended")
        if gate is not None:
            (y,) = build.op(ops.Binary("multiply"), y, gate, name="gated")
        y = self._output(build, y, axes, known_length(x, len(x.shape) - 1))
        super().penalize(build, [*projections, y])
        return ((y, weights) if return_attention_scores else (y,)), mask

    def _axes(self, query: Any, value: Any, key: Any) -> Axes:
        """The axes of a call on inputs that fit each other."""
        if not all(isinstance(x, Value) for x in (query, value, key)):
            raise SpecError("it is called on a query and a value, and perhaps a key: layer(query, value, key=None)")
        shapes = [x.shape for x in (query, value, key)]
        rank = len(query.shape)
        over = tuple(range(1, rank - 1)) if self.attention_axes is None else self.attention_axes
        over = tuple(axis + rank if axis < 0 else axis for axis in over)
        if not over or len(set(over)) < len(over) or not set(over) <= set(range(1, rank - 1)):
            raise SpecError(
                f"attention over the axes {self.attention_axes} of a query of shape {query.shape}; "
                "expected one or several of those between batch and features, each once"
            )
        alone = [k for k in range(rank - 1) if k not in over]
        fit = len({len(shape) for shape in shapes}) == 1 and all(map(may_equal, value.shape[:-1], key.shape[:-1]))
        if not fit or not all(may_equal(query.shape[k], value.shape[k]) for k in alone):
            raise SpecError(
                f"query, value and key have shapes {query.shape}, {value.shape}, {key.shape}; expected "
                "(batch, queries, features), and (batch, keys, features) with as many keys in value and key"
            )
        return Axes.of(rank, over)

    def _projected(self, build: Builder, part: str, x: Value, letters: str, last: str, width: int) -> Value:
        """``x @ kernel + bias`` per head."""
        features = known_length(x, len(x.shape) - 1)
        with build.scope(part):
            kernel = build.weight("kernel", (features, self.num_heads, width))
            (y,) = build.op(ops.Einsum(f"{letters}I,IN{last}->{letters}N{last}"), x, kernel)
            return self._biased(build, y, (self.num_heads, width))

    def _output(self, build: Builder, y: Value, axes: Axes, features: int) -> Value:
        """The heads put together again."""
        shape = self.output_shape or (features,)
        made = "".join(letter for letter in string.ascii_uppercase if letter not in "NV")[: len(shape)]
        with build.scope("attention_output"):
            kernel = build.weight("kernel", (self.num_heads, self.value_dim, *shape))
            (y,) = build.op(ops.Einsum(f"{axes.query}NV,NV{made}->{axes.query}{made}"), y, kernel)
            return self._biased(build, y, shape)

    def _biased(self, build: Builder, y: Value, shape: tuple[int, ...]) -> Value:
        if self.use_bias:
            (y,) = build.op(ops.Binary("add"), y, build.weight("bias", shape), name="biased")
        return y

    def penalize(self, build: Builder, outputs: Sequence[Value]) -> None:
        """Adds nothing more: the regularizer is for what the projections make, which `lower` sees (Keras 3.15)."""

    def _near(self, build: Builder, scores: Value, axes: Axes, causal: bool) -> Sequence[Value]:
        """What the places of query and key allow."""
        if len(axes.over) > 1:
            raise SpecError(f"a causal mask or a sliding window needs one axis of attention, not {axes.over}")
        masks = build.op(ops.Causal(), scores, name="causal") if causal else ()
        return [*masks, *(_window(build, scores, self.sliding_window) if self.sliding_window else ())]


def _window(build: Builder, scores: Value, width: int) -> tuple[Value, Value]:
    """``k < q + width`` and ``k > q - width``: causal masks of scores that are longer by as much."""
    keys = len(scores.shape) - 1
    lengths = scores.shape[-2:]
    width = width if None in lengths else min(width, max(n or 0 for n in lengths))
    (longer,) = build.op(ops.Pad(keys - 1, width - 1, 0), scores, name="longer")
    (before,) = build.op(ops.Slice(keys - 1, width - 1), *build.op(ops.Causal(), longer, name="causal"), name="before")
    (longer,) = build.op(ops.Pad(keys, width, 0), scores, name="longer")
    (far,) = build.op(ops.Slice(keys, width), *build.op(ops.Causal(), longer, name="causal"), name="far")
    return before, build.op(ops.Unary("not"), far, name="after")[0]


def _softmax_over(build: Builder, scores: Value, count: int) -> Value:
    """A softmax over the last axes together, so many."""
    if count == 1:
        return softmax(build, scores)
    axes = tuple(range(len(scores.shape) - count, len(scores.shape)))
    (top,) = build.op(ops.Reduce("max", axes, keepdims=True), scores, name="top")
    (below,) = build.op(ops.Binary("subtract"), scores, top, name="below")
    (share,) = build.op(ops.Unary("exp"), below, name="share")
    (total,) = build.op(ops.Reduce("sum", axes, keepdims=True), share, name="total")
    return build.op(ops.Binary("divide"), share, total, name="weights")[0]


def _as_bool(build: Builder, mask: Value) -> Value:
    return mask if mask.kind == "bool" else build.op(ops.NotEqual(0), mask, name="attention_mask")[0]


def _sequence_masks(build: Builder, scores: Value, axes: Axes, query: Mask, value: Mask, key: Mask) -> list[Value]:
    """The masks of the inputs, which end with the axis that attention goes over, as masks of the scores."""
    masks = []
    for name, mask in (("query", query), ("value", value), ("key", key)):
        if mask is None:
            continue
        if len(axes.over) > 1 or len(mask.shape) != axes.over[0] + 1:
            raise SpecError(
                f"a mask of shape {mask.shape} comes with the {name}; expected one axis of attention, not {axes.over}, "
                "and a mask that ends with it"
            )
        rank = len(mask.shape)
        masks.append(_grown(build, f"{name}_mask", with_axis(build, mask, rank - (name != "query")), scores, axes))
    return masks


def _grown(build: Builder, name: str, mask: Value, scores: Value, axes: Axes) -> Value:
    """A mask (batch, ..., queries, keys) with axes of length 1 for those that it lacks before the queries."""
    given: Shape = mask.shape
    last = 2 * len(axes.over)
    if last < len(given) <= len(scores.shape):
        while len(mask.shape) < len(scores.shape):
            mask = with_axis(build, mask, len(mask.shape) - last)
        if all(n == 1 or may_equal(n, m) for n, m in zip(mask.shape, scores.shape, strict=True)):
            return mask
    raise SpecError(
        f"{name} has shape {given}; the scores have shape {scores.shape}, (batch, ..., heads, queries, keys): "
        "expected all their axes, or the batch and the last ones"
    )
