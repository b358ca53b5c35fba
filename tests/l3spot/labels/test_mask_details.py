"""Finding the middle of the body in anisotropic voxels and in unusual masks."""

import nibabel
import numpy as np
import pytest

from l3spot.labels import csv_labels, masks
from l3spot.labels.masks import Mask
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot import vertebra
from tests.l3spot.assembled import only_volume
from tests.l3spot.vertebra import MIDDLE, affine_of, image


def vertebra_of(mm, *tilt):
    affine = affine_of(mm, [80, 70, 60])
    shape = tuple(int(n) for n in np.array([160, 180, 140]) / mm)
    return vertebra.mask(affine, shape, MIDDLE, vertebra.turn(*tilt)), affine


@pytest.mark.parametrize("tilt", [(0,), (15,), (0, 15)])
@pytest.mark.parametrize("mm", [(0.6, 3.0, 1.5), (3.0, 0.6, 1.5), (0.8, 4.0, 1.5)])
def test_the_middle_is_found_in_anisotropic_voxels(tmp_path, mm, tilt):
    result = masks.read(image(*vertebra_of(mm, *tilt), tmp_path / "a.nii"))
    assert abs(result.z - MIDDLE[2]) < 1.0


def test_the_larger_of_two_pieces_is_the_body(tmp_path):
    """A separate ball of 11 mm lies 50 mm below a ball of 12 mm."""
    affine = affine_of((1.0, 1.0, 1.0), [0, 0, 0])
    at = np.moveaxis(np.indices((60, 60, 100)), 0, -1)
    large = np.linalg.norm(at - [30, 30, 75], axis=-1) <= 12
    small = np.linalg.norm(at - [25, 35, 25], axis=-1) <= 11
    result = masks.read(image(large | small, affine, tmp_path / "a.nii"))
    assert result.z == pytest.approx(75, abs=0.1)


def ball(radius_mm, middle_mm, count=60):
    """Returns a ball, bool [i, j, k], in voxels of 1 mm."""
    at = np.moveaxis(np.indices((50, 50, count)), 0, -1)
    return np.linalg.norm(at - [25, 25, middle_mm], axis=-1) <= radius_mm


def test_a_hollow_body_is_filled(tmp_path):
    """Only a rim of 3 mm is marked, and no ball of 4 mm fits into the rim."""
    affine = affine_of((1.0, 1.0, 1.0), [0, 0, 0])
    rim = ball(15, 30) & ~ball(12, 30)
    result = masks.read(image(rim, affine, tmp_path / "a.nii"))
    assert result.z == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(
    ("radius_mm", "state"), [(3, csv_labels.NOT_IN_VIEW), (7, csv_labels.IN_VIEW)]
)
def test_a_ball_of_4_mm_must_fit_into_the_body(tmp_path, radius_mm, state):
    affine = affine_of((1.0, 1.0, 1.0), [0, 0, 0])
    path = image(ball(radius_mm, 30), affine, tmp_path / "a.nii")
    assert masks.read(path).state == state


@pytest.mark.parametrize("middle_mm", [5, 54])
def test_a_body_at_either_end_gives_a_warning(tmp_path, middle_mm):
    affine = affine_of((1.0, 1.0, 1.0), [0, 0, 0])
    path = image(ball(12, middle_mm), affine, tmp_path / "a.nii")
    (warning,) = masks.read(path).warnings
    assert "reaches the end of the scan" in warning
    clear = image(ball(12, 30), affine, tmp_path / "b.nii")
    assert masks.read(clear).warnings == ()


def test_touching_neighbours_are_left_out(tmp_path):
    """Three touching balls of 10 mm have the values 21 to 23."""
    affine = affine_of((1.0, 1.0, 1.0), [0, 0, 0])
    marked = np.zeros((50, 50, 60), np.uint8)
    for value, middle in ((21, 48), (22, 29), (23, 10)):
        marked[ball(10, middle) & (marked == 0)] = value
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(marked, affine), path)
    for value, middle in ((21, 48), (22, 29), (23, 10)):
        assert masks.read(path, value).z == pytest.approx(middle, abs=0.6)


def test_all_nonzero_voxels_count_without_a_value(tmp_path):
    affine = affine_of((1.0, 1.0, 1.0), [0, 0, 0])
    for value in (1, 3, -1):
        marked = (value * ball(12, 30)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(marked, affine), tmp_path / "a.nii")
        assert masks.read(tmp_path / "a.nii").z == pytest.approx(30, abs=0.1)


def test_a_mask_outside_the_scan_is_refused(tmp_path):
    """The scan spans 100 to 147.5 mm."""
    volume = only_volume(write.write(tmp_path / "scan", write.series()))
    for low, path in ((100, tmp_path / "a.nii"), (200, tmp_path / "b.nii")):
        image(ball(12, 30), affine_of((1.0, 1.0, 1.0), [0, 0, low]), path)
    assert Mask(tmp_path / "a.nii").find(volume).z == pytest.approx(130, abs=0.1)
    with pytest.raises(DataError, match=r"b\.nii: L3 at z = 230\.0 mm"):
        Mask(tmp_path / "b.nii").find(volume)
