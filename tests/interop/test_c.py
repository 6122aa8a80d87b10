"""Models as headers of C: compiled by this machine's compiler, and compared with the reference in float64."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstmcore_conformance import cases, subjects

import lstmcore as lc
from lstmcore import plugins
from lstmcore.errors import DamagedFileError, ExportError, FileError, ForeignFileError, MissingLibraryError, SpecError
from lstmcore.interop import formats
from lstmcore.interop.c import judge, reading
from lstmcore.interop.c.files import text
from lstmcore.interop.c.text import KEYWORDS, identifier, literal, remark
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GRUCell,
    Input,
    LayerNormalization,
    Masking,
    MaxPooling1D,
    RepeatVector,
    Reshape,
    SimpleRNN,
    TimeDistributed,
)
from lstmcore.models import Model, Sequential
from lstmcore.models.program_model import ProgramModel
from lstmcore.runtime.compare import scale_error

WORDS = Input((None,), dtype="int32")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")


def chain(*layers: Any, name: str = "m") -> Sequential:
    """A model with weights that are all different."""
    return filled(Sequential(list(layers), name=name))


def filled(model: Any) -> Any:
    random = np.random.default_rng(5)
    model.set_weights(
        [random.uniform(0.05, 0.7, a.shape) * random.choice([-1, 1], a.shape) for a in model.get_weights()]
    )
    for name, array in model.weights.items():
        if name.endswith("moving_variance"):
            model.replace_weights({name: np.abs(np.array(array)) + np.float32(0.5)})
    return model


def two_inputs() -> Model:
    x, mask = Input((None, 3), name="x"), Input((None,), dtype="bool", name="mask")
    h = LSTM(4, return_sequences=True)(x, mask=mask)
    return filled(Model([x, mask], [Dense(2, name="first")(h), GRU(3, name="second")(h, mask=mask)], name="two"))


MODELS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: chain(Input((None, 3)), LSTM(4)),
    "stack": lambda: chain(
        Input((None, 3)), LSTM(4, return_sequences=True), Dropout(0.5), GRU(5, reset_after=False), Dense(2, "softmax")
    ),
    "gru": lambda: chain(Input((None, 3)), GRU(4, return_sequences=True), SimpleRNN(3, use_bias=False), Dense(1)),
    "both_ways": lambda: chain(Input((7, 3)), Bidirectional(LSTM(4, return_sequences=True)), Bidirectional(GRU(3))),
    "masked": lambda: chain(
        WORDS, Embedding(11, 4, mask_zero=True), Bidirectional(GRU(3, return_sequences=True)), LSTM(5)
    ),
    "masking": lambda: chain(Input((None, 2)), Masking(0.5), GRU(4, return_sequences=True), Dense(1)),
    "convolutional": lambda: chain(
        Input((None, 3)),
        Conv1D(4, 3, padding="same", strides=2, activation="relu"),
        MaxPooling1D(2),
        LSTM(4, recurrent_activation="hard_sigmoid"),
    ),
    "flat": lambda: chain(Input((6, 2)), Conv1D(3, 2, groups=1), BatchNormalization(), Flatten(), Dense(3, "gelu")),
    "causal": lambda: chain(
        Input((None, 3)), Conv1D(4, 3, dilation_rate=2, padding="causal"), LSTM(4, return_sequences=True)
    ),
    "repeated": lambda: chain(
        Input((None, 3)),
        LSTM(4),
        RepeatVector(3),
        GRU(3, return_sequences=True),
        TimeDistributed(Dense(2)),
        Reshape((6,)),
    ),
    "pooled": lambda: chain(
        Input((None, 3)), SimpleRNN(4, return_sequences=True), LayerNormalization(), GlobalAveragePooling1D()
    ),
    "backward": lambda: chain(
        Input((None, 3)), LSTM(4, go_backwards=True, return_sequences=True), GRU(2, unroll=False)
    ),
    "double": lambda: chain(Input((None, 3)), GRU(4, dtype="float64"), Dense(2, "softplus", dtype="float64")),
    "dense": lambda: chain(Input((5,)), Dense(400, "tanh"), Dense(3)),
    "two_inputs": two_inputs,
}


def data(model: Any, samples: int = 3, steps: int = 9) -> list[Any]:
    random = np.random.default_rng(6)
    made = []
    for name in model.program.inputs:
        value = model.program.values[name]
        shape = [samples, *(n or steps for n in value.shape[1:])]
        kinds = {
            "float": lambda s=shape: random.choice([0.5, *random.normal(size=20)], s).astype(model.dtype),
            "int": lambda s=shape, n=name: random.integers(0, model.program.limits.get(n, 9), s).astype("int32"),
            "bool": lambda s=shape: random.random(s) < 0.6,
        }
        made.append(kinds[value.kind]())
    return made


def exact(model: Any, given: list[Any]) -> list[Any]:
    session = model.session(plugins.reference(), "float64")
    cast = [a.astype("float64") if a.dtype.kind == "f" else a for a in given]
    return list(session.run(dict(zip(model.program.inputs, cast, strict=True)))[0])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_c_is_the_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    lc.export_model(model, tmp_path / "m.h")
    given = data(model)
    found, _ = judge.run(tmp_path / "m.h", given)
    for y, reference in zip(found, exact(model, given), strict=True):
        assert y.dtype == np.dtype(model.dtype)
        assert scale_error(y, reference, model.dtype) <= 16
    assert judge.verify(tmp_path / "m.h").ok
    again = lc.import_model(tmp_path / "m.h")
    assert again.to_json() == model.to_json()
    for key, array in model.weights.items():
        assert array.tobytes() == again.weights[key].tobytes()


def library(model: Any, folder: Path, code: str, *flags: str, compiler: str = "cc", suffix: str = "c") -> Any:
    """The header of a model with more code behind it, compiled without a warning."""
    (folder / "m.h").write_text(text(model))
    (folder / f"main.{suffix}").write_text(f'#include "m.h"\n{code}')
    target = folder / "m.so"
    command = [compiler, *WARNINGS, *flags, "-shared", "-fPIC", f"{folder}/main.{suffix}", "-o", target, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(target))


STEPS = """
void run(const float *x, int steps, int in, int out, float *y)
{
    m_state state;
    m_start(&state);
    for (int t = 0; t < steps; t++)
        m_step(&state, x + t * in, y + t * out);
}
"""


@pytest.mark.parametrize("name", ["causal", "masking", "gru", "lstm"])
def test_step_by_step_is_the_whole_sequence(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    (x,) = data(model, 1, 12)
    y = np.zeros((12, model.output_shape[-1]), "f4")
    loaded = library(model, tmp_path, STEPS, "-std=c99")
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, y)]
    loaded.run(pointers[0], 12, x.shape[-1], y.shape[-1], pointers[1])
    (whole,) = exact(model, [x])
    assert scale_error(y if whole.ndim == 3 else y[-1], whole[0], "float32") <= 16


@pytest.mark.parametrize(("compiler", "flags", "suffix"), [("cc", "-std=c99", "c"), ("c++", "-std=c++17", "cpp")])
@pytest.mark.parametrize("name", ["stack", "masked", "convolutional", "two_inputs", "double"])
def test_it_compiles_without_a_warning(name: str, compiler: str, flags: str, suffix: str, tmp_path: Path) -> None:
    library(MODELS[name](), tmp_path, "int all_is_well(void);\n", flags, compiler=compiler, suffix=suffix)


def test_numbers_are_exact_in_the_compiled_array(tmp_path: Path) -> None:
    model = chain(Input((None, 3)), LSTM(4), Dense(2))
    random = np.random.default_rng(0)
    bits = [random.integers(0, 2**32, a.shape, np.uint32).view("f4") for a in model.get_weights()]
    bits = [np.where(np.isfinite(a), a, np.float32(1e-45)) for a in bits]
    bits[0][0, :4] = [-0.0, np.inf, -np.inf, np.finfo("f4").max]
    model.set_weights(bits)
    functions = [f"const void *w{k}(void) {{ return m_w_{n.replace('/', '_')}; }}" for k, n in enumerate(model.weights)]
    loaded = library(model, tmp_path, "\n".join(functions), "-std=c99", "-Wno-missing-prototypes")
    for k, array in enumerate(model.weights.values()):
        function = getattr(loaded, f"w{k}")
        function.restype = ctypes.c_void_p
        assert ctypes.string_at(function(), array.nbytes) == array.tobytes()


def test_it_takes_no_memory_and_writes_no_global(tmp_path: Path) -> None:
    (tmp_path / "m.h").write_text(text(MODELS["stack"]()))
    (tmp_path / "m.c").write_text(
        '#include "m.h"\nvoid run(const float *x, int n, float *y, float *s) { m_predict(x, n, y, s); }\n'
    )
    subprocess.run(["cc", "-std=c99", "-O0", "-c", tmp_path / "m.c", "-o", tmp_path / "m.o"], check=True)
    listed = subprocess.run(["nm", tmp_path / "m.o"], capture_output=True, text=True, check=True).stdout
    kinds = {tuple(line.split()[-2:]) for line in listed.splitlines()}
    assert not [name for kind, name in kinds if kind in "bBdDcC"]
    needed = {name for kind, name in kinds if kind == "U"}
    assert needed <= {"expf", "tanhf", "memset", "memcpy", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


HOSTILE = '*/ system("touch pwned"); /* \\ ??/ \u202e // ${x} %s " \' int'


def test_names_are_text_and_never_code(tmp_path: Path) -> None:
    evil = HOSTILE.replace("/", "").replace("\u202e", "\u00e9")
    model = chain(Input((None, 3), name=evil + "i"), LSTM(4, name=evil), Dense(2, name="int"), name=evil + "m")
    source = text(model)
    assert source.isascii()
    assert "system(" not in source.replace("system(%22", "").split("/* lstmcore.c 1")[0]
    (tmp_path / "x.c").write_text(source)
    done = subprocess.run(["cc", *WARNINGS, "-std=c99", "-fsyntax-only", "-xc", tmp_path / "x.c"], capture_output=True)
    assert done.returncode == 0, done.stderr
    lc.export_model(model, tmp_path / "m.h")
    given = data(model)
    assert scale_error(judge.run(tmp_path / "m.h", given)[0][0], exact(model, given)[0], "float32") <= 16
    assert lc.import_model(tmp_path / "m.h").to_json() == model.to_json()


@pytest.mark.parametrize("name", [HOSTILE, "", "9", "int", "_x", "\u00e9t\u00e9", "a" * 300, "*/", "a\nb"])
def test_identifiers_and_remarks(name: str) -> None:
    made = identifier(name)
    assert made.isascii() and made.isidentifier() and made not in KEYWORDS and len(made) <= 63 and made[0] != "_"
    assert identifier(name, {made}) != made
    said = remark(name)
    assert said.isascii() and said.isprintable() and "*" not in said and "??" not in said and "\\" not in said


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_literals_are_read_back_to_the_bit(dtype: str) -> None:
    info = np.finfo(dtype)
    for value in (0.0, -0.0, 1.0, -1 / 3, float(info.max), float(info.tiny), float(info.smallest_subnormal)):
        said = literal(value, dtype)
        assert np.dtype(dtype).type(float.fromhex(said.rstrip("f"))).tobytes() == np.dtype(dtype).type(value).tobytes()


def test_what_is_not_written_is_refused_by_name(tmp_path: Path) -> None:
    refused = {
        "layer 'cells'": chain(Input((None, 3)), RNN(GRUCell(2), name="cells")),
        "layer 'soft'.* softmax": chain(Input((None, 3)), LSTM(2, activation="softmax", name="soft")),
        "one sample at a time": chain(Input(batch_shape=(2, 5, 3)), GRU(4, stateful=True)),
    }
    for match, model in refused.items():
        with pytest.raises(ExportError, match=match):
            lc.export_model(model, tmp_path / "m.h")
    with pytest.raises(SpecError, match="cannot stream"):
        lc.export_model(MODELS["both_ways"](), tmp_path / "m.h", streaming=True)
    with pytest.raises(SpecError, match="'1x'"):
        lc.export_model(MODELS["lstm"](), tmp_path / "m.h", name="1x")
    nan = MODELS["lstm"]()
    weights = nan.get_weights()
    weights[0].view("u4")[0, 0] = 0xFFC00001
    nan.set_weights(weights)
    with pytest.raises(ExportError, match="NaN"):
        lc.export_model(nan, tmp_path / "m.h")
    assert not list(tmp_path.iterdir())


def test_why_there_is_no_step_stands_in_the_file() -> None:
    assert "There is no m_step: " in text(MODELS["both_ways"]())
    assert "m_step(" in text(MODELS["lstm"]())


def test_an_altered_header_is_refused_and_never_compiled(tmp_path: Path) -> None:
    model, path, canary = MODELS["lstm"](), tmp_path / "m.h", tmp_path / "canary"
    lc.export_model(model, path)
    whole = path.read_text()
    code = f'#include <stdio.h>\n__attribute__((constructor)) static void f(void) {{ fopen("{canary}", "w"); }}\n'
    begin = whole.index("{\n    0x") + 6
    number = whole[begin:].partition(",")[0]
    altered = {
        "code": whole.replace("#include <math.h>\n", f"#include <math.h>\n{code}"),
        "behind": whole + code,
        "number": whole[:begin] + literal(0.4321, "float32") + whole[begin + len(number) :],
        "formula": whole.replace("remembered + added", "remembered - added"),
        "words": whole.replace('"units":4', '"units":5'),
        "cut": whole[: len(whole) // 2],
    }
    for name, source in altered.items():
        assert source != whole, name
        path.write_text(source)
        for use in (judge.verify, lambda p: judge.run(p, data(model)), lc.import_model):
            with pytest.raises(FileError, match=r"m\.h"):
                use(path)
    assert not canary.exists()
    path.write_text("int main(void) { return 0; }\n")
    with pytest.raises(ForeignFileError):
        lc.import_model(path, format="c")
    assert issubclass(DamagedFileError, FileError)


def test_without_a_compiler_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lc.export_model(MODELS["lstm"](), tmp_path / "m.h")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(MissingLibraryError, match="cc"):
        judge.run(tmp_path / "m.h", [np.zeros((1, 2, 3))])


SAMPLE = [
    case
    for case in cases.load("standard")
    if case.dtype == "float32"
    and case.level == "forward"
    and case.settings["states"] != "carried"
    and case.family
    in (
        "op_conv",
        "op_pool",
        "activation",
        "lstm_activations",
        "gru_before",
        "lstm",
        "gru",
        "op_slice",
        "op_einsum",
        "op_repeat",
    )
][::23]
SAMPLE += [case for case in cases.load("standard") if case.id.startswith(("activation/soft", "activation/sparse"))][::3]
SAMPLE += [case for case in cases.load("standard") if case.family == "activation_axis"][::5]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: str(case.id))
def test_a_sample_of_the_conformance_suite(case: Any) -> None:
    it = subjects.subject(case)
    program = it.program
    dtype = case.dtype
    weights = {k: np.asarray(v, dtype) for k, v in it.weights.items()}
    model = ProgramModel(program, weights, name="m", dtype=dtype)
    try:
        source = text(model)
    except ExportError as refusal:
        assert "mixes the units" in str(refusal)
        return
    given = [np.asarray(a, dtype) if a.dtype.kind == "f" else a for a in it.inputs.values()]
    found, wanted = judge.run_text(model, source, given), it.run(plugins.get(plugins.reference()), "float64").outputs
    for y, reference in zip(found, wanted, strict=True):
        assert scale_error(y, reference, dtype) <= 16


def test_a_stateful_model_goes_on_from_the_states_that_it_is_given() -> None:
    model = filled(Sequential([Input(batch_shape=(1, 5, 3)), LSTM(4, stateful=True, name="l"), Dense(2)], name="m"))
    x, random = data(model, 1)[0], np.random.default_rng(2)
    h, c = (random.normal(size=(1, 4)).astype("f4") for _ in "hc")
    session = model.session(plugins.reference(), "float64")
    outputs, after = session.run(
        {model.program.inputs[0]: x.astype("f8")}, {"l/h": h.astype("f8"), "l/c": c.astype("f8")}
    )
    found = judge.run_text(model, text(model), [x, h, c])
    for y, reference in zip(found, [*outputs, after["l/h"], after["l/c"]], strict=True):
        assert scale_error(y, reference, "float32") <= 16
    (fresh,) = judge.run_text(model, text(model), [x])
    assert scale_error(fresh, exact(model, [x])[0], "float32") <= 16


def test_two_inputs_meet() -> None:
    a, b = Input((4, 2), name="a"), Input((4, 3), name="b")
    model = filled(Model([a, b], GRU(3)(Concatenate()([a, b])), name="m"))
    given = data(model)
    found = judge.run_text(model, text(model), given)
    assert scale_error(found[0], exact(model, given)[0], "float32") <= 16


def test_remarks_may_differ_and_nothing_beside_them(tmp_path: Path) -> None:
    """They come with models from elsewhere, and the description does not hold them."""
    model, path = MODELS["lstm"](), tmp_path / "m.h"
    lc.export_model(model, path)
    whole = path.read_text()
    first = whole.index("\n * ") + 1
    path.write_text(f"{whole[:first]} *   note    lstm: unroll changes no number\n{whole[first:]}")
    assert lc.import_model(path).to_json() == model.to_json()
    for hidden in ("note    */ int x; /*", "note    a \\", "not"):
        path.write_text(f"{whole[:first]} *   {hidden}\n{whole[first:]}")
        with pytest.raises(DamagedFileError, match="not what lstmcore writes"):
            lc.import_model(path)


def test_what_is_in_a_header_is_told_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = chain(Input((None, 3)), LSTM(4), Dense(9_000), Dense(1), name="wide")
    lc.export_model(model, tmp_path / "wide.h", name="net")
    row = formats.row_of(tmp_path / "wide.h")
    monkeypatch.setattr(reading, "_TAIL", 20_000)  # of 1 MB
    found = formats.function(str(row.lists))(tmp_path / "wide.h")
    held = [(a.name, a.shape, a.dtype) for a in found.arrays]
    assert held == [(name, array.shape, "float32") for name, array in model.weights.items()]
    assert found.about["model"] == "wide" and found.about["name"] == "net"
    (tmp_path / "other.h").write_text("int x;\n")
    with pytest.raises(ForeignFileError):
        reading.lists(tmp_path / "other.h")
