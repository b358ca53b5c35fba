"""Tries the packaged model on variants of a real scan; prints a table.

python -m experiments.transfer --scan abdomen_portal.zip --l3 67.2     # Half a minute.

The scan as it is, mirrored, cut, with thick slices, noisier, shifted: how far what was
learnt on phantoms carries. Nothing is tuned on it.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from l3spot.ct import scan
from l3spot.ct.slices import Slice, StoredValues
from l3spot.ct.volumes import Volume
from l3spot.localize import model
from l3spot.projections import mip
from l3spot.report import result

NEAR = (30, 60, 100)  # mm from L3 to an end.
THICK = (3, 5)  # Planes of which one is kept.
NOISE = (25, 60)  # HU, of each voxel.
ASIDE = (-60, 60)  # mm along the images' rows.
TURNS = (-6, 6)  # Degrees, in the images' plane.
Change = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scan", required=True, help="a folder, zip or NIfTI file")
    parser.add_argument("--l3", required=True, type=float, help="z of its L3, mm, LPS")
    parser.add_argument("--checkpoint", type=Path, default=model.PACKAGED)
    args = parser.parse_args()
    root = Path(args.scan)
    whole, net = scan.choose(scan.read(root), root), model.load(args.checkpoint)
    print("| variant | answer, z in mm | error, mm | confidence |\n|---|---|---|---|")
    for name, volume in variants(whole, args.l3):
        told = result.find(net, mip.project(volume), volume)
        seen = volume.z[0] <= args.l3 <= volume.z[-1]
        place, error = "not in view", ""
        if told.status == result.IN:
            place = f"{told.z:.1f}"
            error = f"{told.z - args.l3:+.1f}" if seen else "false alarm"
        elif not seen:
            error = "right"
        print(f"| {name} | {place} | {error} | {told.confidence:.2f} |", flush=True)


def variants(v: Volume, l3: float) -> Iterator[tuple[str, Volume]]:
    """What the table has a row for: its name, and the scan."""
    yield "as it is", v
    yield "mirrored", _changed(v, lambda hu: hu[:, ::-1])
    for mm in NEAR:
        yield f"cut {mm} mm above L3", _part(v, v.z <= l3 + mm)
        yield f"cut {mm} mm below L3", _part(v, v.z >= l3 - mm)
    for above, below in ((60, 60), (100, 60)):
        both = (v.z <= l3 + above) & (v.z >= l3 - below)
        yield f"cut {above} mm above and {below} mm below", _part(v, both)
    yield "cut 30 mm above L3: out of view", _part(v, v.z >= l3 + 30)
    yield "cut 30 mm below L3: out of view", _part(v, v.z <= l3 - 30)
    for step in THICK:
        mm = step * float(np.diff(v.z).mean())
        thin = _part(v, np.arange(len(v.z)) % step == 0)
        yield f"a slice each {mm:.1f} mm", thin
    for sigma in NOISE:
        yield f"noise of {sigma} HU", _noisy(v, sigma)
    wide = v.slices[0].spacing_mm[0]
    for mm in ASIDE:
        yield f"{mm:+d} mm to the side", _changed(v, _shift(round(mm / wide)))
    for angle in TURNS:
        yield f"turned by {angle:+d}° about its length", _changed(v, _turn(angle))
    yield "field of view of 200 mm", _changed(v, _crop(round(100 / wide)))


def _part(v: Volume, kept: np.ndarray) -> Volume:
    slices = tuple(p for p, k in zip(v.slices, kept, strict=True) if k)
    return v._replace(slices=slices, z=v.z[kept])


def _changed(v: Volume, change: Change) -> Volume:
    def one(ct_slice: Slice) -> Slice:
        return dataclasses.replace(
            ct_slice, decode=lambda: StoredValues(change(ct_slice.hu()))
        )

    return v._replace(slices=tuple(one(p) for p in v.slices))


def _noisy(v: Volume, sigma: float) -> Volume:
    """Slices are read in any order, so that each has a generator of its own."""

    def one(ct_slice: Slice, seed: int) -> Slice:
        rng = np.random.default_rng(seed)
        noise = sigma * rng.normal(size=ct_slice.shape).astype(np.float32)
        return dataclasses.replace(
            ct_slice, decode=lambda: StoredValues(ct_slice.hu() + noise)
        )

    return v._replace(slices=tuple(map(one, v.slices, range(len(v.slices)))))


def _shift(columns: int) -> Change:
    return lambda hu: ndimage.shift(hu, (0, columns), order=0, cval=mip.AIR_HU)


def _turn(degrees: float) -> Change:
    return lambda hu: ndimage.rotate(
        hu, degrees, reshape=False, order=1, cval=mip.AIR_HU
    )


def _crop(half: int) -> Change:
    def cropped(hu: np.ndarray) -> np.ndarray:
        hu, middle = hu.copy(), hu.shape[1] // 2
        hu[:, : middle - half] = hu[:, middle + half :] = mip.AIR_HU
        return hu

    return cropped


if __name__ == "__main__":
    main()
