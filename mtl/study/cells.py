"""The errors of a study by cell and seed, and gains against the baseline."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from ml_collections import ConfigDict

from mtl.study.grid import unlabelled
from mtl.study.results import Row
from mtl.study.statistics import Interval, interval

BySeed = dict[int, float]


class Cells:
    """The results of a grid's runs; errors are test errors after the last epoch.

    A column of the grid has a number j, its place in `config.study.unlabelled`. The
    last column has another u for each l.

    Args:
      config: of the study.
      rows: of the finished runs.
      total: images to train on.
    """

    def __init__(self, config: ConfigDict, rows: Iterable[Row], total: int):
        self.labelled: Sequence[int] = sorted(set(config.study.labelled))
        self.hidden = [tuple(h) for p in config.study.parts.values() for h in p.hidden]
        self._u = {l: unlabelled(config.study, l, total) for l in self.labelled}
        self._rows: dict[tuple, dict[int, Row]] = {}
        self._diverged: Counter[tuple] = Counter()
        for r in rows:
            if r.status == "done":
                self._rows.setdefault(r.run[:4], {})[r.seed] = r
            else:
                self._diverged[r.run[:4]] += 1

    def columns(self, l: int) -> list[int]:
        """The columns, those with fewer unlabelled examples first, each u once."""
        first = {u: j for j, u in reversed(list(enumerate(self._u[l])))}
        return [first[u] for u in sorted(first)]

    def u(self, l: int, j: int) -> int:
        """The unlabelled examples of a column."""
        return self._u[l][j]

    def error(self, hidden: tuple[int, ...], l: int, j: int, method: str) -> BySeed:
        """The errors of a cell in %, or of its baseline; finished runs only."""
        return self.each(hidden, l, j, method, lambda row: 100 * row.test_error)

    def diverged(self, hidden: tuple[int, ...], l: int, j: int, method: str) -> int:
        """How many runs of a cell diverged."""
        u = 0 if method == "baseline" else self.u(l, j)
        return self._diverged[hidden, l, u, method]

    def each(
        self, hidden: tuple[int, ...], l: int, j: int, method: str,
        value: Callable[[Row], float],
    ) -> BySeed:  # fmt: skip
        """The `value` of each run of a cell, or of its baseline."""
        u = 0 if method == "baseline" else self.u(l, j)
        rows = self._rows.get((hidden, l, u, method), {})
        return {seed: value(row) for seed, row in rows.items()}

    def gain(
        self, hidden: tuple[int, ...], l: int, j: int, method: str,
        other: str = "baseline",
    ) -> BySeed:  # fmt: skip
        """A cell's errors less those of another method with the same seed, points."""
        return less(self.error(hidden, l, j, method), self.error(hidden, l, j, other))


def less(one: BySeed, other: BySeed) -> BySeed:
    """Differences of the seeds that both have."""
    return {seed: x - other[seed] for seed, x in one.items() if seed in other}


def mean(parts: Iterable[BySeed]) -> Interval:
    """Of the mean over some cells, for each seed that all of them have."""
    found = list(parts)
    seeds = set.intersection(*map(set, found)) if found else set()
    return interval(float(np.mean([p[s] for p in found])) for s in sorted(seeds))
