"""Projections of small bodies on a table, against plain NumPy."""

import numpy as np
import pytest

from l3spot import dicom, planes, projection, volumes
from tests.l3spot import series as write

MM, SIZE, PLANES, STEP = 2.0, 80, 24, 3.0
X0, Y0, Z0 = -60.0, -90.0, 40.0


def trunk():
    """HU [planes, rows, columns]: soft tissue, a slanting bone, and a table below."""
    hu = np.full((PLANES, SIZE, SIZE), -1000.0)
    hu[:, 20:60, 10:70] = 40
    rng = np.random.default_rng(0)
    for i in range(PLANES):
        hu[i, 40:48, 20 + i : 32 + i] = 300 + 10 * i + rng.integers(0, 50, (8, 12))
    hu[:, 70, 5:75] = 900  # The table: thin, bright.
    hu[:, 2:4, 2:4] = 700  # And a tube.
    return hu


def images(hu, axes=(1, 0, 0, 0, 1, 0), origin=(X0, Y0), **fields):
    made = []
    for i, plane in enumerate(hu):
        stored = np.ascontiguousarray(plane).astype(np.int16)
        made.append(
            write.image(
                stored,
                (*origin, Z0 + STEP * i),
                i,
                ImageOrientationPatient=[float(a) for a in axes],
                PixelSpacing=[MM, MM],
                RescaleSlope=1.0,
                RescaleIntercept=0.0,
                **fields,
            )
        )
    return made


def volume_of(folder, datasets):
    write.write(folder, datasets)
    read = [p for f in planes.files(folder) for p in dicom.read(f)]
    (volume,), rejected = volumes.assemble(read)
    assert rejected == []
    return volume


def naive(hu):
    """The body alone, seen from the front and from the side, the head up."""
    own = hu.copy()
    own[:, :20], own[:, 60:] = -1024, -1024
    own[:, :, :10], own[:, :, 70:] = -1024, -1024
    return own.max(axis=1)[::-1], own.max(axis=2)[::-1]


def assert_seen(p, hu, rows=slice(None)):
    """Away from the edge of the body, which is found to 2 mm."""
    frontal, lateral = naive(hu)
    np.testing.assert_allclose(p.frontal[rows, 12:68], frontal[:, 12:68])
    np.testing.assert_allclose(p.lateral[rows, 22:58], lateral[:, 22:58])
    assert (p.frontal[:, :7] == projection.AIR).all()
    assert (p.lateral[:, 63:] == projection.AIR).all()


def test_projections_are_those_of_numpy_without_the_table(tmp_path):
    hu = trunk()
    p = projection.project(volume_of(tmp_path, images(hu)), row=STEP, column=MM)
    assert_seen(p, hu)
    np.testing.assert_allclose(p.z, (Z0 + STEP * np.arange(PLANES))[::-1])
    np.testing.assert_allclose(p.x, X0 + MM * np.arange(SIZE))
    np.testing.assert_allclose(p.y, Y0 + MM * np.arange(SIZE))
    assert p.nearest.tolist() == list(range(PLANES))[::-1]


TURNS = {
    "left on the left": ((-1, 0, 0, 0, 1, 0), lambda a: a[:, :, ::-1], (1, 0)),
    "prone": ((1, 0, 0, 0, -1, 0), lambda a: a[:, ::-1], (0, 1)),
    "both": ((-1, 0, 0, 0, -1, 0), lambda a: a[:, ::-1, ::-1], (1, 1)),
    "turned": ((0, 1, 0, 1, 0, 0), lambda a: a.swapaxes(1, 2), (0, 0)),
    "turned, back": (
        (0, -1, 0, 1, 0, 0),
        lambda a: a.swapaxes(1, 2)[:, :, ::-1],
        (0, 1),
    ),
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_image_axes_do_not_matter(tmp_path, turn):
    axes, change, last = TURNS[turn]
    hu, end = trunk(), MM * (SIZE - 1)
    origin = (X0 + end * last[0], Y0 + end * last[1])
    volume = volume_of(tmp_path, images(change(hu), axes, origin))
    p = projection.project(volume, row=STEP, column=MM)
    assert_seen(p, hu)
    np.testing.assert_allclose(p.x[[0, -1]], [X0, X0 + end])
    np.testing.assert_allclose(p.y[[0, -1]], [Y0, Y0 + end])


def test_rows_are_interpolated_at_the_true_positions(tmp_path):
    """One plane is missing: its row lies midway between its neighbours."""
    hu, gone = trunk(), 10
    datasets = images(hu)
    del datasets[gone]
    p = projection.project(volume_of(tmp_path, datasets), row=1.0, column=MM)
    assert len(p.z) == STEP * (PLANES - 1) + 1
    frontal = naive(hu)[0][::-1]
    due = (frontal[gone - 1] + frontal[gone + 1]) / 2
    at = int(np.flatnonzero(p.z == Z0 + STEP * gone)[0])
    np.testing.assert_allclose(p.frontal[at, 12:68], due[12:68])
    # A third of the way from one plane to the next.
    at = int(np.flatnonzero(p.z == Z0 + 1)[0])
    due = (2 * frontal[0] + frontal[1]) / 3
    np.testing.assert_allclose(p.frontal[at, 12:68], due[12:68], rtol=1e-5)


def test_each_row_knows_its_nearest_plane(tmp_path):
    volume = volume_of(tmp_path, images(trunk()))
    p = projection.project(volume, row=0.7, column=MM)
    for z, number in zip(p.z, p.nearest, strict=True):
        away = [abs(plane.origin[2] - z) for plane in volume.planes]
        assert away[number] == min(away)


def test_padding_is_not_projected(tmp_path):
    hu = trunk()
    hu[:, 30, 30] = 1500
    datasets = images(hu)
    for ds in datasets:
        ds.add_new("PixelPaddingValue", "SS", 1500)
    p = projection.project(volume_of(tmp_path, datasets), row=STEP, column=MM)
    assert p.frontal.max() < 700


def test_arms_beside_the_body_are_kept(tmp_path):
    hu = trunk()
    hu[:, 20:60, 10:30] = -1000
    hu[:, 35:45, 2:12] = 250
    p = projection.project(volume_of(tmp_path, images(hu)), row=STEP, column=MM)
    np.testing.assert_allclose(p.frontal[:, 4:10], 250)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_interpolated_from_one_position(count):
    values = np.ones((count, 3), np.float32)
    with pytest.raises(ValueError, match=f"{count} positions are too few"):
        projection.resample(values, np.arange(float(count)), np.arange(3.0), 0)
