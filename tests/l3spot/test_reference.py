"""HU, places and projections are those of SimpleITK and NumPy."""

from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.pixels import pixel_array

from l3spot.ct import dicom, header, pixels, scan, slices
from l3spot.projections import mip
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.test_projection import mask_of

sitk = pytest.importorskip("SimpleITK")
SHIPPED = Path(pydicom.data.__file__).parent


def filled(shape, kind):
    """Stored values of a body that fills the field, with something to find in it."""
    stored = np.random.default_rng(3).integers(900, 1600, shape)
    stored[:, shape[1] // 3, shape[2] // 4 : shape[2] // 2] += 1500
    return stored.astype(kind)


def simple_itk(folder):
    """HU [planes, rows, columns], and where its axes are: z, y, x."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    x, y, z = (
        o + s * np.arange(n)
        for o, s, n in zip(
            image.GetOrigin(), image.GetSpacing(), image.GetSize(), strict=True
        )
    )
    return sitk.GetArrayFromImage(image).astype(float), z, y, x


def along(values, at, to, axis):
    return np.apply_along_axis(lambda line: np.interp(to, at, line), axis, values)


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize(
    ("spacing", "step", "origin"),
    [
        ((0.8, 0.8), 1.0, (-40.0, -30.0, 100.0)),
        ((0.7, 1.3), 2.5, (-31.37, 12.3, -412.73)),  # Rows 0.7 mm apart, columns 1.3.
        ((1.9, 0.611), 0.75, (3.14, -77.7, 1200.01)),
        ((0.977, 0.977), 4.99, (-250.0, -250.0, -0.5)),
    ],
)
def test_projections_of_a_clean_series(tmp_path, kind, spacing, step, origin):
    for i, stored in enumerate(filled((12, 40, 48), kind)):
        ds = write.image(stored, (*origin[:2], origin[2] + step * i), 50 - i,
                         PixelSpacing=list(spacing), RescaleSlope=1.0,
                         RescaleIntercept=-1024.0)  # fmt: skip
        (tmp_path / f"{i * 7 % 12}").write_bytes(write.content(ds))
    volume = scan.choose(scan.read(tmp_path), tmp_path)
    found = mip.project(volume)
    hu, z, y, x = simple_itk(tmp_path)
    np.testing.assert_allclose(volume.z, z, atol=0.01)
    np.testing.assert_array_equal([plane.hu() for plane in volume.planes], hu)
    # The first row is at the upper end, the first column at the right side.
    np.testing.assert_allclose([found.z[0], found.x[0]], [z[-1], x[0]], atol=0.01)
    np.testing.assert_allclose(found.y[0], y[0], atol=0.01)
    for axis in (found.z[::-1], found.x, found.y):
        np.testing.assert_allclose(np.diff(axis), 1.0, atol=0.01)
    for values, axis, to, other in (
        (found.frontal, 1, found.x, x),
        (found.lateral, 2, found.y, y),
    ):
        due = along(along(hu.max(axis=axis), z, found.z, 0), other, to, 1)
        assert values.shape == due.shape
        np.testing.assert_allclose(values, due, atol=1.0)
    # Rows to slices, as SimpleITK counts them.
    index = (found.z - z[0]) / step
    assert np.abs(found.nearest - index).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm"])
def test_projections_of_series_of_shipped_images(tmp_path, name):
    """Scanners' own files, uncompressed and JPEG 2000; each at ten heights."""
    for i in range(10):
        ds = pydicom.dcmread(SHIPPED / "test_files" / name)
        ds.ImagePositionPatient[2] += 2.7 * i
        ds.RescaleIntercept += 9 * i
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID[:60]}.{i}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(tmp_path / f"{7 * i % 10}")
    volume = scan.choose(scan.read(tmp_path), tmp_path)
    found = mip.project(volume)
    hu, z, y, x = simple_itk(tmp_path)
    np.testing.assert_allclose(volume.z, z, atol=0.01)
    for plane in hu:
        plane[~mask_of(plane, volume.planes[0].spacing[::-1])] = mip.AIR
    due = along(along(hu.max(axis=1), z, found.z, 0), x, found.x, 1)
    assert due.max() > 500
    np.testing.assert_allclose(found.frontal, due, atol=1.0)
    due = along(along(hu.max(axis=2), z, found.z, 0), y, found.y, 1)
    np.testing.assert_allclose(found.lateral, due, atol=1.0)
    nearest = np.abs(found.z[:, None] - z).argmin(axis=1)
    np.testing.assert_array_equal(found.nearest, nearest)


def shipped():
    """The DICOM files that pydicom has in its wheel, by relative path."""
    for path in sorted(SHIPPED.rglob("*")):
        if path.is_file() and dicom.is_dicom(slices.File(path)):
            yield path


def test_the_ct_images_that_pydicom_ships():
    """Read as SimpleITK reads them, or refused; none of another modality is read."""
    read, refused = 0, []
    for path in shipped():
        try:
            (plane,) = dicom.read(slices.File(path))
            hu = plane.hu()
        except DataError as e:
            refused.append(str(e).split(path.name)[1])
            continue
        assert pydicom.dcmread(path).Modality == "CT"
        image = sitk.ReadImage(str(path), sitk.sitkFloat64)
        kept = ~np.isnan(hu)
        due = sitk.GetArrayFromImage(image)[0]
        np.testing.assert_allclose(hu[kept], due[kept], atol=1e-3)
        np.testing.assert_allclose(plane.origin, image.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(plane.spacing, image.GetSpacing()[:2], atol=1e-6)
        read += 1
    assert read >= 10
    reasons = (
        *("is no CT image", "holds no pixels"),
        *("ends within its header", "lacks the 128 bytes"),
    )
    assert [r for r in refused if not any(reason in r for reason in reasons)] == []


def stored(path):
    with path.open("rb") as stream:
        head = header.read(stream)
        return pixels.read(stream, head, pixels.layout(head.elements), 0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_stored_values_of_grey_images_are_those_of_pydicom():
    """Those of MR and the like as well."""
    syntaxes, files = set(), 0
    for path in shipped():
        try:
            values = stored(path)
            due = pixel_array(path, index=0, raw=True)
        except (KeyError, ValueError, RuntimeError, AttributeError):
            continue  # No grey image; broken; or pydicom lacks a decoder.
        np.testing.assert_array_equal(values, due, err_msg=path.name)
        assert values.dtype.kind == due.dtype.kind
        syntaxes.add(pydicom.dcmread(path).file_meta.TransferSyntaxUID)
        files += 1
    assert files >= 22
    assert len(syntaxes) >= 8


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_lossy_jpeg_of_twelve_bits(name):
    """Which pydicom cannot decode with what we depend on."""
    path = SHIPPED / "test_files" / name
    due = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
    np.testing.assert_array_equal(stored(path), due)
