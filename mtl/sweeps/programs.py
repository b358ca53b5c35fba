"""Compiled programs that the runs of a sweep share."""

import json
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from mtl.engine import batches
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import compile_epoch
from mtl.engine.streams import Stream
from mtl.engine.training import Training

# On a CPU, each compiled program takes hundreds of the 65,530 pieces of memory that
# Linux lets a process map.
MOST = 8


class SharedPrograms:
    """Gives the same compiled epochs to trainings that differ only in their data.

    Args:
      data_fields: fields of the config, such as "seed", that change neither the tasks
        nor the optimizer, but arrays alone. Two such arrays have the same shape and
        as many rows for each task, or the trainings have programs of their own.
    """

    def __init__(self, data_fields: Sequence[str]):
        self._data_fields = data_fields
        self._made: dict[str, CompiledEpoch] = {}

    def of(self, config: ConfigDict) -> Callable[[Training], CompiledEpoch]:
        """Returns the function from the training of a config to its compiled epochs."""
        alike = ConfigDict(config.to_dict())
        with alike.ignore_type():
            alike.update_from_flattened_dict(dict.fromkeys(self._data_fields))

        def programs(training: Training) -> CompiledEpoch:
            if isinstance(training.data, Stream):
                return compile_epoch(training)
            shapes = {k: (v.shape, str(v.dtype)) for k, v in training.data.items()}
            members = [batches.members(t, training.data) for t in training.tasks]
            rows = [int(member.sum()) for member in members]
            key = json.dumps([alike.to_dict(), shapes, rows], sort_keys=True)
            if key not in self._made:
                while len(self._made) >= MOST:
                    del self._made[next(iter(self._made))]  # The oldest.
                self._made[key] = compile_epoch(training)
            return self._made[key]

        return programs
