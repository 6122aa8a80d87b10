"""Models written for PyTorch: the two files, what they compute, and what is refused."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import written
from lstmcore_conformance import graphs
from safetensors.torch import load_file

import lstmcore as lc
from lstmcore import layers, ops
from lstmcore.activations import Function
from lstmcore.errors import ExportError, FileError, SpecError
from lstmcore.interop.pytorch.source import description, source
from lstmcore.interop.pytorch.state import from_state
from lstmcore.interop.pytorch.text import RESERVED, identifier, quoted
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Input,
    Permute,
    SimpleRNN,
)
from lstmcore.models import Model, Sequential
from lstmcore.models.files import model_from_json
from lstmcore.models.program_model import ProgramModel
from lstmcore.program import Builder
from lstmcore.runtime.compare import scale_error

NAMESPACE = graphs.Namespace(layers, Input, Model, Sequential)
NAMES = [*written.CHAINS, *graphs.GRAPHS]


def model(name: str) -> Any:
    given = Sequential(written.CHAINS[name]()) if name in written.CHAINS else graphs.GRAPHS[name](NAMESPACE)
    return written.weighted(given)


def predicted(given: Any, arrays: list[Any]) -> list[Any]:
    made = given.predict(dict(zip(given.program.inputs, arrays, strict=True)) if len(arrays) > 1 else arrays[0])
    found = list(lc.tree.leaves(made))
    given.reset_states()
    return found


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_the_files_compute_what_the_model_does(name: str, suffix: str, tmp_path: Path) -> None:
    given, path = model(name), tmp_path / f"m.{suffix}"
    lc.export_model(given, path, format="pytorch")
    state = load_file(path) if suffix == "safetensors" else torch.load(path, weights_only=True)
    module = written.imported(tmp_path / "m.py").load()
    assert {key: (v.dtype, v.shape) for key, v in state.items()} == {
        key: (v.dtype, v.shape) for key, v in module.state_dict().items()
    }
    arrays = written.inputs(given)
    for y, reference in zip(written.outputs(module, arrays), predicted(given, arrays), strict=True):
        assert scale_error(y, reference, given.dtype) <= 16


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_come_back_to_the_bit(name: str, tmp_path: Path) -> None:
    given = model(name)
    lc.export_model(given, tmp_path / "m.pt")
    state = {key: value.numpy() for key, value in torch.load(tmp_path / "m.pt", weights_only=True).items()}
    found = from_state(source(given, "m.pt").entries, state, given.dtype)
    assert set(found) == set(given.weights)
    for path, array in given.weights.items():
        assert np.ascontiguousarray(found[path]).tobytes() == array.tobytes(), path


@pytest.mark.parametrize("name", NAMES)
def test_the_source_is_as_ruff_leaves_it_and_needs_torch_alone(name: str, tmp_path: Path) -> None:
    for suffix in ("pt", "safetensors"):
        lc.export_model(model(name), tmp_path / f"{suffix}_.{suffix}", format="pytorch")
        tree = ast.parse((tmp_path / f"{suffix}_.py").read_text(encoding="ascii"))
        imported = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        imported |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert imported <= {"pathlib", "torch", "safetensors"}
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", tmp_path],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_description_brings_the_model_back(name: str) -> None:
    given = model(name)
    text = description(given)
    again = model_from_json(text)
    assert source(again, "m.pt").text == source(given, "m.pt").text
    assert list(again.weights) == list(given.weights)


def test_a_readable_module() -> None:
    """What a person would have written: to be looked at when it changes."""
    text = source(model("stack"), "m.pt").text
    assert (
        """
        self.lstm_dropout = SharedDropout(0.2, (1,))
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.gru = ResetBeforeSigmoidTanhGRU(4, 5, batch_first=True)
        self.dense = nn.Linear(5, 2)

    def forward(self, input_layer: Tensor) -> Tensor:
        lstm, _ = self.lstm(self.lstm_dropout(input_layer))
        dropout = self.dropout(lstm)
        gru, *_ = self.gru(dropout)
        gru = gru[:, -1]
        return torch.softmax(self.dense(gru), dim=-1)
"""
        in text
    )


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        lc.export_model(model("masked_both_ways"), tmp_path / folder / "m.pt")
    for name in ("m.pt", "m.py"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_states_are_kept_and_reset(tmp_path: Path) -> None:
    given = model("stateful")
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    (x,) = written.inputs(given)
    first, second = (written.outputs(module, [x])[0] for _ in range(2))
    assert scale_error(first, given.predict(x), "float32") <= 16
    assert scale_error(second, given.predict(x), "float32") <= 16
    assert np.abs(first - second).max() > 0.01
    module.reset_states()
    np.testing.assert_array_equal(written.outputs(module, [x])[0], first)


@pytest.mark.parametrize("name", ["stack", "each_step"])
def test_what_acts_in_training_only_is_there(name: str, tmp_path: Path) -> None:
    given = model(name)
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    arrays = written.inputs(given)
    quiet = written.outputs(module, arrays)[0]
    torch.manual_seed(0)
    assert np.abs(written.outputs(module.train(), arrays)[0] - quiet).max() > 0.01
    np.testing.assert_array_equal(written.outputs(module.eval(), arrays)[0], quiet)


def test_layers_that_are_not_trained_are_frozen(tmp_path: Path) -> None:
    given = Sequential([Input((4,)), Dense(3, trainable=False), Dense(2)])
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    assert {name: p.requires_grad for name, p in module.named_parameters()} == {
        "dense.weight": False,
        "dense.bias": False,
        "dense_1.weight": True,
        "dense_1.bias": True,
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: LSTM(4),
        lambda: SimpleRNN(4, activation="softsign"),
        lambda: RNN(GRUCell(4)),
        lambda: Bidirectional(GRU(3, return_sequences=True)),
    ],
    ids=["packed", "loop", "cell", "both ways"],
)
def test_a_masked_step_has_no_influence(make: Any, tmp_path: Path) -> None:
    """NaN there, and a sample of which no step counts: in the outputs as in the gradients."""
    x, real = Input((None, 3), name="x"), Input((None,), dtype="bool", name="real")
    given = written.weighted(Model([x, real], make()(x, mask=real)))
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 6, 3)).astype("float32"), rng.random((3, 6)) < 0.5]
    arrays[1][2] = False
    wanted = given.predict(arrays)
    arrays[0][~arrays[1]] = np.nan
    assert scale_error(written.outputs(module, arrays)[0], wanted, "float32") <= 16
    module(*map(torch.from_numpy, arrays)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_file_written_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import lstmcore as lc\nfrom lstmcore.layers import *\nfrom lstmcore.models import Sequential\n"
        "lc.export_model(Sequential([Input((None, 3)), LSTM(4)]), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.pt")], check=True)
    assert set(torch.load(tmp_path / "m.pt", weights_only=True)) == {
        f"lstm.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }


def test_the_archive_can_be_mapped_and_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of 4 GiB and more take another form of header; here it is forced."""
    given = model("lstm")
    for most in (zipfile.ZIP64_LIMIT, 100):
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", most)
        lc.export_model(given, tmp_path / "m.pt")
        plain = torch.load(tmp_path / "m.pt", weights_only=True)
        mapped = torch.load(tmp_path / "m.pt", weights_only=True, mmap=True)
        np.testing.assert_array_equal(plain["lstm.weight_ih_l0"].numpy(), given.weights["lstm/kernel"].T)
        for key, value in plain.items():
            assert torch.equal(value, mapped[key]) and mapped[key].data_ptr() % 64 == 0


# Names that are hostile, or merely unusual.

HOSTILE = [
    '"; import os; os.system("x") #',
    "a\nimport os\nos.abort()",
    '"""\nimport os\n"""',
    "\\",
    "');import os#",
    "class",
    "forward",
    "train",
    "self",
    "torch",
    "print",
    "über-Schicht",
    "層",
    "\u202e\ud800",
    "1st",
    "__init__",
    "load_state_dict",
    "x" * 300,
    "run_masked",
    "a.b",
    "a_b",
    "A-b",
    "{x}",
    "%s",
]


def is_taken(name: str) -> bool:
    """Whether a layer may be called that."""
    try:
        Dense(1, name=name)
    except SpecError:
        return False
    return True


def test_names_of_layers_never_become_code(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if is_taken(name)]
    assert len(names) > 15
    x = Input((5,), dtype="int32", name="import os")
    y = Embedding(9, 3, mask_zero=True, name="lambda: 0")(x)
    for k, name in enumerate(names):
        y = (GRU if k % 2 else LSTM)(3, return_sequences=True, name=name)(y)
    given = written.weighted(Model(x, Activation("tanh", name="exec('x')")(y), name='"); import os'))
    lc.export_model(given, tmp_path / 'it\'s "m".pt')
    path = tmp_path / 'it\'s "m".py'
    tree = ast.parse(path.read_text(encoding="ascii"))
    assert called(tree) - called(ast.parse(source(neutral(), "m.pt").text)) <= {"torch.tanh", *of_layers(tree)}
    module = written.imported(path).load()
    (ids,) = written.inputs(given)
    assert scale_error(written.outputs(module, [ids])[0], given.predict(ids), "float32") <= 16
    assert len(dict(module.named_children())) == len(names) + 1


def test_names_in_programs_never_become_code(tmp_path: Path) -> None:
    """There they are any text at all."""
    build = Builder()
    y = build.input('\n"""; import os', (None, 4, 3))
    for name in HOSTILE:
        weights = {"kernel": f"{name}/kernel", "bias": f"{name}/bias"}
        y = build.op(ops.Affine(3), y, name=name, weights=weights)[0]
        y = build.op(ops.Activate(Function("tanh")), y, name=f"{name}/tanh")[0]
    (y,) = build.op(ops.Reverse(), y, name="\u2028")
    given = written.weighted(ProgramModel(build.finish([y.name]), name="import os"))
    lc.export_model(given, tmp_path / "m.pt")
    tree = ast.parse((tmp_path / "m.py").read_text(encoding="ascii"))
    known = called(ast.parse(source(neutral(), "m.pt").text)) | {"torch.tanh", "nn.Linear"}
    others = {name for name in called(tree) - known if not name.endswith(".flip")}
    assert others <= of_layers(tree)
    (x,) = written.inputs(given)
    module = written.imported(tmp_path / "m.py").load()
    assert scale_error(written.outputs(module, [x])[0], given.predict(x), "float32") <= 16


def of_layers(tree: ast.Module) -> set[str]:
    """The attributes that hold modules, as they are called."""
    names = [n.targets[0] for n in ast.walk(tree) if isinstance(n, ast.Assign)]
    return {ast.unparse(name) for name in names if ast.unparse(name).startswith("self.")}


def neutral() -> Any:
    x = Input((5,), dtype="int32")
    y = Embedding(9, 3, mask_zero=True)(x)
    y = LSTM(3, return_sequences=True)(y)
    return Model(x, GRU(3, return_sequences=True)(y))


def called(tree: ast.AST) -> set[str]:
    """What is called anywhere."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_reserved_names_are_those_of_the_real_class() -> None:
    public = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert public <= RESERVED
    assert identifier("über-Schicht 1") == "uber_schicht_1"
    for name in (*public, "for", "match", "list", "torch", "nn"):
        assert identifier(name) not in public | {"for", "match", "list", "torch", "nn"}


@pytest.mark.parametrize("text", [*HOSTILE, "'", '"', "'\"", "\\'", '\\"', "\x00\x1b", "a" * 100, ""])
def test_a_literal_is_the_text(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isascii() and "\n" not in quoted(text)


# What is refused.


def test_a_source_of_somebodys_own_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("mine = 1\n")
    with pytest.raises(FileError, match=r"m\.py is there already, and lstmcore did not write it"):
        lc.export_model(model("lstm"), tmp_path / "m.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["m.py"]
    assert (tmp_path / "m.py").read_text() == "mine = 1\n"
    lc.export_model(model("lstm"), tmp_path / "n.pt")
    lc.export_model(model("stack"), tmp_path / "n.pt")
    written.imported(tmp_path / "n.py").load()


@pytest.mark.parametrize("name", ["torch.pt", "json.pt", "numpy.safetensors"])
def test_a_source_that_hides_a_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="hide the module"):
        lc.export_model(model("lstm"), tmp_path / name, format="pytorch")
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"expected|give one of"):
        lc.export_model(model("lstm"), tmp_path / "m.bin", format="pytorch")


def test_a_failed_export_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lc.export_model(model("lstm"), tmp_path / "m.pt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(zipfile.ZipFile, "open", failing)
    with pytest.raises(OSError, match="no space"):
        lc.export_model(model("stack"), tmp_path / "m.pt")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def failing(*args: Any, **kwargs: Any) -> Any:
    raise OSError(28, "no space")


def test_a_weight_in_two_shapes_is_refused() -> None:
    build = Builder()
    x = build.input("x", (None, 3))
    (y,) = build.op(ops.Affine(3, use_bias=False), x, name="a", weights={"kernel": "w"})
    (w,) = build.op(ops.Parameter((3, 3)), name="b", weights={"value": "w"})
    (z,) = build.op(ops.Binary("add"), y, w, name="c")
    given = ProgramModel(build.finish([z.name]))
    with pytest.raises(ExportError, match="'w' is used in two ways"):
        source(given, "m.pt")


def test_permuted_axes_and_several_outputs(tmp_path: Path) -> None:
    x = Input((4, 3), name="x")
    y = Permute((2, 1))(x)
    given = written.weighted(Model({"x": x}, {"a": Dense(2)(y), "b": Dropout(0.5)(y), "c": x}))
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    arrays = written.inputs(given)
    found = written.outputs(module, arrays)
    wanted = given.predict({"x": arrays[0]})
    for y_, name in zip(found, ("a", "b", "c"), strict=True):
        assert scale_error(y_, wanted[name], "float32") <= 16


def test_batch_normalization_moves_as_here(tmp_path: Path) -> None:
    """PyTorch's momentum is 1 less Keras', and what Keras leaves out stays as it is."""
    lc.export_model(model("double"), tmp_path / "m.pt")
    part = written.imported(tmp_path / "m.py").load().batch_normalization
    assert (part.momentum, part.eps, part.running_mean.dtype) == (0.25, 0.001, torch.float64)
    assert (part.weight.requires_grad, part.bias.requires_grad) == (False, True)
    assert (part.weight == 1).all() and part.num_batches_tracked == 0


def test_two_directions_under_a_mask_that_are_read_step_by_step(tmp_path: Path) -> None:
    """PyTorch's module for both would give zeros at the masked steps, where these repeat."""
    x, real = Input((None, 3), name="x"), Input((None,), dtype="bool", name="real")
    ahead = LSTM(3, return_sequences=True, name="ahead")(x, mask=real)
    behind = LSTM(3, return_sequences=True, go_backwards=True, name="behind")(x, mask=real)
    given = written.weighted(Model([x, real], [ahead, behind]))
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 6, 3)).astype("float32"), rng.random((4, 6)) < 0.5]
    for y, reference in zip(written.outputs(module, arrays), given.predict(arrays), strict=True):
        assert scale_error(y, reference, "float32") <= 16


def test_one_weight_of_two_modules_is_tied(tmp_path: Path) -> None:
    build = Builder()
    y = build.input("x", (None, 3))
    for name, bias in (("a", True), ("b", False)):
        weights = {"kernel": "w", **({"bias": "b"} if bias else {})}
        y = build.op(ops.Affine(3, use_bias=bias), y, name=name, weights=weights)[0]
    given = written.weighted(ProgramModel(build.finish([y.name])))
    lc.export_model(given, tmp_path / "m.pt")
    module = written.imported(tmp_path / "m.py").load()
    assert module.a.weight is module.b.weight
    (x,) = written.inputs(given)
    assert scale_error(written.outputs(module, [x])[0], given.predict(x), "float32") <= 16
    torch.save(module.state_dict(), tmp_path / "again.pt")
    written.imported(tmp_path / "m.py").load(tmp_path / "again.pt")
