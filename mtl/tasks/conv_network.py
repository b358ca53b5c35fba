"""The network of system 1 with convolutions below its dense layers (ours).

    params = {"encoder": {"1": {kernel [3, 3, 1, 16], bias [16]}, ..., "3": {dense}},
              "decoder": {"1": {bias [1], and a kernel if untied}, ...}, "classifier"}

Images and the outputs of all layers are rows [batch, size], as in `network.Mlp`, so
that tasks know no difference.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mtl.engine.cpu import conv
from mtl.engine.task import Params
from mtl.tasks import precision
from mtl.tasks.network import PARAM_DTYPE, Mlp

SIZE, PADDING = 3, 1  # Of kernels, in pixels.


@dataclasses.dataclass(frozen=True)
class ConvNet(Mlp):
    """An `Mlp` with 3x3 convolutions below its dense layers, without parameters.

    The first layers are the convolutions. The decoder of a convolution is a transposed
    convolution, so each layer has a denoising auto-encoder.

    Attributes:
      shape: rows, columns and channels of an image.
      channels: of the convolutions.
      strides: of the convolutions. An odd side is rounded up: 7 becomes 4 at stride 2.
    """

    shape: tuple[int, int, int] = (1, 1, 1)
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    custom_gradients: ClassVar[bool] = True

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Rows, columns and channels of the image and of each convolution's output."""
        shapes = [self.shape]
        for channels, stride in zip(self.channels, self.strides, strict=True):
            height, width = (-(-side // stride) for side in shapes[-1][:2])
            shapes.append((height, width, channels))
        return shapes

    @property
    def depth(self) -> int:
        """K, the number of convolutions and of hidden dense layers."""
        return len(self.channels) + len(self.hidden)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of layers 0 (the input) to K + 1 (the classifier)."""
        return (*map(math.prod, self.shapes), *self.hidden, self.classes)

    def pre_activation(
        self, params: Params, k: int, x: Float[Array, "batch {self.sizes[k-1]}"]
    ) -> Float[Array, "batch {self.sizes[k]}"]:
        """Layer k before its activation, from x_{k-1}."""
        if not self._convolves(k):
            return super().pre_activation(params, k, x)
        layer, x = precision.narrow((self.layer(params, k), x), self.dtype)
        images = x.reshape(x.shape[0], *self.shapes[k - 1])
        z = conv.conv(images, layer["kernel"], self.strides[k - 1], PADDING)
        return (z + layer["bias"]).reshape(x.shape[0], self.sizes[k])

    def decode(
        self, params: Params, k: int, code: Float[Array, "batch {self.sizes[k]}"]
    ) -> Float[Array, "batch {self.sizes[k-1]}"]:
        """Decoder k, before its activation: x_{k-1} from x_k."""
        if not self._convolves(k):
            return super().decode(params, k, code)
        decoder, below = params["decoder"][str(k)], self.shapes[k - 1]
        kernel = (params["encoder"][str(k)] if self.tied else decoder)["kernel"]
        operands = code, kernel, decoder["bias"]
        code, kernel, bias = precision.narrow(operands, self.dtype)
        images = code.reshape(code.shape[0], *self.shapes[k])
        z = conv.deconv(images, kernel, self.strides[k - 1], PADDING, below[:2])
        return precision.widen((z + bias).reshape(code.shape[0], self.sizes[k - 1]))

    def init_layer(self, key: Key[Array, ""], k: int) -> tuple[Params, Params]:
        """Draws layer k, and its decoder.

        A kernel is from U(±sqrt(6 / (fan_in + fan_out))), sigmoid: 4 times that, where
        a fan is 9 times the number of channels.
        """
        if not self._convolves(k):
            return super().init_layer(key, k)
        shape = SIZE, SIZE, self.shapes[k - 1][2], self.shapes[k][2]
        draw = jax.nn.initializers.glorot_uniform(dtype=PARAM_DTYPE)
        kernels = [self.init_scale * draw(k, shape) for k in jax.random.split(key)]
        biases = [jnp.zeros(channels, PARAM_DTYPE) for channels in shape[:1:-1]]
        encoder, decoder = (
            {"kernel": kernel, "bias": bias}
            for kernel, bias in zip(kernels, biases, strict=True)
        )
        return encoder, decoder

    def _convolves(self, k: int) -> bool:
        return k <= len(self.channels)
