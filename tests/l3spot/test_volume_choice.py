"""Which slices make a volume: each limit from both of its sides."""

import numpy as np
import pytest

from l3spot.ct import scan, volumes
from tests.l3spot import series as write
from tests.l3spot.series import PLANES, STEP
from tests.l3spot.test_volumes import acquired, found, of_series, only, refused, uids


def test_the_step_is_the_usual_one_if_slices_are_missing(tmp_path):
    images = write.series()
    del images[3], images[7], images[11]
    volume = only(write.write(tmp_path, images))
    assert volumes.step(volume) == STEP
    assert volume.warnings == ("planes are missing in 3 places",)


def test_slices_a_little_further_apart_are_not_missing(tmp_path):
    images = write.series()
    for ds in images[10:]:
        ds.ImagePositionPatient[2] += 0.4 * STEP
    assert only(write.write(tmp_path / "a", images)).warnings == ()
    for ds in images[10:]:
        ds.ImagePositionPatient[2] += 0.2 * STEP
    volume = only(write.write(tmp_path / "b", images))
    assert volume.warnings == ("planes are missing in 1 places",)


def test_of_volumes_that_are_a_few_mm_longer_the_thinnest_comes_first(tmp_path):
    """102 mm and 99 mm are both 10 cm; 112 mm are 11 cm."""
    of_series(tmp_path, 1, 34, 3.0)
    of_series(tmp_path, 2, 99, 1.0)
    assert uids(scan.read(tmp_path).volumes) == ["1.2.3.2", "1.2.3.1"]
    of_series(tmp_path, 3, 28, 4.0)
    assert uids(scan.read(tmp_path).volumes) == ["1.2.3.3", "1.2.3.2", "1.2.3.1"]


def test_a_gap_of_10_mm_is_filled_and_11_mm_are_refused(tmp_path):
    assert len(only(write.write(tmp_path / "a", write.series(step=10.0))).planes) == 20
    why = refused(write.write(tmp_path / "b", write.series(step=11.0)))
    assert "nothing for 11.0 mm" in why


def test_eight_slices_are_a_volume_and_seven_are_not(tmp_path):
    assert len(only(write.write(tmp_path / "a", write.series(planes=8))).planes) == 8
    why = refused(write.write(tmp_path / "b", write.series(planes=7)))
    assert why.startswith("7 planes are too few")


@pytest.mark.parametrize(("jump_mm", "kept"), [(4.9, True), (5.1, False)])
def test_slices_may_lie_5_mm_aside(tmp_path, jump_mm, kept):
    images = write.series()
    for ds in images[8:12]:
        ds.ImagePositionPatient[0] += jump_mm
    made, rejected = found(write.write(tmp_path, images))
    assert (len(made), len(rejected)) == (kept, not kept)


@pytest.mark.parametrize(("degrees", "kept"), [(1.0, True), (1.3, False), (3, False)])
def test_a_gantry_may_be_tilted_by_a_degree(tmp_path, degrees, kept):
    angle = np.radians(degrees)
    axes = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle))]
    images = write.series(ImageOrientationPatient=axes)
    made, rejected = found(write.write(tmp_path, images))
    assert (len(made), len(rejected)) == (kept, not kept)
    if not kept:
        assert f"tilted by {degrees:.1f} degrees" in rejected[0].why


@pytest.mark.parametrize(("shifted", "count"), [(4, 1), (16, 2)])
def test_acquisitions_are_apart_if_most_of_their_slices_are(tmp_path, shifted, count):
    """Of 20 slices each so many lie 1 mm above those of the other."""
    first, second = acquired(1, 20, 100), acquired(2, 20, 100)
    for ds in second[2 : 2 + shifted]:
        ds.ImagePositionPatient[2] += 1
    made, rejected = found(write.write(tmp_path, first + second))
    assert (len(made), rejected) == (count, [])


@pytest.mark.parametrize("shape", [(3, 40), (40, 3)])
def test_images_of_three_rows_or_columns_are_no_volume(tmp_path, shape):
    images = [
        write.image(np.zeros(shape, np.int16), (0, 0, STEP * i), i) for i in range(10)
    ]
    why = refused(write.write(tmp_path, images))
    assert why.startswith(f"its planes are {shape[0]} x {shape[1]} pixels")


def test_another_pixel_spacing_is_another_volume(tmp_path):
    """Of one series: 0.7 mm and 0.75 mm between rows."""
    first, second = write.series(), write.series(planes=12)
    for ds in second:
        ds.PixelSpacing = [0.75, 0.9]
        ds.SOPInstanceUID += ".2"
    made, rejected = found(write.write(tmp_path, first + second))
    assert rejected == []
    assert sorted(len(v.planes) for v in made) == [12, PLANES]


def test_slices_half_a_mm_apart_are_all_kept(tmp_path):
    images = write.series(step=0.5)
    volume = only(write.write(tmp_path, images))
    assert len(volume.planes) == PLANES
    assert volume.warnings == ()


def test_air_is_below_0_hu_and_water_is_not(tmp_path):
    """Without a rescale: a lowest value of -1 is of HU, one of 0 may be of none."""
    for low, warnings in ((-1, ()), (0, (volumes.NO_HU,))):
        images = write.series(RescaleSlope=None, RescaleIntercept=None)
        for ds in images:
            pixels = np.frombuffer(ds.PixelData, np.int16)
            ds.PixelData = (pixels - pixels.min() + low).astype(np.int16).tobytes()
        folder = write.write(tmp_path / str(low), images)
        assert only(folder).warnings == warnings


def test_values_of_a_file_with_a_rescale_are_not_doubted(tmp_path):
    """Even if none is below 0."""
    images = write.series(RescaleSlope=1.0, RescaleIntercept=0.0)
    assert only(write.write(tmp_path, images)).warnings == ()
