"""The loops over time in training, with a backward by hand, faster than autograd's (docs/speed.md).

Forward: one product for all inputs, then each step writes into buffers that hold all steps. Backward: what does not
depend on the gradient, as the slopes of the activations, becomes one factor for all steps before the loop; the loop has
one product a step; the gradients of the weights are one product each, after it. Time comes first inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstmcore.activations import Function
from lstmcore.contract import Facts
from lstmcore.ops import Gru, Lstm
from lstmcore_torch.fused import standard_gru

Weights = Mapping[str, Tensor]
Gradients = tuple[Tensor | None, ...]


class _Rule(NamedTuple):
    """``run(x)`` writes the function of x over it; ``slope(y)`` is its derivative where it gave y."""

    run: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


RULES: Mapping[Function, _Rule] = MappingProxyType(
    {
        Function("linear"): _Rule(lambda x: x, torch.ones_like),
        Function("relu"): _Rule(torch.relu_, lambda y: (y > 0).to(y.dtype)),
        Function("sigmoid"): _Rule(torch.sigmoid_, lambda y: y.addcmul(y, y, value=-1)),
        Function("tanh"): _Rule(torch.tanh_, lambda y: 1 - y * y),
    }
)


def in_training(op: Lstm | Gru, facts: Facts) -> bool:
    """training, no mask, activations of tanh, sigmoid, linear and plain relu"""
    return facts.training and not facts.masked and {op.activation, op.recurrent_activation} <= set(RULES)


def gru_in_training(op: Gru, facts: Facts) -> bool:
    """training, no mask, activations of tanh, sigmoid, linear and plain relu; on a GPU only where 'fused' cannot"""
    # On the CPU torch.gru, unlike torch.lstm, is no kernel of its own, and slower than this (2.13, measured).
    return in_training(op, facts) and (facts.device == "cpu" or not standard_gru(op, facts))


def _rows(x: Tensor) -> Tensor:
    """(B, T, ...) -> (T B, ...)."""
    return x.transpose(0, 1).reshape(-1, x.shape[2])


def _project(x: Tensor, kernel: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The steps of x as rows, and rows @ kernel + bias, (T, B, columns)."""
    rows = _rows(x)
    z = rows @ kernel if bias is None else torch.addmm(bias, rows, kernel)
    return rows, z.view(x.shape[1], x.shape[0], kernel.shape[1])


def _project_back(rows: Tensor, kernel: Tensor, dz: Tensor, x: torch.Size, wanted: tuple[bool, ...]) -> Gradients:
    """The gradients of x, kernel and bias from dz (T B, columns); of x only where it is wanted."""
    dx = (dz @ kernel.t()).view(x[1], x[0], x[2]).transpose(0, 1) if wanted[0] else None
    return dx, rows.t() @ dz, dz.sum(0)


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h: Tensor, c: Tensor, op: Lstm
    ) -> tuple[Tensor, ...]:
        gate, function, units = RULES[op.recurrent_activation].run, RULES[op.activation].run, op.units
        rows, z = _project(x, kernel, bias)
        steps, batch = z.shape[:2]
        hs, cs = z.new_empty((steps + 1, batch, units)), z.new_empty((steps + 1, batch, units))
        squashed = z.new_empty((steps, batch, units))
        hs[0], cs[0] = h, c
        both = z[:, :, : 2 * units].unbind(0)
        i, f, g, o = (part.unbind(0) for part in z.split(units, 2))
        all_h, all_c, all_s = hs.unbind(0), cs.unbind(0), squashed.unbind(0)
        for t, now in enumerate(z.unbind(0)):
            now.addmm_(all_h[t], recurrent)
            gate(both[t]), function(g[t]), gate(o[t])
            torch.mul(f[t], all_c[t], out=all_c[t + 1]).addcmul_(i[t], g[t])
            function(all_s[t].copy_(all_c[t + 1]))
            torch.mul(o[t], all_s[t], out=all_h[t + 1])
        ctx.op, ctx.shape = op, x.shape
        ctx.save_for_backward(rows, kernel, recurrent, z, hs, cs, squashed)
        return hs[1:].transpose(0, 1), hs[-1].clone(), cs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh: Tensor, dc: Tensor) -> Gradients:
        rows, kernel, recurrent, z, hs, cs, squashed = ctx.saved_tensors
        units, back = ctx.op.units, recurrent.t()
        gate, function = RULES[ctx.op.recurrent_activation].slope, RULES[ctx.op.activation].slope
        i, f, g, o = z.split(units, 2)
        dz = torch.empty_like(z)
        di, df, dg, do = dz.split(units, 2)
        torch.mul(g, gate(i), out=di)
        torch.mul(cs[:-1], gate(f), out=df)
        torch.mul(i, function(g), out=dg)
        torch.mul(squashed, gate(o), out=do)
        opened = (o * function(squashed)).unbind(0)
        through_c = dz[:, :, : 3 * units].unflatten(2, (3, units)).unbind(0)
        forget, through_h, of_y, now = f.unbind(0), do.unbind(0), dy.unbind(1), dz.unbind(0)
        dh, dc = dh.clone(), dc.clone()
        for t in reversed(range(len(now))):
            dh += of_y[t]
            dc.addcmul_(dh, opened[t])
            through_c[t].mul_(dc[:, None])
            through_h[t].mul_(dh)
            dc *= forget[t]
            dh = now[t] @ back
        dz = dz.view(-1, 4 * units)
        dx, dkernel, dbias = _project_back(rows, kernel, dz, ctx.shape, ctx.needs_input_grad)
        return dx, dkernel, hs[:-1].view(-1, units).t() @ dz, dbias if ctx.needs_input_grad[3] else None, dh, dc, None


def lstm(op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    made: tuple[Tensor, ...] = _Lstm.apply(x, w["kernel"], w["recurrent_kernel"], w.get("bias"), h, c, op)
    return made


class _GruAfter(torch.autograd.Function):
    """With ``reset_after``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h: Tensor, op: Gru
    ) -> tuple[Tensor, ...]:
        gate, function, units = RULES[op.recurrent_activation].run, RULES[op.activation].run, op.units
        rows, z = _project(x, kernel, None if bias is None else bias[0])
        hs, inner = z.new_empty((z.shape[0] + 1, z.shape[1], units)), torch.empty_like(z)
        hs[0] = h
        both, inner_both = z[:, :, : 2 * units].unbind(0), inner[:, :, : 2 * units].unbind(0)
        u, r, g = (part.unbind(0) for part in z.split(units, 2))
        all_h, all_inner, inner_g = hs.unbind(0), inner.unbind(0), inner[:, :, 2 * units :].unbind(0)
        for t in range(len(z)):
            if bias is None:
                torch.mm(all_h[t], recurrent, out=all_inner[t])
            else:
                torch.addmm(bias[1], all_h[t], recurrent, out=all_inner[t])
            gate(both[t].add_(inner_both[t]))
            function(g[t].addcmul_(r[t], inner_g[t]))
            torch.lerp(g[t], all_h[t], u[t], out=all_h[t + 1])
        ctx.op, ctx.shape = op, x.shape
        ctx.save_for_backward(rows, kernel, recurrent, z, hs, inner)
        return hs[1:].transpose(0, 1), hs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh: Tensor) -> Gradients:
        rows, kernel, recurrent, z, hs, inner = ctx.saved_tensors
        units, back = ctx.op.units, recurrent.t()
        gate, function = RULES[ctx.op.recurrent_activation].slope, RULES[ctx.op.activation].slope
        u, r, g = z.split(units, 2)
        # The gradients of z, of r, of h U_h + d_h, and of what the candidate is made of.
        dz = z.new_empty((*z.shape[:2], 4 * units))
        du, dr, dinner, dg = dz.split(units, 2)
        torch.mul(hs[:-1] - g, gate(u), out=du)
        torch.mul(inner[:, :, 2 * units :], gate(r), out=dr)
        dinner.copy_(r)
        torch.mul(1 - u, function(g), out=dg)
        by_gate = dz.unflatten(2, (4, units))
        outer, middle = by_gate[:, :, ::3].unbind(0), by_gate[:, :, 1:3].unbind(0)
        update, of_g, of_y = u.unbind(0), dg[:, :, None].unbind(0), dy.unbind(1)
        now = dz[:, :, : 3 * units].unbind(0)
        dh = dh.clone()
        for t in reversed(range(len(now))):
            dh += of_y[t]
            outer[t].mul_(dh[:, None])
            middle[t].mul_(of_g[t])
            dh = torch.addmm(dh * update[t], now[t], back)
        of_h = dz[:, :, : 3 * units].reshape(-1, 3 * units)
        drecurrent = hs[:-1].view(-1, units).t() @ of_h
        of_z = torch.cat((of_h[:, : 2 * units], dg.reshape(-1, units)), 1)
        dx, dkernel, dbias = _project_back(rows, kernel, of_z, ctx.shape, ctx.needs_input_grad)
        both = torch.stack((dbias, of_h.sum(0))) if ctx.needs_input_grad[3] and dbias is not None else None
        return dx, dkernel, drecurrent, both, dh, None


class _GruBefore(torch.autograd.Function):
    """Without ``reset_after``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h: Tensor, op: Gru
    ) -> tuple[Tensor, ...]:
        gate, function, units = RULES[op.recurrent_activation].run, RULES[op.activation].run, op.units
        rows, z = _project(x, kernel, bias)
        hs, kept = z.new_empty((z.shape[0] + 1, z.shape[1], units)), z.new_empty((*z.shape[:2], units))
        hs[0] = h
        both = z[:, :, : 2 * units].unbind(0)
        u, r, g = (part.unbind(0) for part in z.split(units, 2))
        all_h, all_kept = hs.unbind(0), kept.unbind(0)
        of_gates, of_candidate = recurrent.split((2 * units, units), 1)
        for t in range(len(z)):
            gate(both[t].addmm_(all_h[t], of_gates))
            torch.mul(r[t], all_h[t], out=all_kept[t])
            function(g[t].addmm_(all_kept[t], of_candidate))
            torch.lerp(g[t], all_h[t], u[t], out=all_h[t + 1])
        ctx.op, ctx.shape = op, x.shape
        ctx.save_for_backward(rows, kernel, recurrent, z, hs, kept)
        return hs[1:].transpose(0, 1), hs[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh: Tensor) -> Gradients:
        rows, kernel, recurrent, z, hs, kept = ctx.saved_tensors
        units = ctx.op.units
        gate, function = RULES[ctx.op.recurrent_activation].slope, RULES[ctx.op.activation].slope
        u, r, g = z.split(units, 2)
        dz = torch.empty_like(z)
        du, dr, dg = dz.split(units, 2)
        torch.mul(hs[:-1] - g, gate(u), out=du)
        torch.mul(hs[:-1], gate(r), out=dr)
        torch.mul(1 - u, function(g), out=dg)
        outer = dz.unflatten(2, (3, units))[:, :, ::2].unbind(0)
        gates, of_r, of_g = dz[:, :, : 2 * units].unbind(0), dr.unbind(0), dg.unbind(0)
        update, reset, of_y = u.unbind(0), r.unbind(0), dy.unbind(1)
        back_gates, back_candidate = (part.t() for part in recurrent.split((2 * units, units), 1))
        dh = dh.clone()
        for t in reversed(range(len(of_g))):
            dh += of_y[t]
            outer[t].mul_(dh[:, None])
            dkept = of_g[t] @ back_candidate
            of_r[t].mul_(dkept)
            dh = (dh * update[t]).addcmul_(dkept, reset[t]).addmm_(gates[t], back_gates)
        flat = dz.view(-1, 3 * units)
        of_gates = hs[:-1].view(-1, units).t() @ flat[:, : 2 * units]
        of_candidate = kept.view(-1, units).t() @ flat[:, 2 * units :]
        dx, dkernel, dbias = _project_back(rows, kernel, flat, ctx.shape, ctx.needs_input_grad)
        dbias = dbias if ctx.needs_input_grad[3] else None
        return dx, dkernel, torch.cat((of_gates, of_candidate), 1), dbias, dh, None


def gru(op: Gru, w: Weights, x: Tensor, h: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    function = _GruAfter if op.reset_after else _GruBefore
    made: tuple[Tensor, ...] = function.apply(x, w["kernel"], w["recurrent_kernel"], w.get("bias"), h, op)
    return made
