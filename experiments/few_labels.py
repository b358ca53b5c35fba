"""Trains with few labels, with and without unlabelled scans; writes a table and a plot.

    python -m experiments.few_labels --runs runs/few

It takes 45 minutes. An interrupted study can be resumed. It writes
docs/results/l3spot_few.csv and .png, and prints a table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from configs.l3spot import study
from experiments import DOCS
from l3spot.training import experiment
from mtl.host import launch, tables, workdir

LABELLED, SEEDS = (10, 30, 100), (0, 1)
NAMES = {"few": "labelled alone", "few_unlabelled": "and 400 without a label"}


class Row(NamedTuple):
    """A run: its settings, its errors (`l3spot.report.metrics`) and training time."""

    variant: str
    labelled: int
    seed: int
    mean_mm: float
    std_mm: float
    median_mm: float
    within_10_mm: float
    wrong_vertebra: float
    seconds: float


def study_few_labels(arguments: Sequence[str]) -> str:
    """Trains the runs that are missing, writes the results and returns a table."""
    launch.reject_extra_args(arguments)
    root = Path(flags.FLAGS.runs)
    rows = [
        _run(root, variant, labelled, seed)
        for seed in SEEDS for labelled in LABELLED for variant in NAMES
    ]  # fmt: skip
    out = DOCS / "results" / "l3spot_few.csv"
    workdir.write_csv(out, Row._fields, rows)
    _draw(rows).savefig(out.with_suffix(".png"), dpi=100)
    return _table(rows)


def _run(root: Path, variant: str, labelled: int, seed: int) -> Row:
    c = study.get_config(variant)
    c.data.labelled, c.seed = labelled, seed
    run = experiment.train_and_evaluate(c, root / f"{variant}-{labelled}-{seed}")
    summary = run.summary
    errors = [round(summary["test"][name], 4) for name in Row._fields[3:-1]]
    numbers = [*errors, summary["seconds"]]
    return Row(variant, labelled, seed, *numbers)


def _cells(rows: list[Row], variant: str, name: str) -> list[list[float]]:
    """Returns for each number of labels the values of all seeds."""
    return [
        [getattr(row, name) for row in rows if row[:2] == (variant, count)]
        for count in LABELLED
    ]


def _draw(rows: list[Row]) -> Figure:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for ax, name, label in zip(
        figure.subplots(1, 2),
        ("median_mm", "wrong_vertebra"),
        ("median error, mm", "at another vertebra"),
        strict=True,
    ):
        for variant, description in NAMES.items():
            values = np.array(_cells(rows, variant, name))
            (line,) = ax.plot(LABELLED, values.mean(1), marker="o", label=description)
            for seed in values.T:
                ax.plot(LABELLED, seed, ".", color=line.get_color(), alpha=0.5)
        ax.set(xscale="log", xlabel="phantoms with a label", ylabel=label)
        ax.set(xticks=LABELLED, xticklabels=LABELLED, ylim=(0, None))
        ax.minorticks_off()
        ax.legend(frameon=False)
    return figure


def _table(rows: list[Row]) -> str:
    """Formats means over the seeds."""
    head = "labels", "training", "error, mm", "median", "within 10 mm", "other bone"
    lines = []
    for i, labelled in enumerate(LABELLED):
        for variant, description in NAMES.items():
            mean, std, median, within, wrong = (
                np.mean(_cells(rows, variant, name)[i]) for name in Row._fields[3:-1]
            )
            shares = [f"{100 * share:.0f} %" for share in (within, wrong)]
            errors = [f"{mean:.1f} ± {std:.1f}", f"{median:.1f}", *shares]
            lines.append([str(labelled), description, *errors])
    return tables.markdown(head, lines)


if __name__ == "__main__":
    flags.DEFINE_string("runs", None, "The folder of the runs.")
    launch.launch(study_few_labels, "runs")
