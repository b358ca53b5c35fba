"""NIfTI files, as nibabel writes them and broken, against the same scan as DICOM."""

import gc
import gzip
import itertools
import os
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from l3spot.ct import nifti, scan, slices, volumes
from l3spot.projections import mip
from mtl.host.errors import DataError
from tests.l3spot.test_projection import MM, STEP, X0, Y0, Z0, images, trunk, volume_of

# RAS: x and y run to the other side than in DICOM.
AFFINE = np.array([[-MM, 0, 0, -X0], [0, -MM, 0, -Y0], [0, 0, STEP, Z0], [0, 0, 0, 1]])


def small():
    """HU [planes, rows, columns] that differ everywhere, some of it negative."""
    count = 9 * 6 * 8
    return np.arange(count, dtype=np.int16).reshape(9, 6, 8) - 200


def voxels(hu):
    """[i, j, k], as NIfTI has them."""
    return hu.transpose(2, 1, 0)


def save(path, hu, affine=AFFINE, change=None, code=1, kind=nibabel.Nifti1Image):
    """Writes a file; `change` gets the image before."""
    image = kind(voxels(hu) if hu.ndim == 3 else hu, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, 0)
    if change:
        change(image)
    nibabel.save(image, path)
    return path


def volume(path):
    made, rejected = volumes.assemble(nifti.read(slices.File(path)))
    assert rejected == []
    (one,) = made
    return one


@pytest.fixture(scope="module")
def due(tmp_path_factory):
    """The projection of the trunk's DICOM files."""
    folder = tmp_path_factory.mktemp("dicom")
    return mip.project(volume_of(folder, images(trunk())), row=STEP, column=MM)


def turned(order, flips):
    """The trunk's image with its axes in another order, some of them turned round."""
    moved = np.stack([order, flips], axis=1)
    image = nibabel.Nifti1Image(voxels(trunk().astype(np.int16)), AFFINE)
    return image.as_reoriented(moved)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_all_orders_of_the_axes_give_the_projection_of_the_dicom_files(
    tmp_path, due, order, flips
):
    path = tmp_path / "a.nii"
    nibabel.save(turned(order, flips), path)
    p = mip.project(volume(path), row=STEP, column=MM)
    for name in ("frontal", "lateral", "z", "x", "y", "nearest"):
        np.testing.assert_allclose(getattr(p, name), getattr(due, name), atol=1e-4)


def test_planes_are_those_of_the_patient(tmp_path):
    found = volume(save(tmp_path / "a.nii.gz", small()))
    np.testing.assert_allclose(found.z, Z0 + STEP * np.arange(9))
    np.testing.assert_array_equal([p.hu() for p in found.planes], small())
    first = found.planes[0]
    assert first.shape == (6, 8)
    assert first.spacing == (MM, MM)
    assert first.series[-1] == "a.nii.gz"
    np.testing.assert_allclose(first.axes, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(first.origin, [X0, Y0, Z0])


def test_a_leaning_stack_is_told_as_one_of_dicom_files_is(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = STEP * np.tan(np.radians(10))
    path = save(tmp_path / "a.nii", small(), affine)
    _, (rejected,) = volumes.assemble(nifti.read(slices.File(path)))
    assert (
        rejected.why == "the gantry was tilted by 10.0 degrees; its rows are not level"
    )


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"]
)
def test_any_number_with_slope_and_intercept(tmp_path, kind, dtype):
    stored = (np.arange(9 * 6 * 8) % 120).reshape(9, 6, 8)
    # nibabel works out slopes of its own when it saves.
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    header.set_data_shape((8, 6, 9))
    header.set_sform(AFFINE, 1)
    header.set_slope_inter(2, -100)
    header.set_data_offset(header.sizeof_hdr + 4)
    path = tmp_path / "a.nii"
    content = voxels(stored).astype(dtype).tobytes(order="F")
    path.write_bytes(header.binaryblock + bytes(4) + content)
    found = [p.hu() for p in volume(path).planes]
    np.testing.assert_array_equal(found, 2.0 * stored - 100)
    assert found[0].dtype == np.float32


def test_nan_and_infinity_are_padding(tmp_path):
    hu = small().astype(np.float32)
    hu[0, 0, :3] = np.nan, np.inf, -np.inf
    first = volume(save(tmp_path / "a.nii", hu)).planes[0].hu()
    assert np.flatnonzero(np.isnan(first)).tolist() == [0, 1, 2]


def test_one_volume_of_four_dimensions(tmp_path):
    hu = voxels(small())[..., None]
    found = volume(save(tmp_path / "a.nii", hu))
    np.testing.assert_array_equal([p.hu() for p in found.planes], small())


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("micron", 0.001)])
def test_other_units(tmp_path, unit, mm):
    affine = AFFINE.copy()
    affine[:3] /= mm
    path = save(
        tmp_path / "a.nii",
        small(),
        affine,
        lambda i: i.header.set_xyzt_units(unit),
    )
    found = volume(path)
    np.testing.assert_allclose(found.z, Z0 + STEP * np.arange(9), rtol=1e-5)
    np.testing.assert_allclose(found.planes[0].spacing, MM, rtol=1e-5)


def test_the_qform_where_there_is_no_sform(tmp_path):
    def only_qform(image):
        image.set_sform(None, 0)
        image.set_qform(AFFINE, 1)

    found = volume(save(tmp_path / "a.nii", small(), change=only_qform))
    np.testing.assert_allclose(found.z, Z0 + STEP * np.arange(9), rtol=1e-6)
    np.testing.assert_allclose(found.planes[0].origin, [X0, Y0, Z0], rtol=1e-6)


SHEARED = AFFINE + np.array([[0, 0.2, 0, 0], *[[0.0] * 4] * 3])
ODD = {
    "neither an sform nor a qform": {"code": 0},
    "in-plane axes are sheared": {"affine": SHEARED},
    "must hold one volume": {"hu": np.zeros((8, 6, 9, 2), np.int16)},
    "three dimensions": {"hu": np.zeros((8, 6), np.int16)},
    "not one number a voxel": {"hu": np.zeros((8, 6, 9), np.complex64)},
    "says nonsense": {"affine": np.diag([1.0, 1, 0, 1])},
}


@pytest.mark.parametrize("said", ODD)
def test_files_that_are_no_use(tmp_path, said):
    given = {"hu": small()} | ODD[said]
    hu, affine = given["hu"], given.get("affine", AFFINE)
    image = nibabel.Nifti1Image(voxels(hu) if hu.ndim == 3 else hu, None)
    image.header.set_sform(affine, given.get("code", 1))
    image.header.set_qform(None, 0)
    path = tmp_path / "a.nii"
    nibabel.save(image, path)
    # nibabel gives a code to an affine that it is not told of.
    content = bytearray(path.read_bytes())
    content[254:256] = int(given.get("code", 1)).to_bytes(2, "little")
    content[252:254] = bytes(2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nii") as e:
        nifti.read(slices.File(path))
    assert said in str(e.value)


def test_files_that_are_not_what_they_seem(tmp_path):
    (tmp_path / "text.nii").write_text("not an image\n" * 100)
    (tmp_path / "text.nii.gz").write_text("not an image\n" * 100)
    (tmp_path / "empty.nii").touch()
    packed = save(tmp_path / "whole.nii.gz", small()).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(packed[:20])
    for name in ("text.nii", "text.nii.gz", "empty.nii", "cut.nii.gz"):
        with pytest.raises(DataError, match=f"{name} is no NIfTI file"):
            nifti.read(slices.File(tmp_path / name))


def test_files_cut_short(tmp_path):
    """Within the voxels: told when they are asked for."""
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
    for path, said in (
        (plain, "cut short: it holds 86751 of 86752 bytes"),
        (packed, "cannot be unpacked"),
        (damaged, "cannot be unpacked"),
        (tmp_path / "short.nii.gz", "cut short"),
    ):
        found = nifti.read(slices.File(path))
        with pytest.raises(DataError, match=f"{path.name} .*{said}"):
            found[0].hu()


def test_a_packed_file_is_unpacked_once(tmp_path, monkeypatch):
    """And leaves neither a file nor an open one."""
    path, copied = save(tmp_path / "a.nii.gz", small()), []
    whole = nifti._copy
    monkeypatch.setattr(nifti, "_copy", lambda *a: copied.append(1) or whole(*a))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = volume(path)
    for plane in found.planes:
        plane.hu()
    assert copied == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    assert still_open(tmp_path)
    del found, plane
    gc.collect()
    assert not still_open(tmp_path)


def still_open(folder):
    """Files of a folder that this process holds open, those without a name as well."""
    links = (Path("/proc/self/fd", n) for n in os.listdir("/proc/self/fd"))
    paths = [os.readlink(link) for link in links if link.is_symlink()]
    return [path for path in paths if path.startswith(str(folder))]


def test_no_room_to_unpack_is_told(tmp_path, monkeypatch):
    found = nifti.read(slices.File(save(tmp_path / "a.nii.gz", small())))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="set TMPDIR"):
        found[0].hu()


# Among other files


def test_within_a_zip_file(tmp_path):
    for name in ("a.nii", "b.nii.gz"):
        inside = save(tmp_path / name, small())
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(inside, f"deep/{name}")
        path = tmp_path / f"{name}.zip"
        found = scan.choose(scan.read(path), path)
        np.testing.assert_array_equal([p.hu() for p in found.planes], small())


def test_beside_dicom_files_and_masks(tmp_path):
    save(tmp_path / "a_mask.nii.gz", (small() > 0).astype(np.uint8))
    save(tmp_path / "b.NII.gz", small())
    (tmp_path / "c.nii").write_text("no image")
    found = scan.read(tmp_path)
    assert len(found.volumes) == 2
    assert scan.choose(found, tmp_path).planes[0].file.name == "b.NII.gz"
    (unread,) = found.unread
    assert "c.nii is no NIfTI file" in unread[1]
    with pytest.raises(DataError, match=r"a_mask\.nii\.gz: no value .* is below 0"):
        scan.choose(found, tmp_path, "a_mask.nii.gz")
    with pytest.raises(DataError, match="no series d"):
        scan.choose(found, tmp_path, "d")
    volume_of(tmp_path / "dicom", images(trunk()))
    found = scan.read(tmp_path)
    assert scan.choose(found, tmp_path).planes[0].series[-1] == "1.2.3.4"


def test_a_scout_that_is_longer_than_the_scan_is_not_taken(tmp_path):
    """One sagittal slice of 500 rows: 500 axial planes of one column."""
    save(tmp_path / "ct.nii.gz", small())
    affine = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 30], [0, 0, 1, -100], [0, 0, 0, 1]])
    save(tmp_path / "scout.nii.gz", np.full((500, 60, 1), -500, np.int16), affine)
    found = scan.read(tmp_path)
    assert scan.choose(found, tmp_path).planes[0].file.name == "ct.nii.gz"
    (rejected,) = found.rejected
    assert rejected.why == "its planes are 60 x 1 pixels; a localizer, maybe"


def test_files_of_the_same_name_are_not_mixed(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        save(tmp_path / name / "ct.nii", small())
    assert len(scan.read(tmp_path).volumes) == 2
