"""Trains every cell of a study, or reports the finished runs.

    python -m mtl.study --config configs/mtl/table1.py --workdir runs/table1 \
        --config.data.path=DIR

The grid is `config.study`; it sets `model.hidden`, `data.labelled`, `data.unlabelled`,
`method` and `seed` of each run, and these are not to be set to what it has not.

Leaves results.csv, a row a run, and the report: table.md and figures. The same
command resumes an interrupted study. A finished run is never trained again, and more
seeds or cells add to the table. `--report` trains nothing, also during a study.
"""

from collections.abc import Sequence

import jax
from absl import flags
from ml_collections import config_flags

from mtl import config as configs
from mtl.host import launch
from mtl.study import grid, run


def work(arguments: Sequence[str]) -> str:
    """Trains or reports from command-line flags and returns the report."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    grid.check(args.config)
    # A core is a device, if a cell has as many runs; accelerators are as they are.
    devices = min(launch.cores(), args.config.study.seeds_per_program)
    jax.config.update("jax_num_cpu_devices", devices)
    if not args.report:
        run.study(args.config, args.workdir)
    return run.tell(args.config, args.workdir)


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "The study's config file.")
    flags.DEFINE_string("workdir", None, "The study's folder: new, or to go on with.")
    flags.DEFINE_bool("report", False, "Report what is there; train nothing.")
    launch.launch(work, "config", "workdir", default=configs.default)
