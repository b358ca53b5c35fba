"""Table 1 at several learning rates: the verdicts beside each other.

The learning rate of each cell can also be chosen, by the mean validation error after
the last epoch. Test errors choose nothing.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from ml_collections import ConfigDict

from mtl.host import tables
from mtl.study import report
from mtl.study.cells import Cells
from mtl.study.claims import claims
from mtl.study.results import Row

Cell = tuple


def by_cell(rows: Iterable[Row]) -> dict[Cell, list[Row]]:
    """The rows of each cell, one a seed."""
    found: dict[Cell, list[Row]] = {}
    for row in rows:
        found.setdefault(row.run[:4], []).append(row)
    return found


def choose(studies: Mapping[float, Iterable[Row]]) -> dict[Cell, float]:
    """The learning rate of each cell with the lowest mean validation error.

    A cell that diverged with one seed has an error of infinity.

    Args:
      studies: the rows of each learning rate; a cell may be in some of them alone.
    """
    errors: dict[Cell, dict[float, float]] = {}
    for rate, rows in studies.items():
        for cell, seeds in by_cell(rows).items():
            fine = all(row.status == "done" for row in seeds)
            mean = np.mean([row.valid_error for row in seeds]) if fine else np.inf
            errors.setdefault(cell, {})[rate] = float(mean)
    return {cell: min(found, key=found.__getitem__) for cell, found in errors.items()}


def chosen(studies: Mapping[float, Iterable[Row]]) -> list[Row]:
    """The rows of each cell at the learning rate that validation chose for it."""
    rates = choose(studies)
    cells = {rate: by_cell(rows) for rate, rows in studies.items()}
    return [row for cell, rate in rates.items() for row in cells[rate][cell]]


def verdicts(
    config: ConfigDict, studies: Mapping[str, Iterable[Row]], total: int
) -> str:
    """Markdown: a line a part of a claim, a column a study.

    Args:
      config: of the cells that count.
      studies: the rows of each study, by the name of its column.
      total: images to train on.
    """
    found = [claims(Cells(config, rows, total)) for rows in studies.values()]
    lines = []
    for n, same in enumerate(zip(*found, strict=True), start=1):
        lines.append([f"**{n}. {same[0].text}**", *(f"**{c.verdict}**" for c in same)])
        for part in zip(*(c.findings for c in same), strict=True):
            seen = [f"{report.span(p.value)}, {p.verdict}" for p in part]
            lines.append([part[0].what, *seen])
    return tables.markdown(["", *studies], lines)
