"""Series of DICOM files, clean and otherwise, to volumes or to reasons."""

import gc
import zipfile
from itertools import chain

import numpy as np
import pytest
from pydicom.uid import RLELossless

from l3spot.ct import dicom, scan, slices, volumes
from l3spot.projections import listing
from l3spot.projections.dataset_layouts import Case
from mtl.host.errors import DataError
from tests.l3spot import series as write
from tests.l3spot.series import COLUMNS, PLANES, ROWS, STEP

Z = 100 + STEP * np.arange(PLANES)
HU = 2.0 * write.values() - 1000


def found(folder):
    read = [p for f in slices.files(folder) if dicom.is_dicom(f) for p in dicom.read(f)]
    return volumes.assemble(read)


def only(folder):
    made, rejected = found(folder)
    assert (len(made), rejected) == (1, [])
    return made[0]


def assert_clean(volume, z=Z, hu=HU, warnings=()):
    np.testing.assert_allclose(volume.z, z, atol=1e-9)
    np.testing.assert_array_equal([p.hu() for p in volume.planes], hu)
    assert volume.warnings == warnings


def refused(folder):
    made, rejected = found(folder)
    assert made == []
    (one,) = rejected
    return one.why


def test_a_clean_series(tmp_path):
    volume = only(write.write(tmp_path, write.series()))
    assert_clean(volume)
    first = volume.planes[0]
    assert first.shape == (ROWS, COLUMNS)
    assert first.spacing == (0.9, 0.7)  # PixelSpacing has that between rows first.
    assert first.series == ("secret", "1.2.3", "1.2.3.4")
    assert volumes.coverage(volume) == PLANES * STEP
    assert volumes.step(volume) == STEP


def test_order_is_neither_that_of_names_nor_of_numbers(tmp_path):
    shuffled = np.random.default_rng(0).permutation(PLANES)
    images = write.series()
    for number, ds in enumerate(reversed(images)):
        ds.InstanceNumber, ds.SliceLocation = number, -number
    assert_clean(only(write.write(tmp_path, [images[i] for i in shuffled])))


def test_nested_folders_and_other_files(tmp_path):
    images = write.series()
    write.write(tmp_path / "a" / "b", images[::2], "{}.ima")
    write.write(tmp_path / "c", images[1::2], "x{}.dcm")
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    (tmp_path / "a" / "empty.dcm").touch()
    (tmp_path / ".DS_Store").write_bytes(b"\0" * 200)
    assert_clean(only(tmp_path))


def test_a_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for i, ds in enumerate(write.series()):
            archive.writestr(f"deep/er/{i}", write.content(ds))
        archive.writestr("__MACOSX/deep/er/._0.nii", b"of a Mac")
    volume = only(tmp_path)
    assert_clean(volume)
    assert str(volume.planes[0].file) == f"{tmp_path / 'scan.zip'}:deep/er/0"
    assert scan.read(tmp_path).unread == []


@pytest.mark.parametrize(
    "axes", [(1, 0, 0, 0, -1, 0), (-1, 0, 0, 0, 1, 0), (0, 1, 0, 1, 0, 0)]
)
def test_whatever_the_image_axes_the_head_is_up(tmp_path, axes):
    """Feet first, prone, turned: z comes from the positions."""
    images = write.series(ImageOrientationPatient=[float(a) for a in axes])
    volume = only(write.write(tmp_path, images))
    np.testing.assert_allclose(volume.z, Z)
    np.testing.assert_array_equal([p.hu() for p in volume.planes], HU)


def test_a_localizer_inside_of_the_series(tmp_path):
    """A frontal scout, and an axial one of its own spacing."""
    frontal = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    pixels = write.values(1)[0]
    scouts = [
        write.image(pixels, (0, 0, 130), 91, ImageOrientationPatient=frontal),
        write.image(pixels, (0, 0, 130), 92, PixelSpacing=[2.0, 2.0]),
    ]
    made, rejected = found(write.write(tmp_path, scouts + write.series()))
    (volume,) = made
    assert_clean(volume)
    assert [r.why for r in rejected] == [
        "its planes are 90 degrees from axial; resample it to axial planes",
        "1 planes are too few for a volume; a localizer, maybe",
    ]


def test_two_patients_are_two_volumes(tmp_path):
    write.write(tmp_path / "a", write.series())
    write.write(tmp_path / "b", write.series(planes=10, PatientID="other"))
    made, rejected = found(tmp_path)
    assert rejected == []
    assert sorted(len(v.planes) for v in made) == [10, PLANES]


def test_exact_duplicates_are_left_out(tmp_path):
    images = write.series()
    write.write(tmp_path / "a", images)
    write.write(tmp_path / "b", images[3:5])
    warning = "2 planes were there twice; one of each was left out"
    assert_clean(only(tmp_path), warnings=(warning,))


def test_of_two_planes_the_one_that_can_be_decoded_is_taken(tmp_path):
    """Also where the broken one comes first; where both are broken, one is left."""
    images = write.series()
    write.write(tmp_path, [images[3]], "0")
    write.write(tmp_path / "b", images)
    broken = (tmp_path / "0").read_bytes()[:-9]
    (tmp_path / "0").write_bytes(broken)
    volume = only(tmp_path)
    (warning,) = volume.warnings
    assert_clean(volume, warnings=(warning,))
    assert warning.startswith(f"1 planes cannot be decoded (first {tmp_path / '0'})")
    (tmp_path / "b" / "IM0003").write_bytes(broken)
    volume = only(tmp_path)
    assert volume.warnings == ()
    np.testing.assert_allclose(volume.z, Z)
    with pytest.raises(DataError, match="cannot be decoded"):
        volume.planes[3].hu()


@pytest.mark.parametrize("numbered", [True, False])
def test_of_two_phases_one_is_taken(tmp_path, numbered):
    """The acquisition with the most positions, or the first by instance number."""
    first, second = write.series(), write.series()
    for i, ds in enumerate(second):
        ds.InstanceNumber, ds.SOPInstanceUID = PLANES + 1 + i, f"1.9.{i}"
        ds.RescaleIntercept = 0.0
    if numbered:
        first = first[:15]
        for ds in first:
            ds.AcquisitionNumber = 1
        for ds in second:
            ds.AcquisitionNumber = 2
    volume = only(write.write(tmp_path, second + first))
    np.testing.assert_allclose(volume.z, Z)
    due = HU + 1000 if numbered else HU
    np.testing.assert_array_equal([p.hu() for p in volume.planes], due)
    (warning,) = volume.warnings
    shared = 15 if numbered else PLANES
    assert warning.startswith(f"{shared} positions have several images (phases?)")


def acquired(number, count, low, **fields):
    """Planes of an acquisition, from a z on."""
    images = write.series(count, AcquisitionNumber=number, **fields)
    for i, ds in enumerate(images):
        ds.ImagePositionPatient[2] = low + STEP * i
        ds.SOPInstanceUID = f"1.9.{number}.{i}"
    return images


def test_acquisitions_between_each_other_are_volumes_of_their_own(tmp_path):
    """The second begins half a step higher; the third follows it."""
    parts = [
        acquired(1, 20, 100),
        acquired(2, 12, 100 + STEP / 2),
        acquired(3, 10, 100 + STEP / 2 + 12 * STEP),
    ]
    made, rejected = found(write.write(tmp_path, list(chain(*parts))))
    assert rejected == []
    first, second = made
    np.testing.assert_allclose(first.z, Z)
    np.testing.assert_allclose(second.z, 100 + STEP / 2 + STEP * np.arange(22))
    for volume, told in ((first, "acquisition 1 is"), (second, "acquisition 2, 3 is")):
        (warning,) = volume.warnings
        assert told in warning
        assert warning.startswith("other acquisitions of its series lie between")


def test_acquisitions_that_follow_each_other_are_one_volume(tmp_path):
    """Also if each plane has a number of its own, or if they overlap a little."""
    images = write.series()
    for i, ds in enumerate(images):
        ds.AcquisitionNumber = i // 5 if i < 10 else i
    assert_clean(only(write.write(tmp_path / "a", images)))
    parts = acquired(1, 10, 100), acquired(2, 10, 100 + 8.5 * STEP)
    volume = only(write.write(tmp_path / "b", list(chain(*parts))))
    assert len(volume.planes) == 20


def test_a_missing_plane_is_told(tmp_path):
    images = write.series()
    del images[7]
    volume = only(write.write(tmp_path, images))
    keep = np.arange(PLANES) != 7
    assert_clean(volume, Z[keep], HU[keep], ("planes are missing in 1 places",))


def test_ten_missing_planes_are_too_many(tmp_path):
    images = write.series()
    why = refused(write.write(tmp_path, images[:5] + images[15:]))
    assert "nothing for 27.5 mm above" in why
    assert "at most 10 mm" in why
    assert "IM0004" in why


def test_planes_too_far_apart(tmp_path):
    assert "12.0 mm" in refused(write.write(tmp_path, write.series(step=12.0)))


def test_a_single_plane(tmp_path):
    assert "too few" in refused(write.write(tmp_path, write.series(planes=1)))


def test_a_tilted_gantry(tmp_path):
    """The planes lean by 10 degrees, and are stacked straight up."""
    angle = np.radians(10)
    axes = [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle))]
    why = refused(write.write(tmp_path, write.series(ImageOrientationPatient=axes)))
    assert why == "the gantry was tilted by 10.0 degrees; its rows are not level"


@pytest.mark.parametrize(
    ("axes", "angle"),
    [
        ((0, 1, 0, 0, 0, -1), 90),
        ((1, 0, 0, 0, 0, -1), 90),
        ((1, 0, 0, 0, 0.8, 0.6), 37),
    ],
)
def test_planes_that_are_not_axial(tmp_path, axes, angle):
    """Sagittal, frontal, oblique."""
    normal = np.cross(axes[:3], axes[3:])
    images = write.series(ImageOrientationPatient=[float(a) for a in axes])
    for i, ds in enumerate(images):
        ds.ImagePositionPatient = [float(v) for v in STEP * i * normal]
    why = refused(write.write(tmp_path, images))
    told = f"its planes are {angle} degrees from axial"
    assert why == f"{told}; resample it to axial planes"


def leaning(tilt=0.0, turn=0.0):
    """A series stacked along its normal, with so many degrees of both."""
    a, b = np.radians([tilt, turn])
    row = np.array([np.cos(b), np.sin(b), 0.0])
    down = np.array([-np.sin(b), np.cos(b), 0.0]) * np.cos(a) + [0, 0, np.sin(a)]
    images = write.series(ImageOrientationPatient=[*row.tolist(), *down.tolist()])
    for i, ds in enumerate(images):
        at = STEP * i * np.cross(row, down)
        ds.ImagePositionPatient = [float(v) for v in at]
    return images


@pytest.mark.parametrize(
    ("angles", "said"),
    [
        ({"tilt": 20}, "its planes are 20 degrees from axial; resample it to axial"),
        ({"tilt": 6}, "its planes are 6 degrees from axial"),
        ({"turn": 35}, "its images are rotated by 35 degrees within the plane; res"),
        ({"turn": -11}, "its images are rotated by 11 degrees"),
        ({"turn": 79}, "its images are rotated by 11 degrees"),
    ],
)
def test_oblique_planes_are_refused(tmp_path, angles, said):
    """Their projection would show a bone up to centimetres off."""
    assert refused(write.write(tmp_path, leaning(**angles))).startswith(said)


@pytest.mark.parametrize(
    ("angles", "said"),
    [
        ({"tilt": 1}, ()),
        ({"tilt": 4}, ("its planes are 4.0 degrees from axial, and taken as axial",)),
        ({"turn": 1.5}, ()),
        ({"turn": 91.5}, ()),
        (
            {"turn": 84},
            ("its images are rotated by 6.0 degrees within the plane, and taken as "
             "straight",),
        ),
    ],
)  # fmt: skip
def test_a_little_oblique_planes_are_told(tmp_path, angles, said):
    assert only(write.write(tmp_path, leaning(**angles))).warnings == said


def test_planes_that_jump_aside(tmp_path):
    """As many below as above, so that they do not look tilted."""
    images = write.series()
    for ds in images[8:12]:
        ds.ImagePositionPatient[0] += 16
    why = refused(write.write(tmp_path, images))
    assert why == "its planes are shifted sideways, by up to 16.0 mm"


@pytest.mark.parametrize("shared", [True, False])
def test_a_file_of_many_frames(tmp_path, shared):
    slopes = 3.0 if shared else [1.0 + i for i in range(PLANES)]
    write.write(tmp_path, [write.enhanced(slopes, shared)])
    due = np.reshape(slopes, (-1, 1, 1)) * write.values() - 1000.0
    assert_clean(only(tmp_path), hu=due)


def test_without_rescale_tags_values_are_hu(tmp_path):
    """Which they hardly are if there is no air, so that is told."""
    images = write.series(RescaleSlope=None, RescaleIntercept=None)
    volume = only(write.write(tmp_path / "a", images))
    assert_clean(volume, hu=write.values(), warnings=(volumes.NO_HU,))
    for ds in images:
        ds.PixelData = (np.frombuffer(ds.PixelData, np.int16) - 1000).tobytes()
    volume = only(write.write(tmp_path / "b", images))
    assert_clean(volume, hu=write.values() - 1000.0)


def test_volumes_whose_values_are_in_doubt_come_last(tmp_path):
    fields = {"RescaleIntercept": None, "SeriesInstanceUID": "1.9"}
    write.write(tmp_path / "a", write.series(40, **fields))
    write.write(tmp_path / "b", write.series(20))
    found = scan.read(tmp_path)
    assert uids(found.volumes) == ["1.2.3.4", "1.9"]
    table = listing.table(Case("a", tmp_path)).splitlines()
    assert table[3].endswith(f"values in doubt; {volumes.NO_HU}")


@pytest.mark.parametrize("unit", ["HU", "US", "", "hu"])
def test_units_that_are_hu(tmp_path, unit):
    assert_clean(only(write.write(tmp_path, write.series(RescaleType=unit))))


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("told", [-2000, 63536])
def test_padding_is_no_hu(tmp_path, kind, told):
    images = []
    for i, pixels in enumerate(write.values()):
        pixels[0, 0] = -2000
        ds = write.image(pixels.astype(kind), (0, 0, STEP * i), i)
        ds.add_new("PixelPaddingValue", "US" if told > 0 else "SS", told)
        images.append(ds)
    first = only(write.write(tmp_path, images)).planes[0].hu()
    assert np.isnan(first[0, 0])
    np.testing.assert_array_equal(first.ravel()[1:], HU[0].ravel()[1:])


def test_a_range_of_padding(tmp_path):
    ds = write.image(write.values(1)[0], (0, 0, 0))
    ds.add_new("PixelPaddingValue", "SS", 5)
    ds.add_new("PixelPaddingRangeLimit", "SS", 2)
    write.write(tmp_path, [ds])
    (plane,) = dicom.read(slices.File(tmp_path / "IM0000"))
    assert np.flatnonzero(np.isnan(plane.hu())).tolist() == [2, 3, 4, 5]


def test_run_length_encoding(tmp_path):
    images = write.series()
    for ds in images:
        ds.compress(RLELossless)
    assert_clean(only(write.write(tmp_path, images)))


def test_nothing_of_the_patient_is_kept_but_the_id_that_tells_series_apart(tmp_path):
    volume = only(write.write(tmp_path, write.series()))
    assert "Doe" not in repr(volume)


# Files that are no CT images


def read_one(path):
    return dicom.read(slices.File(path))


@pytest.mark.parametrize(
    ("fields", "said"),
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
    ],
)
def test_headers_that_are_no_use(tmp_path, fields, said):
    images = write.series(planes=1)
    for name, value in fields.items():
        if value is None:
            del images[0][name]
        else:
            setattr(images[0], name, value)
    write.write(tmp_path, images)
    with pytest.raises(DataError, match="IM0000") as e:
        read_one(tmp_path / "IM0000")
    assert said in str(e.value)


@pytest.mark.parametrize("kept", [140, 400, 700])
def test_a_file_cut_short(tmp_path, kept):
    """In its header, or in its pixels."""
    whole = write.content(write.series(planes=1)[0])
    (tmp_path / "a").write_bytes(whole[: min(kept, len(whole) - 9)])
    with pytest.raises(DataError, match="/a"):
        read_one(tmp_path / "a")[0].hu()


def test_a_broken_zip_file(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"a\.zip is no zip file"):
        list(slices.files(tmp_path))


def zipped(folder):
    """A zip file of a series, uncompressed."""
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
    found = scan.read(path)
    assert_clean(scan.choose(found, path))
    assert len(opened) == 1
    archive = found.volumes[0].planes[0].file.archive
    assert archive.fp is not None
    stream = archive.fp
    del found, archive
    gc.collect()
    assert stream.closed


def test_members_of_a_zip_file_that_cannot_be_read_are_told(tmp_path):
    """One is damaged, one encrypted; the others make the volume."""
    path = zipped(tmp_path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("3").header_offset
        flags = content.index(b"PK\x01\x02") + 8  # Of the first in the directory.
    content[at : at + 4] = b"nope"
    content[flags] |= 1
    path.write_bytes(content)
    found = scan.read(path)
    assert [len(v.planes) for v in found.volumes] == [PLANES - 2]
    told = {str(u.file): u.why for u in found.unread}
    assert "Bad magic number" in told[f"{path}:3"]
    assert "encrypted" in told[f"{path}:0"]


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        list(slices.files(tmp_path / "nowhere"))


# Scans of several series


def of_series(folder, uid, planes_, step):
    images = write.series(planes_, step, SeriesInstanceUID=f"1.2.3.{uid}")
    write.write(folder / str(uid), images)


def uids(found):
    return [v.planes[0].series[-1] for v in found]


def test_the_longest_volume_comes_first_and_of_equals_the_thinnest(tmp_path):
    of_series(tmp_path, 1, 30, 1.0)
    of_series(tmp_path, 2, 20, 5.0)
    of_series(tmp_path, 3, 50, 2.0)
    found = scan.read(tmp_path)
    assert uids(found.volumes) == ["1.2.3.3", "1.2.3.2", "1.2.3.1"]
    assert uids([scan.choose(found, tmp_path)]) == ["1.2.3.3"]
    assert uids([scan.choose(found, tmp_path, "1.2.3.1")]) == ["1.2.3.1"]
    with pytest.raises(DataError, match=r"no series 9; it has 1\.2\.3\.3, 1"):
        scan.choose(found, tmp_path, "9")


def test_a_file_that_cannot_be_read_does_not_stop_the_rest(tmp_path):
    write.write(tmp_path, write.series())
    write.write(tmp_path / "mr", write.series(planes=2, Modality="MR"))
    found = scan.read(tmp_path)
    assert_clean(scan.choose(found, tmp_path))
    assert [u.why.split(": ")[1] for u in found.unread] == ["its modality is MR"] * 2


def test_a_folder_without_a_volume_says_why(tmp_path):
    with pytest.raises(DataError, match="holds no DICOM file"):
        scan.choose(scan.read(tmp_path), tmp_path)
    write.write(tmp_path, write.series(planes=3))
    write.write(tmp_path / "mr", write.series(planes=9, Modality="MR"))
    with pytest.raises(DataError, match=r"(?s)too few.*modality is MR.*and 5 more"):
        scan.choose(scan.read(tmp_path), tmp_path)
