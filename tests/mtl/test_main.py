import csv
import json
import shutil

import jax.export
import matplotlib.image
import numpy as np
import pytest
import sklearn.datasets

from configs.mtl import digits
from mtl import experiment, figures, networks, predict
from mtl.data import datasets
from mtl.host import launch, logs
from mtl.host.errors import ConfigError, DataError, WorkdirError
from tests import program

FIGURES = ("curves", "mistakes", "reconstructions", "weights")


def tiny(**changes):
    """The smoke config, but shorter; `a__b=1` changes config.a.b."""
    c = digits.get_config("smoke")
    c.epochs, c.optim.decay_epochs, c.eval_every, c.save_every = 6, 1, 2, 2
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return c


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a finished run, and its result; tests leave the folder as it is."""
    folder = tmp_path_factory.mktemp("runs") / "new" / "tiny"
    return folder, experiment.train_and_evaluate(tiny(), folder)


@pytest.fixture(scope="module")
def digits_test(tmp_path_factory):
    """The digits' test images as a file, and their labels."""
    images = datasets.load(tiny().data).test
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, x=images.x.reshape(-1, 8, 8))
    return path, images.y


def read(folder, name):
    return json.loads((folder / name).read_text())


def contents(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def assert_whole(folder):
    """Every file of a finished run is there, and nothing half written."""
    files = {f"{name}.png" for name in FIGURES} | {"metrics.jsonl"}
    files |= {f"{name}.json" for name in ("config", "data", "environment", "summary")}
    files |= {"checkpoints", "tensorboard", ".lock"}
    assert {p.name for p in folder.iterdir()} == files
    hidden = {p.name for p in folder.rglob("*") if p.name[0] == "." or "tmp" in p.name}
    assert hidden == {".lock"}
    assert list((folder / "tensorboard").iterdir())


def assert_drawn(path):
    image = matplotlib.image.imread(path)
    assert min(image.shape[:2]) > 100
    assert image[..., :3].std() > 0.01


def test_a_run_leaves_all_its_files(run):
    folder, _ = run
    assert_whole(folder)
    assert read(folder, "config.json") == json.loads(tiny().to_json())
    assert read(folder, "data.json")["shape"] == [8, 8]
    assert read(folder, "data.json")["classes"] == 10


@pytest.mark.parametrize("name", FIGURES)
def test_figures_show_something(run, name):
    assert_drawn(run[0] / f"{name}.png")


def test_the_log_has_the_evaluated_epochs(run):
    rows = logs.read_rows(run[0])
    assert [row["epoch"] for row in rows] == [2, 4, 6]
    for row in rows:
        assert row["weight/reconstruct"] + row["weight/classify"] == pytest.approx(1)
        assert all(np.isfinite(value) for value in row.values())


def test_the_summary_agrees_with_log_and_result(run):
    folder, result = run
    summary, rows = read(folder, "summary.json"), logs.read_rows(folder)
    assert summary == result.summary
    assert summary["epochs"] == 6
    assert (summary["labelled"], summary["unlabelled"]) == (50, 950)
    best = min(rows, key=lambda row: row["valid/error"])
    assert summary["best_epoch"] == best["epoch"]
    for kind, row in (("best", best), ("last", rows[-1])):
        assert summary[kind] == pytest.approx({k: row[k] for k in summary[kind]})


def test_a_finished_run_is_not_trained_again(run, tmp_path, monkeypatch):
    folder, first = shutil.copytree(run[0], tmp_path / "run"), run[1]
    before = contents(folder)
    ran = []
    monkeypatch.setattr("mtl.engine.fit._train_epoch", lambda *args: ran.append(args))
    again = experiment.train_and_evaluate(tiny(), folder)
    assert ran == []
    after = contents(folder)
    kept = [p for p in before if p.parts[0] in ("checkpoints", "metrics.jsonl")]
    assert len(kept) > 2
    assert {p: before[p] for p in kept} == {p: after[p] for p in kept}
    for key in ("best", "last", "best_epoch", "epochs", "seconds"):
        assert again.summary[key] == first.summary[key]
    assert_whole(folder)


def test_a_bad_value_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="method='no_such' must be one of"):
        experiment.train_and_evaluate(tiny(method="no_such"), tmp_path / "run")
    with pytest.raises(DataError, match=r"data\.valid=1297"):
        experiment.train_and_evaluate(tiny(data__valid=1297), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"data\.labelled=1001"):
        experiment.train_and_evaluate(tiny(data__labelled=1001), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_config_is_refused_with_the_difference(run):
    folder, _ = run
    before = contents(folder)
    changed = tiny(seed=3, optim__learning_rate=0.5)
    with pytest.raises(WorkdirError) as e:
        experiment.train_and_evaluate(changed, folder)
    head, *lines = str(e.value).split("\n")
    assert str(folder) in head
    assert "--workdir" in head
    assert [line.strip() for line in lines] == [
        "optim.learning_rate: 0.01 -> 0.5",
        "seed: 0 -> 3",
    ]
    assert contents(folder) == before


def rows_npz(path, shape, test):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 30), ("test", test)):
        arrays[f"x_{part}"] = rng.uniform(size=(n, *shape))
        arrays[f"y_{part}"] = np.arange(n) % 3
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "shape", "test", "names"),
    [
        ({"method": "baseline"}, (4, 5), 20, {"curves", "mistakes", "weights"}),
        (
            {
                "method": "pretraining",
                "schedule__t1": 1,
                "model__hidden": (9, 8),
                "model__activation": "relu",
                "reconstruct__loss": "squared_error",
            },
            (4, 5, 1),
            20,
            set(FIGURES),
        ),
        ({"method": "famo"}, (7,), 20, {"curves", "weights"}),
        ({}, (4, 5, 2), 20, {"curves", "weights"}),
        ({}, (4, 5, 3), 1, set(FIGURES)),
    ],
    ids=["baseline", "pretraining", "no images", "two channels", "one test image"],
)
def test_figures_suit_method_and_data(tmp_path, changes, shape, test, names):
    """Drawn from initial parameters, and a log of two made-up rows."""
    path = rows_npz(tmp_path / "own.npz", shape, test)
    c = tiny(**changes, data__source="npz", data__path=path, data__valid=9)
    dataset = datasets.load(c.data)
    plan = experiment.make_training(tiny(data__labelled=9, **changes), dataset)
    row = {f"{s}/{m}": 0.5 for s in ("valid", "test") for m in ("error", "loss")}
    row |= {f"loss/{task.name}": 0.7 for task in plan.tasks}
    row |= {f"weight/{task.name}": 1.7 for task in plan.tasks}
    with logs.Log(tmp_path, 0, 2) as log:
        log.write({"epoch": 1, **row})
        log.write({"epoch": 2, **row})
    network = networks.build(c, dataset.shape, dataset.classes)
    figures.draw(tmp_path, c, dataset, network, plan, plan.params)
    assert {p.stem for p in tmp_path.glob("*.png")} == names
    for name in names:
        assert_drawn(tmp_path / f"{name}.png")


def test_mistakes_have_the_names_of_the_classes(tmp_path):
    """Which may hold a dollar; Matplotlib would read what follows as a formula."""
    x, names = np.zeros((30, 4, 4), np.uint8), np.array(["a $^$", "b"] * 15)
    path = tmp_path / "own.npz"
    np.savez(path, x_train=x, y_train=names, x_test=x, y_test=names)
    c = tiny(data__source="npz", data__path=str(path), data__valid=9)
    dataset = datasets.load(c.data)
    network = networks.build(c, dataset.shape, dataset.classes)
    figure = figures.mistakes(dataset, network, network.init(jax.random.key(0)))
    assert figures.png(figure)
    first = figure.axes[0].texts[0].get_text()
    assert first.startswith(("a $^$ taken for b", "b taken for a $^$"))


# Prediction


def test_predictions_have_the_error_of_the_summary(run, digits_test):
    folder, result = run
    path, y = digits_test
    x = np.load(path)["x"]
    probability = predict.predict(folder, x)
    assert probability.shape == (500, 10)
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-5)
    error = np.mean(probability.argmax(1) != y)
    assert error == pytest.approx(result.summary["best"]["test/error"], abs=1e-6)
    # Rows are enough, for the shape of an image is only for the eye.
    np.testing.assert_array_equal(
        predict.predict(folder, x.reshape(500, 64)), probability
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["minmax", "standardise"])
def test_own_numbers_and_names_come_back(tmp_path, digits_test, kind):
    """Digits as numbers around 1000 and by name are learned as well as digits."""
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    x, names = 1000 - 3 * x, np.array([f"digit {n}" for n in y])
    arrays = {"x_train": x[:1200], "y_train": names[:1200]}
    path = tmp_path / "own.npz"
    np.savez(path, **arrays, x_test=x[1200:], y_test=names[1200:])
    c = tiny(data__source="npz", data__path=str(path), data__scaling=kind)
    c.reconstruct.loss, c.reconstruct.scale = "squared_error", 0.01
    c.data.labelled, c.data.unlabelled = -1, 0
    c.epochs, c.schedule.t1, c.schedule.sigma = 20, 2, 2.0
    c.optim.learning_rate = 0.1
    result = experiment.train_and_evaluate(c, tmp_path / "run")
    assert result.summary["labelled"] == 1200 - c.data.valid
    assert result.summary["best"]["test/error"] < 0.3
    np.savez(tmp_path / "new.npz", x=x[1200:])
    files = f"--input={tmp_path / 'new.npz'}", f"--output={tmp_path / 'labels'}"
    p = program.run("mtl.predict", f"--workdir={tmp_path / 'run'}", *files)
    assert p.returncode == 0, p.stderr
    with np.load(tmp_path / "labels.npz") as file:
        label = file["label"]
    error = result.summary["best"]["test/error"]
    assert np.mean(label != names[1200:]) == pytest.approx(error, abs=1e-6)
    with open(tmp_path / "labels.csv", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == label.tolist()


@pytest.mark.slow
def test_a_normalised_run_predicts_with_the_statistics_of_its_training(
    tmp_path, digits_test
):
    """One image at a time, which has no statistics of its own."""
    c = tiny(unsupervised="ladder", model__norm="batch", model__noise=0.3)
    c.method, c.order, c.optim.name, c.optim.learning_rate = (
        "constant",
        "joint",
        "adam",
        0.005,
    )
    c.model.activation, c.classify.draws = "relu", 50
    result = experiment.train_and_evaluate(c, tmp_path / "run")
    path, y = digits_test
    x = np.load(path)["x"]
    probability = predict.predict(tmp_path / "run", x)
    error = np.mean(probability.argmax(1) != y)
    assert error == pytest.approx(result.summary["best"]["test/error"], abs=1e-6)
    assert error < 0.5
    alone = predict.predict(tmp_path / "run", x[3:4])
    np.testing.assert_allclose(alone, probability[3:4], rtol=1e-4)
    assert not (tmp_path / "run" / "reconstructions.png").exists()


def test_an_exported_run_predicts_any_number_of_images(run, digits_test, tmp_path):
    folder, _ = run
    path = tmp_path / "network.jax"
    p = program.call("mtl.export", f"--workdir={folder}", f"--out={path}")
    assert p.returncode == 0, p.stderr
    assert "images [N, 8, 8] to probabilities [N, 10]" in p.stdout
    with np.load(digits_test[0]) as images:
        x = images["x"]
    exported = jax.export.deserialize(path.read_bytes())
    for count in (1, 40):
        found = exported.call(x[:count])
        assert found.shape == (count, 10)
        expected = predict.predict(folder, x[:count])
        np.testing.assert_allclose(found, expected, 1e-5, 1e-7)


def test_export_needs_a_file(run, tmp_path):
    p = program.call("mtl.export", f"--workdir={run[0]}", f"--out={tmp_path}")
    assert p.returncode == 1
    assert "--out" in p.stderr


def test_prediction_leaves_a_save_under_way(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    aside = folder / "checkpoints" / "best" / "9.orbax-checkpoint-tmp"
    aside.mkdir()
    predict.predict(folder, np.zeros((1, 8, 8)))
    assert aside.is_dir()


def test_bytes_and_floats_are_predicted_alike(run):
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    floats = x.astype(np.float32) / 255
    np.testing.assert_array_equal(
        predict.predict(run[0], x), predict.predict(run[0], floats)
    )


def test_no_workdir(tmp_path):
    with pytest.raises(WorkdirError, match=r"absent .*there is no config\.json"):
        predict.predict(tmp_path / "absent", np.zeros((1, 8, 8)))
    assert not (tmp_path / "absent").exists()


def test_workdir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match="file"):
        predict.predict(tmp_path / "file", np.zeros((1, 8, 8)))


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_workdir_with_a_broken_config(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WorkdirError, match=r"config\.json"):
        predict.predict(tmp_path, np.zeros((1, 8, 8)))


@pytest.mark.parametrize("killed", [False, True])
def test_untrained_workdir(run, tmp_path, killed):
    """Killed: during its first epoch."""
    for name in ("config.json", "data.json"):
        (tmp_path / name).write_bytes((run[0] / name).read_bytes())
    if killed:
        (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    with pytest.raises(WorkdirError, match="has no checkpoint yet; train it"):
        predict.predict(tmp_path, np.zeros((1, 8, 8)))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 28, 28)), r"here has images of shape \[28, 28\]"),
        (np.zeros((2, 8, 8, 3)), r"here has images of shape \[8, 8, 3\].*on \[8, 8\]"),
        (np.zeros(64), r"here must have the shape \[N, \.\.\.\]"),
        (np.zeros((0, 8, 8)), r"here must have the shape \[N, \.\.\.\]"),
        (np.zeros((2, 8, 8), int), "here is int64; make it uint8"),
        (
            np.full((2, 8, 8), 16.0),
            r"in \[0, 1\]; .* scale it, as the images that the run",
        ),
        (np.full((2, 8, 8), np.nan), r"here must be finite; 2 of 2 rows have NaN"),
    ],
    ids=["size", "colours", "one row", "no rows", "integers", "range", "nan"],
)
def test_images_of_another_kind(run, x, said):
    with pytest.raises(DataError, match=said):
        predict.predict(run[0], x, "here")


# The programs


@pytest.mark.slow
def test_train_and_predict_as_programs(tmp_path, digits_test):
    images, y = digits_test
    folder, output = tmp_path / "run", tmp_path / "labels"
    p = program.run(
        "mtl.main",
        "--config=configs/mtl/digits.py:smoke",
        f"--workdir={folder}",
        "--config.epochs=6",
        "--config.eval_every=3",
        "--config.seed=1",
    )
    assert p.returncode == 0, p.stderr
    assert_whole(folder)
    assert read(folder, "config.json")["seed"] == 1
    summary = read(folder, "summary.json")
    assert f"test error {summary['best']['test/error']:.2%} at the best" in p.stdout
    assert p.stdout.splitlines()[-1] == launch.SMOKE_NOTE
    assert [line[:13] for line in p.stdout.splitlines()[:2]] == [
        "epoch     3 o",
        "epoch     6 o",
    ]

    p = program.call(
        "mtl.predict", f"--workdir={folder}", f"--input={images}", f"--output={output}"
    )
    assert p.returncode == 0, p.stderr
    assert {f.name for f in tmp_path.iterdir()} == {"run", "labels.csv", "labels.npz"}
    with np.load(f"{output}.npz") as file:
        label, probability = file["label"], file["probability"]
    with open(f"{output}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(500))
    assert [int(row["label"]) for row in rows] == label.tolist()
    np.testing.assert_array_equal(label, probability.argmax(1))
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows], probability.max(1), atol=1e-6
    )
    error = summary["best"]["test/error"]
    assert np.mean(label != y) == pytest.approx(error, abs=1e-6)
    assert_whole(folder)


def assert_one_line_error(p, *parts):
    assert p.returncode == 1
    lines = p.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("file", "more", "said"),
    [
        ("no_such.py", (), "no_such.py"),
        ("digits.py:smok", (), "no variant 'smok'"),
        ("digits.py:smoke", ("--config.sede=1",), "sede"),
    ],
)
def test_main_tells_of_a_bad_config(tmp_path, file, more, said):
    p = program.call(
        "mtl.main",
        f"--config=configs/mtl/{file}",
        f"--workdir={tmp_path / 'run'}",
        *more,
    )
    assert p.returncode == 1
    assert p.stderr.startswith("error: ")
    assert said in p.stderr
    assert "Traceback" not in p.stderr


def test_main_tells_of_a_bad_value_in_one_line(tmp_path):
    p = program.call(
        "mtl.main",
        "--config=configs/mtl/digits.py:smoke",
        f"--workdir={tmp_path / 'run'}",
        "--config.reconstruct.level=1.5",
    )
    assert_one_line_error(p, "config.reconstruct.level=1.5 must be from 0 to 1")
    assert list(tmp_path.iterdir()) == []


def test_predict_tells_of_a_missing_run_in_one_line(tmp_path, digits_test):
    absent = tmp_path / "absent"
    p = program.call("mtl.predict", f"--workdir={absent}", f"--input={digits_test[0]}")
    assert_one_line_error(p, f"{absent} ", "there is no config.json")
    assert list(tmp_path.iterdir()) == []


def test_the_config_of_a_study_warns_before_it_trains_one_run(tmp_path, caplog):
    flags = "--config=table1:smoke", "--config.epochs=0"
    p = program.call("mtl.main", f"--workdir={tmp_path / 'run'}", *flags)
    assert_one_line_error(p, "config.epochs=0 must be at least 1")
    (said,) = caplog.messages
    assert said.endswith("`evolving-mtl study` trains config.study, the grid")


@pytest.mark.parametrize("name", ["mine.npz", "mine.csv"])
def test_predict_replaces_no_file_of_the_user(tmp_path, digits_test, name):
    """`--output mine` beside mine.npz, the data of the training."""
    (tmp_path / name).write_bytes(digits_test[0].read_bytes())
    before = contents(tmp_path)
    flags = f"--input={digits_test[0]}", f"--output={tmp_path / 'mine'}"
    p = program.call("mtl.predict", f"--workdir={tmp_path / 'run'}", *flags)
    assert_one_line_error(p, f"would replace {tmp_path / name}", "take another name")
    assert contents(tmp_path) == before


def test_predict_makes_the_folder_of_its_output_and_replaces_its_files(tmp_path):
    output = tmp_path / "new" / "labels"
    for probability in ([[0.2, 0.8]], [[0.6, 0.4]]):
        predict.prepare_output(output)
        predict.write(output, np.array(probability), ("no", "yes"))
    with np.load(f"{output}.npz") as file:
        assert file["label"].tolist() == ["no"]


@pytest.mark.slow
def test_more_epochs_give_what_a_longer_run_gives(tmp_path):
    plain = {"optim__decay_epochs": 0, "method": "exponential"}
    experiment.train_and_evaluate(tiny(epochs=4, **plain), tmp_path / "run")
    longer = experiment.train_and_evaluate(tiny(**plain), tmp_path / "run")
    whole = experiment.train_and_evaluate(tiny(**plain), tmp_path / "whole")
    assert longer.summary["epochs"] == 6
    same = jax.tree.map(np.array_equal, longer.state.params, whole.state.params)
    assert all(jax.tree.leaves(same))
    for key in ("best", "last", "best_epoch"):
        assert longer.summary[key] == whole.summary[key]
    with pytest.raises(WorkdirError, match="epochs: 6 -> 5"):
        experiment.train_and_evaluate(tiny(epochs=5, **plain), tmp_path / "run")


@pytest.mark.parametrize("changes", [{"optim__decay_epochs": 2}, {"method": "linear"}])
def test_more_epochs_are_refused_where_they_change_the_former_ones(tmp_path, changes):
    plain = {"optim__decay_epochs": 0} | changes
    folder = tmp_path / "run"
    experiment.train_and_evaluate(tiny(epochs=2, **plain), folder)
    with pytest.raises(WorkdirError, match="epochs: 2 -> 4"):
        experiment.train_and_evaluate(tiny(epochs=4, **plain), folder)


def test_a_run_that_lost_its_patience_continues_with_more(tmp_path):
    changes = {"optim__learning_rate": 1e-9, "optim__decay_epochs": 0}
    folder = tmp_path / "run"
    short = experiment.train_and_evaluate(tiny(patience=2, **changes), folder)
    assert short.summary["epochs"] < 6
    assert experiment.train_and_evaluate(tiny(**changes), folder).summary["epochs"] == 6
