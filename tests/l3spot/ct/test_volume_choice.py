"""The limits for slices of a volume, each tested on both sides."""

import numpy as np
import pytest

from l3spot.ct import scan, volumes
from tests.l3spot import series as write
from tests.l3spot.assembled import (
    acquisition,
    assemble,
    only_volume,
    rejection_reason,
    series_uids,
    write_series,
)
from tests.l3spot.series import SLICES, STEP


def test_missing_slices_do_not_change_the_slice_spacing(tmp_path):
    images = write.series()
    del images[3], images[7], images[11]
    volume = only_volume(write.write(tmp_path, images))
    assert volumes.slice_spacing_mm(volume) == STEP
    assert volume.warnings == ("slices are missing in 3 places",)


def test_slightly_larger_gaps_are_not_missing_slices(tmp_path):
    images = write.series()
    for ds in images[10:]:
        ds.ImagePositionPatient[2] += 0.4 * STEP
    assert only_volume(write.write(tmp_path / "a", images)).warnings == ()
    for ds in images[10:]:
        ds.ImagePositionPatient[2] += 0.2 * STEP
    volume = only_volume(write.write(tmp_path / "b", images))
    assert volume.warnings == ("slices are missing in 1 place",)


def test_volumes_of_equal_length_in_cm_are_sorted_by_slice_spacing(tmp_path):
    """102 mm and 99 mm are both 10 cm; 112 mm are 11 cm."""
    write_series(tmp_path, 1, 34, 3.0)
    write_series(tmp_path, 2, 99, 1.0)
    assert series_uids(scan.read(tmp_path).volumes) == ["1.2.3.2", "1.2.3.1"]
    write_series(tmp_path, 3, 28, 4.0)
    assert series_uids(scan.read(tmp_path).volumes) == ["1.2.3.3", "1.2.3.2", "1.2.3.1"]


def test_a_gap_of_10_mm_is_accepted_and_11_mm_are_refused(tmp_path):
    assert (
        len(only_volume(write.write(tmp_path / "a", write.series(step=10.0))).slices)
        == 20
    )
    why = rejection_reason(write.write(tmp_path / "b", write.series(step=11.0)))
    assert "a gap of 11.0 mm" in why


def test_eight_slices_are_a_volume_and_seven_are_not(tmp_path):
    assert (
        len(only_volume(write.write(tmp_path / "a", write.series(slices=8))).slices)
        == 8
    )
    why = rejection_reason(write.write(tmp_path / "b", write.series(slices=7)))
    assert why.startswith("7 slices are too few")


@pytest.mark.parametrize(("jump_mm", "kept"), [(4.9, True), (5.1, False)])
def test_slices_may_be_shifted_sideways_by_5_mm(tmp_path, jump_mm, kept):
    images = write.series()
    for ds in images[8:12]:
        ds.ImagePositionPatient[0] += jump_mm
    made, rejected = assemble(write.write(tmp_path, images))
    assert (len(made), len(rejected)) == (kept, not kept)


@pytest.mark.parametrize(("degrees", "kept"), [(1.0, True), (1.3, False), (3, False)])
def test_a_gantry_may_be_tilted_by_1_degree(tmp_path, degrees, kept):
    angle = np.radians(degrees)
    axes = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle))]
    images = write.series(ImageOrientationPatient=axes)
    made, rejected = assemble(write.write(tmp_path, images))
    assert (len(made), len(rejected)) == (kept, not kept)
    if not kept:
        assert f"tilted by {degrees:.1f} degrees" in rejected[0].reason


@pytest.mark.parametrize(("shifted", "count"), [(4, 1), (16, 2)])
def test_acquisitions_are_separate_if_most_of_their_slices_interleave(
    tmp_path, shifted, count
):
    """Of 20 slices, `shifted` ones lie 1 mm above those of the other acquisition."""
    first, second = acquisition(1, 20, 100), acquisition(2, 20, 100)
    for ds in second[2 : 2 + shifted]:
        ds.ImagePositionPatient[2] += 1
    made, rejected = assemble(write.write(tmp_path, first + second))
    assert (len(made), rejected) == (count, [])


@pytest.mark.parametrize("shape", [(3, 40), (40, 3)])
def test_images_of_three_rows_or_columns_are_no_volume(tmp_path, shape):
    images = [
        write.image(np.zeros(shape, np.int16), (0, 0, STEP * i), i) for i in range(10)
    ]
    why = rejection_reason(write.write(tmp_path, images))
    assert why.startswith(f"its slices are {shape[0]} x {shape[1]} pixels")


def test_another_pixel_spacing_is_another_volume(tmp_path):
    """One series has rows 0.7 mm and 0.75 mm apart."""
    first, second = write.series(), write.series(slices=12)
    for ds in second:
        ds.PixelSpacing = [0.75, 0.9]
        ds.SOPInstanceUID += ".2"
    made, rejected = assemble(write.write(tmp_path, first + second))
    assert rejected == []
    assert sorted(len(v.slices) for v in made) == [12, SLICES]


def test_slices_half_a_mm_apart_are_all_kept(tmp_path):
    images = write.series(step=0.5)
    volume = only_volume(write.write(tmp_path, images))
    assert len(volume.slices) == SLICES
    assert volume.warnings == ()


def test_only_volumes_without_negative_values_are_doubted(tmp_path):
    """Without a rescale, a lowest value of -1 is accepted, and one of 0 is doubted."""
    for low, warnings in ((-1, ()), (0, (volumes.NOT_HU_WARNING,))):
        images = write.series(RescaleSlope=None, RescaleIntercept=None)
        for ds in images:
            pixels = np.frombuffer(ds.PixelData, np.int16)
            ds.PixelData = (pixels - pixels.min() + low).astype(np.int16).tobytes()
        folder = write.write(tmp_path / str(low), images)
        assert only_volume(folder).warnings == warnings


def test_values_of_a_file_with_a_rescale_are_not_doubted(tmp_path):
    """Their values are accepted even if none is below 0."""
    images = write.series(RescaleSlope=1.0, RescaleIntercept=0.0)
    assert only_volume(write.write(tmp_path, images)).warnings == ()
