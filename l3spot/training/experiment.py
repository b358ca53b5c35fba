"""Trains system 3 from a config, and writes the model."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from l3spot.localize import model, window_search
from l3spot.localize.model import Model
from l3spot.localize.network import Network
from l3spot.phantom import draw
from l3spot.projections import projection_files
from l3spot.training import config as configs
from l3spot.training import dataset, initial, scoring, split
from l3spot.training import tasks as task_list
from l3spot.training.augmentation_ranges import AugmentationRanges
from l3spot.training.dataset import ProjectionDataset
from mtl import optimizers, own_metrics, resuming
from mtl.data import mapped
from mtl.engine import sharding, split_rows
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Result, compile_epoch, fit
from mtl.engine.task import Flat, Params
from mtl.engine.training import Training
from mtl.host import checkpoint, processes, remote, workdir
from mtl.host.checks import require
from mtl.own_metrics import Named


class Datasets(NamedTuple):
    """The training, validation and test set; the test set may be empty."""

    train: ProjectionDataset
    validation: ProjectionDataset
    test: ProjectionDataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Result):
    """A finished run; its parameters are those of the model.

    Attributes:
      model: the calibrated model in model.safetensors.
    """

    model: Model


def train_and_evaluate(
    config: ConfigDict,
    folder: str | Path,
    scans: ProjectionDataset | None = None,
    programs: Callable[[Training], CompiledEpoch] = compile_epoch,
    callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
) -> Run:
    """Trains, or resumes, the run in `folder`, and writes model.safetensors there.

    A finished run is read, not trained again. The summary has the errors on the
    validation set, and on the test set if there is one.

    Args:
      config: see `config.default`.
      folder: the run's folder.
      scans: the result of `load_dataset(config)`; None loads them.
      programs: returns the compiled epochs of a training, which runs can share.
      callbacks: each is called with each new row of the log, in process 0 alone.

    Raises:
      mtl.host.errors.Error: the user can fix it; the message says how.
    """
    configs.check(config)
    sharding.device_count(config.devices, config.batch_size)
    # A missing weights file is found before the scans are read.
    net, params = initial.init_network(config)
    datasets = _datasets(config, scans)
    return train(config, folder, net, params, datasets, programs, callbacks)


def _datasets(config: ConfigDict, scans: ProjectionDataset | None) -> Datasets:
    """The sets of a run; `config.shard_data` maps training images that it loads."""
    given = scans or load_dataset(config)
    rest, test = split.split_off(given, config.data.test, _split_seed(config))
    datasets = split_validation(config, rest, test)
    if not config.shard_data or scans:
        return datasets
    hu = mapped.on_disk(datasets.train.hu)
    return datasets._replace(train=datasets.train._replace(hu=hu))


def load_dataset(config: ConfigDict) -> ProjectionDataset:
    """Loads all scans of a config.

    Raises:
      mtl.host.errors.Error: there are no scans, or files are broken.
    """
    d = config.data
    if d.source == "phantoms":
        with processes.first_before_others():  # The first one draws what is missing.
            ranges = draw.PROPORTIONS[d.proportions]
            return dataset.phantoms(d.path, d.seed, d.count, ranges)
    with remote.local_copy(d.path) as path:
        return dataset.projections(projection_files.load(path), d.patients, d.view)


def _split_seed(config: ConfigDict) -> int | None:
    """Draws the sets; None of phantoms, which are in no order."""
    return None if config.data.source == "phantoms" else config.data.seed


def split_validation(
    config: ConfigDict, rest: ProjectionDataset, test: ProjectionDataset
) -> Datasets:
    """Splits the scans outside the test set into training and validation set.

    Raises:
      ConfigError: there are not enough scans, or none to validate on has L3 in view.
    """
    d = config.data
    candidates, validation = split.split_off(rest, d.validation, _split_seed(config))
    in_view = bool((~np.isnan(scoring.true_rows(validation))).any())
    what = "more: none of these scans has L3 in view"
    require(in_view, config, "data.validation", what)
    training = split.limit_labels(
        candidates, d.labelled, d.unlabelled, d.strips, config.seed
    )
    return Datasets(training, validation, test)


def train(
    config: ConfigDict,
    folder: str | Path,
    net: Network,
    params: Params,
    datasets: Datasets,
    programs: Callable[[Training], CompiledEpoch] = compile_epoch,
    callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
) -> Run:
    """Trains as `train_and_evaluate` does, from given parameters on given datasets."""
    start = time.perf_counter()
    folder = Path(folder)
    devices = sharding.device_count(config.devices, config.batch_size)
    own = scoring.load_metrics(config.metrics)
    validation, test = datasets.validation, datasets.test
    sizes = {
        "train": len(datasets.train.hu),
        "valid": len(validation.hu),
        "test": len(test.hu),
    }
    labelled = int((~np.isnan(datasets.train.l3_mm)).sum())
    facts = sizes | {"labelled": labelled, "crc32": dataset.checksum(*datasets)}
    default, free = configs.default(), free_fields(config, folder)
    if not resuming.reopen(config, folder, default, free):
        params = checkpoint.warm_start(config.init_from, params, folder)
    workdir.prepare(folder, config, facts, free, default, devices)
    if (folder / "summary.json").exists():
        return _read(folder)
    with workdir.lock(folder), jax.default_matmul_precision(config.precision):
        training = make_training(config, net, params, datasets)
        result = fit(training, folder, programs(training), callbacks)
        augmented = _augmented(config, validation)
        raw = _make_model(config, net, result.params)
        errors, *plain = scoring.errors_and_features(raw, validation, own)
        augmented_errors, *varied = scoring.errors_and_features(raw, augmented, own)
    features, right = map(np.concatenate, zip(plain, varied, strict=True))
    best = {k: jax.tree.map(np.asarray, result.params[k]) for k in ("trunk", "head")}
    scans = f"{config.data.view} {config.data.source}"
    trained = _make_model(config, net, best)._replace(
        calibration=scoring.calibrate(features, right),
        about=f"trained on {sizes['train']} {scans}, seed {config.seed}",
    )
    model.save(folder / "model.safetensors", trained)
    summary = result.summary | {
        "valid": errors,
        "augmented": augmented_errors,
        "confident": _confident_errors(trained, validation),
        "augmented_confident": _confident_errors(trained, augmented),
        "pictures": sizes,
        "labelled": labelled,
        "device": jax.devices()[0].device_kind,
    }
    if len(test.hu):
        summary |= _test_errors(trained, test, own)
    summary["total_seconds"] = round(time.perf_counter() - start, 1)
    workdir.write_json(folder / "summary.json", summary)
    remote.share(folder)  # Then each process can read the model.
    # As in the file: in float32, whatever the training's type was.
    stored = model.load(folder / "model.safetensors")
    return Run(summary, best, result.state, model=stored)


def free_fields(config: ConfigDict, folder: Path) -> tuple[str, ...]:
    """The fields that may differ from those of the run in a folder; see `resuming`."""
    by_epoch = task_list.loss_weights, optimizers.learning_rates
    default, free = configs.default(), configs.FREE
    return resuming.free_fields(config, folder, default, free, by_epoch)


def _read(folder: Path) -> Run:
    """Reads a finished run."""
    trained = model.load(folder / "model.safetensors")
    summary = workdir.read_json(folder / "summary.json")
    return Run(summary, trained.params, model=trained)


def _augmented(config: ConfigDict, validation: ProjectionDataset) -> ProjectionDataset:
    """Augments the validation set, to calibrate the confidence on it as well.

    Real scans differ from training scans more than the validation set does.
    """
    ranges = AugmentationRanges(**config.augmentation)
    return dataset.augmented(validation, config.seed, ranges)


def _test_errors(m: Model, test: ProjectionDataset, own: Named) -> dict[str, object]:
    """Returns the errors on the test set, of all positions and of confident ones."""
    rows_mm, confidence = scoring.predict(m, test)
    errors = scoring.errors_in_view(rows_mm, scoring.true_rows(test), own)
    errors |= scoring.confident_errors(rows_mm, np.ones(len(rows_mm)), test)
    confident = scoring.confident_errors(rows_mm, confidence, test)
    return {"test": errors, "test_confident": confident}


def _confident_errors(m: Model, scans: ProjectionDataset) -> dict[str, float]:
    return scoring.confident_errors(*scoring.predict(m, scans), scans)


def make_training(
    config: ConfigDict, net: Network, params: Params, datasets: Datasets
) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet."""
    tasks, loss_weights = task_list.build(config, net)
    fields = {k: getattr(datasets.train, k) for k in task_list.BATCH_FIELDS}
    # Validation during training has a larger stride, to be quick.
    stride_px = min(2 * config.window_stride_px, window_search.MAX_STRIDE_PX)
    own = scoring.load_metrics(config.metrics)

    def evaluate(params: Params) -> dict[str, float]:
        m = _make_model(config, net, params)._replace(stride_px=stride_px)
        errors, _, _ = scoring.errors_and_features(m, datasets.validation, own)
        return {f"valid/{k}": v for k, v in errors.items()}

    return Training(
        tasks=tasks,
        loss_weights=loss_weights,
        learning_rates=optimizers.learning_rates(config),
        data=split_rows.arrays(fields, on_host=config.shard_data),
        params=params,
        key=jax.random.split(jax.random.key(config.seed))[1],
        evaluate=evaluate,
        monitor=config.monitor,
        monitor_mode=own_metrics.mode(config, scoring.MODES),
        batch_size=config.batch_size,
        order="joint",
        optimizer=optimizer(config),
        eval_every=config.eval_every,
        save_every=config.save_every,
        save_minutes=config.save_minutes,
        patience=config.patience,
        mesh=sharding.data_mesh(config.devices, config.batch_size),
        shard_data=config.shard_data,
    )


def _make_model(config: ConfigDict, net: Network, params: Params) -> Model:
    """Returns the model of a config without a calibration."""
    return Model(
        params,
        config.low_hu,
        config.high_hu,
        model.UNCALIBRATED,
        "",
        net,
        config.window_stride_px,
        config.mirror,
        config.data.view,
    )


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Returns the optimizer of `config.optim`, for a learning rate of 1.

    The trunk has its own factor of the learning rate.
    """

    def part(params: Flat) -> dict[str, str]:
        return {k: "trunk" if k.startswith("trunk/") else "rest" for k in params}

    factors = {"trunk": optax.scale(config.optim.trunk), "rest": optax.identity()}
    return optax.chain(optimizers.make(config.optim), optax.partition(factors, part))
