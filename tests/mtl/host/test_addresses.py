"""Each flag and field of each launcher takes an address, or refuses it before work."""

import tempfile
from pathlib import Path
from unittest import mock

import fsspec
import pytest
from absl import flags

import l3spot.__main__
import mtl.__main__
import structured.__main__
from mtl.host import fields, launch, remote, remote_store
from mtl.host.errors import DataError, WorkdirError
from tests import program

ADDRESS = "gs://bucket/NAME"  # Its driver is not installed.
PROGRAMS = mtl.__main__, structured.__main__, l3spot.__main__
LAUNCHERS = [module for p in PROGRAMS for module in p.COMMANDS.values()]
TEXTS = ("string", "comma separated list of strings", "multi string")
# The flags that take an address, besides --workdir.
TAKES = {
    "mtl.predict": {"input", "output"},
    "mtl.compare": {"figure"},
    "mtl.export": {"out"},
    "structured.predict": {"data", "out"},
}
FIELDS = {"config.data.path", "config.init_from"}
VALUES = {"backbone": "vgg16"}  # Other required flags take any text.
CONFIGS = {"mtl": "digits", "structured": "digits", "l3spot": "phantom"}


def flags_of(module):
    """The required flags of a launcher, and all flags and fields that may be paths."""
    before, found = set(flags.FLAGS), []

    def spy(work, *required, default=None, stages=(), leave_at_once=False):
        own = set(flags.FLAGS) - before - {"config"}
        texts = {n for n in own if flags.FLAGS[n].flag_type() in TEXTS}
        for config in (default, *stages):
            known = fields.leaves(config()) if config else ()
            texts |= {f"config.{n}" for n, x in known if x == "" or n == "data.path"}
        found.append((required, sorted(texts)))

    with mock.patch.object(launch, "launch", spy):
        program.call(module)
    return found[0]


@pytest.mark.parametrize("module", LAUNCHERS)
def test_all_flags_are_checked_before_work(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    required, texts = flags_of(module)
    values = VALUES | {"config": CONFIGS[module.split(".")[0]]}
    for name in texts:
        given = {n: values.get(n, "x") for n in required} | {name: ADDRESS}
        done = program.call(module, *(f"--{n}={x}" for n, x in given.items()))
        assert done.returncode == 1, name
        if name in FIELDS | TAKES.get(module, set()) | {"workdir"}:
            assert done.stderr.startswith(f"error: cannot open {ADDRESS} "), name
        else:
            said = f"error: --{name}={ADDRESS} must be a file or folder of this machine"
            assert done.stderr.startswith(said), name
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_flags_has_no_other_launcher():
    assert TAKES.keys() <= set(LAUNCHERS)
    assert len(LAUNCHERS) > 20


def test_a_refused_address_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = program.call("mtl.compare", ADDRESS)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot open {ADDRESS} ")
    assert "gs:// after pip install 'PATH[gcs]'" in done.stderr


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return f"{request.param}://{tmp_path}/store/data"


def test_a_copy_is_of_the_file_or_folder_alone_and_made_once(address):
    store, root = fsspec.core.url_to_fs(address, auto_mkdir=True)
    for name, content in {"a.npz": b"a", "more/b.npz": b"b", "more/c/d": b"d"}.items():
        store.pipe_file(f"{root}/{name}", content)
    with remote.local_copy(f"{address}/a.npz") as path:
        assert Path(path).read_bytes() == b"a"
        assert [p.name for p in Path(path).parent.iterdir()] == ["a.npz"]
    with remote.local_copy(f"{address}/more/") as folder:
        files = {p for p in Path(folder).rglob("*") if p.is_file()}
        assert {p.relative_to(folder).as_posix() for p in files} == {"b.npz", "c/d"}
    store.pipe_file(f"{root}/a.npz", b"changed")
    with remote.local_copy(f"{address}/a.npz") as same:
        assert Path(same).read_bytes() == b"a"
        assert same == path
    with (
        pytest.raises(DataError, match=f"{address}/a.npz is broken"),
        remote.local_copy(f"{address}/a.npz") as path,
    ):
        raise DataError(f"{path} is broken")


def test_a_copy_of_nothing_is_refused(address):
    with (
        pytest.raises(DataError, match=f"no file or folder {address}/none"),
        remote.local_copy(f"{address}/none"),
    ):
        pytest.fail("work began")


def test_an_output_is_all_that_was_written_there(address):
    store, root = fsspec.core.url_to_fs(address)
    with remote.output(f"{address}/labels") as output:
        output.with_name("labels.csv").write_text("1")
        output.mkdir()
        (output / "inside").write_text("2")
    assert store.cat_file(f"{root}/labels.csv") == b"1"
    assert store.cat_file(f"{root}/labels/inside") == b"2"
    assert not output.parent.exists()


def test_an_output_that_cannot_be_copied_stays(address, monkeypatch):
    store, _ = remote_store.open_store(address)

    def fails(*_):
        raise ConnectionError("no route")

    monkeypatch.setattr(store, "put", fails)
    with pytest.raises(WorkdirError, match=r"no route.*files stay in"):  # noqa: SIM117
        with remote.output(f"{address}/labels.csv") as output:
            output.write_text("1")
    assert output.read_text() == "1"


@pytest.mark.parametrize("use", [remote.local_copy, remote.output])
def test_a_whole_bucket_is_neither_data_nor_a_result(use):
    with (
        pytest.raises(WorkdirError, match="memory://bucket is a whole bucket"),
        use("memory://bucket"),
    ):
        pytest.fail("work began")
