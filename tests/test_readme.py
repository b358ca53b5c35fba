"""The examples in docs/extending.md run as they stand, and links lead to files."""

import ast
import re

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix, mean_squared_error

from configs.l3spot import phantom
from configs.mtl import digits
from configs.structured import digits as completion
from l3spot.training import experiment as l3spot_training
from mtl import experiment, predict
from mtl.data import datasets
from structured import data as structured_data
from structured import experiment as structured_output
from tests.conftest import ROOT
from tests.l3spot.training.bars import images_of_bars

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
COMMANDS = [
    *GUIDES,
    *sorted(p for s in ("mtl", "structured", "l3spot") for p in ROOT.glob(f"{s}/*.py")),
    *sorted(ROOT.glob("jobs/*")),
]
FOLDERS = "mtl|structured|l3spot|configs|experiments|tests|benchmarks|docs"
README_LINES = 150


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_paths_in_code_spans_exist(page):
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)(?::\w+)?`", page.read_text())
    assert [p for p in paths if not (ROOT / p).exists()] == []


@pytest.mark.parametrize("page", COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_configs_and_so_work_from_any_folder(page):
    """A wheel has no folder `configs`, but its commands know the names of configs."""
    assert re.findall(r"(?i)config[= ]configs/\S+", page.read_text()) == []


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= README_LINES


def examples(heading):
    """The examples of docs/extending.md below a heading."""
    page = (ROOT / "docs" / "extending.md").read_text()
    section = re.split(r"^#+ ", page.split(f"# {heading}\n")[1], flags=re.M)[0]
    return re.findall(r"```python\n(.*?)```", section, re.S)


@pytest.mark.parametrize(
    "heading",
    [
        "Tasks of your own",
        "A schedule of your own",
        "Loss weights that adapt",
        "An encoder of your own",
        "Metrics",
        "A metric of system 2",
        "A metric of system 3",
    ],
)
def test_an_extension_is_short(heading):
    for code in examples(heading):
        assert len([line for line in code.splitlines() if line]) <= 20


@pytest.mark.slow
def test_the_examples_run_in_the_order_of_the_page(capsys, tmp_path, monkeypatch):
    """Names of one example do not break those that need names of an earlier one."""
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(examples("Tasks of your own")), names)
    text, value = capsys.readouterr().out.rsplit(":", 1)
    assert text == "mean loss of the labelled examples"
    assert 0 < float(value) < 0.2
    (stream,) = examples("Data that do not fit into memory")
    (scikit_learn,) = examples("In scikit-learn")
    (flax,) = examples("A Flax module in a task of your own")
    exec(stream, names)
    text, value = capsys.readouterr().out.rsplit("\n", 2)[1].rsplit(":", 1)
    assert text == "validation loss"
    assert 0 < float(value) < 0.2
    exec(scikit_learn, names)
    accuracy, best = capsys.readouterr().out.splitlines()
    assert 0.7 < float(accuracy.split(":")[1]) < 1
    assert best.startswith("best: {'sigma': ")
    exec(flax, names)
    row = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert row["epoch"] == 100
    assert 0 < row["valid/loss"] < 0.2


@pytest.mark.slow
def test_the_examples_of_your_own_schedule_and_weighting(capsys):
    names = {}
    exec("\n".join(examples("Tasks of your own")), names)
    (schedule,), (weighting,) = map(
        examples, ("A schedule of your own", "Loss weights that adapt")
    )
    exec(schedule, names)
    rows = names["loss_weights"]
    assert rows.shape == (100, 2)
    np.testing.assert_allclose(rows[[0, 25, 50, 99]].T[0], [1, 0.5, 0, 0], atol=1e-12)
    capsys.readouterr()
    exec(weighting, names)
    assert capsys.readouterr().out.startswith("loss weights: [")
    state, metrics = names["state"], names["metrics"]
    means = metrics.loss / metrics.rows
    np.testing.assert_allclose(state.weighting_state, means, 1e-6)
    assert (metrics.loss_weights > 0).all()
    assert not np.allclose(metrics.loss_weights, 1)


@pytest.mark.slow
def test_the_example_of_your_own_metric(tmp_path, monkeypatch):
    (code,) = examples("Metrics")
    (tmp_path / "kappa.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    c = digits.get_config("smoke")
    c.epochs, c.optim.decay_epochs, c.eval_every, c.schedule.t1 = 6, 0, 2, 1
    c.metrics, c.monitor, c.monitor_mode = ("kappa:kappa",), "valid/kappa", "max"
    rows = []
    run = experiment.train_and_evaluate(c, tmp_path / "run", callbacks=[rows.append])
    best = max(rows, key=lambda row: row["valid/kappa"])
    assert run.summary["best_epoch"] == best["epoch"]
    test = datasets.load(c.data).test
    guess = predict.predict(tmp_path / "run", test.x).argmax(1)
    expected = cohen_kappa_score(test.y, guess)
    assert run.summary["best"]["test/kappa"] == pytest.approx(expected, abs=1e-5)
    matrix = run.summary["test"]["confusion"]
    np.testing.assert_array_equal(matrix, confusion_matrix(test.y, guess))


@pytest.mark.slow
def test_the_example_of_a_metric_of_system_2(tmp_path, monkeypatch):
    (code,) = examples("A metric of system 2")
    (tmp_path / "r2.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    c = completion.get_config("smoke")
    c.epochs, c.eval_every = 4, 1
    c.metrics, c.monitor, c.monitor_mode = ("r2:r2",), "valid/r2", "max"
    rows = []
    run = structured_output.train_and_evaluate(
        c, tmp_path / "run", callbacks=[rows.append]
    )
    best = max(rows, key=lambda row: row["valid/r2"])
    assert run.summary["best_epoch"] == best["epoch"]
    truth = structured_data.load(c).test.y
    # Not scikit-learn's r2_score, which leaves out pixels that are always the same.
    expected = 1 - mean_squared_error(truth, run.predicted) / truth.var(0).mean()
    assert run.summary["test"]["r2"] == pytest.approx(expected, abs=1e-4)
    c.variant = "mean"
    assert structured_output.train_and_evaluate(c, tmp_path / "mean").summary["best"][
        "train/r2"
    ] == pytest.approx(0, abs=0.05)


@pytest.mark.slow
def test_the_example_of_a_metric_of_system_3(tmp_path, monkeypatch):
    (code,) = examples("A metric of system 3")
    (tmp_path / "rms.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    c = phantom.get_config("smoke")
    c.epochs, c.windows, c.data.validation, c.data.test = 2, 2, 8, 4
    c.model.backbone, c.mirror = "cnn4", False
    c.metrics, c.monitor, c.monitor_mode = ("rms:rms",), "valid/rms", "min"
    rows = []
    run = l3spot_training.train_and_evaluate(
        c, tmp_path / "run", images_of_bars(), callbacks=[rows.append]
    )
    best = min(rows, key=lambda row: row["valid/rms"])
    assert run.summary["best_epoch"] == best["epoch"]
    for name in ("valid", "augmented", "test"):
        e = run.summary[name]
        assert e["rms"] == pytest.approx(np.hypot(e["mean_mm"], e["std_mm"]), rel=1e-5)
