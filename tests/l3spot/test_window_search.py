"""From what windows tell to L3's row, on sequences and on pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l3spot.localize import network, preprocess, window_search
from l3spot.localize.window_search import REACH, Sequence


def ideal(l3, height=500.0, spacing=4.0, noise=0.0, seed=0):
    """What perfect windows tell: flat, a ramp over L3, flat."""
    row = np.arange(-REACH, height + REACH + 1e-6, spacing)
    rng = np.random.default_rng(seed)
    away = np.clip(l3 - row, -REACH, REACH) + noise * rng.normal(size=len(row))
    return Sequence(row, away)


@pytest.mark.parametrize("spacing", [1.0, 4.0])
@pytest.mark.parametrize("l3", [203.0, 241.3, 300.9])
def test_a_perfect_ramp_is_found_to_a_tenth_of_a_row(l3, spacing):
    spot = window_search.spot(ideal(l3, spacing=spacing), 500.0)
    assert abs(spot.row - l3) < 0.1
    assert spot.correlation.max() == pytest.approx(1, abs=0.02)


def test_a_perfect_ramp_peaks_at_the_papers_value():
    """a^2 / 3, before we divide by it: the dot product over the ramp's length."""
    sequence = ideal(250.0, spacing=1.0)
    ramp = -np.arange(-REACH, REACH + 1)
    theirs = np.correlate(sequence.away, ramp, "valid") / len(ramp)
    assert theirs.max() == pytest.approx(REACH**2 / 3, rel=0.03)
    ours = window_search.correlate(sequence)
    np.testing.assert_allclose(
        ours[50:-50], theirs * len(ramp) / (ramp @ ramp), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("away", range(0, 201, 10))
@pytest.mark.parametrize("end", ["head", "feet"])
def test_l3_near_an_end_is_found(away, end):
    height = 420.0
    l3 = float(away) if end == "head" else height - away
    spot = window_search.spot(ideal(l3, height, noise=2), height)
    assert abs(spot.row - l3) < 3


def marks():
    """A network that tells how far a white row is, to a feature's 32 mm, within a."""
    net = network.CNN4
    params = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0)))
    for layer in params["trunk"].values():
        layer["kernel"] = layer["kernel"].at[1, 1, 0, 0].set(1.0)
    rows, columns = net.sides
    away = (
        net.stride * (np.arange(rows) + 0.5) - preprocess.HEIGHT / 2
    ) * preprocess.MM
    seen = (
        jnp.zeros((rows, columns, 96))
        .at[:, :, 0]
        .set(np.clip(away / REACH, -1, 1)[:, None] / columns)
    )
    params["head"]["kernel"] = seen.reshape(rows, -1)
    return net, params


@pytest.mark.parametrize("rows", [45, 150, 260])
def test_pictures_of_any_height_with_l3_at_any_row(rows):
    """Shorter than a window (192), or longer; from an end to 200 mm from it."""
    net, params = marks()
    away = [n for n in range(0, 101, 5) if n < rows]
    for row in (*away, *(rows - 1 - n for n in away)):
        x = np.zeros((rows, preprocess.WIDTH), np.float32)
        x[row] = 1
        found = window_search.spot(
            window_search.look(net, params, x), rows * preprocess.MM
        )
        assert abs(found.row - preprocess.MM * (row + 0.5)) < 8


def test_noise_moves_it_little_and_its_evidence_is_told():
    spots = [
        window_search.spot(ideal(222.0, noise=15, seed=s), 500.0) for s in range(20)
    ]
    assert np.abs([s.row - 222 for s in spots]).mean() < 4
    clean = window_search.spot(ideal(222.0), 500.0).evidence
    noisy = np.mean([s.evidence for s in spots], 0)
    assert noisy[2] > clean[2] + 0.1  # Further from the ideal sequence.
    assert noisy[3] > clean[3] + 0.1  # Votes that spread.


def test_of_two_ramps_the_longer_is_taken_and_the_other_is_told():
    row = np.arange(-REACH, 700.0, 4)
    first = np.clip(150 - row, -30, 30)
    second = np.clip(480 - row, -REACH, REACH)
    spot = window_search.spot(Sequence(row, np.where(row < 300, first, second)), 650.0)
    assert abs(spot.row - 480) < 1
    assert 0.4 < spot.evidence[1] < 0.95
    assert window_search.spot(ideal(480.0, 650.0), 650.0).evidence[1] < 0.2


def test_without_a_ramp_there_is_no_peak():
    row = np.arange(-REACH, 500.0, 4)
    spot = window_search.spot(Sequence(row, np.full(len(row), REACH)), 450.0)
    assert spot.evidence[0] < 0.05
    assert 0 <= spot.row <= 450


@pytest.mark.parametrize("far", [-400.0, 120.0, 400.0])
def test_windows_that_vote_for_what_is_beyond_all_of_them(far):
    row = np.arange(-REACH, 250.0, 4)
    spot = window_search.spot(Sequence(row, np.full(len(row), far)), 200.0)
    assert 0 <= spot.row <= 200
    assert np.isfinite(spot.evidence).all()


NAMES = ("cnn4", "res4", "alexnet")


@pytest.fixture(scope="module", params=NAMES)
def drawn(request):
    """A network and random parameters."""
    net = network.make(request.param)
    return net, net.init(jax.random.key(0))


def test_windows_share_the_trunk(drawn):
    """Far from its ends, a strip's windows tell what each window tells in a strip that
    begins elsewhere: the trunk does not know where a window begins."""
    net, params = drawn
    rows = net.sides[0]
    count, first, last = 3 * rows + 8, 3, 2 * rows + 8  # Of strides.
    shape = 1, count * net.stride, preprocess.WIDTH
    x = jax.random.uniform(jax.random.key(1), shape)
    tell = jax.jit(net.outputs)
    long = tell(params, x)[0]
    windows = (count * net.stride - preprocess.HEIGHT) // net.stride + 1
    assert long.shape == (windows,)
    part = tell(params, x[:, first * net.stride : last * net.stride])[0]
    # Rows of features that see beyond the ends.
    edge = 6 if net.name == "res4" else 3
    scale = float(jnp.abs(part).max())
    np.testing.assert_allclose(
        part[edge:-edge], long[first + edge :][: len(part) - 2 * edge],
        atol=2e-5 * scale,
    )  # fmt: skip


def test_a_window_of_its_own_differs_by_its_edges_alone():
    """The stated difference: zeros instead of context in the outer rows of features."""
    net = network.CNN4
    trunk, stride = net.init(jax.random.key(0))["trunk"], net.stride
    x = jax.random.uniform(jax.random.key(1), (1, 40 * stride, preprocess.WIDTH))
    features = jax.jit(net.features)
    shared, first = features(trunk, x)[0], 20
    window = x[:, first * stride : first * stride + preprocess.HEIGHT]
    own = features(trunk, window)[0]
    same = shared[first : first + net.sides[0]]
    np.testing.assert_allclose(own[2:-2], same[2:-2], atol=1e-5)
    assert jnp.abs(own[0] - same[0]).max() > 1e-3


def test_phases_are_windows_at_finer_steps(drawn):
    """As if the trunk ran over the picture once for each phase, far from its ends."""
    net, params = drawn
    x = np.asarray(jax.random.uniform(jax.random.key(2), (301, preprocess.WIDTH)))
    fine = window_search.look(net, params, x, 4)
    assert np.ptp(np.diff(fine.row)) == 0
    assert np.diff(fine.row)[0] == 4 * preprocess.MM
    assert fine.row[0] == -REACH
    assert 602 + REACH - 8 <= fine.row[-1] <= 602 + REACH
    phases, tell = net.stride // 4, jax.jit(net.outputs)
    wide = window_search.frame(net, x)[None]
    for i in range(phases):
        told = fine.away[i::phases]
        rows = wide.shape[1] - net.stride
        due = REACH * tell(params, wide[:, 4 * i : 4 * i + rows])[0, : len(told)]
        np.testing.assert_allclose(
            told[3:-2], due[3:-2], atol=1e-5 * float(abs(due).max())
        )


def test_a_picture_and_its_mirror_image_tell_the_same_if_both_are_looked_at():
    net = network.CNN4
    params = net.init(jax.random.key(0))
    x = np.asarray(jax.random.uniform(jax.random.key(3), (200, preprocess.WIDTH)))
    both, turned = (
        window_search.look(net, params, v, 8, True) for v in (x, x[:, ::-1])
    )
    np.testing.assert_allclose(both.away, turned.away, rtol=1e-6)
    one, other = (window_search.look(net, params, v, 8) for v in (x, x[:, ::-1]))
    np.testing.assert_allclose(both.away, (one.away + other.away) / 2, rtol=1e-6)
    assert np.abs(one.away - other.away).max() > 1


def test_steps_are_those_that_a_network_can_take():
    assert window_search.steps(network.CNN4) == (1, 2, 4, 8)
    assert window_search.steps(network.make("alexnet")) == (4, 8)


def test_a_trunk_computes_in_bfloat16_and_answers_in_float32():
    fine, rough = network.make("cnn4"), network.make("cnn4", "bfloat16")
    params = fine.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (1, 192, preprocess.WIDTH))
    due, found = (jax.jit(net.outputs)(params, x) for net in (fine, rough))
    assert found.dtype == jnp.float32
    away = jnp.abs(found - due).max() / jnp.abs(due).max()
    assert 1e-5 < away < 0.05


def test_the_picture_is_about_the_spine():
    hu = np.full((60, 300), -1024, np.int16)
    hu[:, 200:220] = 800
    cut = preprocess.centred(hu, 100)
    assert cut.shape == (60, 100)
    assert np.flatnonzero(cut[0] == 800).mean() == pytest.approx(49.5, abs=1)
    narrow = preprocess.centred(hu[:, 190:230], 100)
    assert np.flatnonzero(narrow[0] == 800).mean() == pytest.approx(49.5, abs=1)
    assert (preprocess.centred(np.full((4, 30), -1024), 50) == -1024).all()


def test_coarse_pictures_keep_the_brighter():
    hu = np.array([[0, 1, 9], [2, 3, 8], [7, 5, 4]])
    np.testing.assert_array_equal(preprocess.coarse(hu), [[3, 9], [7, 4]])
