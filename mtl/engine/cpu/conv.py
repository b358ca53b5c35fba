"""A convolution, its transpose, and the gradient of the kernel that both have.

Each is one convolution of XLA's in its plain layout (images NHWC, kernel HWIO), with
the transpositions around it. The gradients that JAX derives are convolutions in other
layouts, and inside a loop XLA runs these on a CPU a hundred times slower
(github.com/jax-ml/jax/issues/12868); an epoch is a loop.
"""

from functools import partial

import jax
import jax.numpy as jnp

Sides = tuple[int, int]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """[B, h, w, F] from x [B, H, W, C] and a square kernel [k, k, C, F].

    Zeros are around x, `padding` on each side; h = (H + 2 padding - k) // stride + 1.
    """
    return _plain(x, kernel, ((padding, padding),) * 2, stride=stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def deconv(
    y: jax.Array, kernel: jax.Array, stride: int, padding: int, size: Sides
) -> jax.Array:
    """X [B, *size, C] from y [B, h, w, F]: `conv` of images of that size, transposed.

    It is the gradient of <conv(x, kernel), y> with respect to x.
    """
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    first = len(kernel) - 1 - padding
    last = [first + rest for rest in _unused(size, kernel, stride, padding)]
    sides = (first, last[0]), (first, last[1])
    return _plain(y, flipped, sides, input_dilation=stride)


def _kernel_gradient(
    x: jax.Array, y: jax.Array, kernel: jax.Array, stride: int, padding: int
) -> jax.Array:
    """[k, k, C, F]: the gradient of <conv(x, kernel), y> with respect to the kernel.

    Examples take the place of channels, and channels that of examples.
    """
    rest = _unused((x.shape[1], x.shape[2]), kernel, stride, padding)
    sides = (padding, padding - rest[0]), (padding, padding - rest[1])
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    return _plain(x, y, sides, kernel_dilation=stride).transpose(1, 2, 0, 3)


def _unused(size: Sides, kernel: jax.Array, stride: int, padding: int) -> Sides:
    """Numbers of rows and columns of the padded image that no output uses."""
    h, w = ((n + 2 * padding - len(kernel)) % stride for n in size)
    return h, w


def _plain(
    x: jax.Array,
    kernel: jax.Array,
    padding: tuple[Sides, Sides],
    stride: int = 1,
    input_dilation: int = 1,
    kernel_dilation: int = 1,
) -> jax.Array:
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
    stride: int, padding: int, kept: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    size = x.shape[1], x.shape[2]
    dx = deconv(dy, kernel, stride, padding, size)
    return dx, _kernel_gradient(x, dy, kernel, stride, padding)


def _deconv_backward(
    stride: int,
    padding: int,
    size: Sides,
    kept: tuple[jax.Array, jax.Array],
    dx: jax.Array,
) -> tuple[jax.Array, jax.Array]:
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
