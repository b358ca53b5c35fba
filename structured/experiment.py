"""System 2 from config to result."""

import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mtl.data.readers import load_npz
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Training, compile_epoch, fit
from mtl.engine.task import Params
from mtl.host import workdir
from structured import config as configs
from structured import data, network, tasks
from structured.data import Dataset, Examples
from structured.faces import augmentation, crops, face_dataset, metrics
from structured.faces.points import POINTS
from structured.network import Network

EVALUATED = 100  # Examples at a time: a convolution's patches are large.


class Run(NamedTuple):
    """A finished run: its summary, and the test set's predictions [N, D]."""

    summary: dict[str, Any]
    predicted: np.ndarray


def train_and_evaluate(
    config: ConfigDict,
    folder: str | Path,
    dataset: Dataset | None = None,
    programs: Callable[[Training], CompiledEpoch] = compile_epoch,
) -> Run:
    """Trains, or resumes, the run in `folder`, and leaves its summary there.

    A finished run is read, not trained again.

    Args:
      config: see `config.default`.
      folder: see `mtl.host.workdir` for its files; besides, `predictions.npz`, the test
        set's, and `problems.csv`, what is wrong with the data's files.
      dataset: what `data.load(config)` gives, if it is at hand.
      programs: gives the compiled epochs of a training; other runs' can be shared.

    Raises:
      mtl.host.errors.Error: something that the user can mend; the message says what.
    """
    start = time.perf_counter()
    configs.check(config)
    folder = Path(folder)
    d = dataset or data.load(config)
    configs.check_shape(config, d.test.x.shape[1:])
    data.check_ranges(config, d.train)
    workdir.prepare(folder, config, describe(d))
    if (folder / "summary.json").exists():
        predicted = load_npz(folder / "predictions.npz", ("predicted",))["predicted"]
        return Run(workdir.read_json(folder / "summary.json"), predicted)
    face_dataset.write_report(folder / "problems.csv", d.problems)
    with workdir.lock(folder), jax.default_matmul_precision(config.precision):
        summary, predict = _train(config, d, folder, programs)
        predicted = np.asarray(predict(jnp.asarray(d.test.x)))
    summary |= {
        "variant": config.variant,
        "seed": config.seed,
        "pairs": int(d.train.pairs.sum()),
        "x_only": int((~d.train.has_y).sum()),
        "y_only": int((~d.train.has_x).sum()),
        "test": score(d, predicted),
        "device": jax.devices()[0].device_kind,
        "total_seconds": round(time.perf_counter() - start, 3),
    }
    workdir.write_npz(folder / "predictions.npz", predicted=predicted)
    workdir.write_json(folder / "summary.json", summary)
    return Run(summary, predicted)


def plan(config: ConfigDict, dataset: Dataset) -> Training:
    """The whole of a run as data and pure functions, before any of it is done."""
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    train, net = dataset.train, build_network(config, dataset)
    fields = {"x": train.x, "y": train.y, "has_x": train.has_x, "has_y": train.has_y}
    if config.jitter.on:
        fields["frame"] = train.frame
    return Training(
        tasks=tasks.build(config, net, augment(config)),
        loss_weights=tasks.weights(config),
        learning_rates=tasks.rates(config),
        data={k: jnp.asarray(v) for k, v in fields.items()},
        params=net.init(init_key),
        key=train_key,
        evaluate=make_evaluate(config, dataset, net),
        monitor="valid/mse",
        batch_size=config.batch_size,
        order=config.order,
        optimizer=tasks.optimizer(config),
        eval_every=config.eval_every,
        save_every=config.save_every,
        patience=config.patience,
    )


def build_network(config: ConfigDict, dataset: Dataset) -> Network:
    """The network for a data set's shapes."""
    shape, outputs = dataset.test.x.shape[1:], dataset.test.y.shape[1]
    return network.make(config.model, shape, outputs)


def augment(config: ConfigDict) -> tasks.Augment | None:
    """What jitter makes of the rows that a step takes; None if there is none."""
    if not config.jitter.on:
        return None
    crop = data.crop_of(config)

    def look(batch: tasks.Batch, key: jax.Array) -> tasks.Batch:
        moves = augmentation.draw(key, batch["frame"], config.jitter)
        x = augmentation.move_images(moves, batch["x"], crop)
        return batch | {"x": x, "y": augmentation.move_points(moves, batch["y"])}

    return look


def make_predict(net: Network) -> Callable[[Params, jax.Array], jax.Array]:
    """`(params, x [N, ...]) -> [N, D]`, some examples at a time."""

    @jax.jit
    def predict(params: Params, x: jax.Array) -> jax.Array:
        one = lambda x: net.main(params, x[None])[0]  # noqa: E731
        return jax.lax.map(one, x, batch_size=EVALUATED)

    return predict


def make_evaluate(
    config: ConfigDict, dataset: Dataset, net: Network
) -> Callable[[Params], dict[str, jax.Array]]:
    """`params -> {"train/mse": ..., "valid/mse": ...}`, over the pairs."""
    train = dataset.train.rows(dataset.train.pairs)
    if config.jitter.on:
        train = train._replace(x=data.plain(train.x, data.crop_of(config)))
    held = {
        name: (jnp.asarray(e.x), jnp.asarray(e.y))
        for name, e in {"train": train, "valid": dataset.valid}.items()
    }
    predict = make_predict(net)

    @jax.jit
    def measure(params: Params, held: dict[str, Any]) -> dict[str, jax.Array]:
        return {
            f"{name}/mse": metrics.mse(predict(params, x), y)
            for name, (x, y) in held.items()
        }

    return partial(measure, held=held)


def score(dataset: Dataset, predicted: np.ndarray) -> dict[str, float]:
    """Metrics of predictions [N, D] for the test set; see `metrics`."""
    found = {"mse": metrics.mse(predicted, dataset.test.y)}
    if dataset.faces is not None:
        truth, frame = dataset.faces.points, dataset.faces.frame
        points = crops.from_frame(predicted, frame)
        found |= metrics.landmark_report(points, truth)
    return {name: float(value) for name, value in found.items()}


def errors(dataset: Dataset, predicted: np.ndarray) -> np.ndarray:
    """Of each test example, [N]: its NRMSE; of what is no face, the root of its MSE.

    Without the eyes of the 68 points the size of their box is the norm.
    """
    if dataset.faces is None:
        return np.sqrt(np.square(predicted - dataset.test.y).mean(axis=1))
    truth, frame = dataset.faces.points, dataset.faces.frame
    points = crops.from_frame(predicted, frame)
    known = truth.shape[1] == POINTS
    scale = metrics.inter_ocular(truth) if known else metrics.box_size(truth)
    return np.asarray(metrics.nme(points, truth, scale))


def describe(dataset: Dataset) -> dict[str, Any]:
    """What `data.json` says: shapes, sizes, and a checksum of it all."""
    parts: dict[str, Examples] = {
        "train": dataset.train,
        "valid": dataset.valid,
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


def _train(
    config: ConfigDict,
    dataset: Dataset,
    folder: Path,
    programs: Callable[[Training], CompiledEpoch],
) -> tuple[dict[str, Any], Callable[[jax.Array], jax.Array]]:
    """What training came to, and x [N, ...] -> y [N, D]."""
    if config.variant == "mean":
        train, valid = dataset.train, dataset.valid
        mean = train.y[train.has_y].mean(axis=0)
        best = {
            "train/mse": float(metrics.mse(mean[None], train.y[train.pairs])),
            "valid/mse": float(metrics.mse(mean[None], valid.y)),
        }
        return {"best": best}, lambda x: jnp.broadcast_to(mean, (len(x), len(mean)))
    training = plan(config, dataset)
    result = fit(training, folder, programs(training))
    predict = make_predict(build_network(config, dataset))
    return result.summary, partial(predict, result.best)
