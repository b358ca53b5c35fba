"""Errors of models on phantoms that are harder than those of training; prints a table.

    python -m experiments.held_out l3spot/localize/phantoms.safetensors

Bodies that none of them was trained on, from wider ranges, as they are, and bent, cut
and filled as in training. Two minutes a model, and one for the phantoms.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from l3spot.localize import model
from l3spot.localize.preprocess import centred, coarse
from l3spot.phantom import pictures
from l3spot.phantom.draw import Ranges
from l3spot.training import augmentation, dataset, scoring
from l3spot.training.dataset import WIDE, Pool

SEED, COUNT = 1000, 150
HARD = dataclasses.replace(
    Ranges(), size=(0.78, 1.2), curve=(0.2, 1.9), lean=(-0.09, 0.09),
    roll=(-0.09, 0.09), scoliosis=0.05, bone=(0.45, 1.5), fat=(4.0, 70.0),
    girth=(0.82, 1.3), fracture=0.04, oral=0.35, metal=0.12, calcified=0.6,
    step=(0.8, 7.0), noise=(6.0, 50.0), streaks=(0.0, 70.0), length=(140.0, 800.0),
    without=0.2,
)  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    models = {path: model.load(path) for path in parser.parse_args().models}
    plain = draw()
    sets = {
        "as they are": plain,
        "varied": dataset.varied(plain, SEED, augmentation.Range()),
    }
    print(
        "| model | phantoms | mean ± std, mm | median | within 10 mm | other bone "
        "| other bone, told | missed | false alarms |\n" + 9 * "|---" + "|"
    )
    for path, m in models.items():
        for name, p in sets.items():
            rows, sure = scoring.predict(m, p)
            whole = scoring.errors(rows, np.ones(len(rows)), p)
            told = scoring.errors(rows, sure, p)
            shares = [whole["within_10_mm"], whole["wrong_vertebra"]]
            shares += [told[k] for k in ("wrong_vertebra", "missed", "false_alarms")]
            spread = f"{whole['mean_mm']:.1f} ± {whole['std_mm']:.1f}"
            cells = [str(path), name, spread, f"{whole['median_mm']:.1f}"]
            cells += [f"{100 * share:.1f} %" for share in shares]
            print(f"| {' | '.join(cells)} |", flush=True)


def draw() -> Pool:
    """The phantoms, as they are."""
    p = pictures.draw(SEED, 0, COUNT, HARD)
    hu = np.stack([centred(coarse(a), WIDE) for a in p.hu])
    height, l3 = p.height.astype(np.float32), p.l3.astype(np.float32) + 0.5
    return Pool(hu, height, l3, np.arange(COUNT, dtype=np.int32))


if __name__ == "__main__":
    main()
