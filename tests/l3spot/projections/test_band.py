import numpy as np
import pytest

from l3spot.ct.slices import StoredValues
from l3spot.projections import band


def grid(count, spacing, first=-100.0):
    return first + spacing * np.arange(count)


def brute_force(hu, x, y, middle):
    """Means of whole cells, one at a time, of columns near the middle."""
    down, across = max(1, round(1 / (y[1] - y[0]))), max(1, round(2 / (x[1] - x[0])))
    columns = []
    for j in range(len(x) // across):
        cell = slice(j * across, (j + 1) * across)
        if middle - 80 <= x[cell].mean() < middle + 80:
            columns.append(
                [
                    hu[i * down : (i + 1) * down, cell].mean()
                    for i in range(len(y) // down)
                ]
            )
    return np.transpose(columns)


@pytest.mark.parametrize("spacing", [0.27, 0.7, 0.98, 2.4])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_a_cut_holds_the_means_of_its_cells(spacing, dtype):
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 3000, (61, 303)).astype(dtype)
    x, y = grid(303, spacing), grid(61, spacing)
    middle = float(x.mean()) + 7
    values = StoredValues(stored, 2.0, -1000.0)
    cut = band.cut(values, x, y, middle)
    wanted = brute_force(2.0 * stored.astype(float) - 1000, x, y, middle)
    np.testing.assert_allclose(cut.hu, wanted, atol=0.51)
    assert cut.hu.dtype == np.int16


def test_padding_counts_as_air():
    stored = np.full((4, 40), 1000, np.int16)
    stored[:, 20:] = -2000
    x, y = grid(40, 2.0, 0.0), grid(4, 1.0)
    cut = band.cut(StoredValues(stored, 1.0, 0.0, (-2000, -2000)), x, y, 40.0)
    assert (cut.hu[:, :20] == 1000).all()
    assert (cut.hu[:, 20:] == band.AIR_HU).all()


def test_values_beyond_int16_are_clipped():
    stored = np.array([[60000, 0]], np.uint16).repeat(2, 0)
    cut = band.cut(StoredValues(stored), grid(2, 2.0), grid(2, 1.0), -99.0)
    assert cut.hu[0].tolist() == [32767, 0]
    low = StoredValues(stored, 1.0, -9000.0)
    assert band.cut(low, grid(2, 2.0), grid(2, 1.0), -99.0).hu[0, 1] == band.AIR_HU


def test_cuts_are_put_together_by_their_columns():
    x, y, z = grid(100, 2.0, 0.0), grid(3, 1.0), np.array([0.0, 5.0])
    cuts = [
        band.Cut(np.full((3, 4), 1, np.int16), 10),
        band.Cut(np.full((3, 4), 2, np.int16), 12),
    ]
    whole = band.assemble(cuts, z, y, x)
    np.testing.assert_array_equal(whole.x, x[10:16])
    assert whole.hu[0, 0].tolist() == [1, 1, 1, 1, -1024, -1024]
    assert whole.hu[1, 0].tolist() == [-1024, -1024, 2, 2, 2, 2]
