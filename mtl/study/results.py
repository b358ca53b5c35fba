"""The results of a study: a CSV with one row for each finished run."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mtl.host import workdir
from mtl.host.errors import WorkdirError
from mtl.study.grid import Run
from mtl.study.sweep import Progress


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


def rows(runs: Sequence[Run], p: Progress) -> list[Row]:
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
    """The rows of a file; none if there is no file.

    Raises:
      WorkdirError: it is no table of results.
    """
    if not path.exists():
        return []
    kinds = list(Row.__annotations__.values())
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = list(csv.reader(stream))
        if tuple(lines[0]) != Row._fields:
            raise ValueError(f"its columns are not {', '.join(Row._fields)}")
        return [
            Row(*(kind(x) for kind, x in zip(kinds, line, strict=True)))
            for line in lines[1:]
        ]
    except (ValueError, IndexError, csv.Error) as e:
        raise WorkdirError(f"{path} is no table of this study: {e}") from e


def write(path: Path, found: Sequence[Row]) -> None:
    """Writes the file atomically; floats have six digits."""
    lines = [[f"{x:.6g}" if isinstance(x, float) else x for x in r] for r in found]
    workdir.write_csv(path, Row._fields, lines)
