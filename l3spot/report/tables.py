"""What `l3spot.evaluate` measured, as text in aligned columns."""

from collections.abc import Sequence
from typing import Any

UNITS = ("slices", "mm")
TABLES = ("folds", "readers")


def text(told: dict[str, Any]) -> str:
    """The numbers, one a line; then a table by fold and one by reader, if asked for."""
    numbers = [[k, f"{v:.4g}"] for k, v in told.items() if k not in TABLES]
    parts = [aligned(numbers)]
    parts += [_table(name[:-1], rows) for name, rows in told.items() if name in TABLES]
    return "\n\n".join(parts)


def _table(what: str, rows: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation of the absolute error, a row a fold or reader."""
    head = [what, "scans", "compared", *UNITS]
    cells = [
        [str(row[what]), str(int(row["scans"])), str(int(row["compared"]))]
        + [_spread(row, unit) for unit in UNITS]
        for row in rows
    ]
    return aligned([head, *cells])


def _spread(row: dict[str, Any], unit: str) -> str:
    if f"mean_{unit}" not in row:
        return "-"
    return f"{row[f'mean_{unit}']:.2f} ± {row[f'std_{unit}']:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, the first to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )
