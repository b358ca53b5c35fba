"""Trains the runs of a sweep, each in its folder, and reads their results."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from mtl.host import workdir
from mtl.host.errors import (
    DivergedError,
    Error,
    PreemptedError,
    WorkdirError,
    reason,
)
from mtl.host.shards import WHOLE, Shard
from mtl.own_metrics import Mode
from mtl.sweeps.grid import Run

FAILURE = "failure.json"  # In the folder of a run that diverged or failed.
SUMMARY = "summary.json"

Status = Literal["done", "diverged", "failed", "lacking"]


class System(NamedTuple):
    """A system, as a sweep uses it.

    Attributes:
      default: returns the default config.
      check: raises ConfigError if a config makes no sense.
      free: returns the fields in which a config may differ from that of a run in a
        folder.
      train: trains or resumes a run in a folder, and writes summary.json there.
      columns: numbers of summary.json for the table, such as "best/valid/error".
      modes: of the system's metrics that can be the monitor.
      place: of the monitor in summary.json, "best/" or "".
    """

    default: Callable[[], ConfigDict]
    check: Callable[[ConfigDict], None]
    free: Callable[[ConfigDict, Path], Sequence[str]]
    train: Callable[[ConfigDict, Path], object]
    columns: tuple[str, ...]
    modes: Mapping[str, Mode] = {}
    place: str = "best/"


class Outcome(NamedTuple):
    """The outcome of a run.

    Attributes:
      status: "lacking" if the run has not finished.
      why: why it diverged or failed.
      numbers: those of summary.json, such as {"best/valid/error": 0.1}.
    """

    status: Status
    why: str = ""
    numbers: Mapping[str, float] = {}


def check(system: System, runs: Sequence[Run], folder: Path) -> None:
    """Checks all runs before any of them is trained.

    Raises:
      ConfigError: a config makes no sense.
      WorkdirError: the folder of a run has another config.
    """
    for run in runs:
        system.check(run.config)
    for run in runs:
        place = folder / run.name
        if (place / "config.json").exists():
            free = system.free(run.config, place)
            workdir.check_same(place, "config", run.config, free, system.default())


def train(
    system: System, runs: Sequence[Run], folder: Path, shard: Shard = WHOLE
) -> None:
    """Trains the runs of a shard that have not finished.

    A run that diverges, lacks data or memory, or fails for its config, is noted in its
    folder; the next one follows. A run that diverged is not trained again.

    Raises:
      PreemptedError: a signal came; the run at hand is saved.
      WorkdirError: a folder cannot be used.
    """
    own = shard.select(runs)
    for number, run in enumerate(own, start=1):
        place = folder / run.name
        status = read(place).status
        if status == "diverged" or (status == "done" and _is_saved(run, place)):
            continue
        print(f"{number} of {len(own)}: {run.name}", flush=True)
        (place / FAILURE).unlink(missing_ok=True)
        try:
            system.train(run.config, place)
        except (PreemptedError, WorkdirError):
            raise
        except (Error, MemoryError, jax.errors.JaxRuntimeError) as e:
            failed = "diverged" if isinstance(e, DivergedError) else "failed"
            workdir.make(place, f"the folder {place}")
            content = {"status": failed, "why": reason(e)}
            workdir.write_json(place / FAILURE, content)
            print(f"{failed}: {content['why']}", flush=True)


def read(place: Path) -> Outcome:
    """Reads the outcome of a run from its folder.

    Raises:
      WorkdirError: a file in it is damaged.
    """
    failure = place / FAILURE
    if failure.exists():
        content = workdir.read_json(failure)
        if content.get("status") not in ("diverged", "failed"):
            raise WorkdirError(
                f"{failure} is damaged; delete it to train the run again"
            )
        return Outcome(content["status"], str(content.get("why", "")))
    if not (place / SUMMARY).exists():
        return Outcome("lacking")
    summary = flatten_dict(workdir.read_json(place / SUMMARY), sep="/")
    numbers = {k: v for k, v in summary.items() if type(v) in (int, float)}
    return Outcome("done", numbers=numbers)


def _is_saved(run: Run, place: Path) -> bool:
    """Whether a finished run has this config, so that nothing is left to train."""
    saved = workdir.read_json(place / "config.json")
    return saved == json.loads(run.config.to_json())
