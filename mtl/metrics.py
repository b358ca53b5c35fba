"""Metrics of a classifier, from its logits; a config may name more of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from mtl import own_metrics
from mtl.own_metrics import Mode, Named

# `(logits [N, classes], labels [N]) -> number`, of jax.numpy.
Function: TypeAlias = Callable[[Array, Array], Array]
BINS = 15


class Metric(NamedTuple):
    """A metric, and whether it is better if it is lower ("min") or higher ("max")."""

    function: Function
    mode: Mode


def error(logits: Float[Array, "n classes"], y: Int[Array, " n"]) -> Float[Array, ""]:
    """The share of wrong labels.

    Examples:
        >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [4.0, 5.0]])
        >>> float(error(logits, jnp.array([0, 1, 1, 1])))
        0.25
    """
    return jnp.mean(logits.argmax(-1) != y)


def loss(logits: Float[Array, "n classes"], y: Int[Array, " n"]) -> Float[Array, ""]:
    """The mean cross-entropy, in nats."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, y[:, None], 1).mean()


def recall(logits: Float[Array, "n classes"], y: Int[Array, " n"]) -> Float[Array, ""]:
    """The mean over classes with rows of their recall: the balanced accuracy."""
    matrix = confusion(logits, y)
    share = jnp.diag(matrix) / jnp.maximum(matrix.sum(1), 1)
    return share.sum() / (matrix.sum(1) > 0).sum()


def f1(logits: Float[Array, "n classes"], y: Int[Array, " n"]) -> Float[Array, ""]:
    """The mean F1 over the classes that have rows or are predicted."""
    matrix = confusion(logits, y)
    both = matrix.sum(0) + matrix.sum(1)
    return (2 * jnp.diag(matrix) / jnp.maximum(both, 1)).sum() / (both > 0).sum()


def calibration_error(
    logits: Float[Array, "n classes"], y: Int[Array, " n"]
) -> Float[Array, ""]:
    """The expected calibration error, over 15 equal bins (Guo et al. 2017).

    It is the mean over rows of |accuracy - mean confidence| in the row's bin of
    confidence, the probability of the predicted class.
    """
    confidence = jax.nn.softmax(logits).max(-1)
    bins = jnp.clip(jnp.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    right = (logits.argmax(-1) == y).astype(confidence.dtype)
    gaps = jnp.zeros(BINS, confidence.dtype).at[bins].add(right - confidence)
    return jnp.abs(gaps).sum() / len(y)


def confusion(
    logits: Float[Array, "n classes"], y: Int[Array, " n"]
) -> Int[Array, "classes classes"]:
    """Counts of rows: a line for each true class, a column for each predicted one.

    Examples:
        >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [4.0, 5.0]])
        >>> confusion(logits, jnp.array([0, 1, 1, 1])).tolist()
        [[1, 0], [1, 2]]
    """
    classes = logits.shape[-1]
    return jnp.zeros((classes, classes), int).at[y, logits.argmax(-1)].add(1)


METRICS = {
    "error": Metric(error, "min"),
    "loss": Metric(loss, "min"),
    "recall": Metric(recall, "max"),
    "f1": Metric(f1, "max"),
    "calibration_error": Metric(calibration_error, "min"),
}
MODES = {name: metric.mode for name, metric in METRICS.items()}
BASIC: Named = (("error", error), ("loss", loss))


def functions(own: Sequence[str]) -> Named:
    """All metrics by name: those of METRICS, and `config.metrics`.

    Args:
      own: functions by their paths, such as "package.module:kappa", which is "kappa".

    Raises:
      ConfigError: a function cannot be imported, or has the name of another metric.
    """
    known = tuple((name, metric.function) for name, metric in METRICS.items())
    return known + own_metrics.load(own, METRICS)


def check(named: Named, classes: int) -> None:
    """Checks that own metrics return one number, before training.

    Raises:
      ConfigError: names the function, and what it returns or raises.
    """
    logits = jax.ShapeDtypeStruct((7, classes), jnp.float32)
    labels = jax.ShapeDtypeStruct((7,), jnp.int32)
    own = tuple((name, f) for name, f in named if name not in METRICS)
    own_metrics.check_shapes(own, logits, labels)


class ClassReport(NamedTuple):
    """A class in the report: shares from 0 to 1, None where no row decides."""

    name: int | str
    rows: int
    recall: float | None
    precision: float | None
    f1: float | None


def report(matrix: NDArray[np.integer], names: Sequence[int | str]) -> dict[str, Any]:
    """The content of summary.json for a confusion matrix, see `confusion`."""

    def share(part: float, whole: float) -> float | None:
        return round(float(part) / float(whole), 6) if whole else None

    hits, rows, guessed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    classes = [
        ClassReport(
            *(name, int(rows[i]), share(hits[i], rows[i]), share(hits[i], guessed[i])),
            share(2 * hits[i], rows[i] + guessed[i]),
        )._asdict()
        for i, name in enumerate(names)
    ]
    return {"classes": classes, "confusion": matrix.tolist()}


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The head and rows of a table of `report`, in percent."""

    def percent(x: object) -> str:
        return f"{100 * x:.1f}" if isinstance(x, float) else "-"

    head = ["class", "rows", "recall %", "precision %", "F1 %"]
    shares = ("recall", "precision", "f1")
    return head, [
        [str(c["name"]), str(c["rows"]), *(percent(c[s]) for s in shares)]
        for c in report["classes"]
    ]
