"""Two cells of one's own: an LSTM with peepholes, and a minimal gated unit. ``custom_cell.py`` runs them.

A cell says one step, in operators and in the functions of ``ops``; every engine can then run it over time. σ is the
logistic function, ⊙ means number by number.
"""

from __future__ import annotations

from lstmcore.layers import Cell, Weight


class PeepholeLSTMCell(Cell):
    """An LSTM whose gates also see the memory.

    ::

        i = σ(x W_i + h U_i + p_i ⊙ c + b_i)        f = σ(x W_f + h U_f + p_f ⊙ c + b_f)
        c' = f ⊙ c + i ⊙ tanh(x W_c + h U_c + b_c)
        o = σ(x W_o + h U_o + p_o ⊙ c' + b_o)       h' = o ⊙ tanh(c')

    The gates stand side by side, i f c o, as in lstmcore's LSTM. States h and c; weights kernel W (features, 4 units),
    recurrent_kernel U (units, 4 units), bias b (4 units,), peephole p (3, units) with the rows i f o.

    Source: F. A. Gers and J. Schmidhuber, Recurrent nets that time and count, IJCNN 2000.
    """

    units: int

    @property
    def state_size(self):
        return [self.units, self.units]

    def declare(self, features):
        return {
            "kernel": Weight((features, 4 * self.units)),
            "recurrent_kernel": Weight((self.units, 4 * self.units), "orthogonal"),
            "bias": Weight((4 * self.units,), "zeros"),
            "peephole": Weight((3, self.units)),
        }

    def step(self, ops, inputs, states, w):
        h, c = states
        i, f, g, o = ops.split(inputs @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"], 4)
        i = ops.sigmoid(i + w["peephole"][0] * c)
        f = ops.sigmoid(f + w["peephole"][1] * c)
        c = f * c + i * ops.tanh(g)
        o = ops.sigmoid(o + w["peephole"][2] * c)
        h = o * ops.tanh(c)
        return h, [h, c]


class MinimalGatedCell(Cell):
    """The minimal gated unit: a GRU with one gate for both.

    ::

        f = σ(x W_f + h U_f + b_f)
        g = tanh(x W_g + (f ⊙ h) U_g + b_g)
        h' = (1 - f) ⊙ h + f ⊙ g

    State h; weights kernel W (features, 2 units), recurrent_kernel U (units, 2 units), bias b (2 units,), with f and g
    side by side. ``activation`` may stand in for tanh.

    Source: G.-B. Zhou, J. Wu, C.-L. Zhang and Z.-H. Zhou, Minimal gated unit for recurrent neural networks,
    International Journal of Automation and Computing 13(3), 2016.
    """

    units: int
    activation: str = "tanh"

    @property
    def state_size(self):
        return self.units

    def declare(self, features):
        return {
            "kernel": Weight((features, 2 * self.units)),
            "recurrent_kernel": Weight((self.units, 2 * self.units), "orthogonal"),
            "bias": Weight((2 * self.units,), "zeros"),
        }

    def step(self, ops, inputs, states, w):
        (h,) = states
        x_f, x_g = ops.split(inputs @ w["kernel"] + w["bias"], 2)
        u_f, u_g = ops.split(w["recurrent_kernel"], 2)
        f = ops.sigmoid(x_f + h @ u_f)
        g = ops.activate(self.activation, x_g + (f * h) @ u_g)
        h = (1 - f) * h + f * g
        return h, [h]
