"""Draws the figures of the experiments: curves, faces, completed digits."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mtl import figures, image_grid
from mtl.host import logs
from structured.faces import metrics

# The groups of faces that `pick_faces` returns, in the order of the rows of `faces`.
ERROR_GROUPS = ("best", "median", "worst")

Rows = Sequence[logs.Row]


def mse_curves(runs: Mapping[str, Sequence[Rows]], unit: str = "") -> Figure:
    """Draws training and validation MSE against the epoch: mean and range over seeds.

    Args:
      runs: the rows of each seed's log (`mtl.host.logs.read_rows`) by variant. Rows
        may lack `train/mse` or `valid/mse`. A single value, such as that of the mean
        shape, is drawn as a horizontal line.
      unit: of the values, such as "box units" of faces.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for ax, part in zip(panels, ("train", "valid"), strict=True):
        for i, (name, seeds) in enumerate(runs.items()):
            _plot_log(ax, seeds, f"{part}/mse", name, f"C{i}")
        ax.set(title=part, xlabel="epoch", yscale="log")
        figures.tidy(ax, legend=False)
        ax.grid(alpha=0.15, which="minor")
    panels[0].set(ylabel=f"MSE, {unit}" if unit else "MSE")
    # A variant without training MSE has its line in the right panel.
    lines = {a.get_label(): a for ax in panels for a in ax.lines}
    figure.legend(
        [lines[name] for name in runs if name in lines],
        [name for name in runs if name in lines],
        loc="outside right upper",
        frameon=False,
    )
    return figure


def cdf_curves(errors: Mapping[str, np.ndarray]) -> Figure:
    """Draws the CDF of the NRMSE of faces from 0 to 0.5: mean and range over seeds.

    The legend has the means over seeds of the paper's AUC and CDF_0.1.

    Args:
      errors: NRMSE [S, N] by variant, of S seeds and N faces.
    """
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    ax = figure.subplots()
    ax.axvline(0.1, color="0.75", lw=1)
    thresholds = np.linspace(0, 0.5, 501)
    for name, values in errors.items():
        curves = [metrics.cdf(jnp.asarray(e), jnp.asarray(thresholds)) for e in values]
        auc = 100 * np.mean([metrics.auc_paper(jnp.asarray(e)) for e in values])
        share = 100 * np.mean(np.asarray(values) <= 0.1)
        label = f"{name}: AUC {auc:.2f} %, CDF$_{{0.1}}$ {share:.2f} %"
        _plot_mean_and_range(ax, thresholds, 100 * np.array(curves), label)
    ax.set(xlim=(0, 0.5), ylim=(0, 101), xlabel="NRMSE", ylabel="faces, %")
    figures.tidy(ax, legend=False)
    ax.legend(loc="lower right", fontsize=9)
    return figure


def pick_faces(errors: np.ndarray, k: int) -> np.ndarray:
    """Picks the faces with the k lowest, k median and k highest errors.

    Args:
      errors: [N]; NaN counts as the highest error.
      k: the number of faces in each group.

    Returns:
      Indices [3 k], in the order of rising errors.

    Raises:
      ValueError: there are fewer than 3 k faces.
    """
    n = len(errors)
    if n < 3 * k:
        raise ValueError(f"{n} faces are too few to pick 3 groups of {k}")
    order = np.argsort(errors, kind="stable")
    middle = (n - k) // 2
    return np.concatenate([order[:k], order[middle : middle + k], order[n - k :]])


def faces(
    images: np.ndarray, predicted: np.ndarray, truth: np.ndarray, titles: Sequence[str]
) -> Figure:
    """Draws faces with red segments from prediction to truth: best, median, worst.

    Args:
      images: [K, H, W], grey, 0 to 1; each of the 3 rows shows K / 3 of them.
      predicted: [K, P, 2], (x, y) in pixels of these images; the centre of the first
        pixel is (0, 0).
      truth: [K, P, 2], likewise.
      titles: K titles.

    Raises:
      ValueError: K is no multiple of 3.
    """
    if len(images) % len(ERROR_GROUPS):
        raise ValueError(f"{len(images)} faces do not fill 3 rows")
    columns = len(images) // len(ERROR_GROUPS)
    figure = Figure(figsize=(2 * columns + 0.6, 6.9), layout="constrained")
    grid = figure.subplots(len(ERROR_GROUPS), columns, squeeze=False)
    for ax, *face in zip(grid.flat, images, predicted, truth, titles, strict=True):
        _plot_face(ax, *face)
    for ax, name in zip(grid[:, 0], ERROR_GROUPS, strict=True):
        ax.set_ylabel(name, fontsize=11)
    points = grid[0, 0].lines
    figure.legend(
        handles=points,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        markerscale=3,
    )
    return figure


def completions(
    given: np.ndarray, truth: np.ndarray, predictions: Mapping[str, np.ndarray]
) -> Figure:
    """Draws digits with a given upper half: a row of the truth, a row for each variant.

    Args:
      given: upper halves [K, h, w], 0 to 1.
      truth: lower halves [K, h2, w], 0 to 1.
      predictions: lower halves [K, h2, w] by variant, clipped to 0 to 1.
    """
    rows = {"truth": truth, **predictions}
    figure = Figure(
        figsize=(0.8 * len(given) + 1.4, 0.85 * len(rows)), layout="constrained"
    )
    ax = figure.subplots()
    images = [np.concatenate([given, np.clip(y, 0, 1)], 1) for y in rows.values()]
    columns, height, width = images[0].shape
    x, y = image_grid.show(ax, np.concatenate(images), columns, row_names=rows).T
    edge = y - height / 2 + given.shape[1]
    ax.hlines(edge, x - width / 2, x + width / 2, color="tab:orange", lw=0.8)
    return figure


def _plot_log(ax: Axes, seeds: Sequence[Rows], key: str, name: str, color: str) -> None:
    """Plots a key over the epochs that all seeds have; a single value as a constant."""
    logs = [{row["epoch"]: row[key] for row in rows if key in row} for rows in seeds]
    epochs = sorted(set.intersection(*map(set, logs)))
    values = np.array([[log[t] for t in epochs] for log in logs])
    if len(epochs) == 1:
        ax.axhline(values.mean(), label=name, color=color, ls="--", lw=1.5)
    elif epochs:
        _plot_mean_and_range(ax, epochs, values, name, color)


def _plot_mean_and_range(
    ax: Axes,
    x: Sequence[float] | np.ndarray,
    values: np.ndarray,
    label: str,
    color: str | None = None,
) -> None:
    """Plots the mean of curves [S, len(x)], and a band from minimum to maximum."""
    (line,) = ax.plot(x, values.mean(axis=0), label=label, lw=1.5, color=color)
    low, high = values.min(axis=0), values.max(axis=0)
    ax.fill_between(x, low, high, alpha=0.2, lw=0, color=line.get_color())


def _plot_face(
    ax: Axes, image: np.ndarray, predicted: np.ndarray, truth: np.ndarray, title: str
) -> None:
    _show_grey(ax, image)
    segments = np.stack([predicted, truth], axis=1)
    ax.add_collection(LineCollection(list(segments), colors="red", linewidths=1))
    ax.plot(*truth.T, ".", color="deepskyblue", ms=3, label="truth")
    ax.plot(*predicted.T, ".", color="lime", ms=3, label="prediction")
    ax.set_title(title, fontsize=9)
    # The outermost points lie on the edge of the tight box, so show a margin.
    (height, width), margin = image.shape, 0.06
    ax.set_xlim(-0.5 - margin * width, width * (1 + margin) - 0.5)
    ax.set_ylim(height * (1 + margin) - 0.5, -0.5 - margin * height)


def _show_grey(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
