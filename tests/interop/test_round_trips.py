"""From every format to every other: the weights arrive with the same bytes, and the README's table says which can."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import DamagedFileError
from lstmcore.interop import vectors
from lstmcore.interop.formats import formats
from lstmcore.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Embedding,
    Input,
    LayerNormalization,
    SimpleRNN,
)
from lstmcore.models import Model, Sequential
from lstmcore.models.base import BaseModel

ROOT = Path(__file__).resolve().parents[2]

# The forms of files: the suffix, the format where the suffix alone does not tell, and whether only a spec says what
# the weights are for.
FORMS: Mapping[str, tuple[str, str | None, bool]] = {
    "lstmcore `.safetensors`": (".safetensors", None, False),
    "Keras `.keras`": (".keras", None, False),
    "Keras `.h5`": (".h5", None, False),
    "Keras `.weights.h5`": (".weights.h5", None, True),
    "PyTorch `.pt`": (".pt", None, False),
    "PyTorch `.safetensors`": (".safetensors", "pytorch", False),
    "ONNX `.onnx`": (".onnx", None, False),
    "`.npz`": (".npz", None, False),
    "C `.h`": (".h", None, True),
    "SavedModel": ("/", "saved_model", False),
}
WRITTEN_ONLY = {"tflite"}  # formats that nothing is read from
READ_ONLY = {"json"}  # a description alone


def chain() -> BaseModel:
    return Sequential(
        [
            Input((None, 3)),
            Conv1D(5, 2, padding="causal"),
            BatchNormalization(),
            LSTM(4, return_sequences=True),
            GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid"),
            LayerNormalization(),
            GRU(5, reset_after=False, return_sequences=True),
            SimpleRNN(4, activation="relu"),
            Dense(2, "softmax"),
        ]
    )


def graph() -> BaseModel:
    words, numbers = Input((None,), dtype="int32", name="words"), Input((None, 3), name="numbers")
    read = Bidirectional(LSTM(4), name="both")(Embedding(7, 3, mask_zero=True)(words))
    return Model([words, numbers], [Dense(2, name="one")(read), GRU(5, go_backwards=True, name="two")(numbers)])


def stateful() -> BaseModel:
    remembers = LSTM(4, stateful=True, return_sequences=True, go_backwards=True, use_bias=False)
    return Sequential([Input(batch_shape=(1, 5, 3)), remembers, SimpleRNN(5, stateful=True), Dense(2, "sigmoid")])


MODELS: Mapping[str, Callable[[], BaseModel]] = {"chain": chain, "graph": graph, "stateful": stateful}


def filled(made: BaseModel) -> BaseModel:
    """With weights of which no two are alike, the statistics of layers among them, zeros of both signs too."""
    rng = np.random.default_rng(23)
    arrays = [rng.normal(size=array.shape).astype("float32") for array in made.get_weights()]
    arrays[-1].flat[:2] = [0.0, -0.0]
    made.set_weights([np.abs(a) if "variance" in n else a for n, a in zip(made.weights, arrays, strict=True)])
    return made


def there_and_back(form: str, made: BaseModel, folder: Path) -> BaseModel:
    suffix, format, wants_spec = FORMS[form]
    path = f"{folder}/model{suffix}"
    lc.export_model(made, path, **({} if format is None else {"format": format}))
    return lc.import_model(path, **({"spec": made.to_json()} if wants_spec else {}))


def check(found: BaseModel, made: BaseModel) -> None:
    assert found.to_json() == made.to_json()
    assert list(found.weights) == list(made.weights)
    for name, array in made.weights.items():
        assert (found.weights[name].dtype, found.weights[name].shape) == (array.dtype, array.shape)
        assert found.weights[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", FORMS)
def test_there_and_back_it_is_the_same_model(form: str, model: str, tmp_path: Path) -> None:
    made = filled(MODELS[model]())
    check(there_and_back(form, made, tmp_path), made)


@pytest.mark.parametrize("form", [form for form, (*_, wants_spec) in FORMS.items() if not wants_spec][1:])
def test_a_file_whose_weights_are_not_those_that_were_written_is_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = filled(chain()), filled(chain())
    other.replace_weights({**other.weights, "gru/recurrent_kernel": 1.01 * other.weights["gru/recurrent_kernel"]})
    there_and_back(form, made, tmp_path)
    make = vectors.make
    monkeypatch.setattr(vectors, "make", lambda shown, weights, *sizes: make(shown, other.every_path(), *sizes))
    with pytest.raises(DamagedFileError, match="does not compute what it did"):
        there_and_back(form, made, tmp_path)


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_from_each_to_each(first: str, second: str, tmp_path: Path) -> None:
    made = filled(graph())
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    between = there_and_back(first, made, tmp_path / "first")
    check(there_and_back(second, between, tmp_path / "second"), made)


def test_every_format_has_its_place_here() -> None:
    formed = {(format or suffix) for suffix, format, _ in FORMS.values()}
    for row in formats():
        told = row.name in formed or any(suffix in formed for suffix in row.suffixes)
        assert told or row.name in WRITTEN_ONLY | READ_ONLY, row.name
        assert (row.reads is None) == (row.name in WRITTEN_ONLY)
        assert (row.writes is None) == (row.name in READ_ONLY)


def table() -> str:
    """The table of the README, of what the tests above show."""
    names = [form + (r" \*" if spec else "") for form, (_, _, spec) in FORMS.items()]
    rows = [["from, to", *names], ["---", *["-"] * len(names)], *([name, *["="] * len(names)] for name in names)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def test_the_readme_shows_it() -> None:
    found = re.search(r"<!-- table: round trips -->\n\n(.*?)\n\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found[1] == table()
