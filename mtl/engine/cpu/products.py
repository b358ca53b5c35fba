"""Products with kernels, for mini-batches so small that reading a kernel costs most.

The gradient of a kernel is a matrix product over the batch. Written as a sum of
outer products, one an example, it is no array of its own: XLA makes it where the
optimizer's update needs it, element by element, and it is never written and read again.
"""

import jax

MAX_ROWS = 16  # With more examples, a matrix product is faster.


def matmul(x: jax.Array, w: jax.Array, transposed: bool = False) -> jax.Array:
    """[B, n] from x [B, m] and w [m, n], or [n, m] if transposed."""
    return _few(transposed, x, w) if len(x) <= MAX_ROWS else _plain(transposed, x, w)


def _plain(transposed: bool, x: jax.Array, w: jax.Array) -> jax.Array:
    return x @ (w.T if transposed else w)


_few = jax.custom_vjp(_plain, nondiff_argnums=(0,))


def _forward(
    transposed: bool, x: jax.Array, w: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(transposed, x, w), (x, w)


def _backward(
    transposed: bool, kept: tuple[jax.Array, jax.Array], d: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, w = kept
    rows, columns = (d, x) if transposed else (x, d)
    outer = [rows[i, :, None] * columns[i] for i in range(len(x))]
    return _plain(not transposed, d, w), sum(outer[1:], outer[0])


_few.defvjp(_forward, _backward)
