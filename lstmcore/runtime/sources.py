"""Where batches come from: arrays, cut and shuffled here, or anything that yields them; and places in the data."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from lstmcore.errors import InputError
from lstmcore.random import Stream
from lstmcore.runtime.data import Batch
from lstmcore.runtime.training import Position

TOGETHER = 8  # batches that are made ready in a row
BYTES = 32 << 20  # that they may take
AHEAD = 2  # batches that a thread makes ready before they are asked for
PATIENCE = 5.0  # seconds to wait, at the end, for a batch that nobody needs any more


Make = Callable[[Batch], Batch]


class Source(Protocol):
    """Data that can be passed over, batch by batch.

    ``batches`` is how many a pass has, None where only the end tells; ``replays``: whether a pass can start anew;
    ``endless``: whether it says that a pass has no end.
    """

    batches: int | None
    replays: bool
    endless: bool

    def passing(self, number: int, skip: int, limit: int | None, make: Make | None = None) -> Iterator[Batch]:
        """Pass ``number`` from its batch ``skip`` on; no more than ``limit`` will be asked for.

        ``make`` is called on each, ahead.
        """


class Arrays:
    """Whole arrays in batches of ``size``, the last one perhaps smaller.

    ``shuffled`` gives the random numbers of each pass' order, and is asked anew for each: a checkpoint that is loaded
    in between has others. None: the samples stay in their order.
    """

    replays = True
    endless = False

    def __init__(self, whole: Batch, size: int, shuffled: Callable[[], Stream] | None = None) -> None:
        self.whole = whole
        self.size = size
        self.shuffled = shuffled
        self.batches: int | None = -(-whole.size // size)

    def passing(self, number: int, skip: int, limit: int | None, make: Make | None = None) -> Iterator[Batch]:
        batches = islice(self._pass(number, skip), limit)
        return batches if make is None else together(map(make, batches))

    def _pass(self, number: int, skip: int) -> Iterator[Batch]:
        order = None
        if self.shuffled is not None:
            order = self.shuffled().child("epoch", number).permutation(self.whole.size)
        for start in range(skip * self.size, self.whole.size, self.size):
            rows = slice(start, start + self.size)
            yield self.whole.take(rows if order is None else order[rows])


class Batches:
    """What yields batches by itself, and is asked for them in a thread, a few ahead.

    An object with ``__len__`` and ``__getitem__`` alone is read by index. An iterator cannot start anew. Where there
    are ``on_epoch_begin`` and ``on_epoch_end``, as a PyDataset of Keras has, they are called around each pass.
    """

    def __init__(self, data: Any, read: Callable[[Any], Batch]) -> None:
        self.source = data
        self.data = data if isinstance(data, Iterable) else _Indexed(data)
        self.read = read
        self.replays = not hasattr(self.data, "__next__")
        self.batches: int | None = _length(self.data)
        self.endless = self.batches is None and _cardinality(self.data) == -1

    def passing(self, number: int, skip: int, limit: int | None, make: Make | None = None) -> Iterator[Batch]:
        elements = islice(self._pass(), skip, None if limit is None else skip + limit)
        batches = map(self.read, elements)
        return ahead(batches if make is None else map(make, batches))

    def _pass(self) -> Iterator[Any]:
        if self.replays:
            _tell(self.source, "on_epoch_begin")
        for element in self.data:  # noqa: UP028  "yield from" would close the user's generator with this one
            yield element
        if self.replays:
            _tell(self.source, "on_epoch_end")


class _Indexed:
    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return (self.data[k] for k in range(len(self.data)))


def _length(data: Any) -> int | None:
    """How many batches it says it has; data sets of unknown or endless length raise TypeError, or say less than 0."""
    if not hasattr(data, "__len__"):
        return None
    try:
        count = len(data)
    except TypeError:
        return None
    return count if count >= 0 else None


def _cardinality(data: Any) -> int | None:
    """What a data set of TensorFlow says of its length: -1 where it has no end."""
    cardinality = getattr(data, "cardinality", None)
    return int(cardinality()) if callable(cardinality) else None


def _tell(data: Any, hook: str) -> None:
    method = getattr(data, hook, None)
    if callable(method):
        method()


def ahead(items: Iterator[Batch]) -> Iterator[Batch]:
    """The same items, made by a thread up to `AHEAD` before they are asked for; errors arrive in their place."""
    ready: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(AHEAD)
    enough = threading.Event()

    def put(item: Batch | None, error: BaseException | None = None) -> None:
        while not enough.is_set():
            try:
                ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if enough.is_set():
                    return
            put(None)
        except BaseException as error:  # whatever the user's code raises is raised where the batch is asked for
            put(None, error)

    thread = threading.Thread(target=work, name="lstmcore batches", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        enough.set()
        thread.join(timeout=PATIENCE)


def together(items: Iterator[Batch]) -> Iterator[Batch]:
    """The same items, made several in a row: between the steps of training each would find cold caches."""
    while first := next(items, None):
        yield from [first, *islice(items, min(TOGETHER, BYTES // max(first.bytes, 1)))]


class Feed:
    """Batches for epoch after epoch, and the place in the data that training has come to.

    An epoch is a pass over the data, or ``steps`` batches: these go on from pass to pass. Before each pass, ``maker``
    gives what is to be made of its batches, ahead.
    """

    maker: Callable[[], Make] | None = None

    def __init__(self, source: Source, steps: int | None) -> None:
        if source.endless and steps is None:
            raise InputError(
                "the data set repeats for ever; give the number of batches: steps_per_epoch, validation_steps or steps"
            )
        self.source = source
        self.steps = steps
        self.position = Position()
        self.ended = False  # the data ended where more were expected
        self._open: Iterator[Batch] | None = None
        self._begun = False

    @property
    def batches(self) -> int | None:
        """How many batches an epoch has, where it is known."""
        return self.steps or self.source.batches

    def epoch(self, done: int = 0, limit: int | None = None) -> Iterator[Batch]:
        """The batches of an epoch after the first ``done``; the feed needs at most ``limit`` more in all."""
        while self.steps is None or done < self.steps:
            batch = next(self._iterator(limit), None)
            if batch is None:
                empty = not self.position.offset
                self.ended = empty or (self.steps is not None and not self.source.replays)
                if self.ended:
                    return
                self._turn()
                if self.steps is None:
                    return
                continue
            done += 1
            self.position = replace(self.position, offset=self.position.offset + 1, consumed=self.position.consumed + 1)
            yield batch

    def _iterator(self, limit: int | None) -> Iterator[Batch]:
        if self._open is None:
            place = self.position
            skip = place.offset if self.source.replays else 0 if self._begun else place.consumed
            self._begun = True
            make = None if self.maker is None else self.maker()
            self._open = self.source.passing(place.passes, skip, limit, make)
        return self._open

    def _turn(self) -> None:
        """The pass is over; the next begins."""
        self.close()
        self.position = replace(self.position, passes=self.position.passes + 1, offset=0)

    def rewind(self) -> None:
        """Begins anew, where the data can; others go on."""
        if self.source.replays:
            self.position = Position()

    def close(self) -> None:
        """Lets go of the data. The place in them stays."""
        close = getattr(self._open, "close", None)
        if close is not None:
            close()
        self._open = None
