"""Training data, checked: inputs, targets and weights that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import tree
from lstmcore.errors import InputError
from lstmcore.runtime.feed import feed

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Inputs by the program's names; a target and a weight (None: all count alike) for each output trained on.

    ``prepared`` is what training made of it ahead, if it did: a `trainer.Prepared`.
    """

    inputs: dict[str, Array]
    targets: list[Array]
    weights: list[Array | None]
    prepared: Any = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """The number of samples."""
        return int(next(iter(self.inputs.values())).shape[0])

    @property
    def bytes(self) -> int:
        """How large the arrays are."""
        arrays = (*self.inputs.values(), *self.targets, *(w for w in self.weights if w is not None))
        return sum(array.nbytes for array in arrays)

    def take(self, rows: Any) -> Batch:
        """The samples of these rows."""
        return Batch(
            {name: array[rows] for name, array in self.inputs.items()},
            [y[rows] for y in self.targets],
            [None if w is None else w[rows] for w in self.weights],
        )


def read(model: BaseModel, x: Any, y: Any, sample_weight: Any, classes: Mapping[str, int | None], dtype: str) -> Batch:
    """All data as one batch, checked; InputError for what does not fit together.

    ``classes`` says for each output that is trained on how many classes its targets number, or None where they are
    any numbers.
    """
    trained = list(classes)
    inputs = feed(model.program, model._by_input(x), dtype)
    samples = next(iter(inputs.values())).shape[0]
    targets = [_numbers(entry, f"target {k}", dtype) for k, entry in enumerate(_each(model, y, trained, "targets"))]
    targets = [
        array if count is None else _numbered(array, f"target {k}", count)
        for k, (array, count) in enumerate(zip(targets, classes.values(), strict=True))
    ]
    weights: list[Array | None] = [None] * len(trained)
    if sample_weight is not None:
        given = _each(model, sample_weight, trained, "sample weights")
        weights = [None if w is None else _weights(w, k, dtype) for k, w in enumerate(given)]
    for what, arrays in (("targets", targets), ("sample weights", [w for w in weights if w is not None])):
        for k, array in enumerate(arrays):
            if array.shape[:1] != (samples,):
                raise InputError(f"{what} {k} have shape {array.shape}; the inputs hold {samples} samples")
    return Batch(inputs, targets, weights)


def _each(model: BaseModel, given: Any, trained: Sequence[str], what: str) -> list[Any]:
    """One entry for each output that is trained on; those of the others are left out."""
    names = model.output_names
    if isinstance(given, Mapping):
        entries = _named(model, given, what)
        if not set(trained) <= set(entries):
            raise InputError(f"{what} given for {_listed(entries)}; the model trains on {_listed(trained)}")
        return [entries[name] for name in trained]
    if isinstance(given, (list, tuple)):
        if len(names) == 1:
            alone = len(given) == 1 and hasattr(given[0], "__array__") and np.ndim(given[0]) > 0
            return [given[0] if alone else given]
        if len(given) == len(names):
            return [entry for name, entry in zip(names, given, strict=True) if name in trained]
        if len(given) == len(trained) > 1:
            return list(given)
    if len(trained) > 1:
        count = len(given) if isinstance(given, (list, tuple)) else 1
        raise InputError(f"{count} {what} given; the model trains on {len(trained)}: {_listed(trained)}")
    return [given]


def _named(model: BaseModel, given: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """By the outputs' names; given by these, or in the structure of dicts that the model returns."""
    names = model.output_names
    if set(given) <= set(names):
        return dict(given)
    if not tree.alike(model.arrange(names), given):
        raise InputError(f"{what} given for {_listed(map(str, given))}; the model's outputs are {_listed(names)}")
    return dict(zip(names, tree.leaves(given), strict=True))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _numbers(given: Any, what: str, dtype: str) -> Array:
    if given is None:
        raise InputError(f"there is no {what}: fit(x, y) takes the targets as y")
    array = np.asarray(given)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise InputError(
            f"{what} is {array.dtype} of shape {array.shape}; expected an array of numbers, a row a sample"
        )
    if array.dtype.kind != "f" and int(array.min(initial=0)) >= -(2**31) and int(array.max(initial=0)) < 2**31:
        return np.ascontiguousarray(array, np.int32)
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, np.dtype(dtype))
    if np.isinf(cast).sum() > np.isinf(array).sum():
        raise InputError(f"{what} holds numbers that {dtype} cannot; scale them, or build layers with dtype='float64'")
    return cast


def _numbered(array: Array, what: str, count: int) -> Array:
    """The numbers of classes, 0 to ``count`` - 1, as integers."""
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        raise InputError(f"{what} holds {array.dtype} numbers that are no classes; expected integers")
    wrong = (array < 0) | (array >= count)
    if wrong.any():
        raise InputError(f"{what} holds the class {array[wrong][0]:g}; the output has classes 0 to {count - 1}")
    return array.astype(np.int32)


def _weights(given: Any, k: int, dtype: str) -> Array:
    array = np.asarray(given)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise InputError(
            f"sample weights {k} are {array.dtype} of shape {array.shape}; expected numbers, a row a sample"
        )
    return np.ascontiguousarray(array, np.dtype(dtype))


def class_weights(batch: Batch, given: Any, numbered: bool, dtype: str) -> Batch:
    """The batch with a weight for each sample, or step, by its class; a class that ``given`` does not name has 1.

    Classes are the targets themselves where the loss takes them ``numbered``. Else each is the largest of a row
    (one-hot), or 0 and 1 in a row of one. InputError where there are several outputs, or sample weights too.
    """
    if not isinstance(given, Mapping) or not all(isinstance(n, (int, np.integer)) for n in given):
        raise InputError(f"class_weight is {given!r}; expected a dict from class numbers to weights")
    if len(batch.targets) != 1:
        raise InputError(f"class_weight is for one output; this model trains on {len(batch.targets)}")
    if batch.weights[0] is not None:
        raise InputError("class_weight and sample_weight are both given; multiply them into sample_weight")
    y = batch.targets[0]
    rows = y.ndim > 1 and y.shape[-1] > 1
    labels = y if numbered else y.argmax(-1) if rows else np.rint(y)
    labels = labels[..., 0] if y.ndim > 1 and y.shape[-1] == 1 else labels
    weights = np.ones(labels.shape, dtype)
    for number, weight in given.items():
        weights[labels == number] = weight
    return Batch(batch.inputs, batch.targets, [weights])


def unpacked(element: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample weights) from what an iterable of batches yields: x, (x,), (x, y) or (x, y, sample weights)."""
    if not isinstance(element, (list, tuple)):
        return element, None, None
    if not 1 <= len(element) <= 3:
        raise InputError(f"the data yield {len(element)} things a batch; expected (x, y) or (x, y, sample_weight)")
    return (*element, None, None)[:3]


def comes_in_batches(x: Any) -> bool:
    """Whether data come batch by batch: a generator, a loader, a data set of an engine; not arrays."""
    if isinstance(x, (np.ndarray, list, tuple, Mapping, str, bytes, bytearray, memoryview)) or hasattr(x, "__array__"):
        return False
    return isinstance(x, Iterable) or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def split(whole: Batch, share: float) -> tuple[Batch, Batch]:
    """The first samples, and the last ``share`` of them, as Keras splits."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise InputError(f"validation_split is {share!r}; expected a number between 0 and 1")
    cut = int(whole.size * (1 - share))
    if cut in (0, whole.size):
        raise InputError(f"validation_split {share} of {whole.size} samples leaves none for one of the parts")
    return whole.take(slice(0, cut)), whole.take(slice(cut, None))
