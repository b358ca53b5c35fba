"""A training that takes a moment: two tasks, noise, momentum, 40 rows."""

import itertools
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.engine import schedules
from mtl.engine.fit import fit
from mtl.engine.task import Task, flatten
from mtl.engine.training import Training
from mtl.tasks import corruption


def training(epochs=12, **changes):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(40, 6)), jnp.float32)
    y = jnp.where(jnp.arange(40) < 10, x.sum(1), jnp.nan)

    def denoise(p, batch, key):
        given = corruption.corrupt(key, batch["x"], "mask", 0.3)
        h = jnp.tanh(given @ p["encoder"]["kernel"])
        return jnp.square(h @ p["encoder"]["kernel"].T - batch["x"]).sum(1)

    def predict(p, x):
        return jnp.tanh(x @ p["encoder"]["kernel"]) @ p["head"]["kernel"]

    def regress(p, batch, key):
        return jnp.square(predict(p, batch["x"]) - batch["y"])

    kernel = jax.random.normal(jax.random.key(1), (6, 5)) / 3
    fields = dict(
        tasks=[
            Task("denoise", denoise, params=("encoder",)),
            Task(
                "regress",
                regress,
                params=("encoder", "head"),
                rows=lambda data: ~jnp.isnan(data["y"]),
            ),
        ],
        loss_weights=schedules.table([lambda t: 0.9**t, lambda t: 1 - 0.9**t], epochs),
        learning_rates=np.full(epochs, 0.01),
        data={"x": x, "y": y},
        params={"encoder": {"kernel": kernel}, "head": {"kernel": jnp.zeros(5)}},
        key=jax.random.key(2),
        evaluate=lambda p: {"valid/mse": jnp.square(predict(p, x) - x.sum(1)).mean()},
        monitor="valid/mse",
        batch_size=8,
        optimizer=optax.sgd(1.0, 0.9),
    )
    return Training(**(fields | changes))


def evaluations(values):
    """An `evaluate` that returns these values in turn, one a call.

    The first call is the check of the initial parameters, and its value is not used.
    """
    values = itertools.chain([math.nan], values)
    return lambda params: {"valid/mse": next(values)}


def arrays(state):
    """All that training changes, parameters and velocities, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def train_to_the_end(workdir: str, epochs: int) -> None:
    """What the killed process runs; leaves the final arrays in final.npz."""
    sys.stdout = open(f"{workdir}/out.txt", "a")  # noqa: SIM115
    result = fit(training(epochs), Path(workdir))
    np.savez(f"{workdir}/final.npz", **arrays(result.state), **flatten(result.params))
