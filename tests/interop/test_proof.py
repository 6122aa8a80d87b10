"""The proof of a conversion: what it runs, on which inputs, and when it says no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import lstmcore as lc
from lstmcore import layers as kl
from lstmcore.errors import FileError, MissingLibraryError, SpecError, UnsupportedFileError, WeightsAloneError
from lstmcore.hookspecs import Judge
from lstmcore.interop import formats
from lstmcore.interop.proof import compare_models, made_up, prove
from lstmcore.interop.proof.inputs import cases
from lstmcore.interop.proof.signature import pairing
from lstmcore.interop.proof.subject import Subject
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Input
from lstmcore.models import Model, Sequential
from lstmcore.models.base import BaseModel
from lstmcore.random import Stream

Array = NDArray[Any]


def drawn(model: BaseModel) -> BaseModel:
    model.replace_weights(
        {name: (0.6 * Stream(2).child(name).normal(a.shape)).astype(a.dtype) for name, a in model.weights.items()}
    )
    return model


def words() -> BaseModel:
    layers = [
        Input((None,), dtype="int32"),
        kl.Embedding(7, 4, mask_zero=True),
        Bidirectional(LSTM(3, return_sequences=True)),
        GRU(5),
        Dense(2, activation="softmax"),
    ]
    return drawn(Sequential(layers, name="words"))


def stateful() -> BaseModel:
    return drawn(Sequential([Input((None, 3), batch_size=2), LSTM(4, stateful=True), Dense(2)]))


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes engines of one function each: ``run(model, inputs) -> outputs, layers``."""
    judges: list[Judge] = []

    def add(run: Any, format: str = "onnx", name: str = "engine", **options: Any) -> None:
        function = f"judge_{len(judges)}"
        monkeypatch.setitem(globals(), function, lambda path, inputs: run(lc.import_model(path), inputs))
        judges.append(Judge(format, name, f"{__name__}:{function}", **options))
        monkeypatch.setattr(formats, "JUDGES", tuple(judges))

    return add


def computed(model: BaseModel, inputs: Any) -> tuple[list[Any], dict[str, Any]]:
    return [np.asarray(model.predict(list(inputs) if len(inputs) > 1 else inputs[0]))], {}


# What is run.


def test_a_written_file_is_proved(tmp_path: Path) -> None:
    model = words()
    lc.export_model(model, tmp_path / "m.onnx")
    proof = prove(model, tmp_path / "m.onnx")
    assert proof.ok and proof.proved and proof.limit == 16
    ours, theirs = proof.rows
    assert ours.engine == "lstmcore" and ours.error == 0
    assert theirs.engine == "ONNX Runtime" and 0 < theirs.error < 8 and theirs.version
    assert [row.name for row in proof.layers] == list(model.named_layers)
    assert all(row.errors[0] == 0 and row.errors[1] is not None and row.errors[1] < 16 for row in proof.layers)
    assert proof.weights is not None and proof.weights.compared == proof.weights.total == 12
    assert "same to the bit" in str(proof)
    json.dumps(proof.to_dict())


def altered(path: Path, change: Any) -> Path:
    """The file with other constants, and no sign of who wrote it."""
    graph = onnx.load(path)
    del graph.metadata_props[:]
    for tensor in graph.graph.initializer:
        found = change(tensor.name, numpy_helper.to_array(tensor))
        if found is not None:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(found), tensor.name))
    onnx.save(graph, path)
    return path


def test_the_layer_weight_and_mistake_are_named_in_a_graph(tmp_path: Path) -> None:
    """In an ONNX file the gates are i o f c; here two are swapped in the second of three recurrent layers."""
    layers = [LSTM(4, return_sequences=True, name=name) for name in ("one", "two", "three")]
    model = drawn(Sequential([Input((None, 3)), *layers]))
    path = tmp_path / "m.onnx"
    lc.export_model(model, path)
    blocks = [1, 0, 2, 3]

    def swap(name: str, array: Array) -> Array | None:
        if not name.startswith("two/"):
            return None
        parts = array.reshape(array.shape[0], -1, 4, 4, *array.shape[2:])
        return parts[:, :, blocks].reshape(array.shape)

    proof = prove(model, altered(path, swap))
    assert not proof.ok and not proof.proved
    assert [row.first for row in proof.rows] == ["two", "two"]
    assert [row.diagnosis for row in proof.rows] == [("matches if gates i and o are swapped",)] * 2
    assert proof.weights is not None
    assert {row.name for row in proof.weights.different} == {"two/kernel", "two/recurrent_kernel", "two/bias"}
    assert "Weight two/kernel" in str(proof) and "DIFFERS" in str(proof)


def test_the_sources_own_engine_is_asked(tmp_path: Path, judged: Any) -> None:
    model = drawn(Sequential([Input((None, 3)), LSTM(4), Dense(2)]))
    for name in ("a.onnx", "b.onnx"):
        lc.export_model(model, tmp_path / name)
    judged(computed)
    judged(lambda m, x: ([1.001 * computed(m, x)[0][0]], {}), name="off")
    proof = prove(model, tmp_path / "b.onnx", source=tmp_path / "a.onnx")
    found = {(row.file, row.engine): row.status for row in proof.rows}
    assert found == {
        ("b.onnx", "lstmcore"): "agrees",
        ("b.onnx", "engine"): "agrees",
        ("b.onnx", "off"): "DIFFERS",
        ("a.onnx", "engine"): "agrees",
        ("a.onnx", "off"): "DIFFERS",
    }
    assert not proof.ok


def test_an_engine_that_shows_only_outputs(tmp_path: Path, judged: Any) -> None:
    """Which layer it is, only the mistakes can tell."""
    model = drawn(Sequential([Input((None, 3)), LSTM(4, name="first"), Dense(2, name="last")]))
    lc.export_model(model, tmp_path / "m.onnx")

    def without_bias(read: BaseModel, inputs: Any) -> Any:
        read.replace_weights({"first/bias": 0 * read.weights["first/bias"]})
        return computed(read, inputs)

    judged(without_bias)
    row = prove(model, tmp_path / "m.onnx").rows[1]
    assert row.first == "" and row.diagnosis == ("matches if in first, the bias is missing",)


def test_a_mistake_made_everywhere(tmp_path: Path, judged: Any) -> None:
    model = drawn(Sequential([Input((None, 3)), LSTM(4, return_sequences=True), LSTM(4)]))
    lc.export_model(model, tmp_path / "m.onnx")

    def without_biases(read: BaseModel, inputs: Any) -> Any:
        read.replace_weights({name: 0 * a for name, a in read.weights.items() if name.endswith("bias")})
        return computed(read, inputs)

    judged(without_biases)
    assert prove(model, tmp_path / "m.onnx").rows[1].diagnosis == ("matches if everywhere the bias is missing",)


def test_an_engine_known_to_read_old_files_otherwise(tmp_path: Path, judged: Any) -> None:
    """Keras 3 takes hard_sigmoid of Keras 2 for its own: told, and no difference of the conversion."""
    layers = [Input((None, 3)), LSTM(4, recurrent_activation="hard_sigmoid_0_2", return_sequences=True)]
    model = drawn(Sequential(layers))
    for name in ("old.onnx", "new.onnx"):
        lc.export_model(model, tmp_path / name)

    def run(read: BaseModel, inputs: Any) -> Any:
        other = Sequential([Input((None, 3)), LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True)])
        other.set_weights(read.get_weights())
        return computed(other, inputs)

    judged(run)
    proof = prove(model, tmp_path / "new.onnx", source=tmp_path / "old.onnx")
    (source,) = [row for row in proof.rows if row.file == "old.onnx"]
    assert source.ok and source.status.startswith("reads it otherwise") and "Keras 3" in source.diagnosis[0]
    (target,) = [row for row in proof.rows if row.file == "new.onnx" and row.engine == "engine"]
    assert not target.ok and not proof.ok


def refusing(read: BaseModel, inputs: Any) -> Any:
    raise UnsupportedFileError("it is not for me")


def lacking(read: BaseModel, inputs: Any) -> Any:
    raise MissingLibraryError("install a compiler")


def crashing(read: BaseModel, inputs: Any) -> Any:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("runs", "ok"),
    [((computed, refusing), True), ((refusing,), False), ((crashing,), False), ((computed, crashing), False)],
)
def test_one_engine_at_least_must_run_what_was_written(runs: Any, ok: bool, tmp_path: Path, judged: Any) -> None:
    model = drawn(Sequential([Input((None, 3)), LSTM(4)]))
    for name in ("a.onnx", "b.onnx"):
        lc.export_model(model, tmp_path / name)
    for k, run in enumerate(runs):
        judged(run, name=f"engine {k}")
    proof = prove(model, tmp_path / "b.onnx", source=tmp_path / "a.onnx")
    assert proof.ok == ok
    assert "it is not for me" in str(proof) or "boom" in str(proof)
    compared = compare_models(model, model, (tmp_path / "a.onnx", tmp_path / "b.onnx"))
    assert compared.ok == (ok or runs == (refusing,))  # a file that nobody's engine reads can still be compared


def test_engines_that_are_not_installed_are_listed(tmp_path: Path, judged: Any) -> None:
    model = drawn(Sequential([Input((None, 3)), LSTM(4)]))
    lc.export_model(model, tmp_path / "m.onnx")
    judged(computed, requires=("nowhere_to_be_found",), install="pip install nowhere")
    judged(lacking)
    proof = prove(model, tmp_path / "m.onnx")
    assert proof.ok and [row.status for row in proof.rows] == ["agrees", "missing", "missing"]
    assert [row.remedy for row in proof.rows[1:]] == ["pip install nowhere", "install a compiler"]


# The inputs.


def test_inputs_have_the_shapes_kinds_and_paddings_of_the_model() -> None:
    subject = Subject.of(words())
    (name,) = subject.program.inputs
    found = cases(subject, {name: (None, None)}, {name: 7})
    ids = [case.values[name] for case in found]
    assert [array.shape for array in ids] == [(3, 5), (3, 9)]
    for array in ids:
        assert array.dtype == np.int32 and array.max() < 7 and array.min() == 0
        assert (array[0] > 0).all()
        assert array[1, 0] > 0 and array[1, -1] == 0 and array[2, 0] == 0 and array[2, -1] > 0
    again = cases(subject, {name: (None, None)}, {name: 7})
    assert all(np.array_equal(a, b.values[name]) for a, b in zip(ids, again, strict=True))


def test_states_are_not_zero_and_go_to_the_file(tmp_path: Path) -> None:
    model = stateful()
    subject = Subject.of(model)
    assert subject.states == ("lstm/c", "lstm/h")
    lc.export_model(model, tmp_path / "m.onnx")
    proof = prove(model, tmp_path / "m.onnx")
    assert proof.ok and [row.status for row in proof.rows] == ["agrees", "agrees"] and proof.samples == 2

    def forget(name: str, array: Array) -> Array | None:
        return None

    graph = onnx.load(altered(tmp_path / "m.onnx", forget))
    for node in graph.graph.node:
        node.input[:] = [{"lstm/h": "lstm/c", "lstm/c": "lstm/h"}.get(name, name) for name in node.input]
    onnx.save(graph, tmp_path / "m.onnx")
    row = prove(model, tmp_path / "m.onnx").rows[1]
    assert row.diagnosis == ("matches if the initial h and c are swapped",)


def test_streaming_files_are_proved_as_such(tmp_path: Path) -> None:
    model = drawn(Sequential([Input((None, 3)), LSTM(4), Dense(2)]))
    lc.export_model(model, tmp_path / "m.onnx", streaming=True)
    lc.export_model(model, tmp_path / "whole.onnx")
    proof = prove(model, tmp_path / "m.onnx", streaming=True)
    assert proof.proved and len(proof.rows) == 2
    both = compare_models(model, model, (tmp_path / "whole.onnx", tmp_path / "m.onnx"))
    assert both.proved and {row.engine for row in both.rows} == {"lstmcore", "ONNX Runtime"}


def test_made_up_inputs_fit_the_model() -> None:
    assert words().predict(made_up(words())).shape == (3, 2)


def test_given_inputs_are_used(tmp_path: Path) -> None:
    model = words()
    lc.export_model(model, tmp_path / "m.onnx")
    proof = prove(model, tmp_path / "m.onnx", inputs=np.ones((4, 6), np.int32))
    assert proof.samples == 4 and proof.cases == 1 and proof.proved


def test_inputs_that_prove_nothing_are_told(tmp_path: Path) -> None:
    model = drawn(Sequential([Input((3,)), Dense(4, name="one"), Dense(2, activation="relu")]))
    model.replace_weights({"dense/bias": np.float32([-90, -90])})
    lc.export_model(model, tmp_path / "m.onnx")
    assert "prove little" in str(prove(model, tmp_path / "m.onnx"))
    path = altered(tmp_path / "m.onnx", lambda name, array: 2 * array if name == "one/bias" else None)
    proof = prove(model, path)  # the outputs are all zero; then the layers decide
    assert not proof.ok and proof.rows[0].first == "one"


# Signatures.


def test_models_of_other_signatures_are_not_compared(tmp_path: Path) -> None:
    models = [Sequential([Input((None, 3)), LSTM(4)]), Sequential([Input((None, 5)), LSTM(4)])]
    with pytest.raises(SpecError, match=r"a takes input_layer float \(batch, any, 3\), and b .*\(batch, any, 5\)"):
        pairing(*map(Subject.of, models), ("a", "b"))
    two = Model([a := Input((3,)), b := Input((3,))], kl.Add()([a, b]))
    with pytest.raises(SpecError, match="takes"):
        pairing(Subject.of(two), Subject.of(Sequential([Input((3,)), Dense(3)])), ("a", "b"))


def test_inputs_are_paired_by_name_then_by_order(tmp_path: Path) -> None:
    def made(*names: str) -> BaseModel:
        x = {name: Input((3,), name=name) for name in names}
        return drawn(Model(list(x.values()), kl.Subtract()([x[sorted(names)[0]], x[sorted(names)[1]]])))

    files = [tmp_path / f"{k}.safetensors" for k in range(3)]
    models = [made("a", "b"), made("b", "a"), made("c", "d")]
    for model, path in zip(models, files, strict=True):
        model.save(path)
    assert compare_models(models[0], models[1], (files[0], files[1])).ok
    assert compare_models(models[0], models[2], (files[0], files[2])).ok


def test_a_file_without_a_batch_is_compared_sample_by_sample(tmp_path: Path) -> None:
    model = drawn(Sequential([Input((6, 3)), LSTM(4), Dense(2)]))
    model.save(tmp_path / "m.safetensors")
    lc.export_model(model, tmp_path / "m.onnx")
    graph = onnx.load(altered(tmp_path / "m.onnx", lambda name, array: None))
    for end in (*graph.graph.input, *graph.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, tmp_path / "one.onnx")
    proof = compare_models(
        model, lc.import_model(tmp_path / "one.onnx"), (tmp_path / "m.safetensors", tmp_path / "one.onnx")
    )
    assert proof.proved and proof.samples == 3 and [row.status for row in proof.rows] == ["agrees", "agrees"]


# What amplifies rounding.


def test_what_a_model_makes_of_rounding_is_measured_where_it_matters(tmp_path: Path, judged: Any) -> None:
    """exp of large numbers: an input moved by half a unit moves the output by hundreds."""
    layers = [Input((4,)), Dense(4, name="one", activation="exponential"), Dense(1)]
    model = drawn(Sequential(layers))
    model.replace_weights({"one/kernel": 20 * model.weights["one/kernel"]})
    lc.export_model(model, tmp_path / "m.onnx")

    def run(read: BaseModel, inputs: Any) -> Any:
        exact = np.asarray(read.session(None, "float64").run({read.program.inputs[0]: inputs[0].astype("f8")})[0][0])
        return [exact + 60 * np.finfo(np.float32).eps * np.abs(exact).max()], {}

    judged(run)
    proof = prove(model, tmp_path / "m.onnx")
    assert proof.ok and proof.shaken > proof.baseline and proof.limit == pytest.approx(3 * proof.shaken)
    assert "moving every weight" in str(proof)
    calm = drawn(Sequential([Input((4,)), Dense(4), Dense(1)]))
    lc.export_model(calm, tmp_path / "m.onnx")
    assert not prove(calm, tmp_path / "m.onnx").ok


# Files.


def test_formats_are_told_from_the_content(tmp_path: Path) -> None:
    model = drawn(Sequential([Input((None, 3)), LSTM(4)]))
    model.save(tmp_path / "m.safetensors")
    lc.export_model(model, tmp_path / "m.onnx")
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    for name in ("m.safetensors", "m.onnx"):
        assert lc.import_model(tmp_path / name).program == model.program
    with pytest.raises(FileError):
        lc.import_model(tmp_path / "bad.safetensors")


def test_a_file_of_weights_alone_is_read_into_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it lacks is not filled with the weights that the model had."""
    model = drawn(Sequential([Input((None, 3)), LSTM(4)]))

    def reads(path: Any, weights: Any, spec: Any) -> Any:
        if spec is None:
            raise WeightsAloneError("it holds weights alone: give spec=model")
        assert not any(array.any() for array in spec.weights.values())
        spec.replace_weights({"lstm/kernel": model.weights["lstm/kernel"]})
        return spec

    monkeypatch.setitem(globals(), "reads", reads)
    row = formats.Format("weights", (".w",), (), reads=f"{__name__}:reads")
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, row))
    (tmp_path / "m.w").write_bytes(b"\x01\x02")
    proof = prove(model, tmp_path / "m.w", format="weights")
    assert not proof.ok and proof.weights is not None
    assert [weight.name for weight in proof.weights.different] == ["lstm/recurrent_kernel", "lstm/bias"]


def test_a_file_that_nothing_here_runs_is_not_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = formats.Format("written", (".out",), (), writes="nowhere:nothing")
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, row))
    (tmp_path / "m.out").write_bytes(b"\x01\x02")
    proof = prove(drawn(Sequential([Input((None, 3)), LSTM(4)])), tmp_path / "m.out", format="written")
    assert proof.ok and not proof.proved and "NOT PROVED" in str(proof)
