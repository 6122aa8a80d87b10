"""Attention and AdditiveAttention: arguments and numbers of Keras 3.15, measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lstmcore import activations, initializers, ops
from lstmcore.errors import SpecError
from lstmcore.initializers import Initializer
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.broadcasting import combined, listed, number, over_features, with_axis
from lstmcore.layers.module import Lowered, Mask
from lstmcore.layers.options import option, spec
from lstmcore.layers.regularization import dropped
from lstmcore.layers.shapes import known_length
from lstmcore.ops.base import may_equal
from lstmcore.program import Builder, Value

HIDDEN = -1e9  # the score of what may not be looked at; exp(HIDDEN) is 0 in every dtype


def only_allowed(build: Builder, allowed: Mask, scores: Value) -> Value:
    """The scores, `HIDDEN` where not allowed: a softmax then leaves that out, or is uniform where all is hidden."""
    if allowed is None:
        return scores
    return build.op(ops.Select(), allowed, scores, number(build, HIDDEN, scores), name="allowed")[0]


def softmax(build: Builder, scores: Value) -> Value:
    """Over the last axis."""
    return build.op(ops.Activate(activations.function("softmax")), scores, name="weights")[0]


def thinned(build: Builder, weights: Value, dropout: float) -> Value:
    """The weights under dropout, which acts in training only; elsewhere a note says so."""
    if dropout and not build.training:
        build.note(f"{build.path('')[:-1]}: dropout acts in training only")
    return dropped(build, weights, dropout)


class SequenceAttention(Layer, abstract=True):
    """Base of the layers that are called on ``[query, value]`` or ``[query, value, key]``.

    query (B, ..., Tq, D), value (B, ..., Tv, V), key (B, ..., Tv, D), the value where it is left out::

        y = softmax(scores(query, key)) @ value        y (B, ..., Tq, V), scores (B, ..., Tq, Tv)

    ``mask`` is a list: that of the query, (B, Tq), makes the output 0 where False and goes on; that of the value,
    (B, Tv), says what may be looked at; a third one has no influence. With ``use_causal_mask`` query q looks at
    keys k <= q alone. A query that may look at nothing looks at everything evenly, as in Keras' float32 (in float64
    Keras adds -10^9 to the scores, and so looks as if nothing were masked).
    """

    takes_several: ClassVar[bool] = True
    call_arguments: ClassVar[tuple[str, ...]] = (
        *("inputs", "mask", "training", "return_attention_scores", "use_causal_mask"),
    )
    use_scale: bool
    dropout: float

    def scores(self, build: Builder, query: Value, key: Value) -> Value:
        """How much each query has to do with each key: (B, ..., Tq, Tv)."""
        raise NotImplementedError

    def lower(
        self,
        build: Builder,
        x: Any,
        mask: Any,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Lowered:
        query, value, key = _three(x)
        query_mask, value_mask = _two(mask, query)
        scores = self.scores(build, query, key)
        allowed = [] if value_mask is None else [with_axis(build, value_mask, 1)]
        if use_causal_mask:
            allowed += build.op(ops.Causal(), scores, name="causal")
        weights = softmax(build, only_allowed(build, combined(build, "and", allowed) if allowed else None, scores))
        weights = thinned(build, weights, self.dropout)
        lead = _lead(query)
        (y,) = build.op(ops.Einsum(f"{lead}qk,{lead}kv->{lead}qv"), weights, value, name="attended")
        if query_mask is not None:
            counts = over_features(build, query_mask, y)
            (y,) = build.op(ops.Select(), counts, y, number(build, 0, y), name="masked")
        return ((y, weights) if return_attention_scores else (y,)), query_mask


def _lead(x: Value) -> str:
    """Letters for the axes before the last two."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(x.shape) - 2]


def _three(x: Any) -> tuple[Value, Value, Value]:
    """Query, value and key of a call, which fit each other."""
    names = "[query, value] or [query, value, key]"
    inputs = listed(x, names)
    shapes = [value.shape for value in inputs]
    if len(inputs) not in (2, 3):
        raise SpecError(f"it was called on {len(inputs)} tensors; expected {names}")
    query, value, key = (*inputs, inputs[1])[:3]
    fits = len({len(shape) for shape in shapes}) == 1 and len(query.shape) > 2
    if not (
        fits
        and all(map(may_equal, query.shape[:-2], value.shape[:-2]))
        and all(map(may_equal, key.shape[:-1], value.shape[:-1]))
        and may_equal(query.shape[-1], key.shape[-1])
    ):
        raise SpecError(
            f"query, value and key have shapes {query.shape}, {value.shape}, {key.shape}; expected "
            "(batch, queries, features), (batch, keys, any) and (batch, keys, features)"
        )
    return query, value, key


def _two(mask: Any, query: Value) -> tuple[Mask, Mask]:
    """The masks of query and value."""
    masks = [None, None] if mask is None else mask
    if not isinstance(masks, (list, tuple)) or len(masks) not in (2, 3):
        given = f"a list of {len(masks)}" if isinstance(masks, (list, tuple)) else "one alone"
        raise SpecError(f"the mask is {given}; expected a list, [mask of the query, mask of the value], or None in it")
    for one in masks[:2]:
        if one is not None and (len(one.shape) != 2 or len(query.shape) != 3):
            raise SpecError(
                f"a mask of shape {one.shape} goes with a query of shape {query.shape}; "
                "expected (batch, time) and (batch, time, features)"
            )
    return masks[0], masks[1]


@spec
class Attention(SequenceAttention):
    """Attention by products (Luong et al. 2015), or by sums; calls and masks: see `SequenceAttention`.

    With ``score_mode`` "dot", ``scores = scale query @ keyᵀ``; with "concat",
    ``scores = concat_score_weight Σ tanh(scale (query + key))`` over the features. The weights scale (), with
    ``use_scale``, and concat_score_weight () start at 1.
    """

    initializers: ClassVar[Mapping[str, str]] = {"scale": "ones", "concat_score_weight": "ones"}

    use_scale: bool = option(options.FLAG, default=False)
    score_mode: str = option(options.choice("dot", "concat"), default="dot")
    dropout: float = option(options.RATE, default=0.0)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def initializer(self, weight: str) -> Initializer:
        return initializers.get(self.initializers[weight])

    def scores(self, build: Builder, query: Value, key: Value) -> Value:
        scale = build.weight("scale", ()) if self.use_scale else None
        if self.score_mode == "dot":
            lead = _lead(query)
            (products,) = build.op(ops.Einsum(f"{lead}qd,{lead}kd->{lead}qk"), query, key, name="products")
            return products if scale is None else _times(build, products, scale)
        sums = _every_sum(build, query, key)
        sums = sums if scale is None else _times(build, sums, scale)
        weight = build.weight("concat_score_weight", ())
        return _times(build, _total(build, _tanh(build, sums)), weight)


@spec
class AdditiveAttention(SequenceAttention):
    """Attention by sums (Bahdanau et al. 2015): ``scores = Σ scale ⊙ tanh(query + key)`` over the features.

    Calls and masks: see `SequenceAttention`. The weight scale (D,) is there with ``use_scale``; it starts as
    Keras' glorot_uniform.
    """

    initializers: ClassVar[Mapping[str, str]] = {"scale": "glorot_uniform"}

    use_scale: bool = option(options.FLAG, default=True)
    dropout: float = option(options.RATE, default=0.0)
    seed: Any = option(options.SEED, default=None, kw_only=True)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def initializer(self, weight: str) -> Initializer:
        return initializers.get(self.initializers[weight])

    def scores(self, build: Builder, query: Value, key: Value) -> Value:
        bent = _tanh(build, _every_sum(build, query, key))
        if not self.use_scale:
            return _total(build, bent)
        scale = build.weight("scale", (known_length(query, len(query.shape) - 1),))
        lead = _lead(query)
        return build.op(ops.Einsum(f"{lead}qkd,d->{lead}qk"), bent, scale, name="total")[0]


def _every_sum(build: Builder, query: Value, key: Value) -> Value:
    """Each query plus each key: (B, ..., Tq, Tv, D)."""
    rank = len(query.shape)
    query, key = with_axis(build, query, rank - 1), with_axis(build, key, rank - 2)
    return build.op(ops.Binary("add"), query, key, name="sums")[0]


def _tanh(build: Builder, x: Value) -> Value:
    return build.op(ops.Activate(activations.function("tanh")), x, name="tanh")[0]


def _times(build: Builder, x: Value, weight: Value) -> Value:
    return build.op(ops.Binary("multiply"), x, weight, name="scaled")[0]


def _total(build: Builder, x: Value) -> Value:
    return build.op(ops.Reduce("sum", (len(x.shape) - 1,)), x, name="total")[0]
