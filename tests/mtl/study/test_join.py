"""The split of a study into shards, and results of several folders."""

import json
import shutil

import numpy as np
import pytest

from configs.mtl import table1
from mtl import config as configs
from mtl.host import workdir
from mtl.host.errors import WorkdirError
from mtl.host.shards import Shard
from mtl.study import grid, join, results, run, split
from mtl.study.trainer import GroupProgress
from tests import program
from tests.mtl.study import tiny

METRICS = [f"{part}/{name}" for part in ("valid", "test") for name in ("error", "loss")]


def lines(folder):
    rows = results.read(folder / "results.csv")
    return [str(row._replace(seconds=0.0)) for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a study with made-up results."""
    folder, c = tmp_path_factory.mktemp("whole"), tiny.config()
    about = {"classes": 10, "rows": {"train": 1000}}
    workdir.prepare(folder, configs.of_a_run(c), about)
    wanted = grid.runs(c, 1000)
    p = GroupProgress(
        state=None,
        fine=np.arange(len(wanted)) != 4,
        last={name: np.arange(len(wanted)) / 100 for name in METRICS},
        best={name: np.arange(len(wanted)) / 200 for name in METRICS},
        best_epoch=np.arange(len(wanted)),
    )
    results.write(folder / "results.csv", results.rows(wanted, p))
    return folder


@pytest.fixture
def parts(whole, tmp_path):
    """The folders of two machines, with three and five of the eight runs."""
    folders = [tmp_path / "a", tmp_path / "b"]
    rows = results.read(whole / "results.csv")
    for folder, own in zip(folders, (rows[:3], rows[3:]), strict=True):
        shutil.copytree(whole, folder)
        results.write(folder / "results.csv", own)
    return folders


@pytest.mark.parametrize("vmapped", [False, True])
def test_shards_have_each_run_once_and_as_much_to_do(vmapped):
    c = table1.get_config("cpu")
    c.study.seeds = 1
    groups = grid.run_groups(c, grid.runs(c, 50_000), vmapped)
    shards = [split.select(groups, Shard(i, 5)) for i in range(1, 6)]
    runs = [run for shard in shards for group in shard for run in group.runs]
    assert sorted(runs) == sorted(grid.runs(c, 50_000))
    loads = [sum(map(split.cost, shard)) for shard in shards]
    assert max(loads) < 1.2 * min(loads)


def test_folders_of_several_machines_are_merged(whole, parts, tmp_path):
    joined = join.merge(tiny.config(), tmp_path / "all", parts)
    assert joined == ([], [])
    assert lines(tmp_path / "all") == lines(whole)
    assert "8 of 8 runs" in run.make_report(tiny.config(), tmp_path / "all")


def test_a_merge_names_runs_that_lack_or_are_doubled(whole, parts, tmp_path):
    lacking, doubled = join.merge(tiny.config(), tmp_path / "all", parts[:1])
    assert doubled == []
    assert [str(r) for r in lacking[:2]] == [
        "8 l=50 u=150 ratio seed=0",
        "8 l=50 u=0 baseline seed=1",
    ]
    joined = join.merge(tiny.config(), tmp_path / "all", [whole, *parts])
    assert joined.lacking == []
    assert len(joined.doubled) == 8


def test_results_that_differ_are_refused(whole, parts, tmp_path):
    a, b = parts
    row = results.read(a / "results.csv")[0]
    results.write(b / "results.csv", [row._replace(test_error=0.5)])
    said = f"{row.run} has two results that differ, in {a}/.* and in {b}/"
    with pytest.raises(WorkdirError, match=said):
        join.merge(tiny.config(), tmp_path / "all", parts)
    assert not (tmp_path / "all" / "results.csv").exists()


@pytest.mark.parametrize(
    ("file", "field", "said"),
    [
        ("config.json", "epochs", r"another config.*\n.*epochs: 7 -> 6"),
        ("data.json", "classes", r"another data.*\n.*classes: 7 -> 10"),
        ("environment.json", "x64", "JAX_ENABLE_X64=7"),
    ],
)
def test_another_study_is_refused(parts, tmp_path, file, field, said):
    path = parts[1] / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: 7}))
    with pytest.raises(WorkdirError, match=said):
        join.merge(tiny.config(), tmp_path / "all", parts)


def test_a_folder_without_a_study_is_refused(parts, tmp_path):
    (tmp_path / "c").mkdir()
    with pytest.raises(WorkdirError, match=r"c holds no such run"):
        join.merge(tiny.config(), tmp_path / "all", [*parts, tmp_path / "c"])


def test_the_launcher_joins_and_refuses_what_contradicts(whole, tmp_path):
    command = ("mtl.study", "--config", "configs/mtl/table1.py:smoke", "--workdir")
    done = program.call(*command, tmp_path / "all", "--merge")
    assert "--merge needs the folders to join" in done.stderr
    done = program.call(*command, tmp_path / "all", "--merge", "--shard=1/2", "a")
    assert "give only one of --report, --merge and --shard" in done.stderr
