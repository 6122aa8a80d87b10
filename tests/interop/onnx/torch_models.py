"""Models as people write them in PyTorch, to be exported to ONNX: name -> the module, its inputs, what is open.

Each is made of what recurrent models in the wild are made of. `MODELS` maps a name to a function of no arguments that
gives `Example`; the weights are those of torch under a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

B, T, D, H, V = 3, 7, 4, 5, 11


@dataclass(frozen=True)
class Example:
    """A module, its inputs by name, and for each input and output the names of its open axes."""

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    opened: dict[str, dict[int, str]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)


class Sequence(nn.Module):
    """What a function of the parts and the inputs says."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *given: torch.Tensor) -> Any:
        return self.run(self, *given)


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


def steps(first: bool = True, features: int = D) -> dict[str, torch.Tensor]:
    return {"x": floats(B, T, features) if first else floats(T, B, features)}


BATCH_TIME = {"x": {0: "batch", 1: "time"}}
TIME_BATCH = {"x": {0: "time", 1: "batch"}}


def sequence(
    run: Callable[..., Any], batch_first: bool = True, outputs: tuple[str, ...] = ("y",), **parts: nn.Module
) -> Any:
    """One input (batch, time, features)."""
    return Example(Sequence(run, **parts), steps(batch_first), BATCH_TIME if batch_first else TIME_BATCH, outputs)


def tokens(run: Callable[..., Any], outputs: tuple[str, ...] = ("y",), **parts: nn.Module) -> Any:
    """One input (batch, time) of ids."""
    given = {"x": torch.randint(0, V, (B, T))}
    return Example(Sequence(run, **parts), given, BATCH_TIME, outputs)


def everything(m: Any, x: Any) -> Any:
    y, h = m.rnn(x)
    return (y, *h) if isinstance(h, tuple) else (y, h)


def last(m: Any, x: Any) -> Any:
    return m.head(m.rnn(x)[0][:, -1])


def zeros_of(m: Any, x: Any) -> Any:
    h = torch.zeros(m.rnn.num_layers, x.size(0), H)
    return m.head(m.rnn(x, (h, h.clone()))[0][:, -1, :])


def device_zeros(m: Any, x: Any) -> Any:
    directions = 2
    h = torch.zeros(directions * m.rnn.num_layers, x.size(0), H).to(x.device)
    return m.head(m.rnn(x, (h, h))[0][:, -1, :])


def gru_zeros(m: Any, x: Any) -> Any:
    return m.rnn(x, x.new_zeros(1, x.size(0), H))[0]


def learned(m: Any, x: Any) -> Any:
    return m.rnn(x, m.h0.expand(-1, x.size(0), -1).contiguous())[0]


def with_parameter(module: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value))
    return module


def state_given(kind: Any, **options: Any) -> Any:
    rnn = kind(D, H, batch_first=True, **options)
    count = rnn.num_layers * (2 if rnn.bidirectional else 1)
    states = {"h": floats(count, B, H)}
    if kind is nn.LSTM:
        states["c"] = floats(count, B, H)

    def run(m: Any, x: Any, *s: Any) -> Any:
        y, after = m.rnn(x, s if len(s) > 1 else s[0])
        return (y, *after) if isinstance(after, tuple) else (y, after)

    opened = {**BATCH_TIME, **{name: {1: "batch"} for name in states}}
    names = ("y", *(f"{name}_out" for name in states))
    return Example(Sequence(run, rnn=rnn), {**steps(), **states}, opened, names)


def packed(kind: Any, back: bool = True, total: bool = False, **options: Any) -> Any:
    rnn = kind(D, H, batch_first=True, **options)

    def run(m: Any, x: Any, lengths: Any) -> Any:
        y, h = m.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=True))
        if not back:
            return h[0][-1] if isinstance(h, tuple) else h[-1]
        return pad_packed_sequence(y, batch_first=True, total_length=x.size(1) if total else None)[0]

    given = {**steps(), "lengths": torch.tensor([T, T - 2, 2])}
    return Example(Sequence(run, rnn=rnn), given, {**BATCH_TIME, "lengths": {0: "batch"}})


def unrolled(m: Any, x: Any) -> Any:
    h, c = torch.zeros(x.size(0), H), torch.zeros(x.size(0), H)
    found = []
    for t in range(x.size(1)):
        h, c = m.cell(x[:, t], (h, c))
        found.append(h)
    return torch.stack(found, 1)


def unrolled_one(m: Any, x: Any) -> Any:
    h = torch.zeros(x.size(0), H)
    for t in range(x.size(1)):
        h = m.cell(x[:, t], h)
    return m.head(h)


def cells_alone(kind: Any) -> Any:
    cell = kind(D, H)
    states = {"h": floats(B, H)} | ({"c": floats(B, H)} if kind is nn.LSTMCell else {})

    def run(m: Any, x: Any, *s: Any) -> Any:
        return m.cell(x, s if len(s) > 1 else s[0])

    given = {"x": floats(B, D), **states}
    opened = {name: {0: "batch"} for name in given}
    return Example(Sequence(run, cell=cell), given, opened, tuple(f"{name}_out" for name in states))


def classifier(pool: Callable[[Any], Any], end: Callable[[Any], Any] = lambda y: y) -> Any:
    def run(m: Any, x: Any) -> Any:
        return end(m.head(pool(m.rnn(m.embed(x))[0])))

    parts = {"embed": nn.Embedding(V, D, padding_idx=0), "rnn": nn.LSTM(D, H, batch_first=True, bidirectional=True)}
    return tokens(run, **parts, head=nn.Linear(2 * H, 3))


def both_ends(m: Any, x: Any) -> Any:
    _, (h, _) = m.rnn(m.embed(x))
    return torch.sigmoid(m.head(torch.cat((h[-2], h[-1]), dim=1)))


def convolutional(m: Any, x: Any) -> Any:
    z = m.conv(x.permute(0, 2, 1))
    z = m.pool(torch.relu(m.norm(z)))
    y, _ = m.rnn(z.permute(0, 2, 1))
    return m.head(y[:, -1])


def attention(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    weights = torch.softmax(m.score(torch.tanh(m.inner(y))), dim=1)
    return m.head((weights * y).sum(dim=1))


def dot_attention(m: Any, x: Any) -> Any:
    y, (h, _) = m.rnn(x)
    weights = torch.softmax(torch.bmm(y, h[-1].unsqueeze(2)).squeeze(2), dim=1)
    return m.head(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


def self_attention(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    q, k, v = m.q(y), m.k(y), m.v(y)
    return torch.softmax(q @ k.transpose(1, 2) / H**0.5, dim=-1) @ v


def own_layer_norm(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    mean = y.mean(-1, keepdim=True)
    variance = (y - mean).pow(2).mean(-1, keepdim=True)
    return (y - mean) / torch.sqrt(variance + 1e-5) * m.scale + m.shift


def residual(m: Any, x: Any) -> Any:
    y, _ = m.first(x)
    z, _ = m.second(m.drop(y))
    return m.head(m.norm(y + z))


def autoencoder(m: Any, x: Any) -> Any:
    _, (h, _) = m.encoder(x)
    again = h[-1].unsqueeze(1).repeat(1, x.size(1), 1)
    return m.head(m.decoder(again)[0])


def encoder_decoder(m: Any, x: Any, start: Any) -> Any:
    _, state = m.encoder(x)
    y, _ = m.decoder(start, state)
    return m.head(y)


def decoding(m: Any, x: Any) -> Any:
    _, state = m.encoder(x)
    now, found = x[:, -1:, :], []
    for _ in range(3):
        y, state = m.decoder(now, state)
        now = m.head(y)
        found.append(now)
    return torch.cat(found, 1)


def flattened(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    return m.head(y.reshape(y.size(0), -1))


def viewed(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    b, t, h = y.shape
    return m.head(y.contiguous().view(-1, h)).view(b, t, -1)


def folded_conv(m: Any, x: Any) -> Any:
    """A picture for each step, as CRNNs for text and video have it."""
    b, t = x.shape[:2]
    z = torch.relu(m.conv(x.reshape(b * t, 1, 6, 6)))
    z = m.pool(z).reshape(b, t, -1)
    return m.rnn(z)[0]


def crnn(m: Any, x: Any) -> Any:
    """Text in a picture: columns are steps."""
    z = m.pool(torch.relu(m.conv(x)))
    z = z.squeeze(2).permute(2, 0, 1)
    return F.log_softmax(m.head(m.rnn(z)[0]), dim=2)


def normalised_input(m: Any, x: Any) -> Any:
    return m.rnn((x - m.mean) / m.scale)[0][:, -1].squeeze(-1)


def gated(m: Any, x: Any) -> Any:
    y = F.gelu(m.inner(F.layer_norm(m.rnn(x)[0], (H,))))
    return F.glu(m.outer(y), dim=-1)


def masked_mean(m: Any, x: Any) -> Any:
    y, _ = m.rnn(m.embed(x))
    mask = (x != 0).unsqueeze(-1).float()
    return m.head((y * mask).sum(1) / mask.sum(1).clamp(min=1))


def masked_attention(m: Any, x: Any) -> Any:
    y, _ = m.rnn(m.embed(x))
    scores = m.score(y).squeeze(-1).masked_fill(x == 0, float("-inf"))
    return m.head(torch.bmm(torch.softmax(scores, 1).unsqueeze(1), y).squeeze(1))


def gathered_last(m: Any, x: Any, lengths: Any) -> Any:
    y, _ = m.rnn(x)
    index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, y.size(2))
    return m.head(y.gather(1, index).squeeze(1))


def directions_apart(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    return m.head(y[:, -1, :H] + y[:, 0, H:])


def summed_directions(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    y = y.view(y.size(0), y.size(1), 2, H).sum(2)
    return m.head(y)


def multi_input(m: Any, x: Any, side: Any) -> Any:
    y, _ = m.rnn(x)
    return m.head(torch.cat([y[:, -1], torch.relu(m.side(side))], dim=-1))


def two_heads(m: Any, x: Any) -> Any:
    y, _ = m.rnn(x)
    return torch.softmax(m.policy(y), -1), m.value(y)


def chunked(m: Any, x: Any) -> Any:
    mean, spread = m.rnn(x)[0].chunk(2, dim=-1) if H % 2 == 0 else m.head(m.rnn(x)[0]).chunk(2, dim=-1)
    return mean, F.softplus(spread) + 1e-3


def last_hidden(m: Any, x: Any) -> Any:
    return m.head(m.rnn(x)[1][0][-1])


def squeezed_hidden(m: Any, x: Any) -> Any:
    return m.head(m.rnn(x)[1].squeeze(0))


def hidden_view(m: Any, x: Any) -> Any:
    _, (h, _) = m.rnn(x)
    h = h.view(m.rnn.num_layers, 2, x.size(0), H)[-1]
    return m.head(torch.cat([h[0], h[1]], 1))


def hidden_flat(m: Any, x: Any) -> Any:
    _, h = m.rnn(x)
    return m.head(h.transpose(0, 1).reshape(x.size(0), -1))


def arange_last(m: Any, x: Any, lengths: Any) -> Any:
    y, _ = m.rnn(x)
    return m.head(y[torch.arange(y.size(0)), lengths - 1])


def length_mask(m: Any, x: Any, lengths: Any) -> Any:
    y, _ = m.rnn(x)
    mask = torch.arange(x.size(1))[None, :] < lengths[:, None]
    return m.head((y * mask.unsqueeze(-1)).sum(1) / lengths.unsqueeze(1))


def length_attention(m: Any, x: Any, lengths: Any) -> Any:
    y, _ = m.rnn(x)
    mask = torch.arange(x.size(1)).unsqueeze(0) >= lengths.unsqueeze(1)
    scores = m.score(y).squeeze(2).masked_fill(mask, -1e9)
    return m.head(torch.einsum("bt,bth->bh", torch.softmax(scores, dim=1), y))


def positional(m: Any, x: Any) -> Any:
    places = torch.arange(x.size(1), device=x.device).unsqueeze(0).expand(x.size(0), -1)
    return m.rnn(m.embed(x) + m.place(places))[0]


def unsorted(m: Any, x: Any, lengths: Any) -> Any:
    y, _ = m.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    return m.head(pad_packed_sequence(y, batch_first=True)[0])


def packed_words(m: Any, x: Any, lengths: Any) -> Any:
    y, _ = m.rnn(pack_padded_sequence(m.embed(x), lengths, batch_first=True))
    return m.head(pad_packed_sequence(y, batch_first=True)[0].mean(1))


def with_lengths(run: Any, words: bool = False, **parts: nn.Module) -> Any:
    given = {"x": torch.randint(0, V, (B, T))} if words else steps()
    given["lengths"] = torch.tensor([T, T - 3, 2])
    return Example(Sequence(run, **parts), given, {**BATCH_TIME, "lengths": {0: "batch"}})


class LayerNormLSTMCell(nn.Module):
    """A cell that people write themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.of_x, self.of_h = nn.Linear(D, 4 * H), nn.Linear(H, 4 * H, bias=False)
        self.norm, self.norm_c = nn.LayerNorm(4 * H), nn.LayerNorm(H)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        i, f, g, o = self.norm(self.of_x(x) + self.of_h(h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c


def own_cell(m: Any, x: Any) -> Any:
    h, c = x.new_zeros(x.size(0), H), x.new_zeros(x.size(0), H)
    found = []
    for t in range(x.size(1)):
        h, c = m.cell(x[:, t], h, c)
        found.append(h)
    return torch.stack(found, 1)


def head() -> nn.Module:
    return nn.Linear(H, 3)


def lstm(**options: Any) -> nn.Module:
    return nn.LSTM(options.pop("features", D), H, batch_first=options.pop("batch_first", True), **options)


def gru(**options: Any) -> nn.Module:
    return nn.GRU(options.pop("features", D), H, batch_first=options.pop("batch_first", True), **options)


MODELS: Mapping[str, Callable[[], Example]] = {
    "lstm_all_outputs": lambda: sequence(everything, outputs=("y", "h", "c"), rnn=lstm()),
    "gru_all_outputs": lambda: sequence(everything, outputs=("y", "h"), rnn=gru()),
    "rnn_tanh": lambda: sequence(everything, outputs=("y", "h"), rnn=nn.RNN(D, H, batch_first=True)),
    "rnn_relu": lambda: sequence(
        everything, outputs=("y", "h"), rnn=nn.RNN(D, H, nonlinearity="relu", batch_first=True)
    ),
    "lstm_time_first": lambda: sequence(everything, False, ("y", "h", "c"), rnn=lstm(batch_first=False)),
    "gru_time_first_2_both": lambda: sequence(
        everything, False, ("y", "h"), rnn=gru(batch_first=False, num_layers=2, bidirectional=True)
    ),
    "lstm_2_layers": lambda: sequence(everything, outputs=("y", "h", "c"), rnn=lstm(num_layers=2, dropout=0.3)),
    "lstm_3_both": lambda: sequence(everything, outputs=("y", "h", "c"), rnn=lstm(num_layers=3, bidirectional=True)),
    "gru_2_both": lambda: sequence(everything, outputs=("y", "h"), rnn=gru(num_layers=2, bidirectional=True)),
    "lstm_no_bias": lambda: sequence(last, rnn=lstm(bias=False), head=head()),
    "lstm_proj": lambda: sequence(everything, outputs=("y", "h", "c"), rnn=lstm(proj_size=2)),
    "lstm_last": lambda: sequence(last, rnn=lstm(), head=head()),
    "gru_last": lambda: sequence(last, rnn=gru(), head=head()),
    "lstm_last_hidden": lambda: sequence(last_hidden, rnn=lstm(num_layers=2), head=head()),
    "gru_squeezed_hidden": lambda: sequence(squeezed_hidden, rnn=gru(), head=head()),
    "lstm_zeros": lambda: sequence(zeros_of, rnn=lstm(num_layers=2), head=head()),
    "lstm_zeros_both": lambda: sequence(
        device_zeros, rnn=lstm(num_layers=2, bidirectional=True), head=nn.Linear(2 * H, 3)
    ),
    "gru_new_zeros": lambda: sequence(gru_zeros, rnn=gru()),
    "gru_learned_state": lambda: Example(
        with_parameter(Sequence(learned, rnn=gru()), h0=floats(1, 1, H)), steps(), BATCH_TIME
    ),
    "lstm_states_given": lambda: state_given(nn.LSTM),
    "lstm_states_given_2_both": lambda: state_given(nn.LSTM, num_layers=2, bidirectional=True),
    "gru_state_given": lambda: state_given(nn.GRU, num_layers=2),
    "lstm_packed": lambda: packed(nn.LSTM),
    "lstm_packed_total": lambda: packed(nn.LSTM, total=True, num_layers=2, bidirectional=True),
    "gru_packed_hidden": lambda: packed(nn.GRU, back=False, bidirectional=True),
    "lstm_packed_hidden": lambda: packed(nn.LSTM, back=False),
    "lstm_cell_unrolled": lambda: sequence(unrolled, cell=nn.LSTMCell(D, H)),
    "gru_cell_unrolled": lambda: sequence(unrolled_one, cell=nn.GRUCell(D, H), head=head()),
    "rnn_cell_unrolled": lambda: sequence(unrolled_one, cell=nn.RNNCell(D, H), head=head()),
    "lstm_cell": lambda: cells_alone(nn.LSTMCell),
    "gru_cell": lambda: cells_alone(nn.GRUCell),
    "own_cell_unrolled": lambda: sequence(own_cell, cell=LayerNormLSTMCell()),
    "words_last_sigmoid": lambda: classifier(lambda y: y[:, -1], torch.sigmoid),
    "words_mean_softmax": lambda: classifier(lambda y: y.mean(1), lambda y: torch.softmax(y, 1)),
    "words_max_log_softmax": lambda: classifier(lambda y: y.max(1)[0], lambda y: F.log_softmax(y, 1)),
    "words_amax": lambda: classifier(lambda y: y.amax(1)),
    "words_sum": lambda: classifier(lambda y: y.sum(1)),
    "words_adaptive_max": lambda: classifier(lambda y: F.adaptive_max_pool1d(y.transpose(1, 2), 1).squeeze(-1)),
    "words_adaptive_mean": lambda: classifier(lambda y: F.adaptive_avg_pool1d(y.permute(0, 2, 1), 1).squeeze(2)),
    "words_max_pool": lambda: classifier(lambda y: F.max_pool1d(y.transpose(1, 2), y.size(1)).squeeze(2)),
    "words_mean_and_max": lambda: classifier(lambda y: y.mean(1) + y.max(1).values),
    "words_both_ends": lambda: tokens(
        both_ends, embed=nn.Embedding(V, D), rnn=lstm(num_layers=2, bidirectional=True), head=nn.Linear(2 * H, 1)
    ),
    "words_masked_mean": lambda: tokens(masked_mean, embed=nn.Embedding(V, D), rnn=gru(), head=head()),
    "words_masked_attention": lambda: tokens(
        masked_attention, embed=nn.Embedding(V, D), rnn=gru(), score=nn.Linear(H, 1), head=head()
    ),
    "words_tagger": lambda: tokens(
        lambda m, x: torch.log_softmax(m.head(m.rnn(m.embed(x))[0]), -1),
        embed=nn.Embedding(V, D),
        rnn=lstm(),
        head=head(),
    ),
    "words_argmax": lambda: tokens(
        lambda m, x: m.head(m.rnn(m.embed(x))[0]).argmax(-1), embed=nn.Embedding(V, D), rnn=lstm(), head=head()
    ),
    "conv_front": lambda: sequence(
        convolutional,
        conv=nn.Conv1d(D, 6, 3, padding=1),
        norm=with_statistics(nn.BatchNorm1d(6)),
        pool=nn.MaxPool1d(2),
        rnn=lstm(features=6),
        head=head(),
    ),
    "conv_stride_average": lambda: sequence(
        convolutional,
        conv=nn.Conv1d(D, 6, 4, stride=2, padding=2, dilation=1, groups=2),
        norm=nn.Identity(),
        pool=nn.AvgPool1d(2, padding=1),
        rnn=gru(features=6),
        head=head(),
    ),
    "conv_pool_padded": lambda: sequence(
        convolutional,
        conv=nn.Conv1d(D, 6, 3, padding="same"),
        norm=with_statistics(nn.BatchNorm1d(6)),
        pool=nn.MaxPool1d(3, 2, padding=1),
        rnn=gru(features=6),
        head=head(),
    ),
    "conv_pool_ceil": lambda: sequence(
        convolutional,
        conv=nn.Conv1d(D, 6, 3),
        norm=nn.GroupNorm(2, 6),
        pool=nn.MaxPool1d(2, ceil_mode=True),
        rnn=gru(features=6),
        head=head(),
    ),
    "batch_norm_end": lambda: sequence(
        lambda m, x: m.head(m.norm(m.rnn(x)[0][:, -1])),
        rnn=lstm(),
        norm=with_statistics(nn.BatchNorm1d(H)),
        head=head(),
    ),
    "batch_norm_each_step": lambda: sequence(
        lambda m, x: m.norm(m.rnn(x)[0].transpose(1, 2)).transpose(1, 2),
        rnn=lstm(),
        norm=with_statistics(nn.BatchNorm1d(H)),
    ),
    "layer_norm": lambda: sequence(lambda m, x: m.norm(m.rnn(x)[0]), rnn=lstm(), norm=varied(nn.LayerNorm(H))),
    "own_layer_norm": lambda: Example(
        with_parameter(Sequence(own_layer_norm, rnn=lstm()), scale=floats(H), shift=floats(H)), steps(), BATCH_TIME
    ),
    "attention": lambda: sequence(
        attention, rnn=lstm(), inner=nn.Linear(H, 6), score=nn.Linear(6, 1, bias=False), head=head()
    ),
    "dot_attention": lambda: sequence(dot_attention, rnn=lstm(), head=head()),
    "self_attention": lambda: sequence(
        self_attention, rnn=gru(), q=nn.Linear(H, 4), k=nn.Linear(H, 4), v=nn.Linear(H, 4)
    ),
    "multihead_attention": lambda: sequence(
        lambda m, x: m.att(*[m.rnn(x)[0]] * 3, need_weights=False)[0],
        rnn=gru(),
        att=nn.MultiheadAttention(H, 1, batch_first=True),
    ),
    "residual": lambda: sequence(
        residual, first=lstm(), second=lstm(features=H), norm=varied(nn.LayerNorm(H)), drop=nn.Dropout(0.4), head=head()
    ),
    "autoencoder": lambda: sequence(autoencoder, encoder=lstm(), decoder=lstm(features=H), head=nn.Linear(H, D)),
    "encoder_decoder": lambda: Example(
        Sequence(encoder_decoder, encoder=lstm(), decoder=lstm(features=2), head=head()),
        {**steps(), "start": floats(B, 4, 2)},
        {**BATCH_TIME, "start": {0: "batch", 1: "later"}},
    ),
    "decoding": lambda: sequence(decoding, encoder=lstm(), decoder=lstm(), head=nn.Linear(H, D)),
    "flattened": lambda: Example(
        Sequence(flattened, rnn=lstm(), head=nn.Linear(T * H, 3)), steps(), {"x": {0: "batch"}}
    ),
    "flatten_layer": lambda: Example(
        Sequence(lambda m, x: m.head(m.flat(m.rnn(x)[0])), rnn=gru(), flat=nn.Flatten(), head=nn.Linear(T * H, 3)),
        steps(),
        {"x": {0: "batch"}},
    ),
    "viewed": lambda: sequence(viewed, rnn=lstm(), head=head()),
    "folded_conv": lambda: Example(
        Sequence(folded_conv, conv=nn.Conv2d(1, 2, 3, padding=1), pool=nn.MaxPool2d(2), rnn=lstm(features=18)),
        {"x": floats(B, T, 1, 6, 6)},
        BATCH_TIME,
    ),
    "crnn": lambda: Example(
        Sequence(
            crnn,
            conv=nn.Conv2d(1, 6, 3, padding=(0, 1)),
            pool=nn.MaxPool2d((4, 2)),
            rnn=lstm(features=6, batch_first=False, bidirectional=True),
            head=nn.Linear(2 * H, V),
        ),
        {"x": floats(B, 1, 6, 16)},
        {"x": {0: "batch", 3: "width"}},
    ),
    "normalised": lambda: buffers(sequence(normalised_input, rnn=lstm()), mean=floats(D), scale=floats(D).abs() + 1),
    "gelu_glu": lambda: sequence(gated, rnn=lstm(), inner=nn.Linear(H, 6), outer=nn.Linear(6, 6)),
    "gathered_last": lambda: Example(
        Sequence(gathered_last, rnn=lstm(), head=head()),
        {**steps(), "lengths": torch.tensor([T, 2, 4])},
        {**BATCH_TIME, "lengths": {0: "batch"}},
    ),
    "arange_last": lambda: with_lengths(arange_last, rnn=lstm(), head=head()),
    "length_mask": lambda: with_lengths(length_mask, rnn=gru(), head=head()),
    "length_attention": lambda: with_lengths(length_attention, rnn=gru(), score=nn.Linear(H, 1), head=head()),
    "positional": lambda: tokens(positional, embed=nn.Embedding(V, D), place=nn.Embedding(20, D), rnn=gru()),
    "unsorted": lambda: with_lengths(unsorted, rnn=lstm(), head=head()),
    "packed_words": lambda: with_lengths(packed_words, True, embed=nn.Embedding(V, D), rnn=lstm(), head=head()),
    "state_sum": lambda: sequence(lambda m, x: m.head(m.rnn(x)[1].sum(0)), rnn=gru(num_layers=2), head=head()),
    "state_mean": lambda: sequence(
        lambda m, x: m.head(torch.mean(m.rnn(x)[1][0], dim=0)), rnn=lstm(bidirectional=True), head=head()
    ),
    "cosine": lambda: sequence(
        lambda m, x: F.cosine_similarity(m.rnn(x)[0][:, -1], m.other(x)[0][:, -1], dim=1), rnn=lstm(), other=gru()
    ),
    "top_of_stack": lambda: sequence(
        lambda m, x: torch.stack([m.rnn(x)[0][:, -1], m.other(x)[0][:, 0]], dim=1).max(dim=1)[0],
        rnn=lstm(),
        other=gru(),
    ),
    "scaled_clamped": lambda: sequence(
        lambda m, x: torch.clamp(m.rnn(x)[0], -0.5, 0.5) ** 3 / 2.0 - x.std(dim=1, keepdim=True).mean(2, keepdim=True),
        rnn=lstm(),
    ),
    "directions_apart": lambda: sequence(directions_apart, rnn=lstm(bidirectional=True), head=head()),
    "directions_summed": lambda: sequence(summed_directions, rnn=gru(bidirectional=True), head=head()),
    "multi_input": lambda: Example(
        Sequence(multi_input, rnn=lstm(), side=nn.Linear(2, 4), head=nn.Linear(H + 4, 1)),
        {**steps(), "side": floats(B, 2)},
        {**BATCH_TIME, "side": {0: "batch"}},
    ),
    "two_heads": lambda: sequence(
        two_heads, outputs=("policy", "value"), rnn=gru(), policy=nn.Linear(H, 3), value=nn.Linear(H, 1)
    ),
    "chunked": lambda: sequence(chunked, outputs=("mean", "spread"), rnn=gru(), head=nn.Linear(H, 6)),
    "hidden_view": lambda: sequence(hidden_view, rnn=lstm(num_layers=2, bidirectional=True), head=nn.Linear(2 * H, 3)),
    "hidden_flat": lambda: sequence(hidden_flat, rnn=gru(num_layers=2), head=nn.Linear(2 * H, 3)),
    "elu_prelu_hard": lambda: sequence(
        lambda m, x: F.hardtanh(m.prelu(F.elu(m.rnn(x)[0]) + F.hardsigmoid(x[..., :1]) * F.leaky_relu(x[..., 1:2]))),
        rnn=lstm(),
        prelu=nn.PReLU(),
    ),
    "silu_mish_hardswish": lambda: sequence(
        lambda m, x: (
            F.mish(F.silu(m.rnn(x)[0])) + F.hardswish(x[..., :1]) + F.softplus(x[..., 1:2]) + F.selu(x[..., 2:3])
        ),
        rnn=lstm(),
    ),
    "norm_l2": lambda: tokens(
        lambda m, x: F.normalize(m.rnn(m.embed(x))[1][0][-1], dim=-1), embed=nn.Embedding(V, D), rnn=lstm()
    ),
    "flipped": lambda: sequence(lambda m, x: m.rnn(torch.flip(x, [1]))[0], rnn=gru()),
    "differences": lambda: sequence(
        lambda m, x: m.rnn(torch.cat([x[:, :1], x[:, 1:] - x[:, :-1]], 1))[0][:, -2:], rnn=gru()
    ),
    "unsqueezed_input": lambda: Example(
        Sequence(
            lambda m, x: m.head(m.rnn(x.unsqueeze(-1))[0][:, -1]).squeeze(-1),
            rnn=lstm(features=1),
            head=nn.Linear(H, 1),
        ),
        {"x": floats(B, T)},
        BATCH_TIME,
    ),
    "no_batch": lambda: Example(
        Sequence(lambda m, x: m.head(m.rnn(x)[0]), rnn=lstm(), head=head()), {"x": floats(T, D)}, {"x": {0: "time"}}
    ),
}


def varied(module: Any) -> Any:
    with torch.no_grad():
        for entry in module.parameters():
            entry.add_(torch.randn_like(entry) * 0.3)
    return module


def with_statistics(norm: Any) -> Any:
    varied(norm)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def buffers(example: Example, **values: torch.Tensor) -> Example:
    for name, value in values.items():
        example.module.register_buffer(name, value)
    return example


def example(name: str, seed: int = 3) -> Example:
    """The example of that name, in inference."""
    torch.manual_seed(seed)
    found = MODELS[name]()
    found.module.eval()
    return found
