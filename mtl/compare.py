"""Compares finished runs: a row for each config, with means over its seeds.

    python -m mtl.compare --figure mnist.png runs/mnist/*

Prints a Markdown table. "Gain" is the difference from a baseline run with the same
seed, labels, network, epochs, learning rate and so on: mean ± standard deviation over
the seeds, in percentage points of error. `--figure` draws test errors against epochs.
Folders without a finished run of system 1 are left out, and named below the table.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from absl import flags
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mtl import config as configs
from mtl import figures
from mtl.host import fields, launch, logs, remote, remote_flags, tables, workdir
from mtl.host.errors import ConfigError, WorkdirError, reason

# Fields that make no difference to a baseline.
UNUSED = (
    *("method", "order", "unsupervised", "schedule", "weighting"),
    *("save_every", "save_minutes", "reconstruct", "vat", "ladder", "gamma"),
)

HEAD = (
    *("method", "l", "u", "hidden", "epochs", "seeds", "test error, last epoch, %"),
    *("gain", "test error, best epoch, %", "seconds a run"),
)

# Fields that have a column, or that a row does not depend on.
SHOWN = ("method", "seed", "epochs", "model.hidden", "data.labelled", "data.unlabelled")


class Summary(TypedDict):
    """Fields of summary.json; `last` and `best` are metrics of these epochs."""

    labelled: int
    unlabelled: int
    seconds: float
    last: dict[str, float]
    best: dict[str, float]


class Run(NamedTuple):
    """A finished run: its config as a dict, its summary, the rows of its log."""

    config: dict
    summary: Summary
    rows: list[logs.Row]


def read(folder: str | Path) -> Run:
    """The run in a folder, or at an address.

    Raises:
      ConfigError: the run is of another program or version.
      WorkdirError: there is none, or it has not finished.
    """
    with remote.local_folder(folder, None) as local:
        return _read(local)


def _read(folder: Path) -> Run:
    saved, path = workdir.load_config(folder), str(folder / "config.json")
    config = fields.complete(saved, configs.default(), path).to_dict()
    if not (folder / "summary.json").exists():
        raise WorkdirError(f"{folder} has not finished: there is no summary.json")
    with workdir.damaged(folder / "summary.json"):
        summary = _summary(workdir.read_json(folder / "summary.json"))
    rows = logs.read_rows(folder)
    if not rows:
        raise WorkdirError(f"{folder} has no rows in metrics.jsonl")
    return Run(config, summary, rows)


def _summary(content: dict[str, Any]) -> Summary:
    """The fields that the table shows."""
    last, best = (
        {"test/error": float(dict(content[epoch])["test/error"])}
        for epoch in ("last", "best")
    )
    return {
        "labelled": int(content["labelled"]),
        "unlabelled": int(content["unlabelled"]),
        "seconds": float(content["seconds"]),
        "last": last,
        "best": best,
    }


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups runs that differ only in their seed."""
    found = defaultdict(list)
    for run in runs:
        found[json.dumps(run.config | {"seed": None}, sort_keys=True)].append(run)
    return list(found.values())


def curves(runs: Sequence[Run]) -> Figure:
    """Test errors against the epoch: mean and range over seeds."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    ax = figure.subplots()
    for group in groups(runs):
        errors = [{row["epoch"]: row["test/error"] for row in r.rows} for r in group]
        epochs = sorted(set.intersection(*(set(e) for e in errors)))
        values = 100 * np.array([[e[t] for t in epochs] for e in errors])
        (line,) = ax.plot(epochs, values.mean(axis=0), label=_name(group[0]))
        span = values.min(axis=0), values.max(axis=0)
        ax.fill_between(epochs, *span, alpha=0.2, color=line.get_color())
    ends = [100 * r.rows[-1]["test/error"] for r in runs]
    ax.set(xlabel="epoch", ylabel="test error, %")
    ax.set_ylim(0.8 * min(ends), 1.8 * max(ends))
    figures.tidy(ax)
    return figure


def table(runs: Sequence[Run]) -> str:
    """The Markdown table; rows are in the order of each config's first run.

    If two rows look alike, a last column has the fields in which the configs differ.
    """
    baseline = {
        _task(run): _error(run, "last")
        for run in runs
        if run.config["method"] == "baseline"
    }
    grouped = groups(runs)
    lines = [_line(group, baseline) for group in grouped]
    if len({tuple(line[:5]) for line in lines}) == len(lines):
        return tables.markdown(HEAD, lines)
    other = _other_fields([group[0] for group in grouped])
    lines = [[*line, text] for line, text in zip(lines, other, strict=True)]
    return tables.markdown((*HEAD, "other fields"), lines)


def _other_fields(runs: Sequence[Run]) -> list[str]:
    """The fields of each run that differ between the runs and have no column."""
    values = [dict(fields.leaves(ConfigDict(run.config))) for run in runs]
    names = [
        name
        for name, value in values[0].items()
        if name not in SHOWN and any(v[name] != value for v in values)
    ]
    return [", ".join(f"{name}={v[name]!r}" for name in names) for v in values]


def _line(group: list[Run], baseline: dict[str, float]) -> list[str]:
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
        tables.mean_std([_error(run, "last") for run in group]),
        tables.mean_std(gains, "+.2f") if gains else "",
        tables.mean_std([_error(run, "best") for run in group]),
        f"{np.mean([run.summary['seconds'] for run in group]):.0f}",
    ]
    return list(map(str, cells))


def _name(run: Run) -> str:
    s = run.summary
    return f"{run.config['method']}, l = {s['labelled']}, u = {s['unlabelled']}"


def _task(run: Run) -> str:
    """What a run shares with its baseline."""
    shared = {k: v for k, v in run.config.items() if k not in UNUSED}
    shared["data"] = run.config["data"] | {"unlabelled": None}
    return json.dumps(shared, sort_keys=True)


def _error(run: Run, epoch: Literal["last", "best"]) -> float:
    return 100 * run.summary[epoch]["test/error"]


def compare(folders: Sequence[str]) -> str:
    """The table of the runs in some folders, or at some addresses.

    Raises:
      ConfigError: no folder is given.
      WorkdirError: no folder has a finished run of system 1, or an address cannot be
        opened.
    """
    if not folders:
        raise ConfigError("give the folders of the runs, such as runs/mnist/*")
    runs, left_out = [], []
    for folder in folders:
        with remote.local_folder(folder, None) as local:
            try:
                runs.append(_read(local))
            except ConfigError:
                left_out.append(f"- {folder} is of another program or version")
            except WorkdirError as e:
                left_out.append(f"- {reason(e)}".replace(str(local), folder))
    head = f"Left out: {len(left_out)} of {len(folders)} folders"
    text = "\n".join([head, *left_out])
    if not runs:
        raise WorkdirError(f"there is no run to compare\n{text}")
    if flags.FLAGS.figure:
        with remote.output(flags.FLAGS.figure) as path:
            figures.save(curves(runs), path)
    return f"{table(runs)}\n\n{text}" if left_out else table(runs)


if __name__ == "__main__":
    remote_flags.define("figure", None, "A PNG to draw the errors' curves into.")
    launch.launch(compare)
