"""The documents: their code runs, and what docs/masks.md and docs/streaming.md say of each layer is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcore import layers, ops
from lstmcore.errors import SpecError
from lstmcore.layers import GRU, Bidirectional, Dense, Embedding, GRUCell, Input, Masking, TimeDistributed
from lstmcore.models import Model

DOCS = Path(__file__).resolve().parents[1] / "docs"
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"units": 3, "return_sequences": True} for name in ("LSTM", "GRU", "SimpleRNN")},
    **{name: {"rate": 0.1} for name in ("Dropout", "SpatialDropout1D", "GaussianDropout")},
    **{name: {"pool_size": 2} for name in ("AveragePooling1D", "MaxPooling1D")},
    "Activation": {"activation": "tanh"},
    "Bidirectional": {"layer": GRU(3, return_sequences=True)},
    "Conv1D": {"filters": 2, "kernel_size": 3},
    "Cropping1D": {"cropping": 1},
    "Dense": {"units": 3},
    "Dot": {"axes": 2},
    "GaussianNoise": {"stddev": 0.1},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 2},
    "Operation": {"function": "negative"},
    "PReLU": {"shared_axes": [1]},
    "Permute": {"dims": (2, 1)},
    "RNN": {"cell": GRUCell(3), "return_sequences": True},
    "Rescaling": {"scale": 2.0},
    "Reshape": {"target_shape": (3, 8)},
    "TimeDistributed": {"layer": Dense(2)},
    "UpSampling1D": {"size": 2},
    "ZeroPadding1D": {"padding": 1},
}
PAIRS = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
ATTENTIONS = ("Attention", "AdditiveAttention")
CELLS = {"Cell", "GRUCell", "LSTMCell", "ProjectedLSTMCell", "SimpleRNNCell", "StackedRNNCells"}
OTHER_NAMES = {"AvgPool1D", "Convolution1D", "GlobalAvgPool1D", "GlobalMaxPool1D", "MaxPool1D"}
NO_LAYERS = {"Input", "InputLayer", "Layer", "Weight"}


def called(name: str, x: Any) -> Any:
    layer = getattr(layers, name)(**OPTIONS.get(name, {}))
    if name == "MultiHeadAttention":
        return layer(x, x)
    return layer([x, x] if name in (*PAIRS, *ATTENTIONS) else x)


def table(page: str, heading: str) -> dict[str, str]:
    """Layer -> the second cell of its row, in the table under a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {name: says.strip() for cell, says in rows for name in re.findall(r"`([A-Z]\w+)", cell)}


MASKS = table("masks.md", "What each layer does with a mask")
STREAMS = table("streaming.md", "What can stream")
UNLIKE = {"Embedding", "RepeatVector", "Softmax"}  # take ids, no time axis, and masks of another shape


def test_the_table_of_masks_holds_every_layer() -> None:
    named = {name for name in layers.__all__ if name[0].isupper()}
    assert named - CELLS - OTHER_NAMES - NO_LAYERS == set(MASKS)


@pytest.mark.parametrize("name", sorted(set(MASKS) - UNLIKE))
def test_a_mask_goes_on_as_the_table_says(name: str) -> None:
    inputs = Input((6, 4))
    y = called(name, Masking()(inputs))
    ends = any("ends the mask" in note for note in Model(inputs, y).program.notes)
    assert (y.mask is None) is MASKS[name].startswith("ends")
    assert ends is (MASKS[name] == "ends")


def test_a_repeated_vector_has_no_mask_and_a_softmax_passes_its_own() -> None:
    assert layers.RepeatVector(2)(Input((4,))).mask is None
    assert layers.Softmax()(Input((6, 4)), mask=Input((6, 4), dtype="bool")).mask == (None, 6, 4)
    with pytest.raises(SpecError, match="a mask reaches it"):
        layers.Softmax()(Masking()(Input((6, 4))))


def test_embedding_makes_a_mask_only_if_asked() -> None:
    ids = Input((6,), dtype="int32")
    assert Embedding(9, 2, mask_zero=True)(ids).mask == (None, 6)
    assert Embedding(9, 2)(ids).mask is None


@pytest.mark.parametrize(("mode", "masks"), [("concat", [True]), (None, [True, True])])
def test_bidirectional_passes_the_mask_on_its_outputs(mode: str | None, masks: list[bool]) -> None:
    made = Bidirectional(GRU(3, return_sequences=True, return_state=True), mode)(Masking()(Input((6, 4))))
    assert [tensor.mask is not None for tensor in made] == [*masks, False, False]
    assert Bidirectional(GRU(3))(Masking()(Input((6, 4)))).mask is None


@pytest.mark.parametrize("name", sorted(set(STREAMS) - {"Embedding"}))
def test_a_layer_streams_as_the_table_says(name: str) -> None:
    inputs = Input((6, 4))
    if name == "RepeatVector":
        y = GRU(2)(layers.RepeatVector(3)(GRU(2)(inputs)))
    else:
        y = called(name, inputs)
    model = Model(inputs, y)
    if STREAMS[name].startswith("yes") and name not in ("Conv1D", "Permute", "Reshape"):
        model.stream()
    else:
        with pytest.raises(SpecError, match="cannot stream: layer"):
            model.stream()


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv1D(2, 3, padding="causal"),
        layers.Conv1D(2, 1),
        TimeDistributed(layers.Reshape((2, 2))),
        layers.Reshape((-1, 2, 2)),
        layers.BatchNormalization(),
    ],
)
def test_what_streams_under_a_condition(layer: Any) -> None:
    inputs = Input((6, 4))
    Model(inputs, layer(inputs)).stream()


@pytest.mark.parametrize(
    "layer", [layers.PReLU(), layers.LayerNormalization(axis=1), layers.Softmax(axis=1), GRU(2, go_backwards=True)]
)
def test_what_does_not(layer: Any) -> None:
    inputs = Input((6, 4))
    with pytest.raises(SpecError, match="cannot stream: layer"):
        Model(inputs, layer(inputs)).stream()


def test_the_contract_lists_every_op_in_its_room() -> None:
    rows = (DOCS / "backend-contract.md").read_text(encoding="utf-8").split("## The ops\n")[1].split("\n## ")[0]
    rooms = [row for row in rows.splitlines() if row.startswith("| `")]
    told = {op: row.split("`")[1] for row in rooms for op in re.findall(r"`([A-Z]\w+)", row)}
    classes = {name: getattr(ops, name) for name in ops.__all__ if isinstance(getattr(ops, name), type)}
    made = {n: c.__module__.rpartition(".")[2] for n, c in classes.items() if issubclass(c, ops.Op)}
    assert told == {name: room for name, room in made.items() if name not in ("Op", "Recurrent")}


def run(page: str) -> dict[str, Any]:
    """What the code of a page leaves, run from top to bottom."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)
    return names


def test_the_code_of_masks() -> None:
    model = run("masks.md")["model"]
    assert len(model.program.notes) == 1
    words, start = np.array([[3, 0, 4]]), np.ones((1, 4))
    model.get_layer("as_in_keras").set_weights(model.get_layer("masked").get_weights())
    as_in_keras, masked = model.predict([words, start, words != 0])
    assert not np.allclose(as_in_keras, masked)
    as_in_keras, masked = model.predict([words, start, words == words])
    assert np.array_equal(as_in_keras, masked)


def test_the_code_of_streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("streaming.md")
    pieces = [names["first"][:, None], names["chunk"], names["rest"]]
    assert [piece.shape for piece in pieces] == [(2, 1, 1), (2, 19, 1), (2, 30, 1)]
    assert np.abs(np.concatenate(pieces, axis=1) - names["model"].predict(names["x"])).max() < 1e-6
    assert names["later"].backend == "torch"
