"""Trains the network that finds L3 (system 3).

python -m l3spot.main --config configs/l3spot/phantom.py --workdir runs/l3spot
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from l3spot.training import experiment
from mtl.host import launch


def train(arguments: Sequence[str]) -> str:
    """Trains from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    summary = experiment.train_and_evaluate(args.config, args.workdir).summary
    errors = ", ".join(f"{k} {v:.4g}" for k, v in summary["confident"].items())
    return (
        f"On the validation set: {errors}.\n"
        f"{summary['total_seconds']:.0f} s on {summary['device']}; the model is "
        f"{args.workdir}/model.safetensors"
    )


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "The experiment's config file.")
    flags.DEFINE_string("workdir", None, "The run's folder; a run in it is resumed.")
    launch.launch(train, "config", "workdir")
