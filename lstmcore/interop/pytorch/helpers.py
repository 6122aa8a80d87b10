"""What a model's source may need beside its class: functions and classes, written out once in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PACKING = "from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence"


@dataclass(frozen=True)
class Helper:
    """One of them: its source, the helpers that it calls, and what it imports."""

    source: str
    calls: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


RUN_MASKED = '''
def run_masked(rnn, x, mask, state=None, zero_output=False):
    """Runs an nn.LSTM, nn.GRU or nn.RNN over the steps where mask (batch, time) is True.

    A step that is masked keeps the state and repeats the output of the step before it,
    zeros at first; with zero_output it gives zeros. The mask may have any pattern: the
    steps that count are moved together, run as a packed sequence, and moved back.
    """
    count = mask.cumsum(1)
    total = count[:, -1]
    order = torch.argsort((~mask).int(), dim=1, stable=True)
    x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
    x = x.gather(1, order.unsqueeze(-1).expand_as(x))
    lengths = total.clamp(min=1).cpu()
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, after = rnn(packed, state)
    y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    places = (count - 1).clamp(min=0).unsqueeze(-1)
    y = y.gather(1, places.expand(-1, -1, y.shape[-1]))
    shown = mask if zero_output else count > 0
    y = y.masked_fill(~shown.unsqueeze(-1), 0.0)

    def kept(new, old):
        """The state of a sample without a step that counts is what it was."""
        old = torch.zeros_like(new) if old is None else old
        return torch.where((total > 0).view(1, -1, 1), new, old)

    if isinstance(after, tuple):
        h, c = (None, None) if state is None else state
        return y, (kept(after[0], h), kept(after[1], c))
    return y, kept(after, state)
'''

OVER_TIME = '''
def over_time(step, x, states, mask=None, zero_output=False, held=None):
    """Runs step(x_t, *states) -> (y_t, *states) over x (batch, time, ...).

    Where mask (batch, time) is False, the states stay what they are and the output is
    that of the step before, ``held`` or zeros at first; with zero_output it is zero.
    """
    if mask is not None:
        x = silenced(x, mask)
    outputs = []
    for t in range(x.shape[1]):
        y, *after = step(x[:, t], *states)
        if mask is not None:
            if zero_output or held is None:
                held = torch.zeros_like(y)
            y = choose(mask[:, t], y, held)
            after = [choose(mask[:, t], *pair) for pair in zip(after, states)]
            held = y
        states = after
        outputs.append(y)
    return torch.stack(outputs, dim=1), *states


def silenced(x, mask):
    """x (batch, time, ...) with zeros where it is masked: NaN would reach the gradients."""
    return x.masked_fill(~mask.view(*mask.shape, *[1] * (x.dim() - 2)), 0)


def choose(valid, new, old):
    """By sample: ``new`` where valid (batch,) is True, else ``old``."""
    return torch.where(valid.view(-1, *[1] * (new.dim() - 1)), new, old)
'''

PAD_SAME = '''
def pad_same(x, size, strides, value=0.0):
    """Pads x (batch, channels, time) for ceil(time / strides) windows, as TensorFlow does."""
    time = x.shape[-1]
    total = max((-(-time // strides) - 1) * strides + size - time, 0)
    return F.pad(x, (total // 2, total - total // 2), value=value)
'''

MEAN_POOL_SAME = '''
def mean_pool_same(x, size, strides):
    """The means over ceil(time / strides) windows of x (batch, channels, time).

    What lies outside of x does not count.
    """
    total = F.avg_pool1d(pad_same(x, size, strides), size, strides)
    share = F.avg_pool1d(pad_same(torch.ones_like(x), size, strides), size, strides)
    return total / share
'''

CAUSAL = '''
def causal(scores):
    """True where a query may look: at keys that are not after it."""
    return torch.ones_like(scores, dtype=torch.bool).tril()
'''

ONE_HOT = '''
def one_hot(ids, depth, like):
    """1 at the place of the id, else 0; zeros alone for an id outside [0, depth)."""
    places = torch.arange(depth, device=ids.device)
    return (ids.unsqueeze(-1) == places).to(like.dtype)
'''

NORMALIZE = '''
def normalize(x, axes, eps):
    """x less its mean over the axes, divided by its deviation."""
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps)
'''

SPARSEMAX = '''
def sparsemax(x, dim):
    """The point of the simplex that is next to x."""
    z = x.movedim(dim, -1)
    ordered = z.sort(-1, descending=True).values
    excess = ordered.cumsum(-1) - 1
    rank = torch.arange(1, z.shape[-1] + 1, dtype=x.dtype, device=x.device)
    support = (ordered * rank > excess).sum(-1, keepdim=True).clamp(min=1)
    tau = excess.gather(-1, support - 1) / support
    return (z - tau).clamp(min=0).movedim(-1, dim)
'''

SOFTPLUS = '''
def softplus(x):
    """log(1 + exp(x)) to the last bit of float64."""
    return torch.logaddexp(x, torch.zeros_like(x))
'''

HARD_SIGMOID_0_2 = '''
def hard_sigmoid(x):
    """That of Keras 1 and 2; F.hardsigmoid is that of Keras 3."""
    return (0.2 * x + 0.5).clamp(0, 1)
'''

CLIPPED_RELU = '''
def clipped_relu(x, negative_slope, max_value, threshold):
    """Keras' relu with all its parameters."""
    y = torch.where(x > threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else y.clamp(max=max_value)
'''

SHARED_DROPOUT = '''
class SharedDropout(nn.Module):
    """Dropout with one mask for all entries along some axes."""

    def __init__(self, p, axes):
        super().__init__()
        self.p = p
        self.axes = axes

    def forward(self, x):
        shape = [1 if axis in self.axes else n for axis, n in enumerate(x.shape)]
        return x * F.dropout(x.new_ones(shape), self.p, self.training)
'''

GAUSSIAN_NOISE = '''
class GaussianNoise(nn.Module):
    """Adds normal noise in training."""

    def __init__(self, stddev):
        super().__init__()
        self.stddev = stddev

    def forward(self, x):
        return x + self.stddev * torch.randn_like(x) if self.training else x
'''

GAUSSIAN_DROPOUT = '''
class GaussianDropout(nn.Module):
    """Multiplies by normal noise around 1 in training."""

    def __init__(self, stddev):
        super().__init__()
        self.stddev = stddev

    def forward(self, x):
        return x * (1 + self.stddev * torch.randn_like(x)) if self.training else x
'''

HELPERS: Mapping[str, Helper] = MappingProxyType(
    {
        "causal": Helper(CAUSAL),
        "clipped_relu": Helper(CLIPPED_RELU),
        "GaussianDropout": Helper(GAUSSIAN_DROPOUT),
        "GaussianNoise": Helper(GAUSSIAN_NOISE),
        "hard_sigmoid": Helper(HARD_SIGMOID_0_2),
        "mean_pool_same": Helper(MEAN_POOL_SAME, ("pad_same",)),
        "normalize": Helper(NORMALIZE),
        "one_hot": Helper(ONE_HOT),
        "over_time": Helper(OVER_TIME),
        "pad_same": Helper(PAD_SAME),
        "run_masked": Helper(RUN_MASKED, imports=(PACKING,)),
        "SharedDropout": Helper(SHARED_DROPOUT),
        "softplus": Helper(SOFTPLUS),
        "sparsemax": Helper(SPARSEMAX),
    }
)
