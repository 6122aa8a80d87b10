"""Writes ``data/keras_VERSION_*``: models that Keras 1 and 2 themselves made, saved and ran, on Theano.

These releases run in Python 3.11 on Theano-PyMC 1.1.2 and NumPy 1.23, with the changes of `shims`. In one folder::

    pip install --no-deps --target site numpy==1.23.5 'scipy<1.11' 'h5py<3.9' six pyyaml filelock setuptools==68.0.0 \
        keras_applications==1.0.8 keras_preprocessing==1.1.2
    pip download --no-deps Theano-PyMC==1.1.2 Keras==1.2.2     # and 1.0.8, 2.0.9, 2.2.4, 2.3.1; unpack each

then, for each version, with an empty home so that no ``keras.json`` speaks::

    PYTHONPATH=keras-VERSION:theano:site KERAS_BACKEND=theano \
    THEANO_FLAGS=device=cpu,floatX=float32,optimizer=fast_compile,cxx=,linker=py,blas__ldflags= \
        python -S record_old_keras.py
"""

from __future__ import annotations

import collections
import collections.abc
import inspect
import zlib
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"


def shims() -> None:
    """What Theano and these Keras need that Python and NumPy no longer have."""
    for name in ("Iterable", "Mapping", "MutableMapping", "Callable", "Sequence", "Hashable", "Iterator"):
        setattr(collections, name, getattr(collections.abc, name))
    spec = collections.namedtuple("spec", "args varargs keywords defaults")
    inspect.getargspec = lambda f: spec(*inspect.getfullargspec(f)[:4])  # type: ignore[attr-defined]
    for kind in (bool, int, float, object, complex, str):
        setattr(np, kind.__name__, kind)
    import numpy.distutils.__config__ as configuration

    configuration.blas_opt_info = {}
    import theano.sandbox.rng_mrg
    import theano.tensor.nnet

    theano.sandbox.rng_mrg.MRG_RandomStreams = theano.sandbox.rng_mrg.MRG_RandomStream
    theano.tensor.nnet.conv2d = conv2d


def conv2d(x: Any, kernel: Any, border_mode: Any = "valid", subsample: Any = (1, 1), **_: Any) -> Any:
    """Theano's, which has no engine here without a C++ compiler, in products; padding is not needed."""
    import theano.tensor as tensor

    assert border_mode == "valid" and tuple(subsample) == (1, 1)
    _, _, height, width = (int(n) for n in kernel.shape.eval())
    kernel = kernel[:, :, ::-1, ::-1]
    rows, columns = x.shape[2] - height + 1, x.shape[3] - width + 1
    parts = [
        tensor.tensordot(x[:, :, i : i + rows, j : j + columns], kernel[:, :, i, j], axes=[[1], [1]])
        for i in range(height)
        for j in range(width)
    ]
    return sum(parts[1:], parts[0]).dimshuffle(0, 3, 1, 2)


shims()

import keras  # noqa: E402
import keras.layers as L  # noqa: E402
from keras import backend as K  # noqa: E402
from keras.models import Model, Sequential  # noqa: E402

FIRST = keras.__version__.startswith("1.")


def joined(tensors: list[Any], mode: str) -> Any:
    if FIRST:
        return L.merge(tensors, mode=mode, dot_axes=1) if mode == "cos" else L.merge(tensors, mode=mode)
    return {"concat": L.concatenate, "mul": L.multiply, "sum": L.add}[mode](tensors)


def words(length: int = 5, **options: Any) -> Any:
    return L.Embedding(9, 3, mask_zero=True, input_length=length, **options)


def both_ways() -> Any:
    layer = L.Bidirectional(L.LSTM(3, return_sequences=True), input_shape=(5, 3))
    return Sequential([layer, L.Bidirectional(L.GRU(2), merge_mode="mul")])


def together() -> Any:
    """``consume_less="gpu"``: the gates' weights in one array."""
    layers = [L.LSTM(4, consume_less="gpu", return_sequences=True, input_shape=(5, 3)), L.GRU(3, consume_less="gpu")]
    return Sequential([*layers, L.Dense(2, activation="hard_sigmoid")])


def nested() -> Any:
    """Models whose names no config tells: the first is what would be the second if it were counted here."""
    inner = [Sequential([L.LSTM(3, return_sequences=True, input_shape=(5, 3))]) for _ in range(2)]
    return Sequential([L.LSTM(3, return_sequences=True, input_shape=(5, 3)), *inner, L.GRU(2)])


def merged() -> Any:
    """Models merged in a Sequential."""
    pair = [Sequential([L.LSTM(4, input_shape=(5, 3))]), Sequential([L.Dense(3, input_shape=(7,))])]
    model = Sequential()
    model.add(L.Merge(pair, mode="concat"))
    model.add(L.Dense(3))
    return model


def merged_words() -> Any:
    """Merged, with masks that get lost in Keras 1 and not in Keras 2; one layer is a part of both."""
    shared = L.Dense(3, input_shape=(5, 3)) if not FIRST else L.TimeDistributedDense(3, input_shape=(5, 3))
    model = Sequential()
    model.add(L.Merge([Sequential([words()]), Sequential([shared])], mode="sum"))
    model.add(L.LSTM(2))
    return model


def of_its_time() -> Any:
    """Layers that Keras 2.1 no longer had."""
    return Sequential([L.LSTM(4, input_shape=(5, 3)), L.Highway(activation="tanh"), L.MaxoutDense(3, nb_feature=2)])


def cosine() -> Any:
    x, z = L.Input((5, 3)), L.Input((5, 3))
    return Model(input=[x, z], output=L.Flatten()(joined([L.LSTM(4)(x), L.GRU(4)(z)], "cos")))


def masks(mode: str) -> Any:
    x, z = L.Input((5,), dtype="int32"), L.Input((5,), dtype="int32")
    y = L.LSTM(3)(joined([words()(x), words()(z)], mode))
    return Model(input=[x, z], output=y) if FIRST else Model(inputs=[x, z], outputs=y)


def convolution() -> Any:
    first = L.Convolution1D(4, 3, input_shape=(7, 3)) if FIRST else L.Conv1D(4, 3, input_shape=(7, 3))
    return Sequential([first, L.LSTM(2)])


def translator() -> Any:
    x, z = L.Input((None, 3)), L.Input((5,), dtype="int32")
    _, h, c = L.LSTM(4, return_state=True)(x)
    return Model(inputs=[x, z], outputs=L.LSTM(4, return_sequences=True)(words()(z), initial_state=[h, c]))


def trained() -> Any:
    """An Embedding that says its input's dtype; the optimizer's count of steps lies at the root."""
    model = Sequential([words(), L.LSTM(3), L.BatchNormalization(), L.Dense(1)])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 5)), np.ones((2, 1)))
    return model


def newer() -> Any:
    layers = [L.GRU(3, reset_after=True, return_sequences=True, input_shape=(5, 3)), L.BatchNormalization()]
    return Sequential([*layers, L.Bidirectional(L.GRU(2, reset_after=False)), L.LeakyReLU(0.2), L.Dense(2)])


CASES: dict[str, dict[str, Any]] = {
    "1.0.8": {"both_ways": both_ways},
    "1.2.2": {
        **{f.__name__: f for f in (together, nested, merged, merged_words, of_its_time, cosine, convolution)},
        "masks_mul": lambda: masks("mul"),
    },
    "2.0.4": {"trained": trained},
    "2.0.9": {f.__name__: f for f in (nested, merged_words, of_its_time)},
    "2.2.4": {"masks_concat": lambda: masks("concat"), "translator": translator},
    "2.3.1": {"newer": newer},
}


def save(name: str, model: Any) -> None:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for layer in getattr(model, "flattened_layers", model.layers):
        for variable, start in zip(layer.weights, layer.get_weights(), strict=True):
            value = rng.normal(0, 0.6, start.shape)
            positive = any(part in str(variable.name) for part in ("variance", "running_std"))
            K.set_value(variable, np.abs(value) + 0.5 if positive else value)
    inputs = []
    for tensor in model.inputs:
        shape = (4, *(n or 5 for n in tensor._keras_shape[1:]))
        ids = "int" in str(tensor.dtype) or "embedding" in str(tensor.name)
        data = rng.integers(1, 8, shape).astype("int32") if ids else rng.normal(size=shape).astype("float32")
        if ids:
            data[0, 3:] = data[1, :2] = 0
        inputs.append(data)
    compiled = getattr(model, "optimizer", None) is not None
    if not compiled:
        model.compile("sgd", "mse")
    y = model.predict(inputs if len(inputs) > 1 else inputs[0])
    if not compiled:
        del model.optimizer
    if keras.__version__ >= "2.2":
        model.optimizer = None
    path = DATA / f"keras_{keras.__version__}_{name}"
    np.savez(f"{path}.npz", **{f"in{k}": array for k, array in enumerate(inputs)}, out0=y)
    model.save(f"{path}.h5")


def main() -> None:
    for name, make in CASES[keras.__version__].items():
        save(name, make())


if __name__ == "__main__":
    main()
