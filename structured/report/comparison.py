"""Writes the figures and the page of runs: one run, or several variants and seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mtl.figures import png
from mtl.host import logs, tables, workdir
from structured import data, scoring
from structured.data import Dataset
from structured.experiment import Run
from structured.faces import crops, metrics
from structured.report import figures, html_page
from structured.report.html_page import Section

FACES_PER_GROUP = 4  # The groups are best, median and worst.
MAX_DIGITS = 10  # In the figure of completions.

# Columns of the table by metric: the heading, and a factor for the values.
METRIC_COLUMNS = {
    "mse": ("MSE ×1e-3", 1e3),
    "auc_0.5": ("AUC, %", 100),
    "cdf_0.1": ("CDF_0.1, %", 100),
    "nme_inter_ocular": ("NME inter-ocular, %", 100),
    "fr_0.10_inter_ocular": ("failures above 10 % inter-ocular, %", 100),
}


class VariantRuns(NamedTuple):
    """The runs of one variant.

    Attributes:
      runs: one for each seed.
      logs: the rows of each run's log.
    """

    runs: list[Run]
    logs: list[list[logs.Row]]


class ResultRow(NamedTuple):
    """A run: settings, sizes of the training set, and metrics by name.

    Attributes:
      variant: one of tasks.VARIANTS.
      seed: of the run.
      pairs: the number of pairs.
      x_only: the number of examples without y.
      y_only: the number of examples without x.
      best_epoch: by the validation set; None for the variant "mean".
      seconds: of training; None for the variant "mean".
      best: of the best epoch, such as "valid/mse".
      test: of the test set, such as "mse".
    """

    variant: str
    seed: int
    pairs: int
    x_only: int
    y_only: int
    best_epoch: int | None
    seconds: float | None
    best: Mapping[str, float]
    test: Mapping[str, float]


def result_row(run: Run) -> ResultRow:
    """Returns the row of a run from its summary."""
    s = run.summary
    return ResultRow(
        variant=s["variant"],
        seed=s["seed"],
        pairs=s["pairs"],
        x_only=s["x_only"],
        y_only=s["y_only"],
        best_epoch=s.get("best_epoch"),
        seconds=s.get("seconds"),
        best=s["best"],
        test=s["test"],
    )


def write_results(path: Path, variants: Mapping[str, VariantRuns]) -> None:
    """Writes a CSV row for each run: its row, with a column for each metric."""
    rows = [result_row(run) for variant in variants.values() for run in variant.runs]
    best, test = list(rows[0].best), list(rows[0].test)
    columns = [*ResultRow._fields[:-2], *best, *(f"test/{name}" for name in test)]
    cells = [
        [*row[:-2], *(row.best[k] for k in best), *(row.test[k] for k in test)]
        for row in rows
    ]
    workdir.write_csv(path, columns, cells)


def read_log(run: Run, folder: Path) -> list[logs.Row]:
    """Reads the log of a run; the variant "mean" has no log, but two errors."""
    return logs.read_rows(folder) or [{"epoch": 0} | run.summary["best"]]


def make_table(
    variants: Mapping[str, VariantRuns],
) -> tuple[list[str], list[list[str]]]:
    """Makes the table of results: mean ± standard deviation over the seeds.

    Args:
      variants: the runs by variant.

    Returns:
      The head, and a row for each variant.
    """
    first = result_row(next(iter(variants.values())).runs[0])
    columns = {k: v for k, v in METRIC_COLUMNS.items() if k in first.test}
    head = ["variant", "seeds", "train MSE ×1e-3", "valid MSE ×1e-3"]
    head += [f"test {heading}" for heading, _ in columns.values()]
    lines = []
    for name, variant in variants.items():
        rows = [result_row(run) for run in variant.runs]
        line = [name, str(len(rows))]
        for key in ("train/mse", "valid/mse"):
            line.append(tables.mean_std([1e3 * row.best[key] for row in rows]))
        for key, (_, factor) in columns.items():
            line.append(tables.mean_std([factor * row.test[key] for row in rows]))
        lines.append(line)
    return head, lines


def write_report(
    folder: Path,
    config: ConfigDict,
    dataset: Dataset,
    variants: Mapping[str, VariantRuns],
) -> None:
    """Writes mse.png, cdf.png, faces.png or completions.png, and report.html.

    Args:
      folder: gets the files.
      config: the config of the runs.
      dataset: the dataset of one of the runs.
      variants: the runs by variant; faces are those of the last variant.
    """
    curves = {k: v.logs for k, v in variants.items()}
    unit = "box units" if dataset.faces is not None else ""
    pictures = {"mse.png": figures.mse_curves(curves, unit)}
    last = list(variants)[-1]
    left_out = ""
    if dataset.faces is not None:
        # These faces have no NRMSE.
        measured = metrics.usable(scoring.face_normaliser(dataset))
        if not measured.all():
            left_out = (
                f" {(~measured).sum()} faces that lack an eye, or lie on one line, are "
                "left out."
            )
        pictures |= _draw_errors(config, dataset, variants, measured)
    elif config.data.source == "digits":
        pictures["completions.png"] = _draw_completions(dataset, variants)
    captions = {
        "mse.png": "Mean squared error against the epoch, training and validation.",
        "cdf.png": f"Share of the test faces below each error (NRMSE).{left_out}",
        "faces.png": f"Test faces, {last}: red from prediction to truth.{left_out}",
        "completions.png": "Test digits: upper half given, lower half completed.",
    }
    table = make_table(variants)
    sections = [Section("Results", "Of the best epoch by validation.", table)]
    for name, figure in pictures.items():
        image = png(figure)
        workdir.write_bytes(folder / name, image)
        sections.append(Section(captions[name], png=image, alt=captions[name]))
    row = result_row(variants[last].runs[0])
    intro = (
        f"{row.pairs} pairs, {row.x_only} x alone, {row.y_only} y alone. "
        f"{len(dataset.test.x)} test examples.{describe_partial(dataset)}"
    )
    title = f"Structured output, {config.data.source}"
    html_page.write(folder / "report.html", title, intro, sections)


def describe_partial(dataset: Dataset) -> str:
    """Returns a sentence on examples that lack some values of y; "" without any."""
    counts = [f"{count} {name}" for name, count in dataset.partial_y.items() if count]
    if not counts:
        return ""
    return f" Some values of y are missing in {', '.join(counts)} examples."


def _draw_errors(
    config: ConfigDict,
    dataset: Dataset,
    variants: Mapping[str, VariantRuns],
    measured: np.ndarray,
) -> dict[str, Figure]:
    """Draws cdf.png and faces.png, of the faces that have an NRMSE, bool [N]."""
    pictures = {}
    errors = {
        name: np.stack([scoring.example_errors(dataset, run.predicted) for run in runs])
        for name, (runs, _) in variants.items()
    }
    if dataset.scheme.eyes and measured.any():
        curves = {name: values[:, measured] for name, values in errors.items()}
        pictures["cdf.png"] = figures.cdf_curves(curves)
    if measured.sum() >= 3 * FACES_PER_GROUP:
        last = list(variants)[-1]
        run, values = variants[last].runs[0], errors[last][0]
        groups = figures.pick_faces(values[measured], FACES_PER_GROUP)
        picked = np.flatnonzero(measured)[groups]
        pictures["faces.png"] = _draw_faces(config, dataset, run, values, picked)
    return pictures


def _draw_faces(
    config: ConfigDict,
    dataset: Dataset,
    run: Run,
    errors: np.ndarray,
    picked: np.ndarray,
) -> Figure:
    """Draws some test faces of a run, with their errors [N] as titles."""
    crop, faces = data.crop_from_config(config), dataset.faces
    assert faces is not None
    images = data.network_input(faces.canvas[picked], crop)
    truth = crops.to_frame(faces.points[picked], faces.frame[picked])
    predicted = _to_pixels(run.predicted[picked], crop)
    titles = [f"{100 * errors[i]:.1f} %" for i in picked]
    return figures.faces(images, predicted, _to_pixels(truth, crop), titles)


def _to_pixels(y: np.ndarray, crop: crops.Crop) -> np.ndarray:
    """Converts coordinates [K, 2 P] to pixels [K, P, 2] of the network's input."""
    xy = np.stack(np.split(y, 2, axis=1), axis=-1)
    return (xy / (1 + 2 * crop.margin) + 0.5) * crop.size - 0.5


def _draw_completions(dataset: Dataset, variants: Mapping[str, VariantRuns]) -> Figure:
    """Draws the first test digits as completed by the first run of each variant."""
    shape = dataset.test.x.shape[1:]
    lower = {k: v.runs[0].predicted[:MAX_DIGITS] for k, v in variants.items()}
    return figures.completions(
        dataset.test.x[:MAX_DIGITS],
        dataset.test.y[:MAX_DIGITS].reshape(-1, *shape),
        {k: v.reshape(-1, *shape) for k, v in lower.items()},
    )
