"""Strips, datasets, and a run from config to model."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.l3spot import phantom
from l3spot.localize import model
from l3spot.localize.preprocess import AIR_HU, HEIGHT_PX, MM_PER_PX, WIDTH_PX
from l3spot.phantom.draw import VARIED_PROPORTIONS
from l3spot.projections import projection_files
from l3spot.training import augmentation, dataset, experiment, scoring
from l3spot.training.augmentation_ranges import AugmentationRanges
from l3spot.training.config import check
from l3spot.training.dataset import IMAGE_COLUMNS, IMAGE_ROWS
from mtl.host import logs
from mtl.host.errors import ConfigError, DataError, WorkdirError
from tests.l3spot.training.bars import bar, images_of_bars

pytestmark = pytest.mark.slow  # It trains networks.

STRIDE_PX = 16
PLAIN = AugmentationRanges(
    side_cut_share=0.0,
    scale=(1.0, 1.0),
    tilt_rad=0.0,
    stretch=0.0,
    sway_px=0.0,
    object_share=0.0,
    body_floor_hu=(-1024.0, -1024.0),
    streak_hu=0.0,
    low_hu=(0.0, 0.0),
    window_hu=(1000.0, 1000.0),
    gamma=(1.0, 1.0),
    noise=0.0,
    shading=0.0,
    box_px=0,
)


@pytest.mark.parametrize("seed", range(12))
def test_window_offsets_point_to_l3_in_the_strip(seed):
    l3, height = 300.0, 620.0
    ranges = PLAIN._replace(l3_share=1.0, cut_share=0.0)
    strip = augmentation.random_strip(
        jax.random.key(seed), jnp.asarray(bar(l3, height)), jnp.float32(height),
        jnp.float32(l3), windows=6, stride_px=STRIDE_PX, ranges=ranges,
    )  # fmt: skip
    assert strip.x.shape == (HEIGHT_PX + 5 * STRIDE_PX, WIDTH_PX)
    # Blur may spread the bar; its middle stays.
    column = np.asarray(strip.x[:, WIDTH_PX // 2]) - 0.3
    bright = np.flatnonzero(column > 0.2)
    assert len(bright)
    middle = bright.mean() + 0.5
    for t, offset_mm in enumerate(strip.offset_mm):
        expected = (middle - HEIGHT_PX / 2 - STRIDE_PX * t) * MM_PER_PX
        assert offset_mm == pytest.approx(expected, abs=2.1)
    assert strip.counted.any()


SHAPE = ("scale", "tilt_rad", "stretch", "sway_px")
DEFORMED = PLAIN._replace(
    l3_share=1.0,
    cut_share=0.0,
    **{k: getattr(AugmentationRanges(), k) for k in SHAPE},
)


def dot(l3, height):
    """Returns a scan with a bright square on the spine at L3."""
    hu = np.full((IMAGE_ROWS, IMAGE_COLUMNS), -1024, np.int16)
    hu[: int(height / MM_PER_PX)] = 50
    row = int(l3 / MM_PER_PX)
    hu[row - 2 : row + 2, IMAGE_COLUMNS // 2 - 2 : IMAGE_COLUMNS // 2 + 2] = 900
    return hu, np.float32(height), np.float32(l3)


def brightest(x, above):
    weight = np.clip(np.asarray(x) - above, 0, None).sum(1)
    return (weight * (np.arange(len(weight)) + 0.5)).sum() / weight.sum()


def test_window_offsets_point_to_l3_after_deformation():
    cut = jax.jit(
        partial(
            augmentation.random_strip, windows=6, stride_px=STRIDE_PX, ranges=DEFORMED
        )
    )
    for seed in range(8):
        made = cut(jax.random.key(seed), *dot(300, 600))
        expected = HEIGHT_PX / 2 + float(made.offset_mm[0]) / MM_PER_PX
        assert brightest(made.x, 0.3) == pytest.approx(expected, abs=1.2)


def test_augmented_scans_keep_their_l3():
    same = dataset.ProjectionDataset(
        *(np.stack([a] * 8) for a in dot(300, 600)), np.arange(8)
    )
    augmented = dataset.augmented(same, 0, DEFORMED._replace(cut_share=1.0))
    assert augmented.hu.shape == (8, IMAGE_ROWS, WIDTH_PX)
    assert (
        len(set(augmented.height_mm.tolist()))
        == len(set(augmented.l3_mm.tolist()))
        == 8
    )
    seen = ~np.isnan(scoring.true_rows(augmented))
    assert 2 <= seen.sum() < 8  # Cuts leave L3 in view, or do not.
    for k in np.flatnonzero(seen):
        row = augmented.l3_mm[k] / MM_PER_PX
        assert brightest(augmented.hu[k], 300) == pytest.approx(row, abs=1.2)
        assert (
            augmented.hu[k, int(augmented.height_mm[k] / MM_PER_PX) :] == AIR_HU
        ).all()


def test_windows_far_beyond_the_scan_do_not_count():
    height = 120.0  # Shorter than a window, and than a strip.
    strips = [
        augmentation.random_strip(
            jax.random.key(s), jnp.asarray(bar(60.0, height)), jnp.float32(height),
            jnp.float32(60.0), windows=8, stride_px=STRIDE_PX, ranges=PLAIN,
        ) for s in range(8)
    ]  # fmt: skip
    for strip in strips:
        middle = 60.0 - np.asarray(strip.offset_mm)  # In mm from the top of the scan.
        beyond = MM_PER_PX * augmentation.BEYOND_PX
        expected = (middle >= -beyond) & (middle <= height + beyond)
        np.testing.assert_array_equal(strip.counted, expected)
        assert strip.counted.any()


def test_projections_with_labels_are_a_dataset():
    z = 500.0 - np.arange(300)
    hu = np.full((300, 260), 100, np.int16)
    hu[np.abs(z - 420.0) <= 2] = 900
    x = np.arange(260.0)
    plain = projection_files.Example("a", hu, z, x, 420.0, "in view", hu, x)
    other = plain._replace(label="not in view", l3_z=np.nan)
    p = dataset.projections([plain, other])
    assert p.hu.shape == (1, IMAGE_ROWS, IMAGE_COLUMNS)
    assert (p.height_mm[0], p.l3_mm[0]) == (300, 80.5)
    row = np.flatnonzero(p.hu[0, :, IMAGE_COLUMNS // 2] == 900).mean() + 0.5
    assert row * MM_PER_PX == pytest.approx(p.l3_mm[0], abs=1)
    with pytest.raises(DataError, match="no projection"):
        dataset.projections([other])


def test_long_scans_keep_the_part_with_l3():
    z = 1200.0 - np.arange(1200)
    hu = np.full((1200, 200), 100, np.int16)
    hu[1000:1004] = 900
    x, l3_z = np.arange(200.0), 1200.0 - 1001.5
    e = projection_files.Example("a", hu, z, x, l3_z, "in view", hu, x)
    p = dataset.projections([e])
    row = np.flatnonzero(p.hu[0, :, IMAGE_COLUMNS // 2] == 900).mean() + 0.5
    assert row * MM_PER_PX == pytest.approx(p.l3_mm[0], abs=1.1)


def test_phantoms_are_drawn_once(tmp_path, monkeypatch):
    drawn = []

    def draw(seed, first, count, ranges):
        drawn.append(first)
        hu = np.zeros((count, 2 * IMAGE_ROWS, 416), np.int16)
        return dataset.pictures.Pictures(hu, np.full(count, 500), np.full(count, 9.0))

    monkeypatch.setattr(dataset.pictures, "draw", draw)
    monkeypatch.setattr(dataset, "PHANTOMS_PER_FILE", 3)
    p = dataset.phantoms(tmp_path / "p", 1, 4)
    again = dataset.phantoms(tmp_path / "p", 1, 4)
    assert drawn == [0, 3]
    assert p.hu.shape == (4, IMAGE_ROWS, IMAGE_COLUMNS)
    assert p.l3_mm[0] == 9.5  # From the middle of row 9 to an edge.
    np.testing.assert_array_equal(p.l3_mm, again.l3_mm)
    with pytest.raises(WorkdirError, match="take another"):
        dataset.phantoms(tmp_path / "p", 2, 4)
    with pytest.raises(WorkdirError, match="take another"):
        dataset.phantoms(tmp_path / "p", 1, 4, VARIED_PROPORTIONS)


def test_a_run_learns_and_writes_a_model(bars, tmp_path):
    c = phantom.get_config("smoke")
    c.epochs, c.data.validation, c.eval_every, c.windows = 6, 10, 6, 3
    c.augmentation.update(
        dict.fromkeys(("shading", "side_cut_share", "object_share", "streak_hu"), 0.0)
    )
    c.augmentation.box_px = 0
    rows = []
    run = experiment.train_and_evaluate(c, tmp_path / "run", callbacks=[rows.append])
    assert rows == logs.read_rows(tmp_path / "run")
    summary = run.summary
    assert rows[-1]["valid/mean_mm"] == summary["last"]["valid/mean_mm"]
    assert summary["valid"]["mean_mm"] < 15  # Bars lie anywhere in 700 mm.
    made = model.load(tmp_path / "run" / "model.safetensors")
    assert "phantoms" in made.about
    assert summary["valid"]["compared"] > 5
    # A finished run is read.
    again = experiment.train_and_evaluate(c, tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert again.summary == summary == stored
    jax.tree.map(np.testing.assert_array_equal, again.params, run.params)
    assert again.model.calibration == run.model.calibration


def constant(**changes):
    c = phantom.get_config("smoke")
    c.model.backbone, c.mirror, c.windows, c.data.validation = "cnn4", False, 2, 10
    c.optim.schedule, c.optim.warmup_epochs = "constant", 0
    c.update_from_flattened_dict(changes)
    return c


def test_a_run_is_trained_further_and_starts_another(bars, tmp_path, monkeypatch):
    run = partial(experiment.train_and_evaluate, folder=tmp_path / "run")
    run(constant(epochs=1))
    longer = run(constant(**{"epochs": 2, "data.path": "elsewhere"}))
    whole = experiment.train_and_evaluate(constant(epochs=2), tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, longer.params, whole.params)
    assert longer.summary["epochs"] == 2
    with pytest.raises(WorkdirError, match="epochs: 2 -> 1"):
        run(constant(epochs=1))
    with pytest.raises(WorkdirError, match=r"optim\.schedule: 'constant' -> 'warm"):
        run(constant(**{"epochs": 3, "optim.schedule": "warmup_cosine"}))
    started = []

    def fit(training, *_):
        started.append(training.params)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        experiment.train_and_evaluate(
            constant(init_from=str(tmp_path / "run")), tmp_path / "other"
        )
    jax.tree.map(np.testing.assert_array_equal, started[0], longer.params)


def test_a_validation_set_without_l3_is_refused():
    scans = images_of_bars()
    cut = scans._replace(l3_mm=np.where(np.arange(40) < 30, scans.l3_mm, -80))
    with pytest.raises(ConfigError, match=r"data\.validation=10 must be more: none of"):
        experiment.split_validation(constant(), cut, scans)


def test_other_labels_are_other_data():
    same = dataset.ProjectionDataset(
        *(np.stack([a] * 2) for a in dot(300, 600)), np.arange(2)
    )
    moved = same._replace(l3_mm=same.l3_mm + 1)
    assert dataset.checksum(same) != dataset.checksum(moved)


def test_confidence_is_that_of_the_evidence():
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.6
    features = rng.normal(size=(400, model.FEATURE_COUNT)) * 0.1
    features[:, 0] += right
    calibration = scoring.calibrate(features, right)
    assert calibration(np.array([1.0, 0, 0, 0, 0])) > 0.9
    assert calibration(np.zeros(5)) < 0.1
    assert scoring.calibrate(features, np.ones(400, bool))(features[0]) > 0.9
    assert scoring.calibrate(features, np.zeros(400, bool))(features[0]) < 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("data.source", "none"), ("data.proportions", "none"),
        ("data.validation", 5000),
        ("low_hu", 2000.0),
        ("optim.learning_rate", 0.0), ("huber_delta", 0.0), ("max_offset_mm", 40.0),
        ("save_minutes", -1.0), ("window_stride_px", 3), ("model.backbone", "resnet"),
        ("model.dtype", "float16"),
        ("model.weights_file", "a.safetensors"), ("data.unlabelled", 5),
        ("reconstruct.schedule", "sometimes"), ("reconstruct.value", 1.0),
    ],
)  # fmt: skip
def test_configs_that_are_not_valid_are_refused(field, value):
    c = phantom.get_config()
    with c.unlocked():
        c.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=field.split(".")[-1]):
        check(c)


def test_projections_have_no_drawn_proportions():
    c = phantom.get_config()
    c.data.source, c.data.proportions = "projections", "varied"
    with pytest.raises(ConfigError, match="which are no phantoms"):
        check(c)


def test_the_config_has_all_fields_of_the_augmentation():
    assert set(phantom.get_config().augmentation) == set(AugmentationRanges._fields)
