"""A 3x3 convolution, and its transpose."""

import jax

TAPS = 9


def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """[B, H/s, W/s, F] from x [B, H, W, C] and kernel [9 C, F].

    Output i is centred on row s i, with zeros outside; H and W are multiples of s.
    """
    channels = x.shape[-1]
    return jax.lax.conv_general_dilated(
        x,
        kernel.reshape(3, 3, channels, -1),
        window_strides=(stride, stride),
        padding=[(1, 1 if stride == 1 else 0)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def deconv(y: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """[B, H, W, C] from y [B, H/s, W/s, F] and kernel [9 C, F]: `conv` transposed."""
    batch, height, width, _ = y.shape
    shape = (batch, height * stride, width * stride, len(kernel) // TAPS)
    like = jax.ShapeDtypeStruct(shape, y.dtype)
    (x,) = jax.linear_transpose(lambda x: conv(x, kernel, stride), like)(y)
    return x
