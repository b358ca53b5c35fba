"""Trains the networks that find L3 and the other vertebrae (system 3).

python -m l3spot.main --config phantom --workdir runs/l3spot
python -m l3spot.main --config vertebrae --workdir runs/vertebrae
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict

from l3spot.training import config as configs
from l3spot.training import experiment, vertebrae
from mtl.host import cluster, launch, named_configs, remote_flags


def train(arguments: Sequence[str]) -> str:
    """Trains from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.config.get("stage") == vertebrae.STAGE:
        return _train_vertebrae(args.config, args.workdir)
    summary = experiment.train_and_evaluate(args.config, args.workdir).summary
    errors = ", ".join(f"{k} {v:.4g}" for k, v in summary["confident"].items())
    return (
        f"On the validation set: {errors}.\n"
        f"{summary['total_seconds']:.0f} s on {summary['device']}; the model is "
        f"{args.workdir}/model.safetensors"
    )


def _train_vertebrae(config: ConfigDict, folder: str) -> str:
    summary = vertebrae.train_and_evaluate(config, folder).summary
    errors = [
        f"{name} {key.removeprefix('valid/')} {value:.4g}"
        for name in ("bodies", "ribs")
        for key, value in summary[name]["best"].items()
    ]
    return (
        f"On the validation sets: {', '.join(errors)}.\n"
        f"{summary['total_seconds']:.0f} s on {summary['device']}; the model is "
        f"{folder}/vertebrae.safetensors"
    )


if __name__ == "__main__":
    named_configs.define_flag("l3spot", "The experiment's config.")
    remote_flags.define_workdir("The run's folder; a run in it is resumed.")
    launch.launch(
        cluster.on_hosts(remote_flags.in_workdir(train)),
        "config",
        "workdir",
        default=configs.default,
        stages=[vertebrae.default],
    )
