"""Projections of small bodies on a table, compared with NumPy."""

import dataclasses
import weakref
from functools import partial

import numpy as np
import pytest

from l3spot.ct import dicom, slices
from l3spot.projections import mip
from tests.l3spot import series as write
from tests.l3spot.trunk import (
    MM,
    SIZE,
    SLICES,
    STEP,
    X0,
    Y0,
    Z0,
    images,
    mask_of,
    naive,
    trunk,
    volume_of,
)


def assert_seen(p, hu, rows=slice(None)):
    """Compares pixels away from the edge of the body, which is accurate to 2 mm."""
    frontal, lateral = naive(hu)
    np.testing.assert_allclose(p.frontal[rows, 12:68], frontal[:, 12:68])
    np.testing.assert_allclose(p.lateral[rows, 22:58], lateral[:, 22:58])
    assert (p.frontal[:, :7] == mip.AIR_HU).all()
    assert (p.lateral[:, 63:] == mip.AIR_HU).all()


def test_projections_equal_those_of_numpy_without_the_table(tmp_path):
    hu = trunk()
    p = mip.project(volume_of(tmp_path, images(hu)), row_mm=STEP, column_mm=MM)
    assert_seen(p, hu)
    np.testing.assert_allclose(p.z, (Z0 + STEP * np.arange(SLICES))[::-1])
    np.testing.assert_allclose(p.x, X0 + MM * np.arange(SIZE))
    np.testing.assert_allclose(p.y, Y0 + MM * np.arange(SIZE))
    assert p.nearest.tolist() == list(range(SLICES))[::-1]


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
    p = mip.project(volume, row_mm=STEP, column_mm=MM)
    assert_seen(p, hu)
    np.testing.assert_allclose(p.x[[0, -1]], [X0, X0 + end])
    np.testing.assert_allclose(p.y[[0, -1]], [Y0, Y0 + end])
    usual = mip.project(volume_of(tmp_path, images(hu))).spine
    for array, same in zip(p.spine, usual, strict=True):
        np.testing.assert_allclose(array, same, atol=1e-9)


def test_rows_are_interpolated_at_the_true_positions(tmp_path):
    """The row of a missing slice lies midway between its neighbours."""
    hu, gone = trunk(), 10
    datasets = images(hu)
    del datasets[gone]
    p = mip.project(volume_of(tmp_path, datasets), row_mm=1.0, column_mm=MM)
    assert len(p.z) == STEP * (SLICES - 1) + 1
    frontal = naive(hu)[0][::-1]
    expected = (frontal[gone - 1] + frontal[gone + 1]) / 2
    at = int(np.flatnonzero(p.z == Z0 + STEP * gone)[0])
    np.testing.assert_allclose(p.frontal[at, 12:68], expected[12:68])
    # This row lies a third of the way from one slice to the next.
    at = int(np.flatnonzero(p.z == Z0 + 1)[0])
    expected = (2 * frontal[0] + frontal[1]) / 3
    np.testing.assert_allclose(p.frontal[at, 12:68], expected[12:68], rtol=1e-5)


def test_nearest_is_the_index_of_the_nearest_slice(tmp_path):
    volume = volume_of(tmp_path, images(trunk()))
    p = mip.project(volume, row_mm=0.7, column_mm=MM)
    for z, number in zip(p.z, p.nearest, strict=True):
        distance = [abs(ct_slice.origin_mm[2] - z) for ct_slice in volume.slices]
        assert distance[number] == min(distance)


def test_padding_is_not_projected(tmp_path):
    hu = trunk()
    hu[:, 30, 30] = 1500
    datasets = images(hu)
    for ds in datasets:
        ds.add_new("PixelPaddingValue", "SS", 1500)
    p = mip.project(volume_of(tmp_path, datasets), row_mm=STEP, column_mm=MM)
    assert p.frontal.max() < 700


def test_arms_beside_the_body_are_kept(tmp_path):
    hu = trunk()
    hu[:, 20:60, 10:30] = -1000
    hu[:, 35:45, 2:12] = 250
    p = mip.project(volume_of(tmp_path, images(hu)), row_mm=STEP, column_mm=MM)
    np.testing.assert_allclose(p.frontal[:, 4:10], 250)


KINDS = {  # Conversions from HU to stored values, and the fields of StoredValues.
    "signed": (lambda hu: hu.astype(np.int16), (1.0, 0.0)),
    "unsigned": (lambda hu: (hu + 1024).clip(0).astype(np.uint16), (1.0, -1024.0)),
    "big endian": (lambda hu: hu.astype(">i2"), (1.0, 3.0)),
    "coarse": (lambda hu: ((hu + 1000) / 3).clip(0).astype(np.uint8), (3.3, -1000.0)),
    "falling": (lambda hu: (-hu).astype(np.int32), (-1.0, 0.5)),
    "padded": (lambda hu: hu.astype(np.int16), (1.0, 0.0, (380, 500))),
    "across": (lambda hu: hu.T.astype(np.float64).T, (1.0, 0.0)),
    "overflowing": (lambda hu: hu.astype(np.int64), (1e38, 0.0)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spacing", [(2.0, 2.0), (0.7, 1.1), (3.0, 0.4)])
def test_maxima_of_stored_values_give_the_maxima_of_hu(tmp_path, kind, spacing):
    """The result is bit-identical to converting the whole slice to HU first."""
    store, meaning = KINDS[kind]
    hu = trunk()[7] + np.random.default_rng(0).normal(0, 9, (SIZE, SIZE))
    hu[58:62, 30:34] = np.nan if kind == "across" else -3024
    blank = np.zeros(hu.shape, np.int16)
    write.write(tmp_path, [write.image(blank, (0, 0, 0), PixelSpacing=list(spacing))])
    (ct_slice,) = dicom.read(slices.ScanFile(tmp_path / "IM0000"))
    values = slices.StoredValues(store(hu), *meaning)
    whole = values.hu()
    whole[~mask_of(whole, spacing) | np.isnan(whole)] = mip.AIR_HU
    *maxima, _ = mip.project_slice(ct_slice, values)
    for result, axis in zip(maxima, (0, 1), strict=True):
        expected = np.maximum(whole.max(axis=axis), np.float32(mip.AIR_HU))
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == np.float32


@pytest.mark.parametrize("workers", [1, 3])
def test_each_thread_holds_one_slice(tmp_path, workers):
    """No more arrays of stored values exist at once than there are threads."""
    volume = volume_of(tmp_path, images(trunk()))
    alive, most = set(), []

    def counted(ct_slice):
        values = ct_slice.decode()
        values = values._replace(stored=values.stored.copy())
        number = id(values.stored)
        alive.add(number)
        weakref.finalize(values.stored, alive.discard, number)
        most.append(len(alive))
        return values

    counting = [
        dataclasses.replace(p, decode=partial(counted, p)) for p in volume.slices
    ]
    mip.project(volume._replace(slices=tuple(counting)), workers=workers)
    assert len(most) == SLICES
    assert max(most) <= workers


@pytest.mark.parametrize("count", [0, 1])
def test_one_position_is_too_few_to_interpolate(count):
    values = np.ones((count, 3), np.float32)
    with pytest.raises(ValueError, match=f"{count} positions are too few"):
        mip.resample(values, np.arange(float(count)), np.arange(3.0), 0)
