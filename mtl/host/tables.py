"""Tables as text, by tabulate; all cells are texts."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; padding makes it readable as text, too."""
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int]) -> str:
    """Returns rows in aligned columns, two spaces apart.

    Args:
      rows: cells; all rows have the same number.
      right: the columns that are right-aligned, from 0; the others are left-aligned.
    """
    align = ["left"] * len(rows[0])
    for column in right:
        align[column] = "right"
    return tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=align)
