"""Tables as text, by tabulate; all cells are texts."""

from collections.abc import Iterable, Sequence

import numpy as np
from tabulate import tabulate


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; padding makes it readable as text, too."""
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def mean_std(values: Sequence[float], mean: str = ".2f", std: str = ".2f") -> str:
    """Returns mean ± standard deviation, or the mean alone of one value.

    Args:
      values: one or more.
      mean: the format of the mean.
      std: the format of the standard deviation.
    """
    text = format(np.mean(values), mean)
    return f"{text} ± {np.std(values, ddof=1):{std}}" if len(values) > 1 else text


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
