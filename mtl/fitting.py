"""What the scikit-learn estimators of systems 1 and 2 share."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from mtl.engine.fit import Result, fit
from mtl.engine.program_cache import ProgramCache
from mtl.engine.training import Training
from mtl.host import checkpoint, logs, workdir
from mtl.host.errors import ConfigError, DataError

BLOCK = 256  # Rows of a prediction, so that one program predicts any number of them.
MAX_PROGRAMS = 32

_programs = ProgramCache(MAX_PROGRAMS)


class Folder(NamedTuple):
    """What a run's folder says about the run.

    path: None trains in a temporary folder.
    config, default: of the run, and of its system.
    data: describes the data, with a checksum.
    free: the fields of the config that may change when the run is resumed.
    """

    path: str | Path | None
    config: ConfigDict
    default: ConfigDict
    data: workdir.Description
    free: tuple[str, ...]


class Fitted(NamedTuple):
    """The result of a training, and the rows of its log."""

    result: Result
    history: list[logs.Row]


class NetworkEstimator(BaseEstimator):
    """A scikit-learn estimator that trains a network from arrays, by a config.

    A subclass has the parameters below, and sets what `fit` documents.
    """

    epochs: int
    batch_size: int
    order: str
    optimizer: str
    learning_rate: float
    early_stopping: bool
    patience: int
    eval_every: int
    n_devices: int
    config: Mapping[str, Any] | None
    random_state: Any
    workdir: str | Path | None

    def _make_config(
        self, default: ConfigDict, rows: int, own: Mapping[str, Any]
    ) -> ConfigDict:
        """The config of a fit.

        Args:
          default: of the system; it is changed.
          rows: of X.
          own: more fields of the estimator's parameters, by dotted names.

        Raises:
          ValueError: the parameter `config` has no such field, or one that is also a
            parameter, or one of the data.
        """
        shared = {
            "seed": draw_seed(self.random_state),
            "epochs": self.epochs,
            "batch_size": min(self.batch_size, rows),
            "order": self.order,
            "data.source": "npz",
            "data.path": "(arrays)",
            "optim.name": self.optimizer,
            "optim.learning_rate": self.learning_rate,
            "eval_every": self.eval_every if self.early_stopping else self.epochs,
            "save_every": self.epochs,
            "patience": self.patience if self.early_stopping else 0,
            "devices": self.n_devices,
        }
        return make_config(default, {**shared, **own}, self.config)

    def _keep(self, config: ConfigDict, network: Any, fitted: "Fitted") -> None:
        """Sets the attributes that prediction needs, and those of the training."""
        self.network_, self.precision_ = network, config.precision
        self.params_ = jax.tree.map(np.asarray, fitted.result.params)  # For pickle.
        self.history_ = fitted.history
        self.n_iter_ = fitted.result.summary["epochs"]
        self.best_iter_ = fitted.result.summary["best_epoch"]


def train(
    training: Training,
    folder: Folder,
    static: Hashable,
    keep: Callable[[Path], None] = lambda path: None,
) -> Fitted:
    """Trains in a folder, with the program of an earlier training if there is one.

    Args:
      training: what to train.
      folder: of the run.
      static: trainings with the same value have the same tasks and optimizer.
      keep: writes more files of the run into its folder.

    Raises:
      WorkdirError: the folder holds another run.
      DivergedError: a loss or a parameter is not finite.
    """
    with contextlib.ExitStack() as stack:
        root = Path(folder.path or stack.enter_context(_temporary()))
        params = checkpoint.warm_start(folder.config.init_from, training.params, root)
        training = dataclasses.replace(training, params=params)
        workdir.prepare(root, folder.config, folder.data, folder.free, folder.default)
        keep(root)
        stack.enter_context(workdir.lock(root))
        result = fit(training, root, _programs.get(training, static))
        return Fitted(result, logs.read_rows(root))


def make_config(
    default: ConfigDict, fields: Mapping[str, Any], more: Mapping[str, Any] | None
) -> ConfigDict:
    """A config with some fields changed, by dotted names.

    Args:
      default: of the system.
      fields: of the estimator's parameters.
      more: of its parameter `config`.

    Raises:
      ValueError: a field does not exist, or is also a parameter, or one of the data.
    """
    both = sorted(set(fields) & set(more or {}))
    if both:
        raise ValueError(f"config has {both[0]!r}, which is a parameter of its own")
    of_data = sorted(name for name in more or {} if name.startswith("data."))
    if of_data:
        raise ValueError(f"config has {of_data[0]!r}, but the data are those of `fit`")
    with default.ignore_type():  # `configs.check` says what a field must be.
        for name, value in {**fields, **(more or {})}.items():
            *groups, last = name.split(".")
            group = default
            for part in groups:
                group = group.get(part, ConfigDict())
            if last not in group:
                raise ValueError(f"config has {name!r}, but there is no such field")
            group[last] = tuple(value) if isinstance(value, list) else value
    return default


def draw_seed(random_state: Any) -> int:
    """A seed from scikit-learn's `random_state`."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@contextlib.contextmanager
def value_errors() -> Iterator[None]:
    """Raises errors of configs and data as ValueError, as estimators do."""
    try:
        yield
    except (ConfigError, DataError) as e:
        raise ValueError(str(e)) from e


def in_blocks(
    apply: Callable[[Any], jax.Array], x: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Applies a function to rows x [N, ...], BLOCK at a time; the last is filled up.

    So the outputs of a row do not depend on the other rows.
    """
    padded = np.pad(x, [(0, -len(x) % BLOCK)] + [(0, 0)] * (x.ndim - 1))
    blocks = np.split(padded, len(padded) // BLOCK)
    outputs = [np.asarray(apply(block), np.float64) for block in blocks]
    return np.concatenate(outputs)[: len(x)]


def hold_out(count: int, share: float, what: str) -> int:
    """The number of rows that validate, of `count`; others are left to train.

    Raises:
      ValueError: there are too few rows for both.
    """
    held = round(share * count)
    if not 0 < held < count:
        raise ValueError(
            f"validation_fraction={share} of {count} {what} is {held}; early_stopping "
            "needs some to validate and some to train"
        )
    return held


def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="evolving-mtl-")
