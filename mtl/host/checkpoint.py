"""The only module that calls Orbax.

Orbax writes a checkpoint under a temporary name and renames it when it is complete. So
a run that is killed during a save still has its last complete checkpoint.

A process copies the arrays to the host and saves them in a thread, while the training
continues. Of several processes, the first one alone saves, and Orbax knows of no other:
otherwise it ends a save with a barrier, where a process that dies leaves the others
waiting.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from flax.traverse_util import flatten_dict

from mtl.host import processes, remote
from mtl.host.errors import ConfigError, WorkdirError

# Orbax logs the errors of its threads with their tracebacks; they are raised here, too.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

LONGEST_SAVE_S = 24 * 3600  # In a thread; Orbax then gives up.

Tree = TypeVar("Tree")  # Of arrays, such as a NamedTuple or a dict.


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The newest checkpoint of a folder, one an epoch number; a context manager.

    The end of the context waits for the save that is under way. So does the next save.
    Each of them raises the error of that save. Of several processes, all make and call
    this, but only the first one saves, and waits at the end of the context.

    Args:
      folder: holds the checkpoints.
      writes: False only reads; a run that saves into the folder is not disturbed.
    """

    def __init__(self, folder: Path, writes: bool = True):
        self._folder = folder
        remote.bring(folder)
        if writes:  # Each process, for their local folders may differ.
            folder.mkdir(parents=True, exist_ok=True)
        self._folder_number = _number(folder) if writes else None
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=1,
                create=False,
                cleanup_tmp_directories=writes and processes.is_first(),
                async_options=ocp.AsyncOptions(
                    timeout_secs=LONGEST_SAVE_S,
                    # A folder that was removed must not be made again.
                    create_directories_asynchronously=False,
                ),
                multiprocessing_options=_only_this_process(),
            ),
        )
        # The file system may show a new checkpoint to the first process before others.
        newest = self._manager.latest_step()
        first = processes.of_first({"epoch": -1 if newest is None else newest})["epoch"]
        self._epoch = None if first < 0 else int(first)

    @property
    def epoch(self) -> int | None:
        """The epoch of the newest checkpoint, also of one that is being saved."""
        return self._epoch

    def save(self, epoch: int, tree: object) -> None:
        """Saves a tree of arrays; the older checkpoint goes once this one is whole.

        The arrays have been copied when this returns; `wait` waits for the rest.

        A run that resumes passes the epochs since its last checkpoint again, with the
        same result: what is there already for this or a later epoch stays.

        Raises:
          WorkdirError: the disk is full, or the folder cannot be written any more, or
            was removed or moved; or this is true of the save before, and was not
            raised yet.
        """
        if self.epoch is not None and epoch <= self.epoch:
            return
        self._epoch = epoch
        if processes.is_first():
            # Orbax would make a missing folder again, without the rest of the run.
            self._check_folder()
            if processes.several():
                tree = jax.tree.map(_saveable, tree)
            with self._naming_errors():
                self._manager.save(epoch, args=ocp.args.StandardSave(tree))

    def wait(self) -> None:
        """Waits until the checkpoint of the last `save` is whole, in all processes.

        Raises:
          WorkdirError: see `save`.
        """
        self._wait_here()
        processes.wait_for_all()

    def _wait_here(self) -> None:
        with self._naming_errors():
            self._manager.wait_until_finished()
        self._check_folder()

    def restore(self, like: Tree) -> Tree:
        """The newest checkpoint, with the shapes, dtypes and shardings of `like`.

        Raises:
          WorkdirError: there is none, or it is damaged or of another run.
        """
        if self.epoch is None:
            raise WorkdirError(f"{self._folder} holds no checkpoint")
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.StandardRestore(abstract)
        try:
            return self._manager.restore(self.epoch, args=args)
        except Exception as e:  # Orbax raises anything on a broken file.
            raise WorkdirError(
                f"{self._folder / str(self.epoch)} is damaged, or no checkpoint of "
                f"this run; remove {self._folder.parent} to train from the start "
                f"({type(e).__name__})"
            ) from e

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array in the newest checkpoint, by a name as "a/b"."""
        path = self._folder.absolute() / str(self.epoch) / "default"
        tree = ocp.StandardCheckpointHandler().metadata(path).tree
        return _shapes(tree)

    def close(self) -> None:
        """Waits for its own save, and raises WorkdirError; no call may follow."""
        try:
            self._wait_here()
        finally:
            with self._naming_errors():  # Orbax raises some errors only here.
                self._manager.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_folder(self) -> None:
        """Raises an error if the folder is gone, also if Orbax has made another one."""
        if self._folder_number not in (None, _number(self._folder)):
            raise WorkdirError(
                f"{self._folder} was removed or moved during the training, so no "
                "checkpoint can be saved; put it back, or start again"
            )

    @contextlib.contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as e:  # Orbax raises either.
            self._check_folder()
            raise WorkdirError(
                f"cannot save a checkpoint in {self._folder}; is the disk full? The "
                f"last one stays. ({e})"
            ) from e


def push(folder: Path, *saved: Checkpoints) -> None:
    """Copies a folder to its store, once its checkpoints are whole; does nothing else.

    Raises:
      WorkdirError: see `Checkpoints.save`.
      LostClaimError: another process has taken the run over.
    """
    if remote.is_mirrored(folder):
        for each in saved:
            each.wait()
        remote.push(folder)


def _number(folder: Path) -> int | None:
    """Returns the number of a folder in its file system; None if it is missing."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _only_this_process() -> ocp.options.MultiprocessingOptions:
    """Options of a manager that does not wait for other processes."""
    if not processes.several():
        return ocp.options.MultiprocessingOptions()
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=str(own)
    )


def _saveable(x: Any) -> Any:
    """An array in NumPy, which process 0 alone writes; each process has all of it."""
    return np.asarray(x) if isinstance(x, jax.Array) else x


def restore_best(folder: Path, like: Tree, launcher: str) -> Tree:
    """The parameters of the best epoch of the run in a folder.

    Args:
      folder: of the run.
      like: parameters of the same network.
      launcher: the program that trains such runs, for the message.

    Raises:
      WorkdirError: the run has no checkpoint yet, or a damaged one.
    """
    saved = folder / "checkpoints" / "best"
    remote.bring(saved)
    best = Checkpoints(saved, writes=False) if saved.is_dir() else None
    if best is None or best.epoch is None:
        raise WorkdirError(f"{folder} has no checkpoint yet; train it with {launcher}")
    try:
        return best.restore(like)
    finally:
        best.close()


def warm_start(source: str, params: Tree, folder: Path) -> Tree:
    """The best parameters of a finished run, from which another run starts.

    Args:
      source: `config.init_from`; "" returns `params`.
      params: the initial parameters of the new run, nested dicts.
      folder: of the new run. Once it has a checkpoint, `source` is not read.

    Raises:
      ConfigError: `source` is no finished run, or has other parameters.
    """
    if not source or _has_checkpoint(folder / "checkpoints" / "last"):
        return params
    with remote.local_folder(source, None) as run:
        return _best_of(run, params, f"config.init_from={source!r}")


def _best_of(run: Path, params: Tree, where: str) -> Tree:
    """The best parameters of a finished run; `where` names it in errors."""
    saved = run / "checkpoints" / "best"
    remote.bring(saved)
    if not (run / "summary.json").is_file() or not saved.is_dir():
        raise ConfigError(f"{where} must be the folder of a finished run")
    best = Checkpoints(saved, writes=False)
    try:
        there, here = best.shapes(), _shapes(params)
        for name in sorted(there.keys() | here.keys()):
            old, new = (shapes.get(name, "absent") for shapes in (there, here))
            if old != new:
                raise ConfigError(
                    f"{where} must be a run of the same network: there {name} is "
                    f"{old}, and in the new run it is {new}"
                )
        return best.restore(params)
    finally:
        best.close()


def _has_checkpoint(folder: Path) -> bool:
    remote.bring(folder)
    if not folder.is_dir():
        return False
    checkpoints = Checkpoints(folder, writes=False)
    checkpoints.close()
    return checkpoints.epoch is not None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(a.shape) for name, a in flatten_dict(tree, sep="/").items()}
