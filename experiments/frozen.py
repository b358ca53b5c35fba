"""Compares frozen filters, random ones and ImageNet's: five folds, few labels.

    python -m experiments.frozen --runs runs/frozen --weights runs/vgg16.safetensors

The features of all phantoms of configs/l3spot/study.py are computed once and kept in
RUNS, which takes nearly all of the time. The dense layer is fitted by ridge regression,
without epochs. Folds and validation sets are those of `l3spot.crossval`; validation
selects the ridge. It writes docs/results/l3spot_frozen.csv, and models in RUNS.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from sklearn.kernel_ridge import KernelRidge

from configs.l3spot import study
from experiments import DOCS
from l3spot.backbones.pretrained import converted
from l3spot.localize import model, preprocess, window_search
from l3spot.localize.model import Model
from l3spot.localize.network import Network
from l3spot.localize.preprocess import MM_PER_PX
from l3spot.localize.window_search import L3Estimate
from l3spot.report import metrics
from l3spot.training import experiment, initial, scoring, split, tasks
from l3spot.training.dataset import ProjectionDataset
from mtl.data.readers import load_npz
from mtl.engine.task import Params
from mtl.host import launch, tables, workdir

VARIANTS = ("alexnet", "vgg16", "vgg16_imagenet")
FOLDS = 5
STRIPS = 4  # Random strips of each phantom.
LABELLED = (10, 30, 100, 0)  # 0 keeps all labels.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Names of the arrays in files of features.
FILE_ARRAYS = ("strips", "away", "weight", "pictures")


class Row(NamedTuple):
    """A test: its settings, and its errors (`l3spot.report.metrics`)."""

    variant: str
    labelled: int
    fold: int
    ridge: float
    mean_mm: float
    std_mm: float
    median_mm: float
    p95_mm: float
    within_5_mm: float
    within_10_mm: float
    wrong_vertebra: float
    compared: float


class Features(NamedTuple):
    """The features of N scans by frozen filters, and their targets.

    Attributes:
      strips: [N, STRIPS, h, w, channels], of random strips.
      offset: [N, STRIPS, T], the target, in units of a, clipped.
      weight: [N, STRIPS, T], of the errors.
      images: of each whole scan, [phases, h, w, channels].
    """

    strips: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    images: list[np.ndarray]


def compare_filters(arguments: Sequence[str]) -> str:
    """Runs the study from command-line flags and returns a table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    converted.load(args.weights)  # A bad file raises an error before any work.
    rows: list[Row] = []
    for variant in VARIANTS:
        c = study.get_config(variant)
        c.model.weights_file = c.model.weights_file and args.weights
        rows += _study(c, variant, Path(args.runs))
    out = DOCS / "results" / "l3spot_frozen.csv"
    workdir.write_csv(out, Row._fields, rows)
    return _table(rows)


def _study(c: ConfigDict, variant: str, runs: Path) -> list[Row]:
    """Returns a row for each fold and number of labels."""
    scans = experiment.load_dataset(c)
    net, params = initial.init_network(c)
    features = _features(c, net, params["trunk"], scans, runs / variant)
    inputs = _window_inputs(net, features.strips)
    rows = []
    for fold, (rest, test) in enumerate(split.folds(scans, FOLDS, c.seed)):
        for labelled in LABELLED:
            c.data.labelled, c.seed = labelled, fold  # The seed selects the labels.
            datasets = experiment.split_validation(c, rest, test)
            validation = datasets.validation.patient
            heads = _fit_heads(net, features, inputs, datasets.train.patient)
            errors = [_errors(c, net, h, features, scans, validation) for h in heads]
            best = int(np.argmin([e["mean_mm"] for e in errors]))
            test_errors = _errors(c, net, heads[best], features, scans, test.patient)
            if not labelled:  # The model of the last fold remains.
                fitted = {"trunk": params["trunk"], "head": heads[best]}
                path = runs / variant / "model.safetensors"
                _save(c, net, fitted, features, scans, validation, path)
            head = variant, len(datasets.train.hu), fold, RIDGES[best]
            numbers = [round(test_errors[name], 4) for name in Row._fields[4:]]
            rows.append(Row(*head, *numbers))
    return rows


def _features(
    c: ConfigDict, net: Network, trunk: Params, scans: ProjectionDataset, folder: Path
) -> Features:
    """Returns the features of all scans; computes those that `folder` lacks."""
    cut = jax.jit(lambda batch, key: tasks.cut_strips(c, net, batch, key))
    features = jax.jit(lambda x: net.features(trunk, x))
    image_features = jax.jit(lambda x: net.features(trunk, x[None], c.window_stride_px))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i in range(len(scans.hu)):
        path = folder / f"{i:04d}.npz"
        if not path.exists():
            batch = {
                k: jnp.asarray([getattr(scans, k)[i]] * STRIPS)
                for k in tasks.BATCH_FIELDS
            }
            strips = cut(batch, jax.random.fold_in(jax.random.key(c.seed), i))
            offset = np.asarray(strips.offset_mm) / c.max_offset_mm
            near = np.where(np.abs(offset) < tasks.NEAR_OFFSET, 1.0, c.far_weight)
            workdir.write_npz(
                path,
                strips=np.asarray(features(strips.x)),
                away=np.clip(offset, -1, 1),
                weight=near * np.asarray(strips.counted),
                pictures=np.asarray(image_features(_image(c, net, scans, i))),
            )
        files.append(load_npz(path, FILE_ARRAYS))
    strips, offset, weight = (
        np.stack([arrays[k] for arrays in files]) for k in FILE_ARRAYS[:3]
    )
    return Features(strips, offset, weight, [arrays["pictures"] for arrays in files])


def _image(c: ConfigDict, net: Network, scans: ProjectionDataset, i: int) -> np.ndarray:
    """Returns a padded image [H, WIDTH_PX], as in `window_search.window_offsets`."""
    hu = scans.hu[i][: int(scans.height_mm[i]) // MM_PER_PX]
    x = preprocess.to_grey(preprocess.crop_to_spine(hu), c.low_hu, c.high_hu)
    return window_search.pad_image(net, x)


def _window_inputs(net: Network, strips: np.ndarray) -> np.ndarray:
    """Returns the inputs [N, STRIPS, T, rows * w * channels] of the dense layer."""
    rows = net.window_features[0]
    count = strips.shape[2] - rows + 1
    windows = [strips[:, :, t : t + rows] for t in range(count)]
    return np.stack(windows, 2).reshape(*strips.shape[:2], count, -1)


def _fit_heads(
    net: Network, features: Features, inputs: np.ndarray, rows: np.ndarray
) -> list[Params]:
    """Fits the dense layer on some scans, for each of RIDGES."""
    x, y, w = (
        a[rows].reshape(-1, *a.shape[3:])
        for a in (inputs, features.offset, features.weight)
    )
    counted = w > 0
    x, y, w = x[counted], y[counted], w[counted]
    size = np.sqrt((x**2).sum(1).mean())
    x = x / size
    gram = x @ x.T + 1  # 1: the bias is a feature as well.
    heads = []
    for ridge in RIDGES:
        regression = KernelRidge(alpha=ridge, kernel="precomputed")
        dual = regression.fit(gram, y, sample_weight=w).dual_coef_
        kernel = (dual @ x / size).reshape(net.window_features[0], -1)
        heads.append({"kernel": kernel.astype(np.float32), "bias": dual.sum()})
    return heads


def _errors(
    c: ConfigDict,
    net: Network,
    head: Params,
    features: Features,
    scans: ProjectionDataset,
    rows: np.ndarray,
) -> dict[str, float]:
    """Returns the errors of those scans that have L3."""
    estimates = _estimates(c, net, head, features, scans, rows)
    true_mm = scoring.true_rows(scans)[rows]
    in_view = ~np.isnan(true_mm)
    rows_mm = np.array([e.row_mm for e in estimates])
    return metrics.errors(rows_mm[in_view], true_mm[in_view])


def _estimates(
    c: ConfigDict,
    net: Network,
    head: Params,
    features: Features,
    scans: ProjectionDataset,
    rows: np.ndarray,
) -> list[L3Estimate]:
    estimates = []
    for i in rows:
        outputs = np.asarray(net.apply_head(head, features.images[i]))
        height_px = int(scans.height_mm[i]) // MM_PER_PX
        offsets = window_search.from_phases(outputs, height_px, c.window_stride_px)
        estimates.append(window_search.locate(offsets, float(scans.height_mm[i])))
    return estimates


def _save(
    c: ConfigDict,
    net: Network,
    params: Params,
    features: Features,
    scans: ProjectionDataset,
    rows: np.ndarray,
    path: Path,
) -> None:
    """Writes a model for `l3spot.predict`, calibrated on some scans."""
    estimates = _estimates(c, net, params["head"], features, scans, rows)
    rows_mm = np.array([e.row_mm for e in estimates])
    error_mm = np.abs(rows_mm - scoring.true_rows(scans)[rows])
    confidence_features = np.array([e.confidence_features for e in estimates])
    right = error_mm <= scoring.TOLERANCE_MM
    calibration = scoring.calibrate(confidence_features, right)
    params = jax.tree.map(np.asarray, params)
    about = f"a head on frozen filters, {len(scans.hu)} phantoms"
    trained = Model(
        params, c.low_hu, c.high_hu, calibration, about, net, c.window_stride_px
    )
    model.save(path, trained)


def _table(rows: list[Row]) -> str:
    """Formats means over the folds, and the mean of the folds' standard deviations."""
    head = "filters", "labels", "error, mm", "median", "within 10 mm", "other bone"
    lines = []
    for variant, labelled in dict.fromkeys(row[:2] for row in rows):
        own = [row[4:] for row in rows if row[:2] == (variant, labelled)]
        mean = Row(variant, labelled, 0, 0.0, *np.mean(own, axis=0))
        shares = mean.within_10_mm, mean.wrong_vertebra
        errors = [f"{mean.mean_mm:.1f} ± {mean.std_mm:.1f}", f"{mean.median_mm:.1f}"]
        errors += [f"{100 * share:.0f} %" for share in shares]
        lines.append([variant, str(labelled), *errors])
    return tables.markdown(head, lines)


if __name__ == "__main__":
    flags.DEFINE_string("runs", None, "The folder of features and models.")
    flags.DEFINE_string("weights", None, "VGG16's weights file of l3spot.convert.")
    launch.launch(compare_filters, "runs", "weights")
