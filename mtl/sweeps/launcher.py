"""The command line that the sweeps of all systems have."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from absl import flags

from mtl import own_metrics
from mtl.host import launch, named_configs, remote_flags, shards
from mtl.host.errors import ConfigError, Error
from mtl.host.wording import counted, some
from mtl.sweeps import grid, runs, table
from mtl.sweeps.runs import System

flags.disclaim_key_flags()  # They are those of the module that calls.


def main(package: str, system: System) -> None:
    """Defines the flags, and trains the sweep of a package's system; exits."""
    named_configs.define_flag(package, "The config of all runs.")
    remote_flags.define_workdir("The folder of all runs; runs in it are resumed.")
    flags.DEFINE_multi_string(
        "grid", [], "A field of the config and its values, as FIELD=VALUE,VALUE."
    )
    flags.DEFINE_list("seeds", [], "The seeds of each setting; default: config.seed.")
    flags.DEFINE_bool("report", False, "Only write the results that are there.")
    shards.define_flag("runs")
    in_workdir = remote_flags.in_workdir(partial(work, system))
    launch.launch(in_workdir, "config", "workdir", default=system.default)


def work(system: System, arguments: Sequence[str]) -> str:
    """Trains or reports from command-line flags, and returns the table.

    Raises:
      Error: a run failed.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.report and args.shard:
        raise ConfigError("give only one of --report and --shard")
    axes = [grid.parse(text, args.config) for text in args.grid]
    seeds = grid.parse_seeds(args.seeds) or [args.config.seed]
    every = grid.runs(args.config, axes, seeds)
    shard, folder = shards.parse(args.shard), Path(args.workdir)
    runs.check(system, every, folder)
    if not args.report:
        runs.train(system, every, folder, shard)
    first = f"{system.place}{args.config.monitor}"
    columns = list(dict.fromkeys((first, *system.columns)))
    mode = own_metrics.mode(args.config, system.modes)
    results = table.write(folder, every, columns, mode)
    text = (
        f"{table.markdown(results, columns, mode)}\n\n{summary(results)}; see {folder}"
    )
    failed = [run.name for run, outcome in results if outcome.status == "failed"]
    if failed:
        print(text)
        number = counted(len(failed), "run")
        raise Error(f"{number} failed; results.csv says why: {some(failed)}")
    return text


def summary(results: table.Results) -> str:
    """Returns how many runs are done, and names those that lack or diverged."""
    done = [outcome for _, outcome in results if outcome.status == "done"]
    parts = [f"{len(done)} of {counted(len(results), 'run')} done"]
    for status in ("lacking", "diverged"):
        names = [run.name for run, outcome in results if outcome.status == status]
        parts += [f"{len(names)} {status}: {some(names)}"] if names else []
    return "; ".join(parts)
