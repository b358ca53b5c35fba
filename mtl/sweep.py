"""Trains system 1 with each combination of some values of config fields.

    python -m mtl.sweep --config digits --workdir runs/sweep \
        --grid optim.learning_rate=0.01,0.1 --grid "model.hidden=(50,),(60,50)" \
        --seeds 0,1,2

Each run has its own folder, such as runs/sweep/optim.learning_rate=0.1,.../seed0, as
mtl.main writes it. The same command resumes, and trains no finished run again; more
values or seeds add runs. Runs that differ in their data alone share compiled programs.

The workdir gets results.csv, a row for each run, and table.md, means and standard
deviations over the seeds. A run that diverged or failed is a row with its reason.
`--shard 2/8` trains the second of eight parts; `--report` writes the results so far.
"""

from functools import lru_cache
from pathlib import Path

from ml_collections import ConfigDict, FrozenConfigDict

from mtl import config as configs
from mtl import experiment, metrics
from mtl.config import DATA_FIELDS
from mtl.data import datasets
from mtl.data.datasets import Dataset
from mtl.host.errors import ConfigError
from mtl.sweeps import launcher
from mtl.sweeps.programs import SharedPrograms
from mtl.sweeps.runs import System

CHOSEN = ("labelled", "unlabelled", "balanced")  # Choose rows of loaded images.
COLUMNS = "best/valid/error", "best/test/error", "last/test/error", "seconds"


def system() -> System:
    """Returns system 1, as a sweep uses it."""
    programs = SharedPrograms(DATA_FIELDS)

    @lru_cache(maxsize=1)
    def load(parts: FrozenConfigDict, lazy: bool) -> Dataset:
        return datasets.load(ConfigDict(parts), lazy)

    def train(config: ConfigDict, folder: Path) -> None:
        parts = {k: v for k, v in config.data.items() if k not in CHOSEN}
        dataset = load(FrozenConfigDict(parts), config.shard_data)
        experiment.train_and_evaluate(config, folder, dataset, programs.of(config))

    free = experiment.free_fields
    return System(configs.default, check, free, train, COLUMNS, metrics.MODES)


def check(config: ConfigDict) -> None:
    """Checks the config of a run.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    if "study" in config:
        raise ConfigError("config.study is a grid of its own; mtl.study trains it")
    configs.check(config)


if __name__ == "__main__":
    launcher.main("mtl", system())
