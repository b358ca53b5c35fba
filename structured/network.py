"""The structured-output network, which has five parts (arXiv 1504.07550).

    encoder_in   P_in    x -> code of x
    decoder_in   P'_in   code of x -> x
    link         m       code of x -> code of y
    encoder_out  P_out   y -> code of y
    decoder_out  P'_out  code of y -> y

R_in = decoder_in(encoder_in(x)), R_out = decoder_out(encoder_out(y)), and the main
network is M(x) = decoder_out(link(encoder_in(x))). The parameters are a dict with one
entry for each part. In a tied auto-encoder, the half that the main network uses has the
kernels.
"""

import dataclasses
from itertools import pairwise

import jax
from jaxtyping import Array, Float, Key

from mtl.engine.task import Params
from mtl.tasks import precision
from mtl.tasks.network import affine, dense
from structured.autoencoder import (
    ACTIVATIONS,
    INIT_SCALES,
    AutoEncoder,
    DenseAutoEncoder,
)


@dataclasses.dataclass(frozen=True)
class Network:
    """The five parts as pure functions of all parameters.

    Attributes:
      auto_in: the auto-encoder on x.
      auto_out: the auto-encoder on y.
      link_sizes: of the hidden layers of the link.
      link_activation: of these layers. The link's last layer is the code of y, so it
        has the activation of that code.
      dtype: of the link, as of the auto-encoders.
    """

    auto_in: AutoEncoder
    auto_out: DenseAutoEncoder
    link_sizes: tuple[int, ...]
    link_activation: str
    dtype: str = "float32"

    def init(self, key: Key[Array, ""]) -> Params:
        """Draws the parameters of all parts."""
        keys = jax.random.split(key, 3)
        x, y = self.auto_in.init(keys[0]), self.auto_out.init(keys[1])
        return {
            "encoder_in": x["encoder"],
            "decoder_in": x["decoder"],
            "link": self._init_link(keys[2]),
            "encoder_out": y["encoder"],
            "decoder_out": y["decoder"],
        }

    def encoder_in(
        self, params: Params, x: Float[Array, " batch *shape"]
    ) -> Float[Array, "batch code_x"]:
        """Codes of x."""
        return self.auto_in.encode(_halves(params, "in"), x)

    def decoder_in(
        self, params: Params, code: Float[Array, "batch code_x"]
    ) -> Float[Array, " batch *shape"]:
        """Reconstructions of x from codes of x."""
        return self.auto_in.decode(_halves(params, "in"), code)

    def link(
        self, params: Params, code: Float[Array, "batch code_x"]
    ) -> Float[Array, "batch code_y"]:
        """Codes of y from codes of x."""
        layers, h = precision.narrow((params["link"], code), self.dtype)
        for k, activation in enumerate(self._link_activations, start=1):
            h = ACTIVATIONS[activation](affine(layers[str(k)], h))
        return precision.widen(h)

    def encoder_out(
        self, params: Params, y: Float[Array, "batch outputs"]
    ) -> Float[Array, "batch code_y"]:
        """Codes of y."""
        return self.auto_out.encode(_halves(params, "out"), y)

    def decoder_out(
        self, params: Params, code: Float[Array, "batch code_y"]
    ) -> Float[Array, "batch outputs"]:
        """Reconstructions of y from codes of y."""
        return self.auto_out.decode(_halves(params, "out"), code)

    def main(
        self, params: Params, x: Float[Array, " batch *shape"]
    ) -> Float[Array, "batch outputs"]:
        """Applies the main network M."""
        code = self.encoder_in(params, x)
        return self.decoder_out(params, self.link(params, code))

    @property
    def _link_activations(self) -> list[str]:
        hidden = [self.link_activation] * len(self.link_sizes)
        return [*hidden, self.auto_out.activation]

    def _init_link(self, key: Array) -> Params:
        sizes = (self.auto_in.code_size, *self.link_sizes, self.auto_out.code_size)
        scales = [INIT_SCALES[activation] for activation in self._link_activations]
        return {
            str(k): dense(jax.random.fold_in(key, k), below, above, scales[k - 1])
            for k, (below, above) in enumerate(pairwise(sizes), start=1)
        }


def _halves(params: Params, side: str) -> Params:
    """The parameters of the auto-encoder on x ("in") or on y ("out")."""
    halves = ("encoder", "decoder")
    return {half: params[f"{half}_{side}"] for half in halves}
