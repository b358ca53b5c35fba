"""Evaluates models on phantoms that are harder than those of training; prints a table.

    python -m experiments.held_out l3spot/localize/phantoms.safetensors

The bodies are in no training set and come from wider ranges. They are evaluated as
drawn, and with the augmentation of training. It takes two minutes for each model, and
one for the phantoms.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from l3spot.localize import model
from l3spot.localize.preprocess import crop_to_spine, downsample
from l3spot.phantom import pictures
from l3spot.phantom.draw import PhantomRanges
from l3spot.training import dataset, scoring
from l3spot.training.augmentation_ranges import AugmentationRanges
from l3spot.training.dataset import IMAGE_COLUMNS, ProjectionDataset
from mtl.host import launch, tables
from mtl.host.errors import ConfigError

SEED, COUNT = 1000, 150
HARD = dataclasses.replace(
    PhantomRanges(),
    size=(0.78, 1.2),
    curve=(0.2, 1.9),
    lean_rad=(-0.09, 0.09),
    roll_rad=(-0.09, 0.09),
    scoliosis_rad=0.05,
    bone_density=(0.45, 1.5),
    fat_mm=(4.0, 70.0),
    girth=(0.82, 1.3),
    fracture=0.04,
    oral_contrast=0.35,
    implant=0.12,
    calcified_cartilage=0.6,
    slice_mm=(0.8, 7.0),
    noise_hu=(6.0, 50.0),
    streaks_hu=(0.0, 70.0),
    length_mm=(140.0, 800.0),
    without_l3=0.2,
)


HEAD = (
    *("model", "phantoms", "mean ± std, mm", "median", "within 10 mm", "other bone"),
    *("other bone, if confident", "missed", "false alarms"),
)


def evaluate(paths: Sequence[str]) -> str:
    """Evaluates the models of the command line and returns the table."""
    if not paths:
        raise ConfigError("give the files of models, such as MODEL.safetensors")
    models = {path: model.load_frontal(Path(path)) for path in paths}
    drawn = draw()
    sets = {
        "as they are": drawn,
        "varied": dataset.augmented(drawn, SEED, AugmentationRanges()),
    }
    lines = []
    for path, m in tqdm(models.items(), unit="model", disable=None):
        for name, p in sets.items():
            rows_mm, confidence = scoring.predict(m, p)
            errors = scoring.confident_errors(rows_mm, np.ones(len(rows_mm)), p)
            confident = scoring.confident_errors(rows_mm, confidence, p)
            shares = [errors["within_10_mm"], errors["wrong_vertebra"]]
            shares += [
                confident[k] for k in ("wrong_vertebra", "missed", "false_alarms")
            ]
            spread = f"{errors['mean_mm']:.1f} ± {errors['std_mm']:.1f}"
            cells = [path, name, spread, f"{errors['median_mm']:.1f}"]
            lines.append([*cells, *(f"{100 * share:.1f} %" for share in shares)])
    return tables.markdown(HEAD, lines)


def draw(ranges: PhantomRanges = HARD, count: int = COUNT) -> ProjectionDataset:
    """Draws the first `count` phantoms of given ranges."""
    p = pictures.draw(SEED, 0, count, ranges)
    hu = np.stack([crop_to_spine(downsample(a), IMAGE_COLUMNS) for a in p.hu])
    height_mm = p.height_px.astype(np.float32)
    l3_mm = p.l3_px.astype(np.float32) + 0.5
    return ProjectionDataset(hu, height_mm, l3_mm, np.arange(count, dtype=np.int32))


if __name__ == "__main__":
    launch.launch(evaluate)
