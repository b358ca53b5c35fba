"""Evaluates the packaged model on variants of a real scan; prints a table.

python -m experiments.transfer --scan abdomen_portal.zip --l3 67.2     # Half a minute.

The variants are mirrored, cut, with thick slices, noisier or shifted. They show how far
training on phantoms carries over. Nothing is tuned on the scan.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from scipy import ndimage

from l3spot.ct import scan
from l3spot.ct.slices import Slice, StoredValues
from l3spot.ct.volumes import MAX_STEP_MM, Volume
from l3spot.localize import model
from l3spot.localize.model import Model
from l3spot.projections import mip
from l3spot.report import locating, result
from l3spot.report.result import L3Result
from l3spot.vertebrae import model as vertebra_model
from l3spot.vertebrae.model import VertebraModel
from mtl.host import launch, tables

END_DISTANCES_MM = (30, 60, 100)  # From L3 to the scan's end.
SLICE_FACTORS = (3, 5)  # One slice of so many is kept.
NOISE_HU = (25, 60)  # Standard deviation, of each voxel.
SHIFTS_MM = (-60, 60)  # Along the images' rows.
ROTATIONS_DEG = (-6, 6)  # In the plane of the images.
Change = Callable[[np.ndarray], np.ndarray]


def evaluate(arguments: Sequence[str]) -> str:
    """Evaluates the model from command-line flags and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    root, net = Path(args.scan), model.load(Path(args.checkpoint))
    vertebrae = None if args.paper else vertebra_model.load()
    whole = scan.choose(scan.read(root), root)
    if args.mend_hu:
        whole, _ = locating.project(whole, mend_hu=True)
    lines = []
    for name, in_view, l3_result in answers(whole, args.l3, net, vertebrae):
        if l3_result is None:
            lines.append([name, "no such slices", "left out", ""])
            continue
        position, error = "not in view", ""
        if l3_result.status == result.IN_VIEW:
            position = f"{l3_result.z_mm:.1f}"
            error = f"{l3_result.z_mm - args.l3:+.1f}" if in_view else "false alarm"
        elif not in_view:
            error = "right"
        lines.append([name, position, error, f"{l3_result.confidence:.2f}"])
    head = "variant", "answer, z in mm", "error, mm", "confidence"
    return tables.markdown(head, lines)


def answers(
    whole: Volume, l3: float, net: Model, vertebrae: VertebraModel | None
) -> Iterator[tuple[str, bool, L3Result | None]]:
    """Yields each variant: its name, whether L3 is in view, and the answer for it.

    The answer is None if the variant has no slices.
    """
    for name, volume in variants(whole, l3):
        if not volume.slices:
            yield name, False, None
            continue
        in_view = bool(volume.z[0] <= l3 <= volume.z[-1])
        yield name, in_view, result.find_l3(net, mip.project(volume), volume, vertebrae)


def variants(v: Volume, l3: float) -> Iterator[tuple[str, Volume]]:
    """Yields the name and the scan of each row of the table."""
    yield "as it is", v
    yield "mirrored", _changed(v, lambda hu: hu[:, ::-1])
    for mm in END_DISTANCES_MM:
        yield f"cut {mm} mm above L3", _part(v, v.z <= l3 + mm)
        yield f"cut {mm} mm below L3", _part(v, v.z >= l3 - mm)
    for above, below in ((60, 60), (100, 60)):
        near = (v.z <= l3 + above) & (v.z >= l3 - below)
        yield f"cut {above} mm above and {below} mm below", _part(v, near)
    yield "cut 30 mm above L3: out of view", _part(v, v.z >= l3 + 30)
    yield "cut 30 mm below L3: out of view", _part(v, v.z <= l3 - 30)
    for factor in SLICE_FACTORS:
        slice_mm = factor * float(np.diff(v.z).mean())
        if slice_mm <= MAX_STEP_MM:  # The programs refuse others.
            thick = _part(v, np.arange(len(v.z)) % factor == 0)
            yield f"a slice each {slice_mm:.1f} mm", thick
    for sigma in NOISE_HU:
        yield f"noise of {sigma} HU", _noisy(v, sigma)
    pixel_mm = v.slices[0].spacing_mm[0]
    for mm in SHIFTS_MM:
        yield f"{mm:+d} mm to the side", _changed(v, _shift(round(mm / pixel_mm)))
    for angle in ROTATIONS_DEG:
        yield f"turned by {angle:+d}° about its length", _changed(v, _rotate(angle))
    yield "field of view of 200 mm", _changed(v, _crop(round(100 / pixel_mm)))


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
    """Adds noise, with a generator for each slice: they are read in any order."""

    def one(ct_slice: Slice, seed: int) -> Slice:
        rng = np.random.default_rng(seed)
        noise = sigma * rng.normal(size=ct_slice.shape).astype(np.float32)
        return dataclasses.replace(
            ct_slice, decode=lambda: StoredValues(ct_slice.hu() + noise)
        )

    return v._replace(slices=tuple(map(one, v.slices, range(len(v.slices)))))


def _shift(columns: int) -> Change:
    return lambda hu: ndimage.shift(hu, (0, columns), order=0, cval=mip.AIR_HU)


def _rotate(degrees: float) -> Change:
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
    flags.DEFINE_string("scan", None, "A folder, zip file or NIfTI file.")
    flags.DEFINE_float("l3", None, "z of its L3 in mm, LPS.")
    flags.DEFINE_string("checkpoint", str(model.PACKAGED_FILE), "The model's file.")
    flags.DEFINE_bool("paper", False, "The method of the paper alone.")
    flags.DEFINE_bool(
        "mend_hu", False, "Correct values that are HU plus or minus about 1024."
    )
    launch.launch(evaluate, "scan", "l3")
