"""The figures and the page of runs: of one, or of several variants and seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mtl.figures import png
from mtl.host import logs, workdir
from structured import data, experiment
from structured.data import Dataset
from structured.experiment import Run
from structured.faces import augmentation, crops
from structured.faces.points import POINTS
from structured.report import figures, html_page
from structured.report.html_page import Section

SHOWN = 4  # Faces of each kind: best, median, worst.
DIGITS = 10

# Columns of the table, their heads, and what the numbers are multiplied by.
COLUMNS = {
    "mse": ("MSE ×1e-3", 1e3),
    "auc_0.5": ("AUC, %", 100),
    "cdf_0.1": ("CDF_0.1, %", 100),
    "nme_inter_ocular": ("NME inter-ocular, %", 100),
    "fr_0.10_inter_ocular": ("failures above 10 % inter-ocular, %", 100),
}


class Group(NamedTuple):
    """The runs of one variant, a seed each, and the rows of their logs."""

    runs: list[Run]
    rows: list[list[dict]]


def read_rows(run: Run, folder: Path) -> list[dict]:
    """The log of a run; of the mean, which trains nothing, its two errors."""
    return logs.read_rows(folder) or [{"epoch": 0} | run.summary["best"]]


def table(groups: Mapping[str, Group]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a line a variant, mean ± standard deviation over the seeds."""
    first = next(iter(groups.values())).runs[0].summary["test"]
    shown = {k: v for k, v in COLUMNS.items() if k in first}
    head = ["variant", "seeds", "train MSE ×1e-3", "valid MSE ×1e-3"]
    head += [f"test {name}" for name, _ in shown.values()]
    lines = []
    for name, group in groups.items():
        summaries = [run.summary for run in group.runs]
        cells = [name, str(len(summaries))]
        for key in ("train/mse", "valid/mse"):
            cells.append(spread([1e3 * s["best"][key] for s in summaries]))
        for key, (_, scale) in shown.items():
            cells.append(spread([scale * s["test"][key] for s in summaries]))
        lines.append(cells)
    return head, lines


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation; the mean alone if there is one value."""
    mean = f"{np.mean(values):.2f}"
    return f"{mean} ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else mean


def draw(
    folder: Path, config: ConfigDict, dataset: Dataset, groups: Mapping[str, Group]
) -> None:
    """Writes mse.png, cdf.png, faces.png or completions.png, and report.html."""
    pictures = {"mse.png": figures.mse_curves({k: g.rows for k, g in groups.items()})}
    last = list(groups)[-1]
    if dataset.faces is not None:
        known = dataset.faces.points.shape[1] == POINTS
        errors = {
            name: np.stack([experiment.errors(dataset, r.predicted) for r in g.runs])
            for name, g in groups.items()
        }
        if known:
            pictures["cdf.png"] = figures.cdf_curves(errors)
        if len(dataset.faces.name) >= 3 * SHOWN:
            run = groups[last].runs[0]
            pictures["faces.png"] = _faces(config, dataset, run, errors[last][0])
    elif config.data.source == "digits":
        pictures["completions.png"] = _completions(dataset, groups)
    texts = {
        "mse.png": "Mean squared error against the epoch, training and validation.",
        "cdf.png": "Share of the test faces below each error (NRMSE).",
        "faces.png": f"Test faces, {last}: red from prediction to truth.",
        "completions.png": "Test digits: upper half given, lower half completed.",
    }
    sections = [Section("Results", "Of the best epoch by validation.", table(groups))]
    for name, figure in pictures.items():
        image = png(figure)
        workdir.write_bytes(folder / name, image)
        sections.append(Section(texts[name], figure=image, alt=texts[name]))
    summary = groups[last].runs[0].summary
    intro = (
        f"{summary['pairs']} pairs, {summary['x_only']} x alone, {summary['y_only']} "
        f"y alone. {len(dataset.test.x)} test examples."
    )
    title = f"Structured output, {config.data.source}"
    html_page.write(folder / "report.html", title, intro, sections)


def _faces(
    config: ConfigDict, dataset: Dataset, run: Run, errors: np.ndarray
) -> Figure:
    """The best, the median and the worst test faces of a run."""
    chosen = figures.pick(errors, SHOWN)
    crop, found = data.crop_of(config), dataset.faces
    assert found is not None
    shown = np.asarray(augmentation.plain(jnp.asarray(found.canvas[chosen]), crop))
    truth = crops.to_frame(found.points[chosen], found.frame[chosen])
    predicted, true = _pixels(run.predicted[chosen], crop), _pixels(truth, crop)
    titles = [f"{100 * errors[i]:.1f} %" for i in chosen]
    return figures.faces(shown, predicted, true, titles)


def _pixels(y: np.ndarray, crop: crops.Crop) -> np.ndarray:
    """[K, P, 2] pixels of the network's input from coordinates [K, 2 P]."""
    xy = np.stack(np.split(y, 2, axis=1), axis=-1)
    return (xy / (1 + 2 * crop.margin) + 0.5) * crop.size - 0.5


def _completions(dataset: Dataset, groups: Mapping[str, Group]) -> Figure:
    """The first test digits."""
    shape = dataset.test.x.shape[1:]
    lower = {k: g.runs[0].predicted[:DIGITS] for k, g in groups.items()}
    return figures.completions(
        dataset.test.x[:DIGITS],
        dataset.test.y[:DIGITS].reshape(-1, *shape),
        {k: v.reshape(-1, *shape) for k, v in lower.items()},
    )
