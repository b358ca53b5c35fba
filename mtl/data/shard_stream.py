"""A stream of system 1: all labelled images, and the next unlabelled ones of `Shards`.

The unlabelled rows are in blocks of `BLOCK_ROWS`, as they lie in the files. Each pass
through them takes the blocks in another random order; a chunk takes as many rows as
fit, and the next chunk continues there. The engine shuffles the rows of a chunk. So the
rows of a block are in the same chunk, or in two; a shuffle of all rows would part them.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from mtl.data.shards import Shards
from mtl.host.errors import ConfigError

BLOCK_ROWS = 1024
UNIT = np.arange(256, dtype=np.float32) / 255


class LazyRows:
    """Images [rows, D] in [0, 1]; a slice of them is read when it is asked for.

    Args:
      first: the first images, which are in memory.
      shards: hold all others.
      rows: the numbers of these in `shards`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, first: np.ndarray, shards: Shards, rows: np.ndarray):
        self._first, self._shards, self._rows = first, shards, rows
        self.shape = len(first) + len(rows), math.prod(shards.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Float[Array, "part inputs"]:
        """The images of consecutive rows, on the device.

        Raises:
          DataError: a file holds other numbers than images.
        """
        start, stop, _ = part.indices(len(self))
        known = len(self._first)
        rows = self._rows[max(start - known, 0) : max(stop - known, 0)]
        x = np.concatenate([self._first[start:stop], self._shards[rows]])
        return as_unit(x.reshape(len(x), self.shape[1]))


class ShardStream:
    """Chunks of "image" float32 [rows, D] and "label" int32 [rows]; `streams.Stream`.

    Args:
      shards: hold all images.
      chosen: the numbers of the rows to train on; those with a label come first.
      y: int32, labels of these, -1 for "no label".
      rows: of a chunk; more than the labelled rows, fewer than all.
      seed: of the orders of the blocks.
      lazy: whether "image" of a chunk is a `LazyRows`, and not an array.

    Attributes:
      label: of all rows that are trained on, in the order of `chosen`.
      passes: chunks -> how often each unlabelled row is read in so many chunks.
    """

    def __init__(
        self,
        shards: Shards,
        chosen: np.ndarray,
        y: np.ndarray,
        rows: int,
        seed: int,
        lazy: bool = False,
    ):
        labelled = int((y >= 0).sum())
        self._shards, self._seed, self.label = shards, seed, y
        self._lazy = lazy
        self._labelled = shards[chosen[:labelled]]
        self._unlabelled = chosen[labelled:]
        self._fresh = rows - labelled
        # The places in `_unlabelled` in the order of the files, and where blocks begin.
        self._by_row = np.argsort(self._unlabelled)
        cuts = _block_starts(shards)
        edges = np.searchsorted(self._unlabelled, cuts, sorter=self._by_row)
        self._edges = np.unique([*edges, len(self._by_row)])

    def chunk(self, epoch: int) -> dict[str, Any]:
        """All labelled rows, and unlabelled ones in the order of `chosen`.

        Raises:
          DataError: a file holds other numbers than images.
        """
        rows = self._unlabelled[np.sort(self._places(epoch))]
        image = LazyRows(self._labelled, self._shards, rows)
        y = self.label[: len(image)]  # Those of unlabelled rows are all alike.
        return {"image": image if self._lazy else image[:], "label": jnp.asarray(y)}

    def passes(self, chunks: int) -> float:
        """How often so many chunks hold each unlabelled row, on average."""
        return chunks * self._fresh / len(self._unlabelled)

    def _places(self, epoch: int) -> np.ndarray:
        """Places in `_unlabelled` of a chunk, which may be of two passes."""
        number, start = divmod(epoch * self._fresh, len(self._unlabelled))
        found = self._of_pass(number, start, self._fresh)
        rest = self._fresh - len(found)
        return np.concatenate([found, self._of_pass(number + 1, 0, rest)])

    def _of_pass(self, number: int, start: int, count: int) -> np.ndarray:
        """The `count` places of one pass from a start on, fewer if it ends before."""
        rng = np.random.default_rng((self._seed, number))
        blocks = rng.permutation(len(self._edges) - 1)
        ends = np.cumsum(np.diff(self._edges)[blocks])
        first, last = np.searchsorted(ends, [start, start + count - 1], "right")
        used = blocks[first : last + 1]
        places = [self._by_row[self._edges[b] : self._edges[b + 1]] for b in used]
        start -= ends[first - 1] if first else 0
        return np.concatenate([self._by_row[:0], *places])[start:][:count]


def make(
    shards: Shards,
    chosen: np.ndarray,
    y: np.ndarray,
    rows: int,
    seed: int,
    lazy: bool = False,
) -> dict[str, Any] | ShardStream:
    """A stream of the chosen rows, or arrays if all of them fit into a chunk.

    See `ShardStream` for the arguments.

    Raises:
      ConfigError: the labelled rows leave no room for others in a chunk.
      DataError: a file holds other numbers than images.
    """
    if len(chosen) <= rows:
        image = LazyRows(shards[chosen[:0]], shards, chosen)
        return {"image": image if lazy else image[:], "label": jnp.asarray(y)}
    labelled = int((y >= 0).sum())
    if labelled >= rows:
        raise ConfigError(
            f"data.chunk_rows={rows} must be above {labelled}, the labelled images "
            "that each chunk holds; raise it, or lower data.labelled"
        )
    return ShardStream(shards, chosen, y, rows, seed, lazy)


def _block_starts(shards: Shards) -> np.ndarray:
    """The first row of each block; no block has rows of two files."""
    stops = [*shards.starts[1:], len(shards)]
    pairs = zip(shards.starts, stops, strict=True)
    return np.concatenate([np.arange(a, b, BLOCK_ROWS) for a, b in pairs])


@jax.jit
def _looked_up(
    x: UInt8[Array, "rows inputs"], table: Float[Array, "256"]
) -> Float[Array, "rows inputs"]:
    return table.at[x].get(mode="promise_in_bounds")


def as_unit(x: np.ndarray) -> Array:
    """Images on the device, float32 in [0, 1]; bytes become floats there.

    A table has the quotients, so that they are those of `readers.unit`: XLA multiplies
    by 1 / 255, which rounds to other numbers.
    """
    return _looked_up(x, UNIT) if x.dtype == np.uint8 else jnp.asarray(x)
