"""Splits the groups of a study's runs into shards that take about the same time."""

from collections import Counter
from collections.abc import Sequence

from mtl.host.shards import Shard
from mtl.study import grid
from mtl.study.grid import RunGroup


def select(groups: Sequence[RunGroup], shard: Shard) -> list[RunGroup]:
    """Returns the groups of one shard, in their order.

    The next costliest group goes to the shard with the least to do (Graham 1969). Every
    machine finds the same split, if all have the same kind of device.
    """
    costs = [cost(group) for group in groups]
    loads = [0.0] * shard.total
    own = []
    for i in sorted(range(len(groups)), key=lambda i: -costs[i]):
        lightest = loads.index(min(loads))
        loads[lightest] += costs[i]
        if lightest == shard.number - 1:
            own.append(i)
    return [groups[i] for i in sorted(own)]


def cost(group: RunGroup) -> float:
    """Estimates the time of a group, in a unit of its own.

    An epoch without reconstruction takes an eighth of the time of one with it.
    """
    rows = group.config.data.labelled + group.config.data.unlabelled
    cells = Counter(run._replace(seed=0) for run in group.runs)
    share = {
        cell: grid.unsupervised_share(grid.one_config(group.config, cell))
        for cell in cells
    }
    return rows * sum(n * (share[cell] + 1 / 8) for cell, n in cells.items())
