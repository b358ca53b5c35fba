"""Training data that does not fit into memory: a stream has a chunk for each epoch.

An epoch trains one chunk, exactly as it trains arrays. Meanwhile a thread reads the
next chunk and puts it on the device. A chunk depends on the number of its epoch alone,
so a resumed run needs no state of the stream.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import jax

from mtl.engine import sharding, split_rows
from mtl.engine.engine import Engine
from mtl.engine.task import Data


@runtime_checkable
class Stream(Protocol):
    """Training data in place of arrays; see `training.Training.data`."""

    def chunk(self, epoch: int) -> Data:
        """The rows of an epoch: fields [rows, ...], as NumPy or JAX arrays.

        With `Training.shard_data`, a field of more than one number a row needs only
        `shape`, `dtype`, `len` and rows for a slice, and is asked for the rows of this
        process's devices alone.

        All chunks have the same fields, shapes and types. Their arrays do not change
        after the call. Calls come from one thread, which is not the main one; after a
        resume, the first call has the number of a later epoch.

        Args:
          epoch: from 0.
        """


class Indexed:
    """A stream of anything with `dataset[epoch]`, such as a batched grain.MapDataset.

    Args:
      dataset: `dataset[epoch]` is a chunk.
    """

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def chunk(self, epoch: int) -> Data:
        """See `Stream`."""
        return self._dataset[epoch]


class Replayed:
    """A stream of an iterator, which a resumed run passes through from its start.

    Args:
      start: gives an iterator of chunks, the same ones at each call.
    """

    def __init__(self, start: Callable[[], Iterator[Data]]):
        self._start = start
        self._chunks, self._next = start(), 0

    def chunk(self, epoch: int) -> Data:
        """See `Stream`.

        Raises:
          ValueError: the iterator ended before this epoch.
        """
        if epoch < self._next:
            self._chunks, self._next = self._start(), 0
        wanted = itertools.islice(self._chunks, epoch - self._next, None)
        self._next = epoch + 1
        for chunk in wanted:
            return chunk
        raise ValueError(
            f"the iterator ended before epoch {epoch + 1}; let it start again, or "
            "train fewer epochs"
        )


class Chunks(contextlib.AbstractContextManager["Chunks"]):
    """The data of each epoch on the devices, and the engine for it; a context manager.

    Args:
      data: arrays on the devices, or a stream.
      engine: of the training; that of arrays fits them already.
      epochs: how many there are.
      shard_data: whether the rows of a chunk are split over the engine's mesh.
    """

    def __init__(
        self,
        data: Data | Stream,
        engine: Engine,
        epochs: int,
        shard_data: bool = False,
    ):
        self._data, self._engine, self._epochs = data, engine, epochs
        self._shard_data = shard_data
        self._shapes: dict[str, Any] = {}
        self._ahead: dict[int, Future[tuple[Data, Engine]]] = {}
        self._reader = ThreadPoolExecutor(1, "chunks")

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def get(self, epoch: int) -> tuple[Data, Engine]:
        """The data of an epoch, and the engine for them; starts to read the next ones.

        Raises:
          ValueError: the fields of a chunk are not those of the first one.
          Exception: the stream raised it.
        """
        if not isinstance(self._data, Stream):
            return self._data, self._engine
        for number in (epoch, epoch + 1):
            if number not in self._ahead and number < self._epochs:
                self._ahead[number] = self._reader.submit(self._read, number)
        return self._ahead.pop(epoch).result()

    def _read(self, epoch: int) -> tuple[Data, Engine]:
        assert isinstance(self._data, Stream)
        chunk, mesh = dict(self._data.chunk(epoch)), self._engine.spec.mesh
        check_fields(chunk, f"chunk {epoch}")
        if not self._shard_data:
            chunk = sharding.replicate(jax.device_put(chunk), mesh)
        shapes = {name: (x.shape, x.dtype.name) for name, x in chunk.items()}
        self._shapes = self._shapes or shapes
        if shapes != self._shapes:
            raise ValueError(
                f"chunk {epoch} of the stream has {shapes}, but the first one had "
                f"{self._shapes}; all must have the same fields, shapes and types"
            )
        engine = self._engine.for_data(chunk)
        if self._shard_data:
            # Not before: to count the rows of a task, processes would exchange them,
            # while the main thread exchanges those of the former chunk.
            return split_rows.place(chunk, mesh), engine
        return chunk, engine


def check_fields(data: Data, name: str = "data") -> None:
    """Refuses fields that are no arrays with a row for each example.

    Raises:
      ValueError: names the field.
    """
    nested = [name for name, field in data.items() if not hasattr(field, "__len__")]
    nested += [name for name, field in data.items() if isinstance(field, dict)]
    if nested:
        raise ValueError(
            f"{name}[{nested[0]!r}] must be an array with one row an example; {name} "
            "is a flat dict of arrays"
        )
    rows = {field: len(values) for field, values in data.items()}
    if len(set(rows.values())) != 1:
        raise ValueError(
            f"the fields of {name} must have equally many rows, not {rows}"
        )
