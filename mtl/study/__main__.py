"""Trains every cell of a study, or reports the finished runs.

    python -m mtl.study --config table1 --workdir runs/table1 \
        --config.data.path=DIR

The grid is `config.study`; it sets `model.hidden`, `data.labelled`, `data.unlabelled`,
`method` and `seed` of each run. Another value of these fields is an error.

Writes results.csv, with a row for each run, and the report: table.md and figures. The
same command resumes an interrupted study. A finished run is never trained again, and
more seeds or cells add to the table. `--report` only writes the report, also while the
study runs.

On a CPU, each core is a device, unless XLA_FLAGS or JAX_NUM_CPU_DEVICES sets their
number.
"""

import os
from collections.abc import Sequence

import jax
from absl import flags

from mtl import config as configs
from mtl.host import launch, named_configs
from mtl.study import grid, run


def work(arguments: Sequence[str]) -> str:
    """Trains or reports from command-line flags and returns the report."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    grid.check(args.config)
    if not user_sets_devices():
        # On a CPU, each core becomes a device, up to one for each run of a program.
        devices = min(launch.cores(), args.config.study.seeds_per_program)
        jax.config.update("jax_num_cpu_devices", devices)
    if not args.report:
        run.study(args.config, args.workdir)
    return run.make_report(args.config, args.workdir)


def user_sets_devices() -> bool:
    """Whether XLA_FLAGS or JAX_NUM_CPU_DEVICES sets the number of CPU devices."""
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    return in_flags or "JAX_NUM_CPU_DEVICES" in os.environ


if __name__ == "__main__":
    named_configs.define_flag("mtl", "The study's config.")
    flags.DEFINE_string(
        "workdir", None, "The folder of the study; a study in it is resumed."
    )
    flags.DEFINE_bool("report", False, "Only write the report.")
    launch.launch(work, "config", "workdir", default=configs.default)
