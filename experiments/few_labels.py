"""Trains with few labels, with and without unlabelled scans; writes a table and a plot.

    python -m experiments.few_labels --runs runs/few

It takes 45 minutes. An interrupted study can be resumed. It writes
docs/results/l3spot_few.csv and .png, and prints a table.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from configs.l3spot import study
from experiments import DOCS
from l3spot.training import experiment

LABELLED, SEEDS = (10, 30, 100), (0, 1)
NAMES = {"few": "labelled alone", "few_unlabelled": "and 400 without a label"}
COLUMNS = ("mean_mm", "std_mm", "median_mm", "within_10_mm", "wrong_vertebra")


def main() -> None:
    """Trains the runs that are missing, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", required=True)
    root = Path(parser.parse_args().runs)
    rows = [
        _run(root, variant, labelled, seed)
        for seed in SEEDS for labelled in LABELLED for variant in NAMES
    ]  # fmt: skip
    out = DOCS / "results" / "l3spot_few.csv"
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    _draw(rows).savefig(out.with_suffix(".png"), dpi=100)
    print(_table(rows))


def _run(root: Path, variant: str, labelled: int, seed: int) -> dict[str, Any]:
    c = study.get_config(variant)
    c.data.labelled, c.seed = labelled, seed
    run = experiment.train_and_evaluate(c, root / f"{variant}-{labelled}-{seed}")
    summary = run.summary
    test = {k: round(summary["test"][k], 4) for k in COLUMNS}
    head = {"variant": variant, "labelled": labelled, "seed": seed}
    return head | test | {"seconds": summary["seconds"]}


def _cells(rows: list[dict[str, Any]], variant: str, name: str) -> list[list[float]]:
    """Returns for each number of labels the values of all seeds."""
    return [
        [r[name] for r in rows if (r["variant"], r["labelled"]) == (variant, n)]
        for n in LABELLED
    ]


def _draw(rows: list[dict[str, Any]]) -> Figure:
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


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| labels | training | error, mm | median | within 10 mm | other bone |"]
    lines.append("|---|---|---|---|---|---|")
    for i, labelled in enumerate(LABELLED):
        for variant, description in NAMES.items():
            mean, std, median, within, wrong = (
                np.mean(_cells(rows, variant, name)[i]) for name in COLUMNS
            )
            lines.append(
                f"| {labelled} | {description} | {mean:.1f} ± {std:.1f} | {median:.1f} "
                f"| {100 * within:.0f} % | {100 * wrong:.0f} % |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
