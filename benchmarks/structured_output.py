"""Our regressor beside Ridge and scikit-learn's MLP, on outputs of many dimensions.

    python -m benchmarks.structured_output [--splits 5] [--out FILE]
    python -m benchmarks.structured_output --validate --splits 1

The data sets are scikit-learn's, or drawn:

    digits      the lower half of a digit from the upper half, 50 pairs; "more rows" has
                550 upper halves and 697 lower halves besides, which only ours takes
    diabetes    six measurements of the blood and the progression, from age, sex, body
                mass and blood pressure, 200 pairs
    low rank    20 outputs of rank 3 that are linear in 30 features, 200 pairs
    friedman    20 outputs of rank 3 that are not linear in 15 features, 400 pairs

The error is the mean squared error divided by that of the mean of the training rows:
below 1 is better than this mean. The test rows of digits and diabetes are fixed, and
each split draws its training rows from the others; the drawn data are drawn for each
split. Columns are divided by their deviation first; pixels are not. Ridge and
MLPRegressor have their defaults; RidgeCV chooses its penalty.

`--validate` compares settings of ours by fivefold cross-validation of the training
rows; no test row takes part.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from absl import flags
from sklearn.base import RegressorMixin
from sklearn.datasets import (
    load_diabetes,
    load_digits,
    make_friedman1,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor

from benchmarks import measure
from mtl.host import launch
from structured.estimator import StructuredRegressor

FLAGS = flags.FLAGS
OURS = "StructuredRegressor"


class Split(NamedTuple):
    """x and y to fit, with rows of NaN where one is missing; and x and y to test."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def paired(self) -> np.ndarray:
        """The indices of the rows to fit that have x and y."""
        lacks = np.isnan(self.x).any(axis=1) | np.isnan(self.y).any(axis=1)
        return np.flatnonzero(~lacks)

    @property
    def pairs(self) -> "Split":
        """The same without rows that lack x or y."""
        return self._replace(x=self.x[self.paired], y=self.y[self.paired])


def digits(seed: int) -> Split:
    """50 pairs of upper and lower halves of digits, and halves alone."""
    images = load_digits().images / 16
    x, y = images[:, :4].reshape(-1, 32), images[:, 4:].reshape(-1, 32)
    split = _split(x, y, 1297, 500, seed)
    split.x[600:], split.y[50:600] = np.nan, np.nan
    return split


def diabetes(seed: int) -> Split:
    """Seven outputs of 442 patients from four features."""
    table, progression = load_diabetes(return_X_y=True)
    y = np.column_stack([table[:, 4:], progression])
    return _split(_unit(table[:, :4]), _unit(y), 200, 100, seed)


def low_rank(seed: int) -> Split:
    """20 outputs, mixtures of three linear functions of 30 features, and noise."""
    x, latent = make_regression(
        500, 30, n_informative=10, n_targets=3, noise=20.0, random_state=seed
    )
    return _split(_unit(x), _mixed(latent, seed), 200, 300, seed)


def friedman(seed: int) -> Split:
    """20 outputs, mixtures of three of Friedman's functions, and noise."""
    drawn = [
        make_friedman1(700, 5, noise=0.5, random_state=3 * seed + k) for k in range(3)
    ]
    x = np.column_stack([x for x, _ in drawn])
    latent = np.column_stack([y for _, y in drawn])
    return _split(_unit(x), _mixed(latent, seed), 400, 300, seed)


def _mixed(latent: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = _unit(latent) @ rng.normal(size=(3, 20))
    return _unit(y + 0.3 * rng.normal(size=y.shape))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / x.std(axis=0)


def _split(x: np.ndarray, y: np.ndarray, count: int, tests: int, seed: int) -> Split:
    """Draws `count` rows to fit; the rows that test do not depend on the seed."""
    order = np.random.default_rng(0).permutation(len(x))
    test, rest = order[:tests], order[tests:]
    rows = np.random.default_rng(seed).permutation(rest)[:count]
    return Split(x[rows], y[rows], x[test], y[test])


DATA: Mapping[str, Callable[[int], Split]] = {
    "digits, more rows": digits,
    "digits": lambda seed: digits(seed).pairs,
    "diabetes": diabetes,
    "low rank": low_rank,
    "friedman": friedman,
}
CONTENDERS: Mapping[str, Callable[[int], RegressorMixin]] = {
    "Ridge": lambda seed: Ridge(),
    "RidgeCV": lambda seed: RidgeCV(np.logspace(-2, 3, 11)),
    "MLPRegressor": lambda seed: MLPRegressor(random_state=seed),
    OURS: lambda seed: StructuredRegressor(random_state=seed),
}
# Settings that `--validate` compares.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    **{f"weight_decay={w}": {"weight_decay": w} for w in (0.0, 0.5, 1.0, 2.0, 5.0)},
    "schedules that fall": {
        "schedule_input": "hold_then_fall",
        "schedule_output": "hold_then_fall",
    },
    "constant learning rate": {"config": {"optim.schedule": "constant"}},
}


class Row(TypedDict):
    """A contender on a data set: errors are relative to the mean, times of `fit`."""

    data: str
    method: str
    error: float
    deviation: float
    seconds: float


def fit(model: RegressorMixin, split: Split) -> tuple[float, float]:
    """The error on the test rows, and the seconds of `fit`."""
    pairs = split.pairs
    given = split if isinstance(model, StructuredRegressor) else pairs
    start = time.perf_counter()
    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):
        model.fit(given.x, given.y)
    seconds = time.perf_counter() - start
    guesses = model.predict(split.x_test), pairs.y.mean(axis=0)
    own, mean = (float(np.square(y - split.y_test).mean()) for y in guesses)
    return own / mean, seconds


def folds(split: Split) -> Iterator[Split]:
    """The training rows alone; each fold tests a fifth of the pairs."""
    for _, held in KFold(5).split(split.paired):
        rows = split.paired[held]
        rest = np.setdiff1d(np.arange(len(split.x)), rows)
        yield Split(split.x[rest], split.y[rest], split.x[rows], split.y[rows])


def rows(
    contenders: Mapping[str, Callable[[int], RegressorMixin]],
    splits: int,
    parts: Callable[[Split], Sequence[Split]],
) -> Iterator[Row]:
    """A row for each data set and contender.

    Args:
      contenders: make an estimator from a seed.
      splits: the number of draws of training and test rows.
      parts: the splits that are fitted of each draw.
    """
    for name, draw in DATA.items():
        for method, make in contenders.items():
            done = [
                fit(make(seed), part)
                for seed in range(splits)
                for part in parts(draw(seed))
            ]
            errors, seconds = zip(*done, strict=True)
            yield {
                "data": name,
                "method": method,
                "error": statistics.mean(errors),
                "deviation": statistics.stdev(errors),
                "seconds": statistics.median(seconds),
            }


def main(arguments: Sequence[str]) -> str:
    """Measures and returns the table."""
    launch.reject_extra_args(arguments)
    measure.check_splits(FLAGS.splits, 1 if FLAGS.validate else 2)
    if FLAGS.validate:
        makers = {
            name: lambda seed, s=s: StructuredRegressor(random_state=seed, **s)
            for name, s in SETTINGS.items()
        }
        found = list(rows(makers, FLAGS.splits, lambda split: list(folds(split))))
    else:
        found = list(rows(CONTENDERS, FLAGS.splits, lambda split: [split]))
    where = measure.machine(None, ("jax", "scikit-learn"))
    measure.write({"machine": where, "splits": FLAGS.splits, "rows": found})
    lines = [
        (r["data"], r["method"], r["error"], r["deviation"], r["seconds"])
        for r in found
    ]
    head = ["data", "method", "error", "±", "seconds"]
    table = measure.table(head, lines, ("", ".3f", ".3f", ".2f"))
    return f"{measure.describe(where)}\n\n{table}"


if __name__ == "__main__":
    flags.DEFINE_integer("splits", 5, "Draws of training and test rows, 2 or more.")
    flags.DEFINE_bool("validate", False, "Compare settings on the training rows alone.")
    measure.define_out()
    launch.launch(main)
