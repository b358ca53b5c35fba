"""Pictures to train on: phantoms, drawn once and kept, or projections with labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3spot import labels
from l3spot.examples import Example
from l3spot.phantom import pictures
from l3spot.phantom.draw import Ranges
from l3spot.picture import AIR, MARGIN, WIDTH, centred, coarse
from mtl import workdir
from mtl.errors import DataError
from mtl.readers import load_npz

ROWS = 400  # Pixels of a picture, 800 mm.
CHUNK = 250  # Phantoms a file.
WIDE = WIDTH + 2 * MARGIN


class Pool(NamedTuple):
    """hu: int16 [N, ROWS, WIDE], each scan at the top of its picture, 2 mm a pixel.

    height: float32 [N], mm of the scan. l3: float32 [N], the row of L3's middle, mm;
    it lies outside of the scan where L3 is not in view.
    """

    hu: np.ndarray
    height: np.ndarray
    l3: np.ndarray


def phantoms(folder: str | Path, seed: int, count: int) -> Pool:
    """The first so many phantoms of a seed, drawn unless `folder` has them.

    Raises:
      WorkdirError: the folder has those of another seed, or cannot be written.
    """
    root, ranges = Path(folder), Ranges()
    workdir.make(root, f"data.path={folder}")
    how = {"seed": seed, "ranges": repr(ranges)}
    workdir.same(root / "how.json", how, f"data.path={folder}")
    parts = []
    for first in range(0, count, CHUNK):
        path = root / f"{first:06d}.npz"
        if not path.exists():
            p = pictures.draw(seed, first, CHUNK, ranges)
            hu = np.stack([centred(coarse(a), WIDE) for a in p.hu])
            # From the middle of a row to its edge (`picture`).
            workdir.write_npz(path, hu=hu, height=p.height, l3=p.l3 + 0.5)
        parts.append(Pool(**load_npz(path, Pool._fields)))
    whole = (np.concatenate(a)[:count] for a in zip(*parts, strict=True))
    hu, height, l3 = whole
    return Pool(hu, height.astype(np.float32), l3.astype(np.float32))


def projections(examples: Sequence[Example]) -> Pool:
    """Projections with a label; scans that are longer than a picture lose their end.

    Raises:
      DataError: none has L3 in view.
    """
    seen = [e for e in examples if e.label == labels.IN]
    if not seen:
        raise DataError("no projection has a label with L3 in view")
    pool = [_example(e) for e in seen]
    return Pool(*(np.stack(a) for a in zip(*pool, strict=True)))


def _example(e: Example) -> tuple[np.ndarray, np.float32, np.float32]:
    row = (e.z[0] - e.l3_z) + 0.5
    # What is cut off is far from L3.
    first = max(0, int(row) - 400) if len(e.z) > 2 * ROWS else 0
    hu = centred(coarse(e.frontal[first : first + 2 * ROWS]), WIDE)
    height = min(len(e.z) - first, 2 * ROWS)
    hu = np.pad(hu, ((0, ROWS - len(hu)), (0, 0)), constant_values=AIR)
    return hu.astype(np.int16), np.float32(height), np.float32(row - first)
