"""Reads CSV files that have a row of a NamedTuple in each line."""

import csv
from pathlib import Path
from typing import NamedTuple, TypeVar

Row = TypeVar("Row", bound=NamedTuple)


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Returns the lines of a CSV; an empty number is NaN.

    Args:
      path: of the file, with a heading for each field.
      kind: of the rows; their fields are str, int or float.
    """
    types = kind.__annotations__

    def value(name: str, text: str) -> object:
        return text if types[name] is str else types[name](text or "nan")

    with path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    return [kind._make(value(k, line[k]) for k in kind._fields) for line in lines]
