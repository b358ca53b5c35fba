"""Centres in oblique anisotropic grids equal those of SimpleITK and nibabel."""

import itertools
import json

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nibabel.orientations import (
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from l3spot.ct import nifti, volumes
from l3spot.ct.slices import ScanFile
from l3spot.labels import centroids, masks
from l3spot.labels.centroids import Centroids
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.assembled import only_volume

ROWS, COLUMNS, SLICES = 60, 20, 12
ROW_MM, COLUMN_MM, SLICE_MM = 0.7, 1.9, 3.0


def rotation(x_degrees, y_degrees, z_degrees=0.0):
    """Returns a rotation matrix, about x, then y, then z."""
    matrix = np.eye(3)
    for axis, degrees in enumerate((x_degrees, y_degrees, z_degrees)):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        one[[i, i, j, j], [i, j, i, j]] = cos, -sin, sin, cos
        matrix = one @ matrix
    return matrix


@pytest.mark.parametrize("angles", [(2.0, 0.0), (0.0, -4.0), (-2.0, 3.0, 5.0)])
def test_the_z_of_an_oblique_slice_is_the_z_of_its_middle(tmp_path, angles):
    sitk = pytest.importorskip("SimpleITK")
    along, down, up = rotation(*angles).T
    pixels = np.zeros((ROWS, COLUMNS), np.int16)
    images = [
        write.image(
            pixels, np.array([-30, -20, 100]) + SLICE_MM * i * up, i,
            ImageOrientationPatient=[*along.tolist(), *down.tolist()],
            PixelSpacing=[ROW_MM, COLUMN_MM],
        ) for i in range(SLICES)
    ]  # fmt: skip
    volume = only_volume(write.write(tmp_path, images))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(tmp_path / f"IM{i:04d}") for i in range(SLICES)])
    image = reader.Execute()
    assert image.GetSize() == (COLUMNS, ROWS, SLICES)
    expected = [
        image.TransformContinuousIndexToPhysicalPoint(
            ((COLUMNS - 1) / 2, (ROWS - 1) / 2, float(i))
        )[2]
        for i in range(SLICES)
    ]
    np.testing.assert_allclose(volume.z, expected, atol=1e-4)


@pytest.mark.parametrize("angles", [(3.0, 0.0), (0.0, -3.0), (-2.0, 3.0)])
def test_the_z_of_an_oblique_nifti_slice_is_the_z_of_its_middle(tmp_path, angles):
    affine = np.eye(4)
    affine[:3, :3] = rotation(*angles) * [COLUMN_MM, ROW_MM, SLICE_MM]
    affine[:3, 3] = [10, 20, -300]
    voxels = np.full((COLUMNS, ROWS, SLICES), -5, np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "a.nii")
    ((volume,), _) = volumes.assemble(nifti.read(ScanFile(tmp_path / "a.nii")))
    middles = [((COLUMNS - 1) / 2, (ROWS - 1) / 2, i) for i in range(SLICES)]
    np.testing.assert_allclose(volume.z, apply_affine(affine, middles)[:, 2], atol=1e-3)


SHAPE, VOXEL_MM = (70, 110, 30), (1.4, 0.8, 3.0)
TILTED = [(18.0, 0.0), (0.0, 18.0), (-12.0, 14.0, 25.0)]


def oblique_affine(angles):
    """Returns an affine, RAS, with the grid's middle near 0."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(*angles) * VOXEL_MM
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) - 1) / 2 + [4, -9, 250]
    return affine


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("angles", TILTED)
def test_the_middle_of_a_ball_is_found_in_an_oblique_mask(tmp_path, angles, order):
    """The ball lies far from the grid's middle, so swapped axes would be noticed."""
    affine = oblique_affine(angles)
    middle = apply_affine(affine, (49.0, 26.0, 12.0))
    voxels = np.moveaxis(np.indices(SHAPE), 0, -1)
    ball = np.linalg.norm(apply_affine(affine, voxels) - middle, axis=-1) <= 14
    image = nibabel.Nifti1Image(ball.astype(np.uint8), affine)
    flips = [(axis, (-1) ** axis) for axis in order]
    nibabel.save(image.as_reoriented(np.array(flips)), tmp_path / "a.nii.gz")
    assert masks.read(tmp_path / "a.nii.gz").z == pytest.approx(middle[2], abs=0.3)


@pytest.mark.parametrize("toward", ["PIR", "LPS", "RAS", "ILA"])
@pytest.mark.parametrize("angles", TILTED)
def test_centres_are_converted_in_an_oblique_image(tmp_path, angles, toward):
    """nibabel reorients the image to the directions; its affine gives the position."""
    affine = oblique_affine(angles)
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), affine)
    nibabel.save(image, tmp_path / "a.nii")
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(toward))
    place = [11.5, 24.0, 19.0]
    expected = apply_affine(affine @ inv_ornt_aff(turn, SHAPE), place)
    entries = [
        {"direction": list(toward)},
        {"label": 21, "X": 1, "Y": 2, "Z": 3},
        {"label": 22, **dict(zip("XYZ", place, strict=True))},
        {"label": 23, "X": 4, "Y": 5, "Z": 6},
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    result = centroids.read(tmp_path / "a.json", tmp_path / "a.nii", 22)
    assert result.z == pytest.approx(expected[2], abs=1e-3)


def test_a_centre_outside_the_scan_is_refused(tmp_path):
    """The scan spans 100 to 147.5 mm."""
    volume = only_volume(write.write(tmp_path / "scan", write.series()))
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    nibabel.save(image, tmp_path / "ct.nii")
    for z_mm, name in ((130, "a.json"), (230, "b.json")):
        centre = {"label": 22, "X": 1, "Y": 1, "Z": z_mm}
        entries = [{"direction": ["R", "A", "S"]}, centre]
        (tmp_path / name).write_text(json.dumps(entries))
    inside = Centroids(tmp_path / "a.json", tmp_path / "ct.nii", 22)
    assert inside.find(volume).z == pytest.approx(130)
    outside = inside._replace(path=tmp_path / "b.json")
    with pytest.raises(DataError, match=r"b\.json: L3 at z = 230\.0 mm"):
        outside.find(volume)
