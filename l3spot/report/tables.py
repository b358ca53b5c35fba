"""Formats the numbers of `l3spot.evaluate` as text in aligned columns."""

from collections.abc import Sequence
from typing import Any

UNITS = ("slices", "mm")
TABLES = ("folds", "readers")


def text(summary: dict[str, Any]) -> str:
    """Formats the numbers, one a line, then the tables by fold and by reader if any."""
    numbers = [[k, f"{v:.4g}"] for k, v in summary.items() if k not in TABLES]
    parts = [aligned(numbers)]
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
    return aligned([head, *cells])


def _spread(row: dict[str, Any], unit: str) -> str:
    if f"mean_{unit}" not in row:
        return "-"
    return f"{row[f'mean_{unit}']:.2f} ± {row[f'std_{unit}']:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Pads cells to columns of equal width; the first is left-aligned, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )
