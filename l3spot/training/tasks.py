"""System 3's tasks: to tell how far L3 is, and to reconstruct what was spoilt.

    params = {"trunk", "head"}, and with the second task
             "decoder": {kernel [channels, stride^2], bias [stride^2]}

The second one needs no label. It is where the papers meet: a denoising task on layers
that it shares (ESANN 2016), on a network of which filters may come from ImageNet.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from l3spot.localize.network import Network
from l3spot.training import augmentation
from l3spot.training.augmentation import Strip
from mtl.engine import schedules
from mtl.engine.task import Params, Task

NEAR = 1.2  # Reaches within which a window counts whole.
NONE = "none"
SCHEDULES = (NONE, "constant", "stairs", "linear", "abridged", "exponential")
FIELDS = ("hu", "height", "l3")  # Of a pool, that strips are cut out of.


def build(config: ConfigDict, net: Network) -> tuple[list[Task], np.ndarray]:
    """The tasks, and their weights [epochs, tasks]."""
    c, epochs = config.reconstruct, config.epochs
    if c.schedule == NONE:
        return [spot(config, net)], schedules.table([schedules.constant], epochs)
    weight: Any = {
        "constant": partial(schedules.constant, value=c.value),
        "stairs": partial(schedules.stairs, t1=c.t1),
        "linear": partial(schedules.linear, epochs=epochs),
        "abridged": partial(schedules.abridged, t1=c.t1),
        "exponential": partial(schedules.exponential, sigma=c.sigma),
    }[c.schedule]
    both = [weight, schedules.complement(weight)]
    return [reconstruct(config, net), spot(config, net)], schedules.table(both, epochs)


def spot(config: ConfigDict, net: Network) -> Task:
    """Huber's loss of what a strip's windows tell, of scans that have a label."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        strips = cut(config, net, batch, key)
        told = net.outputs(params, strips.x)
        away = strips.away / config.reach
        wrong = optax.losses.huber_loss(told, jnp.clip(away, -1, 1), delta=config.huber)
        weight = strips.inside * jnp.where(jnp.abs(away) < NEAR, 1.0, config.beyond)
        return (wrong * weight).sum(1) / jnp.maximum(weight.sum(1), 1e-6)

    moved = ("head",) if config.model.frozen else ("trunk", "head")
    return Task("spot", loss, moved, rows=lambda data: ~jnp.isnan(data["l3"]))


def reconstruct(config: ConfigDict, net: Network) -> Task:
    """Mean squared error of a strip as it was before it was spoilt, of all scans."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        strips = cut(config, net, batch, key)
        found = decode(net, params["decoder"], net.features(params["trunk"], strips.x))
        away = (strips.clean.shape[1] - found.shape[1]) // 2
        aside = (strips.clean.shape[2] - found.shape[2]) // 2
        due = strips.clean[:, away:, aside:][:, : found.shape[1], : found.shape[2]]
        return config.reconstruct.scale * ((found - due) ** 2).mean((1, 2))

    return Task("reconstruct", loss, params=("trunk", "decoder"))


def cut(
    config: ConfigDict, net: Network, batch: dict[str, jax.Array], key: jax.Array
) -> Strip:
    """A strip of each scan of a batch."""
    ranges = augmentation.Range(**config.jitter)
    one = partial(
        augmentation.strip, windows=config.windows, stride=net.stride, r=ranges
    )
    keys = jax.random.split(key, len(batch["hu"]))
    return jax.vmap(one)(keys, *(batch[k] for k in FIELDS))


def init_decoder(key: jax.Array, net: Network) -> Params:
    """A dense layer from a feature to the pixels that it stands for."""
    channels, patch = net.backbone.channels, net.stride**2
    kernel = jax.random.normal(key, (channels, patch)) * channels**-0.5
    return {"kernel": kernel, "bias": jnp.full(patch, 0.5)}


def decode(net: Network, params: Params, y: jax.Array) -> jax.Array:
    """Pictures [B, h * stride, w * stride] of features [B, h, w, channels]."""
    b, h, w, _ = y.shape
    patches = y @ params["kernel"] + params["bias"]
    tiled = patches.reshape(b, h, w, net.stride, net.stride).swapaxes(2, 3)
    return tiled.reshape(b, h * net.stride, w * net.stride)
