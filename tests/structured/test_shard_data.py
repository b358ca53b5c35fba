"""With `config.shard_data`, training pairs stay in a file, and results are the same."""

import numpy as np
import pytest

from mtl.host import logs
from structured import assemble, data, experiment
from tests.structured import datasets


@pytest.mark.parametrize("pairs", [-1, 130])
def test_the_training_pairs_are_read_in_pieces(monkeypatch, pairs):
    monkeypatch.setattr(assemble, "PIECE_ROWS", 100)
    c = datasets.config()
    c.data.pairs, c.devices = pairs, 1
    whole = data.load(c)
    mapped = whole.with_train_on_disk()
    datasets.same(mapped.train, whole.train)
    assert experiment.describe_dataset(mapped) == experiment.describe_dataset(whole)
    rows = {}
    for shard_data, dataset in ((False, whole), (True, mapped)):
        c.shard_data = shard_data
        t = assemble.make_training(c, dataset)
        rows[shard_data] = {k: float(v) for k, v in t.evaluate(t.params).items()}
    assert isinstance(t.data["x"], np.memmap)
    assert rows[True] == pytest.approx(rows[False], rel=1e-6)


@pytest.mark.slow
def test_a_run_is_the_same(tmp_path):
    found = []
    for shard_data in (False, True):
        c = datasets.config()
        c.shard_data, c.devices, c.epochs, c.eval_every = shard_data, 1, 4, 2
        experiment.train_and_evaluate(c, tmp_path / str(shard_data))
        found.append(logs.read_rows(tmp_path / str(shard_data)))
    for whole, mapped in zip(*found, strict=True):
        for row in (whole, mapped):
            del row["seconds"]
        assert mapped.pop("train/mse") == pytest.approx(whole.pop("train/mse"), 1e-6)
        assert mapped == whole
