"""Logs a run: JSON lines, TensorBoard, and a progress bar or lines."""

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import tensorboardX
import tqdm

from mtl.host import processes
from mtl.host import workdir as workdirs
from mtl.host.errors import WorkdirError

Row: TypeAlias = dict[str, float]  # A line of metrics.jsonl: an evaluation.


class Log(contextlib.AbstractContextManager["Log"]):
    """Writes rows of metrics; a context manager.

    Args:
      workdir: gets `metrics.jsonl` and `tensorboard/`.
      start: epochs done before; rows of later ones, left by a run that was killed
        after its last checkpoint, are dropped, for they come again.
      epochs: how many there will be.
      quiet: whether to print nothing.
    """

    def __init__(self, workdir: Path, start: int, epochs: int, quiet: bool = False):
        self._path = workdir / "metrics.jsonl"
        rows = [r for r in read_rows(workdir) if r["epoch"] <= start]
        workdirs.write_text(self._path, "".join(map(_line, rows)))
        self._file = self._path.open("a", buffering=1)
        self._board = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=start + 1
        )
        # Without a terminal there is no bar but a plain line for each row.
        self._bar = tqdm.tqdm(
            total=epochs,
            initial=start,
            unit="epoch",
            disable=quiet or not sys.stderr.isatty(),
        )
        self._epochs = epochs
        self._prints_lines = self._bar.disable and not quiet

    def advance(self) -> None:
        """One more epoch is done."""
        self._bar.update()

    def write(self, row: Mapping[str, float]) -> None:
        """Logs the metrics of an epoch; `row["epoch"]` counts the epochs done."""
        self._file.write(_line(row))
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name, value, row["epoch"])
        shown = {k: v for k, v in row.items() if k.startswith(("valid/", "loss/"))}
        text = "  ".join(f"{k} {v:.4g}" for k, v in shown.items())
        self._bar.set_postfix_str(text, refresh=False)
        if self._prints_lines:
            print(f"epoch {row['epoch']:5d} of {self._epochs}  {text}", flush=True)

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._file.close()
        self._board.close()


class _NoLog(contextlib.nullcontext["_NoLog"]):
    """The log of a process that writes nothing."""

    def __init__(self) -> None:
        super().__init__(self)

    def advance(self) -> None:
        """One more epoch is done."""

    def write(self, row: Mapping[str, float]) -> None:
        """Writes nothing."""


def open_log(
    workdir: Path, start: int, epochs: int, quiet: bool = False
) -> Log | _NoLog:
    """The log of a training; see `Log`. Process 0 alone writes one."""
    return Log(workdir, start, epochs, quiet) if processes.is_first() else _NoLog()


def read_rows(workdir: Path) -> list[Row]:
    """The rows of `metrics.jsonl`; a last line cut short by a kill is left out.

    Raises:
      WorkdirError: a line is no JSON, or no row of numbers with an epoch.
    """
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    try:
        text = path.read_text("utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        rows = [json.loads(line) for line in lines]
    except ValueError as e:
        raise WorkdirError(f"{path} has a line that is no JSON: {e}") from e
    for number, row in enumerate(rows, start=1):
        if not _is_row(row):
            raise WorkdirError(
                f"{path}: line {number} is damaged: it must be numbers by name, with "
                "the epoch"
            )
    return rows


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or "epoch" not in row:
        return False
    return all(type(value) in (int, float) for value in row.values())


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(dict(row)) + "\n"
