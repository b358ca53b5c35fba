"""Convolutions and their gradients: XLA's, PyTorch's, and finite pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine.cpu import conv

# Stride, padding, side of the kernel, height, width, channels, maps.
CASES = [
    (1, 1, 3, 4, 6, 1, 1),
    (1, 1, 3, 5, 7, 3, 2),
    (2, 1, 3, 8, 4, 1, 3),
    (2, 1, 3, 7, 10, 3, 4),
    (3, 1, 3, 9, 7, 2, 2),
    (1, 0, 1, 3, 4, 3, 2),
    (1, 2, 5, 6, 5, 2, 3),
    (2, 3, 7, 12, 9, 3, 2),
    (4, 2, 11, 20, 25, 3, 2),
    (2, 0, 3, 8, 9, 2, 2),
]
NAMES = "stride, padding, side, height, width, channels, maps"


def numbers(*shape, seed=5):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def plain(x, kernel, stride, padding):
    """What JAX derives gradients of by itself."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(NAMES, CASES)
def test_values_and_gradients_of_any_order_are_those_of_xla(
    x64, stride, padding, side, height, width, channels, maps
):
    x = numbers(2, height, width, channels)
    kernel = numbers(side, side, channels, maps, seed=6)
    due, back = jax.vjp(lambda x, k: plain(x, k, stride, padding), x, kernel)
    ours, our_back = jax.vjp(lambda x, k: conv.conv(x, k, stride, padding), x, kernel)
    np.testing.assert_allclose(ours, due, 1e-12, 1e-12)
    y = numbers(*due.shape, seed=7)
    for a, b in zip(our_back(y), back(y), strict=True):
        np.testing.assert_allclose(a, b, 1e-11, 1e-11)
    size = height, width
    transposed = functools.partial(
        conv.deconv, stride=stride, padding=padding, size=size
    )
    np.testing.assert_allclose(transposed(y, kernel), back(y)[0], 1e-11, 1e-11)

    def theirs(y, kernel):
        return jax.vjp(lambda x: plain(x, kernel, stride, padding), x)[1](y)[0]

    dx = numbers(*x.shape, seed=8)
    found = jax.vjp(lambda y, k: conv.deconv(y, k, stride, padding, size), y, kernel)[
        1
    ](dx)
    for a, b in zip(found, jax.vjp(theirs, y, kernel)[1](dx), strict=True):
        np.testing.assert_allclose(a, b, 1e-11, 1e-11)


@pytest.mark.parametrize(NAMES, CASES)
def test_they_are_those_of_pytorch(
    x64, stride, padding, side, height, width, channels, maps
):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = numbers(2, height, width, channels)
    kernel = numbers(side, side, channels, maps, seed=6)

    def there(a, *order):
        return torch.tensor(np.array(a)).permute(*order).requires_grad_()

    tx, tk = there(x, 0, 3, 1, 2), there(kernel, 3, 2, 0, 1)
    due = torch.nn.functional.conv2d(tx, tk, stride=stride, padding=padding)
    found, back = jax.vjp(lambda x, k: conv.conv(x, k, stride, padding), x, kernel)
    given = due.permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, given.detach().numpy(), 1e-11, 1e-11)
    y = numbers(*found.shape, seed=7)
    due.backward(there(y, 0, 3, 1, 2))
    dx, dk = back(y)
    np.testing.assert_allclose(dx, tx.grad.permute(0, 2, 3, 1), 1e-11, 1e-11)
    np.testing.assert_allclose(dk, tk.grad.permute(2, 3, 1, 0), 1e-11, 1e-11)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_an_output_is_centred_on_its_row_of_the_input(stride):
    """The tap in the middle alone takes every s-th pixel, and puts it back there."""
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
    x = numbers(2, 6, 12, 1)
    seen = conv.conv(x, kernel, stride, 1)
    np.testing.assert_array_equal(seen, x[:, ::stride, ::stride])
    back = np.zeros(x.shape)
    back[:, ::stride, ::stride] = seen
    found = conv.deconv(seen, kernel, stride, 1, (6, 12))
    np.testing.assert_array_equal(found, back)
