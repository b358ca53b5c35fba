"""Formats the numbers of `l3spot.evaluate` as text in aligned columns."""

from collections.abc import Sequence
from typing import Any

from mtl.host import tables

UNITS = ("slices", "mm")
TABLES = ("folds", "readers")


def text(summary: dict[str, Any]) -> str:
    """Formats the numbers, one a line, then the tables by fold and by reader if any."""
    numbers = [[k, f"{v:.4g}"] for k, v in summary.items() if k not in TABLES]
    parts = [tables.aligned(numbers, right=[1])]
    parts += [_table(k[:-1], rows) for k, rows in summary.items() if k in TABLES]
    return "\n\n".join(parts)


def _table(group: str, rows: Sequence[dict[str, Any]]) -> str:
    """Formats mean ± standard deviation of the absolute error, a row for each group."""
    head = [group, "scans", "compared", *UNITS]
    cells = [
        [str(row[group]), str(int(row["scans"])), str(int(row["compared"]))]
        + [_spread(row, unit) for unit in UNITS]
        for row in rows
    ]
    return tables.aligned([head, *cells], right=range(1, len(head)))


def _spread(row: dict[str, Any], unit: str) -> str:
    if f"mean_{unit}" not in row:
        return "-"
    return f"{row[f'mean_{unit}']:.2f} ± {row[f'std_{unit}']:.2f}"
