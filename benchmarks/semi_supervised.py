"""Our classifier beside scikit-learn's semi-supervised ones, on its digits.

    python -m benchmarks.semi_supervised [--labels 50,100] [--splits 5] [--out FILE]

Of the 1797 digits, 500 test, some of the others keep their label, and all of them are
given to `fit`, with -1 for "no label". Each split draws its own tests and labels, as
many labels of each class. `LogisticRegression` and `baseline` train on the labelled
digits alone. Settings are defaults, except `max_iter`, the kernel of LabelSpreading,
because its default suits pixels badly (`knn` is the other one), and what the table
names.

Accuracies are means over the splits; seconds are medians of `fit`, with compilation
(the first fit of a method) as a figure of its own.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from absl import flags
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from benchmarks import measure
from mtl.estimator import EvolvingMTLClassifier
from mtl.host import launch

TEST = 500
FLAGS = flags.FLAGS


class Labelled(NamedTuple):
    """A split: x and y to fit, -1 for "no label", and x and y to test."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def contenders() -> dict[str, Callable[[], BaseEstimator]]:
    """Makes the estimators, by name."""
    ours = EvolvingMTLClassifier
    ladder = {
        "model.norm": "batch",
        "model.noise": 0.3,
        "ladder.costs": (10.0, 1.0, 0.1),
    }
    return {
        "LogisticRegression, labelled rows": lambda: LogisticRegression(max_iter=1000),
        "LabelSpreading, knn": lambda: LabelSpreading(kernel="knn"),
        "SelfTrainingClassifier, LogisticRegression": lambda: SelfTrainingClassifier(
            LogisticRegression(max_iter=1000)
        ),
        "ours, baseline, labelled rows": lambda: ours(method="baseline"),
        "ours, exponential": ours,
        "ours, constant, VAT": lambda: ours(
            method="constant", unsupervised="vat", config={"vat.epsilon": 1.0}
        ),
        "ours, constant, ladder": lambda: ours(
            method="constant", unsupervised="ladder", config=ladder
        ),
    }


def split(labels: int, seed: int) -> Labelled:
    """Draws test rows, and as many labels of each class."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    x, y = x[order] / 16, y[order]
    train = y[TEST:]
    each = [np.flatnonzero(train == c)[: labels // 10] for c in range(10)]
    kept = np.isin(np.arange(len(train)), np.concatenate(each))
    return Labelled(x[TEST:], np.where(kept, train, -1), x[:TEST], y[:TEST])


def fit(make: Callable[[], BaseEstimator], data: Labelled, seed: int) -> list[float]:
    """The seconds of `fit`, and the accuracy on the test rows."""
    model = make()
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    x, y = data.x, data.y
    if isinstance(model, LogisticRegression):
        x, y = x[y >= 0], y[y >= 0]
    start = time.perf_counter()
    model.fit(x, y)
    return [time.perf_counter() - start, float(model.score(data.x_test, data.y_test))]


class Row(TypedDict):
    """A contender with some labels: accuracies are shares, times are of `fit`."""

    method: str
    labels: int
    accuracy: float
    deviation: float
    first_fit_s: float
    seconds: float


def rows(labels: int, splits: int) -> Iterator[Row]:
    """A row for each contender."""
    for name, make in contenders().items():
        found = [fit(make, split(labels, seed), seed) for seed in range(splits)]
        seconds, accuracy = zip(*found, strict=True)
        yield {
            "labels": labels,
            "method": name,
            "accuracy": statistics.mean(accuracy),
            "deviation": statistics.stdev(accuracy),
            "first_fit_s": seconds[0],
            "seconds": statistics.median(seconds[1:]),
        }


def main(arguments: Sequence[str]) -> str:
    """Measures and returns the table."""
    launch.reject_extra_args(arguments)
    found = [r for l in FLAGS.labels for r in rows(int(l), FLAGS.splits)]
    where = measure.machine(None, ("jax", "scikit-learn"))
    measure.write({"machine": where, "splits": FLAGS.splits, "rows": found})
    head = ["method", "labels", "accuracy %", "±", "first fit s", "seconds"]
    lines = [
        (r["method"], r["labels"], 100 * r["accuracy"], 100 * r["deviation"],
         r["first_fit_s"], r["seconds"])
        for r in found
    ]  # fmt: skip
    table = measure.table(head, lines, ("d", ".1f", ".1f", ".2f", ".2f"))
    return f"{measure.describe(where)}\n\n{table}"


if __name__ == "__main__":
    flags.DEFINE_list("labels", ["50", "100"], "Numbers of labelled digits.")
    flags.DEFINE_integer("splits", 5, "Draws of labels and test digits, 2 or more.")
    measure.define_out()
    launch.launch(main)
