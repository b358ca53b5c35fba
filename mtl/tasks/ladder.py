"""The ladder network's denoising costs (Rasmus et al. 2015, arXiv 1507.02672).

The network sees an image twice, with noise and without (`normed`). From the top down, a
decoder estimates each clean z_l from the noisy one and from what the layer above
estimated; the cost is the squared distance, after the estimate was shifted and scaled
as the clean z_l was. The Gamma model is the top layer's cost alone. Classifying with
the noise on, as `classify.task` does when `model.noise` is set, is the other part
of the paper's objective.

    params["decoder"] = {"0": {combinator [10, 784], kernel [500, 784]}, ...,
                         "3": {combinator [10, 10]}}
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mtl.engine.task import Params, Task
from mtl.tasks import batch_norm, network


def task(config: ConfigDict) -> Task:
    """The denoising costs of all layers that have one, over all examples."""
    act, noise = config.model.activation, config.model.noise
    weights = costs(config)

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        x, valid = batch["image"], batch["valid"]
        clean = batch_norm.forward(params, x, valid, act)
        noisy = batch_norm.forward(params, x, valid, act, noise, key)
        return denoising(params["decoder"], clean, noisy, valid, weights)

    return Task(config.unsupervised, loss, params=("encoder", "classifier", "decoder"))


def costs(config: ConfigDict) -> list[float]:
    """The weights of layers 0, ..., K + 1; the last one given stands for all above."""
    layers = len(config.model.hidden) + 2
    if config.unsupervised == "gamma":
        return [0.0] * (layers - 1) + [config.gamma.cost]
    given = config.ladder.costs
    return [given[min(k, len(given) - 1)] for k in range(layers)]


def denoising(
    decoder: Params,
    clean: batch_norm.Path,
    noisy: batch_norm.Path,
    valid: jax.Array,
    weights: Sequence[float],
) -> jax.Array:
    """[B]: the sum over layers of weight · mean over units of (z − estimate)²."""
    top, total = len(weights) - 1, jnp.zeros(valid.shape, clean.logits.dtype)
    estimate = jax.nn.softmax(noisy.logits)
    for k in sorted(map(int, decoder), reverse=True):
        layer = decoder[str(k)]
        above = estimate if k == top else estimate @ layer["kernel"]
        above = batch_norm.normalise(above, batch_norm.moments(above, valid))
        estimate = combine(layer["combinator"], noisy.z[k], above)
        # The input is as it is; layer k > 0 has moments k - 1.
        back = batch_norm.normalise(estimate, clean.moments[k - 1]) if k else estimate
        total += weights[k] * jnp.square(back - clean.z[k]).mean(-1)
    return total


def combine(a: jax.Array, z: jax.Array, u: jax.Array) -> jax.Array:
    """The combinator g(z, u) = (z − m(u)) v(u) + m(u), [B, n]; equation 2, a [10, n].

    It is the best denoising of a Gaussian z if its mean and variance depend on u.
    """
    mean = a[0] * jax.nn.sigmoid(a[1] * u + a[2]) + a[3] * u + a[4]
    gate = a[5] * jax.nn.sigmoid(a[6] * u + a[7]) + a[8] * u + a[9]
    return (z - mean) * gate + mean


def init(config: ConfigDict, key: jax.Array, inputs: int, classes: int) -> Params:
    """The decoder, down to the lowest layer with a cost; combinators start at 0."""
    sizes, weights = [inputs, *config.model.hidden, classes], costs(config)
    lowest = next(k for k, weight in enumerate(weights) if weight > 0)
    decoder = {}
    for k in range(lowest, len(sizes)):
        # Slopes inside the sigmoids are 1, all else 0.
        start = jnp.zeros((10, sizes[k])).at[jnp.array([1, 6])].set(1)
        decoder[str(k)] = {"combinator": start}
        if k + 1 < len(sizes):
            dense = network.dense(jax.random.fold_in(key, k), sizes[k + 1], sizes[k])
            decoder[str(k)]["kernel"] = dense["kernel"]
    return decoder
