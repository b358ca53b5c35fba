"""Training on lateral projections, and predictions with the model.

In the scans here, a bone in front of the spine marks L3. From the front, the spine
hides it.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.l3spot import phantom
from l3spot import predict
from l3spot.localize import model
from l3spot.localize.preprocess import FRONTAL, LATERAL, WIDTH_PX
from l3spot.report.predict_scan import METHODS, PredictOptions
from l3spot.training import augmentation, experiment
from l3spot.training.augmentation_ranges import AugmentationRanges
from l3spot.training.config import check
from l3spot.training.dataset import IMAGE_COLUMNS, IMAGE_ROWS
from mtl.host.errors import ConfigError
from tests.l3spot import series as write
from tests.l3spot import trunk

TISSUE_HU, BONE_HU = 40, 900
SCANS, WIDTH_MM = 40, 160
# In a lateral projection: the mark and the spine, from front to back.
MARK_MM, SPINE_MM = slice(40, 84), slice(100, 116)


def config(view, path=""):
    """Returns a config that trains in seconds on simple images."""
    c = phantom.get_config("smoke")
    c.data.source, c.data.view, c.data.path = "projections", view, str(path)
    c.model.backbone = "cnn4"
    c.epochs, c.data.validation, c.eval_every, c.windows = 8, 10, 8, 3
    c.augmentation.update(
        dict.fromkeys(("shading", "side_cut_share", "object_share", "streak_hu"), 0.0)
    )
    c.augmentation.update(box_px=0, mirror_share=0.0)
    c.mirror = False
    return c


def views(height_mm, l3_mm):
    """Returns the projections of a scan with L3 at a row; only the lateral shows it."""
    frontal = np.full((height_mm, WIDTH_MM), TISSUE_HU, np.int16)
    frontal[:, SPINE_MM] = BONE_HU
    lateral = frontal.copy()
    lateral[l3_mm - 4 : l3_mm + 4, MARK_MM] = BONE_HU
    return {"frontal": frontal, "lateral": lateral}


@pytest.fixture(scope="module")
def mips(tmp_path_factory):
    """Writes projections as l3spot.project does."""
    folder, rng = tmp_path_factory.mktemp("mips"), np.random.default_rng(0)
    columns = np.arange(float(WIDTH_MM))
    for i in range(SCANS):
        height_mm = int(rng.integers(300, 700))
        l3_mm = int(height_mm * rng.uniform(0.1, 0.9))
        z = 500.0 - np.arange(height_mm)
        axes = {"z": z, "x": columns, "y": columns, "l3_z": z[l3_mm] + 0.5}
        np.savez(folder / f"{i:02d}.npz", **views(height_mm, l3_mm), **axes)
        (folder / f"{i:02d}.json").write_text(json.dumps({"label": "in view"}))
    lines = [f"{i:02d},projected" for i in range(SCANS)]
    (folder / "report.csv").write_text("\n".join(["scan,status", *lines, ""]))
    return folder


@pytest.fixture(scope="module")
def run(mips, tmp_path_factory):
    """Trains on the lateral projections; returns the run and its folder."""
    folder = tmp_path_factory.mktemp("lateral")
    return experiment.train_and_evaluate(config(LATERAL, mips), folder), folder


@pytest.mark.slow
def test_a_lateral_model_finds_what_a_frontal_one_cannot_see(run, mips, tmp_path):
    lateral, folder = run
    frontal = experiment.train_and_evaluate(config(FRONTAL, mips), tmp_path / "run")
    assert lateral.summary["valid"]["mean_mm"] < 15
    assert frontal.summary["valid"]["mean_mm"] > 50
    assert (lateral.model.view, frontal.model.view) == (LATERAL, FRONTAL)
    stored = model.load(folder / "model.safetensors")
    assert stored.view == LATERAL
    assert "lateral projections" in stored.about


@pytest.mark.slow
def test_a_scan_is_predicted_with_a_lateral_model(run, tmp_path):
    """With the method of the paper, and with that of the vertebrae; none is seen."""
    _, folder = run
    hu = np.full((100, trunk.SIZE, trunk.SIZE), -1000.0)
    hu[:, 5:75, 5:75] = TISSUE_HU
    hu[:, 50:58, 36:44] = BONE_HU
    hu[60:63, 20:42, 38:42] = BONE_HU
    l3_mm = trunk.Z0 + trunk.STEP * 61
    write.write(tmp_path / "scans" / "a", trunk.images(hu))
    for method in METHODS:
        (row,) = predict.predict(
            tmp_path / "scans",
            tmp_path / method,
            folder / "model.safetensors",
            options=PredictOptions(method=method),
        )
        assert row.frontal_z_mm == pytest.approx(l3_mm, abs=15)
        assert (tmp_path / method / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.view": "oblique"}, "view='oblique' must be one of frontal, lateral"),
        ({"data.source": "phantoms"}, "source='phantoms' must be projections with"),
        ({"mirror": True}, "mirror=True must be False with config.data.view=lateral"),
        ({"augmentation.mirror_share": 0.5}, "mirror_share=0.5 must be 0 with"),
    ],
)
def test_what_does_not_go_with_the_lateral_view_is_refused(fields, message):
    c = config(LATERAL)
    check(c)
    c.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=message):
        check(c)


@pytest.mark.parametrize("mirrored", [False, True])
def test_lateral_scans_are_not_mirrored_in_training(mirrored):
    """A mark in front of the spine stays on its side, or is always on the other."""
    hu = np.full((IMAGE_ROWS, IMAGE_COLUMNS), TISSUE_HU, np.int16)
    hu[:, IMAGE_COLUMNS // 2 - 50 : IMAGE_COLUMNS // 2 - 40] = BONE_HU
    ranges = AugmentationRanges(mirror_share=float(mirrored), object_share=0.0)
    cut = jax.jit(augmentation.random_scan, static_argnames="ranges")
    for seed in range(6):
        key, l3_mm = jax.random.key(seed), jnp.float32(300)
        changed, *_ = cut(key, jnp.asarray(hu), jnp.float32(600), l3_mm, ranges=ranges)
        bone = np.clip(np.asarray(changed) - 400, 0, None).sum(0)
        half = WIDTH_PX // 2
        front, back = bone[:half].sum(), bone[half:].sum()
        assert front + back > 0
        assert (back > front) == mirrored
