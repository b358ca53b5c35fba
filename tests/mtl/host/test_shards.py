"""The parts of a list of work, as flags and queues give them."""

import pytest

from mtl.host import shards
from mtl.host.errors import ConfigError
from mtl.host.shards import WHOLE, Shard


@pytest.mark.parametrize("total", [1, 2, 3, 7, 30])
def test_the_parts_make_up_the_whole(total):
    items = list(range(20))
    parts = [shards.parse(f"{i}/{total}").select(items) for i in range(1, total + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert WHOLE.select(items) == items


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ConfigError, match="must be a part of a whole"):
        shards.parse(text)


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("auto", {"ID": "3", "MIN": "1", "COUNT": "4"}, Shard(3, 4)),
        ("auto", {"ID": "0", "MIN": "0", "COUNT": "4"}, Shard(1, 4)),
        ("auto/4", {"ID": "3", "MIN": "0", "COUNT": "4"}, Shard(4, 4)),
        ("auto/5", {"JOB": "4"}, Shard(5, 5)),
    ],
)
def test_a_queue_gives_the_part(monkeypatch, text, environment, shard):
    _set(monkeypatch, environment)
    assert shards.parse(text) == shard


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("auto", {}, "needs SLURM_ARRAY_TASK_ID"),
        ("auto", {"JOB": "1"}, "the number of shards"),
        ("auto/x", {"JOB": "1"}, "the number of shards"),
        ("auto/2", {"JOB": "2"}, "task 2 is not one of 2"),
        ("auto", {"ID": "9", "MIN": "1", "COUNT": "4"}, "task 9 is not one of 4"),
        ("auto/16", {"ID": "5", "MIN": "5", "COUNT": "2"}, "array of 16 .* has 2"),
        ("auto/16", {"ID": "9", "MIN": "5", "COUNT": "2"}, "array of 16 .* has 2"),
        ("auto/4", {"ID": "3", "MIN": "1"}, "needs SLURM_ARRAY_TASK_ID"),
    ],
)
def test_a_queue_without_a_part_is_refused(monkeypatch, text, environment, message):
    _set(monkeypatch, environment)
    with pytest.raises(ConfigError, match=message):
        shards.parse(text)


def _set(monkeypatch, environment):
    short = dict(zip(("ID", "MIN", "COUNT"), shards.SLURM, strict=True))
    names = short | {"JOB": shards.KUBERNETES}
    for name in names.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(names[name], value)
