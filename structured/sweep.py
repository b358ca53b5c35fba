"""Trains system 2 with each combination of some values of config fields.

    python -m structured.sweep --config digits \
        --workdir runs/sweep --grid optim.learning_rate=0.003,0.01 \
        --grid variant=mlp,mlp_in_out --seeds 0,1,2

Each run has its own folder, such as runs/sweep/optim.learning_rate=0.01,.../seed0, as
structured.main writes it. The same command resumes, and trains no finished run again;
more values or seeds add runs. Runs that differ in their data alone share compiled
programs.

The workdir gets results.csv, a row for each run, and table.md, means and standard
deviations over the seeds. A run that diverged or failed is a row with its reason.
`--shard 2/8` trains the second of eight parts; `--report` writes the results so far.
"""

from functools import lru_cache
from pathlib import Path

from ml_collections import ConfigDict, FrozenConfigDict

from mtl.sweeps import launcher
from mtl.sweeps.programs import SharedPrograms
from mtl.sweeps.runs import System
from structured import assemble, data, experiment, scoring
from structured import config as configs
from structured.config import DATA_FIELDS

COLUMNS = (
    *("best/valid/mse", "test/mse", "test/nrmse", "test/auc_0.5"),
    *("test/fr_0.10_inter_ocular", "seconds"),
)


def system() -> System:
    """Returns system 2, as a sweep uses it."""
    programs = SharedPrograms(DATA_FIELDS)

    @lru_cache(maxsize=1)
    def load(parts: FrozenConfigDict) -> data.Dataset:
        return data.load(ConfigDict(parts))

    def train(config: ConfigDict, folder: Path) -> None:
        seed = data.seed_of(config)
        parts = {"data": config.data, "augmentation": config.augmentation, "seed": seed}
        dataset = load(FrozenConfigDict(parts))
        shared = programs.of(config, assemble.constants(dataset.train))
        experiment.train_and_evaluate(config, folder, dataset, shared)

    functions = configs.default, configs.check, experiment.free_fields, train
    return System(*functions, COLUMNS, scoring.MODES)


if __name__ == "__main__":
    launcher.main("structured", system())
