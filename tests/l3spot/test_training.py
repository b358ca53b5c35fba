"""Strips, pools, and a run from config to model."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.l3spot import phantom
from l3spot.localize import model
from l3spot.localize.preprocess import AIR, HEIGHT, MM, WIDTH
from l3spot.projections import reader
from l3spot.training import augmentation, dataset, experiment, scoring
from l3spot.training.config import check
from l3spot.training.dataset import ROWS, WIDE
from mtl.host.errors import ConfigError, DataError, WorkdirError
from tests.l3spot.conftest import bar

STRIDE = 16
PLAIN = augmentation.Range(
    sides=0.0,
    scale=(1.0, 1.0),
    tilt=0.0,
    stretch=0.0,
    sway=0.0,
    things=0.0,
    lift=(-1024.0, -1024.0),
    streaks=0.0,
    low=(0.0, 0.0),
    span=(1000.0, 1000.0),
    gamma=(1.0, 1.0),
    noise=0.0,
    haze=0.0,
    boxes=0,
)


@pytest.mark.parametrize("seed", range(12))
def test_windows_are_told_where_l3_is_in_the_strip(seed):
    l3, height = 300.0, 620.0
    r = PLAIN._replace(near=1.0, cut=0.0)
    cut = augmentation.strip(
        jax.random.key(seed), jnp.asarray(bar(l3, height)), jnp.float32(height),
        jnp.float32(l3), windows=6, stride=STRIDE, r=r,
    )  # fmt: skip
    assert cut.x.shape == (HEIGHT + 5 * STRIDE, WIDTH)
    # Blur may spread the bar; its middle stays.
    column = np.asarray(cut.x[:, WIDTH // 2]) - 0.3
    bright = np.flatnonzero(column > 0.2)
    assert len(bright)
    middle = bright.mean() + 0.5
    for t, away in enumerate(cut.away):
        due = (middle - HEIGHT / 2 - STRIDE * t) * MM
        assert away == pytest.approx(due, abs=2.1)
    assert cut.inside.any()


SHAPE = ("scale", "tilt", "stretch", "sway")
BENT = PLAIN._replace(
    near=1.0, cut=0.0, **{k: getattr(augmentation.Range(), k) for k in SHAPE}
)


def dot(l3, height):
    """A scan with something bright where the spine is at L3."""
    hu = np.full((ROWS, WIDE), -1024, np.int16)
    hu[: int(height / MM)] = 50
    row = int(l3 / MM)
    hu[row - 2 : row + 2, WIDE // 2 - 2 : WIDE // 2 + 2] = 900
    return hu, np.float32(height), np.float32(l3)


def brightest(x, above):
    weight = np.clip(np.asarray(x) - above, 0, None).sum(1)
    return (weight * (np.arange(len(weight)) + 0.5)).sum() / weight.sum()


def test_l3_is_where_it_is_told_however_a_body_is_bent():
    cut = jax.jit(partial(augmentation.strip, windows=6, stride=STRIDE, r=BENT))
    for seed in range(8):
        made = cut(jax.random.key(seed), *dot(300, 600))
        due = HEIGHT / 2 + float(made.away[0]) / MM
        assert brightest(made.x, 0.3) == pytest.approx(due, abs=1.2)


def test_scans_vary_and_l3_with_them():
    same = dataset.Pool(*(np.stack([a] * 8) for a in dot(300, 600)), np.arange(8))
    varied = dataset.varied(same, 0, BENT._replace(cut=1.0))
    assert varied.hu.shape == (8, ROWS, WIDTH)
    assert len(set(varied.height.tolist())) == len(set(varied.l3.tolist())) == 8
    seen = ~np.isnan(scoring.truth(varied))
    assert 2 <= seen.sum() < 8  # Cuts leave L3 in view, or do not.
    for k in np.flatnonzero(seen):
        row = varied.l3[k] / MM
        assert brightest(varied.hu[k], 300) == pytest.approx(row, abs=1.2)
        assert (varied.hu[k, int(varied.height[k] / MM) :] == AIR).all()


def test_windows_far_beyond_the_scan_do_not_count():
    height = 120.0  # Shorter than a window, and than a strip.
    inside = [
        augmentation.strip(
            jax.random.key(s), jnp.asarray(bar(60.0, height)), jnp.float32(height),
            jnp.float32(60.0), windows=8, stride=STRIDE, r=PLAIN,
        ) for s in range(8)
    ]  # fmt: skip
    for cut in inside:
        middle = 60.0 - np.asarray(cut.away)  # In mm from the top of the scan.
        beyond = MM * augmentation.BEYOND
        due = (middle >= -beyond) & (middle <= height + beyond)
        np.testing.assert_array_equal(cut.inside, due)
        assert cut.inside.any()


def test_projections_with_labels_are_a_pool():
    z = 500.0 - np.arange(300)
    hu = np.full((300, 260), 100, np.int16)
    hu[np.abs(z - 420.0) <= 2] = 900
    plain = reader.Example("a", hu, z, np.arange(260.0), 420.0, "in view")
    other = plain._replace(label="not in view", l3_z=np.nan)
    p = dataset.projections([plain, other])
    assert p.hu.shape == (1, ROWS, WIDE)
    assert (p.height[0], p.l3[0]) == (300, 80.5)
    row = np.flatnonzero(p.hu[0, :, WIDE // 2] == 900).mean() + 0.5
    assert row * MM == pytest.approx(p.l3[0], abs=1)
    with pytest.raises(DataError, match="no projection"):
        dataset.projections([other])


def test_long_scans_keep_the_part_with_l3():
    z = 1200.0 - np.arange(1200)
    hu = np.full((1200, 200), 100, np.int16)
    hu[1000:1004] = 900
    e = reader.Example("a", hu, z, np.arange(200.0), 1200.0 - 1001.5, "in view")
    p = dataset.projections([e])
    row = np.flatnonzero(p.hu[0, :, WIDE // 2] == 900).mean() + 0.5
    assert row * MM == pytest.approx(p.l3[0], abs=1.1)


def test_phantoms_are_drawn_once(tmp_path, monkeypatch):
    drawn = []

    def draw(seed, first, count, ranges):
        drawn.append(first)
        hu = np.zeros((count, 2 * ROWS, 416), np.int16)
        return dataset.pictures.Pictures(hu, np.full(count, 500), np.full(count, 9.0))

    monkeypatch.setattr(dataset.pictures, "draw", draw)
    monkeypatch.setattr(dataset, "CHUNK", 3)
    p = dataset.phantoms(tmp_path / "p", 1, 4)
    again = dataset.phantoms(tmp_path / "p", 1, 4)
    assert drawn == [0, 3]
    assert p.hu.shape == (4, ROWS, WIDE)
    assert p.l3[0] == 9.5  # From the middle of row 9 to an edge.
    np.testing.assert_array_equal(p.l3, again.l3)
    with pytest.raises(WorkdirError, match="take another"):
        dataset.phantoms(tmp_path / "p", 2, 4)


def test_a_run_learns_and_leaves_a_model(bars, tmp_path):
    c = phantom.get_config("smoke")
    c.epochs, c.data.valid, c.eval_every, c.windows = 6, 10, 6, 3
    c.jitter.update(dict.fromkeys(("haze", "sides", "things", "streaks"), 0.0))
    c.jitter.boxes = 0
    summary = experiment.train_and_evaluate(c, tmp_path / "run")
    assert summary["valid"]["mean_mm"] < 15  # Bars lie anywhere in 700 mm.
    made = model.load(tmp_path / "run" / "model.safetensors")
    assert "phantoms" in made.about
    assert summary["valid"]["compared"] > 5
    # A finished run is read.
    assert experiment.train_and_evaluate(c, tmp_path / "run") == json.loads(
        (tmp_path / "run" / "summary.json").read_text()
    )


def test_confidence_is_that_of_the_evidence():
    rng = np.random.default_rng(0)
    good = rng.random(400) < 0.6
    evidence = rng.normal(size=(400, model.SIZE)) * 0.1
    evidence[:, 0] += good
    sure = scoring.calibrate(evidence, good)
    assert sure(np.array([1.0, 0, 0, 0, 0])) > 0.9
    assert sure(np.zeros(5)) < 0.1
    assert scoring.calibrate(evidence, np.ones(400, bool))(evidence[0]) > 0.9
    assert scoring.calibrate(evidence, np.zeros(400, bool))(evidence[0]) < 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("data.source", "none"), ("data.valid", 5000), ("low", 2000.0),
        ("optim.rate", 0.0), ("huber", 0.0), ("reach", 40.0),
        ("step", 3), ("model.backbone", "resnet"), ("model.dtype", "float16"),
        ("model.weights", "a.safetensors"), ("data.unlabelled", 5),
        ("reconstruct.schedule", "sometimes"), ("reconstruct.value", 1.0),
    ],
)  # fmt: skip
def test_configs_that_make_no_sense(field, value):
    c = phantom.get_config()
    with c.unlocked():
        c.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=field.split(".")[-1]):
        check(c)


def test_jitter_in_the_config_is_all_of_it():
    assert set(phantom.get_config().jitter) == set(augmentation.Range._fields)
