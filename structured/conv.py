"""A 3x3 convolution as patches and one matrix product, and its transpose.

On a CPU, XLA's own convolution is several times slower inside `lax.scan`, which is
where an epoch runs, and its gradients are worse under `vmap`.
"""

import jax
import jax.numpy as jnp

TAPS = 9


def patches(x: jax.Array, stride: int) -> jax.Array:
    """[B, H/s, W/s, 9 C]: the 3x3 neighbourhoods of x [B, H, W, C], zeros outside.

    Output i is centred on row s i, so that H and W need to be multiples of s.
    """
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [
        padded[:, i : i + height : stride, j : j + width : stride]
        for i in range(3)
        for j in range(3)
    ]
    return jnp.concatenate(taps, axis=-1)


def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """[B, H/s, W/s, F] from x [B, H, W, C] and kernel [9 C, F]."""
    return patches(x, stride) @ kernel


def deconv(y: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The transpose of `conv`: [B, H, W, C] from y [B, H/s, W/s, F], kernel [9 C, F]."""
    batch, height, width, _ = y.shape
    shape = (batch, height * stride, width * stride, len(kernel) // TAPS)
    like = jax.ShapeDtypeStruct(shape, y.dtype)
    (x,) = jax.linear_transpose(lambda x: patches(x, stride), like)(y @ kernel.T)
    return x
