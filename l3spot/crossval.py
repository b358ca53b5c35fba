"""Cross-validates by patient: no network is tested on a patient of its training set.

python -m l3spot.crossval --config phantom --workdir runs/folds

WORKDIR gets a run for each fold (fold0, fold1, ...), predictions.csv with a row for
each scan, and summary.json. A finished fold is not repeated. Errors cover all scans
with L3 in view, whatever their confidence; `confident` counts those below the least
confidence as missed. As in the paper's table, there are the mean ± standard deviation
of each fold, and the means of both.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from l3spot.localize import model
from l3spot.localize.model import Model
from l3spot.report import metrics
from l3spot.report.metrics import Errors
from l3spot.training import config as configs
from l3spot.training import experiment, initial, scoring, split
from l3spot.training.dataset import ProjectionDataset, checksum
from mtl.host import launch, named_configs, remote_flags, tables, workdir
from mtl.host.errors import ConfigError
from mtl.own_metrics import Named


class PredictionRow(NamedTuple):
    """A row of predictions.csv; L3's positions are mm below the top of the scan."""

    fold: int
    patient: np.integer
    l3_mm: np.floating
    predicted_mm: np.floating
    confidence: np.floating


class Fold(NamedTuple):
    """The errors on a fold: of all positions, and of the confident ones."""

    errors: Errors
    confident: Errors


class CrossValidation(NamedTuple):
    """The errors on each fold, and the average of the folds' errors."""

    folds: list[Fold]
    average: Errors

    def to_json(self) -> dict[str, object]:
        """Returns the content of summary.json."""
        folds = [fold.errors | {"confident": fold.confident} for fold in self.folds]
        return {"folds": folds, "average": self.average}


def cross_validate(
    config: ConfigDict, folder: str | Path, count: int
) -> CrossValidation:
    """Trains and tests a network for each fold.

    Args:
      config: of each run; `data.validation` scans outside the fold validate.
      folder: the workdir.
      count: the number of folds, 2 or more.

    Raises:
      mtl.host.errors.Error: the user can fix it; the message says how.
    """
    configs.check(config)
    if count < 2:
        raise ConfigError(f"--folds={count} must be 2 or more")
    if config.data.test:
        raise ConfigError("config.data.test must be 0: the folds are the test sets")
    folder = Path(folder)
    # A missing weights file is found before the scans are read.
    net, params = initial.init_network(config)
    dataset = experiment.load_dataset(config)
    facts = {"folds": count, "scans": len(dataset.hu), "crc32": checksum(dataset)}
    free = experiment.free_fields(config, folder)
    workdir.prepare(folder, config, facts, free, configs.default())
    own = scoring.load_metrics(config.metrics)
    rows: list[PredictionRow] = []
    folds: list[Fold] = []
    for k, (rest, test) in enumerate(split.folds(dataset, count, config.seed)):
        no_test = split.select(test, np.arange(0))  # The fold is tested below.
        datasets = experiment.split_validation(config, rest, no_test)
        experiment.train(config, folder / f"fold{k}", net, params, datasets)
        trained = model.load(folder / f"fold{k}" / "model.safetensors")
        errors, predictions = _test(trained, k, test, own)
        rows += predictions
        folds.append(errors)
    workdir.write_csv(folder / "predictions.csv", PredictionRow._fields, rows)
    result = CrossValidation(folds, metrics.average([f.errors for f in folds]))
    workdir.write_json(folder / "summary.json", result.to_json())
    return result


def _test(
    trained: Model, k: int, test: ProjectionDataset, own: Named
) -> tuple[Fold, list[PredictionRow]]:
    """Tests fold k; returns its errors, and its rows of predictions.csv."""
    predicted, confidence = scoring.predict(trained, test)
    true = scoring.true_rows(test)
    errors = scoring.errors_in_view(predicted, true, own)
    confident = scoring.confident_errors(predicted, confidence, test)
    rounded = np.round(true, 2), np.round(predicted, 2), np.round(confidence, 4)
    columns = zip(test.patient, *rounded, strict=True)
    return Fold(errors, confident), [PredictionRow(k, *row) for row in columns]


def table(result: CrossValidation) -> str:
    """Formats the errors of the folds as a Markdown table."""
    heads = "fold", "scans", "error, mm", "median", "within 10 mm", "wrong vertebra"
    own = [name for name in result.average if name not in scoring.NAMES]
    lines = []
    folds = [(str(k), fold.errors) for k, fold in enumerate(result.folds)]
    for name, e in [*folds, ("average", result.average)]:
        shares = [f"{100 * e[k]:.1f} %" for k in ("within_10_mm", "wrong_vertebra")]
        spread = f"{e['mean_mm']:.2f} ± {e['std_mm']:.2f}"
        numbers = [f"{e['compared']:g}", spread, f"{e['median_mm']:.2f}"]
        lines.append([name, *numbers, *shares, *(f"{e[k]:.4g}" for k in own)])
    return tables.markdown([*heads, *own], lines)


def launcher(arguments: Sequence[str]) -> str:
    """Cross-validates from command-line flags and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    return table(cross_validate(args.config, args.workdir, args.folds))


if __name__ == "__main__":
    named_configs.define_flag("l3spot", "The config of each run.")
    remote_flags.define_workdir("The folder of all runs; runs in it are resumed.")
    flags.DEFINE_integer("folds", 5, "The number of folds.")
    work = remote_flags.in_workdir(launcher)
    launch.launch(work, "config", "workdir", default=configs.default)
