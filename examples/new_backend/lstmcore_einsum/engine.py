"""Every op with einsum and plain NumPy, gate by gate and step by step. Slow, short, and right."""

import math

import numpy as np

from lstmcore import ops
from lstmcore.contract import Backend, Kernel

# fmt: off
# ruff: noqa: C408, E731
EXACT = np.vectorize(math.erf, otypes=[float])
softplus = lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))
sigmoid = lambda x: np.exp(-softplus(-x))
elu = lambda x, alpha, scale=1: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / scale))
powers = lambda x, axis: np.exp(x - np.max(x, axis, keepdims=True))
share = lambda x, axis: powers(x, axis) / powers(x, axis).sum(axis, keepdims=True)
inner = lambda x, approximate: np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)) if approximate else EXACT(x / 2**0.5)

def sparsemax(x, axis):  # the largest tau, bit by bit, for which max(x - tau, 0) adds up to more than 1
    tau = x.max(axis, keepdims=True) - 1
    for bit in 0.5 ** np.arange(1, 60):
        tau = tau + bit * (np.maximum(x - tau - bit, 0).sum(axis, keepdims=True) > 1)
    return np.maximum(x - tau, 0)

def relu(x, negative_slope, max_value, threshold):
    below = negative_slope * (x - threshold) if negative_slope else np.clip(x, 0, 0)
    return np.minimum(np.where(x > threshold, x, below), np.inf if max_value is None else max_value)

FUNCTIONS = dict(
    celu=lambda x, alpha: elu(x, alpha, alpha), elu=elu, exponential=np.exp, relu=relu, softmax=share,
    gelu=lambda x, approximate: x / 2 * (1 + inner(x, approximate)),
    glu=lambda x, axis: np.split(x, 2, axis)[0] * sigmoid(np.split(x, 2, axis)[1]), sigmoid=sigmoid,
    hard_shrink=lambda x, threshold: x * (abs(x) > threshold), hard_sigmoid=lambda x: np.clip(x / 6 + 0.5, 0, 1),
    hard_sigmoid_0_2=lambda x: np.clip(0.2 * x + 0.5, 0, 1), hard_silu=lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    hard_tanh=lambda x: np.clip(x, -1, 1), leaky_relu=lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
    linear=lambda x: x, log_sigmoid=lambda x: -softplus(-x), mish=lambda x: x * np.tanh(softplus(x)),
    log_softmax=lambda x, axis: x - np.max(x, axis, keepdims=True) - np.log(powers(x, axis).sum(axis, keepdims=True)),
    relu6=lambda x: np.clip(x, 0, 6), selu=lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    silu=lambda x: x * sigmoid(x), soft_shrink=lambda x, threshold: x - np.clip(x, -threshold, threshold),
    softplus=softplus, softsign=lambda x: x / (1 + abs(x)), sparse_sigmoid=lambda x: np.clip((x + 1) / 2, 0, 1),
    sparse_plus=lambda x: np.where(x > 1, x, np.maximum(x + 1, 0) ** 2 / 4), sparsemax=sparsemax, tanh=np.tanh,
    squareplus=lambda x, b: (x + np.sqrt(x**2 + b)) / 2, tanh_shrink=lambda x: x - np.tanh(x),
    threshold=lambda x, threshold, default_value: np.where(x <= threshold, default_value, x),
)
apply = lambda f, x: FUNCTIONS[f.name](x.astype(float), **f.parameters).astype(x.dtype)

def lstm(op, gated, squash, of_x, of_h, h, c):
    i, f, g, o = of_x + of_h(h)
    c = gated(f) * c + gated(i) * squash(g)
    return gated(o) * squash(c), c

def gru(op, gated, squash, of_x, of_h, h):
    update, reset = gated((of_x + of_h(h))[:2])
    recalled = reset * of_h(h)[2] if op.reset_after else of_h(reset * h)[2]
    return update * h + (1 - update) * squash(of_x[2] + recalled),

def over_time(step):  # step(op, φr, φ, x W + b, h -> h U + d, *states) -> states; gates first
    def run(op, w, x, *rest):
        (*states, mask, previous), gates = rest, len(op.gates)
        kernel, recurrent = (w[port].reshape(-1, gates, op.units) for port in ("kernel", "recurrent_kernel"))
        b, d = [*w.get("bias", 0 * w["kernel"][0]).reshape(-1, gates, 1, op.units), x.dtype.type(0)][:2]
        of_h = lambda h: np.einsum("bj,jgu->gbu", h, recurrent) + d
        gated, squash = (lambda a: apply(op.recurrent_activation, a)), (lambda a: apply(op.activation, a))
        y = np.zeros((len(x), x.shape[1] + 1, op.units), x.dtype)
        y[:, 0] = 0 if previous is None else previous
        for t in range(x.shape[1]):
            valid = np.full((len(x), 1), True) if mask is None else mask[:, t, None]
            new = step(op, gated, squash, np.einsum("bi,igu->gbu", x[:, t], kernel) + b, of_h, *states)
            y[:, t + 1] = np.where(valid, new[0], 0 if op.zero_output_for_mask else y[:, t])
            states = [np.where(valid, n, old) for n, old in zip(new, states, strict=True)]
        return y[:, 1:], *states
    return run

RUNS = {
    ops.Affine: lambda op, w, x: (np.einsum("...i,iu->...u", x, w["kernel"]) + w.get("bias", x.dtype.type(0)),),
    ops.Activate: lambda op, w, x: (apply(op.function, x),), ops.Reverse: lambda op, w, x: (np.flip(x, 1),),
    ops.Embed: lambda op, w, ids: (w["embeddings"][ids],), ops.NotEqual: lambda op, w, x: (x != op.value,),
    ops.Reshape: lambda op, w, x: (x.reshape(len(x), *op.shape),), ops.Last: lambda op, w, x: (x[:, -1],),
    ops.Transpose: lambda op, w, x: (x.transpose(op.axes),), ops.Lstm: over_time(lstm), ops.Gru: over_time(gru),
    ops.SimpleRnn: over_time(lambda op, _, squash, of_x, of_h, h: (squash((of_x + of_h(h))[0]),)),
}
EinsumBackend = type("EinsumBackend", (Backend,), {
    "name": "einsum", "kernels": {op: (Kernel("einsum", run),) for op, run in RUNS.items()},
    "tensor": staticmethod(np.asarray), "numpy": staticmethod(np.asarray),
})
