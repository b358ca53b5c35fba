"""The results of a study: a CSV with one row for each finished run."""

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtl.host import csv_text, workdir
from mtl.host.errors import WorkdirError
from mtl.study.grid import Run
from mtl.study.trainer import GroupProgress


class Row(NamedTuple):
    """A run. Errors are shares of wrong labels: after the last epoch, and at `best`.

    hidden: "80-70-60-50". status: "done", or "diverged": then errors are NaN. seconds:
    those of its program, over the number of runs that shared it.
    """

    hidden: str
    labelled: int
    unlabelled: int
    method: str
    seed: int
    status: str
    test_error: float
    valid_error: float
    best_epoch: int
    best_test_error: float
    best_valid_error: float
    seconds: float

    @property
    def run(self) -> Run:
        """Which run this is."""
        hidden = tuple(int(n) for n in self.hidden.split("-"))
        return Run(hidden, self.labelled, self.unlabelled, self.method, self.seed)


READ: dict[type, Callable[[str], Any]] = {float: csv_text.number, int: int, str: str}


def rows(runs: Sequence[Run], p: GroupProgress) -> list[Row]:
    """The rows of a group of finished runs."""
    return [
        Row(
            hidden="-".join(map(str, run.hidden)),
            labelled=run.labelled,
            unlabelled=run.unlabelled,
            method=run.method,
            seed=run.seed,
            status="done" if fine else "diverged",
            test_error=float(p.last["test/error"][i]) if fine else math.nan,
            valid_error=float(p.last["valid/error"][i]) if fine else math.nan,
            best_epoch=int(p.best_epoch[i]),
            best_test_error=float(p.best["test/error"][i]) if fine else math.nan,
            best_valid_error=float(p.best["valid/error"][i]) if fine else math.nan,
            seconds=p.seconds / len(runs),
        )
        for i, (run, fine) in enumerate(zip(runs, p.fine, strict=False))
    ]


def read(path: Path) -> list[Row]:
    """The rows of a file, perhaps with decimal commas; none if there is no file.

    Raises:
      WorkdirError: it is no table of results, or a spreadsheet has changed a cell.
    """
    if not path.exists():
        return []
    try:
        table = csv_text.open_table(path)
        lines = list(table)
    except (ValueError, csv.Error) as e:
        raise WorkdirError(f"{path} is no table of this study: {e}") from e
    if tuple(table.fieldnames or ()) != Row._fields:
        raise WorkdirError(
            f"{path} is no table of this study: its columns are not "
            f"{', '.join(Row._fields)}"
        )
    return [_row(line, f"{path}: row {i}") for i, line in enumerate(lines, start=1)]


def _row(line: Mapping[str, Any], where: str) -> Row:
    """A row from its cells; a short line has cells None, a long one the column None."""
    if None in line or None in line.values():
        raise WorkdirError(
            f"{where} has another number of cells than the {len(Row._fields)} columns; "
            "delete it, and its run trains again"
        )
    found: dict[str, Any] = {}
    for name, kind in Row.__annotations__.items():
        try:
            found[name] = (
                _sizes(line[name]) if name == "hidden" else READ[kind](line[name])
            )
        except ValueError as e:
            raise WorkdirError(
                f"{where} has {name}={line[name]!r}, which a spreadsheet may have "
                "changed; restore it, or delete the row, and its run trains again"
            ) from e
    return Row(**found)


def _sizes(text: str) -> str:
    if not re.fullmatch(r"\d+(-\d+)*", text):
        raise ValueError(text)
    return text


def write(path: Path, found: Sequence[Row]) -> None:
    """Writes the file atomically; floats have six digits."""
    lines = [[f"{x:.6g}" if isinstance(x, float) else x for x in r] for r in found]
    workdir.write_csv(path, Row._fields, lines)
