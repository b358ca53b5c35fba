"""The unsupervised task of ESANN 2016: denoising auto-encoders of all layers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from mtl.engine.task import Params, Task
from mtl.host.checks import one_of, require
from mtl.tasks import corruption, losses
from mtl.tasks.network import Mlp


def check(c: ConfigDict) -> None:
    """Checks `config.reconstruct`; raises ConfigError."""
    for name in ("reconstruct.loss", "reconstruct.hidden_loss"):
        one_of(c, name, tuple(losses.RECONSTRUCTION))
    corruption.check(c, "reconstruct")
    require(c.reconstruct.scale > 0, c, "reconstruct.scale", "above 0")
    fits = c.model.activation != "relu" or c.reconstruct.hidden_loss == "squared_error"
    require(
        fits, c, "reconstruct.hidden_loss", "squared_error: relu has no upper bound"
    )
    fits = c.data.scaling != "standardise" or c.reconstruct.loss == "squared_error"
    what = "squared_error: data.scaling='standardise' has no bounds"
    require(fits, c, "reconstruct.loss", what)


def task(config: ConfigDict, network: Mlp) -> Task:
    """J_r: the denoising costs of all layers, summed, over all examples."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        layers = network.encode(params, batch["image"])[:-1]
        keys = jax.random.split(key, network.depth)
        costs = [
            layer_cost(config, network, params, k, below, keys[k - 1])
            for k, below in enumerate(layers, start=1)
        ]
        return jnp.stack(costs).sum(axis=0)

    return Task("reconstruct", loss, params=("encoder", "decoder"))


def layer_task(config: ConfigDict, network: Mlp, k: int) -> Task:
    """The denoising cost of layer k, which trains layer k alone."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        below = network.encode(params, batch["image"])[k - 1]
        return layer_cost(config, network, params, k, below, key)

    return Task(f"reconstruct_{k}", loss, params=(f"encoder/{k}", f"decoder/{k}"))


def layer_cost(
    config: ConfigDict,
    network: Mlp,
    params: Params,
    k: int,
    below: Float[Array, "batch {network.sizes[k-1]}"],
    key: Key[Array, ""],
) -> Float[Array, " batch"]:
    """Corrupts x_{k-1}, codes and decodes it, and compares it with the clean one.

    The clean x_{k-1} is a constant as a target: as a variable it could make the cost
    small by becoming small itself. As an input it passes the gradient on to the layers
    below if `reconstruct.reaches_below`.
    """
    c = config.reconstruct
    target = jax.lax.stop_gradient(below)
    given = corruption.corrupt(
        key, below if c.reaches_below else target, c.noise, c.level
    )
    decoded = network.decode(params, k, network.code(params, k, given))
    loss = losses.RECONSTRUCTION[c.loss if k == 1 else c.hidden_loss]
    return c.scale * loss(decoded, target, network.target_range(k))
