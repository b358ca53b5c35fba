"""What Table 1 of the paper claims, each part as a mean that lies in a range, or not.

Means are over cells, for each seed; the interval is Student's over seeds. The ranges
of "about" and "saturates" are ours: the paper gives no spread.
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from mtl.study import statistics
from mtl.study.cells import BySeed, Cells, less, mean
from mtl.study.statistics import Interval

Cell = tuple[tuple[int, ...], int, int]  # The network, l, and the column.
ABOUT = 0.5  # Points; the largest gain of stairs in the paper is 0.46.
LOSS = 0.95, 1.5  # Points; in the paper, of linear without unlabelled examples.
EVOLVING = ("abridged", "linear", "exponential")


class Finding(NamedTuple):
    """A part of a claim: a mean in points, and where the claim has it."""

    what: str
    value: Interval
    least: float
    most: float

    @property
    def verdict(self) -> str:
        """Whether it holds."""
        return statistics.verdict(self.value, self.least, self.most)


class Claim(NamedTuple):
    """A claim and its parts."""

    text: str
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        """Whether all of it holds."""
        return statistics.together(f.verdict for f in self.findings)


def claims(cells: Cells) -> list[Claim]:
    """The five claims of the paper, and whether it is the number of steps (ours)."""
    one = cells.hidden[0]
    every = [(one, l, j) for l in cells.labelled for j in cells.columns(l)]
    some = [cell for cell in every if cells.u(*cell[1:]) > 0]
    none = [cell for cell in every if cells.u(*cell[1:]) == 0]

    def gains(where: Iterable[Cell], method: str, other: str = "baseline") -> Interval:
        return mean(cells.gain(*cell, method, other) for cell in where)

    def below(what: str, value: Interval) -> Finding:
        return Finding(what, value, -math.inf, 0.0)

    def about(what: str, value: Interval) -> Finding:
        return Finding(what, value, -ABOUT, ABOUT)

    return [
        Claim(
            "Evolving schedules beat stairs, and stairs is about the baseline.",
            [below(f"{m} less stairs, u > 0", gains(some, m, "stairs"))
             for m in EVOLVING]
            + [about("stairs less baseline, u > 0", gains(some, "stairs"))],
        ),
        Claim(
            "Nothing is gained at u = 0, and linear loses 1 to 1.5 points there.",
            [about(f"{m} less baseline, u = 0", gains(none, m))
             for m in ("stairs", "abridged", "exponential")]
            + [Finding("linear less baseline, u = 0", gains(none, "linear"), *LOSS)],
        ),
        Claim("The gain grows with u, then saturates.", _growth(cells, one)),
        Claim("The gain shrinks as l grows.", _by_labels(cells, one)),
        Claim(
            "exponential is the best overall.",
            [below(f"exponential less {m}, all cells",
                   gains(every, "exponential", m))
             for m in ("stairs", "abridged", "linear")],
        ),
        Claim(
            "Ours: it is not the number of supervised steps.",
            [below("exponential less baseline_matched, u > 0",
                   gains(some, "exponential", "baseline_matched")),
             about("baseline_matched less baseline, u > 0",
                   gains(some, "baseline_matched"))],
        ),
    ]  # fmt: skip


def _growth(cells: Cells, hidden: tuple[int, ...]) -> list[Finding]:
    """From the fewest to the middle of the u > 0, and from the last but two on."""
    least = cells.labelled[0]
    some = [j for j in cells.columns(least) if cells.u(least, j) > 0]
    if len(some) < 2:
        return []
    first, last = some[0], some[-1]
    middle, late = some[len(some) // 2], some[max(len(some) - 3, 0)]

    def change(a: int, b: int) -> Interval:
        return mean(
            less(_exponential(cells, hidden, l, b), _exponential(cells, hidden, l, a))
            for l in cells.labelled
        )

    def u(j: int) -> str:
        return f"{cells.u(least, j):,}"

    return [
        Finding(f"exponential, u = {u(middle)} less u = {u(first)}",
                change(first, middle), -math.inf, 0.0),
        Finding(f"exponential, u = {u(last)} less u = {u(late)}",
                change(late, last), -ABOUT, ABOUT),
    ]  # fmt: skip


def _by_labels(cells: Cells, hidden: tuple[int, ...]) -> list[Finding]:
    ls = cells.labelled
    last = cells.columns(ls[0])[-1]
    return [
        Finding(
            f"gain of exponential, l = {a:,} less l = {b:,}, largest u",
            mean([less(_exponential(cells, hidden, a, last),
                       _exponential(cells, hidden, b, last))]), -math.inf, 0.0,
        )
        for a, b in pairwise(ls)
    ]  # fmt: skip


def _exponential(cells: Cells, hidden: tuple[int, ...], l: int, j: int) -> BySeed:
    return cells.gain(hidden, l, j, "exponential")
