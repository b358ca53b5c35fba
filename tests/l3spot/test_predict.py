"""Predictions for folders of scans, and their pages and files."""

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jsonschema
import numpy as np
import pytest

from l3spot import evaluate, predict
from l3spot.batch import run
from l3spot.localize import model, network
from l3spot.localize.model import Calibration, Model
from l3spot.projections import mip
from l3spot.report import html_page, metrics, result
from l3spot.report.corrected_scan import FINAL_LEVEL, FinalAnswer
from l3spot.report.predict_scan import PredictOptions
from l3spot.report.results_file import LevelRow, ResultRow
from l3spot.vertebrae import model as vertebra_model
from l3spot.vertebrae.model import VertebraModel
from mtl.host.errors import ConfigError, DataError, WorkdirError
from tests import program
from tests.l3spot import series as write
from tests.l3spot.trunk import SLICES, STEP, Z0, images, trunk

LAUNCHERS = Path(predict.__file__).parent
SURE, UNSURE = (Calibration((0.0,) * model.FEATURE_COUNT, b) for b in (5.0, -5.0))


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(np.asarray, network.CNN4.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def checkpoints(params, tmp_path_factory):
    """Writes untrained models, one with high and one with low confidence."""
    folder = tmp_path_factory.mktemp("models")
    for name, calibration in (("sure", SURE), ("unsure", UNSURE)):
        made = Model(params, 0.0, 900.0, calibration, "trained on nothing")
        model.save(folder / name, made)
    return folder


@pytest.fixture
def scans(tmp_path):
    root = tmp_path / "scans"
    write.write(root / "a b", images(trunk()))
    write.write(root / "few", images(trunk())[:3])
    return root


def rows(out):
    return list(csv.DictReader((out / "results.csv").read_text().splitlines()))


def test_each_scan_has_a_row_and_the_failed_one_a_reason(scans, checkpoints, tmp_path):
    out = tmp_path / "out"
    predict.predict(scans, out, checkpoints / "sure")
    good, bad = rows(out)
    assert (good["scan"], good["status"]) == ("a b", "found")
    assert (bad["scan"], bad["status"]) == ("few", "failed")
    assert "3 slices are too few" in bad["why"]
    # The slice is the nearest to z, and its file and UID are its own.
    z, index = float(good["z_mm"]), int(good["slice_index"])
    heights = Z0 + STEP * np.arange(SLICES)
    assert index == np.abs(heights - z).argmin()
    assert float(good["slice_z_mm"]) == heights[index]
    assert (float(good["slice_mm"]), float(good["low_mm"])) == (STEP, Z0)
    assert good["file"].endswith(f"IM{index:04d}")
    assert good["sop_instance_uid"].startswith("1.2.3.4.")
    top = heights[-1]
    assert float(good["row"]) == pytest.approx(top + 0.5 - z, abs=0.02)
    assert (out / "a b.png").read_bytes()[:4] == b"\x89PNG"
    stored = json.loads((out / "a b.json").read_text())
    assert stored["sop_instance_uid"] == good["sop_instance_uid"]
    point = json.loads((out / "a b.mrk.json").read_text())["markups"][0]
    assert point["coordinateSystem"] == "LPS"
    assert point["controlPoints"][0]["position"][2] == pytest.approx(z, abs=0.01)
    assert "few" in (out / "index.html").read_text()


def test_scans_without_l3_get_no_position(scans, checkpoints, tmp_path):
    out = tmp_path / "out"
    predict.predict(scans, out, checkpoints / "sure")
    predict.predict(scans, out, checkpoints / "unsure")
    row = rows(out)[0]
    assert row["status"] == "not in view"
    assert row["z_mm"] == row["slice_index"] == row["sop_instance_uid"] == ""
    assert not (out / "a b.mrk.json").exists()  # The previous run's is deleted.


def test_no_data_of_the_patient_are_written(scans, checkpoints, tmp_path):
    out = tmp_path / "out"
    predict.predict(scans, out, checkpoints / "sure")
    for path in out.rglob("*"):
        content = path.read_bytes()
        assert b"Doe" not in content, path
        assert b"secret" not in content, path


def test_results_are_not_written_among_scans(scans, checkpoints):
    with pytest.raises(WorkdirError, match="lies in"):
        predict.predict(scans, scans / "out", checkpoints / "sure")


def test_files_without_a_model_are_refused(params, tmp_path):
    with pytest.raises(DataError, match="no file"):
        model.load(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match="no whole safetensors"):
        model.load(tmp_path / "text")
    odd = Model(params, 900.0, 0.0, SURE, "")
    model.save(tmp_path / "odd", odd)
    with pytest.raises(DataError, match="no model of this version"):
        model.load(tmp_path / "odd")
    with pytest.raises(DataError, match="none cannot be read"):
        run.make_worker(tmp_path, tmp_path / "none", PredictOptions())


def test_another_model_of_the_vertebrae_is_used(scans, checkpoints, tmp_path):
    own, frontal = tmp_path / "own", checkpoints / "sure"
    network_params = vertebra_model.init(jax.random.key(0))
    vertebra_model.save(own, VertebraModel(network_params, "mine"))
    worker = run.make_worker(tmp_path, frontal, PredictOptions(), own)
    loaded = run.load_models(worker.checkpoint, worker.vertebrae, worker.models_hash)
    assert loaded.vertebrae.about == "mine"
    packaged = run.make_worker(tmp_path, frontal, PredictOptions())
    assert worker.models_hash != packaged.models_hash
    other = r"holds a model of the frontal .*\(for --checkpoint\), not a model of the v"
    with pytest.raises(DataError, match=other):
        predict.predict(scans, tmp_path / "out", vertebrae=frontal)
    with pytest.raises(DataError, match=r"holds a model of the vert.*, not a mod"):
        predict.predict(scans, tmp_path / "out", own)
    paper = PredictOptions(method=predict.PAPER)
    with pytest.raises(ConfigError, match=r"vertebrae_checkpoint=.*own needs --method"):
        predict.predict(scans, tmp_path / "out", options=paper, vertebrae=own)


def test_a_saved_model_is_loaded_unchanged(params, tmp_path):
    made = Model(params, 0.0, 900.0, SURE, "about")
    model.save(tmp_path / "m", made)
    back = model.load(tmp_path / "m")
    assert back[1:] == made[1:]
    same = jax.tree.map(np.array_equal, back.params, made.params)
    assert all(jax.tree.leaves(same))


def test_the_packaged_model_fits_its_network(tmp_path):
    """`model.load` checks this in all files but that one."""
    shutil.copy(model.PACKAGED_FILE, tmp_path / "copy")
    assert model.load(tmp_path / "copy").about == model.load().about


def test_a_prediction_starts_without_packages_that_it_does_not_need():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, l3spot.predict; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"optax", "orbax", "matplotlib", "highdicom", "nibabel", "ray"}
    assert not heavy & set(done.stdout.split())


def test_the_packaged_model_is_small_and_predicts(scans, tmp_path):
    assert model.PACKAGED_FILE.stat().st_size < 2e6
    predict.predict(scans, tmp_path / "out")
    assert rows(tmp_path / "out")[0]["status"] in (result.IN_VIEW, result.NOT_IN_VIEW)


def test_the_packaged_model_is_right_about_real_scans(real_data, tmp_path):
    """L3 as read by eye, to 1.6, 3 and 3 mm; one scan ends at the chest."""
    if not (real_data / "ct").is_dir():
        pytest.skip(f"there is no ct in {real_data.name}/")
    predict.predict(real_data / "ct", tmp_path / "out")
    by_scan = {row["scan"]: row for row in rows(tmp_path / "out")}
    for name, z_mm in (
        ("abdomen_portal", 67.2), ("abdomen_pelvis_ffs", -179.5),
        ("lumbar_small_field", -79.5),
    ):  # fmt: skip
        assert float(by_scan[f"{name}.zip"]["z_mm"]) == pytest.approx(z_mm, abs=3.0)
    assert by_scan["wholebody_head.zip"]["status"] == result.NOT_IN_VIEW


def test_the_launcher_reports_failed_scans(scans, checkpoints, tmp_path):
    flags = ["--out", tmp_path / "o", "--checkpoint", checkpoints / "sure"]
    done = program.run("l3spot.predict", "--scans", scans, *flags)
    assert done.returncode == 1
    assert "1 scan failed" in done.stderr
    assert "found in 1 of 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_lists_low_confidence_first_and_escapes_names():
    html = html_page.render(
        [
            ResultRow("sure", "found", "L3", 0.9, trust=0.9),
            ResultRow("<b>", "found", "L3", 0.2, trust=0.2),
            ResultRow("bad", "failed", why="a & b"),
        ],
        "x < y",
    )
    body = html[html.index("<tbody>") :]
    assert "<b>" not in html
    assert "a &amp; b" in html
    assert "x &lt; y" in html
    order = [
        body.index(f"<td>{s}") for s in ("bad", '<a href="#%3Cb%3E"', '<a href="#sure')
    ]
    assert order == sorted(order)


def test_z_follows_from_the_row(params):
    """Row r of the projection spans r to r + 1 mm, its middle at z[r]."""
    hu = np.zeros((40, 60), np.float32)
    z = 100.0 - np.arange(40)
    p = mip.Projection(hu, hu, z, np.arange(60.0), np.arange(60.0), z.astype(int))

    class Stub:
        z = np.arange(61.0, 101.0)

    got = result.find_l3(Model(params, 0.0, 900.0, SURE, ""), p, Stub())
    assert got.z_mm == pytest.approx(100.5 - got.row_mm)
    assert 0 <= got.row_mm <= 40


def test_errors_are_those_of_numpy():
    true = np.array([0.0, 10, 20, 30, math.nan, math.nan])
    predicted = np.array([1.0, 14, 45, math.nan, 5, math.nan])
    e = metrics.errors(predicted, true)
    assert e["mean_mm"] == pytest.approx(10)
    assert e["std_mm"] == pytest.approx(np.std([1, 4, 25]))
    assert (e["median_mm"], e["max_mm"], e["compared"]) == (4, 25, 3)
    assert e["within_5_mm"] == pytest.approx(2 / 3)
    assert e["wrong_vertebra"] == pytest.approx(1 / 3)
    assert (e["missed"], e["false_alarms"]) == (0.25, 0.5)
    nothing = metrics.errors(np.array([math.nan]), np.array([1.0]))
    assert nothing == {"scans": 1, "compared": 0, "missed": 1}


def test_results_are_compared_with_labels(tmp_path):
    results, labels = tmp_path / "r.csv", tmp_path / "l.csv"
    results.write_text("scan,status,z_mm\na,found,12\nb,not in view,\nc,failed,\n")
    labels.write_text("scan,z_mm\na,10\nb,\nc,3\nd,4\n")
    e = evaluate.evaluate(results, labels).errors
    assert (e["scans"], e["mean_mm"], e["false_alarms"]) == (2, 2, 0)
    labels.write_text("scan,z_mm\nx,10\n")
    with pytest.raises(DataError, match="no scan in common"):
        evaluate.evaluate(results, labels)
    labels.write_text("scan,slice_index\na,10\n")
    with pytest.raises(DataError, match="give z_mm"):
        evaluate.evaluate(results, labels)
    with pytest.raises(DataError, match=r"no results\.csv"):
        evaluate.evaluate(labels, labels)


@pytest.fixture(scope="module")
def schema():
    return json.loads((LAUNCHERS / "report" / "result.schema.json").read_text())


def test_results_fit_their_schema(scans, checkpoints, tmp_path, schema):
    for answer in ("sure", "unsure"):
        predict.predict(scans, tmp_path / answer, checkpoints / answer)
        for name in ("a b", "few"):
            content = json.loads((tmp_path / answer / f"{name}.json").read_text())
            jsonschema.validate(content, schema)
            assert set(content) == set(schema["required"]) | {"made_by"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"confidence": 2}, schema)
    assert set(schema["required"]) == set(ResultRow._fields)
    final = set(schema["properties"]) - set(schema["required"]) - {"made_by"}
    assert final == set(FinalAnswer._fields)
    level = schema["properties"]["levels"]["items"]
    assert set(level["required"]) == set(LevelRow._fields)
    assert set(level["properties"]) == {*LevelRow._fields, FINAL_LEVEL}


def test_results_are_printed_as_json_and_need_no_folder(scans, checkpoints, schema):
    before = set(scans.parent.iterdir())
    flags = ["--checkpoint", checkpoints / "sure", "--json", "--workers", "1"]
    done = program.call("l3spot.predict", "--scans", scans, *flags)
    assert done.returncode == 1
    assert "1 scan failed" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["scan"] for line in lines] == ["a b", "few"]
    for line in lines:
        jsonschema.validate(line, schema)
    assert set(scans.parent.iterdir()) == before
    done = program.call("l3spot.predict", "--scans", scans / "a b", *flags)
    assert done.returncode == 0
    done = program.call("l3spot.predict", "--scans", scans)
    assert "--out must be given" in done.stderr
