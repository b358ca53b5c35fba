"""The MLP with batch normalisation and noise (Rasmus et al. 2015).

In training, layer k computes z_k = normalised(x_{k-1} W_k) + noise and
x_k = activation(z_k + bias_k). The classifier, layer K + 1, also has a gain. Mean and
variance are those of the mini-batch's valid rows: rows that only fill it up change
nothing. There are no running averages, so an update step stays a pure function of
parameters and rows. `set_batch_stats` takes the statistics of the whole training set
before an evaluation:

    params["statistics"] = {"1": {mean [80], variance [80]}, ..., "K + 1": ...}

are those of the products with the kernels. No task trains them.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from mtl.engine.cpu.products import matmul
from mtl.engine.task import Params
from mtl.tasks import precision
from mtl.tasks.network import ACTIVATIONS, PARAM_DTYPE, Mlp

EPSILON = 1e-5  # Ours: is added to variances.


class Moments(NamedTuple):
    """Mean and variance of a layer's units over the rows of a mini-batch."""

    mean: Float[Array, " units"]
    variance: Float[Array, " units"]


class ForwardPass(NamedTuple):
    """One pass through the network, layers 0 (the input) to K + 1 (the classifier).

    Attributes:
      z: of each layer, normalised, with noise; the input is not normalised.
      moments: of the products of layers 1 to K + 1, before they were normalised.
      logits: of the classifier.
    """

    z: list[Float[Array, "batch _"]]
    moments: list[Moments]
    logits: Float[Array, "batch classes"]


def moments(z: Float[Array, "batch units"], valid: Bool[Array, " batch"]) -> Moments:
    """The moments of z over the rows that are valid."""
    share = (valid / jnp.maximum(valid.sum(), 1)).astype(z.dtype)
    mean = share @ z
    return Moments(mean, share @ jnp.square(z - mean))


def normalise(
    z: Float[Array, "batch units"], m: Moments
) -> Float[Array, "batch units"]:
    """Gives z mean 0 and variance 1, if these are its moments."""
    return (z - m.mean) / jnp.sqrt(m.variance + EPSILON)


@dataclasses.dataclass(frozen=True)
class BatchNormMlp(Mlp):
    """An MLP with normalised layers, without parameters.

    Attributes:
      noise: in training, the standard deviation of the Gaussian noise on the input and
        on each z.
    """

    noise: float = 0.0

    def init(self, key: Key[Array, ""]) -> Params:
        """Draws parameters as `Mlp.init` does; gains are 1, statistics 0 and 1."""
        params = super().init(key)
        zeros, ones = (partial(f, dtype=PARAM_DTYPE) for f in (jnp.zeros, jnp.ones))
        params["classifier"]["gain"] = ones(self.classes)
        statistics = {
            str(k): {"mean": zeros(n), "variance": ones(n)}
            for k, n in enumerate(self.sizes[1:], start=1)
        }
        return params | {"statistics": statistics}

    def pre_activation(
        self, params: Params, k: int, x: Float[Array, "batch {self.sizes[k-1]}"]
    ) -> Float[Array, "batch {self.sizes[k]}"]:
        """Layer k before its activation, normalised by `params["statistics"]`."""
        z = self._product(params, k, x)
        m = Moments(**params["statistics"][str(k)])
        return self._shift_and_scale(params, k, normalise(z, m))

    def training_logits(
        self,
        params: Params,
        x: Float[Array, "batch {self.inputs}"],
        valid: Bool[Array, " batch"],
        key: Key[Array, ""],
    ) -> Float[Array, "batch {self.classes}"]:
        """`logits` with the moments of the mini-batch, and with noise."""
        return self.forward(params, x, valid, key).logits

    def forward(
        self,
        params: Params,
        x: Float[Array, "batch {self.inputs}"],
        valid: Bool[Array, " batch"],
        key: Key[Array, ""] | None = None,
    ) -> ForwardPass:
        """Passes x through the network, with the moments of its own rows.

        Args:
          params: see the modules.
          x: the images.
          valid: the rows that count in the moments.
          key: of the noise; None: there is none.
        """
        zs, found = [self._corrupt(key, 0, x)], []
        h = zs[0]
        for k in range(1, self.depth + 2):
            z = self._product(params, k, h)
            found.append(moments(z, valid))
            zs.append(self._corrupt(key, k, normalise(z, found[-1])))
            h = self._shift_and_scale(params, k, zs[-1])
            h = ACTIVATIONS[self.activation](h) if k <= self.depth else h
        return ForwardPass(zs, found, h)

    def set_batch_stats(
        self, params: Params, x: Float[Array, "images {self.inputs}"]
    ) -> Params:
        """The parameters with the statistics of x, without noise."""
        found = self.forward(params, x, jnp.ones(len(x), bool)).moments
        statistics = {str(k): m._asdict() for k, m in enumerate(found, start=1)}
        return params | {"statistics": statistics}

    def _product(self, params: Params, k: int, x: Array) -> Array:
        """The product of layer k, in float32: it is normalised in this type."""
        operands = x, self.layer(params, k)["kernel"]
        return precision.widen(matmul(*precision.narrow(operands, self.dtype)))

    def _corrupt(self, key: Array | None, k: int, z: Array) -> Array:
        if key is None or self.noise == 0:
            return z
        draw = jax.random.normal(jax.random.fold_in(key, k), z.shape, z.dtype)
        return z + self.noise * draw

    def _shift_and_scale(self, params: Params, k: int, z: Array) -> Array:
        layer = self.layer(params, k)
        z = z + layer["bias"]
        return z * layer["gain"] if "gain" in layer else z
