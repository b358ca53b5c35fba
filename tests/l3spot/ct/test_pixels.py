"""Stored values and headers as scanners write them: bits, signs, padding.

Each series gives the projection of the clean series, or is refused.
"""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from l3spot.ct import dicom, slices
from l3spot.ct.header import FIRST_READ_BYTES
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.ct.projected import assert_same, project
from tests.l3spot.trunk import images, trunk


def test_bits_above_the_stored_bits_are_ignored(tmp_path, clean):
    """Old scanners store overlays in these bits."""
    made = images(trunk())
    for ds in made:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
        ds.RescaleIntercept = -1024
        junk = np.random.default_rng(ds.InstanceNumber).integers(0, 16, ds.Rows**2)
        ds.PixelData = (
            (write.stored(ds) + 1024 | junk << 12).astype(np.uint16).tobytes()
        )
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_values_in_the_high_bits_are_shifted_down(tmp_path, clean):
    made = images(trunk())
    for ds in made:
        ds.BitsStored, ds.HighBit = 12, 15
        ds.PixelData = (write.stored(ds) << 4 | 5).tobytes()
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_slices_may_differ_in_signedness(tmp_path, clean):
    made = images(trunk())
    for ds in made[::2]:
        ds.PixelRepresentation, ds.RescaleIntercept = 0, -1024
        ds.PixelData = (write.stored(ds) + 1024).tobytes()
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_all_bits_count_if_the_header_does_not_state_them(tmp_path, clean):
    made = images(trunk())
    for ds in made:
        del ds.BitsStored, ds.HighBit, ds.SamplesPerPixel, ds.PhotometricInterpretation
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_pixels_of_32_bits_are_read(tmp_path, clean):
    made = images(trunk())
    for ds in made:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 32, 32, 31
        ds.PixelData = write.stored(ds).astype(np.int32).tobytes()
    assert_same(write.write(tmp_path / "scan", made), clean)


@pytest.mark.parametrize("signed", [True, False])
def test_padding_around_a_round_field_is_not_projected(tmp_path, signed, clean):
    """The padding is below air, so the projections do not change."""
    made = images(trunk())
    for ds in made:
        values = write.stored(ds)
        values.reshape(ds.Rows, -1)[:, -2:] = -2000
        ds.PixelData = values.tobytes()
        if not signed:
            values[values != -2000] += 1024
            ds.PixelData = values.tobytes()
            ds.PixelRepresentation, ds.RescaleIntercept = 0, -1024
        ds.add_new("PixelPaddingValue", "US" if not signed else "SS",
                   -2000 if signed else 63536)  # fmt: skip
    volume, result = project(write.write(tmp_path / "scan", made))
    assert np.isnan(volume.slices[0].hu()[:, -2:]).all()
    *without_padding, _, _ = clean[1]._fields
    for name in without_padding:  # The part around the spine has it, and the sample.
        np.testing.assert_array_equal(getattr(result, name), getattr(clean[1], name))


def test_long_private_elements_and_sequences_are_skipped(tmp_path, clean):
    """Elements of nested items do not replace those of the image."""
    made = images(trunk())
    for i, ds in enumerate(made):
        icon = write.image(np.zeros((2, 2), np.int16), (0, 0, 0))
        icon.file_meta = icon.preamble = None
        ds.IconImageSequence = [icon]
        ds["IconImageSequence"].is_undefined_length = bool(i % 2)
        ds.add_new(0x00091010, "UN", b"\xff" * 9 * FIRST_READ_BYTES)
    assert_same(write.write(tmp_path / "scan", made), clean)


def test_a_missing_transfer_syntax_is_detected(tmp_path, clean):
    made = [write.content(ds) for ds in images(trunk())]
    (tmp_path / "scan").mkdir()
    for i, data in enumerate(made):
        # The tag becomes that of another element of the same length.
        without = data.replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI")
        (tmp_path / "scan" / str(i)).write_bytes(without)
    assert_same(tmp_path / "scan", clean)


def test_other_files_among_the_slices_are_ignored(tmp_path, clean):
    folder = write.write(tmp_path / "scan", images(trunk()))
    (folder / "report.dcm").write_text("Not DICOM, " * 30)
    (folder / "empty.dcm").touch()
    (folder / "head.dcm").write_bytes(b"\0" * 128 + b"DICM")
    assert_same(folder, clean)


def test_a_slice_cut_short_is_refused(tmp_path):
    folder = write.write(tmp_path / "scan", images(trunk()))
    whole = (folder / "IM0003").read_bytes()
    (folder / "IM0003").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"IM0003.*ends within its pixels"):
        project(folder)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_sequences_of_undefined_length_are_read(tmp_path, syntax):
    ds = write.enhanced(2.0, shared=True)
    ds.file_meta.TransferSyntaxUID = syntax
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        ds[name].is_undefined_length = True
        for item in ds[name].value:
            item.is_undefined_length_sequence_item = True
    ds["PixelData"].VR = "OW"
    write.write(tmp_path, [ds])
    result = dicom.read(slices.ScanFile(tmp_path / "IM0000"))
    assert [p.origin_mm[2] for p in result] == [
        100 + 2.5 * i for i in range(write.SLICES)
    ]
    np.testing.assert_array_equal(result[-1].hu(), 2.0 * write.values()[-1] - 1000)


# Headers with invalid elements


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"NumberOfFrames": 2**31 - 1}, "NumberOfFrames: 2147483647, but positions"),
        ({"NumberOfFrames": -1}, "NumberOfFrames: -1"),
        ({"Rows": 65535, "Columns": 65535}, "Rows and Columns: 65535 x 65535"),
        ({"Rows": 0}, "Rows and Columns: 0 x 8"),
        ({"BitsAllocated": 12}, "BitsAllocated"),
        ({"BitsStored": 17}, "BitsAllocated, BitsStored, HighBit: 17 bits"),
        ({"BitsStored": 0}, "BitsAllocated, BitsStored, HighBit: 0 bits"),
        ({"HighBit": 3}, "16 bits up to number 3 of 16"),
        ({"PixelRepresentation": 2}, "PixelRepresentation: 2"),
        ({"PixelRepresentation": None}, "'PixelRepresentation'"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "RGB is no grey"),
        ({"PixelSpacing": [0.7, -0.7]}, "PixelSpacing"),
        ({"PixelSpacing": [900.0, 1.0]}, "PixelSpacing: (1.0, 900.0)"),
        ({"RescaleSlope": 1e300}, "RescaleSlope: 1e+300"),
        ({"RescaleIntercept": "NaN"}, "RescaleIntercept: NaN"),
        ({"RescaleSlope": 0.0}, "RescaleSlope: 0"),
        ({"PixelData": None}, "holds no pixels"),
    ],
)
def test_invalid_elements_are_refused(tmp_path, fields, message):
    (ds,) = write.series(slices=1)
    for name, value in fields.items():
        if value == "NaN":
            ds.add_new(name, "LO", value)  # pydicom does not write NaN as DS.
        elif value is None:
            del ds[name]
        else:
            setattr(ds, name, value)
    write.write(tmp_path, [ds])
    with pytest.raises(DataError, match="IM0000") as e:
        dicom.read(slices.ScanFile(tmp_path / "IM0000"))
    assert message in str(e.value)


def test_more_rows_than_pixels_are_refused(tmp_path):
    (ds,) = write.series(slices=1)
    ds.Rows = 4000
    write.write(tmp_path, [ds])
    (ct_slice,) = dicom.read(slices.ScanFile(tmp_path / "IM0000"))
    with pytest.raises(DataError, match="96 bytes of pixels are too few"):
        ct_slice.hu()
