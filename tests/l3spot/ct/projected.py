"""Projects folders, and compares the results."""

import numpy as np

from l3spot.ct import scan
from l3spot.projections import mip
from tests.l3spot.trunk import MM, STEP


def project(folder):
    volume = scan.choose(scan.read(folder), folder)
    return volume, mip.project(volume, row_mm=STEP, column_mm=MM)


def assert_same(folder, clean):
    (volume, result), (expected_volume, expected) = project(folder), clean
    for ct_slice, other in zip(volume.slices, expected_volume.slices, strict=True):
        np.testing.assert_array_equal(ct_slice.hu(), other.hu())
    *arrays, band, sample = result
    *expected_arrays, expected_band, expected_sample = expected
    for array, other in zip(
        [*arrays, *band, sample],
        [*expected_arrays, *expected_band, expected_sample],
        strict=True,
    ):
        np.testing.assert_array_equal(array, other)
