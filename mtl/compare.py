"""Compares runs: a line for each config, its seeds taken together.

python -m mtl.compare runs/mnist/*

Prints a Markdown table. "Gain" is the difference from the baseline of the same seed,
labels and network, mean ± standard deviation over the seeds, in points of error.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app

from mtl import launch, workdir
from mtl.errors import WorkdirError

HEAD = (
    "| method | l | u | hidden | epochs | seeds | test error, last epoch, % "
    "| gain | test error, best epoch, % | seconds a run |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


class Run(NamedTuple):
    """A finished run: its config as a dict, and its summary."""

    config: dict
    summary: dict


def read(folder: Path) -> Run:
    """The run in a folder.

    Raises:
      WorkdirError: there is none, or it has not finished.
    """
    config = workdir.load_config(folder).to_dict()
    if not (folder / "summary.json").exists():
        raise WorkdirError(f"{folder} has not finished: there is no summary.json")
    return Run(config, workdir.read_json(folder / "summary.json"))


def table(runs: Sequence[Run]) -> str:
    """The Markdown table, in the order in which the configs first come."""
    groups = defaultdict(list)
    for run in runs:
        groups[json.dumps(run.config | {"seed": None}, sort_keys=True)].append(run)
    baseline = {
        _task(run): _error(run, "last")
        for run in runs
        if run.config["method"] == "baseline"
    }
    return "\n".join([HEAD, *(_line(group, baseline) for group in groups.values())])


def _line(group: list[Run], baseline: dict[str, float]) -> str:
    config, summary = group[0].config, group[0].summary
    gains = [
        _error(run, "last") - baseline[_task(run)]
        for run in group
        if _task(run) in baseline and config["method"] != "baseline"
    ]
    cells = [
        config["method"],
        summary["labelled"],
        summary["unlabelled"],
        "-".join(map(str, config["model"]["hidden"])),
        config["epochs"],
        len(group),
        _spread([_error(run, "last") for run in group]),
        _spread(gains, sign="+") if gains else "",
        _spread([_error(run, "best") for run in group]),
        f"{np.mean([run.summary['seconds'] for run in group]):.0f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _task(run: Run) -> str:
    """What a run shares with its baseline."""
    c = run.config
    shared = c["seed"], c["model"], c["data"]["source"], c["data"]["labelled"]
    return json.dumps(shared, sort_keys=True)


def _error(run: Run, epoch: str) -> float:
    return 100 * run.summary[epoch]["test/error"]


def _spread(values: Sequence[float], sign: str = "") -> str:
    mean = f"{np.mean(values):{sign}.2f}"
    return f"{mean} ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else mean


def compare(folders: Sequence[str]) -> str:
    """The table of the runs in some folders."""
    if not folders:
        raise app.UsageError("give the folders of the runs: mtl.compare runs/mnist/*")
    return table([read(Path(folder)) for folder in folders])


if __name__ == "__main__":
    launch.launch(compare)
