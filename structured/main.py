"""Trains one run of system 2.

python -m structured.main --config digits --workdir runs/digits
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mtl.host import cluster, launch, named_configs, remote_flags
from structured import config as configs
from structured import data, experiment
from structured.report import comparison
from structured.report.comparison import VariantRuns


def train(arguments: Sequence[str]) -> str:
    """Trains from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    config, folder = args.config, Path(args.workdir)
    configs.check(config)
    dataset = data.load(config)
    run = experiment.train_and_evaluate(config, folder, dataset)
    runs = VariantRuns([run], [comparison.read_log(run, folder)])
    comparison.write_report(folder, config, dataset, {config.variant: runs})
    s = run.summary
    scores = ", ".join(f"{k} {v:.4g}" for k, v in sorted(s["test"].items()))
    return (
        f"{s['variant']}, {s['pairs']} pairs, {s['x_only']} x alone, {s['y_only']} y "
        f"alone.{comparison.describe_partial(dataset)} On the test set: {scores}.\n"
        f"{s['total_seconds']:.0f} s on {s['device']}; all files are in {args.workdir}"
    )


if __name__ == "__main__":
    named_configs.define_flag("structured", "The config of the run.")
    remote_flags.define_workdir("The folder of the run; a run in it is resumed.")
    work = cluster.on_hosts(remote_flags.in_workdir(train))
    launch.launch(work, "config", "workdir", default=configs.default)
