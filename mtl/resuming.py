"""Which fields of a config may change on a run that is there, in all systems."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from mtl.host import fields, workdir


def free_fields(
    config: ConfigDict,
    folder: Path,
    default: ConfigDict,
    free: Sequence[str],
    by_epoch: Sequence[Callable[[ConfigDict], np.ndarray]],
) -> tuple[str, ...]:
    """The fields that may differ from those of the run in a folder.

    More epochs are allowed if the numbers of the former ones stay the same.

    Args:
      config: the new one.
      folder: of the run; it may be new.
      default: has the fields that a run of an earlier version lacks.
      free: fields that may always differ.
      by_epoch: functions that return an array with a row for each epoch, such as the
        learning rates.

    Raises:
      ConfigError: the run is of another program or version.
      WorkdirError: its config.json is broken.
    """
    old = _saved(folder, default)
    if old is None or old.epochs >= config.epochs:
        return tuple(free)
    same = all(
        np.array_equal(values(old), values(config)[: old.epochs]) for values in by_epoch
    )
    return (*free, "epochs") if same else tuple(free)


def reopen(
    config: ConfigDict, folder: Path, default: ConfigDict, free: Sequence[str]
) -> bool:
    """Returns whether the run in a folder is finished.

    A run with fewer epochs or another patience is not; this deletes its summary, and
    training continues it. Call this before `workdir.prepare`.

    Raises:
      WorkdirError: the config differs in fields that are not free.
    """
    summary = folder / "summary.json"
    if not summary.exists():
        return False
    old = _saved(folder, default)
    if old is None or (old.epochs, old.patience) == (config.epochs, config.patience):
        return True
    workdir.check_same(folder, "config", config, free, default)
    summary.unlink(missing_ok=True)  # Another process may have done it.
    return False


def _saved(folder: Path, default: ConfigDict) -> ConfigDict | None:
    path = folder / "config.json"
    if not path.exists():
        return None
    return fields.complete(workdir.load_config(folder), default, str(path))
