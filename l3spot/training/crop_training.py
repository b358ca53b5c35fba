"""A training of a network that classifies crops of vertebrae."""

from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from l3spot.training.bodies import Loss
from l3spot.vertebrae import model
from mtl import optimizers
from mtl.engine import schedules, sharding, split_rows
from mtl.engine.task import Params, Task
from mtl.engine.training import Training


def make(
    config: ConfigDict,
    name: str,
    data: dict[str, np.ndarray],
    loss: Loss,
    evaluate: Callable[[Params], dict[str, float]],
) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet.

    Args:
      config: of all networks of the vertebrae.
      name: of the network, and of its part of the config.
      data: the training data.
      loss: of a mini-batch.
      evaluate: returns "valid/loss" among others.
    """
    c, part = config, config[name]
    init_key, train_key = jax.random.split(jax.random.key(c.seed))
    own = with_optimizer(c, name)
    return Training(
        tasks=[Task(name, loss, params=("network",))],
        loss_weights=schedules.table([schedules.constant], part.epochs),
        learning_rates=optimizers.learning_rates(own),
        data=split_rows.arrays(data, on_host=c.shard_data),
        params={"network": model.init(init_key)[name]},
        key=train_key,
        evaluate=evaluate,
        monitor="valid/loss",
        batch_size=part.batch_size,
        order="joint",
        optimizer=optimizers.make(own.optim),
        eval_every=c.eval_every,
        save_every=c.save_every,
        mesh=sharding.data_mesh(c.devices, part.batch_size),
        shard_data=c.shard_data,
    )


def with_optimizer(config: ConfigDict, name: str) -> ConfigDict:
    """Returns `epochs` and `optim` of a network: no warm-up, no clipping."""
    own = config.optim.to_dict() | {"warmup_epochs": 0, "clip": 0.0}
    return ConfigDict({"epochs": config[name].epochs, "optim": own})
