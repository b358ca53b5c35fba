"""Draws docs/results/structured_few.png: system 2's errors against the number of pairs.

python -m experiments.draw_few_pairs
"""

import csv
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments import DOCS
from mtl import figures
from mtl.host import launch

RESULTS = DOCS / "results"
FEW = [f"structured_few_{pairs}" for pairs in (50, 100, 200, 400)]
ALL = "structured_helen"
VARIANTS = ("mlp", "mlp_in", "mlp_out", "mlp_in_out")
METRIC = "test/nme_inter_ocular"


def errors() -> dict[str, dict[int, list[float]]]:
    """Returns the error in % of each seed, by variant and number of pairs."""
    found: dict[str, dict[int, list[float]]] = {name: {} for name in VARIANTS}
    for study in (*FEW, ALL):
        with (RESULTS / f"{study}.csv").open(newline="") as stream:
            for row in csv.DictReader(stream):
                if row["variant"] in found:
                    seeds = found[row["variant"]].setdefault(int(row["pairs"]), [])
                    seeds.append(100 * float(row[METRIC]))
    return found


def curves(found: dict[str, dict[int, list[float]]]) -> Figure:
    """Draws means and ranges over seeds."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    ax = figure.subplots()
    for name, by_pairs in found.items():
        pairs = np.array(sorted(by_pairs))
        values = [by_pairs[n] for n in pairs]
        (line,) = ax.plot(pairs, [np.mean(v) for v in values], "o-", label=name, ms=4)
        low, high = [min(v) for v in values], [max(v) for v in values]
        ax.fill_between(pairs, low, high, alpha=0.2, lw=0, color=line.get_color())
    ax.set(xscale="log", xlabel="pairs", ylabel="NME inter-ocular, %")
    ax.set_xticks(pairs, pairs)
    ax.xaxis.set_minor_locator(NullLocator())
    figures.tidy(ax)
    return figure


def draw(arguments: Sequence[str]) -> str:
    """Draws the figure and returns its path."""
    launch.reject_extra_args(arguments)
    path = RESULTS / "structured_few.png"
    figures.save(curves(errors()), path)
    return str(path)


if __name__ == "__main__":
    launch.launch(draw)
