"""Auto-encoders, dense or convolutional, whose two halves may share their matrices.

    encoder = {"1": {kernel, bias}, ..., "K": ...}    x_{k-1} -> x_k
    decoder = {"1": {kernel, bias}, ..., "K": ...}    x_k -> x_{k-1}

If tied, only one half, the owner, has kernels, and the other one uses their transposes.
"""

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
# Times Glorot's range: 4 for sigmoid (the paper); He's for relu (ours).
SCALES = {"sigmoid": 4.0, "tanh": 1.0, "relu": 2.0**0.5, "linear": 1.0}

TAPS = 9  # Of a 3x3 kernel.

Half = Literal["encoder", "decoder"]


class AutoEncoder(NamedTuple):
    """Pure functions of (encoder's parameters, decoder's parameters).

    init: `key -> (encoder, decoder)`.
    encode: `(encoder, decoder, x [B, ...]) -> [B, code]`.
    decode: `(encoder, decoder, [B, code]) -> [B, ...]`, of the shape of x.
    code: the length of the code.
    """

    init: Callable[[jax.Array], tuple[Params, Params]]
    encode: Callable[[Params, Params, jax.Array], jax.Array]
    decode: Callable[[Params, Params, jax.Array], jax.Array]
    code: int


def make_dense(
    shape: Sequence[int],
    sizes: Sequence[int],
    activation: str,
    output: str,
    owner: Half | None,
) -> AutoEncoder:
    """From x of a shape (without the batch) -> sizes[0] -> ... -> sizes[-1], and back.

    Args:
      shape: of one x; it is flattened, and the reconstruction has it again.
      sizes: of the hidden layers; the last is the code's.
      activation: of the hidden layers, forth and back.
      output: the activation of the reconstruction.
      owner: the half that has the matrices; None: both have their own.
    """
    all_sizes = (_product(shape), *sizes)
    acts = [output] + [activation] * (len(sizes) - 1)  # acts[k-1]: that of x_{k-1}.

    def init(key: jax.Array) -> tuple[Params, Params]:
        encoder, decoder = {}, {}
        for k, (below, above) in enumerate(pairwise(all_sizes), start=1):
            forth, back = jax.random.split(jax.random.fold_in(key, k))
            encoder[str(k)] = dense(forth, below, above, SCALES[activation])
            decoder[str(k)] = dense(back, above, below, SCALES[acts[k - 1]])
        return _share(encoder, decoder, owner)

    def encode(encoder: Params, decoder: Params, x: jax.Array) -> jax.Array:
        h = x.reshape(len(x), -1)
        for k in range(1, len(all_sizes)):
            h = ACTIVATIONS[activation](_affine(encoder, decoder, k, h))
        return h

    def decode(encoder: Params, decoder: Params, code: jax.Array) -> jax.Array:
        h = code
        for k in range(len(sizes), 0, -1):
            h = ACTIVATIONS[acts[k - 1]](_affine(decoder, encoder, k, h))
        return h.reshape(len(h), *shape)

    return AutoEncoder(init, encode, decode, all_sizes[-1])


def make_conv(
    shape: Sequence[int],
    channels: Sequence[int],
    strides: Sequence[int],
    activation: str,
    output: str,
    owner: Half | None,
) -> AutoEncoder:
    """Images x of shape [H, W] through 3x3 convolutions, and back by their transposes.

    H and W must be multiples of the product of the strides. The code is the last map,
    flattened.
    """
    shrink = _product(strides)
    end = (shape[0] // shrink, shape[1] // shrink, channels[-1])
    acts = [output] + [activation] * (len(channels) - 1)
    layers = list(zip(acts, strides, strict=True))

    def init(key: jax.Array) -> tuple[Params, Params]:
        encoder, decoder = {}, {}
        for k, (below, above) in enumerate(pairwise((1, *channels)), start=1):
            act, stride = layers[k - 1]
            forth, back = jax.random.split(jax.random.fold_in(key, k))
            fan_back = TAPS * above / stride**2
            encoder[str(k)] = {
                "kernel": _kernels(forth, below, above, TAPS * below, activation),
                "bias": jnp.zeros(above),
            }
            decoder[str(k)] = {
                "kernel": _kernels(back, below, above, fan_back, act),
                "bias": jnp.zeros(below),
            }
        return _share(encoder, decoder, owner)

    def encode(encoder: Params, decoder: Params, x: jax.Array) -> jax.Array:
        h = x[..., None]
        for k, (_, stride) in enumerate(layers, start=1):
            kernel = _square(_kernel(encoder, decoder, k))
            z = conv.conv(h, kernel, stride, padding=1)
            h = ACTIVATIONS[activation](z + encoder[str(k)]["bias"])
        return h.reshape(len(h), -1)

    def decode(encoder: Params, decoder: Params, code: jax.Array) -> jax.Array:
        h = code.reshape(len(code), *end)
        for k, (act, stride) in reversed(list(enumerate(layers, start=1))):
            kernel = _square(_kernel(decoder, encoder, k))
            size = h.shape[1] * stride, h.shape[2] * stride
            z = conv.deconv(h, kernel, stride, 1, size)
            h = ACTIVATIONS[act](z + decoder[str(k)]["bias"])
        return h[..., 0]

    return AutoEncoder(init, encode, decode, _product(end))


def _share(
    encoder: Params, decoder: Params, owner: Half | None
) -> tuple[Params, Params]:
    """Takes its kernels from the half that does not own them."""
    for half, name in ((encoder, "encoder"), (decoder, "decoder")):
        if owner not in (None, name):
            for layer in half.values():
                del layer["kernel"]
    return encoder, decoder


def _kernel(own: Params, other: Params, k: int) -> jax.Array:
    """The matrix of layer k: its own, or that of the other half."""
    return own[str(k)]["kernel"] if "kernel" in own[str(k)] else other[str(k)]["kernel"]


def _square(kernel: jax.Array) -> jax.Array:
    """[3, 3, C, F] from [9 C, F]."""
    return kernel.reshape(3, 3, -1, kernel.shape[-1])


def _affine(own: Params, other: Params, k: int, h: jax.Array) -> jax.Array:
    """Layer k of a dense half; the other half's matrix is the transpose."""
    transposed = "kernel" not in own[str(k)]
    return matmul(h, _kernel(own, other, k), transposed) + own[str(k)]["bias"]


def _kernels(
    key: jax.Array, below: int, above: int, fan_in: float, activation: str
) -> jax.Array:
    """[9 below, above] from U(±scale sqrt(3 / fan_in)); He's range for relu."""
    bound = SCALES[activation] * (3 / fan_in) ** 0.5
    shape = (TAPS * below, above)
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
