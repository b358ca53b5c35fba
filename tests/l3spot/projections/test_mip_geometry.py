"""Projections equal NumPy's for any orientation, spacing, offset and file order."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from l3spot.ct import dicom, slices, volumes
from l3spot.projections import mip
from tests.l3spot import series as write

DEPTH = 9  # Number of slices.
FIELD = 12.0  # mm; smaller bodies would count as a table top.


@dataclasses.dataclass(frozen=True)
class Case:
    """A body [z, y, x] that fills the field, and the layout of its files.

    more: pixels from front to back and from side to side, above those of FIELD.
    turned: rows and columns of the images are swapped. flipped: of z, y and x.
    """

    more: tuple[int, int]
    spacing: tuple[float, float, float]
    start: tuple[float, float, float]
    turned: bool
    flipped: tuple[bool, bool, bool]
    order: tuple[int, ...]
    signed: bool
    seed: int

    @property
    def hu(self):
        size = [
            int(FIELD / mm) + n
            for mm, n in zip(self.spacing[1:], self.more, strict=True)
        ]
        rng = np.random.default_rng(self.seed)
        return rng.integers(0, 3000, (DEPTH, *size)) - 200


length = st.integers(1, 30)
mm = st.floats(0.25, 4.0).map(lambda v: round(v, 3))
at = st.floats(-900, 900).map(lambda v: round(v, 2))
flag = st.booleans()
cases = st.builds(
    Case,
    more=st.tuples(length, length),
    spacing=st.tuples(mm, mm, mm),
    start=st.tuples(at, at, at),
    turned=flag,
    flipped=st.tuples(flag, flag, flag),
    order=st.permutations(range(DEPTH)).map(tuple),
    signed=flag,
    seed=st.integers(0, 2**32 - 1),
)


def images(case):
    """Yields the slices as a scanner would write them, in the order of the case."""
    hu, spacing = case.hu, np.array(case.spacing)
    count = np.array(hu.shape)
    flips = np.array(case.flipped)
    signs = np.where(flips, -1.0, 1.0)
    # The position of the first pixel of the first image.
    first = np.array(case.start) + np.where(flips, (count - 1) * spacing, 0)
    stored = np.flip(hu, np.flatnonzero(flips))
    y, x = np.array([0, signs[1], 0]), np.array([signs[2], 0, 0])
    along, down, within = (x, y, spacing[[1, 2]])
    if case.turned:
        stored, along, down = stored.swapaxes(1, 2), y, x
        within = spacing[[2, 1]]
    for number in case.order:
        z = first[0] + signs[0] * spacing[0] * number
        pixels = np.ascontiguousarray(stored[number] + (0 if case.signed else 1024))
        yield write.image(
            pixels.astype(np.int16 if case.signed else np.uint16),
            (first[2], first[1], z),
            number + 1,
            ImageOrientationPatient=[*along.tolist(), *down.tolist()],
            PixelSpacing=within.tolist(),
            RescaleSlope=1.0,
            RescaleIntercept=0.0 if case.signed else -1024.0,
        )


def grid(values, from_z, from_x, to_z, to_x):
    across = [np.interp(to_x, from_x, row) for row in values]
    return np.array([np.interp(to_z, from_z, c) for c in np.transpose(across)]).T


@settings(max_examples=60, deadline=None)
@given(case=cases, row=mm, column=mm)
def test_projections_do_not_depend_on_the_layout_of_the_files(
    tmp_path_factory, case, row, column
):
    folder = tmp_path_factory.mktemp("scan")
    write.write(folder, images(case))
    read = [p for f in slices.iter_files(folder) for p in dicom.read(f)]
    ((volume,), rejected) = volumes.assemble(read)
    assert rejected == []
    result = mip.project(volume, row_mm=row, column_mm=column, workers=1)
    z, y, x = (
        start + mm * np.arange(n)
        for start, mm, n in zip(case.start, case.spacing, case.hu.shape, strict=True)
    )
    np.testing.assert_allclose(volume.z, z, atol=1e-6)
    np.testing.assert_allclose(result.z, np.arange(z[-1], z[0] - 1e-6, -row), atol=1e-6)
    np.testing.assert_allclose(result.x[0], x[0], atol=1e-6)
    np.testing.assert_allclose(result.y[0], y[0], atol=1e-6)
    for values, axis, to, at in (
        (result.frontal, 1, result.x, x),
        (result.lateral, 2, result.y, y),
    ):
        expected = grid(case.hu.max(axis=axis), z, at, result.z, to)
        np.testing.assert_allclose(values, expected, atol=0.01)
    distance = np.abs(result.z[:, None] - z)
    np.testing.assert_allclose(
        distance[range(len(distance)), result.nearest], distance.min(axis=1), atol=1e-6
    )
