"""Products with kernels, for mini-batches so small that reading a kernel costs most.

The gradient of a kernel is a matrix product over the batch. Written as a sum of
outer products, one an example, it is no array of its own: XLA makes it where the
optimizer's update needs it, element by element, and it is never written and read again.
"""

import jax
from jaxtyping import Array, Float

from mtl.engine import sharding

MAX_ROWS = 16  # With more examples, a matrix product is faster.


def matmul(
    x: Float[Array, "batch inputs"], w: Float[Array, "_ _"], transposed: bool = False
) -> Float[Array, "batch outputs"]:
    """Multiplies x by w [inputs, outputs], or by the transpose of w."""
    return _few(transposed, x, w) if _is_small(x) else _plain(transposed, x, w)


def _is_small(x: Array) -> bool:
    """Whether x has few rows, all of them on one device.

    Outer products of single rows would each need a transfer between devices. The number
    of rows is not known where `jax.export` leaves it open.
    """
    rows = x.shape[0]
    return isinstance(rows, int) and rows <= MAX_ROWS and not sharding.rows_are_split()


def _plain(transposed: bool, x: Array, w: Array) -> Array:
    return x @ (w.T if transposed else w)


_few = jax.custom_vjp(_plain, nondiff_argnums=(0,))


def _forward(transposed: bool, x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
    return _plain(transposed, x, w), (x, w)


def _backward(
    transposed: bool, kept: tuple[Array, Array], d: Array
) -> tuple[Array, Array]:
    x, w = kept
    rows, columns = (d, x) if transposed else (x, d)
    outer = [rows[i, :, None] * columns[i] for i in range(len(x))]
    return _plain(not transposed, d, w), sum(outer[1:], outer[0])


_few.defvjp(_forward, _backward)
