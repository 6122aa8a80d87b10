"""Initialisers: Keras' distributions and configs, and the same bytes on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest

from lstmcore import initializers as init
from lstmcore.errors import SpecError
from lstmcore.random import SeedGenerator, Stream

STREAM = Stream(11, ("test",))
AXES = {"input_axes": None, "output_axes": None}

# What keras.initializers.serialize gives as "config", recorded from Keras 3.15.1.
CONFIGS: list[tuple[init.Initializer, dict[str, Any]]] = [
    (init.Zeros(), {}),
    (init.Ones(), {}),
    (init.Constant(), {"value": 0.0}),
    (init.Constant(3), {"value": 3}),
    (init.Identity(), {}),
    (init.RandomNormal(), {"seed": None, "mean": 0.0, "stddev": 0.05}),
    (init.RandomNormal(1.0, 2, 3), {"seed": 3, "mean": 1.0, "stddev": 2}),
    (init.RandomUniform(), {"seed": None, "minval": -0.05, "maxval": 0.05}),
    (init.TruncatedNormal(), {"seed": None, "mean": 0.0, "stddev": 0.05}),
    (init.Orthogonal(), {"seed": None, "gain": 1.0}),
    (init.Orthogonal(1.5, 8), {"seed": 8, "gain": 1.5}),
    (
        init.VarianceScaling(),
        {"seed": None, "scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", **AXES},
    ),
    (
        init.VarianceScaling(2, "fan_out", "Normal", 4, [0], [1]),
        {
            "seed": 4,
            "scale": 2,
            "mode": "fan_out",
            "distribution": "truncated_normal",
            "input_axes": [0],
            "output_axes": [1],
        },
    ),
    (init.GlorotUniform(), {"seed": None, **AXES}),
    (init.GlorotUniform(3), {"seed": 3, **AXES}),
    (
        init.GlorotUniform(SeedGenerator(3)),
        {
            "seed": {
                "module": "keras.random",
                "class_name": "SeedGenerator",
                "config": {"seed": 3, "name": "seed_generator"},
                "registered_name": None,
            },
            **AXES,
        },
    ),
    (init.GlorotNormal(), {"seed": None, **AXES}),
    (init.HeUniform(), {"seed": None, **AXES}),
    (init.HeNormal(), {"seed": None, **AXES}),
    (init.LecunUniform(), {"seed": None, **AXES}),
    (init.LecunNormal(), {"seed": None, **AXES}),
]

# The names that Keras 3.15.1 knows, but for its abstract "Initializer" and for STFT, which is not provided.
NAMES = {
    "Constant": "Constant constant",
    "GlorotNormal": "GlorotNormal glorot_normal",
    "GlorotUniform": "GlorotUniform glorot_uniform",
    "HeNormal": "HeNormal he_normal",
    "HeUniform": "HeUniform he_uniform",
    "Identity": "Identity IdentityInitializer identity",
    "LecunNormal": "LecunNormal lecun_normal",
    "LecunUniform": "LecunUniform lecun_uniform",
    "Ones": "Ones one ones",
    "Orthogonal": "Orthogonal OrthogonalInitializer orthogonal",
    "RandomNormal": "RandomNormal normal random_normal",
    "RandomUniform": "RandomUniform random_uniform uniform",
    "TruncatedNormal": "TruncatedNormal truncated_normal",
    "VarianceScaling": "VarianceScaling variance_scaling",
    "Zeros": "Zeros zero zeros",
}


@pytest.mark.parametrize(("initializer", "config"), CONFIGS, ids=lambda value: repr(value)[:40])
def test_serialize_is_keras(initializer: init.Initializer, config: dict[str, Any]) -> None:
    expected = {
        "module": "keras.initializers",
        "class_name": type(initializer).__name__,
        "config": config,
        "registered_name": None,
    }
    assert json.dumps(init.serialize(initializer)) == json.dumps(expected)  # the order of keys too
    assert init.get(expected) == initializer
    assert init.get(json.loads(json.dumps(expected))) == initializer


def test_names_are_keras() -> None:
    known = {name: cls.__name__ for name, cls in init.INITIALIZERS.items()}
    assert known == {alias: name for name, aliases in NAMES.items() for alias in aliases.split()}
    for name, cls in init.INITIALIZERS.items():
        assert init.get(name) == cls()
        assert init.get({"class_name": name, "config": {}}) == cls()


@pytest.fixture(scope="module")
def keras() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", reason="compares with Keras itself, which is not installed")


@pytest.mark.parametrize(("initializer", "config"), CONFIGS, ids=lambda value: repr(value)[:40])
def test_keras_itself_reads_and_writes_the_same(
    keras: Any, initializer: init.Initializer, config: dict[str, Any]
) -> None:
    written = init.serialize(initializer)
    assert json.dumps(keras.initializers.serialize(keras.initializers.get(written))) == json.dumps(written)


def test_keras_itself_reads_constants_and_gains(keras: Any) -> None:
    table = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    again = keras.initializers.get(init.serialize(init.Constant(table)))
    assert np.array_equal(np.asarray(again.value), table)
    assert keras.initializers.get(init.serialize(init.Identity(2.0))).gain == 2.0


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras on torch, converting to NumPy
def test_keras_itself_draws_from_the_same_distributions(keras: Any) -> None:
    """Mean and deviation of 48 000 numbers, and the range."""
    shape = (2, 3, 80, 100)
    for ours, _ in CONFIGS:
        if isinstance(ours, (init.Identity, init.Orthogonal)):
            continue
        theirs = keras.initializers.get(init.serialize(ours))
        x = ours.sample(shape, STREAM)
        y = np.asarray(keras.ops.convert_to_numpy(theirs(shape)), dtype=np.float64)
        spread = y.std()
        assert abs(x.mean() - y.mean()) <= spread * 6 / math.sqrt(x.size), ours
        assert abs(x.std() - spread) <= spread * 0.02, ours
        if not isinstance(ours, init.RandomNormal):
            assert abs(x.max() - y.max()) <= spread * 0.02, ours


def test_the_constant_ones() -> None:
    assert np.array_equal(init.Zeros().sample((2, 3), STREAM), np.zeros((2, 3)))
    assert np.array_equal(init.Ones().sample((4,), STREAM), np.ones(4))
    assert np.array_equal(init.Constant(-2).sample((2, 2), STREAM), [[-2.0, -2.0], [-2.0, -2.0]])
    assert np.array_equal(init.Identity(3.0).sample((2, 3), STREAM), [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    assert np.array_equal(init.Identity().sample((3, 2), STREAM), [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])


def test_every_sample_is_a_writeable_float64_array() -> None:
    for cls in init.INITIALIZERS.values():
        for shape in [(3, 5), (2, 3)]:
            x = cls().sample(shape, STREAM)
            assert type(x) is np.ndarray and x.dtype == np.float64 and x.shape == shape
            assert x.flags.writeable and x.flags.c_contiguous
    assert type(init.RandomNormal().sample((), STREAM)) is np.ndarray


def test_a_constant_array() -> None:
    table = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
    constant = init.Constant(table)
    table[0, 0] = 99
    assert np.array_equal(constant.sample((2, 3), STREAM), [[1, 2, 3], [4, 5, 6]])
    assert np.array_equal(init.Constant([1, 2]).sample((3, 2), STREAM), [[1, 2]] * 3)
    assert constant == init.get(json.loads(json.dumps(init.serialize(constant))))
    assert hash(constant) == hash(init.Constant([[1, 2, 3], [4, 5, 6]])) and constant != init.Constant(1)
    with pytest.raises(SpecError, match=r"value has shape \(2, 3\); expected one .* shape \(3, 2\)"):
        constant.sample((3, 2), STREAM)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((5,), (5, 5)),
        ((3, 4), (3, 4)),
        ((2, 3, 4), (6, 8)),
        ((2, 3, 4, 5), (24, 30)),
        ((0, 3), (0, 3)),
    ],
)
def test_fans_are_keras(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Recorded from `compute_fans` of Keras 3.15.1."""
    assert init.fans(shape) == expected


def test_fans_over_axes() -> None:
    assert init.fans((2, 3, 4), [0], [1, 2]) == (2, 12)
    assert init.fans((2, 3, 4), [0, -1], [1]) == (8, 3)
    with pytest.raises(SpecError, match=r"input_axes=\(3,\).*has only 2 axes"):
        init.HeNormal(input_axes=[3], output_axes=[0]).sample((2, 3), STREAM)


# (initialiser, mean, standard deviation, largest distance from the mean) for the shape (2, 3, 40, 60):
# fan_in = 240, fan_out = 360
CUT = 2 / 0.87962566103423978
MOMENTS = [
    (init.RandomNormal(0.5, 2.0), 0.5, 2.0, math.inf),
    (init.TruncatedNormal(-1.0, 3.0), -1.0, 3.0 * 0.87962566103423978, 6.0),
    (init.RandomUniform(-1.0, 5.0), 2.0, 6 / math.sqrt(12), 3.0),
    (init.GlorotUniform(), 0.0, math.sqrt(1 / 300), math.sqrt(3 / 300)),
    (init.GlorotNormal(), 0.0, math.sqrt(1 / 300), CUT * math.sqrt(1 / 300)),
    (init.HeUniform(), 0.0, math.sqrt(2 / 240), math.sqrt(6 / 240)),
    (init.HeNormal(), 0.0, math.sqrt(2 / 240), CUT * math.sqrt(2 / 240)),
    (init.LecunUniform(), 0.0, math.sqrt(1 / 240), math.sqrt(3 / 240)),
    (init.LecunNormal(), 0.0, math.sqrt(1 / 240), CUT * math.sqrt(1 / 240)),
    (init.VarianceScaling(), 0.0, math.sqrt(1 / 240), CUT * math.sqrt(1 / 240)),
    (init.VarianceScaling(3.0, "fan_out", "untruncated_normal"), 0.0, math.sqrt(3 / 360), math.inf),
    (init.VarianceScaling(5.0, "fan_avg", "uniform"), 0.0, math.sqrt(5 / 300), math.sqrt(15 / 300)),
    (init.HeUniform(input_axes=[3], output_axes=[2]), 0.0, math.sqrt(2 / 60), math.sqrt(6 / 60)),
]


@pytest.mark.parametrize(("initializer", "mean", "deviation", "reach"), MOMENTS, ids=lambda v: repr(v)[:50])
def test_moments(initializer: init.Initializer, mean: float, deviation: float, reach: float) -> None:
    x = initializer.sample((2, 3, 40, 60), STREAM)
    n = x.size
    assert abs(x.mean() - mean) < 4 * deviation / math.sqrt(n)
    assert abs(x.std() / deviation - 1) < 4 / math.sqrt(2 * n)
    largest = np.abs(x - mean).max()
    assert largest > 3.5 * deviation if reach == math.inf else 0.99 * reach < largest <= reach


@pytest.mark.parametrize("shape", [(6, 24), (24, 6), (5, 5), (2, 3, 4), (3, 2, 12), (1, 1), (0, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = init.Orthogonal(gain=2.0).sample(shape, STREAM)
    assert x.shape == shape
    matrix = x.reshape(math.prod(shape[:-1]), shape[-1])
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    assert np.abs(gram - 4.0 * np.eye(len(gram))).max(initial=0) < 1e-12


def test_orthogonal_is_qr_of_the_normal_numbers() -> None:
    for shape in [(6, 24), (24, 6)]:
        a = STREAM.normal((6, 24)).T
        q, r = np.linalg.qr(a)
        q = q * np.sign(np.diag(r))
        expected = q.T if shape == (6, 24) else q
        assert np.abs(init.Orthogonal().sample(shape, STREAM) - expected).max() < 1e-10


def test_whose_numbers_are_drawn() -> None:
    shape, other = (3, 4), STREAM.child("other")
    free, seeded = init.GlorotUniform(), init.GlorotUniform(seed=5)
    assert np.array_equal(free.sample(shape, STREAM), free.sample(shape, STREAM))
    assert not np.array_equal(free.sample(shape, STREAM), free.sample(shape, other))
    assert np.array_equal(seeded.sample(shape, STREAM), seeded.sample(shape, other))
    assert np.array_equal(seeded.sample(shape, STREAM), free.sample(shape, Stream(5)))


def test_a_seed_generator_moves_on() -> None:
    first, second = init.HeNormal(SeedGenerator(5)), init.HeNormal(SeedGenerator(5))
    a = [first.sample((3, 4), STREAM) for _ in range(2)]
    b = [second.sample((3, 4), STREAM.child("other")) for _ in range(2)]
    assert np.array_equal(a, b) and not np.array_equal(a[0], a[1])


def test_unit_forget_bias() -> None:
    ones = init.UnitForgetBias(init.Zeros()).sample((8,), STREAM)
    assert np.array_equal(ones, [0, 0, 1, 1, 0, 0, 0, 0])
    x = init.UnitForgetBias(init.RandomNormal()).sample((12,), STREAM)
    assert np.array_equal(x[3:6], np.ones(3))
    assert len(set(x[[0, 1, 2, 6, 7, 8, 9, 10, 11]])) == 9
    seeded = init.UnitForgetBias(init.RandomNormal(seed=1)).sample((12,), STREAM)
    assert np.array_equal(seeded[:3], seeded[6:9])
    with pytest.raises(SpecError, match=r"shape is \(6,\); expected \(4 \* units,\)"):
        init.UnitForgetBias(init.Zeros()).sample((6,), STREAM)
    with pytest.raises(SpecError, match="not one of Keras' initializers"):
        init.serialize(init.UnitForgetBias(init.Zeros()))


def test_specs_are_frozen_values() -> None:
    assert init.RandomNormal(stddev=0.1) == init.RandomNormal(stddev=0.1) != init.RandomNormal()
    assert init.GlorotUniform() != init.GlorotNormal()
    assert len({init.GlorotUniform(), init.GlorotUniform(), init.GlorotUniform(1)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        init.RandomNormal().mean = 3.0  # type: ignore[misc]
    assert init.RandomNormal(np.float32(0.5)).config() == {"seed": None, "mean": 0.5, "stddev": 0.05}


def test_get_takes_what_keras_takes() -> None:
    made = init.HeNormal(3)
    assert init.get(made) is made
    assert init.get(init.Ones) == init.Ones()
    old = {
        "class_name": "VarianceScaling",
        "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal"},
    }
    assert init.get(old) == init.VarianceScaling(1.0, "fan_avg", "truncated_normal")
    older = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
    assert init.get(older) == init.GlorotUniform()
    assert init.get({"class_name": "Identity", "config": {"gain": 2.0}}) == init.Identity(2.0)
    shared = {**init.serialize(init.Zeros()), "shared_object_id": 140}
    assert init.get(shared) == init.Zeros()


REFUSED = [
    ("glorot_unifrom", r"Unknown initializer 'glorot_unifrom'. Did you mean 'glorot_uniform'"),
    ("", "Unknown initializer ''. Known: Constant"),
    ("Initializer", "Unknown initializer 'Initializer'"),
    ({"class_name": "STFT", "config": {}}, "Unknown initializer 'STFT'"),
    ({"class_name": ["Zeros"]}, "Unknown initializer"),
    (
        {"class_name": "HeNormal", "config": {"sede": 1}},
        "HeNormal: unknown config key 'sede'. Did you mean 'seed'",
    ),
    ({"class_name": "GlorotUniform", "config": {"scale": 1.0}}, "unknown config key 'scale'"),
    ({"class_name": "HeNormal", "config": {"seed": -3}}, "HeNormal: seed is -3; expected an integer from 0"),
    (
        {"class_name": "HeNormal", "config": {"seed": {"class_name": "Foo"}}},
        "Cannot read .*Known: SeedGenerator",
    ),
    ({"config": {}}, "is not the config of a Keras initializer"),
    (None, "None is no initializer; expected"),
    (3, "3 is no initializer; expected"),
    (np.zeros(3), r"use Constant\(array\)"),
]


@pytest.mark.parametrize(("identifier", "message"), REFUSED, ids=lambda value: repr(value)[:50])
def test_get_refuses(identifier: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        init.get(identifier)


BAD_ARGUMENTS: list[tuple[type[init.Initializer], dict[str, Any], str]] = [
    (init.RandomNormal, {"mean": "0"}, "RandomNormal: mean is '0'; expected a finite number"),
    (init.RandomNormal, {"stddev": math.nan}, "stddev is nan; expected a finite number"),
    (init.RandomUniform, {"maxval": True}, "maxval is True; expected a finite number"),
    (init.Orthogonal, {"gain": None}, "gain is None"),
    (init.Identity, {"gain": math.inf}, "gain is inf"),
    (init.GlorotUniform, {"seed": True}, "GlorotUniform: seed is True; expected an integer"),
    (init.GlorotUniform, {"seed": 2.0}, "seed is 2.0"),
    (init.VarianceScaling, {"scale": 0.0}, "scale is 0.0; expected a positive number"),
    (init.VarianceScaling, {"mode": "fan_on"}, "unknown mode 'fan_on'. Did you mean 'fan_"),
    (
        init.VarianceScaling,
        {"distribution": "unifrom"},
        "unknown distribution 'unifrom'. Did you mean 'uniform'",
    ),
    (init.HeNormal, {"input_axes": [0]}, "expected both or neither"),
    (init.HeNormal, {"input_axes": 0, "output_axes": [1]}, "input_axes is 0; expected a list of integers"),
    (init.Constant, {"value": "a"}, "value is 'a'; expected a number"),
    (init.Constant, {"value": [[1], [1, 2]]}, r"value is \[\[1\], \[1, 2\]\]; expected a number"),
    (init.Constant, {"value": None}, "value is None; expected a number"),
]


@pytest.mark.parametrize(("cls", "arguments", "message"), BAD_ARGUMENTS, ids=lambda value: repr(value)[:50])
def test_bad_arguments(cls: type[init.Initializer], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        cls(**arguments)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(SpecError, match=r"Orthogonal: the weight's shape is \(3,\); expected at least two"):
        init.Orthogonal().sample((3,), STREAM)
    with pytest.raises(SpecError, match=r"Identity: the weight's shape is \(2, 2, 2\); expected two"):
        init.Identity().sample((2, 2, 2), STREAM)


# SHA-256 of the little-endian bytes, as float32 and as float64. If one of these differs on your machine,
# portability is broken: that is a bug, and not a reason to record them anew.
GOLDENS: dict[tuple[str, tuple[int, ...]], tuple[str, str]] = {
    ("RandomNormal", (64, 128)): (
        "ff87406638ad387da7a8e0323fede0893c79771175494788a49c335b9261d40f",
        "49a6936045f37c33cc86254dbb102af30dbb494c1878fc022dca0c191e807d24",
    ),
    ("RandomUniform", (64, 128)): (
        "5ed12b9bd83327cedbebffbc028842af965bdbe5b2d3536a8908643209e214e0",
        "f1dfe22ab4de902b4908941158be235ba2e4b57a8afdd63422409d7890e0c44d",
    ),
    ("TruncatedNormal", (64, 128)): (
        "a5d186f523128ff303b15081ec327cd254e86ebce8c685515d9b254bb753d368",
        "673ce9820f30bbbacc9364b45b5efc6d6ea141f479da962fe568f921da9a868c",
    ),
    ("VarianceScaling", (3, 3, 16, 32)): (
        "fb6d3102feccd7bd1c02ae49239581617600913a92dac26d752d11309c6da156",
        "89138b9a81423c0f3204a3bf85d0a0ac073e003439ee1c54198bf2215805eebe",
    ),
    ("GlorotUniform", (28, 512)): (
        "43bb630988fc5f24ce82f05ed24f669884fb6e7d286cb4129d7b348e2f92be72",
        "f27b49616aa7424ec611112381218c1172856298372740529011e473d776767f",
    ),
    ("GlorotUniform", (7,)): (
        "7d2d07654b220ca6b9cc8aa94dd8c2388ca897d41bde14f8ca4b03b7f2d76296",
        "cb3ce245ed1dcc5be22e2a0281e346d3d7bd40444155dd2f341ce513f7658efd",
    ),
    ("GlorotNormal", (28, 512)): (
        "a55e946cff27579015d0226b9c8fbb1a23f38cb72559f60e6e9656e41918596f",
        "d416d527b95596e6a5d6302d5084f9a8f3b536423813b45b28157d0c9b458aeb",
    ),
    ("HeUniform", (28, 512)): (
        "4b22c5319c7a9060a8199859f5da239b4b118728b0c4dae329bd7af124036246",
        "8f059393be4c6f1ddccedf9eb5c02729b6f130d09fd5dc500a7074e2aeb7677e",
    ),
    ("HeNormal", (28, 512)): (
        "3b876ea07b21b6fbade26794135b1997012a39e8aaee7b69db708239b1be8584",
        "4b0936aaf0f8ade737c81ef729d25ba91b43a9c0e7dda4a3a829da24f910b4be",
    ),
    ("LecunUniform", (28, 512)): (
        "a7775c81ed2a027f386a71a87c86ae27ee44e2d2ad5fdce7368b9a85873f4ba9",
        "1f504f4dd5fb65ebd7ecc402db6c22c74bb2e90b9c5c41bf4a62ebe76768b511",
    ),
    ("LecunNormal", (28, 512)): (
        "43b336de99b4bcc3a40b5ce626d86e8f50f80582855bab82b408fd044b9fd30f",
        "b6fd9527522b85cd95beeeeeffcf38bcee2a0ba966d08d773cec689f34ad9b0f",
    ),
    ("Orthogonal", (128, 512)): (
        "4e57fc6cbd310bfb124e8bf2050b6a803fd50f8af77817fe7506ab14dd321e90",
        "a7ab3b95cd1a40d332e20e2e8a49e5febd72833a944ccd4d2e149ea120a4fb36",
    ),
    ("Orthogonal", (50, 50)): (
        "4ff9f4ead3ba59315f3b9aea5b90122baa9d682e5ffffbbe68e61b377d64dea6",
        "98f0fad467a1ba9f18f5bea3eb81edc5231f7613178e35c4c58b94c09b239f1f",
    ),
    ("Orthogonal", (3000, 20)): (
        "ff323d993fabf223b7c4a8e0b45e25f370e08fb14fd7cce11eef3e6c05722910",
        "010e94502eb5b6d9e437f393ab76617ca0e3d6fbd2c287f866cfcd8deb721d1d",
    ),
    ("Orthogonal", (2, 3, 100)): (
        "ec82ca166f5bc7fc9266620a7e5661badfed93f8ffe83e59e5fd9841c00f634a",
        "ea855fe73982cb25e1735ca89db66eb0f355d05584a4e43fd22e75e44f03bb97",
    ),
    ("Identity", (3, 4)): (
        "31cfe40cbf2cff090f2776a574a157ff4dc1119954f6be87cf98c285b067ee98",
        "0137f4671bbc845e5dad9d855ca22b1c9b1be483fe4e215222931801411c15d7",
    ),
    ("Zeros", (5,)): (
        "de47c9b27eb8d300dbb5f2c353e632c393262cf06340c4fa7f1b40c4cbd36f90",
        "2c34ce1df23b838c5abf2a7f6437cca3d3067ed509ff25f11df6b11b582b51eb",
    ),
    ("Ones", (5,)): (
        "f603f94b1d517d5138cdeae0c125779455d596b548a58e5cb4d941f97a1a242a",
        "6e91e92205f42beb0df4ddf13cf0af352b29ffd2de9465348cdb1447a324e828",
    ),
    ("Constant", (5,)): (
        "de47c9b27eb8d300dbb5f2c353e632c393262cf06340c4fa7f1b40c4cbd36f90",
        "2c34ce1df23b838c5abf2a7f6437cca3d3067ed509ff25f11df6b11b582b51eb",
    ),
}


@pytest.mark.parametrize(("name", "shape"), GOLDENS)
def test_bytes_are_those_of_every_machine(name: str, shape: tuple[int, ...]) -> None:
    x = init.get(name).sample(shape, Stream(2026, ("golden",)))
    digests = tuple(hashlib.sha256(x.astype(dtype).tobytes()).hexdigest() for dtype in ("<f4", "<f8"))
    assert digests == GOLDENS[name, shape]
