"""The only module that calls Orbax.

Orbax writes a checkpoint aside and renames it when it is whole, so a run killed at any
moment, also during a save, finds its last whole checkpoint.
"""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

Tree = Any


class Checkpoints:
    """The newest checkpoint of a folder, one an epoch number."""

    def __init__(self, folder: Path):
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=False,
            ),
        )

    @property
    def epoch(self) -> int | None:
        """The epoch of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, epoch: int, tree: Tree) -> None:
        """Saves a tree of arrays; the older checkpoint goes once this one is whole.

        A run that resumes passes the epochs since its last checkpoint again, with the
        same result: what is there already for this or a later epoch stays.
        """
        if self.epoch is None or epoch > self.epoch:
            self._manager.save(epoch, args=ocp.args.StandardSave(tree))

    def restore(self, like: Tree) -> Tree:
        """The newest checkpoint, with the shapes, dtypes and shardings of `like`."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.StandardRestore(abstract)
        return self._manager.restore(self._manager.latest_step(), args=args)

    def close(self) -> None:
        """Waits for what is under way."""
        self._manager.close()
