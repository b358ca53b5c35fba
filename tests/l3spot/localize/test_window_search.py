"""Estimates of L3's row from window offsets and from images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l3spot.localize import network, preprocess, window_search
from l3spot.localize.window_search import MAX_OFFSET_MM, WindowOffsets


def ideal(l3, height=500.0, spacing=4.0, noise=0.0, seed=0):
    """Returns ideal window offsets: constant, a ramp across L3, constant."""
    row = np.arange(-MAX_OFFSET_MM, height + MAX_OFFSET_MM + 1e-6, spacing)
    rng = np.random.default_rng(seed)
    offset_mm = np.clip(l3 - row, -MAX_OFFSET_MM, MAX_OFFSET_MM) + noise * rng.normal(
        size=len(row)
    )
    return WindowOffsets(row, offset_mm)


@pytest.mark.parametrize("spacing", [1.0, 4.0])
@pytest.mark.parametrize("l3", [203.0, 241.3, 300.9])
def test_a_perfect_ramp_is_found_to_a_tenth_of_a_row(l3, spacing):
    estimate = window_search.locate(ideal(l3, spacing=spacing), 500.0)
    assert abs(estimate.row_mm - l3) < 0.1
    assert estimate.correlation.max() == pytest.approx(1, abs=0.02)


def test_a_perfect_ramp_peaks_at_the_papers_value():
    """a^2 / 3, before we divide by it: the dot product over the ramp's length."""
    offsets = ideal(250.0, spacing=1.0)
    ramp = -np.arange(-MAX_OFFSET_MM, MAX_OFFSET_MM + 1)
    theirs = np.correlate(offsets.offset_mm, ramp, "valid") / len(ramp)
    assert theirs.max() == pytest.approx(MAX_OFFSET_MM**2 / 3, rel=0.03)
    ours = window_search.correlate(offsets)
    np.testing.assert_allclose(
        ours[50:-50], theirs * len(ramp) / (ramp @ ramp), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("distance", range(0, 201, 10))
@pytest.mark.parametrize("end", ["head", "feet"])
def test_l3_near_an_end_is_found(distance, end):
    height = 420.0
    l3 = float(distance) if end == "head" else height - distance
    estimate = window_search.locate(ideal(l3, height, noise=2), height)
    assert abs(estimate.row_mm - l3) < 3


def row_detector():
    """Returns a network that estimates the offset of a white row to 32 mm."""
    net = network.CNN4
    params = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0)))
    for layer in params["trunk"].values():
        layer["kernel"] = layer["kernel"].at[1, 1, 0, 0].set(1.0)
    rows, columns = net.window_features
    distance = (
        net.stride * (np.arange(rows) + 0.5) - preprocess.HEIGHT_PX / 2
    ) * preprocess.MM_PER_PX
    seen = (
        jnp.zeros((rows, columns, 96))
        .at[:, :, 0]
        .set(np.clip(distance / MAX_OFFSET_MM, -1, 1)[:, None] / columns)
    )
    params["head"]["kernel"] = seen.reshape(rows, -1)
    return net, params


@pytest.mark.parametrize("rows", [45, 150, 260])
def test_l3_is_found_at_any_row_of_images_of_any_height(rows):
    """Shorter than a window (192), or longer; from an end to 200 mm from it."""
    net, params = row_detector()
    distance = [n for n in range(0, 101, 5) if n < rows]
    for row in (*distance, *(rows - 1 - n for n in distance)):
        x = np.zeros((rows, preprocess.WIDTH_PX), np.float32)
        x[row] = 1
        estimate = window_search.locate(
            window_search.window_offsets(net, params, x), rows * preprocess.MM_PER_PX
        )
        assert abs(estimate.row_mm - preprocess.MM_PER_PX * (row + 0.5)) < 8


def test_noise_shifts_the_row_little_and_shows_in_the_features():
    estimates = [
        window_search.locate(ideal(222.0, noise=15, seed=s), 500.0) for s in range(20)
    ]
    assert np.abs([s.row_mm - 222 for s in estimates]).mean() < 4
    clean = window_search.locate(ideal(222.0), 500.0).confidence_features
    noisy = np.mean([s.confidence_features for s in estimates], 0)
    assert noisy[2] > clean[2] + 0.1  # The difference from ideal offsets.
    assert noisy[3] > clean[3] + 0.1  # The spread of the votes.


def test_the_longer_of_two_ramps_wins_and_the_other_shows_in_the_features():
    row = np.arange(-MAX_OFFSET_MM, 700.0, 4)
    first = np.clip(150 - row, -30, 30)
    second = np.clip(480 - row, -MAX_OFFSET_MM, MAX_OFFSET_MM)
    estimate = window_search.locate(
        WindowOffsets(row, np.where(row < 300, first, second)), 650.0
    )
    assert abs(estimate.row_mm - 480) < 1
    assert 0.4 < estimate.confidence_features[1] < 0.95
    assert window_search.locate(ideal(480.0, 650.0), 650.0).confidence_features[1] < 0.2


def test_without_a_ramp_there_is_no_peak():
    row = np.arange(-MAX_OFFSET_MM, 500.0, 4)
    estimate = window_search.locate(
        WindowOffsets(row, np.full(len(row), MAX_OFFSET_MM)), 450.0
    )
    assert estimate.confidence_features[0] < 0.05
    assert 0 <= estimate.row_mm <= 450


@pytest.mark.parametrize("far", [-400.0, 120.0, 400.0])
def test_votes_outside_the_windows_are_clipped(far):
    row = np.arange(-MAX_OFFSET_MM, 250.0, 4)
    estimate = window_search.locate(WindowOffsets(row, np.full(len(row), far)), 200.0)
    assert 0 <= estimate.row_mm <= 200
    assert np.isfinite(estimate.confidence_features).all()


NAMES = ("cnn4", "res4", "alexnet")


@pytest.fixture(scope="module", params=NAMES)
def drawn(request):
    """Returns a network and random parameters."""
    net = network.make(request.param)
    return net, net.init(jax.random.key(0))


def test_windows_share_the_trunk(drawn):
    """Far from a strip's ends, a window's output does not depend on where the strip
    begins."""
    net, params = drawn
    rows = net.window_features[0]
    count, first, last = 3 * rows + 8, 3, 2 * rows + 8  # Of strides.
    shape = 1, count * net.stride, preprocess.WIDTH_PX
    x = jax.random.uniform(jax.random.key(1), shape)
    outputs = jax.jit(net.outputs)
    long = outputs(params, x)[0]
    windows = (count * net.stride - preprocess.HEIGHT_PX) // net.stride + 1
    assert long.shape == (windows,)
    part = outputs(params, x[:, first * net.stride : last * net.stride])[0]
    # Rows of features that see beyond the ends.
    edge = 6 if net.name == "res4" else 3
    scale = float(jnp.abs(part).max())
    np.testing.assert_allclose(
        part[edge:-edge], long[first + edge :][: len(part) - 2 * edge],
        atol=2e-5 * scale,
    )  # fmt: skip


def test_a_separate_window_differs_at_its_edges_alone():
    """The stated difference: zeros instead of context in the outer rows of features."""
    net = network.CNN4
    trunk, stride = net.init(jax.random.key(0))["trunk"], net.stride
    x = jax.random.uniform(jax.random.key(1), (1, 40 * stride, preprocess.WIDTH_PX))
    features = jax.jit(net.features)
    shared, first = features(trunk, x)[0], 20
    window = x[:, first * stride : first * stride + preprocess.HEIGHT_PX]
    own = features(trunk, window)[0]
    same = shared[first : first + net.window_features[0]]
    np.testing.assert_allclose(own[2:-2], same[2:-2], atol=1e-5)
    assert jnp.abs(own[0] - same[0]).max() > 1e-3


def test_phases_are_windows_at_a_smaller_stride(drawn):
    """As if the trunk ran over the picture once for each phase, far from its ends."""
    net, params = drawn
    x = np.asarray(jax.random.uniform(jax.random.key(2), (301, preprocess.WIDTH_PX)))
    fine = window_search.window_offsets(net, params, x, 4)
    assert np.ptp(np.diff(fine.row_mm)) == 0
    assert np.diff(fine.row_mm)[0] == 4 * preprocess.MM_PER_PX
    assert fine.row_mm[0] == -MAX_OFFSET_MM
    assert 602 + MAX_OFFSET_MM - 8 <= fine.row_mm[-1] <= 602 + MAX_OFFSET_MM
    phases, outputs = net.stride // 4, jax.jit(net.outputs)
    wide = window_search.pad_image(net, x)[None]
    for i in range(phases):
        part = fine.offset_mm[i::phases]
        rows = wide.shape[1] - net.stride
        expected = (
            MAX_OFFSET_MM
            * outputs(params, wide[:, 4 * i : 4 * i + rows])[0, : len(part)]
        )
        np.testing.assert_allclose(
            part[3:-2], expected[3:-2], atol=1e-5 * float(abs(expected).max())
        )


def test_an_image_and_its_mirror_image_have_the_same_averaged_offsets():
    net = network.CNN4
    params = net.init(jax.random.key(0))
    x = np.asarray(jax.random.uniform(jax.random.key(3), (200, preprocess.WIDTH_PX)))
    averaged, mirrored = (
        window_search.window_offsets(net, params, v, 8, True) for v in (x, x[:, ::-1])
    )
    np.testing.assert_allclose(averaged.offset_mm, mirrored.offset_mm, rtol=1e-6)
    one, other = (
        window_search.window_offsets(net, params, v, 8) for v in (x, x[:, ::-1])
    )
    np.testing.assert_allclose(
        averaged.offset_mm, (one.offset_mm + other.offset_mm) / 2, rtol=1e-6
    )
    assert np.abs(one.offset_mm - other.offset_mm).max() > 1


def test_strides_are_those_that_a_network_supports():
    assert window_search.strides(network.CNN4) == (1, 2, 4, 8)
    assert window_search.strides(network.make("alexnet")) == (4, 8)


def test_a_bfloat16_trunk_returns_float32():
    fine, rough = network.make("cnn4"), network.make("cnn4", "bfloat16")
    params = fine.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (1, 192, preprocess.WIDTH_PX))
    expected, actual = (jax.jit(net.outputs)(params, x) for net in (fine, rough))
    assert actual.dtype == jnp.float32
    distance = jnp.abs(actual - expected).max() / jnp.abs(expected).max()
    assert 1e-5 < distance < 0.05


def test_the_image_is_centred_on_the_spine():
    hu = np.full((60, 300), -1024, np.int16)
    hu[:, 200:220] = 800
    cut = preprocess.crop_to_spine(hu, 100)
    assert cut.shape == (60, 100)
    assert np.flatnonzero(cut[0] == 800).mean() == pytest.approx(49.5, abs=1)
    narrow = preprocess.crop_to_spine(hu[:, 190:230], 100)
    assert np.flatnonzero(narrow[0] == 800).mean() == pytest.approx(49.5, abs=1)
    assert (preprocess.crop_to_spine(np.full((4, 30), -1024), 50) == -1024).all()


def test_downsampling_keeps_the_maximum():
    hu = np.array([[0, 1, 9], [2, 3, 8], [7, 5, 4]])
    np.testing.assert_array_equal(preprocess.downsample(hu), [[3, 9], [7, 4]])
