"""Assembling clean and faulty series of DICOM files into volumes, or rejecting them."""

import gc
import zipfile
from itertools import chain

import numpy as np
import pytest
from pydicom.uid import RLELossless

from l3spot.ct import dicom, frames, scan, slices, volumes
from l3spot.projections import volume_table
from l3spot.projections.dataset_layouts import Case
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.assembled import (
    HU,
    acquisition,
    assemble,
    only_volume,
    rejection_reason,
    series_uids,
    write_series,
)
from tests.l3spot.series import COLUMNS, ROWS, SLICES, STEP

Z = 100 + STEP * np.arange(SLICES)


def assert_clean(volume, z=Z, hu=HU, warnings=()):
    np.testing.assert_allclose(volume.z, z, atol=1e-9)
    np.testing.assert_array_equal([p.hu() for p in volume.slices], hu)
    assert volume.warnings == warnings


def test_a_clean_series_makes_a_volume(tmp_path):
    volume = only_volume(write.write(tmp_path, write.series()))
    assert_clean(volume)
    first = volume.slices[0]
    assert first.shape == (ROWS, COLUMNS)
    assert first.spacing_mm == (0.9, 0.7)  # PixelSpacing gives the row spacing first.
    assert first.series == ("secret", "1.2.3", "1.2.3.4")
    assert volumes.coverage_mm(volume) == SLICES * STEP
    assert volumes.slice_spacing_mm(volume) == STEP


def test_file_names_and_instance_numbers_do_not_affect_the_order(tmp_path):
    shuffled = np.random.default_rng(0).permutation(SLICES)
    images = write.series()
    for number, ds in enumerate(reversed(images)):
        ds.InstanceNumber, ds.SliceLocation = number, -number
    assert_clean(only_volume(write.write(tmp_path, [images[i] for i in shuffled])))


def test_nested_folders_are_read_and_other_files_skipped(tmp_path):
    images = write.series()
    write.write(tmp_path / "a" / "b", images[::2], "{}.ima")
    write.write(tmp_path / "c", images[1::2], "x{}.dcm")
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    (tmp_path / "a" / "empty.dcm").touch()
    (tmp_path / ".DS_Store").write_bytes(b"\0" * 200)
    assert_clean(only_volume(tmp_path))


def test_a_zip_file_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for i, ds in enumerate(write.series()):
            archive.writestr(f"deep/er/{i}", write.content(ds))
        archive.writestr("__MACOSX/deep/er/._0.nii", b"of a Mac")
    volume = only_volume(tmp_path)
    assert_clean(volume)
    assert str(volume.slices[0].file) == f"{tmp_path / 'scan.zip'}:deep/er/0"
    assert scan.read(tmp_path).unread == []


@pytest.mark.parametrize(
    "axes", [(1, 0, 0, 0, -1, 0), (-1, 0, 0, 0, 1, 0), (0, 1, 0, 1, 0, 0)]
)
def test_the_head_is_up_for_all_image_axes(tmp_path, axes):
    """z comes from the positions, also if the patient lies feet first or prone."""
    images = write.series(ImageOrientationPatient=[float(a) for a in axes])
    volume = only_volume(write.write(tmp_path, images))
    np.testing.assert_allclose(volume.z, Z)
    np.testing.assert_array_equal([p.hu() for p in volume.slices], HU)


def test_localizers_in_the_series_are_rejected(tmp_path):
    """The series has a frontal scout, and an axial one with another pixel spacing."""
    frontal = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    pixels = write.values(1)[0]
    scouts = [
        write.image(pixels, (0, 0, 130), 91, ImageOrientationPatient=frontal),
        write.image(pixels, (0, 0, 130), 92, PixelSpacing=[2.0, 2.0]),
    ]
    made, rejected = assemble(write.write(tmp_path, scouts + write.series()))
    (volume,) = made
    assert_clean(volume)
    assert [r.reason for r in rejected] == [
        "its slices are 90 degrees from axial; resample it to axial slices",
        "1 slice is too few for a volume; it may be a localizer",
    ]


def test_two_patients_are_two_volumes(tmp_path):
    write.write(tmp_path / "a", write.series())
    write.write(tmp_path / "b", write.series(slices=10, PatientID="other"))
    made, rejected = assemble(tmp_path)
    assert rejected == []
    assert sorted(len(v.slices) for v in made) == [10, SLICES]


def test_a_frame_of_reference_for_each_file_does_not_divide_a_series(tmp_path):
    images = write.series()
    for number, image in enumerate(images):
        image.FrameOfReferenceUID = f"1.2.9.{number}"
    warning = frames.WARNING.format(count=SLICES)
    assert_clean(only_volume(write.write(tmp_path, images)), warnings=(warning,))


def test_frames_of_reference_that_make_volumes_divide_a_series(tmp_path):
    images = write.series()
    for number, image in enumerate(images):
        image.FrameOfReferenceUID = f"1.2.9.{number % 2}"
    made, rejected = assemble(write.write(tmp_path, images))
    assert rejected == []
    assert [len(v.slices) for v in made] == [SLICES // 2] * 2


def test_exact_duplicates_are_left_out(tmp_path):
    images = write.series()
    write.write(tmp_path / "a", images)
    write.write(tmp_path / "b", images[3:5])
    warning = "2 slices are copies of others and were left out"
    assert_clean(only_volume(tmp_path), warnings=(warning,))


def test_a_decodable_slice_replaces_a_broken_copy(tmp_path):
    """If both copies are broken, one is kept, and decoding it raises the error."""
    images = write.series()
    write.write(tmp_path, [images[3]], "0")
    write.write(tmp_path / "b", images)
    broken = (tmp_path / "0").read_bytes()[:-9]
    (tmp_path / "0").write_bytes(broken)
    volume = only_volume(tmp_path)
    (warning,) = volume.warnings
    assert_clean(volume, warnings=(warning,))
    assert warning.startswith(f"1 slice cannot be decoded (first {tmp_path / '0'})")
    (tmp_path / "b" / "IM0003").write_bytes(broken)
    volume = only_volume(tmp_path)
    assert volume.warnings == ()
    np.testing.assert_allclose(volume.z, Z)
    with pytest.raises(DataError, match="cannot be decoded"):
        volume.slices[3].hu()


@pytest.mark.parametrize("numbered", [True, False])
def test_one_of_two_phases_is_used(tmp_path, numbered):
    """The acquisition with most positions is used, else the first instance number."""
    first, second = write.series(), write.series()
    for i, ds in enumerate(second):
        ds.InstanceNumber, ds.SOPInstanceUID = SLICES + 1 + i, f"1.9.{i}"
        ds.RescaleIntercept = 0.0
    if numbered:
        first = first[:15]
        for ds in first:
            ds.AcquisitionNumber = 1
        for ds in second:
            ds.AcquisitionNumber = 2
    volume = only_volume(write.write(tmp_path, second + first))
    np.testing.assert_allclose(volume.z, Z)
    expected = HU + 1000 if numbered else HU
    np.testing.assert_array_equal([p.hu() for p in volume.slices], expected)
    (warning,) = volume.warnings
    shared = 15 if numbered else SLICES
    assert warning.startswith(f"{shared} positions have several images (phases?)")


def test_interleaved_acquisitions_are_separate_volumes(tmp_path):
    """The second starts half a slice spacing higher; the third follows it."""
    parts = [
        acquisition(1, 20, 100),
        acquisition(2, 12, 100 + STEP / 2),
        acquisition(3, 10, 100 + STEP / 2 + 12 * STEP),
    ]
    made, rejected = assemble(write.write(tmp_path, list(chain(*parts))))
    assert rejected == []
    first, second = made
    np.testing.assert_allclose(first.z, Z)
    np.testing.assert_allclose(second.z, 100 + STEP / 2 + STEP * np.arange(22))
    for volume, text in ((first, "acquisition 1 is"), (second, "acquisition 2, 3 is")):
        (warning,) = volume.warnings
        assert text in warning
        assert warning.startswith("other acquisitions of its series lie between")


def test_acquisitions_that_follow_each_other_are_one_volume(tmp_path):
    """Each slice may have its own number, and acquisitions may overlap a little."""
    images = write.series()
    for i, ds in enumerate(images):
        ds.AcquisitionNumber = i // 5 if i < 10 else i
    assert_clean(only_volume(write.write(tmp_path / "a", images)))
    parts = acquisition(1, 10, 100), acquisition(2, 10, 100 + 8.5 * STEP)
    volume = only_volume(write.write(tmp_path / "b", list(chain(*parts))))
    assert len(volume.slices) == 20


def test_a_missing_slice_gives_a_warning(tmp_path):
    images = write.series()
    del images[7]
    volume = only_volume(write.write(tmp_path, images))
    keep = np.arange(SLICES) != 7
    assert_clean(volume, Z[keep], HU[keep], ("slices are missing in 1 place",))


def test_a_gap_matters_near_the_vertebra_or_if_it_is_not_in_view(tmp_path):
    images = write.series(slices=80)
    volume = only_volume(write.write(tmp_path, images[:5] + images[15:]))
    low, high = 110, 137.5
    assert volumes.gaps(volume) == [(low, high)]
    for z_mm in (None, low, high, low - 119, high + 119):
        why = volumes.gap_error(volume, z_mm)
        assert "a gap of 27.5 mm above" in why
        assert "IM0004" in why
    assert volumes.gap_error(volume, high + 121) == ""


def test_slices_beyond_a_larger_gap_are_another_volume(tmp_path):
    images = write.series(slices=40)
    made, rejected = assemble(write.write(tmp_path / "a", images[:10] + images[25:]))
    assert [len(v.slices) for v in made] == [10, 15]
    assert rejected == []
    why = rejection_reason(write.write(tmp_path / "b", images[:5] + images[25:30]))
    assert "a gap of 52.5 mm above" in why
    assert "IM0004" in why


def test_slices_too_far_apart_are_refused(tmp_path):
    assert "12.0 mm" in rejection_reason(write.write(tmp_path, write.series(step=12.0)))


def test_a_single_slice_is_no_volume(tmp_path):
    assert "too few" in rejection_reason(write.write(tmp_path, write.series(slices=1)))


def test_a_tilted_gantry_is_refused(tmp_path):
    """The slices are tilted by 10 degrees, and are stacked straight up."""
    angle = np.radians(10)
    axes = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle))]
    why = rejection_reason(
        write.write(tmp_path, write.series(ImageOrientationPatient=axes))
    )
    assert why == "the gantry was tilted by 10.0 degrees; its rows are not level"


@pytest.mark.parametrize(
    ("axes", "angle"),
    [
        ((0, 1, 0, 0, 0, -1), 90),
        ((1, 0, 0, 0, 0, -1), 90),
        ((1, 0, 0, 0, 0.8, 0.6), 37),
    ],
)
def test_slices_that_are_not_axial_are_refused(tmp_path, axes, angle):
    """The series are sagittal, frontal and oblique."""
    normal = np.cross(axes[:3], axes[3:])
    images = write.series(ImageOrientationPatient=[float(a) for a in axes])
    for i, ds in enumerate(images):
        ds.ImagePositionPatient = [float(v) for v in STEP * i * normal]
    why = rejection_reason(write.write(tmp_path, images))
    assert why == (
        f"its slices are {angle} degrees from axial; resample it to axial slices"
    )


def leaning(tilt=0.0, turn=0.0):
    """Returns a series stacked along its normal, tilted and turned by these degrees."""
    a, b = np.radians([tilt, turn])
    row = np.array([np.cos(b), np.sin(b), 0.0])
    down = np.array([-np.sin(b), np.cos(b), 0.0]) * np.cos(a) + [0, 0, np.sin(a)]
    images = write.series(ImageOrientationPatient=[*row.tolist(), *down.tolist()])
    for i, ds in enumerate(images):
        at = STEP * i * np.cross(row, down)
        ds.ImagePositionPatient = [float(v) for v in at]
    return images


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        ({"tilt": 20}, "its slices are 20 degrees from axial; resample it to axial"),
        ({"tilt": 6}, "its slices are 6 degrees from axial"),
        ({"turn": 35}, "its images are rotated by 35 degrees in-plane; res"),
        ({"turn": -11}, "its images are rotated by 11 degrees"),
        ({"turn": 79}, "its images are rotated by 11 degrees"),
    ],
)
def test_oblique_slices_are_refused(tmp_path, angles, message):
    """Their projection would show bones displaced by up to centimetres."""
    assert rejection_reason(write.write(tmp_path, leaning(**angles))).startswith(
        message
    )


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        ({"tilt": 1}, ()),
        (
            {"tilt": 4},
            ("its slices are 4.0 degrees from axial, and are treated as axial",),
        ),
        ({"turn": 1.5}, ()),
        ({"turn": 91.5}, ()),
        (
            {"turn": 84},
            ("its images are rotated by 6.0 degrees in-plane, and are treated as "
             "straight",),
        ),
    ],
)  # fmt: skip
def test_slightly_oblique_slices_give_a_warning(tmp_path, angles, message):
    assert only_volume(write.write(tmp_path, leaning(**angles))).warnings == message


def test_slices_shifted_sideways_are_refused(tmp_path):
    """The shift is symmetric about the middle, so the stack does not look tilted."""
    images = write.series()
    for ds in images[8:12]:
        ds.ImagePositionPatient[0] += 16
    why = rejection_reason(write.write(tmp_path, images))
    assert why == "its slices are shifted sideways by up to 16.0 mm"


@pytest.mark.parametrize("shared", [True, False])
def test_frames_of_one_file_make_a_volume(tmp_path, shared):
    slopes = 3.0 if shared else [1.0 + i for i in range(SLICES)]
    write.write(tmp_path, [write.enhanced(slopes, shared)])
    expected = np.reshape(slopes, (-1, 1, 1)) * write.values() - 1000.0
    assert_clean(only_volume(tmp_path), hu=expected)


def test_values_without_a_rescale_are_used_as_hu(tmp_path):
    """If no value is below 0, there is no air, and a warning doubts the values."""
    images = write.series(RescaleSlope=None, RescaleIntercept=None)
    volume = only_volume(write.write(tmp_path / "a", images))
    assert_clean(volume, hu=write.values(), warnings=(volumes.NOT_HU_WARNING,))
    for ds in images:
        ds.PixelData = (np.frombuffer(ds.PixelData, np.int16) - 1000).tobytes()
    volume = only_volume(write.write(tmp_path / "b", images))
    assert_clean(volume, hu=write.values() - 1000.0)


def test_volumes_with_doubtful_values_come_last(tmp_path):
    fields = {"RescaleIntercept": None, "SeriesInstanceUID": "1.9"}
    write.write(tmp_path / "a", write.series(40, **fields))
    write.write(tmp_path / "b", write.series(20))
    result = scan.read(tmp_path)
    assert series_uids(result.volumes) == ["1.2.3.4", "1.9"]
    table = volume_table.table(Case("a", tmp_path)).splitlines()
    assert table[3].endswith(f"values in doubt; {volumes.NOT_HU_WARNING}")


@pytest.mark.parametrize(
    "unit", ["HU", "US", "", "hu", "Houndsfield Unit", "HOUNSFIELD UNITS"]
)
def test_rescale_types_of_hu_are_accepted(tmp_path, unit):
    assert_clean(only_volume(write.write(tmp_path, write.series(RescaleType=unit))))


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("padding_value", [-2000, 63536])
def test_padding_is_nan(tmp_path, kind, padding_value):
    images = []
    for i, pixels in enumerate(write.values()):
        pixels[0, 0] = -2000
        ds = write.image(pixels.astype(kind), (0, 0, STEP * i), i)
        vr = "US" if padding_value > 0 else "SS"
        ds.add_new("PixelPaddingValue", vr, padding_value)
        images.append(ds)
    first = only_volume(write.write(tmp_path, images)).slices[0].hu()
    assert np.isnan(first[0, 0])
    np.testing.assert_array_equal(first.ravel()[1:], HU[0].ravel()[1:])


def test_a_range_of_padding_is_nan(tmp_path):
    ds = write.image(write.values(1)[0], (0, 0, 0))
    ds.add_new("PixelPaddingValue", "SS", 5)
    ds.add_new("PixelPaddingRangeLimit", "SS", 2)
    write.write(tmp_path, [ds])
    (ct_slice,) = dicom.read(slices.ScanFile(tmp_path / "IM0000"))
    assert np.flatnonzero(np.isnan(ct_slice.hu())).tolist() == [2, 3, 4, 5]


def test_run_length_encoded_files_are_decoded(tmp_path):
    images = write.series()
    for ds in images:
        ds.compress(RLELossless)
    assert_clean(only_volume(write.write(tmp_path, images)))


def test_only_the_id_of_the_patient_is_kept(tmp_path):
    volume = only_volume(write.write(tmp_path, write.series()))
    assert "Doe" not in repr(volume)


# Files that are no usable CT images


def read_one(path):
    return dicom.read(slices.ScanFile(path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Modality": "MR"}, "its modality is MR"),
        ({"Modality": None}, "its modality is not given"),
        ({"ImagePositionPatient": None}, "lacks a usable 'ImagePositionPatient'"),
        ({"ImageOrientationPatient": None}, "lacks a usable 'ImageOrientationPatient'"),
        ({"PixelSpacing": None}, "lacks a usable 'PixelSpacing'"),
        ({"PixelSpacing": [0.0, 1.0]}, "PixelSpacing"),
        (
            {"ImageOrientationPatient": [1.0, 0, 0, 1.0, 0, 0]},
            "ImageOrientationPatient",
        ),
        ({"Rows": None}, "Rows"),
        ({"RescaleType": "MGML"}, "RescaleType: its values are MGML, no HU"),
        ({"RescaleType": "HU_MOD"}, "RescaleType: its values are HU_MOD, no HU"),
    ],
)
def test_unusable_headers_are_refused(tmp_path, fields, message):
    images = write.series(slices=1)
    for name, value in fields.items():
        if value is None:
            del images[0][name]
        else:
            setattr(images[0], name, value)
    write.write(tmp_path, images)
    with pytest.raises(DataError, match="IM0000") as e:
        read_one(tmp_path / "IM0000")
    assert message in str(e.value)


@pytest.mark.parametrize("kept", [140, 400, 700])
def test_a_file_cut_short_is_refused(tmp_path, kept):
    """The file ends in its header or in its pixels."""
    whole = write.content(write.series(slices=1)[0])
    (tmp_path / "a").write_bytes(whole[: min(kept, len(whole) - 9)])
    with pytest.raises(DataError, match="/a"):
        read_one(tmp_path / "a")[0].hu()


def test_a_broken_zip_file_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"a\.zip is no zip file"):
        list(slices.iter_files(tmp_path / "a.zip"))


def test_a_broken_zip_file_beside_a_series_gives_a_warning(tmp_path):
    write.write(tmp_path, write.series())
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    (warning,) = scan.choose(scan.read(tmp_path), tmp_path).warnings
    assert warning.startswith("1 file cannot be read")
    assert "a.zip is an archive" in warning


def zipped(folder):
    """Writes an uncompressed zip file of a series."""
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for i, ds in enumerate(write.series()):
            archive.writestr(str(i), write.content(ds))
    return folder / "a.zip"


def test_a_zip_file_is_opened_once_and_closed(tmp_path, monkeypatch):
    path, opened = zipped(tmp_path), []
    whole = zipfile.ZipFile.__init__
    monkeypatch.setattr(
        zipfile.ZipFile, "__init__", lambda *a, **k: opened.append(1) or whole(*a, **k)
    )
    result = scan.read(path)
    assert_clean(scan.choose(result, path))
    assert len(opened) == 1
    archive = result.volumes[0].slices[0].file.zip_file
    assert archive.fp is not None
    stream = archive.fp
    del result, archive
    gc.collect()
    assert stream.closed


def test_unreadable_members_of_a_zip_file_are_reported(tmp_path):
    """One member is damaged, one encrypted; the others make the volume."""
    path = zipped(tmp_path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("3").header_offset
        flags = (
            content.index(b"PK\x01\x02") + 8
        )  # Of the first member in the directory.
    content[at : at + 4] = b"nope"
    content[flags] |= 1
    path.write_bytes(content)
    result = scan.read(path)
    assert [len(v.slices) for v in result.volumes] == [SLICES - 2]
    reasons = {str(u.file): u.reason for u in result.unread}
    assert "Bad magic number" in reasons[f"{path}:3"]
    assert "encrypted" in reasons[f"{path}:0"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        list(slices.iter_files(tmp_path / "nowhere"))


# Scans of several series


def test_the_longest_volume_comes_first_and_ties_go_to_thin_slices(tmp_path):
    write_series(tmp_path, 1, 30, 1.0)
    write_series(tmp_path, 2, 20, 5.0)
    write_series(tmp_path, 3, 50, 2.0)
    result = scan.read(tmp_path)
    assert series_uids(result.volumes) == ["1.2.3.3", "1.2.3.2", "1.2.3.1"]
    assert series_uids([scan.choose(result, tmp_path)]) == ["1.2.3.3"]
    assert series_uids([scan.choose(result, tmp_path, "1.2.3.1")]) == ["1.2.3.1"]
    with pytest.raises(DataError, match=r"no series 9; it has 1\.2\.3\.3, 1"):
        scan.choose(result, tmp_path, "9")


def test_unusable_files_do_not_stop_the_others(tmp_path):
    write.write(tmp_path, write.series())
    write.write(tmp_path / "mr", write.series(slices=2, Modality="MR"))
    result = scan.read(tmp_path)
    assert_clean(scan.choose(result, tmp_path))
    assert [u.reason.split(": ")[1] for u in result.unread] == [
        "its modality is MR"
    ] * 2


def test_the_error_for_a_folder_without_a_volume_lists_reasons(tmp_path):
    with pytest.raises(DataError, match="holds no DICOM file"):
        scan.choose(scan.read(tmp_path), tmp_path)
    write.write(tmp_path, write.series(slices=3))
    write.write(tmp_path / "mr", write.series(slices=9, Modality="MR"))
    with pytest.raises(DataError, match=r"(?s)too few.*modality is MR.*and 5 more"):
        scan.choose(scan.read(tmp_path), tmp_path)
