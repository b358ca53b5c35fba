"""Each slice is used or reported, whatever geometries a series mixes."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from l3spot.ct import left_out, volumes
from l3spot.ct.content import Scan
from l3spot.ct.slices import ScanFile, SeriesKey, Slice, StoredValues

STEP_MM = 3.0
SHAPES = (8, 16)


def make_slice(number, z_mm, *, shape, mm, tilt_deg, thickness_mm, acquisition, frame):
    """Returns a slice with its own value, and its middle at x = y = 0."""
    angle = np.radians(tilt_deg)
    axes = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)]])
    centre = np.array([0, 0, z_mm])
    half = mm * (shape - 1) / 2
    return Slice(
        file=ScanFile(Path(f"{number}")),
        series=SeriesKey("", "1.2", "1.2.3"),
        sop_instance_uid=f"1.2.3.{number}",
        acquisition_number=acquisition,
        instance_number=number,
        origin_mm=centre - half * axes.sum(0),
        axes=axes,
        spacing_mm=(mm, mm),
        shape=(shape, shape),
        decode=lambda: StoredValues(np.full((shape, shape), number - 500, np.int16)),
        thickness_mm=thickness_mm,
        frame_of_reference_uid=frame,
    )


GEOMETRIES = st.fixed_dictionaries(
    {
        "shape": st.sampled_from(SHAPES),
        "mm": st.sampled_from([1.0, 1.001, 1.01, 2.0]),
        "tilt_deg": st.sampled_from([0.0, 0.03, 0.06, 0.5, 3.0, 90.0]),
        "thickness_mm": st.sampled_from([0.0, 3.0, 15.0]),
        "acquisition": st.sampled_from([0, 1]),
        "frame": st.sampled_from(["", "1.9"]),
    }
)


@st.composite
def mixtures(draw):
    """Draws slices of two geometries; any part is missing, and the order is any.

    The second geometry may lie at the same positions, or between those of the first.
    """
    count = draw(st.integers(1, 40))
    shift_mm = draw(st.sampled_from([0.0, STEP_MM / 2, 500.0]))
    both = [draw(GEOMETRIES), draw(GEOMETRIES)]
    made = []
    for i in range(count):
        which = draw(st.sampled_from([(), (0,), (1,), (0, 1)]))
        for k in which:
            z_mm = STEP_MM * i + k * shift_mm
            made.append(make_slice(len(made), z_mm, **both[k]))
    return draw(st.permutations(made))


@given(mixtures())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_used_and_reported_slices_are_all_slices(slices):
    made, rejected = volumes.assemble(slices)
    parts = [v.slices + v.left_out for v in made] + [r.slices for r in rejected]
    kept = [s.sop_instance_uid for part in parts for s in part]
    assert sorted(kept) == sorted(s.sop_instance_uid for s in slices)
    content = Scan(made, rejected, [])
    for volume in made:
        assert np.all(np.diff(volume.z) > 0)
        others = len(slices) - len(volume.slices)
        counts = [int(t.split()[0]) for t in described(content, volume)]
        assert sum(counts) == others


def described(content, volume):
    """Returns the groups in the column left_out."""
    text = left_out.describe(content, volume)
    starts = ("slice", "slices")
    parts = [p for p in text.split("; ") if p.split()[1:2] and p[0].isdigit()]
    return [p for p in parts if p.split()[1] in starts and " of its series" in p]


@given(mixtures(), st.randoms())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_order_of_the_files_has_no_effect(slices, random):
    def result(given):
        made, rejected = volumes.assemble(given)
        uids = [[s.sop_instance_uid for s in v.slices] for v in made]
        return sorted(uids), sorted(sorted(map(uid, r.slices)) for r in rejected)

    def uid(ct_slice):
        return ct_slice.sop_instance_uid

    shuffled = list(slices)
    random.shuffle(shuffled)
    assert result(slices) == result(shuffled)


@given(
    st.integers(20, 60),
    st.lists(st.booleans(), min_size=60, max_size=60),
    st.sampled_from([(8, 2.0), (16, 1.001), (16, 1.0003)]),
    st.sampled_from([0.0, 0.06, 0.5]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_two_geometries_with_one_field_are_one_volume(count, of_second, pixels, tilt):
    """Each position has one slice, of either geometry."""
    common = dict(thickness_mm=3.0, acquisition=1, frame="1.9")
    slices = []
    for i in range(count):
        shape, mm = pixels if of_second[i] else (16, 1.0)
        angle = tilt if of_second[i] else 0.0
        slices.append(
            make_slice(i, STEP_MM * i, shape=shape, mm=mm, tilt_deg=angle, **common)
        )
    made, rejected = volumes.assemble(slices)
    assert rejected == []
    ((volume),) = made
    assert [s.instance_number for s in volume.slices] == list(range(count))
    assert volume.warnings == ()
