"""System 1 from config to result."""

import dataclasses
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mtl import config as configs
from mtl import figures, methods, metrics, networks, optimizers, resuming
from mtl.data import datasets, label_choice, mapped, scaling, shard_stream
from mtl.data.datasets import Dataset
from mtl.data.mapped import MappedRows
from mtl.data.readers import Images
from mtl.data.shard_stream import ShardStream
from mtl.data.shards import Shards
from mtl.engine import sharding, split_rows
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Result, compile_epoch, fit
from mtl.engine.task import Data, Params
from mtl.engine.training import Training
from mtl.host import checkpoint, workdir
from mtl.tasks.batch_norm import BatchNormMlp
from mtl.tasks.network import Mlp

CHECKSUM_ROWS = 4096  # Copied at a time.


def train_and_evaluate(
    config: ConfigDict,
    folder: str | Path,
    dataset: Dataset | None = None,
    programs: Callable[[Training], CompiledEpoch] = compile_epoch,
    callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
) -> Result:
    """Trains or resumes the run in `folder`, and writes its figures and summary.

    Args:
      config: see `config.default`.
      folder: see `workdir` for what it gets.
      dataset: the result of `datasets.load(config.data)`; None loads it.
      programs: returns the compiled epochs of a training, which runs can share.
      callbacks: each is called with each new row of the log, in process 0 alone.

    Returns:
      The summary, the parameters of the best epoch, and the final state.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    start, config = time.perf_counter(), configs.of_a_run(config)
    configs.check(config)
    devices = sharding.device_count(config.devices, config.batch_size)
    folder = Path(folder)
    dataset = dataset or datasets.load(config.data, lazy=config.shard_data)
    with jax.default_matmul_precision(config.precision):
        training = make_training(config, dataset)
        params = checkpoint.warm_start(config.init_from, training.params, folder)
        training = dataclasses.replace(training, params=params)
        workdir.prepare(
            *(folder, config, describe(dataset), free_fields(config, folder)),
            *(configs.default(), devices),
        )
        if dataset.scaling:
            scaling.save(folder, dataset.scaling)
        with workdir.lock(folder):
            compiled = programs(training)
            result = fit(training, folder, compiled, callbacks)
    network = networks.build(config, dataset.shape, dataset.classes)
    summary = result.summary | {
        "method": config.method,
        "seed": config.seed,
        **_amounts(training.data, result.summary["epochs"]),
        "test": class_report(network, result.params, dataset),
        "device": jax.devices()[0].device_kind,
        "total_seconds": round(time.perf_counter() - start, 3),
    }
    workdir.write_json(folder / "summary.json", summary)
    figures.draw(folder, config, dataset, network, training, result.params)
    return dataclasses.replace(result, summary=summary)


def free_fields(config: ConfigDict, folder: Path) -> tuple[str, ...]:
    """The fields that may differ from those of the run in a folder; see `resuming`.

    More epochs are allowed with most schedules; with `linear` they are not.
    """
    by_epoch = methods.loss_weights, optimizers.learning_rates
    default, free = configs.default(), configs.FREE
    return resuming.free_fields(config, folder, default, free, by_epoch)


def make_training(config: ConfigDict, dataset: Dataset) -> Training:
    """Makes the data and pure functions of a run, without running them."""
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    d, c = dataset, config.data
    network = networks.build(config, d.shape, d.classes)
    # The baseline never sees an unlabelled image. The matched one has them in its
    # batches, so that it makes as many supervised steps as the other methods.
    unlabelled = 0 if config.method == "baseline" else c.unlabelled
    data = _training_data(config, d, unlabelled)
    finalize_params = None
    if isinstance(network, BatchNormMlp):
        first = data.chunk(0) if isinstance(data, ShardStream) else data
        finalize_params = partial(jax.jit(network.set_batch_stats), x=first["image"])
    return Training(
        tasks=methods.make_tasks(config, network),
        loss_weights=methods.loss_weights(config),
        learning_rates=optimizers.learning_rates(config),
        data=data,
        params=network.init(init_key),
        key=train_key,
        evaluate=make_evaluate(
            network, {"valid": d.validation, "test": d.test}, config.metrics
        ),
        monitor=config.monitor,
        monitor_mode=configs.monitor_mode(config),
        batch_size=config.batch_size,
        order=config.order,
        weighting=methods.weighting(config),
        optimizer=optimizers.make(config.optim),
        finalize_params=finalize_params,
        eval_every=config.eval_every,
        save_every=config.save_every,
        save_minutes=config.save_minutes,
        patience=config.patience,
        mesh=sharding.data_mesh(config.devices, config.batch_size),
        shard_data=config.shard_data,
    )


def _training_data(
    config: ConfigDict, d: Dataset, unlabelled: int
) -> Data | ShardStream:
    """The chosen images and labels; a stream, if they lie in more shards than fit."""
    c = config.data
    rows, y = label_choice.choose_rows(
        d.train.y, d.classes, c.labelled, unlabelled, config.seed, c.balanced
    )
    if isinstance(d.train.x, Shards):
        return shard_stream.make(
            *(d.train.x, rows, y, c.chunk_rows, config.seed, config.shard_data)
        )
    fields = {"image": mapped.take(d.train.x, rows), "label": y}
    return split_rows.arrays(fields, on_host=config.shard_data)


def _amounts(data: Any, epochs: int) -> dict[str, float]:
    """The numbers of training images, and how often a stream gave the unlabelled."""
    streamed = isinstance(data, ShardStream)
    label = data.label if streamed else data["label"]
    labelled = int((label >= 0).sum())
    passes = {"passes": round(data.passes(epochs), 3)} if streamed else {}
    return {"labelled": labelled, "unlabelled": len(label) - labelled} | passes


def describe(dataset: Dataset) -> dict[str, Any]:
    """The content of data.json: image shape, classes, sizes, and a checksum.

    The names of the classes are there if they are not 0, 1, 2, ... The checksum of
    shards is that of their names, shapes, labels, and of the checksums in .npz files.
    """
    parts = {
        "train": dataset.train,
        "valid": dataset.validation,
        "test": dataset.test,
    }
    checksum = 0
    for array in (array for images in parts.values() for array in images):
        for content in _contents(array):
            checksum = zlib.crc32(content, checksum)
    own = dataset.names != tuple(range(dataset.classes)) and bool(dataset.names)
    return {
        "shape": list(dataset.shape),
        "classes": dataset.classes,
        **({"names": list(dataset.names)} if own else {}),
        "rows": {name: len(images.y) for name, images in parts.items()},
        "crc32": f"{checksum:08x}",
    }


def _contents(array: np.ndarray | Shards | MappedRows) -> Iterator[bytes]:
    """The bytes of a set, some rows at a time; `MappedRows` are read."""
    if isinstance(array, Shards):
        yield array.identity()
        return
    for start in range(0, len(array), CHECKSUM_ROWS):
        yield array[start : start + CHECKSUM_ROWS].tobytes()


def make_evaluate(
    network: Mlp, sets: dict[str, Images], own: Sequence[str] = ()
) -> Callable[[Params], dict[str, jax.Array]]:
    """`params -> measure(network, params, ...)`, compiled once for equal networks.

    Args:
      network: of the parameters.
      sets: labelled images by name.
      own: `config.metrics`.

    Raises:
      ConfigError: a metric of one's own is no such function.
    """
    named = metrics.functions(own)
    metrics.check(named, network.classes)
    return partial(_measure, network, held=on_device(sets), named=named)


def on_device(sets: dict[str, Images]) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Images and labels by name, for `measure`."""
    return {name: (jnp.asarray(s.x), jnp.asarray(s.y)) for name, s in sets.items()}


def measure(
    network: Mlp,
    params: Params,
    held: dict[str, tuple[jax.Array, jax.Array]],
    named: metrics.Named = metrics.BASIC,
) -> dict[str, jax.Array]:
    """{"valid/error": share of wrong labels, "valid/loss": cross-entropy, ...}."""
    row: dict[str, jax.Array] = {}
    for name, (x, y) in held.items():
        logits = network.logits(params, x)
        row |= {f"{name}/{metric}": f(logits, y) for metric, f in named}
    return row


_measure = jax.jit(measure, static_argnames=("network", "named"))


def class_report(network: Mlp, params: Params, dataset: Dataset) -> dict[str, Any]:
    """The confusion matrix of the test set, and figures of each class."""
    test = dataset.test
    logits = jax.jit(network.logits)(params, jnp.asarray(test.x))
    matrix = np.asarray(metrics.confusion(logits, jnp.asarray(test.y)))
    return metrics.report(matrix, dataset.names or range(dataset.classes))
