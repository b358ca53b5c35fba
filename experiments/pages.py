"""Writes the tables of the result pages from the CSV files beside them.

    python -m experiments.pages

A page marks each such table, `<!-- table NAME -->` before and `<!-- end -->` after it.
A test renders all pages and finds nothing to change.
"""

import csv
import itertools
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from ml_collections import ConfigDict

from configs.mtl import table1, weights
from experiments import (
    DOCS,
    draw_few_pairs,
    hard_phantoms,
    public_scans,
    public_variants,
    rates,
    reliability,
)
from mtl.host import launch, tables
from mtl.study import report, results
from mtl.study.cells import Cells
from mtl.study.results import Row

RESULTS = DOCS / "results"
TOTAL = 50_000  # Training images of MNIST, less 10,000 that validate.
STAIRS = {  # The study with each scale of `stairs`' reconstruction loss.
    "0.01": "table1_stairs_0.01",
    "0.03": "table1_stairs_0.03",
    "0.1": "table1_full",
    "0.3": "table1_stairs_0.3",
    "1.0": "table1_stairs_1.0",
}
BLOCK = re.compile(r"(<!-- table (\S+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def rows(name: str) -> list[Row]:
    """The rows of a study, from `docs/results/NAME.csv`."""
    return results.read(RESULTS / f"{name}.csv")


def table_1(config: ConfigDict, name: str) -> str:
    """The cells of a config of Table 1, from one study."""
    return "\n\n".join(report.by_unlabelled(config, Cells(config, rows(name), TOTAL)))


def table_1_reduced(name: str, parts: Sequence[str]) -> str:
    """The cells of some parts of Table 1, in 250 epochs."""
    config = table1.get_config("cpu")
    for part in set(config.study.parts) - set(parts):
        del config.study.parts[part]
    return table_1(config, name)


def table_1_ends() -> ConfigDict:
    """The cells of Table 1 with six seeds at the paper's size: no or all images."""
    config = table1.get_config()
    config.study.labelled, config.study.unlabelled = (100, 1000), (0, -1)
    del config.study.parts.b
    return config


def table_1_verdicts() -> str:
    """The claims at each learning rate, and at the one that validation chose."""
    studies = {0.03: rows("table1"), 0.1: rows("table1_rate_0.1")}
    columns = {f"learning rate {rate:g}": found for rate, found in studies.items()}
    columns["chosen on validation"] = rates.chosen(studies)
    return rates.verdicts(table1.get_config("cpu"), columns, TOTAL)


def table_1_ends_verdicts() -> str:
    """The claims in the cells of `table_1_ends`, at the paper's size and reduced."""
    studies = {
        "5000 epochs, 0.01": "table1_full",
        "250 epochs, 0.03": "table1",
        "250 epochs, 0.1": "table1_rate_0.1",
    }
    found = {column: rows(name) for column, name in studies.items()}
    return rates.verdicts(table_1_ends(), found, TOTAL)


def stairs_scales() -> str:
    """`stairs` at the paper's size, with several scales of its reconstruction loss.

    Errors are those after the last epoch, of the seeds that all scales have.
    """
    config = table_1_ends()
    hidden, everything = config.study.parts.a.hidden[0], 1  # The second column.
    kinds: list[Callable[[Row], float]] = [
        lambda row: 100 * row.valid_error,
        lambda row: 100 * row.test_error,
    ]
    studies = [Cells(config, rows(name), TOTAL) for name in STAIRS.values()]
    lines = []
    for l in config.study.labelled:
        runs = [
            [cells.each(hidden, l, everything, "stairs", kind) for kind in kinds]
            for cells in studies
        ]
        seeds = sorted(set.intersection(*(set(test) for _, test in runs)))
        for scale, each in zip(STAIRS, runs, strict=True):
            errors = [tables.mean_std([by_seed[s] for s in seeds]) for by_seed in each]
            lines.append([f"{l:,}", scale, str(len(seeds)), *errors])
    head = ("l", "scale", "seeds", "validation error, %", "test error, %")
    return tables.markdown(head, lines)


def adaptive_weights() -> str:
    """The methods that set their loss weights themselves."""
    config = weights.get_config()
    return "\n\n".join(report.by_method(config, Cells(config, rows("weights"), TOTAL)))


def ladder() -> str:
    """Errors of the last epoch, and of one that 10,000 labels chose.

    A study that was not trained has no line.
    """
    heads = [
        "labels",
        "settings chosen with",
        "seeds",
        "test error, %, last epoch",
        "at the best epoch of validation",
        "its validation error",
        "seconds a run",
    ]
    lines = []
    for labels, other in itertools.permutations((100, 1000)):
        for chosen_with in (labels, other):
            name = f"best_ladder{labels}"
            found = rows(name if chosen_with == labels else f"{name}_other")
            if not found:
                continue
            columns = ("test_error", "best_test_error", "best_valid_error")
            errors = [
                tables.mean_std([100 * getattr(r, c) for r in found]) for c in columns
            ]
            seconds = f"{np.mean([r.seconds for r in found]):.0f}"
            cells = f"{labels:,}", f"{chosen_with:,} labels", str(len(found))
            lines.append([*cells, *errors, seconds])
    return tables.markdown(heads, lines)


def structured(names: Sequence[str]) -> str:
    """Means and deviations of system 2's variants, a line a study and variant.

    Args:
      names: of the CSV files.
    """
    metrics = {
        "AUC, %": "test/auc_0.5",
        "CDF_0.1, %": "test/cdf_0.1",
        "NME inter-ocular, %": "test/nme_inter_ocular",
    }
    lines = []
    for name in names:
        with (RESULTS / f"{name}.csv").open(newline="") as stream:
            found = list(csv.DictReader(stream))
        for variant in dict.fromkeys(row["variant"] for row in found):
            own = [row for row in found if row["variant"] == variant]
            mse = [
                f"{1e3 * np.mean([float(row[f'{part}/mse']) for row in own]):.2f}"
                for part in ("train", "valid", "test")
            ]
            values = [[100 * float(row[m]) for row in own] for m in metrics.values()]
            lines.append(
                [own[0]["pairs"], variant, str(len(own)), " / ".join(mse)]
                + [tables.mean_std(v) for v in values]
            )
    heads = ["pairs", "variant", "seeds", "MSE ×1e-3 train / valid / test", *metrics]
    return tables.markdown(heads, lines)


TABLES: dict[str, Callable[[], str]] = {
    "table1": partial(table_1_reduced, "table1", ("a", "b")),
    "table1_rate_0.1": partial(table_1_reduced, "table1_rate_0.1", ("a",)),
    "table1_full": lambda: table_1(table_1_ends(), "table1_full"),
    "verdicts": table_1_verdicts,
    "verdicts_full": table_1_ends_verdicts,
    "stairs": stairs_scales,
    "structured_full": partial(structured, ["structured_full"]),
    "structured_few": partial(structured, draw_few_pairs.FEW),
    "weights": adaptive_weights,
    "ladder": ladder,
    "hard_phantoms": lambda: hard_phantoms.table(hard_phantoms.read(hard_phantoms.CSV)),
    "public": lambda: public_scans.summary(*public_scans.read()),
    "public_scans": lambda: public_scans.table(*public_scans.read()),
    "public_variants": lambda: public_variants.table(public_variants.read()),
    "reliability": lambda: reliability.table(reliability.read(reliability.CSV)),
    "order": lambda: reliability.order_table(reliability.read(reliability.CSV)),
    "methods": lambda: reliability.methods_table(reliability.read(reliability.CSV)),
    "numbering": lambda: reliability.numbering_table(reliability.read(reliability.CSV)),
}


def render(text: str) -> str:
    """A page with its tables made again."""
    return BLOCK.sub(lambda m: m[1] + TABLES[m[2]]() + m[3], text)


def write(arguments: Sequence[str]) -> str:
    """Renders all pages and returns which of them changed."""
    launch.reject_extra_args(arguments)
    changed = []
    for path in sorted(RESULTS.glob("*.md")):
        page = path.read_text()
        if render(page) != page:
            path.write_text(render(page))
            changed.append(path.name)
    return f"changed: {', '.join(changed) or 'no page'}"


if __name__ == "__main__":
    launch.launch(write)
