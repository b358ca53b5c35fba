"""Pictures to train on: phantoms, drawn once and kept, or projections with labels."""

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from l3spot.labels import csv_labels
from l3spot.localize.preprocess import AIR, MARGIN, WIDTH, centred, coarse
from l3spot.phantom import pictures
from l3spot.phantom.draw import Ranges
from l3spot.projections.reader import Example
from l3spot.training import augmentation
from mtl.data.readers import load_npz
from mtl.host import workdir
from mtl.host.errors import DataError

ROWS = 400  # Pixels of a picture, 800 mm.
CHUNK = 250  # Phantoms a file.
WIDE = WIDTH + 2 * MARGIN
KEPT = ("hu", "height", "l3")  # Of phantoms, in files.


class Pool(NamedTuple):
    """hu: int16 [N, ROWS, WIDE], each scan at the top of its picture, 2 mm a pixel.

    height: float32 [N], mm of the scan. l3: float32 [N], the row of L3's middle, mm;
    it lies outside of the scan where L3 is not in view, and is NaN where nobody knows.
    patient: int32 [N], the same for scans of the same patient.
    """

    hu: np.ndarray
    height: np.ndarray
    l3: np.ndarray
    patient: np.ndarray


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
        parts.append(load_npz(path, KEPT))
    hu, height, l3 = (np.concatenate([p[k] for p in parts])[:count] for k in KEPT)
    number = np.arange(count, dtype=np.int32)
    return Pool(hu, height.astype(np.float32), l3.astype(np.float32), number)


def varied(pool: Pool, seed: int, ranges: augmentation.Range) -> Pool:
    """Other scans of the same bodies: bent, cut and filled (`jitter.scan`)."""
    keys = jax.random.split(jax.random.key(seed), len(pool.hu))
    one = jax.jit(partial(augmentation.scan, r=ranges))
    made = [one(*row) for row in zip(keys, *pool[:3], strict=True)]
    hu, height, l3 = (np.stack(a) for a in zip(*made, strict=True))
    return Pool(np.rint(hu).astype(np.int16), height, l3, pool.patient)


def projections(examples: Sequence[Example], patients: str | Path = "") -> Pool:
    """Projections whose label says where L3 is, and those without a label.

    Scans that are longer than a picture lose the end that is far from L3, or the lower.

    Args:
      examples: what `l3spot.project` left.
      patients: a CSV file with the columns scan and patient; without it each scan is
        of another patient.

    Raises:
      DataError: none has L3 in view, or the file is broken or lacks a scan.
    """
    known = [e for e in examples if e.label != csv_labels.NOT_IN_VIEW]
    if not any(e.label == csv_labels.IN_VIEW for e in known):
        raise DataError("no projection has a label with L3 in view")
    names = _patients(Path(patients)) if patients else {e.id: e.id for e in known}
    unknown = [e.id for e in known if e.id not in names]
    if unknown:
        raise DataError(f"{patients} does not say of which patient {unknown[0]} is")
    hu, height, l3 = (np.stack(a) for a in zip(*map(_example, known), strict=True))
    _, number = np.unique([names[e.id] for e in known], return_inverse=True)
    return Pool(hu, height, l3, number.astype(np.int32))


def _patients(path: Path) -> dict[str, str]:
    """By scan."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return {row["scan"]: row["patient"] for row in csv.DictReader(stream)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(
            f"{path} is no CSV file with the columns scan and patient ({e!r})"
        ) from e


def _example(e: Example) -> tuple[np.ndarray, np.float32, np.float32]:
    row = (e.z[0] - e.l3_z) + 0.5  # NaN without a label.
    # What is cut off is far from L3.
    far = len(e.z) > 2 * ROWS and row > 400
    first = int(row) - 400 if far else 0
    hu = centred(coarse(e.frontal[first : first + 2 * ROWS]), WIDE)
    height = min(len(e.z) - first, 2 * ROWS)
    hu = np.pad(hu, ((0, ROWS - len(hu)), (0, 0)), constant_values=AIR)
    return hu.astype(np.int16), np.float32(height), np.float32(row - first)
