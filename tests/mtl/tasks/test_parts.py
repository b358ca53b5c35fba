"""Noise, losses and network, each against what it must be by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.tasks import corruption, losses
from mtl.tasks.batch_norm import BatchNormMlp
from mtl.tasks.ladder import Ladder
from mtl.tasks.network import Mlp

SHAPE = (500, 203)


def test_bytes_are_uniform_and_independent():
    octets = np.asarray(corruption.random_bytes(jax.random.key(0), SHAPE)).astype(int)
    counts = np.bincount(octets.ravel(), minlength=256)
    expected = octets.size / 256
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # 255 degrees of freedom: mean 255, standard deviation 22.6.
    assert abs(chi2 - 255) < 4 * 22.6
    flat = octets.ravel() - 127.5
    for lag in (1, 2, 3, 4, SHAPE[1]):
        r = np.corrcoef(flat[:-lag], flat[lag:])[0, 1]
        assert abs(r) < 4 / np.sqrt(flat.size)


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 1), (5, 7), (2, 3, 5)])
def test_bytes_of_any_shape(shape):
    assert corruption.random_bytes(jax.random.key(0), shape).shape == shape


@pytest.mark.parametrize("level", [0.0, 0.2, 0.5, 1.0])
def test_mask_sets_a_share_to_zero_and_leaves_the_rest(level):
    x = jax.random.uniform(jax.random.key(1), SHAPE) + 1
    y = corruption.corrupt(jax.random.key(0), x, "mask", level)
    hit = np.asarray(y == 0)
    np.testing.assert_array_equal(np.asarray(y)[~hit], np.asarray(x)[~hit])
    spread = 5 * np.sqrt(level * (1 - level) / hit.size)
    assert abs(hit.mean() - round(256 * level) / 256) <= spread


@pytest.mark.parametrize(("level", "hit"), [(0.3, 77), (0.002, 1), (0.5, 128)])
def test_the_share_is_rounded_to_the_nearest_1_in_256(level, hit):
    octets = np.asarray(corruption.random_bytes(jax.random.key(0), SHAPE))
    y = corruption.corrupt(jax.random.key(0), jnp.ones(SHAPE), "mask", level)
    np.testing.assert_array_equal(y, octets >= hit)


def test_salt_and_pepper_hit_alike():
    x = jnp.full(SHAPE, 0.5)
    y = np.asarray(corruption.corrupt(jax.random.key(0), x, "salt_pepper", 0.25))
    assert set(np.unique(y)) == {0.0, 0.5, 1.0}
    assert abs((y == 0).mean() - 0.125) < 0.005
    assert abs((y == 1).mean() - 0.125) < 0.005


def test_gaussian_has_the_level_as_its_deviation():
    x = jnp.full(SHAPE, 0.5)
    y = np.asarray(corruption.corrupt(jax.random.key(0), x, "gaussian", 0.3)) - 0.5
    assert abs(y.std() - 0.3) < 0.004
    assert abs(y.mean()) < 0.004


def test_no_noise_is_no_noise():
    x = jnp.ones(SHAPE)
    assert corruption.corrupt(jax.random.key(0), x, "none", 0.5) is x


@pytest.mark.parametrize("z", [-200.0, -3.0, 0.0, 1e-3, 5.0, 200.0])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_cross_entropy_and_its_gradient_where_float32_is_hard(z, target):
    value, slope = jax.value_and_grad(
        lambda z: losses.cross_entropy(z[None], jnp.array([target]), "unit")
    )(jnp.float32(z))
    exact = np.logaddexp(0.0, z) - target * z
    np.testing.assert_allclose(value, exact, rtol=1e-6, atol=2e-7)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-z)) - target, 1e-5, 1e-7)


def test_cross_entropy_of_a_symmetric_target_is_least_at_the_target():
    target = jnp.array([-0.8, 0.1, 0.9])
    slope = jax.grad(lambda z: losses.cross_entropy(z, target, "symmetric").sum())(
        jnp.arctanh(target)
    )
    np.testing.assert_allclose(slope, 0, atol=1e-6)


@pytest.mark.parametrize("value_range", ["unit", "symmetric", "positive"])
def test_squared_error_is_summed_over_dimensions(value_range):
    z = jnp.array([[0.3, -0.7, 2.0]])
    target = losses.OUTPUTS[value_range](z) + 0.5
    np.testing.assert_allclose(
        losses.squared_error(z, target, value_range), 0.75, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [
        ("unit", (1 / (1 + np.exp(0.7)) - 0.2) ** 2),
        ("symmetric", (np.tanh(-0.7) - 0.2) ** 2),
        ("positive", (-0.7 - 0.2) ** 2),
    ],
)
def test_squared_error_of_one_number(value_range, expected):
    z, target = jnp.array([[-0.7]]), jnp.array([[0.2]])
    np.testing.assert_allclose(
        losses.squared_error(z, target, value_range), expected, 1e-6
    )


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_initial_weights_have_the_stated_range(activation):
    params = Mlp(300, (200, 100), 10, activation).init(jax.random.key(0))
    scale = 4 if activation == "sigmoid" else 1
    for k, (fan_in, fan_out) in {"1": (300, 200), "2": (200, 100)}.items():
        kernel = np.asarray(params["encoder"][k]["kernel"])
        bound = scale * np.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        assert abs(kernel.std() - bound / np.sqrt(3)) < 0.01 * bound
        assert not params["encoder"][k]["bias"].any()
    free = Mlp(300, (200,), 10, activation, tied=False).init(jax.random.key(0))
    bound = scale * np.sqrt(6 / 500)
    assert 0.99 * bound < np.abs(free["decoder"]["1"]["kernel"]).max() <= bound
    # The classifier's range is the plain one, also with sigmoid units.
    bound = np.sqrt(6 / 110)
    assert 0.95 * bound < np.abs(params["classifier"]["kernel"]).max() <= bound


@pytest.mark.parametrize(
    "network",
    [
        Mlp(4, (3,), 2, tied=False),
        BatchNormMlp(4, (3,), 2),
        Ladder(4, (3,), 2, cost_weights=(1.0, 1.0, 1.0)),
    ],
    ids=lambda network: type(network).__name__,
)
def test_parameters_start_as_the_same_float32_with_x64(network):
    narrow = network.init(jax.random.key(0))
    with jax.enable_x64(True):
        wide = network.init(jax.random.key(0))
    for a, b in zip(*map(jax.tree.leaves, (narrow, wide)), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def test_no_two_matrices_start_from_the_same_draw():
    params = Mlp(6, (6, 6), 6, tied=False).init(jax.random.key(0))
    found = [params["classifier"], *params["encoder"].values()]
    found += params["decoder"].values()
    values = [tuple(np.asarray(layer["kernel"]).ravel()) for layer in found]
    assert len(set(values)) == 5


def test_tied_and_untied_networks_start_alike():
    tied = Mlp(20, (8, 5), 3, tied=True).init(jax.random.key(0))
    free = Mlp(20, (8, 5), 3, tied=False).init(jax.random.key(0))
    for part in ("encoder", "classifier"):
        jax.tree.map(np.testing.assert_array_equal, tied[part], free[part])
    assert set(tied["decoder"]["2"]) == {"bias"}
    assert free["decoder"]["2"]["kernel"].shape == (5, 8)


def test_a_tied_decoder_shares_the_matrix_of_its_layer():
    network = Mlp(20, (8,), 3, tied=True)
    params = network.init(jax.random.key(0))
    h = jax.random.normal(jax.random.key(1), (4, 8))
    kernel = np.asarray(params["encoder"]["1"]["kernel"])
    np.testing.assert_allclose(network.decode(params, 1, h), h @ kernel.T, 1e-5, 1e-6)
    slope = jax.grad(lambda p: network.decode(p, 1, h).sum())(params)
    assert np.abs(slope["encoder"]["1"]["kernel"]).max() > 0


def test_encode_returns_every_layer():
    network = Mlp(20, (8, 5), 3)
    params = network.init(jax.random.key(0))
    x = jnp.ones((4, 20))
    assert [h.shape[1] for h in network.encode(params, x)] == [20, 8, 5]
    assert network.logits(params, x).shape == (4, 3)
