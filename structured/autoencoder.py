"""Makes dense or convolutional auto-encoders; their two halves may share kernels.

    encoder = {"1": {kernel, bias}, ..., "K": ...}    x_{k-1} -> x_k
    decoder = {"1": {kernel, bias}, ..., "K": ...}    x_k -> x_{k-1}

If tied, only one half, the kernel owner, has kernels; the other half uses their
transposes.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl.engine.cpu import conv
from mtl.engine.cpu.products import matmul
from mtl.engine.task import Params
from mtl.tasks.network import dense

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "linear": lambda z: z,
}
# Factors of Glorot's range: 4 for sigmoid (the paper); relu gives He's range (ours).
INIT_SCALES = {"sigmoid": 4.0, "tanh": 1.0, "relu": 2.0**0.5, "linear": 1.0}

KERNEL_AREA = 9  # Entries of a 3x3 kernel.

Half = Literal["encoder", "decoder"]


class AutoEncoder(NamedTuple):
    """Pure functions of the encoder's and the decoder's parameters.

    Attributes:
      init: `key -> (encoder, decoder)`.
      encode: `(encoder, decoder, x [B, ...]) -> [B, D]`.
      decode: `(encoder, decoder, [B, D]) -> [B, ...]`, of the shape of x.
      code_size: D, the size of the code.
    """

    init: Callable[[jax.Array], tuple[Params, Params]]
    encode: Callable[[Params, Params, jax.Array], jax.Array]
    decode: Callable[[Params, Params, jax.Array], jax.Array]
    code_size: int


def make_dense(
    shape: Sequence[int],
    sizes: Sequence[int],
    activation: str,
    output: str,
    kernel_owner: Half | None,
) -> AutoEncoder:
    """Makes a dense auto-encoder: x -> sizes[0] -> ... -> sizes[-1], and in reverse.

    Args:
      shape: the shape of one x, which is flattened, and of its reconstruction.
      sizes: the sizes of the hidden layers; the last layer is the code.
      activation: of the hidden layers in both halves.
      output: the activation of the reconstruction.
      kernel_owner: the half that has the matrices; None: both halves have their own.
    """
    all_sizes = (math.prod(shape), *sizes)
    acts = [output] + [activation] * (len(sizes) - 1)  # acts[k-1] gives x_{k-1}.

    def init(key: jax.Array) -> tuple[Params, Params]:
        encoder, decoder = {}, {}
        for k, (below, above) in enumerate(pairwise(all_sizes), start=1):
            encoder_key, decoder_key = jax.random.split(jax.random.fold_in(key, k))
            encoder[str(k)] = dense(encoder_key, below, above, INIT_SCALES[activation])
            decoder[str(k)] = dense(decoder_key, above, below, INIT_SCALES[acts[k - 1]])
        return _tie_kernels(encoder, decoder, kernel_owner)

    def encode(encoder: Params, decoder: Params, x: jax.Array) -> jax.Array:
        h = x.reshape(len(x), -1)
        for k in range(1, len(all_sizes)):
            h = ACTIVATIONS[activation](_dense_layer(encoder, decoder, k, h))
        return h

    def decode(encoder: Params, decoder: Params, code: jax.Array) -> jax.Array:
        h = code
        for k in range(len(sizes), 0, -1):
            h = ACTIVATIONS[acts[k - 1]](_dense_layer(decoder, encoder, k, h))
        return h.reshape(len(h), *shape)

    return AutoEncoder(init, encode, decode, all_sizes[-1])


def make_conv(
    shape: Sequence[int],
    channels: Sequence[int],
    strides: Sequence[int],
    activation: str,
    output: str,
    kernel_owner: Half | None,
) -> AutoEncoder:
    """Makes an auto-encoder of 3x3 convolutions and their transposes.

    The code is the flattened output of the last convolution.

    Args:
      shape: [H, W] of one image x, multiples of the product of the strides.
      channels: of the convolutions.
      strides: of the convolutions.
      activation: of the hidden layers in both halves.
      output: the activation of the reconstruction.
      kernel_owner: the half that has the kernels; None: both halves have their own.
    """
    stride_product = math.prod(strides)
    height, width = (side // stride_product for side in shape)
    code_shape = (height, width, channels[-1])
    acts = [output] + [activation] * (len(channels) - 1)
    layers = list(zip(acts, strides, strict=True))

    def init(key: jax.Array) -> tuple[Params, Params]:
        encoder, decoder = {}, {}
        for k, (below, above) in enumerate(pairwise((1, *channels)), start=1):
            act, stride = layers[k - 1]
            encoder_key, decoder_key = jax.random.split(jax.random.fold_in(key, k))
            fan_in = KERNEL_AREA * below
            decoder_fan_in = KERNEL_AREA * above / stride**2
            encoder[str(k)] = {
                "kernel": _init_conv_kernel(
                    encoder_key, below, above, fan_in, activation
                ),
                "bias": jnp.zeros(above),
            }
            decoder[str(k)] = {
                "kernel": _init_conv_kernel(
                    decoder_key, below, above, decoder_fan_in, act
                ),
                "bias": jnp.zeros(below),
            }
        return _tie_kernels(encoder, decoder, kernel_owner)

    def encode(encoder: Params, decoder: Params, x: jax.Array) -> jax.Array:
        h = x[..., None]
        for k, (_, stride) in enumerate(layers, start=1):
            kernel = _as_3x3(_kernel(encoder, decoder, k))
            z = conv.conv(h, kernel, stride, padding=1)
            h = ACTIVATIONS[activation](z + encoder[str(k)]["bias"])
        return h.reshape(len(h), -1)

    def decode(encoder: Params, decoder: Params, code: jax.Array) -> jax.Array:
        h = code.reshape(len(code), *code_shape)
        for k, (act, stride) in reversed(list(enumerate(layers, start=1))):
            kernel = _as_3x3(_kernel(decoder, encoder, k))
            size = h.shape[1] * stride, h.shape[2] * stride
            z = conv.deconv(h, kernel, stride, 1, size)
            h = ACTIVATIONS[act](z + decoder[str(k)]["bias"])
        return h[..., 0]

    return AutoEncoder(init, encode, decode, math.prod(code_shape))


def _tie_kernels(
    encoder: Params, decoder: Params, kernel_owner: Half | None
) -> tuple[Params, Params]:
    """Removes the kernels of the half that does not own them."""
    for half, name in ((encoder, "encoder"), (decoder, "decoder")):
        if kernel_owner not in (None, name):
            for layer in half.values():
                del layer["kernel"]
    return encoder, decoder


def _kernel(own: Params, other: Params, k: int) -> jax.Array:
    """Returns the kernel of layer k: its own, or the other half's."""
    return own[str(k)]["kernel"] if "kernel" in own[str(k)] else other[str(k)]["kernel"]


def _as_3x3(kernel: jax.Array) -> jax.Array:
    """Reshapes a kernel [9 C, F] to [3, 3, C, F]."""
    return kernel.reshape(3, 3, -1, kernel.shape[-1])


def _dense_layer(own: Params, other: Params, k: int, h: jax.Array) -> jax.Array:
    """Applies layer k of a dense half, before the activation."""
    transposed = "kernel" not in own[str(k)]
    return matmul(h, _kernel(own, other, k), transposed) + own[str(k)]["bias"]


def _init_conv_kernel(
    key: jax.Array, below: int, above: int, fan_in: float, activation: str
) -> jax.Array:
    """Draws [9 below, above] from U(±scale sqrt(3 / fan_in)); He's range for relu."""
    bound = INIT_SCALES[activation] * (3 / fan_in) ** 0.5
    shape = (KERNEL_AREA * below, above)
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
