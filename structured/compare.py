"""Trains variants of system 2 from the same initial parameters, with several seeds.

python -m structured.compare --config digits --workdir runs/c

Each run has its own folder, such as runs/c/mlp_in-0; a finished run is not trained
again. The variants share their compiled programs: one program for each set of tasks
with a loss weight at the same time, four in all. The workdir gets table.md,
results.csv, figures and report.html.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Training, compile_epoch
from mtl.host import launch, named_configs, tables, workdir
from mtl.host.errors import ConfigError
from structured import config as configs
from structured import data, experiment, tasks
from structured.data import Dataset
from structured.report import comparison
from structured.report.comparison import VariantRuns


def compare(
    config: ConfigDict,
    folder: str | Path,
    variants: Sequence[str] = tasks.VARIANTS,
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, VariantRuns]:
    """Trains the runs of some variants and seeds, or reads finished ones.

    Args:
      config: the config of all runs; variant and seed are replaced.
      folder: gets a folder for each run, and the comparison.
      variants: some of tasks.VARIANTS, in the order of the table.
      seeds: the seeds of each variant.

    Returns:
      The runs by variant.

    Raises:
      mtl.host.errors.Error: the user can fix the error; the message says how.
    """
    for name, values in {"variants": variants, "seeds": seeds}.items():
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"{name} must be one or more, each once, not {values}")
    folder, programs = Path(folder), share_programs()
    run_configs = [run_config(config, v, s) for v in variants for s in seeds]
    for c in run_configs:
        configs.check(c)
    results = {v: VariantRuns([], []) for v in variants}
    datasets: dict[int, Dataset] = {}
    for c in run_configs:
        # The seed also draws the pairs that are kept, if their number is limited.
        data_seed = c.seed if config.data.pairs >= 0 else 0
        if data_seed not in datasets:
            datasets[data_seed] = data.load(c)
        run_folder = folder / f"{c.variant}-{c.seed}"
        print(f"{c.variant}, seed {c.seed}", flush=True)
        dataset = datasets[data_seed]
        run = experiment.train_and_evaluate(c, run_folder, dataset, programs)
        run = dataclasses.replace(run, state=None)  # Is much larger than parameters.
        results[c.variant].runs.append(run)
        results[c.variant].logs.append(comparison.read_log(run, run_folder))
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


def share_programs() -> Callable[[Training], CompiledEpoch]:
    """Returns a function that gives the first training's programs to all trainings."""
    shared: list[CompiledEpoch] = []

    def programs(training: Training) -> CompiledEpoch:
        if not shared:
            shared.append(compile_epoch(training))
        return shared[0]

    return programs


def launcher(arguments: Sequence[str]) -> str:
    """Compares variants from command-line flags and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    unknown = set(args.variants) - set(tasks.VARIANTS)
    if unknown:
        raise ConfigError(f"--variants must be some of {','.join(tasks.VARIANTS)}")
    try:
        seeds = [int(seed) for seed in args.seeds]
    except ValueError as e:
        raise ConfigError(f"--seeds must be whole numbers, not {args.seeds}") from e
    results = compare(args.config, args.workdir, args.variants, seeds)
    table = tables.markdown(*comparison.make_table(results))
    page = Path(args.workdir) / "report.html"
    return f"{table}\n\nFigures and table: {page}"


if __name__ == "__main__":
    named_configs.define_flag("structured", "The config of all runs.")
    flags.DEFINE_string(
        "workdir", None, "The folder of all runs; runs in it are resumed."
    )
    flags.DEFINE_list("variants", list(tasks.VARIANTS), "The variants to train.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "The seeds of each variant.")
    launch.launch(launcher, "config", "workdir", default=configs.default)
