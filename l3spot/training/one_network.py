"""A training of one network of the vertebrae."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
from ml_collections import ConfigDict

from l3spot.vertebrae import model
from mtl import optimizers
from mtl.engine import schedules, sharding, split_rows
from mtl.engine.task import Params, Task
from mtl.engine.training import Training

Loss = Callable[[Params, dict[str, jax.Array], jax.Array], jax.Array]
Data = TypeVar("Data", bound=NamedTuple)


def make(
    config: ConfigDict,
    name: str,
    own: ConfigDict,
    data: Data,
    validation: int,
    loss: Loss,
    evaluate: Callable[[Params, Data], dict[str, float]],
    monitor: str = "valid/loss",
) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet.

    Args:
      config: of all networks of the vertebrae.
      name: of the network.
      own: `epochs`, `batch_size` and `optim` of the network.
      data: arrays with a row for each example.
      validation: number of the last rows, which validate.
      loss: of a mini-batch.
      evaluate: returns `monitor` among others.
      monitor: the metric that chooses the best epoch.
    """
    c = config
    training, valid = (
        jax.tree.map(lambda a, part=part: a[part], data)
        for part in (slice(-validation), slice(-validation, None))
    )
    init_key, train_key = jax.random.split(jax.random.key(c.seed))
    return Training(
        tasks=[Task(name, loss, params=("network",))],
        loss_weights=schedules.table([schedules.constant], own.epochs),
        learning_rates=optimizers.learning_rates(own),
        data=split_rows.arrays(training._asdict(), on_host=c.shard_data),
        params={"network": model.init(init_key)[name]},
        key=train_key,
        evaluate=lambda params: evaluate(params, valid),
        monitor=monitor,
        batch_size=own.batch_size,
        order="joint",
        optimizer=optimizers.make(own.optim),
        eval_every=c.eval_every,
        save_every=c.save_every,
        mesh=sharding.data_mesh(c.devices, own.batch_size),
        shard_data=c.shard_data,
    )


def of_crops(
    config: ConfigDict,
    name: str,
    data: Data,
    validation: int,
    loss: Callable[[ConfigDict, Params, dict[str, jax.Array], jax.Array], jax.Array],
    evaluate: Callable[[Params, Data], dict[str, float]],
) -> Training:
    """Returns the run of a network that classifies crops: no warm-up, no clipping.

    Args:
      config: of all networks; the part `name` has the network's epochs and batch size.
      name: of the network.
      data: as for `make`.
      validation: as for `make`.
      loss: of the config and a mini-batch.
      evaluate: returns "valid/loss" among others.
    """
    optim = config.optim.to_dict() | {"warmup_epochs": 0, "clip": 0.0}
    own = ConfigDict(config[name].to_dict() | {"optim": optim})
    return make(config, name, own, data, validation, partial(loss, config), evaluate)
