"""The supervised task of system 1: classification of the labelled examples."""

import jax
import optax
from ml_collections import ConfigDict

from mtl.engine.task import Params, Task
from mtl.host.checks import at_least, one_of
from mtl.tasks.network import Mlp


def check(c: ConfigDict) -> None:
    """Checks `config.classify`; raises ConfigError."""
    one_of(c, "classify.reduction", ("mean", "sum"))
    at_least(c, "classify.draws", 0)


def task(config: ConfigDict, network: Mlp) -> Task:
    """J_s: softmax cross-entropy over the labelled examples (label >= 0)."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        logits = network.training_logits(params, batch["image"], batch["valid"], key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])

    return Task(
        "classify",
        loss,
        params=("encoder", "classifier"),
        rows=lambda data: data["label"] >= 0,
        reduction=config.classify.reduction,
        draws=config.classify.draws,
    )
