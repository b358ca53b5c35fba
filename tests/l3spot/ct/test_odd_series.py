"""Projecting the kinds of unusual series that users have.

Each series gives the projections of the clean series, or is rejected.
"""

import csv

import numpy as np
import pytest

from l3spot import project
from tests.l3spot import compressed
from tests.l3spot import series as write
from tests.l3spot.trunk import MM, SIZE, SLICES, STEP, X0, Y0, Z0, images
from tests.l3spot.trunk import trunk as hu

GONE = 11  # Index of the missing slice.


def changed(made, **fields):
    for ds in made:
        for name, value in fields.items():
            setattr(ds, name, value)
    return made


def shuffled():
    return [images(hu())[i] for i in np.random.default_rng(0).permutation(SLICES)]


def feet_first():
    """The images are mirrored, and are ordered from the head."""
    mirrored = images(hu()[:, :, ::-1], (-1, 0, 0, 0, 1, 0), (X0 + MM * (SIZE - 1), Y0))
    return changed(mirrored[::-1], PatientPosition="FFS")


def renumbered():
    made = images(hu())
    for i, ds in enumerate(reversed(made)):
        ds.InstanceNumber, ds.SliceLocation = i, float(i)
    return made


def with_localizers():
    frontal, other = images(hu())[:2]
    frontal.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    other.PixelSpacing = [1.5, 1.5]
    return [frontal, *images(hu()), other]


def phases():
    first = changed(images(hu()), AcquisitionNumber=1)
    second = changed(images(hu()), AcquisitionNumber=2, RescaleIntercept=300.0)
    for ds in second:
        ds.SOPInstanceUID += ".2"
    return second + first


def without(*numbers):
    return [ds for i, ds in enumerate(images(hu())) if i not in numbers]


def leaning(degrees, stacked):
    """Returns tilted slices, stacked straight up or along their normal."""
    angle = np.radians(degrees)
    made = images(hu(), (1, 0, 0, 0, np.cos(angle), np.sin(angle)))
    if not stacked:
        for i, ds in enumerate(made):
            up = STEP * i * np.array([0, -np.sin(angle), np.cos(angle)])
            ds.ImagePositionPatient = [float(v) for v in up]
    return made


def sagittal():
    made = images(hu(), (0, 1, 0, 0, 0, -1))
    for i, ds in enumerate(made):
        ds.ImagePositionPatient = [STEP * i, 0.0, 0.0]
    return made


def frames(shared):
    made = images(hu())
    if not shared:
        for ds in made[::2]:
            ds.PixelData, ds.RescaleSlope = (2 * write.stored(ds)).tobytes(), 0.5
    return [write.merged(made, shared)]


def without_rescale():
    made = images(hu())
    for ds in made:
        del ds.RescaleSlope, ds.RescaleIntercept
    return made


def padded(signed):
    """Returns images with padding beside the body, as around a round field of view."""
    made = images(hu())
    for ds in made:
        values = write.stored(ds).reshape(SIZE, SIZE)
        beside = np.zeros(values.shape, bool)
        beside[:, -3:] = True
        values[~beside] += 0 if signed else 1024
        values[beside] = -2000
        ds.PixelData = values.tobytes()
        ds.PixelRepresentation = int(signed)
        ds.RescaleIntercept = 0.0 if signed else -1024.0
        kind = "SS" if signed else "US"
        ds.add_new("PixelPaddingValue", kind, -2000 if signed else 63536)
    return made


def patients():
    other = images(hu(), PatientID="other", SeriesInstanceUID="1.9")
    return images(hu()) + other


SAME = {
    "shuffled names": shuffled,
    "feet first": feet_first,
    "reversed numbering": renumbered,
    "localizers inside": with_localizers,
    "exact duplicates": lambda: images(hu()) + images(hu())[3:9],
    "two phases": phases,
    "frames, rescale of each": lambda: frames(False),
    "frames, shared rescale": lambda: frames(True),
    "no rescale tags": without_rescale,
    "padding, signed": lambda: padded(True),
    "padding, unsigned": lambda: padded(False),
    **{
        name: lambda n=name: [compressed.compress(ds, n) for ds in images(hu())]
        for name in compressed.ENCODERS
    },
    "one missing": lambda: without(GONE),
    "other files": lambda: images(hu()),
}
REFUSED = {
    "ten missing": (lambda: without(*range(7, 17)), "a gap of 33.0 mm above"),
    "tilted gantry": (lambda: leaning(15, True), "gantry was tilted by 15.0 degrees"),
    "oblique": (lambda: leaning(15, False), "15 degrees from axial"),
    "sagittal": (sagittal, "90 degrees from axial"),
    "truncated": (lambda: images(hu()), "it ends within its pixels"),
    "two patients": (patients, "scans of 2 patients"),
    "one slice": (lambda: images(hu())[:1], "1 slice is too few for a volume"),
}
WARNED = {
    "exact duplicates": "6 slices are copies of others",
    "two phases": "24 positions have several images (phases?); acquisition 1",
    "one missing": "slices are missing in 1 place",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Projects all series; returns the output folder and the rows of the report."""
    root, out = (tmp_path_factory.mktemp(name) for name in ("scans", "mips"))
    for name, make in SAME.items():
        write.write(root / name, make())
    for name, (make, _) in REFUSED.items():
        write.write(root / name, make())
    write.write(root / "clean", images(hu()))
    (root / "other files" / "empty.dcm").touch()
    (root / "other files" / "notes.dcm").write_text("of nobody, " * 40)
    (root / "other files" / "image.png").write_bytes(b"\x89PNG")
    cut = root / "truncated" / "IM0005"
    cut.write_bytes(cut.read_bytes()[:-100])
    project.project(root, out, row=STEP, column=MM, workers=1)
    rows = csv.DictReader((out / "report.csv").read_text().splitlines())
    return out, {r["scan"]: r for r in rows if r["status"] != "left out"}


@pytest.mark.parametrize("name", SAME)
def test_odd_series_give_the_projections_of_the_clean_series(results, name):
    out, report = results
    assert report[name]["status"] == "projected"
    assert report[name]["warnings"].startswith(WARNED.get(name, ""))
    assert bool(report[name]["warnings"]) == (name in WARNED)
    with np.load(out / "clean.npz") as expected, np.load(out / f"{name}.npz") as result:
        own = np.abs(expected["z"] - (Z0 + STEP * GONE)) > STEP / 2
        rows = own if name == "one missing" else slice(None)
        for view in ("frontal", "lateral"):
            assert expected[view].max() > 500
            np.testing.assert_array_equal(result[view][rows], expected[view][rows])
        for axis in "zxy":
            np.testing.assert_allclose(result[axis], expected[axis], atol=1e-9)
        # Each row's nearest slice has the row's z.
        z = result["plane_z"][result["nearest"]]
        np.testing.assert_allclose(z[rows], expected["z"][rows], atol=1e-9)


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_series_are_rejected_with_the_reason(results, name):
    out, report = results
    assert report[name]["status"] == "rejected"
    assert REFUSED[name][1] in report[name]["why"]
    assert not (out / f"{name}.npz").exists()
