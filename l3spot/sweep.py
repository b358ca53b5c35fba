"""Trains system 3 with each combination of some values of config fields.

    python -m l3spot.sweep --config phantom --workdir runs/sweep \
        --grid optim.learning_rate=0.001,0.002 --grid far_weight=0,0.3 --seeds 0,1,2

Each run has its own folder, such as runs/sweep/optim.learning_rate=0.001,.../seed0, as
l3spot.main writes it. The same command resumes, and trains no finished run again; more
values or seeds add runs. Runs that differ in their data alone share compiled programs.

The workdir gets results.csv, a row for each run, and table.md, means and standard
deviations over the seeds. A run that diverged or failed is a row with its reason.
`--shard 2/8` trains the second of eight parts; `--report` writes the results so far.
"""

from functools import lru_cache
from pathlib import Path

from ml_collections import ConfigDict, FrozenConfigDict

from l3spot.training import config as configs
from l3spot.training import experiment, scoring
from l3spot.training.dataset import ProjectionDataset
from mtl.sweeps import launcher
from mtl.sweeps.programs import SharedPrograms
from mtl.sweeps.runs import System

# Fields that change arrays alone; see SharedPrograms.
DATA_FIELDS = (
    *("seed", "epochs", "optim.learning_rate", "optim.schedule"),
    *("optim.decay_epochs", "optim.warmup_epochs"),
    *("reconstruct.value", "reconstruct.t1", "reconstruct.sigma"),
    *("eval_every", "save_every", "save_minutes", "patience"),
    *("window_stride_px", "mirror"),
)
# Fields of config.data that only divide the scans.
SPLIT_FIELDS = ("test", "validation", "labelled", "unlabelled", "strips")
COLUMNS = (
    *("valid/mean_mm", "valid/median_mm", "valid/within_10_mm", "test/mean_mm"),
    "seconds",
)


def system() -> System:
    """Returns system 3, as a sweep uses it."""
    programs = SharedPrograms(DATA_FIELDS)

    @lru_cache(maxsize=1)
    def load(parts: FrozenConfigDict) -> ProjectionDataset:
        return experiment.load_dataset(ConfigDict(parts))

    def train(config: ConfigDict, folder: Path) -> None:
        parts = {k: v for k, v in config.data.items() if k not in SPLIT_FIELDS}
        scans = load(FrozenConfigDict({"data": parts}))
        experiment.train_and_evaluate(config, folder, scans, programs.of(config))

    functions = configs.default, configs.check, experiment.free_fields, train
    return System(*functions, COLUMNS, scoring.MODES, place="")


if __name__ == "__main__":
    launcher.main("l3spot", system())
