"""Trains variants of system 2 from the same initial parameters, with several seeds.

python -m structured.compare --config digits --workdir runs/c

Each run has its own folder, such as runs/c/mlp_in-0; a finished run is not trained
again. The variants share their compiled programs: one program for each set of tasks
with a loss weight at the same time, four in all. On an accelerator, all seeds of a
variant train at the same time in one program. The workdir gets table.md,
results.csv, figures and report.html.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import jax
from absl import flags
from ml_collections import ConfigDict

from mtl.engine import sharding
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import compile_epoch
from mtl.engine.fit_many import compile_epoch_of_runs
from mtl.engine.training import Training
from mtl.host import launch, named_configs, remote_flags, tables, workdir
from mtl.host.errors import ConfigError
from mtl.sweeps import grid
from structured import config as configs
from structured import data, experiment, tasks
from structured.data import Dataset
from structured.experiment import Run
from structured.report import comparison
from structured.report.comparison import VariantRuns

# Config, folder and dataset.
RunInputs: TypeAlias = tuple[ConfigDict, Path, Dataset]
Programs: TypeAlias = Callable[[Training], CompiledEpoch]


def compare(
    config: ConfigDict,
    folder: str | Path,
    variants: Sequence[str] = tasks.VARIANTS,
    seeds: Sequence[int] = (0, 1, 2),
    at_once: bool | None = None,
) -> dict[str, VariantRuns]:
    """Trains the runs of some variants and seeds, or reads finished ones.

    Args:
      config: the config of all runs; variant and seed are replaced.
      folder: gets a folder for each run, and the comparison.
      variants: some of tasks.VARIANTS, in the order of the table.
      seeds: the seeds of each variant.
      at_once: whether the seeds of a variant train at the same time; None: on an
        accelerator they do, if `patience` is 0 and each run has one device.

    Returns:
      The runs by variant.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    for name, values in {"variants": variants, "seeds": seeds}.items():
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"{name} must be one or more, each once, not {values}")
    folder = Path(folder)
    by_variant = {v: [run_config(config, v, s) for s in seeds] for v in variants}
    for c in itertools.chain(*by_variant.values()):
        configs.check(c)
    if at_once is None:
        at_once = can_train_at_once(config)
    programs = share_programs(compile_epoch_of_runs if at_once else compile_epoch)
    datasets: dict[int, Dataset] = {}
    results = {}
    for variant, own in by_variant.items():
        runs = [(c, folder / f"{variant}-{c.seed}", _dataset(c, datasets)) for c in own]
        done = _train(runs, at_once, programs)
        # Their states are much larger than their parameters.
        results[variant] = VariantRuns(
            [dataclasses.replace(run, state=None) for run in done],
            [comparison.read_log(x, y[1]) for x, y in zip(done, runs, strict=True)],
        )
    comparison.write_results(folder / "results.csv", results)
    table = tables.markdown(*comparison.make_table(results))
    workdir.write_text(folder / "table.md", table + "\n")
    comparison.write_report(folder, config, next(iter(datasets.values())), results)
    return results


def run_config(config: ConfigDict, variant: str, seed: int) -> ConfigDict:
    """Returns a copy of the config with another variant and seed."""
    c = ConfigDict(config.to_dict())
    c.variant, c.seed = variant, seed
    return c


def can_train_at_once(config: ConfigDict) -> bool:
    """Whether seeds gain from training at the same time, and the config allows it."""
    devices = sharding.device_count(config.devices, config.batch_size)
    return jax.default_backend() != "cpu" and config.patience == 0 and devices == 1


def _dataset(config: ConfigDict, datasets: dict[int, Dataset]) -> Dataset:
    """Loads the dataset of a run, or returns that of an earlier run."""
    seed = data.seed_of(config)
    if seed not in datasets:
        datasets[seed] = data.load(config)
    return datasets[seed]


def _train(runs: Sequence[RunInputs], at_once: bool, programs: Programs) -> list[Run]:
    """Trains the runs of a variant, at the same time or one after the other."""
    variant = runs[0][0].variant
    if at_once and variant != "mean":
        seeds = ", ".join(str(c.seed) for c, _, _ in runs)
        print(f"{variant}, seeds {seeds} at the same time", flush=True)
        return experiment.train_at_once(runs, programs)
    done = []
    for config, folder, dataset in runs:
        print(f"{variant}, seed {config.seed}", flush=True)
        run = experiment.train_and_evaluate(config, folder, dataset, programs)
        done.append(run)
    return done


def share_programs(make: Programs = compile_epoch) -> Programs:
    """Returns a function that gives the first training's programs to all trainings."""
    shared: list[CompiledEpoch] = []

    def programs(training: Training) -> CompiledEpoch:
        if not shared:
            shared.append(make(training))
        return shared[0]

    return programs


def launcher(arguments: Sequence[str]) -> str:
    """Compares variants from command-line flags and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    seeds = grid.parse_seeds(args.seeds)
    results = compare(args.config, args.workdir, args.variants, seeds)
    table = tables.markdown(*comparison.make_table(results))
    page = Path(args.workdir) / "report.html"
    return f"{table}\n\nFigures and table: {page}"


if __name__ == "__main__":
    named_configs.define_flag("structured", "The config of all runs.")
    remote_flags.define_workdir("The folder of all runs; runs in it are resumed.")
    flags.DEFINE_list("variants", list(tasks.VARIANTS), "The variants to train.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "The seeds of each variant.")
    work = remote_flags.in_workdir(launcher)
    launch.launch(work, "config", "workdir", default=configs.default)
