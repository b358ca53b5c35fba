"""Finding the middle of the body in masks of whole vertebrae."""

import itertools

import nibabel
import numpy as np
import pytest

from l3spot.labels import csv_labels, masks
from mtl.host.errors import DataError
from tests.l3spot import vertebra
from tests.l3spot.vertebra import MIDDLE, affine_of, image


def saved(path, mm=(1.5, 1.5, 1.5), rotation=None, size=1.0, low=60.0, value=1):
    affine = affine_of(mm, [80, 70, low])
    shape = tuple(int(n) for n in np.array([160, 180, 140]) / mm)
    marked = vertebra.mask(affine, shape, MIDDLE, rotation, size)
    return image(value * marked, affine, path)


TILTS = list(itertools.product((-20, 0, 20), (-10, 0, 10)))


@pytest.mark.parametrize(("about_x", "about_y"), TILTS)
def test_the_middle_of_the_body_is_found_for_all_tilts(tmp_path, about_x, about_y):
    path = saved(tmp_path / "a.nii.gz", rotation=vertebra.turn(about_x, about_y))
    result = masks.read(path)
    assert result.state == csv_labels.IN_VIEW
    assert abs(result.z - MIDDLE[2]) < 1.0
    assert result.warnings == ()


@pytest.mark.parametrize("mm", [(0.8, 0.8, 0.8), (0.9, 0.9, 3.0), (1.0, 1.0, 5.0)])
@pytest.mark.parametrize("size", [0.7, 1.0, 1.2])
def test_the_middle_is_found_for_all_voxel_and_body_sizes(tmp_path, mm, size):
    path = saved(tmp_path / "a.nii.gz", mm, vertebra.turn(12), size)
    assert abs(masks.read(path).z - MIDDLE[2]) < 1.5


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_the_order_of_the_axes_does_not_matter(tmp_path, order, flips):
    path = saved(tmp_path / "a.nii.gz", (3, 3, 3), vertebra.turn(15))
    expected = masks.read(path).z
    moved = nibabel.load(path).as_reoriented(np.stack([order, flips], axis=1))
    nibabel.save(moved, tmp_path / "b.nii.gz")
    assert masks.read(tmp_path / "b.nii.gz").z == pytest.approx(expected, abs=1e-3)


def test_one_vertebra_of_several_is_found(tmp_path):
    """L2 and L4 have other values."""
    affine = affine_of((1.5, 1.5, 1.5), [80, 70, 60])
    marked = np.zeros((107, 120, 93), np.uint8)
    for value, up in ((21, 36), (23, -36), (22, 0)):
        at = MIDDLE + np.array([0, 0, up])
        marked[vertebra.mask(affine, marked.shape, at)] = value
    path = image(marked, affine, tmp_path / "a.nii")
    assert abs(masks.read(path, 22).z - MIDDLE[2]) < 1.0
    assert abs(masks.read(path, 21).z - MIDDLE[2] - 36) < 1.0
    assert masks.read(path, 24) == csv_labels.Label(
        csv_labels.NOT_IN_VIEW, masks.read(path, 24).z
    )


def test_an_empty_mask_means_not_in_view(tmp_path):
    result = masks.read(saved(tmp_path / "a.nii.gz", value=0))
    assert result.state == csv_labels.NOT_IN_VIEW
    assert np.isnan(result.z)


def test_a_cut_body_gives_a_warning(tmp_path):
    """The scan ends within the body, or above it, where only processes remain.

    If it ends below the body, within the processes, there is no warning.
    """
    below = masks.read(saved(tmp_path / "below.nii.gz", low=110.0))
    assert below.warnings == ()
    assert abs(below.z - MIDDLE[2]) < 1.0
    half = masks.read(saved(tmp_path / "half.nii.gz", low=130.0))
    assert half.state == csv_labels.IN_VIEW
    assert "the body of L3 reaches the end of the scan" in half.warnings[0]
    assert 130 < half.z < 144
    rest = masks.read(saved(tmp_path / "rest.nii.gz", low=146.0))
    assert rest.state == csv_labels.NOT_IN_VIEW
    assert "too little of L3" in rest.warnings[0]


def test_a_file_that_is_no_mask_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.nii"):
        masks.read(tmp_path / "a.nii")
    image(np.zeros((5, 5, 1)), np.eye(4), tmp_path / "b.nii")
    with pytest.raises(DataError, match=r"b\.nii has one slice"):
        masks.read(tmp_path / "b.nii")
