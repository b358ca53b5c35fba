"""System 1's tasks, and its methods as weights over them (ESANN 2016, and others).

Every method is the same engine: a list of tasks and, for each epoch, their weights,
which a `Weighting` may multiply.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from mtl.engine import adaptive, schedules
from mtl.engine.task import Params, Task
from mtl.engine.weighting import Weighting
from mtl.tasks import batch_norm, corruption, ladder, losses, network, vat

EVOLVING = ("stairs", "linear", "abridged", "exponential", "constant")
FIXED = ("baseline", "baseline_matched", *EVOLVING, "pretraining")
ADAPTIVE = ("uncertainty", "dwa", "gradnorm", "famo", "plateau", "ratio")
METHODS = (*FIXED, *ADAPTIVE)


def classify(config: ConfigDict) -> Task:
    """J_s: softmax cross-entropy over the labelled examples (label >= 0)."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        image, valid = batch["image"], batch["valid"]
        z = batch_norm.logits(config.model, params, image, valid, key)
        return optax.softmax_cross_entropy_with_integer_labels(z, batch["label"])

    return Task(
        "classify",
        loss,
        params=("encoder", "classifier"),
        rows=lambda data: data["label"] >= 0,
        reduction=config.classify.reduction,
        draws=config.classify.draws,
    )


def reconstruct(config: ConfigDict) -> Task:
    """J_r: the denoising costs of all layers, summed, over all examples."""
    depth = range(1, len(config.model.hidden) + 1)

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        layers = network.encode(params, batch["image"], config.model.activation)
        keys = jax.random.split(key, len(depth))
        costs = [
            layer_cost(config, params, k, layers[k - 1], keys[k - 1]) for k in depth
        ]
        return jnp.stack(costs).sum(axis=0)

    return Task("reconstruct", loss, params=("encoder", "decoder"))


def reconstruct_layer(config: ConfigDict, k: int) -> Task:
    """The denoising cost of layer k, which trains layer k alone."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        layers = network.encode(params, batch["image"], config.model.activation)
        return layer_cost(config, params, k, layers[k - 1], key)

    return Task(f"reconstruct_{k}", loss, params=(f"encoder/{k}", f"decoder/{k}"))


def layer_cost(
    config: ConfigDict, params: Params, k: int, below: jax.Array, key: jax.Array
) -> jax.Array:
    """[B]: corrupt x_{k-1} [B, D], code and decode it, compare with the clean one.

    The clean x_{k-1} is a constant as a target: as a variable it could make the cost
    small by becoming small itself. As an input it passes the gradient on to the layers
    below if `reconstruct.reaches_below`.
    """
    c = config.reconstruct
    span = losses.span(k, config.model.activation)
    target = jax.lax.stop_gradient(below)
    given = corruption.corrupt(
        key, below if c.reaches_below else target, c.noise, c.level
    )
    code = network.code(params, k, given, config.model.activation)
    back = network.decode(params, k, code)
    loss = losses.RECONSTRUCTION[c.loss if k == 1 else c.hidden_loss]
    return c.scale * loss(back, target, span)


# What may stand where the paper has reconstruction, by name.
UNSUPERVISED: dict[str, Callable[[ConfigDict], Task]] = {
    "reconstruct": reconstruct,
    "vat": vat.task,
    "gamma": ladder.task,
    "ladder": ladder.task,
}


def build(config: ConfigDict) -> tuple[list[Task], np.ndarray]:
    """The tasks of `config.method` and their weights [epochs, tasks]."""
    c, epochs = config.schedule, config.epochs
    if config.method in ("baseline", "baseline_matched"):
        return [classify(config)], schedules.table([schedules.constant], epochs)
    if config.method == "pretraining":
        return _pretraining(config)
    tasks = [UNSUPERVISED[config.unsupervised](config), classify(config)]
    if config.method in ADAPTIVE:
        return tasks, np.ones((epochs, 2))
    weight: Callable = {
        "stairs": partial(schedules.stairs, t1=c.t1),
        "linear": partial(schedules.linear, epochs=epochs),
        "abridged": partial(schedules.abridged, t1=c.t1),
        "exponential": partial(schedules.exponential, sigma=c.sigma, cutoff=c.cutoff),
        "constant": partial(schedules.constant, value=c.weight),
    }[config.method]
    both = [weight, schedules.complement(weight)]
    return tasks, schedules.table(both, epochs)


def weighting(config: ConfigDict) -> Weighting | None:
    """What sets the weights of `config.method`; None if its table does."""
    c, tasks, last = config.weighting, 2, len(config.model.hidden)
    squared = {
        "reconstruct": config.reconstruct.loss == "squared_error",
        "vat": False,
    }.get(config.unsupervised, True)
    make: dict[str, Callable[[], Weighting]] = {
        "uncertainty": lambda: adaptive.uncertainty((0.5 if squared else 1.0, 1.0)),
        "dwa": lambda: adaptive.dwa(tasks, c.temperature),
        "gradnorm": lambda: adaptive.gradnorm(
            tasks, f"encoder/{last}/kernel", c.alpha, c.rate
        ),
        "famo": lambda: adaptive.famo(tasks, c.rate, c.decay),
        "plateau": lambda: adaptive.plateau(
            config.monitor, c.factor, c.wait, config.schedule.cutoff
        ),
        "ratio": adaptive.ratio,
    }
    return make[config.method]() if config.method in make else None


def _pretraining(config: ConfigDict) -> tuple[list[Task], np.ndarray]:
    """Layer by layer, `schedule.t1` epochs each, then the classifier alone."""
    depth, span = len(config.model.hidden), config.schedule.t1
    tasks = [reconstruct_layer(config, k) for k in range(1, depth + 1)]
    phase = np.minimum(np.arange(config.epochs) // span, depth)
    return [*tasks, classify(config)], np.eye(depth + 1)[phase]
