import itertools
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from mtl.host.errors import WorkdirError
from mtl.host.shards import Shard
from mtl.study import results, run
from mtl.study.trainer import GroupTrainer
from tests.mtl.study import tiny


def without_seconds(path):
    return [row._replace(seconds=0.0) for row in results.read(path)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run.study(tiny.config(), folder)
    return folder


def test_a_study_has_a_row_for_each_run(whole):
    rows = results.read(whole / "results.csv")
    assert len(rows) == 4 * 2
    assert all(0 < row.test_error < 1 and row.status == "done" for row in rows)
    assert all(row.best_valid_error <= row.valid_error for row in rows)
    assert not (whole / "checkpoints").exists()


def test_what_is_done_is_not_done_again(whole, monkeypatch):
    before = (whole / "results.csv").read_bytes()
    monkeypatch.setattr(run, "_train", lambda *_: pytest.fail("trains again"))
    run.study(tiny.config(), whole)
    assert (whole / "results.csv").read_bytes() == before


@pytest.mark.slow
def test_an_interrupted_study_ends_with_the_same_table(whole, tmp_path, monkeypatch):
    """It is interrupted within its second group, which has a checkpoint."""
    advance, calls = GroupTrainer._advance, itertools.count(1)
    per_group = tiny.config().epochs // tiny.config().eval_every

    def interrupted(*args):
        if next(calls) == per_group + 2:
            raise KeyboardInterrupt
        return advance(*args)

    c = tiny.config(save_minutes=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(GroupTrainer, "_advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.study(c, tmp_path)
    assert list(tmp_path.glob("checkpoints/*/[0-9]*"))
    assert 0 < len(results.read(tmp_path / "results.csv")) < 8
    run.study(c, tmp_path)
    assert without_seconds(tmp_path / "results.csv") == without_seconds(
        whole / "results.csv"
    )


@pytest.mark.slow
def test_shards_of_a_folder_end_with_the_table_of_the_whole(
    whole, tmp_path, monkeypatch
):
    for number in (2, 1):
        rows = run.study(tiny.config(), tmp_path, Shard(number, 2))
        assert 0 < len(rows) < 8
        text = run.make_report(tiny.config(), tmp_path)
        assert f"{8 if number == 1 else len(rows)} of 8 runs are there" in text
    assert without_seconds(tmp_path / "results.csv") == without_seconds(
        whole / "results.csv"
    )
    kept = (tmp_path / "results.csv").read_bytes()
    monkeypatch.setattr(run, "_train", lambda *_: pytest.fail("trains again"))
    run.study(tiny.config(), tmp_path)
    run.study(tiny.config(), tmp_path, Shard(1, 3))
    assert (tmp_path / "results.csv").read_bytes() == kept


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_table(whole, tmp_path):
    """It is killed within a group that has a checkpoint."""
    child = (
        "import sys; from mtl.study import run; from tests.mtl.study import tiny; "
        "run.study(tiny.config(save_minutes=0.0), sys.argv[1])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", child, str(tmp_path)], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("checkpoints/*/[0-9]*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = results.read(tmp_path / "results.csv")
    assert len(found) < 8
    run.study(tiny.config(save_minutes=0.0), tmp_path)
    assert without_seconds(tmp_path / "results.csv") == without_seconds(
        whole / "results.csv"
    )


def test_more_seeds_add_to_what_is_there(whole, monkeypatch):
    trained = []

    def train(trainer, group, folder, bar):
        trained.extend(group.runs)
        p = next(trainer.train(group, folder))
        return results.rows(group.runs, p)

    kept = (whole / "results.csv").read_bytes()
    monkeypatch.setattr(run, "_train", train)
    run.study(tiny.config(seeds=3), whole)
    assert {r.seed for r in trained} == {2}
    assert (whole / "results.csv").read_bytes().startswith(kept)
    (whole / "results.csv").write_bytes(kept)


def test_another_config_in_the_same_folder_is_refused(whole):
    c = tiny.config()
    c.optim.learning_rate = 0.5
    with pytest.raises(WorkdirError, match=r"optim.learning_rate: 0.1 -> 0.5"):
        run.study(c, whole)


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(WorkdirError, match=r"results.csv has no run"):
        run.make_report(tiny.config(), tmp_path)


def test_a_report_says_how_much_is_there(whole):
    assert "8 of 12 runs are there" in run.make_report(tiny.config(seeds=3), whole)


def test_a_report_of_another_study_is_refused(whole):
    c = tiny.config()
    c.epochs = 7
    with pytest.raises(WorkdirError, match=r"epochs: 6 -> 7"):
        run.make_report(c, whole)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\n"])
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(WorkdirError, match=r"results.csv is no table of this study"):
        run.make_report(tiny.config(), tmp_path)


def changed_cells(whole, folder, change):
    """A copy of results.csv after a spreadsheet changed it."""
    text = (whole / "results.csv").read_text()
    (folder / "results.csv").write_text(change(text))
    return folder / "results.csv"


def test_a_spreadsheet_may_write_decimal_commas(whole, tmp_path):
    path = changed_cells(
        whole, tmp_path, lambda text: text.replace(",", ";").replace(".", ",")
    )
    assert results.read(path) == results.read(whole / "results.csv")


@pytest.mark.parametrize(
    ("number", "cell", "message"),
    [
        (0, "05. Oct", "row 1 has hidden='05. Oct', which a spreadsheet"),
        (6, "Jan 23", "row 1 has test_error='Jan 23', which a spreadsheet"),
        (1, "1e", "row 1 has labelled='1e', which a spreadsheet"),
        (1, "1,2", "row 1 has another number of cells than the 12 columns"),
    ],
)
def test_a_cell_that_a_spreadsheet_changed_is_named(
    whole, tmp_path, number, cell, message
):
    def change(text):
        head, first = text.splitlines()[:2]
        cells = first.split(",")
        return "\n".join(
            [head, ",".join([*cells[:number], cell, *cells[number + 1 :]])]
        )

    path = changed_cells(whole, tmp_path, change)
    with pytest.raises(WorkdirError, match=re.escape(message)):
        results.read(path)
