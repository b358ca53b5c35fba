"""A 3x3 convolution, its transpose, and the gradient of the kernel that both have.

Each is one convolution of XLA's in its plain layout (images NHWC, kernel HWIO), with
the transpositions around it. The gradients that JAX derives are convolutions in other
layouts, and inside a loop XLA runs these on a CPU a hundred times slower
(github.com/jax-ml/jax/issues/12868); an epoch is a loop.
"""

from functools import partial

import jax
import jax.numpy as jnp

TAPS = 9


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """[B, H/s, W/s, F] from x [B, H, W, C] and kernel [9 C, F].

    Output i is centred on row s i, with zeros outside; H and W are multiples of s.
    """
    square = kernel.reshape(3, 3, x.shape[-1], -1)
    return _plain(x, square, (1, max(2 - stride, 0)), stride=stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def deconv(y: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """[B, H, W, C] from y [B, H/s, W/s, F] and kernel [9 C, F]: `conv` transposed."""
    square = kernel.reshape(3, 3, -1, y.shape[-1])
    turned = jnp.flip(square, (0, 1)).swapaxes(2, 3)
    return _plain(y, turned, (1, stride), apart=stride)


def _kernel(x: jax.Array, y: jax.Array, stride: int) -> jax.Array:
    """[9 C, F]: the gradient of <conv(x, kernel), y> with respect to the kernel.

    Examples take the place of channels, and channels that of examples.
    """
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    found = _plain(x, y, (1, 2 - stride), taps_apart=stride)
    return found.transpose(1, 2, 0, 3).reshape(-1, y.shape[-1])


def _plain(
    x: jax.Array,
    kernel: jax.Array,
    padding: tuple[int, int],
    stride: int = 1,
    apart: int = 1,
    taps_apart: int = 1,
) -> jax.Array:
    """XLA's; pixels or taps may be some steps `apart`, with zeros between."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[padding] * 2,
        lhs_dilation=(apart, apart),
        rhs_dilation=(taps_apart, taps_apart),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


conv.defvjp(
    lambda x, kernel, stride: (conv(x, kernel, stride), (x, kernel)),
    lambda stride, kept, dy: (
        deconv(dy, kept[1], stride),
        _kernel(kept[0], dy, stride),
    ),
)
deconv.defvjp(
    lambda y, kernel, stride: (deconv(y, kernel, stride), (y, kernel)),
    lambda stride, kept, dx: (
        conv(dx, kept[1], stride),
        _kernel(dx, kept[0], stride),
    ),
)
