"""The state of a training as one file, from which it goes on as if it had never stopped, on whatever engine.

The file is a weight file (docs/weight-file.md) that also holds the optimizer's slots, the states of stateful
layers, the sums of losses and metrics, and what callbacks remember, the history among them; its metadata say the
step, the place in the data and the seed of all random numbers. It is replaced whole after so many steps: a process
killed at any instant leaves the last one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, FileError, ForeignFileError, InputError, WeightsMismatchError
from lstmcore.models.files import BESIDE_WEIGHTS, expected, unbuilt_description
from lstmcore.random import Stream
from lstmcore.runtime.training import Position, Training
from lstmcore.weights import WeightFile, write

if TYPE_CHECKING:
    from lstmcore.callbacks import CallbackList
    from lstmcore.models.training import TrainableModel

Array = NDArray[Any]

NAME = "checkpoint.safetensors"
HOLDS = "training"
_SLOTS, _STATES, _SCORES, _CALLBACKS = BESIDE_WEIGHTS
_SHOWN = 12


@dataclass
class Start:
    """Where a fit begins: an epoch, the batches of it that are done, and the scores over those."""

    epoch: int = 0
    done: int = 0
    scores: Mapping[str, Array] = field(default_factory=dict)


class Checkpoint:
    """The file in ``directory``, written after each epoch, and after every ``every`` steps where that is a number.

    ``data`` describes the data and how they are cut, so that a run goes on with no other.

    Raises:
        InputError: ``save_every`` is neither "epoch" nor a positive integer.
        OSError: the directory cannot be made or written to.
    """

    def __init__(self, directory: Any, save_every: Any, data: Mapping[str, Any]) -> None:
        if save_every != "epoch" and (type(save_every) is not int or save_every < 1):
            raise InputError(f"save_every is {save_every!r}; expected 'epoch', or a number of steps")
        self.directory = Path(directory)
        self.path = self.directory / NAME
        self.every = save_every
        self.data = dict(data)
        self.directory.mkdir(parents=True, exist_ok=True)
        for left in self.directory.glob(f".{NAME}.*.tmp"):  # by a writer that was killed
            with suppress(OSError):
                left.unlink()

    def due(self, step: int) -> bool:
        """Whether to write after ``step`` steps."""
        return type(self.every) is int and step % self.every == 0

    def save(self, model: TrainableModel, training: Training, start: Start, callbacks: CallbackList) -> None:
        """Writes the file: the model, and how far training has come."""
        tensors: dict[str, Array] = dict(model.weights)
        remembered = _taken_apart(callbacks.state(), _CALLBACKS, tensors)
        for prefix, arrays in (
            (_SLOTS, {f"{path}/{slot}": a for path, own in training.slots.items() for slot, a in own.items()}),
            (_STATES, model.states),
            (_SCORES, start.scores),
        ):
            for name, array in arrays.items():
                if tensors.setdefault(f"{prefix}{name}", found := _floats(array)) is not found:
                    raise FileError(f"two things would be called {prefix}{name!r} in a checkpoint; rename the layer")
        rate, stream = training.optimizer.learning_rate, training.random()
        told = {
            "step": training.step,
            "epoch": start.epoch,
            "done": start.done,
            "stopped": training.stopping,
            "position": asdict(training.position),
            "stream": [stream.seed, *stream.ids],
            "learning_rate": None if callable(rate) else rate,
            "compiled": training.description,
            "data": self.data,
            "callbacks": remembered["dict"],
        }
        write(self.path, tensors, unbuilt_description(model), {"holds": HOLDS, HOLDS: json.dumps(told)})

    def load(self, model: TrainableModel, training: Training, callbacks: CallbackList) -> Start | None:
        """Puts model, training and callbacks where the file has them; None where there is no file.

        Raises:
            WeightsMismatchError: it is of another model, was compiled otherwise, or trained on other data.
            FileError: it is damaged, or no checkpoint.
        """
        if not self.path.exists():
            return None
        with WeightFile.open(self.path) as file:
            told = _told(file)
            self._compare(model, training, file.model, told)
            wanted = {**expected(model), **_others(file, model, training)}
            tensors = file.read(wanted)
        model.replace_weights({name: tensors[name] for name in model.weights})
        training.slots = _slots(tensors)
        training.step, training.stopping = told["step"], told["stopped"]
        training.position = Position(**told["position"])
        training.stream = Stream(told["stream"][0], tuple(told["stream"][1:]))
        if told["learning_rate"] is not None and told["learning_rate"] != training.optimizer.learning_rate:
            training.optimizer.learning_rate = told["learning_rate"]
        model.states = _under(tensors, _STATES)
        callbacks.restore(_put_together({"dict": told["callbacks"]}, tensors))
        return Start(told["epoch"], told["done"], _under(tensors, _SCORES))

    def _compare(self, model: TrainableModel, training: Training, described: str, told: Mapping[str, Any]) -> None:
        """WeightsMismatchError with all that differs between the run that wrote the file and this one."""
        pairs = (
            ("model", json.loads(described), json.loads(unbuilt_description(model))),
            ("compile", told["compiled"], json.loads(json.dumps(training.description))),
            ("fit", told["data"], self.data),
        )
        found = [line for what, there, here in pairs for line in differences(there, here, what)]
        if found:
            more = [f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            lines = "".join(f"\n  {line}" for line in [*found[:_SHOWN], *more])
            raise WeightsMismatchError(
                f"the checkpoint in {self.directory} is of another training:{lines}\n"
                "Train as it was begun, or give another directory; lc.load_model reads the model from the file."
            )


def differences(there: Any, here: Any, path: str) -> Iterator[str]:
    """What differs between two JSON values, a line for each place."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            yield from differences(there.get(key), here.get(key), f"{path}.{key}")
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for k, (one, other) in enumerate(zip(there, here, strict=True)):
            yield from differences(one, other, f"{path}[{k}]")
    elif there != here:
        yield f"{path}: {_short(there)} in the checkpoint, {_short(here)} now"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def _told(file: WeightFile) -> dict[str, Any]:
    """What the metadata say of the training; FileError where they do not."""
    name, metadata = file.header.name, file.header.metadata
    if metadata.get("holds") != HOLDS:
        raise ForeignFileError(f"{name} holds no training, but {metadata.get('holds', 'the weights of a model')}")
    try:
        told = json.loads(metadata[HOLDS])
        _check(told)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DamagedFileError(f"{name}: what it says of the training is damaged ({error}); begin anew") from None
    return dict(told)


def _check(told: Any) -> None:
    """ValueError or a like where something is not of its kind; all digests held, so this is no accident."""
    numbers = [told["step"], told["epoch"], told["done"], *(told["position"][n] for n in asdict(Position()))]
    if not all(type(n) is int and n >= 0 for n in numbers) or len(told["position"]) != 3:
        raise ValueError("a number is none, or less than 0")
    Stream(told["stream"][0], tuple(told["stream"][1:]))
    if type(told["stopped"]) is not bool or not isinstance(told["learning_rate"], (int, float, type(None))):
        raise ValueError("stopped or learning_rate")
    if not all(isinstance(told[name], dict) for name in ("compiled", "data", "callbacks")):
        raise ValueError("compiled, data or callbacks")


def _others(file: WeightFile, model: TrainableModel, training: Training) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of all in the file beside the weights. The optimizer says those of its slots."""
    weights = model.weights
    slots = {
        f"{_SLOTS}{path}/{slot}": (array.shape, array.dtype.name)
        for path in model.trained_paths()
        if path in weights
        for slot, array in training.optimizer.slots(weights[path].shape, model.dtype).items()
    }
    found = {}
    for name, entry in file.header.tensors.items():
        if name in slots:
            found[name] = slots[name]
        elif name not in weights and name.startswith((_STATES, _SCORES, _CALLBACKS)):
            found[name] = (entry.shape, entry.dtype)
    return found


def _slots(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    slots: dict[str, dict[str, Array]] = {}
    for name, array in _under(tensors, _SLOTS).items():
        path, _, slot = name.rpartition("/")
        slots.setdefault(path, {})[slot] = array
    return slots


def _under(tensors: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _floats(array: Any) -> Array:
    found = np.asarray(array)
    return found if found.dtype.name in ("float32", "float64") else found.astype(np.float64)


def _taken_apart(value: Any, path: str, tensors: dict[str, Array]) -> Any:
    """A callback's state as JSON; its arrays go to ``tensors``, and their names stand for them."""
    if isinstance(value, np.ndarray):
        tensors[path.removesuffix("/")] = _floats(value)
        return {"array": path.removesuffix("/"), "dtype": value.dtype.name}
    if isinstance(value, Mapping):
        return {"dict": {str(key): _taken_apart(entry, f"{path}{key}/", tensors) for key, entry in value.items()}}
    return {"value": value}


def _put_together(told: Any, tensors: Mapping[str, Array]) -> Any:
    if "array" in told:
        return tensors[told["array"]].astype(told["dtype"])
    if "dict" in told:
        return {key: _put_together(entry, tensors) for key, entry in told["dict"].items()}
    return told["value"]
