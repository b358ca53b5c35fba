"""`mtl.main` on shards: the numbers of arrays, resume, and what is refused."""

import json

import jax
import numpy as np
import pytest

from configs.mtl import table1
from mtl import config as configs
from mtl import experiment, networks, predict
from mtl.data import shard_stream
from mtl.data.shard_stream import ShardStream
from mtl.engine.fit import fit
from mtl.host.errors import ConfigError
from mtl.study import grid
from tests import program
from tests.config_fields import assert_refused
from tests.mtl import shard_folder, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("shards")
    shard_folder.write(made)
    return made


@pytest.fixture(autouse=True)
def blocks_of_64(monkeypatch):
    monkeypatch.setattr(shard_stream, "BLOCK_ROWS", 64)


def config(source, path, chunk_rows=300, **changes):
    c = configs.default()
    c.data.source, c.data.path = source, str(path)
    c.data.labelled, c.data.chunk_rows, c.batch_size = 40, chunk_rows, 60
    c.epochs, c.optim.decay_epochs, c.eval_every, c.save_every = 6, 1, 2, 2
    c.model.hidden, c.method = (8,), "constant"
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return c


def train(c, workdir):
    """Trains without the figures."""
    configs.check(c)
    return fit(experiment.make_training(c, experiment.datasets.load(c.data)), workdir)


def assert_same_bits(one, other):
    a, b = (
        tiny.arrays((one.state, one.params)),
        tiny.arrays((other.state, other.params)),
    )
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("method", ["constant", "baseline"])
def test_shards_that_fit_into_a_chunk_train_as_an_npz_does(folder, tmp_path, method):
    ours = train(config("shards", folder, 1200, method=method), tmp_path / "ours")
    one = train(config("npz", folder / "all.npz", method=method), tmp_path / "one")
    assert_same_bits(ours, one)


def test_a_run_resumes_with_the_same_bits(folder, tmp_path, monkeypatch):
    whole = train(config("shards", folder, classify__draws=20), tmp_path / "whole")
    read = ShardStream.chunk

    def stop(self, epoch):
        if epoch == 5:
            raise KeyboardInterrupt
        return read(self, epoch)

    monkeypatch.setattr(ShardStream, "chunk", stop)
    c = config("shards", folder, classify__draws=20)
    with pytest.raises(KeyboardInterrupt):
        train(c, tmp_path / "parts")
    monkeypatch.setattr(ShardStream, "chunk", read)
    assert_same_bits(train(c, tmp_path / "parts"), whole)


@pytest.mark.parametrize("rows", [300, 1200])
def test_one_device_trains_with_shard_data_as_without(folder, tmp_path, rows):
    whole = train(config("shards", folder, rows), tmp_path / "whole")
    given = config("shards", folder, rows, shard_data=True)
    assert_same_bits(train(given, tmp_path / "split"), whole)


@pytest.mark.slow
def test_the_command_trains_on_shards_and_predicts(folder, tmp_path):
    run = tmp_path / "run"
    command = [
        f"--workdir={run}", "--config=configs/mtl/digits.py:smoke",
        "--config.data.source=shards", f"--config.data.path={folder}",
        "--config.data.chunk_rows=300", "--config.epochs=6",
        "--config.optim.decay_epochs=1", "--config.eval_every=2",
    ]  # fmt: skip
    done = program.call("mtl.main", *command)
    assert done.returncode == 0, done.stderr
    summary = json.loads((run / "summary.json").read_text())
    labelled = summary["labelled"]
    assert labelled + summary["unlabelled"] == 1200
    fresh = 300 - labelled
    assert summary["passes"] == pytest.approx(6 * fresh / (1200 - labelled), abs=1e-3)
    x = np.load(folder / "test.npz")["x"]
    error = predict.predict(run, x).argmax(1) != np.load(folder / "test.npz")["y"]
    assert error.mean() == pytest.approx(summary["best"]["test/error"], abs=1e-6)


def test_batch_normalisation_has_the_statistics_of_the_first_chunk(folder):
    c = config("shards", folder, model__norm="batch", unsupervised="vat")
    t = experiment.make_training(c, experiment.datasets.load(c.data))
    network = networks.build(c, (8, 8), 10)
    wanted = network.set_batch_stats(t.params, t.data.chunk(0)["image"])["statistics"]
    found = t.finalize_params(t.params)["statistics"]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_other_content_of_a_shard_is_another_dataset(folder, tmp_path):
    first = experiment.describe(experiment.datasets.load(config("shards", folder).data))
    shard_folder.write(tmp_path, lambda x: x ^ 1)
    second = experiment.describe(
        experiment.datasets.load(config("shards", tmp_path).data)
    )
    assert first["crc32"] != second.pop("crc32")
    assert {k: first[k] for k in second} == second


def test_fields_that_contradict_shards_are_refused(folder):
    refused = config("shards", folder, data__scaling="minmax")
    with pytest.raises(ConfigError, match=r"scaling='minmax' must be 'unit' with"):
        configs.check(refused)
    assert_refused(configs.check, config("shards", folder, 1), "data.chunk_rows", 1)
    normed = dict(model__norm="batch", unsupervised="vat", shard_data=True)
    refused = config("shards", folder, **normed)
    assert_refused(configs.check, refused, "shard_data", True)
    c = config("shards", folder, 40)
    with pytest.raises(ConfigError, match=r"chunk_rows=40 must be above 40, the lab"):
        experiment.make_training(c, experiment.datasets.load(c.data))
    study = table1.get_config("smoke")
    study.data.source, study.data.path = "shards", str(folder)
    assert_refused(grid.check, study, "data.source", "shards")


@pytest.mark.slow
def test_ten_million_rows_train_within_two_gigabytes(tmp_path):
    """7.8 GB of images; their file is sparse, so they take no space on the disk."""
    (tmp_path / "train").mkdir()
    rows = 10_000_000
    kind = dict(mode="w+", dtype=np.uint8, shape=(rows, 784))
    np.lib.format.open_memmap(tmp_path / "train" / "1.npy", **kind)
    x, y = np.zeros((1000, 784), np.uint8), np.arange(1000) % 10
    for name in ("train/0", "valid", "test"):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    done = program.run(
        "benchmarks.stream", "--only=pass", f"--folder={tmp_path}", "--chunks=30"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == rows + 1000
    assert 0 < found["peak MiB"] < 2048
