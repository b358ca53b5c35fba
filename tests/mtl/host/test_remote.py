"""Runs in a store equal local ones, survive kills, and belong to one process."""

import signal
import tempfile
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict

from mtl.engine import fit
from mtl.host import remote, remote_claim, remote_flags, workdir
from mtl.host.errors import PreemptedError, WorkdirError
from mtl.host.remote_claim import LostClaimError
from mtl.host.shards import Shard
from mtl.study import results, run
from tests import hosts
from tests.mtl import tiny
from tests.mtl.host.test_processes import TINY, assert_same
from tests.mtl.study import tiny as tiny_study

EPOCHS = 6


class Killed(BaseException):
    """Takes the place of SIGKILL."""


@pytest.fixture(autouse=True)
def _claims_die_soon(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(remote_claim, "RENEW_S", 0.05)
    monkeypatch.setattr(remote_claim, "DEAD_S", 1.0)
    monkeypatch.setattr(remote_claim, "POLL_S", 0.01)


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    return f"{request.param}://{tmp_path}/store/run"


def train(address, **changes):
    """Trains as a launcher does, in a local copy of its own."""
    with remote.local_folder(address) as folder:
        workdir.prepare(folder, ConfigDict({"seed": 0}), {"rows": 40})
        result = fit.fit(tiny.training(EPOCHS, quiet=True, **changes), folder)
        workdir.write_json(folder / "summary.json", result.summary)
    return tiny.arrays(result.state)


def names(address):
    """The files in a store, without names that differ from run to run."""
    store, root = fsspec.core.url_to_fs(address)
    found = [path.removeprefix(root) for path in store.find(root)]
    return {n for n in found if "/d/" not in n and "tfevents" not in n}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The final arrays of a local run, and the names of its files."""
    folder = tmp_path_factory.mktemp("whole")
    return train(str(folder)), names(f"file://{folder}")


def test_a_run_in_a_store_is_a_local_run(address, whole):
    arrays, files = whole
    assert_equal(train(address), arrays)
    assert names(address) == files
    with remote.local_folder(address, None) as folder:
        assert not (folder / "checkpoints").exists(), "brought before it is opened"
        copy = folder
    assert not copy.exists()
    with (
        pytest.raises(WorkdirError, match=f"{address} holds a run with another"),
        remote.local_folder(address) as folder,
    ):
        workdir.prepare(folder, ConfigDict({"seed": 1}), {"rows": 40})


@pytest.mark.parametrize(
    "files", [40, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 20, 65))]
)
def test_killed_between_two_copied_files_it_resumes(
    tmp_path, whole, monkeypatch, files
):
    """Some kills hit the logs, others a checkpoint or the deletion of an older one."""
    address, left = f"memory://{tmp_path}/run", iter(range(files))
    memory = fsspec.filesystem("memory")

    def put(sources, targets):
        for source, target in zip(sources, targets, strict=True):
            if next(left, None) is None:
                raise Killed
            memory.put_file(source, target)

    def rm_file(path):
        if next(left, None) is None:
            raise Killed
        type(memory).rm_file(memory, path)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "put", put)
        patch.setattr(memory, "rm_file", rm_file)
        with pytest.raises(Killed):
            train(address, save_every=2)
    assert not any("summary" in name for name in names(address))
    assert_equal(train(address, save_every=2), whole[0])
    with remote.local_folder(address, None) as folder:
        remote.bring(folder / "checkpoints")
        (checkpoint,) = (folder / "checkpoints" / "last").iterdir()
        assert checkpoint.name == str(EPOCHS)


def test_a_signal_saves_to_the_store(address, whole):
    evaluate, calls = tiny.training().evaluate, iter(range(99))

    def signalled(params):
        if next(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(params)

    with pytest.raises(PreemptedError, match="saved after epoch 3"):
        train(address, evaluate=signalled, save_every=99)
    assert any("/checkpoints/last/3/" in name for name in names(address))
    assert not any("claim" in name for name in names(address))
    assert_equal(train(address), whole[0])


def test_two_processes_do_not_work_on_one_run(address):
    said = f"another process works on this run .*{address.split('://')[1]}"
    with remote.local_folder(address, (1, 2)):
        with (
            pytest.raises(WorkdirError, match=said),
            remote.local_folder(address, (1, 2)),
        ):
            pass
        with pytest.raises(WorkdirError, match=said), remote.local_folder(address):
            pass
        with remote.local_folder(address, (2, 2)), remote.local_folder(address, None):
            pass
    with remote.local_folder(address):
        pass


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path, capsys):
    store = fsspec.filesystem("memory")
    dead, living = (remote_claim.Claim(store, str(tmp_path), (1, 1)) for _ in range(2))
    dead.take()
    start = time.monotonic()
    living.take()
    assert time.monotonic() - start > remote_claim.DEAD_S / 2
    assert "waiting to see whether it still lives" in capsys.readouterr().out
    living.check()
    with pytest.raises(WorkdirError, match="this process had not renewed its own"):
        dead.check()


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_damaged_claim_is_that_of_an_unknown_host(tmp_path, text):
    store, path = fsspec.filesystem("memory"), f"{tmp_path}/claim.json"
    store.pipe_file(path, text.encode())
    claim = remote_claim.Claim(store, str(tmp_path), (1, 1))
    assert claim._read(path) == {"host": "?"}


def test_a_process_that_lost_its_claim_keeps_its_files(address):
    store, root = fsspec.core.url_to_fs(address)
    copy = remote.local_folder(address)
    folder = copy.__enter__()
    store.rm_file(f"{root}/.claim-1-of-1.json")
    with pytest.raises(LostClaimError, match="was removed"):
        remote.push(folder)
    (folder / "table.md").write_text("1")
    with pytest.raises(WorkdirError, match=f"was removed.* files stay in {folder}"):
        copy.__exit__(None, None, None)
    assert (folder / "table.md").read_text() == "1"
    assert names(address) == set()


def test_a_copy_that_fails_is_said_and_tried_again(tmp_path, monkeypatch, capsys):
    address, memory = f"memory://{tmp_path}/run", fsspec.filesystem("memory")

    def fails(*_):
        raise ConnectionError("no route")

    with remote.local_folder(address) as folder:
        (folder / "table.md").write_text("1")
        with monkeypatch.context() as patch:
            patch.setattr(memory, "put", fails)
            remote.push(folder)
        said = capsys.readouterr().err
        with monkeypatch.context() as patch:
            patch.setattr(memory, "cat_file", fails)
            remote.push(folder)
        assert f"cannot read {address}" in capsys.readouterr().err
        assert f"cannot write to {address} (ConnectionError: no route)" in said
        assert "the next save tries again" in said
    assert memory.cat_file(f"{tmp_path}/run/table.md") == b"1"

    copy = remote.local_folder(address)
    folder = copy.__enter__()
    (folder / "table.md").write_text("2")
    monkeypatch.setattr(memory, "put", fails)
    with pytest.raises(WorkdirError, match=r"no route.*files stay in"):
        copy.__exit__(None, None, None)
    assert (folder / "table.md").read_text() == "2"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gs://bucket/run", r"install gcsfs.*gs:// after pip install 'PATH\[gcs\]'"),
        ("s3://bucket/run", r"Install s3fs.*s3:// after pip install 'PATH\[s3\]'"),
        ("goat://bucket/run", "Protocol not known: goat.*work here: file://, memory"),
        ("file:///proc/run", "cannot write to file:///proc/run .* credentials"),
    ],
)
def test_what_cannot_be_used_is_refused_before_work(address, said):
    with pytest.raises(WorkdirError, match=said), remote.local_folder(address):
        pytest.fail("work began")


@pytest.mark.slow
def test_a_study_in_two_parts_and_its_report(tmp_path):
    """Each part works in a copy of its own."""
    address, config = f"memory://{tmp_path}/study", tiny_study.config()
    for number in (1, 2):
        shard = Shard(number, 2)
        with remote.local_folder(address, shard) as folder:
            run.study(config, folder, shard)
            text = run.make_report(config, folder)
    assert "8 of 8 runs are there" in text
    with remote.local_folder(address, None) as folder:
        assert run.make_report(config, folder).split("\n")[:-1] == text.split("\n")[:-1]
        run.study(config, tmp_path / "local")
        local, there = (
            [row._replace(seconds=0.0) for row in results.read(f / "results.csv")]
            for f in (tmp_path / "local", folder)
        )
    assert there == local
    assert "/table.md" in names(address)
    assert not any("checkpoints" in name for name in names(address))


def test_a_launcher_works_in_a_copy_and_names_the_address(tmp_path, monkeypatch):
    address, values = f"memory://{tmp_path}/run", flags.FlagValues()
    flags.DEFINE_string("workdir", address, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(flags, "FLAGS", values)

    def work(_):
        (Path(values.workdir) / "table.md").write_text("1")
        return f"see {values.workdir}/table.md"

    assert remote_flags.in_workdir(work)([]) == f"see {address}/table.md"
    assert names(address) == {"/table.md"}


@pytest.mark.slow
def test_two_hosts_without_a_common_file_system(tmp_path):
    """One is killed; then one process of another host continues."""
    address = f"file://{tmp_path}/store"
    arguments = f"--workdir={tmp_path}/local", f"--address={address}"
    statuses, said = hosts.finish(hosts.start(TINY, 1, *arguments[:1]))
    assert statuses == [0], said
    stop = ("--act=SIGTERM", "--at=5", "--who=1")
    statuses, said = hosts.finish(hosts.start(TINY, 2, *arguments, *stop))
    assert statuses == [75, 75], said
    assert any("/checkpoints/last/5/" in name for name in names(address))
    statuses, said = hosts.finish(hosts.start(TINY, 2, *arguments))
    assert statuses == [0, 0], said
    with (
        np.load(tmp_path / "store" / "final.npz") as found,
        np.load(tmp_path / "local" / "final.npz") as expected,
    ):
        assert_same(dict(found), dict(expected))
