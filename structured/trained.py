"""A trained run of system 2, read from its folder, and its predictions for arrays."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mtl.data import readers
from mtl.host import fields, remote, workdir
from mtl.host.errors import DataError, WorkdirError
from structured import assemble, experiment
from structured import config as configs

ARRAY_SOURCES = ("npz", "digits")


class Trained(NamedTuple):
    """A trained run.

    Attributes:
      config: of the run.
      shape: of one x.
      outputs: D, the size of one y.
      grey_levels: whether x was grey levels of type uint8, divided by 255; None if a
        run of an earlier version does not say.
      predict: the network, float32 [N, *shape] -> float32 [N, D].
    """

    config: ConfigDict
    shape: tuple[int, ...]
    outputs: int
    grey_levels: bool | None
    predict: Callable[[np.ndarray | jax.Array], np.ndarray]


def load(folder: str | Path, sources: Sequence[str], needs: str) -> Trained:
    """Loads the best parameters of a finished run.

    Args:
      folder: of the run, or its address.
      sources: the values of `data.source` that fit.
      needs: begins the message for other runs, such as "landmarks need".

    Raises:
      ConfigError: the run is of another program or version.
      WorkdirError: the folder holds no such run.
    """
    with remote.local_folder(folder, None) as local:
        return _load(local, sources, needs)


def _load(folder: Path, sources: Sequence[str], needs: str) -> Trained:
    saved = workdir.load_config(folder)
    source = saved.get("data", {}).get("source")
    if source not in sources:
        raise WorkdirError(
            f"{folder} holds a run on {source}; {needs} one of structured.main on "
            f"{' or '.join(sources)}"
        )
    config = fields.complete(saved, configs.default(), str(folder / "config.json"))
    if config.variant == "mean":
        raise WorkdirError(
            f"{folder} holds a run that predicts the mean y for every x; take a run of "
            "another variant"
        )
    best = folder / "checkpoints" / "best"
    remote.bring(best)
    if not (folder / "summary.json").is_file() or not best.is_dir():
        raise WorkdirError(
            f"{folder} holds a run that is not finished; train it to its end with "
            "structured.main"
        )
    with workdir.damaged(folder / "data.json"):
        described = workdir.read_json(folder / "data.json")
        shape, outputs = tuple(map(int, described["shape"])), int(described["outputs"])
    net = assemble.build_network(config, shape, outputs)
    params, main = experiment.restore(folder, net), assemble.make_predict(net)

    def predict(x: np.ndarray | jax.Array) -> np.ndarray:
        with jax.default_matmul_precision(config.precision):
            return np.asarray(main(params, jnp.asarray(x)))

    grey_levels = workdir.read_json(folder / "summary.json").get("grey_levels")
    return Trained(config, shape, outputs, grey_levels, predict)


def predict_arrays(folder: str | Path, x: np.ndarray, where: str = "x") -> np.ndarray:
    """Predicts y, float32 [N, D], for arrays x [N, ...] by a run on "npz" or "digits".

    Args:
      folder: of a finished run, or its address.
      x: of the type and shape of the run's x; the run's scaling is applied.
      where: names x in an error.

    Raises:
      DataError: x has another type or shape than the run's, or is not finite.
      WorkdirError: the folder holds no such run.
    """
    trained = load(folder, ARRAY_SOURCES, "arrays need")
    return trained.predict(_prepare(trained, x, where))


def _prepare(trained: Trained, x: np.ndarray, where: str) -> np.ndarray:
    """Checks and scales x as in training (`examples.make_examples`)."""
    if x.shape[1:] != trained.shape or not len(x):
        raise DataError(
            f"{where} is {list(x.shape)}, but the run was trained on rows of "
            f"{list(trained.shape)}; give [N, {', '.join(map(str, trained.shape))}]"
        )
    grey = x.dtype == np.uint8
    if trained.grey_levels is not None and grey != trained.grey_levels:
        raise DataError(
            f"{where} is {x.dtype}, but the run was trained on "
            + (
                "grey levels of type uint8, divided by 255; give uint8"
                if trained.grey_levels
                else "numbers that were not scaled; give float32 of the same range"
            )
        )
    x = readers.numbers(x, where)
    return x / np.float32(255) if grey else x


def write(out: Path, y: np.ndarray) -> None:
    """Writes predictions.npz (`y`) and predictions.csv (row, y1 ... yD) atomically."""
    workdir.make(out, f"--out={out}")
    workdir.write_npz(out / "predictions.npz", y=y)
    columns = ["row", *(f"y{k}" for k in range(1, y.shape[1] + 1))]
    # 9 digits give float32 exactly.
    rows = ([i, *(f"{v:.9g}" for v in row.tolist())] for i, row in enumerate(y))
    workdir.write_csv(out / "predictions.csv", columns, rows)
