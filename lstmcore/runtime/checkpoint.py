"""The state of a training as one file, from which it goes on as if it had never stopped, on whatever engine.

The file is a weight file (docs/weight-file.md) that also holds the optimizer's slots, the states of stateful
layers, the sums of losses and metrics, and what callbacks remember, the history among them; its metadata say the
step, the place in the data and the seed of all random numbers. It is replaced whole after so many steps: a process
killed at any instant leaves the last one.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, FileError, ForeignFileError, InputError, SpecError, WeightsMismatchError
from lstmcore.models.files import BESIDE_WEIGHTS, expected, unbuilt_description
from lstmcore.random import Stream
from lstmcore.runtime.training import Position, Training
from lstmcore.storage.atomic import replacing
from lstmcore.storage.lock import Taken, locked
from lstmcore.weights import WeightFile, write

if TYPE_CHECKING:
    from lstmcore.callbacks import CallbackList
    from lstmcore.models.training import TrainableModel

Array = NDArray[Any]
Arrays = Mapping[str, Array]

NAME = "checkpoint.safetensors"
HOLDS = "training"
_SLOTS, _STATES, _SCORES, _CALLBACKS = BESIDE_WEIGHTS
_SHOWN = 12
_MANY = 1 << 53
_UNFIT = (LookupError, TypeError, ValueError, AttributeError, RecursionError)  # what data of another kind raise


@dataclass
class Start:
    """Where a fit begins: an epoch, the batches of it that are done, and the scores over those."""

    epoch: int = 0
    done: int = 0
    scores: Arrays = field(default_factory=dict)


class Checkpoint:
    """The file in ``directory``, written after each epoch, and after every ``every`` steps where that is a number.

    ``data`` describes the data and how they are cut, so that a run goes on with no other.

    Raises:
        InputError: ``save_every`` is neither "epoch" nor a positive integer; ``directory`` is no path, or a file.
        OSError: the directory cannot be made.
    """

    def __init__(self, directory: Any, save_every: Any, data: Mapping[str, Any]) -> None:
        if save_every != "epoch" and (type(save_every) is not int or save_every < 1):
            raise InputError(f"save_every is {save_every!r}; expected 'epoch', or a number of steps")
        if not isinstance(directory, (str, os.PathLike)) or os.path.isfile(directory):
            raise InputError(f"checkpoint is {directory!r}; expected a directory, in which {NAME} is kept")
        self.directory = Path(directory)
        self.path = self.directory / NAME
        self.every = save_every
        self.data = dict(data)
        self.directory.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other trainings, of this process too, out of the directory. InputError where there is one already."""
        try:
            with locked(self.directory):
                for left in self.directory.glob(f".{NAME}.*.tmp"):  # by a writer that was killed
                    with suppress(OSError):
                        left.unlink()
                yield
        except Taken as who:
            raise InputError(
                f"another training writes its checkpoints to {self.directory} ({who}): wait for its end, or give "
                "another directory"
            ) from None

    def due(self, step: int) -> bool:
        """Whether to write after ``step`` steps."""
        return type(self.every) is int and step % self.every == 0

    def save(self, model: TrainableModel, training: Training, start: Start, callbacks: CallbackList) -> None:
        """Writes the file: the model, and how far training has come.

        Raises:
            SpecError: a callback's state holds what JSON, or float64, cannot.
            OSError: it cannot be written. The file that was there is whole.
        """
        remembered: dict[str, Array] = {}
        states = _taken_apart(callbacks.state(), "", remembered)
        slots = {name: current for name, (_, current) in _slots(model, training).items()}
        tensors: dict[str, Array] = dict(model.weights)
        for prefix, arrays in (
            (_SLOTS, slots),
            (_STATES, {**_no_states(model), **model.states}),
            (_SCORES, start.scores),
            (_CALLBACKS, remembered),
        ):
            for name, array in arrays.items():
                if tensors.setdefault(f"{prefix}{name}", array) is not array:
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
            "callbacks": states["dict"],
        }
        write(self.path, tensors, unbuilt_description(model), {"holds": HOLDS, HOLDS: _json(told)})

    def rewrite(self) -> None:
        """Writes the file again as it is: OSError where it could not be replaced, before there is any need to."""
        with open(self.path, "rb") as old, replacing(self.path) as new:
            shutil.copyfileobj(old, new)

    def load(self, model: TrainableModel, training: Training, callbacks: CallbackList) -> Start | None:
        """Puts model, training and callbacks where the file has them; None where there is no file.

        Raises:
            WeightsMismatchError: it is of another model, was compiled otherwise, or trained on other data.
            FileError: it is damaged, no checkpoint, or its callbacks' states are not those of the ones given.

        After an error, all are as before.
        """
        if not self.path.exists():
            return None
        with WeightFile.open(self.path) as file:
            told = _told(file)
            self._compare(model, training, told)
            weights, parts = expected(model), _parts(file, model, training)
            beside = {f"{prefix}{name}": entry for prefix, part in parts.items() for name, entry in part.items()}
            tensors = file.read({**weights, **beside})
            name = file.header.name
        held = {prefix: {short: tensors[f"{prefix}{short}"] for short in part} for prefix, part in parts.items()}
        _check_scores(model, training, told["done"], held[_SCORES], name)
        _restore(callbacks, told["callbacks"], held[_CALLBACKS], name)
        model.replace_weights({path: tensors[path] for path in weights})
        model.states = held[_STATES]
        training.slots = _by_path(held[_SLOTS])
        training.step, training.stopping = told["step"], told["stopped"]
        training.position = Position(**told["position"])
        training.stream = _stream(told)
        if told["learning_rate"] not in (None, training.optimizer.learning_rate):
            training.optimizer.learning_rate = told["learning_rate"]
        return Start(told["epoch"], told["done"], held[_SCORES])

    def _compare(self, model: TrainableModel, training: Training, told: Mapping[str, Any]) -> None:
        """WeightsMismatchError with all that differs between the run that wrote the file and this one."""
        pairs = (
            ("model", told["model"], json.loads(unbuilt_description(model))),
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
    """What the metadata say of the training, and under "model" of the model; FileError where they do not."""
    name, metadata = file.header.name, file.header.metadata
    if metadata.get("holds") != HOLDS:
        raise ForeignFileError(f"{name} holds no training, but {metadata.get('holds', 'the weights of a model')}")
    try:
        told = {**json.loads(metadata[HOLDS]), "model": json.loads(file.model)}
        _check(told)
    except _UNFIT as error:
        raise DamagedFileError(f"{name}: what it says of the training is damaged ({error}); begin anew") from None
    return told


def _check(told: Mapping[str, Any]) -> None:
    """Raises one of _UNFIT where something is not of its kind; all digests held, so this is no accident."""
    for name in ("position", "compiled", "data", "callbacks"):
        if type(told[name]) is not dict:
            raise ValueError(f"{name} is {told[name]!r}")
    if set(told["position"]) != set(asdict(Position())):
        raise ValueError(f"position is {told['position']}")
    numbers = {name: told[name] for name in ("step", "epoch", "done")} | told["position"]
    for name, number in numbers.items():
        if type(number) is not int or not 0 <= number < _MANY:
            raise ValueError(f"{name} is {number!r:.40}")
    _stream(told)
    rate = told["learning_rate"]
    if rate is not None and (type(rate) not in (int, float) or not 0 <= rate < math.inf):
        raise ValueError(f"learning_rate is {rate!r}")
    if type(told["stopped"]) is not bool:
        raise ValueError(f"stopped is {told['stopped']!r}")


def _stream(told: Mapping[str, Any]) -> Stream:
    seed, *ids = told["stream"]
    return Stream(seed, tuple(ids))


def _parts(
    file: WeightFile, model: TrainableModel, training: Training
) -> dict[str, dict[str, tuple[tuple[int, ...], str]]]:
    """Shape and dtype of all that the file should hold beside the weights, by prefix and name.

    The optimizer and the model say those of the slots and states. Those of scores and callbacks are the file's word,
    and checked once they are read.
    """
    weights = model.weights
    slots = {name: (shape, model.dtype) for name, (shape, _) in _slots(model, training).items()}
    states = {name: (array.shape, array.dtype.name) for name, array in _no_states(model).items()}
    found = {_SLOTS: slots, _STATES: states, _SCORES: {}, _CALLBACKS: {}}
    known = {*weights, *(f"{_SLOTS}{name}" for name in slots), *(f"{_STATES}{name}" for name in states)}
    for name, entry in file.header.tensors.items():
        for prefix in (_SCORES, _CALLBACKS):
            if name not in known and name.startswith(prefix):
                found[prefix][name.removeprefix(prefix)] = (entry.shape, entry.dtype)
    return found


def _slots(model: TrainableModel, training: Training) -> dict[str, tuple[tuple[int, ...], Array]]:
    """The shape and the numbers of every slot, ``weight/slot``; as at the start where no step was made yet."""
    starts = training.optimizer.slots((), model.dtype)
    weights = model.every_path()
    return {
        f"{path}/{slot}": (
            weights[path].shape,
            training.slots.get(path, {}).get(slot, np.broadcast_to(start, weights[path].shape)),
        )
        for path in model.trained_paths()
        for slot, start in starts.items()
    }


def _by_path(slots: Arrays) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for name, array in slots.items():
        path, _, slot = name.rpartition("/")
        found.setdefault(path, {})[slot] = array
    return found


def _no_states(model: TrainableModel) -> dict[str, Array]:
    """The states of stateful layers as they start."""
    program = model.program
    shapes = {carry.name: program.values[carry.before].shape for carry in program.carries if carry.stateful}
    return {name: np.zeros([n or 0 for n in shape], model.dtype) for name, shape in shapes.items()}


def _check_scores(model: TrainableModel, training: Training, done: int, scores: Arrays, name: str) -> None:
    try:
        if done:
            training.scores(model).restore(scores)
        elif scores:
            raise SpecError(f"it holds the {', '.join(scores)} of an epoch that has not begun")
    except SpecError as error:
        raise DamagedFileError(f"{name}: {error}; begin anew") from None


def _restore(callbacks: CallbackList, told: Any, arrays: Arrays, name: str) -> None:
    """Gives all callbacks their states, or none."""
    before = [(callback, dict(vars(callback))) for callback in callbacks]
    try:
        callbacks.restore(_put_together({"dict": told}, arrays))
    except BaseException as error:
        for callback, attributes in before:
            vars(callback).clear()
            vars(callback).update(attributes)
        if isinstance(error, _UNFIT):
            raise FileError(
                f"{name}: what it holds of the callbacks does not fit those given ({error}); give those that the "
                "training was begun with, or another directory"
            ) from error
        raise


def _taken_apart(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """A callback's state as JSON; its arrays go to ``arrays``, and their names stand for them."""
    name = path.removesuffix("/")
    if isinstance(value, np.ndarray):
        arrays[name] = _floats(value, name)
        return {"array": name, "dtype": value.dtype.name}
    if isinstance(value, Mapping):
        return {"dict": {str(key): _taken_apart(entry, f"{path}{key}/", arrays) for key, entry in value.items()}}
    return {"value": value.item() if isinstance(value, np.generic) else value}


def _put_together(told: Any, arrays: Arrays) -> Any:
    """What `_taken_apart` took apart; raises one of _UNFIT where ``told`` is nothing of the kind."""
    ((kind, held),) = ((kind, held) for kind, held in told.items() if kind != "dtype")
    if kind == "dict":
        return {key: _put_together(entry, arrays) for key, entry in held.items()}
    if kind == "array":
        return arrays[held].astype(_number_type(told["dtype"]))
    return {"value": held}[kind]


def _number_type(name: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(name)
    if dtype.kind not in "fiub":
        raise ValueError(f"an array of {name!r}")
    return dtype


def _floats(array: Array, name: str) -> Array:
    """The numbers as the file can hold them, all of them exactly."""
    if array.dtype.name in ("float32", "float64"):
        return array
    wide = array.dtype.kind in "iu" and array.size > 0 and max(abs(int(array.min())), int(array.max())) > _MANY
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8 or wide:
        raise SpecError(
            f"the state of callback {name} is an array of {array.dtype}, {array!r:.60}, which a checkpoint cannot "
            "hold; expected numbers that float64 holds exactly"
        )
    return array.astype(np.float64)


def _json(told: Mapping[str, Any]) -> str:
    try:
        return json.dumps(told)
    except (TypeError, ValueError) as error:
        raise SpecError(f"the states of the callbacks hold what is neither JSON nor an array: {error}") from None
