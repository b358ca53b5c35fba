"""Models of the lateral projection: their image, their file, and the vertebrae."""

import json

import jax
import numpy as np
import pytest

from l3spot.backbones.pretrained import safetensors_file
from l3spot.localize import frontal, model, network, preprocess
from l3spot.localize.model import UNCALIBRATED, Model
from l3spot.localize.preprocess import FRONTAL, LATERAL
from l3spot.vertebrae import locate
from mtl.host.errors import DataError
from tests.l3spot.stub_model import stub_model
from tests.l3spot.vertebrae import stub

SPINE_MM = 60.0  # Of the column of bone in a lateral projection.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Returns an untrained model of the lateral projection, and its file."""
    params = jax.tree.map(np.asarray, network.CNN4.init(jax.random.key(0)))
    made = Model(params, 0.0, 900.0, UNCALIBRATED, "untrained", view=LATERAL)
    path = tmp_path_factory.mktemp("models") / "lateral"
    model.save(path, made)
    return made, path


def changed_view(made, path, view):
    """Writes a model with another view in its file; None writes none."""
    model.save(path, made)
    params, metadata = safetensors_file.load(path, model.KIND)
    stored = json.loads(metadata["model"])
    del stored["view"]
    stored |= {} if view is None else {"view": view}
    safetensors_file.save(path, model.KIND, params, {"model": json.dumps(stored)})
    return path


def test_the_file_holds_the_view(saved):
    made, path = saved
    assert model.load(path).view == made.view == LATERAL


def test_files_without_a_view_are_frontal(saved, tmp_path):
    assert model.load(changed_view(saved[0], tmp_path / "m", None)).view == FRONTAL
    assert model.load().view == FRONTAL  # The packaged one.


def test_unknown_views_are_refused(saved, tmp_path):
    with pytest.raises(DataError, match="view 'oblique' is not known"):
        model.load(changed_view(saved[0], tmp_path / "m", "oblique"))


def test_phantoms_need_a_frontal_model(saved):
    with pytest.raises(DataError, match="model of the lateral projection"):
        model.load_frontal(saved[1])
    assert model.load_frontal(model.PACKAGED_FILE).view == FRONTAL


def test_a_lateral_image_is_centred_on_the_spine_at_the_back():
    """Not on the middle of all bone: there are ribs in front, and hips."""
    hu = np.full((300, 160), 40, np.int16)
    hu[:, 110:130] = 400  # The spine.
    hu[:120, 20:24] = 900  # The breastbone.
    hu[200:, 40:100] = 900  # The hips.
    cut, frontal_cut = (
        preprocess.crop_to_spine(hu, 100, view) for view in preprocess.VIEWS[::-1]
    )
    assert cut.shape == (300, 100)
    # Some of the hips lie beside the spine.
    assert np.flatnonzero(cut[150] == 400).mean() == pytest.approx(49.5, abs=6)
    assert np.flatnonzero(frontal_cut[150] == 400).mean() > 60


def projection():
    """Has a bright column in the frontal view, and another one in the lateral."""
    p = stub.projection()
    lateral = np.full((stub.ROWS, 120), -1000.0, np.float32)
    lateral[:, int(SPINE_MM)] = 900
    lateral[100:102, int(SPINE_MM) + 10] = 700
    return p._replace(lateral=lateral, y=np.arange(120.0))


def test_the_image_is_the_projection_of_the_models_view():
    images = []
    seen = stub_model([130.0, 130.0], images=images)
    frontal.find(seen, projection())
    found = frontal.find(seen._replace(view=LATERAL), projection())
    assert found.z_mm == stub.TOP_MM + 0.5 - 130
    assert not images[0].any()
    assert np.flatnonzero(images[1][0]).tolist() == [preprocess.WIDTH_PX // 2]
    assert np.flatnonzero(images[1][:, preprocess.WIDTH_PX // 2 + 5]).tolist() == [50]


def test_the_vertebrae_are_found_with_a_lateral_model_and_small_ones_magnified():
    l3_mm = stub.TOP_MM + 0.5 - 120
    z_mm = l3_mm + 0.5 * stub.PITCH_MM * np.array([2, 1, 0, -1, -2])
    images, vertebrae = [], stub.StubVertebrae(stub.chain(z_mm), [])
    lateral = stub_model([150.0, 247.0], images=images)._replace(view=LATERAL)
    found = locate.locate(lateral, vertebrae, projection())
    scale = locate.ADULT_PITCH_MM / (0.5 * stub.PITCH_MM)
    assert [len(image) for image in images] == [120, round(120 * scale)]
    assert all(image.any() for image in images)
    assert found.frontal.z_mm == pytest.approx(stub.TOP_MM + 0.5 - 247 / scale)
    assert found.spine.numbering.l3_z_mm == pytest.approx(l3_mm)
