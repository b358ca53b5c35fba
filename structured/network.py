"""Makes the structured-output network from five parts (arXiv 1504.07550).

    encoder_in   P_in    x -> code of x
    decoder_in   P'_in   code of x -> x
    link         m       code of x -> code of y
    encoder_out  P_out   y -> code of y
    decoder_out  P'_out  code of y -> y

R_in = decoder_in(encoder_in(x)), R_out = decoder_out(encoder_out(y)), and the main
network is M(x) = decoder_out(link(encoder_in(x))). Each part is a pure function of all
parameters, a dict with one entry for each part. In a tied auto-encoder, the half that
the main network uses owns the matrices.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from mtl.engine.task import Params
from mtl.tasks.network import affine, dense
from structured.autoencoder import (
    ACTIVATIONS,
    INIT_SCALES,
    AutoEncoder,
    Half,
    make_conv,
    make_dense,
)

Part = Callable[[Params, jax.Array], jax.Array]


class Network(NamedTuple):
    """Pure functions `init(key) -> params` and `part(params, [B, ...]) -> [B, ...]`."""

    init: Callable[[jax.Array], Params]
    encoder_in: Part
    decoder_in: Part
    link: Part
    encoder_out: Part
    decoder_out: Part

    def main(self, params: Params, x: jax.Array) -> jax.Array:
        """Applies the main network M to x [B, ...]; returns [B, outputs]."""
        code = self.encoder_in(params, x)
        return self.decoder_out(params, self.link(params, code))


def make(model: ConfigDict, shape: Sequence[int], outputs: int) -> Network:
    """Makes the network of `config.model`.

    Args:
      model: `config.model`.
      shape: the shape of one x.
      outputs: the size of one y.
    """
    c = model
    auto_in, auto_out = _input_side(c, shape), _output_side(c, outputs)
    sizes = (auto_in.code_size, *c.link, auto_out.code_size)
    # The link's last layer is the code of y, so it has the code's activation.
    acts = [c.link_activation] * len(c.link) + [c.output_activation]

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 3)
        encoder_in, decoder_in = auto_in.init(keys[0])
        encoder_out, decoder_out = auto_out.init(keys[1])
        return {
            "encoder_in": encoder_in,
            "decoder_in": decoder_in,
            "link": _init_link(keys[2], sizes, acts),
            "encoder_out": encoder_out,
            "decoder_out": decoder_out,
        }

    def link(params: Params, h: jax.Array) -> jax.Array:
        for k, act in enumerate(acts, start=1):
            h = ACTIVATIONS[act](affine(params["link"][str(k)], h))
        return h

    return Network(
        init,
        lambda p, x: auto_in.encode(p["encoder_in"], p["decoder_in"], x),
        lambda p, h: auto_in.decode(p["encoder_in"], p["decoder_in"], h),
        link,
        lambda p, y: auto_out.encode(p["encoder_out"], p["decoder_out"], y),
        lambda p, h: auto_out.decode(p["encoder_out"], p["decoder_out"], h),
    )


def _input_side(c: ConfigDict, shape: Sequence[int]) -> AutoEncoder:
    act, output = c.input_activation, c.x_activation
    kernel_owner: Half | None = "encoder" if c.tied_input else None
    if c.encoder == "cnn":
        return make_conv(shape, c.channels, c.strides, act, output, kernel_owner)
    return make_dense(shape, c.input, act, output, kernel_owner)


def _output_side(c: ConfigDict, outputs: int) -> AutoEncoder:
    kernel_owner: Half | None = "decoder" if c.tied_output else None
    act, output = c.output_activation, c.y_activation
    return make_dense((outputs,), c.output, act, output, kernel_owner)


def _init_link(key: jax.Array, sizes: Sequence[int], acts: Sequence[str]) -> Params:
    layers = {}
    for k, ((below, above), act) in enumerate(
        zip(pairwise(sizes), acts, strict=True), start=1
    ):
        layers[str(k)] = dense(
            jax.random.fold_in(key, k), below, above, INIT_SCALES[act]
        )
    return layers
