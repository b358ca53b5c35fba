"""Sweeps of a system that trains nothing: which runs are trained, and the tables."""

import csv

import numpy as np
import pytest
from ml_collections import ConfigDict

from mtl.host import fields, workdir
from mtl.host.errors import ConfigError, DataError, DivergedError, WorkdirError
from mtl.host.shards import WHOLE, Shard
from mtl.sweeps import grid, runs, table
from mtl.sweeps.runs import System

COLUMNS = "valid", "test", "absent"


def default():
    return ConfigDict({"seed": 0, "rate": 0.1, "kind": "a", "minutes": 1})


def error(config):
    return round(config.rate * (config.seed + 1), 6)


class Fake:
    """Writes what a run writes; a rate above 1 diverges, a kind of "bad" fails."""

    def __init__(self):
        self.trained = []
        self.system = System(default, self.check, self.free, self.train, COLUMNS)

    def check(self, config):
        fields.check(config, default())
        if config.rate < 0:
            raise ConfigError("config.rate must be at least 0")

    def free(self, config, folder):
        return ("minutes",)

    def train(self, config, folder):
        self.trained.append(str(folder))
        workdir.prepare(folder, config, {"crc32": "0"}, ("minutes",), default())
        if config.rate > 1:
            raise DivergedError("a loss is not finite\nin epoch 3")
        if config.kind == "bad":
            raise DataError("no such data")
        if config.kind == "locked":
            raise WorkdirError("another process is training here")
        summary = {"valid": error(config), "best": {"test/error": 1}, "name": "x"}
        workdir.write_json(folder / "summary.json", summary | {"test": 2.0})


def sweep(fake, folder, *texts, seeds=(0, 1), shard=WHOLE, **changes):
    base = default()
    base.update(changes)
    axes = [grid.parse(text, base) for text in texts]
    every = grid.runs(base, axes, seeds)
    runs.check(fake.system, every, folder)
    runs.train(fake.system, every, folder, shard)
    return table.write(folder, every, fake.system.columns)


def rows(folder):
    with (folder / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_every_run_is_a_row_with_its_numbers(tmp_path):
    sweep(Fake(), tmp_path, "rate=0.1,0.2", "kind=a,b")
    found = rows(tmp_path)
    assert [(r["rate"], r["kind"], r["seed"]) for r in found] == [
        (rate, kind, seed) for rate in ("0.1", "0.2") for kind in "ab" for seed in "01"
    ]
    assert {r["status"] for r in found} == {"done"}
    assert [float(r["valid"]) for r in found[:2]] == [0.1, 0.2]
    assert found[0]["best/test/error"] == "1"
    assert found[0]["folder"] == "rate=0.1,kind=a/seed0"


def test_the_table_has_means_and_deviations_and_the_lowest_in_bold(tmp_path):
    results = sweep(Fake(), tmp_path, "rate=0.2,0.1", seeds=(0, 1, 2))
    text = table.markdown(results, COLUMNS)
    assert (tmp_path / "table.md").read_text() == text + "\n"
    head, _, *lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert head == ["rate", "seeds", "valid", "test"]
    values = np.array([0.1, 0.2, 0.3])
    spread = f"{values.mean():.4g} ± {values.std(ddof=1):.2g}"
    assert lines == [
        ["0.2", "3", "0.4 ± 0.2", "2 ± 0"],
        ["0.1", "3", f"**{spread}**", "2 ± 0"],
    ]


def test_the_highest_is_bold_where_it_is_the_best(tmp_path):
    results = sweep(Fake(), tmp_path, "rate=0.1,0.2", seeds=(0,))
    text = table.markdown(results, COLUMNS, "max")
    assert "**0.2**" in text
    assert "the highest valid" in text


def test_runs_that_diverge_or_fail_are_rows_and_the_others_are_trained(tmp_path):
    fake = Fake()
    sweep(fake, tmp_path, "rate=0.1,9", "kind=bad,a", seeds=(0,))
    assert len(fake.trained) == 4
    found = [(r["rate"], r["kind"], r["status"], r["why"]) for r in rows(tmp_path)]
    assert found == [
        ("0.1", "bad", "failed", "no such data"),
        ("0.1", "a", "done", ""),
        ("9.0", "bad", "diverged", "a loss is not finite; in epoch 3"),
        ("9.0", "a", "diverged", "a loss is not finite; in epoch 3"),
    ]
    text = (tmp_path / "table.md").read_text()
    assert text.count("0, 1 failed") == 1
    assert text.count("0, 1 diverged") == 2
    assert "**0.1**" in text
    sweep(fake, tmp_path, "rate=0.1,9", "kind=bad,a", seeds=(0,))
    again = fake.trained[4:]
    assert [path.rpartition(",")[2] for path in again] == ["kind=bad/seed0"]


def test_a_setting_that_lost_a_seed_is_not_the_best(tmp_path):
    sweep(Fake(), tmp_path, "rate=0.1,0.2", seeds=(0,))
    base = default()
    every = grid.runs(base, [grid.parse("rate=0.1,0.2", base)], (0,))
    more = every + grid.runs(base, [grid.parse("rate=0.1", base)], (1,))
    text = table.markdown(table.write(tmp_path, more, COLUMNS), COLUMNS)
    assert "1, 1 lacking" in text
    assert "**0.2**" in text


def test_finished_runs_are_not_trained_again_and_more_are_added(tmp_path):
    fake = Fake()
    sweep(fake, tmp_path, "rate=0.1", minutes=3)
    sweep(fake, tmp_path, "rate=0.1,0.2", seeds=(0, 1, 2), minutes=3)
    assert len(fake.trained) == len(set(fake.trained)) == 6
    sweep(fake, tmp_path, "rate=0.1", minutes=4)
    assert len(fake.trained) == 8, "the system says what another free field means"


def test_another_config_is_refused_before_any_run(tmp_path):
    fake = Fake()
    sweep(fake, tmp_path, "rate=0.1", kind="a")
    with pytest.raises(WorkdirError, match=r"kind: 'a' -> 'b'"):
        sweep(fake, tmp_path, "rate=0.05,0.1", kind="b")
    with pytest.raises(ConfigError, match=r"config\.rate must be"):
        sweep(fake, tmp_path, "rate=0.3,-1")
    with pytest.raises(ConfigError, match=r"config\.rate='x' must be like"):
        sweep(fake, tmp_path, "rate='x'")
    assert len(fake.trained) == 2


def test_a_folder_that_cannot_be_used_ends_the_sweep(tmp_path):
    fake = Fake()
    with pytest.raises(WorkdirError, match="another process"):
        sweep(fake, tmp_path, "kind=locked,a")
    assert len(fake.trained) == 1
    assert not list(tmp_path.rglob("failure.json"))


def test_shards_train_each_run_once_and_end_with_all_rows(tmp_path):
    fake = Fake()
    for number, done in {2: 2, 1: 4, 3: 6}.items():
        shard = Shard(number, 3)
        sweep(fake, tmp_path, "rate=0.1,0.2,0.3", shard=shard)
        statuses = [r["status"] for r in rows(tmp_path)]
        assert statuses.count("done") == done
        assert statuses.count("lacking") == 6 - done
    assert len(fake.trained) == len(set(fake.trained)) == 6


@pytest.mark.parametrize("text", ["[]", "{}", '{"status": "done"}', '{"reason": 1}'])
def test_a_damaged_failure_is_named(tmp_path, text):
    (tmp_path / runs.FAILURE).write_text(text)
    with pytest.raises(WorkdirError, match=r"failure.json is damaged"):
        runs.read(tmp_path)
