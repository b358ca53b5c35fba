"""A training in two processes: results, errors, signals, deaths, other numbers.

The processes are real, and exchange their sums with gloo.
"""

import json

import numpy as np
import pytest

from mtl.host import logs
from mtl.host.checkpoint import Checkpoints
from tests import hosts
from tests.mtl import shard_folder

TINY = "tests.mtl.host.training_on_hosts"
SAVING = "tests.mtl.host.saving_on_hosts"
EPOCHS = 12  # Of TINY, which saves in every other one.
# The arguments of each system; "{}" is a folder of the run's own.
LAUNCHERS = {
    "mtl": ("mtl.main", "--config=configs/mtl/digits.py:smoke"),
    "structured": ("structured.main", "--config=configs/structured/digits.py:smoke"),
    "l3spot": (
        *("l3spot.main", "--config=configs/l3spot/phantom.py:smoke"),
        *("--config.model.backbone=cnn4", "--config.windows=2"),
        *("--config.data.count=12", "--config.data.validation=4"),
        "--config.data.path={}",
    ),
}


def run(folder, count, *arguments, module=TINY, **options):
    """Runs to the end in some processes; returns exit statuses and outputs."""
    arguments = [f"--workdir={folder}", *arguments]
    return hosts.finish(hosts.start(module, count, *arguments, **options))


def trained(folder, count, *arguments, **options):
    """The final arrays by name, and the outputs."""
    statuses, said = run(folder, count, *arguments, **options)
    assert statuses == [0] * count, "\n".join(said)
    with np.load(folder / "final.npz") as stored:
        return dict(stored), said


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, 1e-4, 1e-6, err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The final arrays of a run in one process on one device."""
    return trained(tmp_path_factory.mktemp("whole"), 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("system", LAUNCHERS)
def test_two_processes_train_as_one(tmp_path, system):
    module, *config = LAUNCHERS[system]
    folders = {n: tmp_path / str(n) for n in (1, 2)}
    for count, folder in folders.items():
        given = [part.format(tmp_path / f"data-{count}") for part in config]
        statuses, said = run(folder, count, *given, module=module)
        assert statuses == [0] * count, "\n".join(said)
    assert "epoch" in said[0]
    assert said[1] == "", "only the first process prints"
    rows = [logs.read_rows(folder) for folder in folders.values()]
    for one, two in zip(*rows, strict=True):
        one, two = ({k: row[k] for k in row if k != "seconds"} for row in (one, two))
        assert two == pytest.approx(one, rel=1e-3, abs=1e-4)
    used = json.loads((folders[2] / "environment.json").read_text())
    assert (used["devices"], used["devices_used"]) == (2, 2)
    names = [sorted(p.name for p in folder.iterdir()) for folder in folders.values()]
    assert names[0] == names[1]
    # A finished run is read, or trained no further, by all.
    assert run(folders[2], 2, *given, module=module)[0] == [0, 0]


@pytest.mark.slow
def test_loss_weights_that_adapt_are_those_of_one_process(tmp_path):
    one, _ = trained(tmp_path / "one", 1, "--plateau")
    two, said = trained(tmp_path / "two", 2, "--plateau", devices=2)
    assert_same(two, one)
    assert f"{EPOCHS} epochs" in said[0]
    assert said[1] == ""


@pytest.mark.slow
def test_a_line_that_another_process_prints_is_seen(tmp_path):
    _, said = trained(tmp_path, 2, "--act=print", "--at=5", "--who=1")
    assert said[1] == "3\n"


@pytest.mark.slow
def test_each_process_reads_its_rows_and_the_run_is_that_of_all_rows(tmp_path):
    kinds = ("whole", "split", "lazy")
    found = {
        kind: trained(tmp_path / kind, 2, f"--data={kind}", devices=2)[0]
        for kind in kinds
    }
    for kind in kinds[1:]:
        for name, value in found["whole"].items():
            np.testing.assert_array_equal(found[kind][name], value, err_msg=name)
    read = [
        json.loads((tmp_path / "lazy" / f"read-{i}.json").read_text()) for i in (0, 1)
    ]
    assert read == [list(range(20)), list(range(20, 40))]


@pytest.mark.slow
def test_shards_that_two_processes_read_in_parts_train_as_if_each_read_all(tmp_path):
    shard_folder.write(tmp_path)
    given = [
        *LAUNCHERS["mtl"],
        *("--config.data.source=shards", f"--config.data.path={tmp_path}"),
        *("--config.data.chunk_rows=300", "--config.epochs=4"),
    ]
    rows = []
    for split in (False, True):
        folder = tmp_path / str(split)
        own = f"--config.shard_data={split}"
        statuses, said = run(folder, 2, *given[1:], own, module=given[0], devices=2)
        assert statuses == [0, 0], "\n".join(said)
        rows.append(logs.read_rows(folder))
    whole, split = ([r | {"seconds": 0} for r in part] for part in rows)
    assert split == whole


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_a_run_continues_in_another_number_of_processes(tmp_path, whole, first, then):
    stop = ("--act=SIGTERM", "--at=5", "--who=0", f"--used={first}")
    statuses, said = run(tmp_path, first, *stop)
    assert statuses == [75] * first, said
    arrays, said = trained(tmp_path, then, "--used=4", devices=4 // then)
    assert f"was trained on {first} device(s), and continues on 4" in said[0]
    assert_same(arrays, whole)


@pytest.mark.slow
def test_a_signal_to_one_process_saves_the_same_epoch_and_ends_all(tmp_path, whole):
    statuses, said = run(tmp_path, 2, "--act=SIGTERM", "--at=5", "--who=1")
    assert statuses == [75, 75]
    assert "stopped by SIGTERM and saved after epoch 5 of 12" in said[1]
    assert "stopped by a signal to another process and saved after epoch 5" in said[0]
    assert Checkpoints(tmp_path / "checkpoints" / "last", writes=False).epoch == 5
    assert_same(trained(tmp_path, 2)[0], whole)


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_all_end_when_one_is_killed_and_the_run_continues(tmp_path, whole, who):
    statuses, said = run(tmp_path, 2, "--act=SIGKILL", "--at=5", f"--who={who}")
    assert statuses[who] == -9
    assert statuses[1 - who] != 0
    assert "another process" in said[1 - who] or "another task died" in said[1 - who]
    assert_same(trained(tmp_path, 2)[0], whole)


def test_processes_compute_together_while_the_first_one_saves(tmp_path):
    statuses, said = run(tmp_path, 2, module=SAVING)
    assert statuses == [0, 0], said


@pytest.mark.slow
def test_a_save_ends_although_another_process_dies_during_it(tmp_path):
    statuses, said = run(tmp_path, 2, "--dies", module=SAVING)
    assert statuses[1] == -9
    assert statuses[0] != 0, said
    assert Checkpoints(tmp_path / "last", writes=False).epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "who", "at"),
    [
        ("DataError", 0, 0),
        ("DataError", 1, 0),
        ("ZeroDivisionError", 1, 5),
    ],
)
def test_an_error_of_one_process_ends_all(tmp_path, error, who, at):
    act = f"--act={error}", f"--at={at}", f"--who={who}"
    statuses, said = run(tmp_path, 2, *act)
    assert statuses == [1, 1]
    message = {"DataError": "error: there is no file data.npz"}.get(error, error)
    assert message in said[who]
    assert f"process {who}:" in said[1 - who]
    assert message in said[1 - who]
    assert ("Traceback" in said[who]) == (error == "ZeroDivisionError")
