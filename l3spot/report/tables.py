"""Formats the numbers of `l3spot.evaluate` as text in aligned columns."""

from collections.abc import Mapping, Sequence

from l3spot.report.metrics import Errors, Group
from mtl.host import tables

UNITS = ("slices", "mm")
SHARES = {"wrong vertebra": "wrong_vertebra", "inside the body": "inside_body"}


def text(errors: Errors, groups: Mapping[str, Sequence[Group]] | None = None) -> str:
    """Formats the errors, one a line, then a table for each kind of groups.

    Args:
      errors: of all scans.
      groups: by kind ("fold", "reader"); a kind without groups has no table.
    """
    numbers = [[name, f"{value:.4g}"] for name, value in errors.items()]
    parts = [tables.aligned(numbers, right=[1])]
    parts += [_table(kind, each) for kind, each in (groups or {}).items() if each]
    return "\n\n".join(parts)


def _table(kind: str, groups: Sequence[Group]) -> str:
    """Formats mean ± standard deviation of the absolute error, a row for each group."""
    head = [kind, "scans", "compared", *UNITS, *SHARES]
    cells = [
        [name, str(int(e["scans"])), str(int(e["compared"]))]
        + [_spread(e, unit) for unit in UNITS]
        + [f"{100 * e[k]:.1f} %" if k in e else "-" for k in SHARES.values()]
        for name, e in groups
    ]
    return tables.aligned([head, *cells], right=range(1, len(head)))


def _spread(errors: Errors, unit: str) -> str:
    if f"mean_{unit}" not in errors:
        return "-"
    return f"{errors[f'mean_{unit}']:.2f} ± {errors[f'std_{unit}']:.2f}"
