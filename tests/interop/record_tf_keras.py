"""Writes ``data/tf_keras_*``: models that Keras 2 made, saved and ran.

Run as ``python record_tf_keras.py --tf-keras`` with tf_keras 2.21, which is what Keras 2 became. It is not among the
packages of the tests.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import h5py
import keras_models
import numpy as np
import tf_keras as keras
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM
from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

DATA = Path(__file__).parent / "data"
KEPT = {
    "translator": (".h5", ".keras"),
    "chain": (".h5",),
    "10": (".h5",),
    "20": (".h5",),
    "23": (".keras",),
    "42": (".weights.h5", ".json"),
}


def cudnn(name: str, layer: type, plain: type, **options: object) -> None:
    """A file of a layer that needs a GPU, from the same weights in one that does not; tf_keras turns them round."""
    x = keras.layers.Input((5, 3))
    model = keras.Model(x, plain(4, **options)(x))
    rng = np.random.default_rng(len(name))
    keras_models.randomise(model, rng)
    data = keras_models.inputs(model, rng)[0]
    weights = preprocess_weights_for_loading(layer(4), model.layers[1].get_weights())
    np.savez(DATA / f"tf_keras_{name}.npz", in0=data, out0=np.asarray(model(data)))
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "sequential",
            "layers": [
                {
                    "class_name": layer.__name__,
                    "config": {
                        "name": "rnn",
                        "units": 4,
                        "batch_input_shape": [None, 5, 3],
                        "return_sequences": False,
                        "return_state": False,
                        "go_backwards": False,
                        "stateful": False,
                    },
                }
            ],
        },
    }
    with h5py.File(DATA / f"tf_keras_{name}.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.2.4", b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"rnn"]
        names = ["rnn/kernel:0", "rnn/recurrent_kernel:0", "rnn/bias:0"]
        group = group.create_group("rnn")
        group.attrs["weight_names"] = [entry.encode() for entry in names]
        for entry, array in zip(names, weights, strict=True):
            group[entry] = array


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        keras_models.main(folder, *KEPT)
        for name, endings in KEPT.items():
            for ending in (*endings, ".npz"):
                shutil.copy(Path(folder) / f"{name}{ending}", DATA / f"tf_keras_{name}{ending}")
    cudnn("cudnn_lstm", CuDNNLSTM, keras.layers.LSTM)
    cudnn("cudnn_gru", CuDNNGRU, keras.layers.GRU, reset_after=True)


if __name__ == "__main__":
    main()
