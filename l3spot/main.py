"""Trains system 3.

python -m l3spot.main --config configs/l3spot/phantom.py --workdir runs/l3spot
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from l3spot.training import experiment
from mtl.host import launch


def train(arguments: Sequence[str]) -> str:
    """Trains as the flags say; returns what it came to, in words."""
    launch.no_more(arguments)
    args = flags.FLAGS
    s = experiment.train_and_evaluate(args.config, args.workdir)
    told = ", ".join(f"{k} {v:.4g}" for k, v in s["confident"].items())
    return (
        f"On the validation set: {told}.\n"
        f"{s['total_seconds']:.0f} s on {s['device']}; the model is "
        f"{args.workdir}/model.safetensors"
    )


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "The experiment's config file.")
    flags.DEFINE_string("workdir", None, "The run's folder: new, or to resume.")
    launch.launch(train, "config", "workdir")
