"""Trains system 2.

python -m structured.main --config configs/structured/digits.py --workdir runs/digits
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from mtl.host import launch
from structured import config as configs
from structured import data, experiment
from structured.report import comparison
from structured.report.comparison import Group


def train(arguments: Sequence[str]) -> str:
    """Trains as the flags say; returns what it came to, in words."""
    launch.no_more(arguments)
    args = flags.FLAGS
    config, folder = args.config, Path(args.workdir)
    configs.check(config)
    dataset = data.load(config)
    run = experiment.train_and_evaluate(config, folder, dataset)
    group = Group([run], [comparison.read_rows(run, folder)])
    comparison.draw(folder, config, dataset, {config.variant: group})
    s = run.summary
    scores = ", ".join(f"{k} {v:.4g}" for k, v in sorted(s["test"].items()))
    return (
        f"{s['variant']}, {s['pairs']} pairs, {s['x_only']} x alone, {s['y_only']} y "
        f"alone. On the test set: {scores}.\n"
        f"{s['total_seconds']:.0f} s on {s['device']}; all of it is in {args.workdir}"
    )


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "The experiment's config file.")
    flags.DEFINE_string("workdir", None, "The run's folder: new, or to resume.")
    launch.launch(train, "config", "workdir")
