"""Descriptions of Keras models that would do harm: each is refused with a reason, and runs nothing.

What is refused in every place that holds a description is in test_descriptions.py.
"""

from __future__ import annotations

import base64
import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_files as make
import pytest
from reader import Reader, refused

CANARY = "canary"

Case = Callable[[Path], Any]


def described(config: Any, version: str = "3.9.2") -> Case:
    """An archive with that description."""
    return lambda folder: make.archive(folder / "m.keras", config, version=version)


def with_layer(*layers: Any) -> Case:
    """An archive of a Sequential with these layers in it."""
    return described(make.sequential(make.SOURCE, *layers, make.LSTM, make.DENSE))


def dense(**config: Any) -> Case:
    return with_layer(make.layer("Dense", **{"units": 3, "name": "odd", **config}))


CODE = base64.b64encode(marshal.dumps(compile(f"open({CANARY!r}, 'w')", "<>", "exec"))).decode()


def graph(*layers: Any, end: str = "a") -> Case:
    x = make.called(make.layer("InputLayer", batch_shape=[None, 3], name="x"))
    return described(make.functional(x, *layers, begin=["x", 0, 0], end=[end, 0, 0]))


def relu(name: str) -> Any:
    return make.layer("Activation", activation="relu", name=name)


def code(kind: str, **config: Any) -> Case:
    return with_layer(make.layer(kind, **{"name": "odd", **config}))


SECOND = {"module": "os", "class_name": "system", "config": f"touch {CANARY}", "registered_name": None}
FUNCTION = {"class_name": "__lambda__", "config": {"value": [CODE, None, None]}}
DESCRIPTIONS: dict[str, Case] = {
    "version of the future": described(make.SMALL, version="4.0.0"),
    "version that is no version": described(make.SMALL, version="3" * 100_000),
    "200 levels": described('{"class_name": "Sequential", "config": ' + "[" * 200 + "]" * 200 + "}"),
    "no JSON": described("{class_name"),
    "no UTF-8": described(b"\xff\xfe{}"),
    "no layers": described(make.sequential()),
    "no list of layers": described({"class_name": "Sequential", "config": {"layers": {"a": 1}}}),
    "missing call": graph(make.called(relu("a"), make.tensor("x", 2**40, 0))),
    "negative call": graph(make.called(relu("a"), make.tensor("x", -1, 0))),
    "end that is not there": graph(make.called(relu("a"), make.tensor("x")), end="nobody"),
    "name twice": graph(*[make.called(relu("a"), make.tensor("x"))] * 2),
    "calls that are none": graph({**relu("a"), "name": "a", "inbound_nodes": "evil"}),
    "Lambda": code("Lambda", function=[CODE, None, None], function_type="lambda"),
    "Lambda of Keras 3": code("Lambda", function=FUNCTION),
    "StringLookup of a URL": code("StringLookup", vocabulary="http://localhost:9/evil"),
    "TextVectorization": code("TextVectorization", vocabulary="/etc/passwd"),
    "TFOpLambda": code("TFOpLambda", function="math.exp"),
    "operation of Keras": with_layer(make.layer("Exp", "keras.src.ops.numpy", name="odd")),
    "module builtins": with_layer(make.layer("exec", "builtins", name="odd")),
    "Dense of module os": with_layer(make.layer("Dense", "os", units=3, name="odd")),
    "a model of module os": described({**make.SMALL, "class_name": "system", "module": "os"}),
    "registered as another": with_layer({**make.DENSE, "registered_name": "Custom>Evil"}),
    "registered in a package": with_layer({**make.DENSE, "registered_name": "evil>Dense", "module": None}),
    "unsafe deserialization": with_layer(
        make.layer("enable_unsafe_deserialization", "keras.config", name="odd"), make.layer("Lambda", function=FUNCTION)
    ),
    "get_file": with_layer(
        make.layer("get_file", "keras.utils", fname=CANARY, origin="http://localhost:9/evil", name="odd")
    ),
    "activation of code": dense(activation=FUNCTION),
    "activation of builtins": dense(
        activation={"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}
    ),
    "activation of os": dense(activation=SECOND),
    "initializer of os": dense(kernel_initializer={**SECOND, "config": {"command": f"touch {CANARY}"}}),
    "regularizer of code": dense(kernel_regularizer=FUNCTION),
    "constraint of code": dense(kernel_constraint=FUNCTION),
    "dtype of code": dense(dtype={**SECOND, "config": {"name": "float32"}}),
    "seed of code": with_layer(make.layer("Dropout", rate=0.1, seed=SECOND, name="odd")),
    "cell of os": code("RNN", cell={**SECOND, "config": {}}),
    **{
        f"units {units!r}": dense(units=units)
        for units in (-1, 0, 2**31, 2**40, 2**63, 2**200, 1e308, 2.5, True, "8", None, [3], {"a": 1})
    },
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_refused(name: str, ask: Reader, tmp_path: Path) -> None:
    refused(DESCRIPTIONS[name](tmp_path), ask, tmp_path)
