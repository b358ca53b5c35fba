"""Dense and convolutional auto-encoders; their two halves may share kernels.

    params = {"encoder": {"1": {kernel, bias}, ..., "K": ...},    x_{k-1} -> x_k
              "decoder": {"1": {kernel, bias}, ..., "K": ...}}    x_k -> x_{k-1}

If tied, only one half has kernels; the other half uses their transposes.
"""

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mtl.engine.cpu import conv
from mtl.engine.cpu.products import matmul
from mtl.engine.task import Params
from mtl.tasks import precision
from mtl.tasks.network import PARAM_DTYPE, dense

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "linear": lambda z: z,
}
# Factors of Glorot's range: 4 for sigmoid (the paper); relu gives He's range (ours).
INIT_SCALES = {"sigmoid": 4.0, "tanh": 1.0, "relu": 2.0**0.5, "linear": 1.0}

KERNEL_AREA = 9  # Entries of a 3x3 kernel.

Half = Literal["encoder", "decoder"]
OTHER_HALF: dict[Half, Half] = {"encoder": "decoder", "decoder": "encoder"}


@dataclasses.dataclass(frozen=True)
class _AutoEncoder:
    """The settings of both kinds of auto-encoders.

    Attributes:
      shape: of one x, and of its reconstruction.
      activation: of the hidden layers in both halves.
      output_activation: of the reconstruction.
      kernel_half: the half that has the kernels; None: both halves have their own.
      dtype: of products and activations, one of `precision.DTYPES`. Codes and
        reconstructions are float32.
    """

    shape: tuple[int, ...]
    activation: str
    output_activation: str
    kernel_half: Half | None
    dtype: str = dataclasses.field(default="float32", kw_only=True)

    def decoder_activation(self, k: int) -> str:
        """The activation of x_{k-1} in the decoder."""
        return self.output_activation if k == 1 else self.activation

    def _init_scales(self, k: int) -> tuple[float, float]:
        """The factors of layer k's initial range, in the encoder and the decoder."""
        return INIT_SCALES[self.activation], INIT_SCALES[self.decoder_activation(k)]

    def _tie(self, params: Params) -> Params:
        """Removes the kernels of the half that uses those of the other half."""
        if self.kernel_half:
            for layer in params[OTHER_HALF[self.kernel_half]].values():
                del layer["kernel"]
        return params


@dataclasses.dataclass(frozen=True)
class DenseAutoEncoder(_AutoEncoder):
    """A dense auto-encoder: x -> sizes[0] -> ... -> sizes[-1], and in reverse.

    Attributes:
      sizes: of the hidden layers; the last layer is the code. x is flattened.
    """

    sizes: tuple[int, ...]

    @property
    def code_size(self) -> int:
        """The size of the code."""
        return self.sizes[-1]

    def init(self, key: Key[Array, ""]) -> Params:
        """Draws kernels from Glorot's range, times `INIT_SCALES`; biases are 0."""
        encoder, decoder = {}, {}
        sizes = (math.prod(self.shape), *self.sizes)
        for k, (below, above) in enumerate(pairwise(sizes), start=1):
            encoder_key, decoder_key = jax.random.split(jax.random.fold_in(key, k))
            scale, decoder_scale = self._init_scales(k)
            encoder[str(k)] = dense(encoder_key, below, above, scale)
            decoder[str(k)] = dense(decoder_key, above, below, decoder_scale)
        return self._tie({"encoder": encoder, "decoder": decoder})

    def encode(
        self, params: Params, x: Float[Array, " batch *shape"]
    ) -> Float[Array, "batch {self.code_size}"]:
        """Codes of x."""
        params, x = precision.narrow((params, x), self.dtype)
        h = x.reshape(x.shape[0], math.prod(self.shape))
        for k in range(1, len(self.sizes) + 1):
            h = ACTIVATIONS[self.activation](_dense_layer(params, "encoder", k, h))
        return precision.widen(h)

    def decode(
        self, params: Params, code: Float[Array, "batch {self.code_size}"]
    ) -> Float[Array, " batch *shape"]:
        """Reconstructions of x from codes."""
        params, h = precision.narrow((params, code), self.dtype)
        for k in range(len(self.sizes), 0, -1):
            z = _dense_layer(params, "decoder", k, h)
            h = ACTIVATIONS[self.decoder_activation(k)](z)
        return precision.widen(h.reshape(h.shape[0], *self.shape))


@dataclasses.dataclass(frozen=True)
class ConvAutoEncoder(_AutoEncoder):
    """An auto-encoder of 3x3 convolutions and their transposes, on images [H, W].

    The code is the flattened output of the last convolution.

    Attributes:
      channels: of the convolutions.
      strides: of the convolutions; H and W are multiples of their product.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def code_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the code."""
        height, width = (side // math.prod(self.strides) for side in self.shape)
        return height, width, self.channels[-1]

    @property
    def code_size(self) -> int:
        """The size of the code."""
        return math.prod(self.code_shape)

    def init(self, key: Key[Array, ""]) -> Params:
        """Draws kernels from U(±scale sqrt(3 / fan_in)), see `INIT_SCALES`."""
        encoder, decoder = {}, {}
        channels = (1, *self.channels)
        for k, (below, above) in enumerate(pairwise(channels), start=1):
            encoder_key, decoder_key = jax.random.split(jax.random.fold_in(key, k))
            fan_in = KERNEL_AREA * below
            decoder_fan_in = KERNEL_AREA * above / self.strides[k - 1] ** 2
            scale, decoder_scale = self._init_scales(k)
            bound = scale * (3 / fan_in) ** 0.5
            decoder_bound = decoder_scale * (3 / decoder_fan_in) ** 0.5
            shape = (KERNEL_AREA * below, above)
            encoder[str(k)] = _draw_layer(encoder_key, shape, bound, above)
            decoder[str(k)] = _draw_layer(decoder_key, shape, decoder_bound, below)
        return self._tie({"encoder": encoder, "decoder": decoder})

    def encode(
        self, params: Params, x: Float[Array, "batch height width"]
    ) -> Float[Array, "batch {self.code_size}"]:
        """Codes of images x."""
        params, x = precision.narrow((params, x), self.dtype)
        h = x[..., None]
        for k, stride in enumerate(self.strides, start=1):
            z = conv.conv(h, _conv_kernel(params, "encoder", k), stride, padding=1)
            h = ACTIVATIONS[self.activation](z + params["encoder"][str(k)]["bias"])
        return precision.widen(h.reshape(h.shape[0], self.code_size))

    def decode(
        self, params: Params, code: Float[Array, "batch {self.code_size}"]
    ) -> Float[Array, "batch height width"]:
        """Reconstructions of images x from codes."""
        params, code = precision.narrow((params, code), self.dtype)
        h = code.reshape(code.shape[0], *self.code_shape)
        for k, stride in reversed(list(enumerate(self.strides, start=1))):
            size = h.shape[1] * stride, h.shape[2] * stride
            z = conv.deconv(h, _conv_kernel(params, "decoder", k), stride, 1, size)
            z = z + params["decoder"][str(k)]["bias"]
            h = ACTIVATIONS[self.decoder_activation(k)](z)
        return precision.widen(h[..., 0])


AutoEncoder = DenseAutoEncoder | ConvAutoEncoder


def _kernel(params: Params, half: Half, k: int) -> Array:
    """The kernel of layer k of a half: its own, or that of the other half."""
    own = params[half][str(k)]
    return own.get("kernel", params[OTHER_HALF[half]][str(k)].get("kernel"))


def _dense_layer(params: Params, half: Half, k: int, h: Array) -> Array:
    """Applies layer k of a half, before the activation."""
    layer = params[half][str(k)]
    transposed = "kernel" not in layer
    return matmul(h, _kernel(params, half, k), transposed) + layer["bias"]


def _conv_kernel(params: Params, half: Half, k: int) -> Array:
    """The kernel [3, 3, C, F] of layer k; it is stored as [9 C, F]."""
    kernel = _kernel(params, half, k)
    return kernel.reshape(3, 3, -1, kernel.shape[-1])


def _draw_layer(
    key: Array, shape: tuple[int, int], bound: float, channels: int
) -> Params:
    """A kernel from U(±bound), and biases of 0."""
    kernel = jax.random.uniform(key, shape, PARAM_DTYPE, -bound, bound)
    return {"kernel": kernel, "bias": jnp.zeros(channels, PARAM_DTYPE)}
