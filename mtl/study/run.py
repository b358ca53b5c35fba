"""Trains the unfinished runs of a study, and saves their results."""

import hashlib
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import jax
import tqdm
from ml_collections import ConfigDict

from mtl import config as configs
from mtl import experiment
from mtl.data import datasets
from mtl.host import workdir
from mtl.host.errors import WorkdirError
from mtl.study import grid, report, results
from mtl.study.cells import Cells
from mtl.study.grid import RunGroup
from mtl.study.sweep import Sweep

BAR = "{desc}  {percentage:.0f} % |{bar:20}| {elapsed} so far, about {remaining} left"


def study(config: ConfigDict, folder: str | Path) -> list[results.Row]:
    """Trains the runs that are not finished.

    Args:
      config: see `configs/mtl/table1.py`.
      folder: gets results.csv, and checkpoints while it trains.

    Returns:
      The rows of all the runs of the grid.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    folder = Path(folder)
    grid.check(config)
    dataset = datasets.load(config.data)
    wanted = grid.runs(config, len(dataset.train.y))
    path = folder / "results.csv"
    own = configs.of_a_run(config)
    described, default = experiment.describe(dataset), configs.default()
    workdir.prepare(folder, own, described, configs.FREE, default)
    with jax.default_matmul_precision(config.precision), workdir.lock(folder):
        done = {row.run: row for row in results.read(path)}
        sweep = Sweep(config, dataset)
        missing = [run for run in wanted if run not in done]
        left = grid.run_groups(config, missing, sweep.vmapped)
        # Without a terminal there is no bar but a line for each group.
        with tqdm.tqdm(total=sum(map(_cost, left)), bar_format=BAR,
                       disable=not sys.stderr.isatty()) as bar:  # fmt: skip
            for group in (part for whole in left for part in sweep.parts(whole)):
                rows = _train(sweep, group, folder / "checkpoints", bar)
                done |= {row.run: row for row in rows}
                results.write(path, list(done.values()))
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return [done[run] for run in wanted]


def make_report(config: ConfigDict, folder: str | Path) -> str:
    """Writes the report of the finished runs, and returns it.

    Raises:
      WorkdirError: no run is finished, or the folder holds another study.
    """
    folder = Path(folder)
    grid.check(config)
    own, default = configs.of_a_run(config), configs.default()
    workdir.check_same(folder, "config", own, configs.FREE, default)
    rows = results.read(folder / "results.csv")
    if not rows:
        raise WorkdirError(f"{folder / 'results.csv'} has no run that is done")
    total = workdir.read_json(folder / "data.json")["rows"]["train"]
    wanted = set(grid.runs(config, total))
    rows = [row for row in rows if row.run in wanted]
    text = report.write(config, folder, Cells(config, rows, total))
    return f"{text}\n{len(rows)} of {len(wanted)} runs are there; see {folder}"


def _train(
    sweep: Sweep, group: RunGroup, folder: Path, bar: tqdm.tqdm
) -> list[results.Row]:
    """The rows of a group; checkpoints are saved during training."""
    cost, at, begun = _cost(group), 0, time.monotonic()
    bar.set_description_str(_name(group))
    # A checkpoint is for as many devices.
    own = repr((group.runs, jax.device_count())).encode()
    for p in sweep.train(group, folder / hashlib.sha256(own).hexdigest()[:16]):
        bar.update(cost * (p.epoch - at) / group.config.epochs)
        at = p.epoch
    if bar.disable:
        print(f"{_name(group)}: {time.monotonic() - begun:.0f} s", flush=True)
    return results.rows(group.runs, p)


def _name(group: RunGroup) -> str:
    def each(values: Iterable[object]) -> str:
        return " or ".join(dict.fromkeys(map(str, values)))

    runs = group.runs
    return (
        f"{'-'.join(map(str, runs[0].hidden))}, l = {each(r.labelled for r in runs)}, "
        f"u = {each(r.unlabelled for r in runs)}, {each(r.method for r in runs)}, "
        f"{len(runs)} runs"
    )


def _cost(group: RunGroup) -> float:
    """Estimates the time of a group, in a unit of its own.

    An epoch without reconstruction takes an eighth of the time of one with it.
    """
    rows = group.config.data.labelled + group.config.data.unlabelled
    lasting = [grid.lasts(grid.one_config(group.config, r)) for r in group.runs]
    return rows * sum(share + 1 / 8 for share in lasting)
