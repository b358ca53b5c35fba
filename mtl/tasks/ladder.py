"""The ladder network and its denoising costs (Rasmus et al. 2015, arXiv 1507.02672).

The network sees an image twice, with noise and without (`batch_norm`). From the top
down, a decoder estimates each clean z_l from the noisy one and from the estimate of the
layer above. The cost is the squared distance, after the estimate was shifted and scaled
as the clean z_l was. The Gamma model is the top layer's cost alone. Classifying with
the noise on, as `classify.task` does when `model.noise` is set, is the other part
of the paper's objective.

    params["decoder"] = {"0": {combinator [10, 784], kernel [500, 784]}, ...,
                         "3": {combinator [10, 10]}}
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key
from ml_collections import ConfigDict

from mtl.engine.task import Params, Task
from mtl.host.checks import require
from mtl.tasks import precision
from mtl.tasks.batch_norm import BatchNormMlp, ForwardPass, moments, normalise
from mtl.tasks.network import PARAM_DTYPE, dense


@dataclasses.dataclass(frozen=True)
class Ladder(BatchNormMlp):
    """A ladder network, without parameters.

    Attributes:
      cost_weights: of the denoising costs of layers 0 (the input) to K + 1.
    """

    cost_weights: tuple[float, ...] = ()

    def init(self, key: Key[Array, ""]) -> Params:
        """Draws parameters; the decoder reaches down to the lowest layer with a cost.

        In combinators, slopes inside the sigmoids are 1, all else is 0.
        """
        lowest = next(k for k, weight in enumerate(self.cost_weights) if weight > 0)
        sizes, decoder = self.sizes, {}
        for k in range(lowest, len(sizes)):
            start = jnp.zeros((10, sizes[k]), PARAM_DTYPE).at[jnp.array([1, 6])].set(1)
            decoder[str(k)] = {"combinator": start}
            if k + 1 < len(sizes):
                drawn = dense(jax.random.fold_in(key, k), sizes[k + 1], sizes[k])
                decoder[str(k)]["kernel"] = drawn["kernel"]
        return super().init(key) | {"decoder": decoder}

    def denoising_costs(
        self,
        params: Params,
        clean: ForwardPass,
        noisy: ForwardPass,
        valid: Bool[Array, " batch"],
    ) -> Float[Array, " batch"]:
        """The sum over layers of weight · mean over units of (z − estimate)²."""
        decoder, top = params["decoder"], self.depth + 1
        total = jnp.zeros(valid.shape, clean.logits.dtype)
        estimate = jax.nn.softmax(noisy.logits)
        for k in sorted(map(int, decoder), reverse=True):
            layer = decoder[str(k)]
            above = estimate if k == top else self._decode(layer, estimate)
            above = normalise(above, moments(above, valid))
            estimate = combine(layer["combinator"], noisy.z[k], above)
            # The input is not normalised; layer k > 0 has moments k - 1.
            scaled = normalise(estimate, clean.moments[k - 1]) if k else estimate
            total += self.cost_weights[k] * jnp.square(scaled - clean.z[k]).mean(-1)
        return total

    def _decode(self, layer: Params, estimate: Array) -> Array:
        estimate, kernel = precision.narrow((estimate, layer["kernel"]), self.dtype)
        return precision.widen(estimate @ kernel)


def check(c: ConfigDict) -> None:
    """Checks `config.ladder` and `config.gamma`; raises ConfigError."""
    layers, costs = len(c.model.hidden) + 2, c.ladder.costs
    fits = 0 < len(costs) <= layers and min(costs) >= 0 < max(costs)
    what = f"1 to {layers} numbers, none below 0, one above"
    require(fits, c, "ladder.costs", what)
    require(c.gamma.cost > 0, c, "gamma.cost", "above 0")


def task(config: ConfigDict, network: Ladder) -> Task:
    """The denoising costs of all layers that have one, over all examples."""

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        x, valid = batch["image"], batch["valid"]
        clean = network.forward(params, x, valid)
        noisy = network.forward(params, x, valid, key)
        return network.denoising_costs(params, clean, noisy, valid)

    return Task(config.unsupervised, loss, params=("encoder", "classifier", "decoder"))


def cost_weights(config: ConfigDict) -> tuple[float, ...]:
    """Those of layers 0 to K + 1; the last one given stands for all above."""
    layers = len(config.model.hidden) + 2
    if config.unsupervised == "gamma":
        return (0.0,) * (layers - 1) + (config.gamma.cost,)
    given = config.ladder.costs
    return tuple(given[min(k, len(given) - 1)] for k in range(layers))


def combine(
    a: Float[Array, "10 units"],
    z: Float[Array, "batch units"],
    u: Float[Array, "batch units"],
) -> Float[Array, "batch units"]:
    """The combinator g(z, u) = (z − m(u)) v(u) + m(u); equation 2.

    It is the best denoising of a Gaussian z if its mean and variance depend on u.
    """
    mean = a[0] * jax.nn.sigmoid(a[1] * u + a[2]) + a[3] * u + a[4]
    gate = a[5] * jax.nn.sigmoid(a[6] * u + a[7]) + a[8] * u + a[9]
    return (z - mean) * gate + mean
