"""Runs, data and results of systems 1 and 2 at an address, by all launchers."""

import tempfile

import fsspec
import jax
import jax.export
import numpy as np
import pytest

from l3spot.training import config as spotting
from l3spot.training import experiment as system_3
from mtl import config as configs
from mtl import experiment as system_1
from mtl import predict
from mtl.data import datasets
from mtl.engine.task import flatten
from mtl.host.errors import ConfigError, DataError, WorkdirError
from structured import data, trained
from structured import experiment as system_2
from tests import program
from tests.mtl import shard_folder
from tests.test_warm_start import smoke

SYSTEMS = {"mtl": system_1, "structured": system_2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a finished run of each system, and the best parameters."""
    folder = tmp_path_factory.mktemp("store")
    found = {
        name: system.train_and_evaluate(smoke(system), folder / name)
        for name, system in SYSTEMS.items()
    }
    fsspec.filesystem("memory").put(f"{folder}/", f"{folder}/", recursive=True)
    return folder, {name: flatten(run.params) for name, run in found.items()}


@pytest.fixture(params=["memory", "file"])
def store(request, runs):
    """The address of the folder."""
    return f"{request.param}://{runs[0]}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The test works in a folder of its own, and leaves nothing there."""
    (tmp_path / "here").mkdir()
    (tmp_path / "copies").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    yield
    assert list((tmp_path / "here").iterdir()) == []


def files(address):
    found, root = fsspec.core.url_to_fs(address)
    return {
        path.removeprefix(f"{root}/"): found.info(path) for path in found.find(root)
    }


def put(address, **arrays):
    with fsspec.open(address, "wb") as stream:
        np.savez(stream, **arrays)


def get(address):
    with fsspec.open(address, "rb") as stream:
        return dict(np.load(stream))


def called(module, *arguments):
    done = program.call(module, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_images_are_labelled(store):
    x = np.random.default_rng(0).random((5, 8, 8), np.float32)
    put(f"{store}/images.npz", x=x)
    before = files(f"{store}/mtl")
    said = called(
        "mtl.predict",
        *(f"--workdir={store}/mtl", f"--input={store}/images.npz"),
        f"--output={store}/labels",
    )
    assert said == f"5 labels in {store}/labels.csv and {store}/labels.npz\n"
    expected = predict.predict(f"{store}/mtl", x)
    found = get(f"{store}/labels.npz")["probability"]
    np.testing.assert_array_equal(found, expected)
    assert files(f"{store}/mtl") == before


def test_a_run_is_exported(store):
    said = called("mtl.export", f"--workdir={store}/mtl", f"--out={store}/digits.jax")
    assert said.startswith(f"{store}/digits.jax: images [N, 8, 8]")
    x = np.random.default_rng(0).random((5, 8, 8), np.float32)
    with fsspec.open(f"{store}/digits.jax", "rb") as stream:
        found = jax.export.deserialize(bytearray(stream.read())).call(x)
    np.testing.assert_allclose(found, predict.predict(f"{store}/mtl", x), atol=1e-6)


def test_runs_are_compared(store, runs):
    said = called("mtl.compare", f"--figure={store}/curves.png", f"{store}/mtl")
    assert said == called("mtl.compare", f"{runs[0]}/mtl")
    with fsspec.open(f"{store}/curves.png", "rb") as stream:
        assert stream.read(4) == b"\x89PNG"


def test_arrays_are_predicted(store):
    x = np.random.default_rng(0).random((5, 4, 8), np.float32)
    put(f"{store}/new.npz", x=x)
    arguments = f"--workdir={store}/structured", f"--data={store}/new.npz"
    said = called("structured.predict", *arguments, f"--out={store}/predictions")
    assert said.startswith(f"5 predictions in {store}/predictions: ")
    expected = trained.predict_arrays(f"{store}/structured", x)
    found = get(f"{store}/predictions/predictions.npz")["y"]
    np.testing.assert_array_equal(found, expected)
    put(f"{store}/predictions.npz", x=x)
    arguments = f"--workdir={store}/structured", f"--data={store}/predictions.npz"
    done = program.call("structured.predict", *arguments, f"--out={store}")
    assert done.stderr.startswith(f"error: --out={store} would replace")


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_starts_from_an_address(store, runs, name, tmp_path, monkeypatch):
    system, started = SYSTEMS[name], []

    def fit(training, *_, **__):
        started.append(flatten(training.params))
        raise KeyboardInterrupt

    monkeypatch.setattr(system, "fit", fit)
    c = smoke(system, init_from=f"{store}/{name}", seed=7)
    with pytest.raises(KeyboardInterrupt):
        system.train_and_evaluate(c, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, started[0], runs[1][name])
    c = smoke(system, init_from=f"{store}/none")
    with pytest.raises(ConfigError, match=f"{store}/none' must be the folder"):
        system.train_and_evaluate(c, tmp_path / "other")


def assert_same_data(system, local, address):
    """Compares arrays, of a dataset or of its parts."""
    for found, expected in zip(
        *(jax.tree.leaves(system(path)) for path in (address, local)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("source", "name"), [("npz", "all.npz"), ("shards", ""), ("idx", "none")]
)
def test_data_of_system_1(tmp_path, source, name):
    folder = tmp_path / "data"
    folder.mkdir()
    shard_folder.write(folder)

    def load(path):
        c = configs.default().data
        c.source, c.path = source, path
        dataset = datasets.load(c)
        rows = np.arange(0, len(dataset.train.y), 7)
        return [dataset.train.x[rows], dataset.train.y, *dataset.test]

    address = f"file://{folder}/{name}".rstrip("/")
    if source == "idx":
        with pytest.raises(DataError, match=f"no file or folder {address}"):
            load(address)
    else:
        assert_same_data(load, f"{folder}/{name}", address)


def test_data_of_system_2(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        f"{n}_{part}": rng.random((20, 3)) for n in "xy" for part in ("train", "test")
    }
    np.savez(tmp_path / "own.npz", **arrays)

    def load(path):
        c = smoke(system_2)
        c.data.source, c.data.path, c.data.pairs = "npz", path, -1
        dataset = data.load(c)
        return [*dataset.train, *dataset.test]

    path = tmp_path / "own.npz"
    assert_same_data(load, str(path), f"file://{path}")


def test_data_of_system_3(tmp_path):
    z, hu = 500.0 - np.arange(300), np.full((300, 260), 100, np.int16)
    views = {"frontal": hu, "lateral": hu, "x": np.arange(260.0), "y": np.arange(260.0)}
    folder = tmp_path / "mips"
    folder.mkdir()
    (folder / "report.csv").write_text("scan,status\na,projected\n")
    (folder / "a.json").write_text('{"label": "in view"}')
    np.savez(folder / "a.npz", **views, z=z, l3_z=420.0)

    def load(path):
        c = spotting.default()
        c.data.source, c.data.path = "projections", path
        return list(system_3.load_dataset(c))

    assert_same_data(load, str(folder), f"file://{folder}")
    c = spotting.default()
    c.data.path = f"file://{folder}"
    with pytest.raises(WorkdirError, match="is no folder of this machine"):
        system_3.load_dataset(c)
