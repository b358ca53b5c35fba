"""Compiled programs that the runs of a sweep share."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

from ml_collections import ConfigDict

from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.program_cache import ProgramCache
from mtl.engine.training import Training
from mtl.host import fields

MOST = 8  # Compiled epochs that a sweep keeps.


class SharedPrograms:
    """Gives the same compiled epochs to trainings that differ only in their data.

    Args:
      data_fields: fields of the config, such as "seed", that change neither the tasks
        nor the optimizer, but arrays alone.
    """

    def __init__(self, data_fields: Sequence[str]):
        self._data_fields = data_fields
        self._cache = ProgramCache(MOST)

    def of(
        self, config: ConfigDict, constants: Hashable = None
    ) -> Callable[[Training], CompiledEpoch]:
        """Returns the function from the training of a config to its compiled epochs.

        Args:
          config: of the run.
          constants: what the tasks take from the data, besides the arrays' shapes.
        """
        static = constants, fields.text_without(config, self._data_fields)
        return partial(self._cache.get, static=static)
