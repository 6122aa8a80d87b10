"""SavedModel folders: TensorFlow and Keras run them without lstmcore, and they come back to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstmcore_conformance import cases, subjects

import lstmcore as lc
from lstmcore import plugins
from lstmcore.errors import DamagedFileError, FileError, ForeignFileError, SpecError, UnsafeFileError
from lstmcore.layers import GRU, LSTM, RNN, BatchNormalization, Bidirectional, Conv1D, Dense, Embedding, GRUCell, Input
from lstmcore.models import Model, Sequential
from lstmcore.models.program_model import ProgramModel
from lstmcore.runtime.compare import scale_error

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
from lstmcore_tensorflow.files import saved_model

WORDS = Input((None,), dtype="int32")
DOUBLE = {"dtype": "float64"}


def filled(model: Any) -> Any:
    random = np.random.default_rng(5)
    model.set_weights(
        [random.uniform(0.1, 0.7, a.shape) * random.choice([-1, 1], a.shape) for a in model.get_weights()]
    )
    for name, array in model.weights.items():
        if name.endswith("moving_variance"):
            model.replace_weights({name: np.abs(np.array(array)) + array.dtype.type(0.5)})
    return model


def two_inputs() -> Model:
    x, mask = Input((None, 3), name="x"), Input((None,), dtype="bool", name="the mask")
    h = LSTM(4, return_sequences=True)(x, mask=mask)
    return Model([x, mask], [Dense(2, name="first")(h), GRU(3, name="second")(h, mask=mask)])


def shared() -> Model:
    a, b, layer = Input((4, 3), name="a"), Input((4, 3), name="b"), LSTM(2)
    return Model([a, b], Dense(1, name="class")(lc.layers.Concatenate()([layer(a), layer(b)])))


MODELS: dict[str, Callable[[], Any]] = {
    "both_ways": lambda: Sequential(
        [Input((None, 3)), Bidirectional(LSTM(4, return_sequences=True)), GRU(3), BatchNormalization(), Dense(2)]
    ),
    "masked": lambda: Sequential([WORDS, Embedding(9, 4, mask_zero=True), GRU(3, reset_after=False), Dense(1)]),
    "double": lambda: Sequential([Input((None, 3)), Conv1D(3, 2, **DOUBLE), LSTM(4, **DOUBLE), Dense(2, **DOUBLE)]),
    "cells": lambda: Sequential([Input((6, 3)), RNN(GRUCell(3), return_sequences=True), Dense(2)]),
    "two_inputs": two_inputs,
    "shared": shared,
}


def data(model: Any, samples: int = 3, steps: int = 7) -> list[Any]:
    random = np.random.default_rng(6)
    made: list[Any] = []
    for name in model.program.inputs:
        value = model.program.values[name]
        shape = [samples, *(n or steps for n in value.shape[1:])]
        if value.kind == "float":
            made.append(random.normal(size=shape).astype(model.dtype))
        elif value.kind == "int":
            made.append(random.integers(0, model.program.limits.get(name, 9), shape).astype("int32"))
        else:
            made.append(random.random(shape) < 0.6)
    return made


def exact(model: Any, given: list[Any]) -> list[Any]:
    session = model.session(plugins.reference(), "float64")
    cast = [a.astype("float64") if a.dtype.kind == "f" else a for a in given]
    return list(session.run(dict(zip(model.program.inputs, cast, strict=True)))[0])


def same(a: Any, b: Any) -> None:
    assert list(a.weights) == list(b.weights)
    for name, array in a.weights.items():
        assert array.dtype == b.weights[name].dtype
        assert array.tobytes() == b.weights[name].tobytes(), name


@pytest.mark.parametrize("name", MODELS)
def test_a_model_goes_out_runs_in_tensorflow_and_comes_back(name: str, tmp_path: Path) -> None:
    model = filled(MODELS[name]())
    lc.export_model(model, f"{tmp_path}/m/")
    for samples, steps in ((3, 7), (1, 4)):
        given = data(model, samples, steps)
        found, _ = saved_model.run(tmp_path / "m", given)
        for y, reference in zip(found, exact(model, given), strict=True):
            assert y.dtype == np.dtype(model.dtype)
            assert scale_error(y, reference, model.dtype) <= 16
    assert saved_model.verify(tmp_path / "m").ok
    again = lc.import_model(tmp_path / "m")
    same(model, again)
    assert again.to_json() == model.to_json()


ALONE = """
import sys, json, numpy as np
sys.modules["lstmcore"] = sys.modules["lstmcore_tensorflow"] = None
import tensorflow as tf, keras
told = []
for folder, data in zip(sys.argv[1::2], sys.argv[2::2]):
    arrays = {k: tf.constant(v) for k, v in np.load(data).items()}
    loaded = tf.saved_model.load(folder)
    serve = loaded.signatures["serving_default"]
    with tf.GradientTape() as tape:
        ours = serve(**arrays)
        loss = sum(tf.reduce_sum(y ** 2) for y in ours.values())
    gradients = tape.gradient(loss, serve.trainable_variables)
    layer = keras.layers.TFSMLayer(folder, call_endpoint="serving_default")
    theirs = layer(next(iter(arrays.values()))) if len(arrays) == 1 else ours
    told.append({
        "outputs": {k: v.numpy().tolist() for k, v in ours.items()},
        "keras": {k: np.asarray(v).tolist() for k, v in theirs.items()},
        "specs": {k: v.shape.as_list() for k, v in serve.structured_input_signature[1].items()},
        "gradients": [float(abs(g.numpy()).max()) for g in gradients],
    })
print(json.dumps(told))
"""


def test_it_needs_no_lstmcore(tmp_path: Path) -> None:
    models = [filled(MODELS[name]()) for name in ("both_ways", "two_inputs")]
    names, given, arguments = [["input_layer"], ["x", "the_mask"]], [data(model) for model in models], []
    for k, model in enumerate(models):
        lc.export_model(model, tmp_path / f"m{k}", format="saved_model")
        np.savez(tmp_path / f"x{k}.npz", **dict(zip(names[k], given[k], strict=True)))
        arguments += [str(tmp_path / f"m{k}"), str(tmp_path / f"x{k}.npz")]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-W", "ignore", "-c", ALONE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for k, told in enumerate(json.loads(done.stdout.splitlines()[-1])):
        model = models[k]
        assert told["specs"] == {n: [None, None, *a.shape[2:]] for n, a in zip(names[k], given[k], strict=True)}
        for y, reference in zip(model.output_names, exact(model, given[k]), strict=True):
            assert scale_error(np.array(told["outputs"][y]), reference, "float32") <= 16
            assert scale_error(np.array(told["keras"][y]), reference, "float32") <= 16
        assert len(told["gradients"]) == len(model.trained_paths())
        assert min(told["gradients"]) > 0


def test_streaming_gives_step_by_step_what_the_sequence_gives(tmp_path: Path) -> None:
    layers = [Conv1D(3, 3, padding="causal"), LSTM(4, return_sequences=True), GRU(3, return_sequences=True)]
    model = filled(Sequential([Input((None, 2), name="x"), *layers]))
    lc.export_model(model, tmp_path / "m", format="saved_model", streaming=True)
    assert saved_model.verify(tmp_path / "m").ok
    (x,), states, pieces = data(model, 2, 9), None, []
    program, _ = model.streaming_program(1)
    befores = [
        np.zeros((2, *program.values[c.before].shape[1:]), "f4") for c in sorted(program.carries, key=lambda c: c.name)
    ]
    for begin, end in ((0, 1), (1, 4), (4, 9)):
        made, _ = saved_model.run(tmp_path / "m", [x[:, begin:end], *(befores if states is None else states)])
        pieces.append(made[0])
        states = made[1:]
    assert scale_error(np.concatenate(pieces, 1), exact(model, [x])[0], "float32") <= 16
    same(model, lc.import_model(tmp_path / "m"))
    with pytest.raises(SpecError, match="cannot stream"):
        lc.export_model(MODELS["both_ways"](), tmp_path / "n", format="saved_model", streaming=True)
    assert not (tmp_path / "n").exists()


def test_a_stateful_model_has_its_states_as_inputs_and_outputs(tmp_path: Path) -> None:
    model = filled(Sequential([Input(batch_shape=(2, 5, 3)), GRU(4, stateful=True, name="g.u"), Dense(2)]))
    lc.export_model(model, tmp_path / "m", format="saved_model")
    x, h = data(model, 2, 5)[0], np.random.default_rng(1).normal(size=(2, 4)).astype("f4")
    found, _ = saved_model.run(tmp_path / "m", [x, h])
    session = model.session(plugins.reference(), "float64")
    outputs, after = session.run({model.program.inputs[0]: x.astype("f8")}, {"g.u/h": h.astype("f8")})
    for y, reference in zip(found, [*outputs, after["g.u/h"]], strict=True):
        assert scale_error(y, reference, "float32") <= 16
    (fresh,), _ = saved_model.run(tmp_path / "m", [x])
    assert scale_error(fresh, exact(model, [x])[0], "float32") <= 16
    about = json.loads((tmp_path / "m/assets.extra/lstmcore.json").read_text())
    assert about["states"] == {"g.u/h": ["g_u_h", "g_u_h_next"]}


def small() -> Sequential:
    return filled(Sequential([Input((None, 2)), GRU(2), Dense(1)]))


def test_a_folder_is_replaced_only_by_its_like_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = small(), tmp_path / "m"
    lc.export_model(model, path, format="saved_model")
    lc.export_model(model, path, format="saved_model")
    (path / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match=r"notes\.txt"):
        lc.export_model(model, path, format="saved_model")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/a.txt").write_text("mine")
    with pytest.raises(FileError, match="no SavedModel"):
        lc.export_model(model, tmp_path / "home", format="saved_model")
    with pytest.raises(FileError, match="not a folder but a file"):
        lc.export_model(model, tmp_path / "home/a.txt", format="saved_model")
    (path / "notes.txt").unlink()
    before = sorted((p.relative_to(path), p.read_bytes()) for p in path.rglob("*") if p.is_file())

    def full(*args: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_model, "unbuilt_description", full)
    with pytest.raises(OSError, match="No space"):
        lc.export_model(model, path, format="saved_model")
    assert sorted((p.relative_to(path), p.read_bytes()) for p in path.rglob("*") if p.is_file()) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "m"]


def test_what_was_altered_or_is_not_ours_is_refused_before_tensorflow_reads_it(tmp_path: Path) -> None:
    import tensorflow as tf

    model, path = small(), tmp_path / "m"
    lc.export_model(model, path, format="saved_model")
    random = np.random.default_rng(2)
    for inner in ("saved_model.pb", "variables/variables.data-00000-of-00001", "assets.extra/lstmcore.model.json"):
        whole = (path / inner).read_bytes()
        spoilt = bytearray(whole)
        spoilt[random.integers(len(whole))] ^= 4
        (path / inner).write_bytes(spoilt)
        for use in (lc.import_model, saved_model.verify, lambda p: saved_model.run(p, data(model))):
            with pytest.raises(DamagedFileError, match="not those that were written"):
                use(path)
        (path / inner).write_bytes(whole)
    (path / "assets/link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFileError, match="link"):
        lc.import_model(path)
    (path / "assets/link").unlink()
    lc.import_model(path)
    foreign = tf.Module()
    foreign.read = tf.function(lambda: tf.io.read_file("/etc/passwd"), input_signature=[])
    tf.saved_model.save(foreign, str(tmp_path / "theirs"))
    for use in (lc.import_model, saved_model.verify):
        with pytest.raises(ForeignFileError, match="was not written by lstmcore"):
            use(tmp_path / "theirs")
    forged = json.loads((path / "assets.extra/lstmcore.json").read_text())
    (path / "saved_model.pb").write_bytes((tmp_path / "theirs/saved_model.pb").read_bytes())
    forged["files"] = saved_model._digests(str(path))
    del forged["files"]["assets.extra/lstmcore.json"]
    (path / "assets.extra/lstmcore.json").write_text(json.dumps(forged))
    with pytest.raises(UnsafeFileError, match="ReadFile"):
        saved_model.verify(path)


def test_weights_go_into_a_given_model_if_they_fit(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "m"
    lc.export_model(model, path, format="saved_model")
    other = Sequential([Input((None, 2)), GRU(2), Dense(1)])
    assert lc.import_model(path, spec=other) is other
    same(model, other)
    with pytest.raises(FileError, match=r"expected float32, \(2, 9\)"):
        lc.import_model(path, spec=Sequential([Input((None, 2)), GRU(3), Dense(1)]))


SAMPLE = [
    case
    for case in cases.load("standard")
    if case.level == "forward"
    and case.settings["states"] != "carried"
    and case.family.startswith(("op_", "activation", "grid_", "lstm_masks", "heads", "keras_merge"))
    and case.family != "op_unfold"
][::211]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: str(case.id))
def test_a_sample_of_the_conformance_suite(case: Any, tmp_path: Path) -> None:
    it = subjects.subject(case)
    weights = {name: np.asarray(array, case.dtype) for name, array in it.weights.items()}
    saved_model.write(ProgramModel(it.program, weights, name="m", dtype=case.dtype), tmp_path / "m")
    given = [np.asarray(a, case.dtype) if a.dtype.kind == "f" else a for a in it.inputs.values()]
    found, _ = saved_model.run(tmp_path / "m", given)
    for y, reference in zip(found, it.run(plugins.get(plugins.reference()), "float64").outputs, strict=True):
        assert scale_error(y, reference, case.dtype) <= 16


def test_a_graph_that_would_use_files_when_it_runs_is_refused(tmp_path: Path) -> None:
    from lstmcore_tensorflow.files import graphs

    lc.export_model(Sequential([Input((None, 3)), LSTM(4)]), f"{tmp_path}/m/", format="saved_model")
    path = tmp_path / "m" / "saved_model.pb"
    graphs.check(str(path), "m")
    graph = graphs.parsed(str(path), "m")
    functions = graph.meta_graphs[0].graph_def.library.function
    harmless = [function for function in functions if not {node.op for node in function.node_def} & graphs.FILES]
    assert harmless and len(harmless) < len(functions)  # the others save and restore
    (called,) = [
        function for function in harmless if "inference" in function.signature.name and "while" in str(function)
    ][:1]
    called.node_def.add(name="reads", op="RestoreV2")
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(UnsafeFileError, match="would use files, by the op 'RestoreV2'"):
        graphs.check(str(path), "m")
