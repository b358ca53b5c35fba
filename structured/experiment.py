"""Trains and evaluates one run of system 2."""

import dataclasses
import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mtl.data.readers import load_npz
from mtl.engine import sharding
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Result, Training, compile_epoch, fit
from mtl.engine.task import Params
from mtl.host import checkpoint, workdir
from structured import config as configs
from structured import data, tasks
from structured.autoencoder import AutoEncoder, ConvAutoEncoder, DenseAutoEncoder, Half
from structured.data import Dataset, Examples
from structured.faces import augmentation, crops, face_dataset, metrics
from structured.faces.points import POINTS
from structured.network import Network

EVALUATION_BATCH_SIZE = 100  # Bounds the memory that the patches of convolutions take.


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
) -> Run:
    """Trains or resumes the run in `folder`, and writes its summary.

    A finished run is read, not trained again.

    Args:
      config: see `config.default`.
      folder: gets the files of `mtl.host.workdir`, `predictions.npz` of the test set,
        and `problems.csv` with the defects of the data's files.
      dataset: the result of `data.load(config)`; None loads it.
      programs: returns the compiled epochs of a training, which runs can share.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    start = time.perf_counter()
    configs.check(config)
    devices = sharding.device_count(config.devices, config.batch_size)
    folder = Path(folder)
    dataset = dataset or data.load(config)
    configs.check_input_shape(config, dataset.test.x.shape[1:])
    data.check_output_ranges(config, dataset.train)
    training = None
    if config.variant != "mean":
        training = make_training(config, dataset)
        params = checkpoint.warm_start(config.init_from, training.params, folder)
        training = dataclasses.replace(training, params=params)
    described, default = describe_dataset(dataset), configs.default()
    workdir.prepare(folder, config, described, configs.FREE, default, devices)
    if (folder / "summary.json").exists():
        return _read(config, dataset, folder)
    face_dataset.write_problems(folder / "problems.csv", dataset.problems)
    with workdir.lock(folder), jax.default_matmul_precision(config.precision):
        run = _train(config, dataset, folder, training, programs)
    summary = run.summary | {
        "variant": config.variant,
        "seed": config.seed,
        "pairs": int(dataset.train.pairs.sum()),
        "x_only": int((~dataset.train.has_y).sum()),
        "y_only": int((~dataset.train.has_x).sum()),
        "test": score(dataset, run.predicted),
        "device": jax.devices()[0].device_kind,
        "total_seconds": round(time.perf_counter() - start, 3),
    }
    workdir.write_npz(folder / "predictions.npz", predicted=run.predicted)
    workdir.write_json(folder / "summary.json", summary)
    return dataclasses.replace(run, summary=summary)


def make_training(config: ConfigDict, dataset: Dataset) -> Training:
    """Makes the data and pure functions of a run, without running them."""
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    train, net = dataset.train, _network(config, dataset)
    fields = {"x": train.x, "y": train.y, "has_x": train.has_x, "has_y": train.has_y}
    if config.augmentation.on:
        fields["frame"] = train.frame
    return Training(
        tasks=tasks.make_tasks(config, net, augment(config)),
        loss_weights=tasks.loss_weights(config),
        learning_rates=tasks.learning_rates(config),
        data={k: jnp.asarray(v) for k, v in fields.items()},
        params=net.init(init_key),
        key=train_key,
        evaluate=make_evaluate(config, dataset, net),
        monitor="valid/mse",
        batch_size=config.batch_size,
        order=config.order,
        optimizer=tasks.make_optimizer(config),
        eval_every=config.eval_every,
        save_every=config.save_every,
        save_minutes=config.save_minutes,
        patience=config.patience,
        mesh=sharding.data_mesh(config.devices, config.batch_size),
    )


def build_network(config: ConfigDict, shape: Sequence[int], outputs: int) -> Network:
    """Builds the network of `config.model`.

    Args:
      config: of the run.
      shape: of one x.
      outputs: the size of one y.
    """
    c = config.model
    half_in: Half | None = "encoder" if c.tied_input else None
    half_out: Half | None = "decoder" if c.tied_output else None
    fields = tuple(shape), c.input_activation, c.x_activation, half_in
    auto_in: AutoEncoder = DenseAutoEncoder(*fields, tuple(c.input))
    if c.encoder == "cnn":
        auto_in = ConvAutoEncoder(*fields, tuple(c.channels), tuple(c.strides))
    auto_out = DenseAutoEncoder(
        (outputs,), c.output_activation, c.y_activation, half_out, tuple(c.output)
    )
    return Network(auto_in, auto_out, tuple(c.link), c.link_activation)


def augment(config: ConfigDict) -> tasks.Augment | None:
    """Returns the augmentation, `(batch, key) -> batch`; None if it is off."""
    if not config.augmentation.on:
        return None
    crop = data.crop_from_config(config)

    def augment_batch(batch: tasks.Batch, key: jax.Array) -> tasks.Batch:
        frame = batch["frame"]
        transforms = augmentation.draw_transforms(key, frame, config.augmentation)
        x = augmentation.transform_images(transforms, batch["x"], crop)
        y = augmentation.transform_points(transforms, batch["y"])
        return batch | {"x": x, "y": y}

    return augment_batch


def make_predict(net: Network) -> Callable[[Params, jax.Array], jax.Array]:
    """Returns the compiled main network, `(params, x [N, ...]) -> [N, D]`."""

    @jax.jit
    def predict(params: Params, x: jax.Array) -> jax.Array:
        main = lambda x: net.main(params, x[None])[0]  # noqa: E731
        return jax.lax.map(main, x, batch_size=EVALUATION_BATCH_SIZE)

    return predict


def make_evaluate(
    config: ConfigDict, dataset: Dataset, net: Network
) -> Callable[[Params], dict[str, jax.Array]]:
    """Returns `params -> {"train/mse": ..., "valid/mse": ...}` over the pairs."""
    train = dataset.train.select(dataset.train.pairs)
    if config.augmentation.on:
        crop = data.crop_from_config(config)
        train = train._replace(x=data.network_input(train.x, crop))
    arrays = {
        name: (jnp.asarray(e.x), jnp.asarray(e.y))
        for name, e in {"train": train, "valid": dataset.validation}.items()
    }
    predict = make_predict(net)

    @jax.jit
    def evaluate(params: Params, arrays: dict[str, Any]) -> dict[str, jax.Array]:
        return {
            f"{name}/mse": metrics.mse(predict(params, x), y)
            for name, (x, y) in arrays.items()
        }

    return partial(evaluate, arrays=arrays)


def score(dataset: Dataset, predicted: np.ndarray) -> dict[str, float]:
    """Returns the metrics of predictions [N, D] for the test set (`faces.metrics`)."""
    scores = {"mse": metrics.mse(predicted, dataset.test.y)}
    if dataset.faces is not None:
        truth, frame = dataset.faces.points, dataset.faces.frame
        points = crops.from_frame(predicted, frame)
        scores |= metrics.landmark_metrics(points, truth)
    return {name: float(value) for name, value in scores.items()}


def example_errors(dataset: Dataset, predicted: np.ndarray) -> np.ndarray:
    """Returns the error of each test example [N]: NRMSE, or the root of its MSE.

    Faces have the NRMSE. It is normalised by the distance of the eyes, and by the size
    of the points' box if a face does not have 68 points.
    """
    if dataset.faces is None:
        return np.sqrt(np.square(predicted - dataset.test.y).mean(axis=1))
    truth, frame = dataset.faces.points, dataset.faces.frame
    points = crops.from_frame(predicted, frame)
    has_eyes = truth.shape[1] == POINTS
    normaliser = metrics.inter_ocular(truth) if has_eyes else metrics.box_size(truth)
    return np.asarray(metrics.nme(points, truth, normaliser))


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


def _network(config: ConfigDict, dataset: Dataset) -> Network:
    test = dataset.test
    return build_network(config, test.x.shape[1:], test.y.shape[1])


def _train(
    config: ConfigDict,
    dataset: Dataset,
    folder: Path,
    training: Training | None,
    programs: Callable[[Training], CompiledEpoch],
) -> Run:
    """Trains, and predicts the test set; the variant "mean" trains nothing."""
    if training is None:
        return _mean(dataset)
    result = fit(training, folder, programs(training))
    predict = make_predict(_network(config, dataset))
    predicted = np.asarray(predict(result.params, jnp.asarray(dataset.test.x)))
    return Run(result.summary, result.params, result.state, predicted=predicted)


def _mean(dataset: Dataset) -> Run:
    """Predicts the mean y; the parameters are this mean [D]."""
    train, validation = dataset.train, dataset.validation
    mean = train.y[train.has_y].mean(axis=0)
    best = {
        "train/mse": float(metrics.mse(mean[None], train.y[train.pairs])),
        "valid/mse": float(metrics.mse(mean[None], validation.y)),
    }
    predicted = np.tile(mean, (len(dataset.test.x), 1))
    return Run({"best": best}, {"mean": mean}, predicted=predicted)


def _read(config: ConfigDict, dataset: Dataset, folder: Path) -> Run:
    """Reads a finished run."""
    summary = workdir.read_json(folder / "summary.json")
    predicted = load_npz(folder / "predictions.npz", ("predicted",))["predicted"]
    if config.variant == "mean":
        return Run(summary, _mean(dataset).params, predicted=predicted)
    params = restore(folder, _network(config, dataset))
    return Run(summary, params, predicted=predicted)
