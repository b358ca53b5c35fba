"""Our classifier beside scikit-learn's semi-supervised ones, on digits or IDX files.

    python -m benchmarks.semi_supervised [--labels 50,100] [--splits 5] [--out FILE]
    python -m benchmarks.semi_supervised --idx DIR [--rows 5000] [--test 5000]

Of scikit-learn's 1,797 digits, or of the images in IDX files (MNIST, Fashion-MNIST),
some test, some of the others keep their label, and all of the others are given to
`fit`, with -1 for "no label". Each split draws its own tests and labels, as many labels
of each class. `LogisticRegression` and `baseline` train on the labelled rows alone.
Settings are defaults, except `max_iter`, the kernel of LabelSpreading, because its
default suits pixels badly (`knn` is the other one), and what the table names.

Accuracies are means over the splits; seconds are medians of `fit`, with compilation
(the first fit of a method) as a figure of its own. Beside other work, the CPU's seconds
of all cores count, and not the clock's.
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
from mtl.data import idx
from mtl.estimator import EvolvingMTLClassifier
from mtl.host import launch
from mtl.host.errors import ConfigError

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


def check(y: np.ndarray) -> None:
    """Checks the flags against all labels [N].

    Raises:
      ConfigError: names the flag.
    """
    measure.check_splits(FLAGS.splits)
    fitted, classes = min(FLAGS.rows, len(y) - FLAGS.test), len(np.unique(y))
    if FLAGS.test < 1 or fitted < 1:
        raise ConfigError(
            f"--test={FLAGS.test} and --rows={FLAGS.rows} must each be 1 or more, and "
            f"leave rows to fit of {len(y):,}"
        )
    for labels in FLAGS.labels:
        if not labels.isdecimal() or not classes <= int(labels) <= fitted:
            raise ConfigError(
                f"--labels={labels} must be from {classes}, one a class, to {fitted:,}"
            )


def read() -> tuple[np.ndarray, np.ndarray]:
    """Reads all images [N, D], from 0 to 1, and their labels [N]."""
    if FLAGS.idx is None:
        x, y = load_digits(return_X_y=True)
        return x / 16, y
    train, _ = idx.load(FLAGS.idx, field="--idx")
    return train.x.reshape(len(train.x), -1), train.y


def split(x: np.ndarray, y: np.ndarray, labels: int, seed: int) -> Labelled:
    """Draws test rows, the rows to fit, and as many labels of each class."""
    test, rng = FLAGS.test, np.random.default_rng(seed)
    order = rng.permutation(len(y))[: test + FLAGS.rows]
    x, y = x[order], y[order]
    train, classes = y[test:], np.unique(y)
    each = [np.flatnonzero(train == c)[: labels // len(classes)] for c in classes]
    kept = np.isin(np.arange(len(train)), np.concatenate(each))
    return Labelled(x[test:], np.where(kept, train, -1), x[:test], y[:test])


def fit(make: Callable[[], BaseEstimator], data: Labelled, seed: int) -> list[float]:
    """The clock's and the CPU's seconds of `fit`, and the accuracy on the test rows."""
    model = make()
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    x, y = data.x, data.y
    if isinstance(model, LogisticRegression):
        x, y = x[y >= 0], y[y >= 0]
    clocks = time.perf_counter, time.process_time
    start = [clock() for clock in clocks]
    model.fit(x, y)
    seconds = [clock() - begun for clock, begun in zip(clocks, start, strict=True)]
    return [*seconds, float(model.score(data.x_test, data.y_test))]


class Row(TypedDict):
    """A contender with some labels: accuracies are shares, times are of `fit`."""

    method: str
    labels: int
    accuracy: float
    deviation: float
    first_fit_s: float
    seconds: float
    cpu_s: float


def rows(x: np.ndarray, y: np.ndarray, labels: int, splits: int) -> Iterator[Row]:
    """A row for each contender."""
    for name, make in contenders().items():
        drawn = (split(x, y, labels, seed) for seed in range(splits))
        found = [fit(make, data, seed) for seed, data in enumerate(drawn)]
        seconds, cpu, accuracy = zip(*found, strict=True)
        yield {
            "labels": labels,
            "method": name,
            "accuracy": statistics.mean(accuracy),
            "deviation": statistics.stdev(accuracy),
            "first_fit_s": seconds[0],
            "seconds": statistics.median(seconds[1:]),
            "cpu_s": statistics.median(cpu[1:]),
        }


def main(arguments: Sequence[str]) -> str:
    """Measures and returns the table."""
    launch.reject_extra_args(arguments)
    x, y = read()
    check(y)
    found = [r for l in FLAGS.labels for r in rows(x, y, int(l), FLAGS.splits)]
    where = measure.machine(None, ("jax", "scikit-learn"))
    drawn = {"splits": FLAGS.splits, "test": FLAGS.test}
    drawn["fit"] = min(FLAGS.rows, len(y) - FLAGS.test)
    measure.write({"machine": where, **drawn, "rows": found})
    head = ["method", "labels", "accuracy %", "±", "first fit s", "seconds", "CPU s"]
    lines = [
        (r["method"], r["labels"], 100 * r["accuracy"], 100 * r["deviation"],
         r["first_fit_s"], r["seconds"], r["cpu_s"])
        for r in found
    ]  # fmt: skip
    table = measure.table(head, lines, ("d", ".1f", ".1f", ".2f", ".2f", ".2f"))
    counts = (
        f"of {len(y):,} images, {drawn['fit']:,} to fit and {drawn['test']:,} to test"
    )
    return f"{measure.describe(where)}\n{counts}\n\n{table}"


if __name__ == "__main__":
    flags.DEFINE_list("labels", ["50", "100"], "Numbers of labelled rows.")
    flags.DEFINE_integer("splits", 5, "Draws of labels and test rows, 2 or more.")
    flags.DEFINE_string("idx", None, "Folder of IDX files, in place of the digits.")
    flags.DEFINE_integer("rows", 5000, "Rows to fit, or all that are left.")
    flags.DEFINE_integer("test", 500, "Rows to test.")
    measure.define_out()
    launch.launch(main)
