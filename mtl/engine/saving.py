"""The two checkpoints of a run: all its progress, and its best parameters.

Both are saved in the background, and either may be whole first. So a run that resumes
saves the best parameters of its progress again if their own checkpoint is older.
"""

import contextlib
from pathlib import Path

from mtl.engine.progress import Progress
from mtl.host.checkpoint import Checkpoints, push


class Saving(contextlib.AbstractContextManager["Saving"]):
    """The checkpoints in a run's folder; a context manager, see `Checkpoints`.

    Args:
      workdir: the folder; `checkpoints/last` has the progress, and `checkpoints/best`
        the parameters of the best epoch.
    """

    def __init__(self, workdir: Path):
        self._workdir, folder = workdir, workdir / "checkpoints"
        self._last, self._best = (
            Checkpoints(folder / "last"),
            Checkpoints(folder / "best"),
        )

    @property
    def epoch(self) -> int | None:
        """The epoch of the last checkpoint, None if there is none."""
        return self._last.epoch

    def restore(self, like: Progress) -> Progress:
        """The progress at the last checkpoint; see `Checkpoints.restore`."""
        p = self._last.restore(like)
        self.save_best(p)
        return p

    def save(self, p: Progress) -> None:
        """Saves a progress and its best parameters, and copies them to a store.

        Raises:
          WorkdirError: see `Checkpoints.save`.
        """
        self.save_best(p)
        self._last.save(p.epoch, p)
        push(self._workdir, self._best, self._last)

    def save_best(self, p: Progress) -> None:
        """Saves the parameters of the best epoch, if one was evaluated."""
        if p.best_epoch:
            self._best.save(p.best_epoch, p.best)

    def wait(self) -> None:
        """Waits until all that was saved is whole; see `Checkpoints.wait`."""
        self._best.wait()
        self._last.wait()

    def __exit__(self, *_: object) -> None:
        try:
            self._best.close()
        finally:
            self._last.close()
