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
from mtl.host import remote, workdir
from mtl.host.errors import WorkdirError
from mtl.host.shards import WHOLE, Shard
from mtl.study import grid, join, report, results, split
from mtl.study.cells import Cells
from mtl.study.grid import RunGroup
from mtl.study.trainer import GroupTrainer

BAR = "{desc}  {percentage:.0f} % |{bar:20}| {elapsed} so far, about {remaining} left"


def study(
    config: ConfigDict, folder: str | Path, shard: Shard = WHOLE
) -> list[results.Row]:
    """Trains the runs that are not finished.

    Args:
      config: see `configs/mtl/table1.py`.
      folder: gets results.csv, and checkpoints while it trains.
      shard: the part of the runs that is trained, in a folder of its own. At its end,
        results.csv gets the rows of all shards.

    Returns:
      The rows of these runs of the grid.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    folder = Path(folder)
    place = join.shard_folder(folder, shard)
    grid.check(config)
    dataset = datasets.load(config.data)
    wanted = grid.runs(config, len(dataset.train.y))
    run_config = configs.of_a_run(config)
    described, default = experiment.describe(dataset), configs.default()
    workdir.prepare(folder, run_config, described, configs.FREE, default)
    workdir.make(place, f"the folder {place}")
    with jax.default_matmul_precision(config.precision), workdir.lock(place):
        done, rows = join.read(folder), results.read(place / join.FILE)
        trainer = GroupTrainer(config, dataset)
        groups = grid.run_groups(config, wanted, trainer.vmapped)
        own = [run for group in split.select(groups, shard) for run in group.runs]
        missing = [run for run in own if run not in done]
        left = grid.run_groups(config, missing, trainer.vmapped)
        # Without a terminal there is no bar but a line for each group.
        with tqdm.tqdm(total=sum(map(split.cost, left)), bar_format=BAR,
                       disable=not sys.stderr.isatty()) as bar:  # fmt: skip
            for group in (part for whole in left for part in trainer.parts(whole)):
                rows += _train(trainer, group, place / "checkpoints", bar)
                results.write(place / join.FILE, rows)
                shutil.rmtree(place / "checkpoints", ignore_errors=True)
                remote.push(place)
    done = join.write(folder, wanted)
    return [done[run] for run in own]


def make_report(config: ConfigDict, folder: str | Path) -> str:
    """Writes the report of the finished runs, and returns it.

    Raises:
      WorkdirError: no run is finished, or the folder holds another study.
    """
    folder = Path(folder)
    grid.check(config)
    own, default = configs.of_a_run(config), configs.default()
    workdir.check_same(folder, "config", own, configs.FREE, default)
    done = join.read(folder)
    if not done:
        raise WorkdirError(f"{folder / join.FILE} has no run that is done")
    total = join.training_rows(folder)
    wanted = set(grid.runs(config, total))
    rows = [row for run, row in done.items() if run in wanted]
    text = report.write(config, folder, Cells(config, rows, total))
    return f"{text}\n{len(rows)} of {len(wanted)} runs are there; see {folder}"


def _train(
    trainer: GroupTrainer, group: RunGroup, folder: Path, bar: tqdm.tqdm
) -> list[results.Row]:
    """The rows of a group; checkpoints are saved during training."""
    cost, at, begun = split.cost(group), 0, time.monotonic()
    bar.set_description_str(_name(group))
    # A checkpoint is for as many devices.
    own = repr((group.runs, jax.device_count())).encode()
    for p in trainer.train(group, folder / hashlib.sha256(own).hexdigest()[:16]):
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
