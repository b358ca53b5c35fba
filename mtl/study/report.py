"""A study's report: tables with spreads and tests; for Table 1 also claims and figures.

A grid with one u has tables with a line for each method.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mtl import figures
from mtl.host import tables, workdir
from mtl.study import statistics
from mtl.study.cells import Cells
from mtl.study.claims import Claim, claims
from mtl.study.results import Row
from mtl.study.statistics import Interval, interval

LEGEND = (
    "Test error after the last epoch, points against the baseline of the same seed."
)
LEGEND_OF_METHODS = (
    "Errors in %, after the last epoch and of the epoch that is best on validation; "
    "gains in points, of the last epoch, against the baseline of the same seed."
)
ALPHA = 0.05

Cell = tuple[tuple[int, ...], int, int, str]  # The network, l, the column, the method.

ERRORS: dict[str, Callable[[Row], float]] = {
    "test, last": lambda row: 100 * row.test_error,
    "test, best": lambda row: 100 * row.best_test_error,
    "validation, best": lambda row: 100 * row.best_valid_error,
}


def write(config: ConfigDict, folder: Path, cells: Cells) -> str:
    """Writes table.md, and two figures for Table 1; returns the text of table.md."""
    if len(config.study.unlabelled) == 1:
        parts = by_method(config, cells)
    else:
        parts = [*by_unlabelled(config, cells), *claims_table(claims(cells))]
        figures.save(against_u(config, cells), folder / "error_against_u.png")
        figures.save(against_l(config, cells), folder / "gain_against_l.png")
    text = "\n\n".join(parts) + "\n"
    workdir.write_text(folder / "table.md", text)
    return text


class Gains:
    """The gains of a report's cells, and which of them differ from 0.

    Attributes:
      legend: how many tests there are, and how many cells have one and two stars.
    """

    def __init__(self, config: ConfigDict, cells: Cells):
        every = [
            (tuple(hidden), l, j, method)
            for _, part in _parts(config)
            for hidden, l, method in product(part.hidden, cells.labelled, part.methods)
            for j in cells.columns(l)
            if method != "baseline"
        ]
        self._cells = cells
        self._gain = {cell: interval(cells.gain(*cell).values()) for cell in every}
        p = [gain.p for gain in self._gain.values()]
        adjusted = statistics.corrected(p)
        self._adjusted = dict(zip(self._gain, adjusted, strict=True))
        seeds = sorted({gain.n for gain in self._gain.values() if gain.n > 1})
        self.legend = _legend(p, adjusted, seeds)

    def text(self, cell: Cell) -> str:
        """Mean ± standard deviation, with stars."""
        if cell[3] == "baseline":
            return _cell(interval(self._cells.gain(*cell).values()), 0)
        gain = self._gain[cell]
        stars = sum(bool(p < ALPHA) for p in (gain.p, self._adjusted[cell]))
        return _cell(gain, self._cells.diverged(*cell), stars)


def _legend(p: Sequence[float], adjusted: np.ndarray, seeds: Sequence[int]) -> str:
    text = (
        "Mean ± standard deviation over seeds. `-`: not there yet; a run that diverged "
        "counts in no mean."
    )
    tests = int(np.isfinite(p).sum())
    if not tests:
        return text
    freedom = " or ".join(str(n - 1) for n in seeds)
    alone, after = (int((np.array(x) < ALPHA).sum()) for x in (p, adjusted))
    return (
        f"{text} `*`: paired t test with {freedom} degrees of freedom, p < {ALPHA}, "
        f"each cell on its own. `**`: also after the correction of Benjamini and "
        f"Hochberg for the {tests} tests of this report. {alone} cells have a star, "
        f"{after} have two; by chance alone, about {ALPHA * tests:.0f} would have one."
    )


def by_unlabelled(config: ConfigDict, cells: Cells) -> list[str]:
    """For each part and l a table in Markdown: a line a u, a column a method."""
    gains = Gains(config, cells)
    found = [f"{LEGEND} {gains.legend}"]
    for name, part in _parts(config):
        for l in cells.labelled:
            lines, base = [], [_baseline(cells, tuple(h), l) for h in part.hidden]
            found.append(f"### ({name}) l = {l:,}; baseline {', '.join(base)} %")
            columns = [
                (tuple(h), m)
                for h in part.hidden
                for m in part.methods
                if m != "baseline"
            ]
            several = len(part.hidden) > 1
            heads = ["u", *(_head(h, m, several) for h, m in columns)]
            for j in cells.columns(l):
                each = [gains.text((h, l, j, m)) for h, m in columns]
                lines.append([f"{cells.u(l, j):,}", *each])
            found.append(tables.markdown(heads, lines))
    return found


def by_method(config: ConfigDict, cells: Cells) -> list[str]:
    """For each part and l a table in Markdown: a line a network and method."""
    gains = Gains(config, cells)
    found = [f"{LEGEND_OF_METHODS} {gains.legend}"]
    for name, part in _parts(config):
        gain = ["gain"] if "baseline" in part.methods else []
        heads = ["", *ERRORS, "seconds a run", *gain]
        several = len(part.hidden) > 1
        alone = "" if several else f"hidden {_text(part.hidden[0])}, "
        for l in cells.labelled:
            found.append(f"### ({name}) {alone}l = {l:,}, u = {cells.u(l, 0):,}")
            lines = []
            for h, method in product(part.hidden, part.methods):
                cell = tuple(h), l, 0, method
                lost = cells.diverged(*cell)
                each = [cells.each(*cell, value) for value in ERRORS.values()]
                line = [_cell(interval(x.values()), lost, sign="") for x in each]
                seconds = list(cells.each(*cell, lambda row: row.seconds).values())
                line.append(f"{np.mean(seconds):.2g}" if seconds else "-")
                line += [gains.text(cell) for _ in gain]
                lines.append([_head(h, method, several), *line])
            found.append(tables.markdown(heads, lines))
    return found


def claims_table(found: list[Claim]) -> list[str]:
    """The claims as a Markdown table: a row for each claim and each of its parts."""
    lines = []
    for n, claim in enumerate(found, start=1):
        lines.append([f"**{n}. {claim.text}**", f"**{claim.verdict}**", ""])
        lines += [[f.what, f.verdict, span(f.value)] for f in claim.findings]
    heads = "claim", "verdict", "seen, points (95 % interval)"
    return ["### Claims", tables.markdown(heads, lines)]


def against_u(config: ConfigDict, cells: Cells) -> Figure:
    """Test error of the first network against u, a panel an l, means and ranges."""
    part = next(iter(config.study.parts.values()))
    figure = Figure(figsize=(4.2 * len(cells.labelled), 3.8), layout="constrained")
    axes = figure.subplots(1, len(cells.labelled), squeeze=False)[0]
    for ax, l in zip(axes, cells.labelled, strict=True):
        for method in part.methods:
            columns = cells.columns(l)
            each = [cells.error(cells.hidden[0], l, j, method) for j in columns]
            _band(ax, [cells.u(l, j) for j in columns], each, method)
        if not ax.lines:
            ax.text(0.5, 0.5, "not there yet", ha="center", transform=ax.transAxes)
        us = [cells.u(l, j) for j in cells.columns(l)]
        least = next((u for u in us if u > 0), 1)
        most = max(us[-1], least)
        powers = 10.0 ** np.arange(np.ceil(np.log10(least)), np.log10(most) + 1e-9)
        ax.set_xscale("symlog", linthresh=least)
        ax.set_xticks([0, *powers])
        ax.set(title=f"l = {l:,}", xlabel="u")
        figures.tidy(ax, legend=False)
    axes[0].set_ylabel("test error, %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure


def against_l(config: ConfigDict, cells: Cells) -> Figure:
    """The gain of `exponential` with all images: against l, and against depth."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    by_l, by_depth = figure.subplots(1, 2, sharey=True)
    last = cells.columns(cells.labelled[0])[-1]

    def gains(points: list[tuple[tuple[int, ...], int]]) -> np.ndarray:
        each = [interval(cells.gain(h, l, last, "exponential").values())
                for h, l in points]  # fmt: skip
        return np.array([[i.mean for i in each], [i.std for i in each]])

    for h in cells.hidden:
        mean, std = gains([(h, l) for l in cells.labelled])
        by_l.errorbar(cells.labelled, mean, std, marker="o", capsize=3,
                      label=f"{len(h)} hidden")  # fmt: skip
    for l in cells.labelled:
        mean, std = gains([(h, l) for h in cells.hidden])
        depths = [len(h) for h in cells.hidden]
        by_depth.errorbar(depths, mean, std, marker="o", capsize=3, label=f"l = {l:,}")
    by_l.set(xscale="log", xlabel="l", ylabel="exponential less baseline, points")
    by_depth.set(xlabel="hidden layers", xticks=[len(h) for h in cells.hidden])
    for ax in (by_l, by_depth):
        ax.axhline(0, color="black", lw=0.8)
        figures.tidy(ax)
    return figure


def _band(ax: Axes, u: list[int], each: list[dict[int, float]], name: str) -> None:
    """The mean over seeds, and from the least to the most, where there are any."""
    there = [(x, list(e.values())) for x, e in zip(u, each, strict=True) if e]
    if there:
        x = [a for a, _ in there]
        style = "k--" if name == "baseline" else ".-"
        (line,) = ax.plot(x, [np.mean(e) for _, e in there], style, label=name)
        low, high = [min(e) for _, e in there], [max(e) for _, e in there]
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.15, lw=0)


def _parts(config: ConfigDict) -> list[tuple[str, ConfigDict]]:
    """Those that have a cell, by name."""
    return [(n, p) for n, p in config.study.parts.items() if p.hidden and p.methods]


def _baseline(cells: Cells, hidden: tuple[int, ...], l: int) -> str:
    error = interval(cells.error(hidden, l, 0, "baseline").values())
    return _cell(error, cells.diverged(hidden, l, 0, "baseline"), sign="")


def _head(hidden: Sequence[int], method: str, several: bool) -> str:
    return f"{_text(hidden)}, {method}" if several else method


def _text(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))


def _cell(i: Interval, diverged: int, stars: int = 0, sign: str = "+") -> str:
    lost = f" ({diverged} diverged)" if diverged else ""
    if i.n == 0:
        return lost.strip() or "-"
    spread = "" if math.isnan(i.std) else f" ± {i.std:.2f}"
    return f"{i.mean:{sign}.2f}{spread}{'*' * stars}{lost}"


def span(i: Interval) -> str:
    """Formats a mean with its interval, as far as there are enough differences."""
    if math.isnan(i.low):
        return "-" if i.n == 0 else f"{i.mean:+.2f}"
    return f"{i.mean:+.2f} ({i.low:+.2f} to {i.high:+.2f})"
