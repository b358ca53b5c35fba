"""Compiled epochs that trainings with the same tasks and shapes share."""

from collections import OrderedDict
from collections.abc import Hashable

import jax
import jax.numpy as jnp

from mtl.engine import batches
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import compile_epoch
from mtl.engine.streams import Stream
from mtl.engine.training import Training


class ProgramCache:
    """Keeps the compiled epochs that were used last.

    Loss weights, learning rates, keys and data are inputs of a program, so trainings
    that differ in these alone share one.

    Args:
      most: how many epochs are kept. On a CPU, each compiled program takes hundreds of
        the 65,530 pieces of memory that Linux lets a process map.
    """

    def __init__(self, most: int):
        self._most = most
        self._epochs: OrderedDict[Hashable, CompiledEpoch] = OrderedDict()

    def __len__(self) -> int:
        return len(self._epochs)

    def get(self, training: Training, static: Hashable) -> CompiledEpoch:
        """Returns the epoch of an earlier training like this one, or a new one.

        Args:
          training: arrays of the same shapes, and room for as many rows of each task,
            are alike. A stream shares no program.
          static: trainings with the same value have the same tasks and optimizer.
        """
        t = training
        if isinstance(t.data, Stream):
            return compile_epoch(t)
        shapes = jax.tree.map(lambda a: (a.shape, str(a.dtype)), (t.data, t.params))
        given = t.tasks, t.data, t.batch_size
        key = (
            *(static, str(shapes), t.mesh, t.shard_data, jax.default_backend()),
            *(batches.max_rows_per_batch(*given), batches.never_empty(*given)),
            jnp.result_type(float),
        )
        if key not in self._epochs:
            self._epochs[key] = compile_epoch(t)
        self._epochs.move_to_end(key)
        if len(self._epochs) > self._most:
            self._epochs.popitem(last=False)
        return self._epochs[key]
