"""Trains system 1.

python -m mtl.main --config digits --workdir runs/digits
"""

from collections.abc import Sequence

from absl import flags

from mtl import config as configs
from mtl import experiment
from mtl.host import cluster, launch, named_configs


def train(arguments: Sequence[str]) -> str:
    """Trains from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    s = experiment.train_and_evaluate(args.config, args.workdir).summary
    best, last = s["best"]["test/error"], s["last"]["test/error"]
    grid = "This was one run; mtl.study trains config.study, the grid.\n"
    return (grid if "study" in args.config else "") + (
        f"{s['method']}, {s['labelled']} labelled and {s['unlabelled']} unlabelled: "
        f"test error {best:.2%} at the best epoch, {s['best_epoch']}, "
        f"and {last:.2%} at the last, {s['epochs']}.\n"
        f"{s['total_seconds']:.0f} s on {s['device']}; all of it is in {args.workdir}"
    )


if __name__ == "__main__":
    named_configs.define_flag("mtl", "The experiment's config.")
    flags.DEFINE_string("workdir", None, "The run's folder: new, or to resume.")
    launch.launch(cluster.on_hosts(train), "config", "workdir", default=configs.default)
