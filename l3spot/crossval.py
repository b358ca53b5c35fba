"""Cross-validation by patient: each scan is told by a network that never saw it.

python -m l3spot.crossval --config configs/l3spot/phantom.py --workdir runs/folds

WORKDIR gets a run for each fold (fold0, fold1, ...), predictions.csv with a row for
each scan, and summary.json. A fold that is done is never redone. Errors are those of
all scans that have L3, whether the network is sure of them or not (`confident` counts
those of which it is not as missed), as in the paper's table: mean ± standard deviation
by fold, and then the means of both.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from l3spot.localize import model
from l3spot.report import metrics
from l3spot.training import config as configs
from l3spot.training import experiment, scoring, split
from l3spot.training.dataset import Pool
from mtl.host import launch, markdown, workdir
from mtl.host.errors import ConfigError

COLUMNS = ("fold", "patient", "l3_mm", "predicted_mm", "confidence")


def cross_validate(config: ConfigDict, folder: str | Path, count: int) -> dict:
    """Trains and tests a network for each fold.

    Args:
      config: of each run; `data.valid` scans of what is not in the fold validate.
      folder: the workdir.
      count: folds, 2 or more.

    Returns:
      The summary: by fold and in all the errors of `metrics.errors`, rows in mm.

    Raises:
      mtl.host.errors.Error: something that the user can mend; the message says what.
    """
    configs.check(config)
    if count < 2:
        raise ConfigError(f"--folds={count} must be 2 or more")
    if config.data.test:
        raise ConfigError("config.data.test must be 0: folds test")
    folder = Path(folder)
    whole = experiment.load(config)
    facts = {"folds": count, "scans": len(whole.hu), "of": int(whole.hu.sum())}
    workdir.prepare(folder, config, facts)
    rows: list[tuple] = []
    told: list[dict[str, Any]] = []
    for k, (rest, test) in enumerate(split.folds(whole, count, config.seed)):
        nothing = split.take(test, np.arange(0))  # The fold is tested below.
        given = experiment.parts(config, rest, nothing)
        experiment.train(config, folder / f"fold{k}", given)
        made, found = _test(folder / f"fold{k}", test)
        rows += [(k, *row) for row in found]
        told.append(made)
    workdir.write_csv(folder / "predictions.csv", COLUMNS, rows)
    summary = {"folds": told, "average": metrics.average(told)}
    workdir.write_json(folder / "summary.json", summary)
    return summary


def _test(folder: Path, test: Pool) -> tuple[dict[str, Any], list[tuple]]:
    """The errors of a fold, and its rows."""
    predicted, sure = scoring.predict(model.load(folder / "model.safetensors"), test)
    true = scoring.truth(test)
    seen = ~np.isnan(true)
    errors = metrics.errors(predicted[seen], true[seen])
    confident = scoring.errors(predicted, sure, test)
    columns = test.patient, np.round(true, 2), np.round(predicted, 2), np.round(sure, 4)
    return errors | {"confident": confident}, list(zip(*columns, strict=True))


def table(summary: dict[str, Any]) -> str:
    """In Markdown."""
    heads = "fold", "scans", "error, mm", "median", "within 10 mm", "wrong vertebra"
    lines = []
    named = [*enumerate(summary["folds"]), ("average", summary["average"])]
    for name, e in named:
        shares = [f"{100 * e[k]:.1f} %" for k in ("within_10_mm", "wrong_vertebra")]
        spread = f"{e['mean_mm']:.2f} ± {e['std_mm']:.2f}"
        seen = f"{e['compared']:g}"
        lines.append([str(name), seen, spread, f"{e['median_mm']:.2f}", *shares])
    return markdown.table(heads, lines)


def launcher(arguments: Sequence[str]) -> str:
    """Cross-validates as the flags say; returns the table."""
    launch.no_more(arguments)
    args = flags.FLAGS
    return table(cross_validate(args.config, args.workdir, args.folds))


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "The config of each run.")
    flags.DEFINE_string("workdir", None, "The folder: new, or to resume.")
    flags.DEFINE_integer("folds", 5, "Parts, each of which tests once.")
    launch.launch(launcher, "config", "workdir")
