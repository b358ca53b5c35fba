"""Makes the arrays and pure functions of a run of system 2, without running them."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mtl import optimizers, own_metrics
from mtl.engine import sharding, split_rows
from mtl.engine.task import Params
from mtl.engine.training import Training
from mtl.own_metrics import Named
from structured import data, partial_outputs, scoring, tasks
from structured.autoencoder import AutoEncoder, ConvAutoEncoder, DenseAutoEncoder, Half
from structured.data import Dataset
from structured.examples import Examples
from structured.faces import augmentation, sources
from structured.network import Network

PIECE_ROWS = 1000  # Training pairs that are evaluated at a time.
EVALUATION_BATCH_SIZE = 100  # Bounds the memory that the patches of convolutions take.


def make_training(config: ConfigDict, dataset: Dataset) -> Training:
    """Makes the data and pure functions of a run, without running them."""
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    train, net = dataset.train, network(config, dataset)
    fields = {"x": train.x, "y": train.y, "has_x": train.has_x, "has_y": train.has_y}
    if config.augmentation.on:
        fields["frame"] = train.frame
    return Training(
        tasks=tasks.make_tasks(config, net, augment(config), fill(train)),
        loss_weights=tasks.loss_weights(config),
        learning_rates=optimizers.learning_rates(config),
        data=split_rows.arrays(fields, on_host=config.shard_data),
        params=net.init(init_key),
        key=train_key,
        evaluate=make_evaluate(config, dataset, net),
        monitor=config.monitor,
        monitor_mode=own_metrics.mode(config, scoring.MODES),
        batch_size=config.batch_size,
        order=config.order,
        optimizer=tasks.make_optimizer(config),
        eval_every=config.eval_every,
        save_every=config.save_every,
        save_minutes=config.save_minutes,
        patience=config.patience,
        mesh=sharding.data_mesh(config.devices, config.batch_size),
        shard_data=config.shard_data,
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
    auto_in: AutoEncoder = DenseAutoEncoder(*fields, tuple(c.input), dtype=c.dtype)
    if c.encoder == "cnn":
        convolutions = tuple(c.channels), tuple(c.strides)
        auto_in = ConvAutoEncoder(*fields, *convolutions, dtype=c.dtype)
    fields_out = (outputs,), c.output_activation, c.y_activation, half_out
    auto_out = DenseAutoEncoder(*fields_out, tuple(c.output), dtype=c.dtype)
    return Network(auto_in, auto_out, tuple(c.link), c.link_activation, c.dtype)


def augment(config: ConfigDict) -> tasks.Augment | None:
    """Returns the augmentation, `(batch, key) -> batch`; None if it is off."""
    if not config.augmentation.on:
        return None
    crop, scheme = data.crop_from_config(config), sources.scheme(config.data)

    def augment_batch(batch: tasks.Batch, key: jax.Array) -> tasks.Batch:
        frame = batch["frame"]
        transforms = augmentation.draw_transforms(key, frame, config.augmentation)
        x = augmentation.transform_images(transforms, batch["x"], crop)
        y = augmentation.transform_points(transforms, batch["y"], scheme)
        return batch | {"x": x, "y": y}

    return augment_batch


def make_predict(net: Network) -> Callable[[Params, jax.Array], jax.Array]:
    """Returns the compiled main network, `(params, x [N, ...]) -> [N, D]`."""
    return partial(_predict, net)


# Runs of equal networks share these compiled programs.
@partial(jax.jit, static_argnums=0)
def _predict(net: Network, params: Params, x: jax.Array) -> jax.Array:
    main = lambda x: net.main(params, x[None])[0]  # noqa: E731
    return jax.lax.map(main, x, batch_size=EVALUATION_BATCH_SIZE)


@partial(jax.jit, static_argnums=(0, 1))
def _measure(
    net: Network,
    functions: tuple[tuple[str, Named], ...],
    params: Params,
    arrays: dict[str, tuple[jax.Array, jax.Array]],
) -> dict[str, jax.Array]:
    row: dict[str, jax.Array] = {}
    for name, named in functions:
        x, y = arrays[name]
        predicted = _predict(net, params, x)
        row |= {f"{name}/{metric}": f(predicted, y) for metric, f in named}
    return row


def make_evaluate(
    config: ConfigDict, dataset: Dataset, net: Network
) -> Callable[[Params], dict[str, jax.Array]]:
    """Returns `params -> {"train/mse": ..., "valid/mse": ...}` over the pairs.

    The functions of `config.metrics` follow, such as "valid/mae".

    With `config.shard_data`, x of the training pairs is not held on a device, but read
    some rows at a time.
    """
    if config.shard_data:
        return _evaluate_in_pieces(config, dataset, net)
    train = dataset.train.select(dataset.train.pairs)
    if config.augmentation.on:
        crop = data.crop_from_config(config)
        train = train._replace(x=data.network_input(train.x, crop))
    arrays = {
        name: (jnp.asarray(e.x), jnp.asarray(e.y))
        for name, e in {"train": train, "valid": dataset.validation}.items()
    }
    functions = tuple(
        (name, scoring.choose_metrics(config.metrics, np.asarray(y)))
        for name, (_, y) in arrays.items()
    )
    return lambda params: _measure(net, functions, params, arrays)


def _evaluate_in_pieces(
    config: ConfigDict, dataset: Dataset, net: Network
) -> Callable[[Params], dict[str, jax.Array]]:
    """Returns what `make_evaluate` returns, for x that is read some rows at a time."""
    train, held = dataset.train, dataset.validation
    rows = np.flatnonzero(train.pairs)
    truth = {"train": jnp.asarray(train.y[rows]), "valid": jnp.asarray(held.y)}
    functions = {
        name: scoring.choose_metrics(config.metrics, np.asarray(y))
        for name, y in truth.items()
    }
    valid_x = jnp.asarray(held.x)

    def predict_train(params: Params) -> jax.Array:
        found = []
        for start in range(0, len(rows), PIECE_ROWS):
            x = train.x[rows[start : start + PIECE_ROWS]]
            if config.augmentation.on:
                x = data.network_input(x, data.crop_from_config(config))
            found.append(_predict(net, params, jnp.asarray(x)))
        return jnp.concatenate(found)

    def evaluate(params: Params) -> dict[str, jax.Array]:
        predicted = {
            "train": predict_train(params),
            "valid": _predict(net, params, valid_x),
        }
        return {
            f"{name}/{metric}": f(predicted[name], y)
            for name, y in truth.items()
            for metric, f in functions[name]
        }

    return evaluate


def network(config: ConfigDict, dataset: Dataset) -> Network:
    """Builds the network of a config for the sizes of a dataset."""
    test = dataset.test
    return build_network(config, test.x.shape[1:], test.y.shape[1])


def fill(train: Examples) -> np.ndarray | None:
    """What P_out gets in place of missing values of y: their mean; None without any."""
    if not partial_outputs.partial_rows(train.y).any():
        return None
    return partial_outputs.mean_known(train.y[train.has_y])


def constants(train: Examples) -> bytes:
    """What the tasks take from the training examples: `fill`.

    Trainings with other constants need a program of their own.
    """
    filled = fill(train)
    return b"" if filled is None else filled.tobytes()
