"""All slices of a series are used, or the row says which are not and where they lie."""

import zipfile

import numpy as np
import pytest

from tests.l3spot import runs
from tests.l3spot import series as write
from tests.l3spot.trunk import MM, SIZE, STEP, Z0, images

REPEATS = 3
COUNT = 24 * REPEATS


def whole():
    """Returns a scan without a table, which coarser images show as a thicker one."""
    hu = runs.long_trunk(REPEATS)
    hu[:, 70] = -1000
    return images(hu)


def tilted(ds, degrees):
    """Tilts an image about its middle."""
    angle = np.radians(degrees)
    down = np.array([0, np.cos(angle), np.sin(angle)])
    half = MM * (SIZE - 1) / 2
    origin = np.array(ds.ImagePositionPatient, float)
    ds.ImageOrientationPatient = [1.0, 0.0, 0.0, *down.tolist()]
    ds.ImagePositionPatient = [*(origin + half * (np.array([0, 1, 0]) - down)).tolist()]


def alternating_orientation():
    made = whole()
    for ds in made[1::2]:
        tilted(ds, 0.06)
    return made


def drifting_orientation():
    made = whole()
    for i, ds in enumerate(made):
        tilted(ds, 0.5 * i / COUNT)
    return made


def alternating_spacing():
    made = whole()
    for i, ds in enumerate(made):
        mm = MM * (1 + 0.0012 * (i % 3))
        ds.PixelSpacing = [mm, mm]
    return made


def halved(ds):
    """Stores an image with half as many rows and columns, in the same field."""
    values = write.stored(ds).reshape(SIZE, SIZE)
    small = values[::2, ::2].copy()
    ds.PixelData, ds.Rows, ds.Columns = small.tobytes(), *small.shape
    ds.PixelSpacing = [2 * MM, 2 * MM]


def other_matrix(chosen):
    made = whole()
    for ds in made[chosen]:
        halved(ds)
    return made


USED = {
    "orientations that alternate": alternating_orientation,
    "an orientation that drifts": drifting_orientation,
    "spacings that alternate": alternating_spacing,
    "another matrix above": lambda: other_matrix(slice(40, None)),
    "another matrix below": lambda: other_matrix(slice(0, 16)),
    "another matrix in the middle": lambda: other_matrix(slice(30, 50)),
    "matrices that alternate": lambda: other_matrix(slice(0, None, 2)),
    "in parts, in another order": lambda: other_matrix(slice(40, None))[::-1],
}


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    root = tmp_path_factory.mktemp("used")
    write.write(root / "scans" / "clean", whole())
    for name, make in USED.items():
        write.write(root / "scans" / name, make())
    found = runs.predict(root / "scans", root / "out")
    return found, runs.project(root / "scans", root / "mips"), root / "mips"


def test_all_slices_of_mixed_geometry_are_one_volume(used):
    found, projected, mips = used
    assert (found.done.returncode, projected.done.returncode) == (0, 0)
    clean = found.rows["clean"]
    for name in USED:
        row = found.rows[name]
        assert (row["warnings"], row["left_out"]) == ("", ""), name
        assert float(row["slice_mm"]) == pytest.approx(STEP, abs=0.01)
        assert projected.rows[name]["planes"] == str(COUNT)
        with np.load(mips / "clean.npz") as a, np.load(mips / f"{name}.npz") as b:
            assert len(b["plane_z"]) == COUNT
            np.testing.assert_allclose(b["z"], a["z"], atol=0.5)
            # Resampled bones are a little darker, and shifted by half a pixel.
            columns = np.abs(a["x"][:, None] - b["x"]).argmin(axis=0)
            difference = np.abs(b["frontal"].astype(int) - a["frontal"][:, columns])
            assert np.median(difference) < 10, name
    for name in ("orientations that alternate", "spacings that alternate"):
        assert found.rows[name]["slice_index"] == clean["slice_index"]
        z_mm = float(found.rows[name]["z_mm"])
        assert z_mm == pytest.approx(float(clean["z_mm"]), abs=0.5)


def oblique_part(count):
    """Returns a series with an upper part that is tilted by 3 degrees."""
    made = whole()
    for ds in made[COUNT - count :]:
        tilted(ds, 3)
    return made


@pytest.mark.parametrize("answer", ["found", "not in view"])
@pytest.mark.parametrize("count", [5, 30])
def test_unused_slices_beyond_the_end_give_a_warning_or_a_failure(
    tmp_path, answer, count
):
    write.write(tmp_path / "scans" / "a", oblique_part(count))
    run = runs.predict(tmp_path / "scans", tmp_path / "out", answer=answer)
    row = run.rows["a"]
    low, high = Z0 + STEP * (COUNT - count), Z0 + STEP * (COUNT - 1)
    where = f"at z = {low:.1f} to {high:.1f} mm"
    message = f"{count} of {COUNT} slices of its series are not used"
    assert message in row["warnings"]
    assert where in row["warnings"]
    assert where in row["left_out"]
    if answer == "found":
        assert (row["status"], run.done.returncode) == ("found", 0)
    else:
        assert (row["status"], run.done.returncode) == ("failed", 1)
        assert (
            f"L3 is not seen, but {count} slices of its series lie beyond" in row["why"]
        )
        assert where in row["why"]


@pytest.mark.parametrize("answer", ["found", "not in view"])
def test_dangling_links_give_a_warning_or_a_failure(tmp_path, answer):
    folder = write.write(tmp_path / "scans" / "a", whole())
    for i in range(50, 70):
        (folder / f"IM{i:04d}").unlink()
        (folder / f"IM{i:04d}").symlink_to("/nowhere/at/all")
    run = runs.predict(tmp_path / "scans", tmp_path / "out", answer=answer)
    row = run.rows["a"]
    assert "20 files cannot be read and may be missing" in row["warnings"]
    assert run.done.returncode == (answer != "found")
    assert row["status"] == ("found" if answer == "found" else "failed")


def thick_and_thin(thickness):
    """Returns slices each 3 mm, and slices each 15 mm between them, in one series."""
    thin, thick = whole(), whole()[::5]
    for ds in thick:
        ds.ImagePositionPatient[2] += STEP / 2
        ds.SOPInstanceUID += ".9"
    if thickness:
        for made, mm in ((thin, "3"), (thick, "15")):
            for ds in made:
                ds.SliceThickness = mm
    return thick + thin


def test_thick_slices_between_thin_ones_are_not_counted(tmp_path):
    write.write(tmp_path / "scans" / "a", thick_and_thin(True))
    write.write(tmp_path / "scans" / "clean", whole())
    run = runs.predict(tmp_path / "scans", tmp_path / "out")
    row, clean = run.rows["a"], run.rows["clean"]
    assert run.done.returncode == 0
    assert (row["slice_index"], row["z_mm"]) == (clean["slice_index"], clean["z_mm"])
    assert "15 of 87 slices of its series are not used" in row["warnings"]
    assert clean["warnings"] == ""


def test_images_of_equal_positions_are_counted(tmp_path):
    """Thick slices without a stated thickness, at the positions of thin ones."""
    made = whole()
    for ds in whole()[::5]:
        ds.PixelData = (write.stored(ds) + 1).astype(np.int16).tobytes()
        ds.SOPInstanceUID += ".9"
        ds.InstanceNumber = 900 + ds.InstanceNumber
        made.append(ds)
    write.write(tmp_path / "scans" / "a", made)
    row = runs.predict(tmp_path / "scans", tmp_path / "out").rows["a"]
    assert "15 positions have several images" in row["warnings"]
    assert "15 slices of its series" in row["left_out"]


@pytest.mark.parametrize(
    ("gone", "answer", "status"),
    [
        ("near", "found", "failed"),
        ("far", "found", "found"),
        ("far", "not in view", "failed"),
    ],
)
def test_a_gap_matters_near_the_vertebra(tmp_path, gone, answer, status):
    """Three slices are missing."""
    made = images(runs.long_trunk(12))
    clean = write.write(tmp_path / "clean" / "a", made)
    row = runs.predict(clean.parent, tmp_path / "first").rows["a"]
    at = int(row["slice_index"])
    first = at - 1 if gone == "near" else (at + len(made) // 2) % len(made)
    write.write(tmp_path / "scans" / "a", made[:first] + made[first + 4 :])
    run = runs.predict(tmp_path / "scans", tmp_path / "out", answer=answer)
    row = run.rows["a"]
    assert row["status"] == status
    assert run.done.returncode == (status == "failed")
    assert "slices are missing in 1 place" in row["warnings"]
    if status == "failed":
        assert "there is a gap of 15.0 mm above" in row["why"]


def test_a_localizer_is_listed_without_a_warning(tmp_path):
    scout = images(runs.long_trunk(1))[0]
    scout.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    axial = images(runs.long_trunk(1))[3]
    axial.ImageType, axial.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.7"
    write.write(tmp_path / "scans" / "a", [scout, axial, *whole()])
    run = runs.predict(tmp_path / "scans", tmp_path / "out", answer="not in view")
    row = run.rows["a"]
    assert (row["status"], row["warnings"]) == ("not in view", "")
    assert "90 degrees from axial" in row["left_out"]
    assert "1 slice is too few" in row["left_out"]


def test_reconstructions_at_the_same_positions_are_listed(tmp_path):
    """The smaller one has another matrix, as a reconstruction of the spine has."""
    other = whole()[10:60]
    for ds in other:
        halved(ds)
        ds.SOPInstanceUID += ".2"
    write.write(tmp_path / "scans" / "a", whole() + other)
    row = runs.predict(tmp_path / "scans", tmp_path / "out").rows["a"]
    assert "50 of 122 slices of its series are not used" in row["warnings"]


def test_slices_in_a_zip_file_are_counted_too(tmp_path):
    """A member is damaged."""

    path = tmp_path / "scans" / "a.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for i, ds in enumerate(whole()):
            archive.writestr(f"{i:03d}", write.content(ds))
        at = archive.getinfo("070").header_offset
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"nope")
    run = runs.predict(path.parent, tmp_path / "out")
    assert "1 file cannot be read and may be missing" in run.rows["a.zip"]["warnings"]
