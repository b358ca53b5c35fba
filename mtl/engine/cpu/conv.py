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
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    first = len(kernel) - 1 - padding
    last = [first + over for over in _over(size, kernel, stride, padding)]
    sides = (first, last[0]), (first, last[1])
    return _plain(y, turned, sides, apart=stride)


def _kernel(
    x: jax.Array, y: jax.Array, kernel: jax.Array, stride: int, padding: int
) -> jax.Array:
    """[k, k, C, F]: the gradient of <conv(x, kernel), y> with respect to the kernel.

    Examples take the place of channels, and channels that of examples.
    """
    over = _over((x.shape[1], x.shape[2]), kernel, stride, padding)
    sides = (padding, padding - over[0]), (padding, padding - over[1])
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    return _plain(x, y, sides, taps_apart=stride).transpose(1, 2, 0, 3)


def _over(size: Sides, kernel: jax.Array, stride: int, padding: int) -> Sides:
    """Rows and columns, of those with the padding, that no output reaches."""
    h, w = ((n + 2 * padding - len(kernel)) % stride for n in size)
    return h, w


def _plain(
    x: jax.Array,
    kernel: jax.Array,
    padding: tuple[Sides, Sides],
    stride: int = 1,
    apart: int = 1,
    taps_apart: int = 1,
) -> jax.Array:
    """XLA's; pixels or taps may be some steps `apart`, with zeros between."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        lhs_dilation=(apart, apart),
        rhs_dilation=(taps_apart, taps_apart),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv_back(
    stride: int, padding: int, kept: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    size = x.shape[1], x.shape[2]
    back = deconv(dy, kernel, stride, padding, size)
    return back, _kernel(x, dy, kernel, stride, padding)


def _deconv_back(
    stride: int,
    padding: int,
    size: Sides,
    kept: tuple[jax.Array, jax.Array],
    dx: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    del size  # That of dx.
    y, kernel = kept
    back = conv(dx, kernel, stride, padding)
    return back, _kernel(dx, y, kernel, stride, padding)


conv.defvjp(
    lambda x, kernel, stride, padding: (conv(x, kernel, stride, padding), (x, kernel)),
    _conv_back,
)
deconv.defvjp(
    lambda y, kernel, stride, padding, size: (
        deconv(y, kernel, stride, padding, size),
        (y, kernel),
    ),
    _deconv_back,
)
