import json
from types import SimpleNamespace

import pytest

from mtl import compare, config
from mtl.host.errors import ConfigError, WorkdirError
from structured import config as structured_config


def finished(folder, method, seed, error, best=None, seconds=2.0, unlabelled=-1):
    c = config.default()
    c.method, c.seed, c.data.unlabelled = method, seed, unlabelled
    folder.mkdir()
    (folder / "config.json").write_text(c.to_json())
    summary = {"labelled": 100, "unlabelled": 900, "seconds": seconds}
    summary |= {"last": {"test/error": error}}
    summary |= {"best": {"test/error": error if best is None else best}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.jsonl").write_text('{"epoch": 5}\n')
    return folder


def table_rows(runs):
    """The cells of each run's row of the table."""
    lines = compare.table(runs).splitlines()[2:]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_a_baseline_on_other_data_gives_no_gain(tmp_path):
    folders = [finished(tmp_path / m, m, 0, 0.1) for m in ("baseline", "exponential")]
    runs = [compare.read(folder) for folder in folders]
    assert table_rows(runs)[1][6:8] == ["10.00", "+0.00"]
    runs[0].config["data"]["path"] = "elsewhere"
    assert table_rows(runs)[1][6:8] == ["10.00", ""]


def test_no_folder_is_an_error_of_one_line():
    with pytest.raises(ConfigError, match="give the folders of the runs"):
        compare.compare([])


def test_a_run_without_a_log_is_named(tmp_path):
    (finished(tmp_path / "a", "stairs", 0, 0.1) / "metrics.jsonl").unlink()
    with pytest.raises(WorkdirError, match="a has no rows"):
        compare.read(tmp_path / "a")


def test_a_run_of_another_system_is_named(tmp_path):
    folder = finished(tmp_path / "a", "stairs", 0, 0.1)
    (folder / "config.json").write_text(structured_config.default().to_json())
    with pytest.raises(ConfigError, match=r"a/config.json is of another program"):
        compare.read(folder)


def test_a_run_of_an_earlier_version_is_one_of_the_same_config(tmp_path):
    folders = [finished(tmp_path / f"{i}", "stairs", i, 0.1) for i in range(2)]
    older = json.loads((folders[0] / "config.json").read_text())
    del older["monitor_mode"]
    (folders[0] / "config.json").write_text(json.dumps(older))
    assert len(table_rows([compare.read(folder) for folder in folders])) == 1


def other_folders(tmp_path):
    """A run of system 2, an unfinished run, a file."""
    other = finished(tmp_path / "other", "stairs", 0, 0.1)
    (other / "config.json").write_text(structured_config.default().to_json())
    (finished(tmp_path / "stopped", "stairs", 0, 0.1) / "summary.json").unlink()
    (tmp_path / "table.md").write_text("")
    return [str(tmp_path / name) for name in ("other", "stopped", "table.md")]


@pytest.fixture
def no_figure(monkeypatch):
    monkeypatch.setattr(compare.flags, "FLAGS", SimpleNamespace(figure=""))


def test_other_folders_are_left_out_and_named(tmp_path, no_figure):
    run = finished(tmp_path / "a", "stairs", 0, 0.1)
    text = compare.compare([*other_folders(tmp_path), str(run)])
    assert text.startswith(compare.table([compare.read(run)]) + "\n\nLeft out: 3 of 4")
    first, second, third = text.splitlines()[-3:]
    assert first.endswith("other is of another program or version")
    assert "stopped has not finished" in second
    assert "table.md holds no such run" in third


def test_no_run_in_any_folder_is_an_error_that_names_all(tmp_path, no_figure):
    with pytest.raises(WorkdirError, match=r"no run to compare\nLeft out: 3 of 3") as e:
        compare.compare(other_folders(tmp_path))
    assert len(str(e.value).splitlines()) == 5


def test_rows_that_look_alike_have_the_fields_that_differ(tmp_path):
    folders = [finished(tmp_path / f"{i}", "stairs", 0, 0.1) for i in range(2)]
    c = config.default()
    c.method, c.optim.learning_rate, c.data.path = "stairs", 0.5, "here.npz"
    (folders[1] / "config.json").write_text(c.to_json())
    first, second = table_rows([compare.read(folder) for folder in folders])
    assert first[-1] == "data.path='', optim.learning_rate=0.01"
    assert second[-1] == "data.path='here.npz', optim.learning_rate=0.5"
    assert "other fields" not in compare.table([compare.read(folders[0])])


def test_gains_are_paired_by_seed(tmp_path):
    errors = {"baseline": (0.10, 0.20), "exponential": (0.09, 0.17)}
    folders = [
        finished(tmp_path / f"{method}-{seed}", method, seed, error)
        for method, pair in errors.items()
        for seed, error in enumerate(pair)
    ]
    first, second = table_rows([compare.read(folder) for folder in folders])
    settings = ["baseline", "100", "900", "50", "5000", "2"]
    assert first[:8] == [*settings, "15.00 ± 7.07", ""]
    # -1 and -3 points: mean -2, deviation sqrt(2).
    assert second[6:8] == ["13.00 ± 5.66", "-2.00 ± 1.41"]


def test_a_line_has_gain_of_the_last_epoch_best_error_and_mean_time(tmp_path):
    folders = [
        finished(tmp_path / "a", "baseline", 0, 0.10, best=0.05),
        finished(tmp_path / "b", "stairs", 0, 0.08, 0.07, seconds=2.0),
        finished(tmp_path / "c", "stairs", 1, 0.08, 0.07, seconds=4.0),
    ]
    row = table_rows([compare.read(f) for f in folders])[-1]
    assert row[6:] == ["8.00 ± 0.00", "-2.00", "7.00 ± 0.00", "3"]


def test_a_baseline_compares_with_any_number_of_unlabelled_images(tmp_path):
    folders = [
        finished(tmp_path / "a", "baseline", 0, 0.10),
        finished(tmp_path / "b", "stairs", 0, 0.08, unlabelled=900),
    ]
    row = table_rows([compare.read(f) for f in folders])[-1]
    assert row[6:8] == ["8.00", "-2.00"]


@pytest.mark.parametrize("name", ["order", "unsupervised", "save_every"])
def test_a_baseline_may_differ_in_fields_that_it_does_not_use(tmp_path, name):
    folders = [finished(tmp_path / m, m, 0, 0.1) for m in ("baseline", "stairs")]
    runs = [compare.read(folder) for folder in folders]
    runs[0].config[name] = "another"
    assert table_rows(runs)[1][6:8] == ["10.00", "+0.00"]
    runs[0].config["batch_size"] = "another"
    assert table_rows(runs)[1][6:8] == ["10.00", ""]


def test_a_run_that_has_not_finished_is_named(tmp_path):
    (finished(tmp_path / "a", "stairs", 0, 0.1) / "summary.json").unlink()
    with pytest.raises(WorkdirError, match="a has not finished"):
        compare.read(tmp_path / "a")


def test_curves_are_means_over_seeds(tmp_path):
    folders = [finished(tmp_path / f"{i}", "stairs", i, 0.1) for i in range(2)]
    for i, folder in enumerate(folders):
        rows = [
            {"epoch": 5, "test/error": 0.2 + i / 10},
            {"epoch": 9, "test/error": 0.1},
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(text)
    figure = compare.curves([compare.read(folder) for folder in folders])
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [5, 9]
    assert line.get_ydata() == pytest.approx([25, 10])
    assert line.get_label() == "stairs, l = 100, u = 900"
    # The band goes from the least to the most.
    (band,) = figure.axes[0].collections
    corners = {tuple(c) for c in band.get_paths()[0].vertices.round(6).tolist()}
    assert corners == {(5, 20), (5, 30), (9, 10)}


@pytest.mark.parametrize(
    "change",
    [{"last": 3}, {"last": {}}, {"best": {"test/error": "x"}}, {"seconds": {}}],
)
def test_a_damaged_summary_is_named(tmp_path, change):
    folder = finished(tmp_path / "a", "stairs", 0, 0.1)
    content = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(content | change))
    with pytest.raises(WorkdirError, match=r"a/summary.json is damaged"):
        compare.read(folder)


def test_a_damaged_config_is_named(tmp_path):
    folder = finished(tmp_path / "a", "stairs", 0, 0.1)
    content = json.loads((folder / "config.json").read_text())
    content["model"]["hidden"] = "many"
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"a/config.json: config.model.hidden='many'"):
        compare.read(folder)
