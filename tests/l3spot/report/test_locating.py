"""`l3spot.locate`, for files and arrays."""

import numpy as np
import pytest

import l3spot
from l3spot.ct import scan
from mtl.host.errors import DataError
from tests.l3spot import runs
from tests.l3spot.trunk import STEP, Z0

SPACING_MM = (STEP, 2.0, 2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return runs.scan(tmp_path_factory.mktemp("locate") / "a", runs.long_trunk(3))


@pytest.fixture(scope="module")
def hu(folder):
    volume = scan.choose(scan.read(folder), folder, "")
    return np.stack([one.decode().hu() for one in volume.slices])


def test_an_array_has_the_location_of_its_files(folder, hu):
    of_files = l3spot.locate(folder)
    of_array = l3spot.locate(hu, SPACING_MM)
    assert of_array.found == of_files.found
    assert of_array.confidence == pytest.approx(of_files.confidence, abs=1e-5)
    if of_files.found:
        assert of_array.z_mm == pytest.approx(of_files.z_mm - Z0, abs=1e-3)
        assert of_array.slice_index == of_files.slice_index
        assert of_files.file.endswith(f"IM{of_files.slice_index:04d}")
        assert of_array.file == ""


@pytest.fixture(scope="module")
def real(real_data):
    """A real scan as HU [Z, Y, X], the spacing in mm, and its location."""
    path = real_data / "ct" / "lumbar_small_field.zip"
    if not path.exists():
        pytest.skip(f"there is no ct in {real_data.name}/")
    volume = scan.choose(scan.read(path), path, "")
    hu = np.stack([one.decode().hu() for one in volume.slices])
    columns_mm, rows_mm = volume.slices[0].spacing_mm
    spacing_mm = (float(np.diff(volume.z).mean()), rows_mm, columns_mm)
    straight = l3spot.locate(hu, spacing_mm)
    assert straight.found
    assert straight.level == "L3"
    assert abs(straight.z_mm + volume.z[0] - -79.5) < 3
    return hu, spacing_mm, straight


@pytest.mark.parametrize(
    ("flip", "orientation"),
    [((0,), "IPL"), ((1,), "SAL"), ((2,), "SPR"), ((0, 1, 2), "IAR")],
)
def test_a_turned_array_has_the_same_location(real, flip, orientation):
    hu, spacing_mm, straight = real
    turned = l3spot.locate(np.flip(hu, flip), spacing_mm, orientation)
    assert [v.level for v in turned.levels] == [v.level for v in straight.levels]
    length_mm = (len(hu) - 1) * spacing_mm[0]
    if 0 in flip:
        assert turned.z_mm == pytest.approx(straight.z_mm - length_mm, abs=0.5)
        assert turned.slice_index == len(hu) - 1 - straight.slice_index
    else:
        assert turned.z_mm == pytest.approx(straight.z_mm, abs=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing_mm": None}, "must be three numbers"),
        ({"spacing_mm": (1, 1)}, "must be three numbers"),
        ({"spacing_mm": (1, 0, 1)}, "above 0"),
        ({"orientation": "LPS"}, "S or I, then P or A"),
        ({"orientation": "SP"}, "S or I, then P or A"),
        ({"hu": np.zeros((20, 40))}, r"give HU \[Z, Y, X\]"),
        ({"hu": np.zeros((20, 40, 40), complex)}, r"give HU \[Z, Y, X\]"),
        ({"hu": np.zeros((3, 40, 40))}, "3 slices are too few"),
        ({"hu": np.zeros((0, 40, 40))}, "it has no slices"),
    ],
)
def test_what_is_no_volume_is_refused(hu, change, message):
    right = {"hu": hu, "spacing_mm": SPACING_MM, "orientation": "SPL"} | change
    with pytest.raises(DataError, match=message):
        l3spot.locate(right["hu"], right["spacing_mm"], right["orientation"])


def test_a_folder_without_a_scan_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        l3spot.locate(tmp_path / "none")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        l3spot.nothing  # noqa: B018
