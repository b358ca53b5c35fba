"""HU, positions and projections equal those of SimpleITK and NumPy."""

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
from tests.l3spot.trunk import mask_of

sitk = pytest.importorskip("SimpleITK")
SHIPPED = Path(pydicom.data.__file__).parent


def filled(shape, kind):
    """Returns stored values of a body that fills the field, with a bright part."""
    stored = np.random.default_rng(3).integers(900, 1600, shape)
    stored[:, shape[1] // 3, shape[2] // 4 : shape[2] // 2] += 1500
    return stored.astype(kind)


def simple_itk(folder):
    """Returns HU [slices, rows, columns], and the positions z, y and x, in mm."""
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
def test_projections_of_a_clean_series_equal_those_of_simpleitk(
    tmp_path, kind, spacing, step, origin
):
    for i, stored in enumerate(filled((12, 40, 48), kind)):
        ds = write.image(stored, (*origin[:2], origin[2] + step * i), 50 - i,
                         PixelSpacing=list(spacing), RescaleSlope=1.0,
                         RescaleIntercept=-1024.0)  # fmt: skip
        (tmp_path / f"{i * 7 % 12}").write_bytes(write.content(ds))
    volume = scan.choose(scan.read(tmp_path), tmp_path)
    result = mip.project(volume)
    hu, z, y, x = simple_itk(tmp_path)
    np.testing.assert_allclose(volume.z, z, atol=0.01)
    np.testing.assert_array_equal([ct_slice.hu() for ct_slice in volume.slices], hu)
    # The first row is at the upper end, the first column at the right side.
    np.testing.assert_allclose([result.z[0], result.x[0]], [z[-1], x[0]], atol=0.01)
    np.testing.assert_allclose(result.y[0], y[0], atol=0.01)
    for axis in (result.z[::-1], result.x, result.y):
        np.testing.assert_allclose(np.diff(axis), 1.0, atol=0.01)
    for values, axis, to, other in (
        (result.frontal, 1, result.x, x),
        (result.lateral, 2, result.y, y),
    ):
        expected = along(along(hu.max(axis=axis), z, result.z, 0), other, to, 1)
        assert values.shape == expected.shape
        np.testing.assert_allclose(values, expected, atol=1.0)
    # The slice index of each row, as SimpleITK counts.
    index = (result.z - z[0]) / step
    assert np.abs(result.nearest - index).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm"])
def test_projections_of_shipped_images_equal_those_of_simpleitk(tmp_path, name):
    """Each image of a scanner, uncompressed or JPEG 2000, is used at ten z."""
    for i in range(10):
        ds = pydicom.dcmread(SHIPPED / "test_files" / name)
        ds.ImagePositionPatient[2] += 2.7 * i
        ds.RescaleIntercept += 9 * i
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID[:60]}.{i}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(tmp_path / f"{7 * i % 10}")
    volume = scan.choose(scan.read(tmp_path), tmp_path)
    result = mip.project(volume)
    hu, z, y, x = simple_itk(tmp_path)
    np.testing.assert_allclose(volume.z, z, atol=0.01)
    for ct_slice in hu:
        ct_slice[~mask_of(ct_slice, volume.slices[0].spacing_mm[::-1])] = mip.AIR_HU
    expected = along(along(hu.max(axis=1), z, result.z, 0), x, result.x, 1)
    assert expected.max() > 500
    np.testing.assert_allclose(result.frontal, expected, atol=1.0)
    expected = along(along(hu.max(axis=2), z, result.z, 0), y, result.y, 1)
    np.testing.assert_allclose(result.lateral, expected, atol=1.0)
    nearest = np.abs(result.z[:, None] - z).argmin(axis=1)
    np.testing.assert_array_equal(result.nearest, nearest)


def shipped():
    """Yields the paths of the DICOM files in pydicom's wheel."""
    for path in sorted(SHIPPED.rglob("*")):
        if path.is_file() and dicom.is_dicom(slices.ScanFile(path)):
            yield path


def test_ct_images_of_pydicom_are_read_as_by_simpleitk():
    """Other files are refused, and no image of another modality is read."""
    read, refused = 0, []
    for path in shipped():
        try:
            (ct_slice,) = dicom.read(slices.ScanFile(path))
            hu = ct_slice.hu()
        except DataError as e:
            refused.append(str(e).split(path.name)[1])
            continue
        assert pydicom.dcmread(path).Modality == "CT"
        image = sitk.ReadImage(str(path), sitk.sitkFloat64)
        kept = ~np.isnan(hu)
        expected = sitk.GetArrayFromImage(image)[0]
        np.testing.assert_allclose(hu[kept], expected[kept], atol=1e-3)
        np.testing.assert_allclose(ct_slice.origin_mm, image.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(
            ct_slice.spacing_mm, image.GetSpacing()[:2], atol=1e-6
        )
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
        return pixels.read(stream, head, pixels.parse_layout(head.elements), 0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_stored_values_of_grey_images_equal_those_of_pydicom():
    """Images of other modalities are compared too."""
    syntaxes, files = set(), 0
    for path in shipped():
        try:
            values = stored(path)
            expected = pixel_array(path, index=0, raw=True)
        except (KeyError, ValueError, RuntimeError, AttributeError):
            continue  # The image is not grey or broken, or pydicom lacks a decoder.
        np.testing.assert_array_equal(values, expected, err_msg=path.name)
        assert values.dtype.kind == expected.dtype.kind
        syntaxes.add(pydicom.dcmread(path).file_meta.TransferSyntaxUID)
        files += 1
    assert files >= 22
    assert len(syntaxes) >= 8


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_lossy_jpeg_of_twelve_bits_equals_that_of_simpleitk(name):
    """pydicom cannot decode these files with the installed decoders."""
    path = SHIPPED / "test_files" / name
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
    np.testing.assert_array_equal(stored(path), expected)
