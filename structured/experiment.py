"""Trains and evaluates one run of system 2."""

import contextlib
import dataclasses
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mtl import optimizers, resuming
from mtl.data.readers import load_npz
from mtl.engine import sharding
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Result, compile_epoch, fit
from mtl.engine.fit_many import compile_epoch_of_runs, fit_many
from mtl.engine.task import Params
from mtl.engine.training import Training
from mtl.host import checkpoint, workdir
from structured import assemble, data, scoring, tasks
from structured import config as configs
from structured.data import Dataset
from structured.examples import Examples
from structured.faces import face_dataset
from structured.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Result):
    """A finished run.

    Attributes:
      predicted: the predictions for the test set, [N, D].
    """

    predicted: np.ndarray


def train_and_evaluate(
    config: ConfigDict,
    folder: str | Path,
    dataset: Dataset | None = None,
    programs: Callable[[Training], CompiledEpoch] = compile_epoch,
    callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
) -> Run:
    """Trains or resumes the run in `folder`, and writes its summary.

    A finished run is read, not trained again.

    Args:
      config: see `config.default`.
      folder: gets the files of `mtl.host.workdir`, `predictions.npz` of the test set,
        and `problems.csv` with the defects of the data's files.
      dataset: the result of `data.load(config)`; None loads it.
      programs: returns the compiled epochs of a training, which runs can share.
      callbacks: each is called with each new row of the log, in process 0 alone.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    start = time.perf_counter()
    configs.check(config)
    folder = Path(folder)
    if dataset is None:
        dataset = data.load(config)
        if config.shard_data:
            dataset = dataset.with_train_on_disk()
    with jax.default_matmul_precision(config.precision):
        training = _prepare(config, folder, dataset)
        if (folder / "summary.json").exists():
            return _read(config, dataset, folder)
        with workdir.lock(folder):
            run = _train(config, dataset, folder, training, programs, callbacks)
    return _finish(config, folder, dataset, run, time.perf_counter() - start)


def train_at_once(
    runs: Sequence[tuple[ConfigDict, Path, Dataset]],
    programs: Callable[[Training], CompiledEpoch] = compile_epoch_of_runs,
) -> list[Run]:
    """Trains or resumes runs that differ in their seed, at the same time.

    Args:
      runs: config, folder and dataset of each, as in `train_and_evaluate`. Their
        variant is not "mean", and their patience is 0.
      programs: returns the compiled epochs of the first training, which groups of as
        many runs can share.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    start = time.perf_counter()
    for config, _, _ in runs:
        configs.check(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.default_matmul_precision(runs[0][0].precision))
        prepared = {folder: _prepare(c, folder, d) for c, folder, d in runs}
        left = {folder: t for folder, t in prepared.items() if t is not None}
        for folder in left:
            stack.enter_context(workdir.lock(folder))
        trained: dict[Path, Result] = {}
        if left:
            trainings = list(left.values())
            results = fit_many(trainings, list(left), programs(trainings[0]))
            trained = dict(zip(left, results, strict=True))

        def finish(config: ConfigDict, folder: Path, dataset: Dataset) -> Run:
            if folder not in trained:
                return _read(config, dataset, folder)
            run = _predicted(config, dataset, trained[folder])
            seconds = (time.perf_counter() - start) / len(trained)
            return _finish(config, folder, dataset, run, seconds)

        return [finish(*run) for run in runs]


def _prepare(config: ConfigDict, folder: Path, dataset: Dataset) -> Training | None:
    """Checks a run with its data, and prepares its folder.

    Returns:
      Its training, from the parameters of the run `config.init_from` if there is one;
      None if it is finished or trains nothing.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    devices = sharding.device_count(config.devices, config.batch_size)
    configs.check_input_shape(config, dataset.test.x.shape[1:])
    data.check_output_ranges(config, dataset.train)
    default, free = configs.default(), free_fields(config, folder)
    training, finished = None, resuming.reopen(config, folder, default, free)
    if config.variant != "mean" and not finished:
        training = assemble.make_training(config, dataset)
        params = checkpoint.warm_start(config.init_from, training.params, folder)
        training = dataclasses.replace(training, params=params)
    described = describe_dataset(dataset)
    workdir.prepare(folder, config, described, free, default, devices)
    if not finished:
        face_dataset.write_problems(folder / "problems.csv", dataset.problems)
    return training


def free_fields(config: ConfigDict, folder: Path) -> tuple[str, ...]:
    """The fields that may differ from those of the run in a folder; see `resuming`."""
    by_epoch = tasks.loss_weights, optimizers.learning_rates
    default, free = configs.default(), configs.FREE
    return resuming.free_fields(config, folder, default, free, by_epoch)


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Returns the content of data.json: shapes, numbers of rows, a checksum."""
    parts: dict[str, Examples] = {
        "train": dataset.train,
        "valid": dataset.validation,
        "test": dataset.test,
    }
    checksum = 0
    for array in (array for part in parts.values() for array in part):
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return {
        "shape": list(dataset.test.x.shape[1:]),
        "outputs": dataset.test.y.shape[1],
        "rows": {name: len(part.x) for name, part in parts.items()},
        "crc32": f"{checksum:08x}",
    }


def restore(folder: Path, net: Network) -> Params:
    """Reads the parameters of the best epoch of a run.

    Raises:
      WorkdirError: there are none.
    """
    start = net.init(jax.random.key(0))
    return checkpoint.restore_best(folder, start, "structured.main")


def _train(
    config: ConfigDict,
    dataset: Dataset,
    folder: Path,
    training: Training | None,
    programs: Callable[[Training], CompiledEpoch],
    callbacks: Sequence[Callable[[dict[str, float]], object]],
) -> Run:
    """Trains, and predicts the test set; the variant "mean" trains nothing."""
    if training is None:
        return _mean(config, dataset)
    return _predicted(
        config, dataset, fit(training, folder, programs(training), callbacks)
    )


def _predicted(config: ConfigDict, dataset: Dataset, result: Result) -> Run:
    """Adds the predictions for the test set."""
    predict = assemble.make_predict(assemble.network(config, dataset))
    predicted = np.asarray(predict(result.params, jnp.asarray(dataset.test.x)))
    return Run(result.summary, result.params, result.state, predicted=predicted)


def _finish(
    config: ConfigDict, folder: Path, dataset: Dataset, run: Run, seconds: float
) -> Run:
    """Writes the predictions and the summary of a run."""
    summary = run.summary | {
        "variant": config.variant,
        "seed": config.seed,
        "pairs": int(dataset.train.pairs.sum()),
        "x_only": int((~dataset.train.has_y).sum()),
        "y_only": int((~dataset.train.has_x).sum()),
        "partial_y": dataset.partial_y,
        "grey_levels": dataset.grey_levels,
        "test": scoring.score(dataset, run.predicted, config.metrics),
        "device": jax.devices()[0].device_kind,
        "total_seconds": round(seconds, 3),
    }
    workdir.write_npz(folder / "predictions.npz", predicted=run.predicted)
    workdir.write_json(folder / "summary.json", summary)
    return dataclasses.replace(run, summary=summary)


def _mean(config: ConfigDict, dataset: Dataset) -> Run:
    """Predicts the mean y; the parameters are this mean [D]."""
    train, validation = dataset.train, dataset.validation
    mean = assemble.fill(train)
    if mean is None:
        mean = train.y[train.has_y].mean(axis=0)
    best = {
        f"{name}/{metric}": float(function(np.tile(mean, (len(y), 1)), y))
        for name, y in {"train": train.y[train.pairs], "valid": validation.y}.items()
        for metric, function in scoring.choose_metrics(config.metrics, y)
    }
    predicted = np.tile(mean, (len(dataset.test.x), 1))
    return Run({"best": best}, {"mean": mean}, predicted=predicted)


def _read(config: ConfigDict, dataset: Dataset, folder: Path) -> Run:
    """Reads a finished run."""
    summary = _read_summary(folder / "summary.json")
    predicted = load_npz(folder / "predictions.npz", ("predicted",))["predicted"]
    if config.variant == "mean":
        return Run(summary, _mean(config, dataset).params, predicted=predicted)
    params = restore(folder, assemble.network(config, dataset))
    return Run(summary, params, predicted=predicted)


def _read_summary(path: Path) -> dict[str, Any]:
    """Reads the summary of a finished run, with all fields of a table."""
    summary = workdir.read_json(path)
    with workdir.damaged(path):
        for name in ("seed", "pairs", "x_only", "y_only"):
            int(summary[name])
        for name in ("best", "test"):
            summary[name] = {k: float(v) for k, v in dict(summary[name]).items()}
    return summary
