"""TensorBoard's event files, written with tensorboardX.

Scalars and histograms are written as TensorFlow 2 does: tensors, with the name of the plugin that shows them. Steps
that come again after an interruption are taken out of the files that are there.
"""

from __future__ import annotations

import itertools
import os
import struct
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.storage.atomic import replacing

BUCKETS = 30
SUFFIX = ".lstmcore"
_LENGTH, _CHECKS = 8, 4  # a record: its length, a checksum of that, the bytes, a checksum of these
_counter = itertools.count()


def require() -> None:
    """ImportError says what to install."""
    if find_spec("tensorboardX") is None:
        raise ImportError(
            "TensorBoard writes its files with tensorboardX, which is not installed: "
            "pip install 'lstmcore[tensorboard]' (to look at them: pip install tensorboard)"
        )


class EventFile:
    """A new event file in a directory, which is made where there is none."""

    def __init__(self, directory: str) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        os.makedirs(directory, exist_ok=True)
        suffix = f".{os.getpid()}.{next(_counter)}{SUFFIX}"
        self._writer = EventsWriter(os.path.join(directory, "events"), filename_suffix=suffix)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One number, in float32."""
        from tensorboardX.proto.tensor_pb2 import TensorProto

        self._write(tag, "scalars", TensorProto(dtype="DT_FLOAT", float_val=[value], tensor_shape={}), step)

    def histogram(self, tag: str, values: NDArray[Any], step: int) -> None:
        """How the values are spread, in `BUCKETS` buckets: rows of left edge, right edge, count."""
        from tensorboardX.proto.tensor_pb2 import TensorProto

        rows = buckets(values)
        shape = {"dim": [{"size": size} for size in rows.shape]}
        tensor = TensorProto(dtype="DT_DOUBLE", double_val=rows.ravel().tolist(), tensor_shape=shape)
        self._write(tag, "histograms", tensor, step)

    def model(self, config: str) -> None:
        """A model's JSON, which TensorBoard draws as a graph of layers."""
        from tensorboardX.proto.tensor_pb2 import TensorProto

        tensor = TensorProto(dtype="DT_STRING", string_val=[config.encode("utf-8")], tensor_shape={})
        self._write("keras", "graph_keras_model", tensor, 0, b"1")

    def _write(self, tag: str, plugin: str, tensor: Any, step: int, content: bytes = b"") -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

        data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
        value = Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=data))
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))

    def flush(self) -> None:
        """Puts all that was written into the file."""
        self._writer.flush()

    def close(self) -> None:
        """No more will be written."""
        self._writer.close()


def buckets(values: NDArray[Any]) -> NDArray[np.float64]:
    """(buckets, 3): left edge, right edge, count; of one value alone, all edges are that value."""
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return np.zeros((BUCKETS, 3))
    low, high = flat.min(), flat.max()
    if low == high:
        counts = np.zeros(BUCKETS)
        counts[-1] = flat.size
        return np.stack([np.full(BUCKETS, low), np.full(BUCKETS, low), counts], axis=1)
    counts, edges = np.histogram(flat, BUCKETS, (low, high))
    return np.stack([edges[:-1], edges[1:], counts], axis=1)


def forget(directory: str, is_kept: Callable[[str, int], bool]) -> None:
    """Takes out of a directory's files, those written here, the values whose (tag, step) are not kept.

    A record that a killed run left half written goes, too.
    """
    from tensorboardX.proto.event_pb2 import Event

    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for name in names:
        if not name.endswith(SUFFIX):
            continue
        path = os.path.join(directory, name)
        with open(path, "rb") as file:
            data = file.read()
        kept = b""
        for record, event in _records(data):
            if all(is_kept(value.tag, Event.FromString(event).step) for value in Event.FromString(event).summary.value):
                kept += record
        if kept != data:
            with replacing(path) as file:
                file.write(kept)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The whole records, and what is in each."""
    place = 0
    while place + _LENGTH <= len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        inside = place + _LENGTH + _CHECKS
        end = inside + size + _CHECKS
        if end > len(data):
            return
        yield data[place:end], data[inside : inside + size]
        place = end
