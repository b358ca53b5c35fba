"""Tests predictions for own arrays by a run on arrays."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs.structured import digits
from mtl.host.errors import WorkdirError
from structured import experiment, trained
from tests import program
from tests.mtl.images import assert_refused


def train(folder, name, dtype):
    """Trains on images of a type; returns the run's folder and the test images."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 3, 2))
    x = x.astype(np.uint8) if dtype == np.uint8 else (x / 100).astype(dtype)
    y = rng.uniform(-3, 3, (40, 4))
    path = folder / f"{name}.npz"
    np.savez(path, x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    c = digits.get_config("smoke")
    c.data.source, c.data.path, c.data.pairs = "npz", str(path), -1
    c.model.x_activation = c.model.y_activation = "linear"
    experiment.train_and_evaluate(c, folder / name)
    return folder / name, x[30:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {n: train(folder, n, t) for n, t in (("grey", np.uint8), ("real", float))}


@pytest.mark.parametrize("name", ["grey", "real"])
def test_the_launcher_predicts_as_the_run_did(runs, name, tmp_path):
    run, x = runs[name]
    own = np.load(run / "predictions.npz")["predicted"]
    np.savez(tmp_path / "new x.npz", x=x)
    out = tmp_path / "new" / "the results"
    flags = [f"--workdir={run}", f"--data={tmp_path / 'new x.npz'}", f"--out={out}"]
    done = program.call("structured.predict", *flags)
    assert done.returncode == 0, done.stderr
    assert "10 predictions in" in done.stdout
    y = np.load(out / "predictions.npz")["y"]
    np.testing.assert_array_equal(y, own)
    rows = list(csv.reader((out / "predictions.csv").read_text().splitlines()))
    assert rows[0] == ["row", "y1", "y2", "y3", "y4"]
    assert [row[0] for row in rows[1:]] == [str(i) for i in range(10)]
    written = np.array([row[1:] for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(written, y)


def test_x_of_another_kind_is_refused(runs, tmp_path):
    (grey, bytes_), (real, numbers) = runs["grey"], runs["real"]

    def refused(run, x, *parts):
        assert_refused(lambda: trained.predict_arrays(run, x, "new.npz: x"), *parts)

    refused(grey, bytes_ / 255, "new.npz: x is float64", "give uint8")
    refused(real, bytes_, "new.npz: x is uint8", "not scaled")
    refused(real, numbers[:, :2], "[10, 2, 2]", "rows of [3, 2]", "give [N, 3, 2]")
    refused(real, numbers[0], "[3, 2]", "give [N, 3, 2]")
    refused(real, numbers[:0], "[0, 3, 2]")
    refused(real, np.array(1.0), "new.npz: x is []")
    refused(real, numbers.astype(str), "make it numbers")
    refused(real, np.full_like(numbers, np.nan), "must be finite")


def test_whole_numbers_of_any_type_are_numbers(runs):
    run, x = runs["real"]
    whole = np.round(x)
    expected = trained.predict_arrays(run, whole)
    for dtype in (np.int64, np.uint16, np.float16):
        np.testing.assert_array_equal(
            trained.predict_arrays(run, whole.astype(dtype)), expected
        )


def test_flags_and_files_are_checked(runs, tmp_path):
    run, x = runs["real"]
    path = tmp_path / "x.npz"
    np.savez(path, images=x)

    def refused(*parts, **flags):
        flags = {"workdir": run, "out": tmp_path / "out"} | flags
        given = [f"--{name}={value}" for name, value in flags.items()]
        done = program.call("structured.predict", *given)
        assert done.returncode == 1
        for part in parts:
            assert part in done.stderr
        assert not (tmp_path / "out").exists()

    refused("--data=FILE.npz", "--images=DIR")
    refused("--data=FILE.npz", data=path, images=tmp_path)
    refused(f"{path} has no x; it has images", data=path)
    refused("no.npz: no such file", data=tmp_path / "no.npz")
    refused(f"{run} holds a run on npz", "landmarks need", images=tmp_path)


def test_a_file_of_x_is_not_replaced(runs, tmp_path):
    run, x = runs["real"]
    np.savez(tmp_path / "predictions.npz", x=x)
    flags = [f"--workdir={run}", f"--out={tmp_path}"]
    flags += [f"--data={tmp_path / 'predictions.npz'}"]
    done = program.call("structured.predict", *flags)
    assert done.returncode == 1
    assert "would replace" in done.stderr
    assert list(np.load(tmp_path / "predictions.npz")) == ["x"]


def test_runs_of_an_earlier_version_do_not_say_their_type(runs, tmp_path):
    run, x = runs["grey"]
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    summary = json.loads((folder / "summary.json").read_text())
    del summary["grey_levels"]
    (folder / "summary.json").write_text(json.dumps(summary))
    np.testing.assert_array_equal(
        trained.predict_arrays(folder, x), trained.predict_arrays(run, x)
    )


def test_runs_on_faces_are_refused(runs, tmp_path):
    run, x = runs["real"]
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    config = json.loads((folder / "config.json").read_text())
    config["data"]["source"] = "300w"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WorkdirError, match="holds a run on 300w; arrays need"):
        trained.predict_arrays(folder, x)
