"""Trains every cell of a study, or reports the finished runs.

    python -m mtl.study --config table1 --workdir runs/table1 \
        --config.data.path=DIR

The grid is `config.study`; it sets `model.hidden`, `data.labelled`, `data.unlabelled`,
`method` and `seed` of each run. Another value of these fields is an error.

Writes results.csv, with a row for each run, and the report: table.md and figures. The
same command resumes an interrupted study. A finished run is never trained again, and
more seeds or cells add to the table. `--report` only writes the report, also while the
study runs.

`--shard 2/8` trains the second of eight parts, in a folder of its own inside WORKDIR,
such as on one of eight machines of the same kind. The end of each part writes
results.csv and the report of all parts so far. If the machines share no file system,

    python -m mtl.study --config CONFIG --workdir runs/table1 --merge A B ...

joins their folders A, B, ... into runs/table1, and names the runs that lack.

On a CPU, each core is a device, unless XLA_FLAGS or JAX_NUM_CPU_DEVICES sets their
number.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags
from ml_collections import ConfigDict

from mtl import config as configs
from mtl.host import launch, named_configs, remote, remote_flags, shards
from mtl.host.errors import ConfigError
from mtl.host.wording import named
from mtl.study import grid, join, run


def work(arguments: Sequence[str]) -> str:
    """Trains or reports from command-line flags and returns the report."""
    args = flags.FLAGS
    if sum(map(bool, (args.report, args.merge, args.shard))) > 1:
        raise ConfigError("give only one of --report, --merge and --shard")
    if args.merge:
        with contextlib.ExitStack() as stack:
            copies = [remote.local_folder(a, None) for a in arguments]
            sources = [stack.enter_context(copy) for copy in copies]
            return _merge(args.config, Path(args.workdir), sources)
    launch.reject_extra_args(arguments)
    shard = shards.parse(args.shard)
    grid.check(args.config)
    if not user_sets_devices():
        # On a CPU, each core becomes a device, up to one for each run of a program.
        devices = min(launch.cores(), args.config.study.seeds_per_program)
        jax.config.update("jax_num_cpu_devices", devices)
    if not args.report and not run.study(args.config, args.workdir, shard):
        return f"--shard={shard} has no run; fewer shards are enough"
    return run.make_report(args.config, args.workdir)


def _merge(config: ConfigDict, folder: Path, sources: Sequence[Path]) -> str:
    """Joins folders of the study and returns the report, and what is not in order."""
    if not sources:
        raise ConfigError("--merge needs the folders to join: --merge PART1 PART2")
    joined = join.merge(config, folder, sources)
    lines = [run.make_report(config, folder)]
    lacking, doubled = (list(map(str, runs)) for runs in joined)
    if lacking:
        lines.append(named(lacking, "run", "has", "have", "no result"))
    if doubled:
        lines.append(named(doubled, "run", "is", "are", "in several"))
    return "\n".join(lines)


def user_sets_devices() -> bool:
    """Whether XLA_FLAGS or JAX_NUM_CPU_DEVICES sets the number of CPU devices."""
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    return in_flags or "JAX_NUM_CPU_DEVICES" in os.environ


if __name__ == "__main__":
    named_configs.define_flag("mtl", "The study's config.")
    remote_flags.define_workdir("The study's folder; a study in it is resumed.")
    flags.DEFINE_bool("report", False, "Only write the report.")
    flags.DEFINE_bool("merge", False, "Join the folders that follow into the workdir.")
    shards.define_flag("runs")
    in_workdir = remote_flags.in_workdir(work)
    launch.launch(in_workdir, "config", "workdir", default=configs.default)
