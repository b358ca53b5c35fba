"""Pictures with a bar instead of L3."""

import numpy as np
import pytest

from l3spot.localize.preprocess import MM
from l3spot.training import dataset
from l3spot.training.dataset import ROWS, WIDE, Pool


def bar(l3, height, bright=900):
    """A picture that is grey, with a bright bar whose middle is at L3's row, mm."""
    hu = np.full((ROWS, WIDE), -1024, np.int16)
    hu[: int(height) // MM] = 300
    middle = round(l3 / MM)
    hu[max(middle - 2, 0) : middle + 2] = bright
    return hu


@pytest.fixture
def bars(monkeypatch):
    """Instead of phantoms: 40 bars, five of them out of view."""
    rng = np.random.default_rng(0)
    height = rng.uniform(300, 700, 40)
    l3 = height * rng.uniform(0.1, 0.9, 40)
    l3[::8] = -80.0
    hu = np.stack([bar(a, b) for a, b in zip(l3, height, strict=True)])
    numbers = height.astype(np.float32), l3.astype(np.float32), np.arange(40)
    made = Pool(hu, *numbers)
    monkeypatch.setattr(dataset, "phantoms", lambda *_: made)
    return made
