"""Measures whether the frontal network places L3 by the proportions of a body.

    python -m experiments.proportions l3spot/localize/phantoms.safetensors

The same bodies are drawn with other ribs, another pelvis or other heights of vertebrae,
and L3's middle stays in its place. A network that sees vertebrae gives the same answer;
one that places L3 at a usual share of the way from the ribs to the pelvis follows them.
It takes two minutes for the phantoms, and half a minute for each model.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import held_out
from l3spot.localize import model
from l3spot.phantom.draw import PhantomRanges
from l3spot.report.metrics import WRONG_VERTEBRA_MM
from l3spot.training import scoring
from mtl.host import launch, tables
from mtl.host.errors import ConfigError

COUNT = 40
USUAL = PhantomRanges(length_mm=(260.0, 520.0), without_l3=0.0, scoliosis_rad=0.02)
# The ends of a range of ribs, of crests and of vertebrae, each the same for all bodies.
CHANGES: dict[str, dict[str, Any]] = {
    "usual": {},
    "ribs that descend little": {"rib_drop": (0.4, 0.4)},
    "ribs that descend much": {"rib_drop": (1.35, 1.35)},
    "crests 30 mm lower": {"crest_mm": (-30.0, -30.0)},
    "crests 30 mm higher": {"crest_mm": (30.0, 30.0)},
    "vertebrae of 0.87 times the height": {"vertebra_height": (0.87, 0.87)},
    "vertebrae of 1.13 times the height": {"vertebra_height": (1.13, 1.13)},
}
HEAD = ("model", "bodies", "mean error, mm", "mean distance, mm", "wrong vertebra")


def measure(paths: Sequence[str]) -> str:
    """Evaluates the models of the command line and returns the table.

    The mean error is positive towards the head.
    """
    if not paths:
        raise ConfigError("give the files of models, such as MODEL.safetensors")
    models = {path: model.load_frontal(Path(path)) for path in paths}
    sets = {
        name: held_out.draw(dataclasses.replace(USUAL, **change), COUNT)
        for name, change in CHANGES.items()
    }
    lines = []
    for path, m in models.items():
        for name, phantoms in sets.items():
            rows_mm, _ = scoring.predict(m, phantoms)
            up_mm = scoring.true_rows(phantoms) - rows_mm
            distance = np.abs(up_mm)
            wrong = f"{(distance > WRONG_VERTEBRA_MM).sum()} of {len(distance)}"
            cells = f"{up_mm.mean():+.1f}", f"{distance.mean():.1f}", wrong
            lines.append([path, name, *cells])
    return tables.markdown(HEAD, lines)


if __name__ == "__main__":
    launch.launch(measure)
