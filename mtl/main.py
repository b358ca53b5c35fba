"""Trains system 1.

python -m mtl.main --config digits --workdir runs/digits
"""

from collections.abc import Sequence

from absl import flags, logging

from mtl import config as configs
from mtl import experiment, metrics
from mtl.host import cluster, launch, named_configs, remote_flags, tables

MAX_CLASSES = 30  # In the table that is printed; summary.json has all.


def train(arguments: Sequence[str]) -> str:
    """Trains from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if "study" in args.config:
        logging.warning(
            "this trains one run; `evolving-mtl study` trains config.study, the grid"
        )
    s = experiment.train_and_evaluate(args.config, args.workdir).summary
    best, last = s["best"]["test/error"], s["last"]["test/error"]
    classes = tables.markdown(*metrics.table(s["test"]))
    few = len(s["test"]["classes"]) <= MAX_CLASSES
    return (
        f"{s['method']}, {s['labelled']} labelled and {s['unlabelled']} unlabelled: "
        f"test error {best:.2%} at the best epoch, {s['best_epoch']}, "
        f"and {last:.2%} at the last, {s['epochs']}.\n"
        + (f"The test set at the best epoch:\n\n{classes}\n\n" if few else "")
        + f"F1 {s['best']['test/f1']:.3f}, "
        f"calibration error {s['best']['test/calibration_error']:.3f}. "
        f"{s['total_seconds']:.0f} s on {s['device']}; all of it is in {args.workdir}"
    )


if __name__ == "__main__":
    named_configs.define_flag("mtl", "The experiment's config.")
    remote_flags.define_workdir("The run's folder, new or to resume.")
    work = cluster.on_hosts(remote_flags.in_workdir(train))
    launch.launch(work, "config", "workdir", default=configs.default)
