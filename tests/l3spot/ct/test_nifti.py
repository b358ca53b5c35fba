"""Reading whole and broken NIfTI files, compared with the same scan as DICOM."""

import gc
import gzip
import itertools
import zipfile

import nibabel
import numpy as np
import pytest

from l3spot.ct import nifti, scan, slices, volumes
from l3spot.projections import mip
from mtl.host.errors import DataError
from tests import open_files
from tests.l3spot.trunk import (
    MM,
    STEP,
    X0,
    Y0,
    Z0,
    images,
    trunk,
    volume_of,
)

# RAS: the signs of x and y are opposite to those of DICOM.
AFFINE = np.array([[-MM, 0, 0, -X0], [0, -MM, 0, -Y0], [0, 0, STEP, Z0], [0, 0, 0, 1]])


def small():
    """Returns HU [slices, rows, columns], all different, some negative."""
    count = 9 * 6 * 8
    return np.arange(count, dtype=np.int16).reshape(9, 6, 8) - 200


def voxels(hu):
    """Returns HU in the axis order of NIfTI, [i, j, k]."""
    return hu.transpose(2, 1, 0)


def save(path, hu, affine=AFFINE, change=None, code=1, kind=nibabel.Nifti1Image):
    """Writes a file, after `change` modified its image."""
    image = kind(voxels(hu) if hu.ndim == 3 else hu, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, 0)
    if change:
        change(image)
    nibabel.save(image, path)
    return path


def volume(path):
    made, rejected = volumes.assemble(nifti.read(slices.ScanFile(path)))
    assert rejected == []
    (one,) = made
    return one


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Returns the projection of the trunk's DICOM files."""
    folder = tmp_path_factory.mktemp("dicom")
    return mip.project(volume_of(folder, images(trunk())), row_mm=STEP, column_mm=MM)


def turned(order, flips):
    """Returns the trunk's image with permuted and flipped axes."""
    moved = np.stack([order, flips], axis=1)
    image = nibabel.Nifti1Image(voxels(trunk().astype(np.int16)), AFFINE)
    return image.as_reoriented(moved)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_all_orders_of_the_axes_give_the_projection_of_the_dicom_files(
    tmp_path, expected, order, flips
):
    path = tmp_path / "a.nii"
    nibabel.save(turned(order, flips), path)
    p = mip.project(volume(path), row_mm=STEP, column_mm=MM)
    for name in ("frontal", "lateral", "z", "x", "y", "nearest"):
        np.testing.assert_allclose(getattr(p, name), getattr(expected, name), atol=1e-4)


def test_slices_have_the_places_and_values_of_the_voxels(tmp_path):
    result = volume(save(tmp_path / "a.nii.gz", small()))
    np.testing.assert_allclose(result.z, Z0 + STEP * np.arange(9))
    np.testing.assert_array_equal([p.hu() for p in result.slices], small())
    first = result.slices[0]
    assert first.shape == (6, 8)
    assert first.spacing_mm == (MM, MM)
    assert first.series.series_uid == "a.nii.gz"
    np.testing.assert_allclose(first.axes, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(first.origin_mm, [X0, Y0, Z0])


def test_a_leaning_stack_is_refused(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = STEP * np.tan(np.radians(10))
    path = save(tmp_path / "a.nii", small(), affine)
    _, (rejected,) = volumes.assemble(nifti.read(slices.ScanFile(path)))
    assert (
        rejected.reason
        == "the gantry was tilted by 10.0 degrees; its rows are not level"
    )


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"]
)
def test_all_number_types_are_read_with_slope_and_intercept(tmp_path, kind, dtype):
    stored = (np.arange(9 * 6 * 8) % 120).reshape(9, 6, 8)
    # When nibabel saves an image, it computes another slope.
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    header.set_data_shape((8, 6, 9))
    header.set_sform(AFFINE, 1)
    header.set_slope_inter(2, -100)
    header.set_data_offset(header.sizeof_hdr + 4)
    path = tmp_path / "a.nii"
    content = voxels(stored).astype(dtype).tobytes(order="F")
    path.write_bytes(header.binaryblock + bytes(4) + content)
    result = [p.hu() for p in volume(path).slices]
    np.testing.assert_array_equal(result, 2.0 * stored - 100)
    assert result[0].dtype == np.float32


def test_nan_and_infinity_are_padding(tmp_path):
    hu = small().astype(np.float32)
    hu[0, 0, :3] = np.nan, np.inf, -np.inf
    first = volume(save(tmp_path / "a.nii", hu)).slices[0].hu()
    assert np.flatnonzero(np.isnan(first)).tolist() == [0, 1, 2]


def test_one_volume_in_four_dimensions_is_read(tmp_path):
    hu = voxels(small())[..., None]
    result = volume(save(tmp_path / "a.nii", hu))
    np.testing.assert_array_equal([p.hu() for p in result.slices], small())


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("micron", 0.001)])
def test_units_are_converted_to_mm(tmp_path, unit, mm):
    affine = AFFINE.copy()
    affine[:3] /= mm
    path = save(
        tmp_path / "a.nii",
        small(),
        affine,
        lambda i: i.header.set_xyzt_units(unit),
    )
    result = volume(path)
    np.testing.assert_allclose(result.z, Z0 + STEP * np.arange(9), rtol=1e-5)
    np.testing.assert_allclose(result.slices[0].spacing_mm, MM, rtol=1e-5)


def test_the_qform_replaces_a_missing_sform(tmp_path):
    def only_qform(image):
        image.set_sform(None, 0)
        image.set_qform(AFFINE, 1)

    result = volume(save(tmp_path / "a.nii", small(), change=only_qform))
    np.testing.assert_allclose(result.z, Z0 + STEP * np.arange(9), rtol=1e-6)
    np.testing.assert_allclose(result.slices[0].origin_mm, [X0, Y0, Z0], rtol=1e-6)


SHEARED = AFFINE + np.array([[0, 0.2, 0, 0], *[[0.0] * 4] * 3])
ODD = {
    "neither an sform nor a qform": {"code": 0},
    "in-plane axes are sheared": {"affine": SHEARED},
    "must hold one volume": {"hu": np.zeros((8, 6, 9, 2), np.int16)},
    "three dimensions": {"hu": np.zeros((8, 6), np.int16)},
    "not one number a voxel": {"hu": np.zeros((8, 6, 9), np.complex64)},
    "invalid affine": {"affine": np.diag([1.0, 1, 0, 1])},
}


@pytest.mark.parametrize("message", ODD)
def test_unusable_files_are_refused(tmp_path, message):
    given = {"hu": small()} | ODD[message]
    hu, affine = given["hu"], given.get("affine", AFFINE)
    image = nibabel.Nifti1Image(voxels(hu) if hu.ndim == 3 else hu, None)
    image.header.set_sform(affine, given.get("code", 1))
    image.header.set_qform(None, 0)
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    # nibabel writes its own codes of the affines, so they are set in the file.
    content = bytearray(path.read_bytes())
    content[254:256] = int(given.get("code", 1)).to_bytes(2, "little")
    content[252:254] = bytes(2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nii") as e:
        nifti.read(slices.ScanFile(path))
    assert message in str(e.value)


def test_files_with_a_false_suffix_are_refused(tmp_path):
    (tmp_path / "text.nii").write_text("not an image\n" * 100)
    (tmp_path / "text.nii.gz").write_text("not an image\n" * 100)
    (tmp_path / "empty.nii").touch()
    packed = save(tmp_path / "whole.nii.gz", small()).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(packed[:20])
    for name in ("text.nii", "text.nii.gz", "empty.nii", "cut.nii.gz"):
        with pytest.raises(DataError, match=f"{name} is no NIfTI file"):
            nifti.read(slices.ScanFile(tmp_path / name))


def test_files_cut_short_are_refused(tmp_path):
    """The files end within the voxels, and decoding a slice raises the error."""
    noise = np.random.default_rng(0).integers(-900, 900, (9, 60, 80), np.int16)
    plain = save(tmp_path / "plain.nii", noise)
    plain.write_bytes(plain.read_bytes()[:-1])
    packed = save(tmp_path / "packed.nii.gz", noise)
    packed.write_bytes(packed.read_bytes()[:-2000])
    damaged = save(tmp_path / "damaged.nii.gz", noise)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    whole = save(tmp_path / "short.nii", noise).read_bytes()
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(whole[:-1]))
    for path, message in (
        (plain, "cut short: it holds 86751 of 86752 bytes"),
        (packed, "cannot be unpacked"),
        (damaged, "cannot be unpacked"),
        (tmp_path / "short.nii.gz", "cut short"),
    ):
        result = nifti.read(slices.ScanFile(path))
        with pytest.raises(DataError, match=f"{path.name} .*{message}"):
            result[0].hu()


def test_a_compressed_file_is_extracted_once(tmp_path, monkeypatch):
    """No temporary file remains, and no file remains open."""
    path, copied = save(tmp_path / "a.nii.gz", small()), []
    whole = nifti._copy
    monkeypatch.setattr(nifti, "_copy", lambda *a: copied.append(1) or whole(*a))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = volume(path)
    for ct_slice in result.slices:
        ct_slice.hu()
    assert copied == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    assert open_files.inside(tmp_path)
    del result, ct_slice
    gc.collect()
    assert not open_files.inside(tmp_path)


def test_too_little_disk_space_is_an_error(tmp_path, monkeypatch):
    result = nifti.read(slices.ScanFile(save(tmp_path / "a.nii.gz", small())))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="set TMPDIR"):
        result[0].hu()


# NIfTI files among other files


def test_files_in_a_zip_file_are_read(tmp_path):
    for name in ("a.nii", "b.nii.gz"):
        inside = save(tmp_path / name, small())
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(inside, f"deep/{name}")
        path = tmp_path / f"{name}.zip"
        result = scan.choose(scan.read(path), path)
        np.testing.assert_array_equal([p.hu() for p in result.slices], small())


def test_the_ct_is_chosen_among_dicom_files_and_masks(tmp_path):
    save(tmp_path / "a_mask.nii.gz", (small() > 0).astype(np.uint8))
    save(tmp_path / "b.NII.gz", small())
    (tmp_path / "c.nii").write_text("no image")
    result = scan.read(tmp_path)
    assert len(result.volumes) == 2
    assert scan.choose(result, tmp_path).slices[0].file.name == "b.NII.gz"
    (unread,) = result.unread
    assert "c.nii is no NIfTI file" in unread[1]
    with pytest.raises(DataError, match=r"a_mask\.nii\.gz: no value .* is below 0"):
        scan.choose(result, tmp_path, "a_mask.nii.gz")
    with pytest.raises(DataError, match="no series d"):
        scan.choose(result, tmp_path, "d")
    volume_of(tmp_path / "dicom", images(trunk()))
    result = scan.read(tmp_path)
    assert scan.choose(result, tmp_path).slices[0].series.series_uid == "1.2.3.4"


def test_a_scout_longer_than_the_scan_is_not_chosen(tmp_path):
    """A sagittal slice of 500 rows reads as 500 axial slices of one column."""
    save(tmp_path / "ct.nii.gz", small())
    affine = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 30], [0, 0, 1, -100], [0, 0, 0, 1]])
    save(tmp_path / "scout.nii.gz", np.full((500, 60, 1), -500, np.int16), affine)
    result = scan.read(tmp_path)
    assert scan.choose(result, tmp_path).slices[0].file.name == "ct.nii.gz"
    (rejected,) = result.rejected
    assert rejected.reason == "its slices are 60 x 1 pixels; it may be a localizer"


def test_files_of_the_same_name_are_not_mixed(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        save(tmp_path / name / "ct.nii", small())
    assert len(scan.read(tmp_path).volumes) == 2
