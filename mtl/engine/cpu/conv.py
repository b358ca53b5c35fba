"""A convolution, its transpose, and the gradient of the kernel that both have.

Each is one convolution of XLA's in its plain layout (images NHWC, kernel HWIO), with
the transpositions around it. The gradients that JAX derives are convolutions in other
layouts, and inside a loop XLA runs these on a CPU a hundred times slower
(github.com/jax-ml/jax/issues/12868); an epoch is a loop.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Sides = tuple[int, int]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "size size channels filters"],
    stride: int,
    padding: int,
) -> Float[Array, "batch rows columns filters"]:
    """The convolution of images with a square kernel.

    Zeros are around x, `padding` on each side;
    rows = (height + 2 padding - size) // stride + 1.
    """
    return _plain(x, kernel, ((padding, padding),) * 2, stride=stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def deconv(
    y: Float[Array, "batch rows columns filters"],
    kernel: Float[Array, "size size channels filters"],
    stride: int,
    padding: int,
    size: Sides,
) -> Float[Array, "batch height width channels"]:
    """The transpose of `conv` of images of a size, (height, width).

    It is the gradient of <conv(x, kernel), y> with respect to x.
    """
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    first = len(kernel) - 1 - padding
    last = [first + rest for rest in _unused(size, kernel, stride, padding)]
    sides = (first, last[0]), (first, last[1])
    return _plain(y, flipped, sides, input_dilation=stride)


def _kernel_gradient(
    x: Float[Array, "batch height width channels"],
    y: Float[Array, "batch rows columns filters"],
    kernel: Float[Array, "size size channels filters"],
    stride: int,
    padding: int,
) -> Float[Array, "size size channels filters"]:
    """The gradient of <conv(x, kernel), y> with respect to the kernel.

    Examples take the place of channels, and channels that of examples.
    """
    rest = _unused((x.shape[1], x.shape[2]), kernel, stride, padding)
    sides = (padding, padding - rest[0]), (padding, padding - rest[1])
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    return _plain(x, y, sides, kernel_dilation=stride).transpose(1, 2, 0, 3)


def _unused(size: Sides, kernel: Array, stride: int, padding: int) -> Sides:
    """Numbers of rows and columns of the padded image that no output uses."""
    h, w = ((n + 2 * padding - len(kernel)) % stride for n in size)
    return h, w


def _plain(
    x: Array,
    kernel: Array,
    padding: tuple[Sides, Sides],
    stride: int = 1,
    input_dilation: int = 1,
    kernel_dilation: int = 1,
) -> Array:
    """XLA's convolution; a dilation puts zeros between the entries."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        lhs_dilation=(input_dilation, input_dilation),
        rhs_dilation=(kernel_dilation, kernel_dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv_backward(
    stride: int, padding: int, kept: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = kept
    size = x.shape[1], x.shape[2]
    dx = deconv(dy, kernel, stride, padding, size)
    return dx, _kernel_gradient(x, dy, kernel, stride, padding)


def _deconv_backward(
    stride: int,
    padding: int,
    size: Sides,
    kept: tuple[Array, Array],
    dx: Array,
) -> tuple[Array, Array]:
    del size  # That of dx.
    y, kernel = kept
    dy = conv(dx, kernel, stride, padding)
    return dy, _kernel_gradient(dx, y, kernel, stride, padding)


conv.defvjp(
    lambda x, kernel, stride, padding: (conv(x, kernel, stride, padding), (x, kernel)),
    _conv_backward,
)
deconv.defvjp(
    lambda y, kernel, stride, padding, size: (
        deconv(y, kernel, stride, padding, size),
        (y, kernel),
    ),
    _deconv_backward,
)
