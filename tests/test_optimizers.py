"""The optimisers against real Keras' numbers, on every engine's tensors; schedules, configs, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lstmcore import optimizers
from lstmcore.errors import SpecError, WeightsError
from lstmcore.optimizers import NUMPY, SGD, Adadelta, Adagrad, Adam, AdamW, Nadam, Optimizer, RMSprop, schedules
from lstmcore.optimizers.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay, PolynomialDecay

GOLDENS = Path(__file__).parent / "goldens"
KERAS = json.loads((GOLDENS / "optimizers.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = load_file(GOLDENS / "optimizers.safetensors")
CASES = KERAS["steps"]
WEIGHTS = sorted(key.removeprefix("weights/") for key in ARRAYS if key.startswith("weights/"))
STEPS = 12
CLASSES = sorted(set(optimizers.OPTIMIZERS.values()), key=lambda cls: cls.__name__)


@dataclass
class Engine:
    maths: Any
    tensor: Callable[[Any], Any]
    compile: Callable[[Callable[..., Any]], Callable[..., Any]]


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def numpy_engine() -> Engine:
    return Engine(NUMPY, np.asarray, as_it_is)


def torch_engine() -> Engine:
    torch = pytest.importorskip("torch")
    maths = SimpleNamespace(
        sqrt=torch.sqrt, absolute=torch.abs, maximum=torch.maximum, sum=torch.sum, where=torch.where
    )
    return Engine(maths, lambda array: torch.from_numpy(np.array(array)), as_it_is)


def tensorflow_engine(graph: bool) -> Engine:
    tf = pytest.importorskip("tensorflow")
    maths = SimpleNamespace(sqrt=tf.sqrt, absolute=tf.abs, maximum=tf.maximum, sum=tf.reduce_sum, where=tf.where)

    def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
        traced = tf.function(function, autograph=False)

        def call(*args: Any) -> Any:
            outputs = traced(*args)
            assert traced.experimental_get_tracing_count() == 1
            return outputs

        return call

    return Engine(maths, tf.constant, traced_once if graph else as_it_is)


ENGINES = {
    "numpy": numpy_engine,
    "torch": torch_engine,
    "tensorflow": partial(tensorflow_engine, False),
    "tensorflow-graph": partial(tensorflow_engine, True),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]()


def described(case: str) -> Optimizer:
    return optimizers.get({"class_name": CASES[case]["class"], "config": CASES[case]["options"]})


def recorded(case: str, dtype: str, step: int, own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keras' weights and slots after a step."""
    here = {name: ARRAYS[f"{case}/{dtype}/{name}"][step] for name in WEIGHTS}
    return here, {name: {slot: ARRAYS[f"{case}/{dtype}/{name}/{slot}"][step] for slot in own[name]} for name in WEIGHTS}


def trajectory(
    engine: Engine,
    case: str,
    dtype: str,
    *,
    isolated: bool = False,
    scalars: Callable[[Optimizer, int], Mapping[str, float]] = lambda optimizer, step: optimizer.scalars(step),
) -> dict[str, np.ndarray]:
    """Weights and slots after each step, stacked; if `isolated`, each step starts from Keras' state."""
    optimizer = described(case)
    weights: dict[str, Any] = {name: ARRAYS[f"weights/{name}"].astype(dtype) for name in WEIGHTS}
    slots: dict[str, Any] = {name: optimizer.slots(weights[name].shape, dtype) for name in WEIGHTS}
    apply = engine.compile(partial(optimizer.apply, engine.maths))
    made: dict[str, list[np.ndarray]] = {}
    for step in range(STEPS):
        if isolated and step:
            weights, slots = recorded(case, dtype, step - 1, slots)
        gradients = {name: engine.tensor(ARRAYS[f"gradients/{name}"][step].astype(dtype)) for name in WEIGHTS}
        numbers = optimizers.numpy_scalars(scalars(optimizer, step), dtype)
        weights, slots = apply(
            {name: engine.tensor(w) for name, w in weights.items()},
            gradients,
            {name: {slot: engine.tensor(x) for slot, x in own.items()} for name, own in slots.items()},
            {name: engine.tensor(x) for name, x in numbers.items()},
        )
        weights = {name: np.asarray(w) for name, w in weights.items()}
        slots = {name: {slot: np.asarray(x) for slot, x in own.items()} for name, own in slots.items()}
        for name in WEIGHTS:
            made.setdefault(name, []).append(weights[name])
            for slot, array in slots[name].items():
                made.setdefault(f"{name}/{slot}", []).append(array)
    return {name: np.stack(arrays) for name, arrays in made.items()}


def scale_error(y: np.ndarray, right: np.ndarray) -> float:
    """The error in units of float32's eps times the largest entry."""
    size = np.abs(right).max()
    return float(np.abs(y.astype(np.float64) - right).max() / (np.finfo(np.float32).eps * size)) if size else 0.0


def in_float32(optimizer: Optimizer, step: int) -> dict[str, float]:
    """The numbers of a step with what Keras computes in float32: powers of the betas and what follows from them."""
    scalars = optimizer.scalars(step)
    t = np.float32(step // (optimizer.gradient_accumulation_steps or 1) + 1)
    one, half, decay = np.float32(1), np.float32(0.5), np.float32(0.96)
    beta_1, beta_2 = (np.float32(getattr(optimizer, name, 0)) for name in ("beta_1", "beta_2"))
    rate = np.float32(scalars["learning_rate"])
    if "alpha" in scalars:
        return {**scalars, "alpha": rate * np.sqrt(one - beta_2**t) / (one - beta_1**t)}
    if "1 - beta_1^t" in scalars:
        return {**scalars, "1 - beta_1^t": one - beta_1**t}
    if "1 - U" not in scalars:
        return scalars
    u, ahead = (beta_1 * (one - half * decay**k) for k in (t, t + one))
    product = one
    for k in range(1, int(t) + 1):
        product = product * beta_1 * (one - half * decay ** np.float32(k))
    of_betas = {"1 - beta_1": one - beta_1, "1 - beta_2": one - beta_2, "1 - beta_2^t": one - beta_2**t}
    of_products = {"1 - U": one - product, "1 - next U": one - product * ahead}
    return {**scalars, **of_betas, "1 - u": one - u, "next u": ahead, **of_products}


# Against Keras


@pytest.mark.parametrize("case", CASES)
def test_in_float64_the_numbers_are_those_of_keras(engine: Engine, case: str) -> None:
    made = trajectory(engine, case, "float64")
    prefix = f"{case}/float64/"
    assert {key.removeprefix(prefix) for key in ARRAYS if key.startswith(prefix)} == set(made)
    for name, y in made.items():
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, ARRAYS[prefix + name], rtol=1e-12, atol=1e-24, err_msg=f"{case} {name}")


@pytest.mark.parametrize("case", CASES)
def test_in_float32_each_step_is_keras_own_to_rounding(engine: Engine, case: str) -> None:
    """Measured: 0, the same bits, but where a norm is taken or a schedule computed: 1.6 at most."""
    for name, y in trajectory(engine, case, "float32", isolated=True, scalars=in_float32).items():
        assert y.dtype == np.float32
        assert scale_error(y, ARRAYS[f"{case}/float32/{name}"]) <= 4, f"{case} {name}"


@pytest.mark.parametrize("case", CASES)
def test_in_float32_the_numbers_stay_near_the_exact_ones(engine: Engine, case: str) -> None:
    """Measured: 6 at most, where Keras' own float32 is off by 109, for its bias corrections are in float32."""
    for name, y in trajectory(engine, case, "float32").items():
        assert scale_error(y, ARRAYS[f"{case}/float64/{name}"]) <= 16, f"{case} {name}"


@pytest.mark.parametrize("k", range(len(KERAS["schedules"])))
def test_a_schedule_is_that_of_keras(k: int) -> None:
    golden = KERAS["schedules"][k]
    schedule = schedules.deserialize(golden["serialized"])
    steps, rates = zip(*golden["rates"], strict=True)
    np.testing.assert_allclose([schedule(step) for step in steps], rates, rtol=1e-13, atol=1e-17)
    assert json.dumps(schedules.serialize(schedule)) == json.dumps(golden["serialized"])


@pytest.mark.parametrize("case", CASES)
def test_the_serialized_form_is_that_of_keras(case: str) -> None:
    written = CASES[case]["serialized"]
    optimizer = replace(described(case), name=written["config"]["name"])
    ours = optimizers.serialize(optimizer)
    assert optimizers.get(ours) == optimizer
    if not callable(optimizer.learning_rate):
        ours["config"]["learning_rate"] = float(np.float32(optimizer.learning_rate))  # where Keras keeps it
    ours["config"].pop("exclude_from_weight_decay", None)
    assert json.dumps(ours) == json.dumps(written)


def test_names_are_those_of_keras() -> None:
    assert {cls.__name__: cls().name for cls in CLASSES} == KERAS["names"]


def test_every_optimizer_and_schedule_is_recorded() -> None:
    assert {case["class"] for case in CASES.values()} == {cls.__name__ for cls in CLASSES}
    assert {one["serialized"]["class_name"] for one in KERAS["schedules"]} == set(schedules.SCHEDULES)


# On paper


def one_step(optimizer: Optimizer, weights: Any, gradients: Any, step: int = 0, slots: Any = None) -> Any:
    weights = {name: np.array(w, np.float64) for name, w in weights.items()}
    slots = slots or {name: optimizer.slots(w.shape, w.dtype) for name, w in weights.items()}
    gradients = {name: None if g is None else np.array(g, np.float64) for name, g in gradients.items()}
    scalars = optimizers.numpy_scalars(optimizer.scalars(step), np.float64)
    return optimizer.apply(NUMPY, weights, gradients, slots, scalars)


def test_momentum_on_paper() -> None:
    optimizer = SGD(0.5, momentum=0.5)
    weights, slots = one_step(optimizer, {"w": [1.0]}, {"w": [2.0]})
    assert (weights["w"], slots["w"]["momentum"]) == (0.0, -1.0)
    weights, slots = one_step(optimizer, weights, {"w": [4.0]}, 1, slots)
    assert (weights["w"], slots["w"]["momentum"]) == (-2.5, -2.5)


def test_the_three_clippings_on_paper() -> None:
    weights, gradients = {"a": [0.0, 0.0], "b": [0.0]}, {"a": [3.0, -4.0], "b": [12.0]}
    expected = {
        "clipnorm": ([-0.6, 0.8], [-1.0]),
        "clipvalue": ([-1.0, 1.0], [-1.0]),
        "global_clipnorm": ([-3 / 13, 4 / 13], [-12 / 13]),
    }
    for name, (a, b) in expected.items():
        moved, _ = one_step(SGD(1.0, **{name: 1.0}), weights, gradients)
        np.testing.assert_allclose(moved["a"], a, rtol=1e-15)
        np.testing.assert_allclose(moved["b"], b, rtol=1e-15)


@pytest.mark.parametrize("limit", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_small_and_zero_gradients_are_not_clipped(limit: str) -> None:
    optimizer = SGD(1.0, **{limit: 8.0})
    assert one_step(optimizer, {"w": [1.0, 2.0]}, {"w": [0.0, 0.0]})[0]["w"].tolist() == [1.0, 2.0]
    assert one_step(optimizer, {"w": [1.0, 2.0]}, {"w": [1.0, 2.0]})[0]["w"].tolist() == [0.0, 0.0]


def test_a_gradient_that_is_not_finite_spoils_all_weights_under_global_clipnorm() -> None:
    with np.errstate(invalid="ignore"):
        moved, _ = one_step(SGD(global_clipnorm=1.0), {"a": [1.0], "b": [1.0]}, {"a": [np.inf], "b": [1.0]})
    assert np.isnan([moved["a"], moved["b"]]).all()


def test_a_weight_without_gradient_stays_as_it_is() -> None:
    optimizer = AdamW(0.1, global_clipnorm=1.0, use_ema=True, gradient_accumulation_steps=2)
    moved, slots = one_step(optimizer, {"a": [1.0], "b": [1.0], "c": [3.0]}, {"b": [1.0], "c": None}, 1)
    assert moved["a"] == 1 and moved["b"] < 1 and moved["c"] == 3
    assert slots["a"]["velocity"] == 0 and slots["b"]["velocity"] > 0
    assert optimizer.finalize(moved, slots)["c"] == slots["c"]["average"] == 3
    assert SGD().finalize({"a": 7}, {}) == {"a": 7}


def test_a_gradient_of_no_weight_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"gradients of b, but the weights are a\."):
        one_step(SGD(), {"a": [1.0]}, {"a": [1.0], "b": [1.0]})


def test_nothing_given_is_changed() -> None:
    optimizer = Adam(use_ema=True, ema_overwrite_frequency=1, gradient_accumulation_steps=2)
    weights, gradients = {"w": np.ones(3)}, {"w": np.ones(3)}
    slots = {"w": optimizer.slots((3,), np.float64)}
    optimizer.apply(NUMPY, weights, gradients, slots, optimizers.numpy_scalars(optimizer.scalars(1), np.float64))
    assert weights["w"].tolist() == gradients["w"].tolist() == [1, 1, 1]
    assert {slot: x.tolist() for slot, x in slots["w"].items()} == {slot: [0, 0, 0] for slot in slots["w"]}


def test_weight_decay_skips_the_names_excluded() -> None:
    optimizer = AdamW(exclude_from_weight_decay=["bias", "^norm"])
    assert optimizer.decays("lstm/kernel") and optimizer.decays("a_norm/gamma")
    assert not optimizer.decays("lstm/bias") and not optimizer.decays("norm/gamma")
    assert not Adam().decays("lstm/kernel")


# The step


@pytest.mark.parametrize("case", CASES)
def test_a_run_resumed_elsewhere_has_the_same_bytes(case: str) -> None:
    """Only weights, slots, the config and the number of steps are carried over."""
    optimizer, names = described(case), WEIGHTS

    def go(optimizer: Optimizer, weights: Any, slots: Any, steps: range) -> Any:
        for step in steps:
            gradients = {name: ARRAYS[f"gradients/{name}"][step] for name in names}
            scalars = optimizers.numpy_scalars(optimizer.scalars(step), np.float32)
            weights, slots = optimizer.apply(NUMPY, weights, gradients, slots, scalars)
        return weights, slots

    start = {name: ARRAYS[f"weights/{name}"] for name in names}
    slots = {name: optimizer.slots(start[name].shape, np.float32) for name in names}
    whole = go(optimizer, start, slots, range(STEPS))
    resumed = optimizers.get(json.loads(json.dumps(optimizers.serialize(optimizer))))
    halves = go(resumed, *go(optimizer, start, slots, range(7)), range(7, STEPS))
    for name in names:
        assert whole[0][name].tobytes() == halves[0][name].tobytes()
        for slot, array in whole[1][name].items():
            assert array.tobytes() == halves[1][name][slot].tobytes()


@pytest.mark.parametrize("beta_1", [0.0, 0.5, 0.9, 0.99999])
def test_nadams_product_is_that_of_all_steps_so_far(beta_1: float) -> None:
    product, optimizer = 1.0, Nadam(beta_1=beta_1)
    for t in range(1, 2500):
        product *= beta_1 * (1 - 0.5 * 0.96**t)
        scalars = optimizer.scalars(t - 1)
        assert scalars["1 - U"] == pytest.approx(1 - product, rel=1e-12)
        assert scalars["1 - next U"] == pytest.approx(1 - product * beta_1 * (1 - 0.5 * 0.96 ** (t + 1)), rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_scalars_keep_their_names_and_are_finite_at_any_step(case: str) -> None:
    optimizer = described(case)
    first = optimizer.scalars(0)
    for step in (1, 2, 11, 100_000, 10**9):
        scalars = optimizer.scalars(step)
        assert list(scalars) == list(first)
        assert all(isinstance(x, float) and np.isfinite(x) for x in scalars.values())


def test_a_rate_may_be_a_function_of_the_step() -> None:
    optimizer = SGD(lambda step: 1 / (step + 1))
    assert [optimizer.scalars(step)["learning_rate"] for step in range(3)] == [1.0, 1 / 2, 1 / 3]
    assert SGD(lambda step: np.float32(0.5)).rate(0) == 0.5


@pytest.mark.parametrize("rate", [-1.0, float("nan"), None, "a"])
def test_a_rate_that_is_none_is_refused_where_it_is_given(rate: Any) -> None:
    with pytest.raises(SpecError, match=r"SGD: learning_rate gave .* at step 3; expected a number >= 0"):
        SGD(lambda step: rate if step == 3 else 0.1).scalars(3)


def test_another_rate_makes_another_optimizer() -> None:
    optimizer = Adam(0.01, clipnorm=2.0)
    other = optimizer.with_learning_rate(0.5)
    assert (optimizer.learning_rate, other) == (0.01, Adam(0.5, clipnorm=2.0))
    assert optimizer.with_learning_rate(ExponentialDecay(0.1, 5, 0.5)).rate(5) == 0.05
    with pytest.raises(SpecError, match="Adam: learning_rate is -1"):
        optimizer.with_learning_rate(-1)


def test_the_loss_is_scaled_as_the_gradients_are_unscaled() -> None:
    optimizer = SGD(1.0, loss_scale_factor=8.0)
    assert (optimizer.scale_loss(2.0), SGD().scale_loss(2.0)) == (16.0, 2.0)
    assert one_step(optimizer, {"w": [1.0]}, {"w": [16.0]})[0]["w"] == -1


# Where an optimiser is asked for


def test_an_optimizer_is_found_by_whatever_keras_takes() -> None:
    for given in ("adam", "Adam", "ADAM", Adam, Adam(), {"class_name": "Adam", "config": {}}):
        assert optimizers.get(given) == Adam()
    assert optimizers.get("adamw").weight_decay == 0.004
    assert [optimizers.get(cls.__name__.lower()) for cls in CLASSES] == [cls() for cls in CLASSES]
    assert len(CLASSES) == len(optimizers.OPTIMIZERS)


def test_only_the_learning_rate_can_be_set_and_holds_from_the_next_step_on() -> None:
    optimizer = Adam(0.5)
    optimizer.learning_rate = np.float32(0.25)
    assert optimizer.learning_rate == optimizer.rate(7) == optimizer.scalars(7)["learning_rate"] == 0.25
    with pytest.raises(SpecError, match="-1"):
        optimizer.learning_rate = -1
    with pytest.raises(SpecError, match="beta_1 cannot be changed"):
        optimizer.beta_1 = 0.5
    with pytest.raises(SpecError, match="follows"):
        Adam(lambda step: 0.1).learning_rate = 0.1


def test_keras_two_is_read() -> None:
    config = {"name": "RMSprop", "jit_compile": False, "is_legacy_optimizer": False, "ema_overwrite_frequency": 100}
    read = optimizers.get({"class_name": "RMSprop", "config": {**config, "decay": 0.0, "learning_rate": 0.5}})
    assert read == RMSprop(0.5, ema_overwrite_frequency=100, name="RMSprop")
    with pytest.raises(SpecError, match="decay is not in Keras 3"):
        optimizers.get({"class_name": "SGD", "config": {"decay": 0.1}})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("adm", "Unknown optimizer 'adm'. Did you mean 'adam'"),
        (None, "None is no optimizer"),
        (3, "3 is no optimizer"),
        ({"class_name": "Lion", "config": {}}, "Unknown optimizer 'lion'"),
        ({"class_name": "Adam", "config": {"beta1": 0.9}}, "Adam: unknown config key 'beta1'. Did you mean 'beta_1'"),
        ({"class_name": "Adam", "config": {}, "module": "mine"}, "not one of Keras' own"),
        (
            {"class_name": "SGD", "config": {"learning_rate": {"class_name": "Mine", "config": {}}}},
            "Unknown learning rate schedule 'Mine'",
        ),
    ],
)
def test_what_is_no_optimizer_is_refused(given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace(".", r"\.")):
        optimizers.get(given)


def test_what_no_config_can_hold_is_not_written() -> None:
    def halving(step: int) -> float:
        return 0.5**step

    class Mine(SGD):
        pass

    class Own(schedules.LearningRateSchedule):
        pass

    with pytest.raises(SpecError, match="learning_rate is the function 'halving', which no config can hold"):
        optimizers.serialize(SGD(halving))
    with pytest.raises(SpecError, match="not one of Keras' optimizers"):
        optimizers.serialize(Mine())
    with pytest.raises(SpecError, match="not one of Keras' schedules"):
        optimizers.serialize(SGD(Own()))
    with pytest.raises(NotImplementedError, match="Own does not say its rate"):
        SGD(Own()).rate(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(-0.1), "Adam: learning_rate is -0.1; expected a number >= 0, a schedule, or a function"),
        (lambda: Adam("fast"), "Adam: learning_rate is 'fast'"),
        (lambda: Adam(float("inf")), "Adam: learning_rate is inf"),
        (lambda: Adam(CosineDecay), "Adam: learning_rate is <class"),
        (lambda: Adam(beta_1=1.0), "Adam: beta_1 is 1.0; expected a number in [0, 1)"),
        (lambda: AdamW(beta_2=1), "AdamW: beta_2 is 1; expected a number in [0, 1)"),
        (lambda: Adam(epsilon=-1e-7), "Adam: epsilon is -1e-07"),
        (lambda: Adam(amsgrad=1), "Adam: amsgrad is 1; expected True or False"),
        (lambda: AdamW(weight_decay=None), "AdamW: weight_decay is None; expected a number >= 0"),
        (lambda: SGD(momentum=1.5), "SGD: momentum is 1.5; expected a number in [0, 1]"),
        (lambda: SGD(momentum=True), "SGD: momentum is True"),
        (lambda: RMSprop(rho=1.0), "RMSprop: rho is 1.0"),
        (lambda: Adagrad(initial_accumulator_value=-1), "Adagrad: initial_accumulator_value is -1"),
        (lambda: Adadelta(rho=float("nan")), "Adadelta: rho is nan"),
        (lambda: SGD(clipnorm=-1.0), "SGD: clipnorm is -1.0; expected None or a number >= 0"),
        (
            lambda: SGD(clipnorm=1.0, clipvalue=0.5),
            "SGD: clipnorm=1.0 and clipvalue=0.5 are given; expected only one of clipnorm, global_clipnorm, clipvalue",
        ),
        (lambda: SGD(weight_decay=-0.1), "SGD: weight_decay is -0.1"),
        (lambda: SGD(use_ema=True, ema_momentum=1.5), "SGD: ema_momentum is 1.5"),
        (lambda: SGD(ema_overwrite_frequency=0), "SGD: ema_overwrite_frequency is 0; expected None or an integer >= 1"),
        (
            lambda: SGD(gradient_accumulation_steps=1),
            "steps is 1; expected None or an integer >= 2",
        ),
        (lambda: SGD(loss_scale_factor=0.0), "loss_scale_factor is 0.0; expected None or a number > 0"),
        (lambda: SGD(name=3), "SGD: name is 3; expected None or a string"),
        (
            lambda: SGD(exclude_from_weight_decay="bias"),
            "decay is 'bias'; expected a list of strings",
        ),
        (lambda: SGD(exclude_from_weight_decay=["("]), "expected regular expressions"),
        (lambda: ExponentialDecay(0.1, 0, 0.9), "ExponentialDecay: decay_steps is 0; expected a number of steps > 0"),
        (lambda: ExponentialDecay(-0.1, 5, 0.9), "ExponentialDecay: initial_learning_rate is -0.1"),
        (lambda: CosineDecay(0.1, 5, warmup_target=-1.0), "CosineDecay: warmup_target is -1.0"),
        (lambda: PolynomialDecay(0.1, 5, cycle=1), "PolynomialDecay: cycle is 1"),
        (lambda: PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "2 boundaries and 2 values; expected"),
        (lambda: PiecewiseConstantDecay([2, 1], [1, 2, 3]), "boundaries are (2, 1); expected increasing steps"),
        (lambda: PiecewiseConstantDecay([1], [0.1, -0.2]), "values are (0.1, -0.2); expected numbers >= 0"),
        (lambda: PiecewiseConstantDecay(1, [0.1]), "boundaries is 1; expected a list of numbers"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        make()
    assert message in str(refused.value)


def test_arguments_have_keras_order_as_far_as_they_are_positional() -> None:
    assert SGD(0.1, 0.9, True) == SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    assert Adam(0.1, 0.8, 0.9, 1e-3, True) == Adam(0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-3, amsgrad=True)
    assert AdamW(0.1, 0.2, 0.8) == AdamW(learning_rate=0.1, weight_decay=0.2, beta_1=0.8)
    assert RMSprop(0.1, 0.8, 0.7, 1e-3, True) == RMSprop(0.1, rho=0.8, momentum=0.7, epsilon=1e-3, centered=True)
    assert Adagrad(0.1, 0.2, 1e-3) == Adagrad(0.1, initial_accumulator_value=0.2, epsilon=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slots_are_arrays_of_the_weight_s_shape(dtype: str) -> None:
    slots = Adagrad(initial_accumulator_value=0.25, use_ema=True, gradient_accumulation_steps=2).slots((2, 3), dtype)
    assert {name: (x.shape, x.dtype.name, x.flat[0]) for name, x in slots.items()} == {
        "gradient_accumulator": ((2, 3), dtype, 0.0),
        "average": ((2, 3), dtype, 0.0),
        "accumulator": ((2, 3), dtype, 0.25),
    }
