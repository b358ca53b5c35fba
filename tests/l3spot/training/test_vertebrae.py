"""A short training of the vertebrae's networks, twice."""

import numpy as np
import pytest

from configs.l3spot import vertebrae as configs
from l3spot.training import drawn_scans, vertebrae
from l3spot.vertebrae import confidence, model

pytestmark = pytest.mark.slow


def test_a_training_repeats_bit_for_bit(tmp_path):
    """Networks, calibration and summary; the file is the same to the last byte."""
    config = configs.get_config("smoke")
    config.data.count, config.data.validation, config.batch_size = 12, 4, 4
    config.ribs.count, config.surroundings.count, config.calibration.count = 3, 3, 2
    files = []
    for name in ("first", "second"):
        result = vertebrae.train_and_evaluate(config, tmp_path / name)
        assert np.isfinite(result.summary["bodies"]["best"]["valid/mean_mm"])
        files.append((tmp_path / name / "vertebrae.safetensors").read_bytes())
    assert files[0] == files[1]
    loaded = model.load(tmp_path / "first" / "vertebrae.safetensors")
    assert len(loaded.calibration.level.coefficients) == len(confidence.LEVEL_FEATURES)


def test_drawn_scans_show_the_vertebrae_where_they_are():
    """Bone at the middles of bodies in the band; the scans repeat."""
    scans = [list(drawn_scans.draw(3, 2)) for _ in range(2)]
    for a, b in zip(*scans, strict=True):
        np.testing.assert_array_equal(a.projection.frontal, b.projection.frontal)
        np.testing.assert_array_equal(a.projection.spine.hu, b.projection.spine.hu)
        np.testing.assert_array_equal(a.z_mm, b.z_mm)
    for scan in scans[0]:
        assert scan.z_of("L3") == 0
        assert scan.z_of("L2") > 10
        assert scan.z_of("L4") < -10
        band = scan.projection.spine
        bone = (band.hu > 150).sum((1, 2))
        assert bone.max() > 20
