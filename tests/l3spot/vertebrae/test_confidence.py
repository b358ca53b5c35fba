"""The two probabilities, and the features that they rest on."""

import json

import numpy as np
import pytest

from l3spot.localize import frontal
from l3spot.vertebrae import confidence, levels, locate, model, slab
from l3spot.vertebrae.confidence import LEVEL_FEATURES, Calibration, Logistic
from mtl.host.errors import DataError
from tests.l3spot.stub_model import stub_model
from tests.l3spot.vertebrae.stub import (
    PITCH_MM,
    TOP_MM,
    StubVertebrae,
    chain,
    constant,
)
from tests.l3spot.vertebrae.stub import projection as make_projection

L3_MM = TOP_MM + 0.5 - 120.0
FIVE = L3_MM + PITCH_MM * np.array([2, 1, 0, -1, -2])


def features(coarse_mm=120.0, projection=None, scale=1.0, sure=0.9):
    """The level features by name."""
    projection = make_projection() if projection is None else projection
    bodies = chain(L3_MM + scale * (FIVE - L3_MM))
    coarse = frontal.find(stub_model([coarse_mm], sure), projection)
    numbering = levels.number(bodies, coarse.z_mm, coarse.confidence)
    values = confidence.level_features(
        projection, slab.make(projection.spine), bodies, numbering, coarse
    )
    return dict(zip(LEVEL_FEATURES, values, strict=True))


def cut(projection, rows=slice(None), columns=slice(None), step=1):
    """A part of a projection and of its band, with thicker slices."""
    band = projection.spine
    kept = slice(None, None, step)
    z = projection.z[rows]
    inside = (band.z <= z.max()) & (band.z >= z.min())
    band = band._replace(hu=band.hu[inside][kept], z=band.z[inside][kept])
    return projection._replace(
        frontal=projection.frontal[rows, columns], z=z, x=projection.x[columns],
        spine=band,
    )  # fmt: skip


def test_a_coarse_position_midway_between_two_bodies_counts_against_the_level():
    at, between = features(120.0), features(120.0 + 0.45 * PITCH_MM)
    assert at["frontal_distance"] == pytest.approx(0.0, abs=1e-6)
    assert between["frontal_distance"] == pytest.approx(0.45)
    assert between["numbering"] < at["numbering"] - 1


def test_thick_slices_short_scans_and_narrow_fields_have_features():
    usual = make_projection()
    assert features(projection=cut(usual, step=1))["thick_slices"] == 0
    thick = features(projection=cut(usual, step=8))
    assert thick["thick_slices"] == pytest.approx(np.log(8 / 2.5 * 35 / PITCH_MM))
    short = features(projection=cut(usual, rows=slice(20, 220)))
    assert short["short_scan"] == pytest.approx(np.log(300 / 200))
    wide, narrow = (
        features(projection=cut(usual, columns=slice(n)))["narrow_field"]
        for n in (90, 60)
    )
    assert narrow - wide == pytest.approx(np.log(90 / 60))


def test_small_bodies_and_metal_have_features():
    assert features(scale=0.6)["small_body"] == pytest.approx(
        np.log(35 / (0.6 * PITCH_MM))
    )
    p = make_projection()
    assert features(projection=p)["metal"] == 0
    p.spine.hu[110:130, 60:80, 19:26] = 3000  # About L3.
    assert 0 < features(projection=p)["metal"] < 1


@pytest.mark.parametrize(
    ("z_mm", "expected"),
    [
        (FIVE, 0.0),
        (np.delete(FIVE, 2), np.log(2)),  # L3 is not seen.
        (np.insert(FIVE, 3, L3_MM - 10.0), np.log(3.4)),  # Something else is.
        (FIVE[:2], 0.0),
    ],
)
def test_missed_and_false_vertebrae_make_the_spacing_uneven(z_mm, expected):
    assert confidence.uneven_spacing(chain(z_mm)) == pytest.approx(expected)
    # S1, which leans, does not count.
    with_s1 = chain(np.append(z_mm, z_mm[-1] - 2 * PITCH_MM), s1=True)
    assert confidence.uneven_spacing(with_s1) == pytest.approx(expected)


def merged(at, factor):
    """A chain with one body that is so much higher."""
    usual = chain(FIVE)
    body = usual.bodies[at]
    ends = (body.middle + factor * (end - body.middle) for end in body[:2])
    bodies = [*usual.bodies]
    bodies[at] = body._replace(**dict(zip(("upper", "lower"), ends, strict=True)))
    return usual._replace(bodies=bodies)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_two_vertebrae_that_are_taken_for_one_are_tall(at):
    assert confidence.tallest(chain(FIVE)) == pytest.approx(1)
    tall = merged(at, 1.6)
    assert confidence.tallest(tall) == pytest.approx(1.6)
    two = tall._replace(bodies=tall.bodies[at : at + 2])
    assert confidence.tallest(two) == 1
    parts = zip(confidence.UNCALIBRATED, (0.7, 0.5, 0.3), strict=True)
    calibration = Calibration(*(constant(part, p) for part, p in parts))
    for made, expected in (
        (tall, locate.MAX_DOUBTFUL_CONFIDENCE),
        (merged(at, 1.3), 0.7),
    ):
        stub = StubVertebrae(made, [], calibration)
        found = locate.locate(stub_model([122.0] * 2), stub, make_projection())
        assert found.spine.confidence == pytest.approx(expected)


def find(calibration, z_mm=FIVE, coarse_mm=122.0):
    stub = StubVertebrae(chain(z_mm), [], calibration)
    return locate.locate(stub_model([coarse_mm] * 2), stub, make_projection())


def test_within_5_mm_is_the_probability_of_the_level_times_that_of_the_position():
    parts = zip(confidence.UNCALIBRATED, (0.7, 0.5, 0.3), strict=True)
    found = find(Calibration(*(constant(part, p) for part, p in parts)))
    assert found.spine.confidence == pytest.approx(0.7)
    assert found.spine.numbering.probability > 0.7
    assert found.spine.within_5_mm["L3"] == pytest.approx(0.35)
    assert found.frontal_within_5_mm == pytest.approx(0.3)


def test_small_bodies_are_searched_again_in_a_magnified_projection():
    images = []
    stub = StubVertebrae(chain(L3_MM + 0.5 * (FIVE - L3_MM)), [])
    found = locate.locate(
        stub_model([150.0, 247.0], images=images), stub, make_projection()
    )
    scale = locate.ADULT_PITCH_MM / (0.5 * PITCH_MM)
    assert [len(image) for image in images] == [120, round(120 * scale)]
    # The second estimate, in mm of the body, replaces the first.
    assert found.frontal.z_mm == pytest.approx(TOP_MM + 0.5 - 247 / scale)
    assert found.spine.numbering.l3_z_mm == pytest.approx(L3_MM)
    # In the neck, where L3 is not seen, it is not searched again.
    neck = locate.locate(stub_model([150.0], 0.3), stub, make_projection())
    assert neck.frontal.z_mm == TOP_MM + 0.5 - 150
    # It is where ribs end among the bodies.
    ribs_end = stub._replace(ribs=[0.95, 0.95] + [0.05] * 4)
    child = locate.locate(stub_model([150.0, 247.0], 0.3), ribs_end, make_projection())
    assert child.frontal.z_mm == pytest.approx(TOP_MM + 0.5 - 247 / scale)
    adult = []
    locate.locate(
        stub_model([150.0], images=adult), StubVertebrae(chain(FIVE), []),
        make_projection(),
    )  # fmt: skip
    assert len(adult) == 1


def test_the_packaged_model_is_calibrated_and_small():
    loaded = model.load()
    assert loaded.calibration != confidence.UNCALIBRATED
    assert model.PACKAGED_FILE.stat().st_size < 1.7e6
    by_name = dict(
        zip(LEVEL_FEATURES, loaded.calibration.level.coefficients, strict=True)
    )
    assert by_name["numbering"] > 0 > by_name["frontal_distance"]


def test_a_model_is_stored_with_the_same_bytes_each_time(tmp_path):
    loaded, contents = model.load(), set()
    for i in range(12):
        model.save(tmp_path / str(i), loaded)
        contents.add((tmp_path / str(i)).read_bytes())
    assert len(contents) == 1


def test_a_calibration_is_stored_unchanged_and_another_one_is_refused(tmp_path):
    loaded = model.load()
    path = tmp_path / "m.safetensors"
    model.save(path, loaded)
    assert model.load(path).calibration == loaded.calibration
    text = json.dumps(loaded.calibration.to_json())
    assert confidence.from_json(json.loads(text)) == loaded.calibration
    short = Logistic((1.0,), 0.0)
    model.save(path, loaded._replace(calibration=Calibration(short, short, short)))
    with pytest.raises(DataError, match=r"m\.safetensors is no model of this version"):
        model.load(path)


def test_a_chain_that_is_longer_than_one_program_has_all_its_signs():
    loaded, p = model.load(), make_projection()
    picture = slab.make(p.spine)
    longest = chain(TOP_MM - 2.0 - 5.0 * np.arange(model.BODIES_AT_ONCE + 9), s1=True)
    bodies = longest.bodies
    signs = loaded.signs(p, picture, longest)
    assert len(signs.ribs) == len(bodies)  # One above the chain, and none of S1.
    # The vertebrae far from the cut have the same neighbours, and so the same signs.
    half = loaded.signs(p, picture, longest._replace(bodies=bodies[-12:]))
    np.testing.assert_allclose(signs.ribs[-10:], half.ribs[-10:], atol=1e-5)
    assert len(signs.names) == len(bodies)
    np.testing.assert_allclose(signs.names[-10:], half.names[-10:], atol=1e-4)
    np.testing.assert_allclose(np.exp(signs.names).sum(1), 1, rtol=1e-5)
    assert signs.sacrum == pytest.approx(half.sacrum, abs=1e-5)
