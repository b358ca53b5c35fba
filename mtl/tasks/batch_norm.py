"""The network in training with batch normalisation and noise (Rasmus et al. 2015).

Layer k of the encoder, and the classifier as layer K + 1, with
z_k = normalised(x_{k-1} W_k) + noise and x_k = activation(z_k + bias_k); the classifier
also has a gain. Mean and variance are those of the mini-batch's valid rows: rows that
only fill it up change nothing. There are no running averages, so a step stays a pure
function of parameters and rows. `set_batch_stats` takes the statistics of the whole
training set before an evaluation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mtl.engine.cpu.products import matmul
from mtl.engine.task import Params
from mtl.tasks import network


class Moments(NamedTuple):
    """Mean [n] and variance [n] of a layer over the rows of a mini-batch."""

    mean: jax.Array
    variance: jax.Array


class Path(NamedTuple):
    """One way through the network, layers 0 (the input) to K + 1 (the classifier).

    z: [B, n] each, normalised, with noise; the input is not normalised.
    moments: of what layers 1 to K + 1 were before they were normalised.
    logits: [B, classes].
    """

    z: list[jax.Array]
    moments: list[Moments]
    logits: jax.Array


def moments(z: jax.Array, valid: jax.Array) -> Moments:
    """Of z [B, n], over the rows that are valid, bool[B]."""
    share = (valid / jnp.maximum(valid.sum(), 1)).astype(z.dtype)
    mean = share @ z
    return Moments(mean, share @ jnp.square(z - mean))


def normalise(z: jax.Array, m: Moments) -> jax.Array:
    """Z [B, n] with mean 0 and variance 1, if these are its moments."""
    return (z - m.mean) / jnp.sqrt(m.variance + network.EPSILON)


def forward(
    params: Params,
    x: jax.Array,
    valid: jax.Array,
    activation: str,
    noise: float = 0.0,
    key: jax.Array | None = None,
) -> Path:
    """The way of x [B, inputs] through the network.

    Args:
      params: see `network`.
      x: the images.
      valid: bool[B], the rows that count in the statistics.
      activation: of the encoder.
      noise: standard deviation of the Gaussian noise on the input and each z.
      key: of the noise; None: there is none.
    """
    act, layers = network.ACTIVATIONS[activation], network.layers(params)

    def corrupt(k: int, z: jax.Array) -> jax.Array:
        if key is None or noise == 0:
            return z
        draw = jax.random.normal(jax.random.fold_in(key, k), z.shape, z.dtype)
        return z + noise * draw

    zs, found, h = [corrupt(0, x)], [], corrupt(0, x)
    for k, layer in enumerate(layers, start=1):
        z = matmul(h, layer["kernel"])
        found.append(moments(z, valid))
        zs.append(corrupt(k, normalise(z, found[-1])))
        h = zs[-1] + layer["bias"]
        h = act(h) if k < len(layers) else h * layer["gain"]
    return Path(zs, found, h)


def logits(
    model: ConfigDict,
    params: Params,
    x: jax.Array,
    valid: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """[B, classes] in training, with whatever normalisation and noise `model` has."""
    if model.norm == "none":
        return network.logits(params, x, model.activation)
    return forward(params, x, valid, model.activation, model.noise, key).logits


def set_batch_stats(params: Params, x: jax.Array, activation: str) -> Params:
    """The parameters with the statistics of the rows x [N, inputs], without noise."""
    path = forward(params, x, jnp.ones(len(x), bool), activation)
    found = {str(k): m._asdict() for k, m in enumerate(path.moments, start=1)}
    return params | {"statistics": found}
