"""Trains system 1.

python -m mtl.main --config configs/mtl/digits.py --workdir runs/digits
"""

import sys
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from mtl import experiment
from mtl.errors import Error
from mtl.logs import quiet

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment's config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder: new, or to resume.")


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    quiet()
    try:
        result = experiment.train_and_evaluate(CONFIG.value, WORKDIR.value)
    except Error as e:
        sys.exit(f"error: {e}")
    s = result.summary
    print(
        f"{s['method']}, {s['labelled']} labelled and {s['unlabelled']} unlabelled: "
        f"test error {s['best']['test/error']:.2%} at the best epoch {s['best_epoch']}, "
        f"{s['last']['test/error']:.2%} at the last, {s['epochs']}\n"
        f"{s['total_seconds']:.0f} s on {s['device']}; all of it is in {WORKDIR.value}"
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
