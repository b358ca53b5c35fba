"""A CT series on the disk to its frontal and lateral projections, beside other tools.

    python -m benchmarks.project_vs_simpleitk [--slices 600] [--turns 5] [--quick]
        [--out FILE.json]

The series has 600 slices of 512 x 512 pixels, 0.7 mm wide and 1 mm apart: a body with a
spine and with noise like that of scanners, once uncompressed and once in JPEG 2000
(lossless), which takes a third of the space. The others read the volume (SimpleITK's
series reader; dicom2nifti, then nibabel), take NumPy's maxima and interpolate them to
rows and columns of 1 mm. Ours also leaves out the table, so it does more.

First the projections have to agree to 1 HU wherever a body is seen, or nothing is
measured. Each turn of each contender is a process of its own; the files are in the
page cache. Seconds are those from folder to projections, without imports; medians
count. Seconds of all cores say what is left of that without others on the machine.
Memory is the peak. Both count the processes that ours starts as well.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from absl import flags

from benchmarks import measure
from mtl.host import launch
from mtl.host.errors import ConfigError

SIZE, MM, STEP = 512, 0.7, 1.0
KINDS = ("uncompressed", "jpeg2000")
Turn: TypeAlias = dict[str, float]  # Seconds and memory of a turn, see `one`.
Seen = tuple[np.ndarray, np.ndarray]  # Frontal, lateral; HU, the head up.


def plane(number: int, noise: np.ndarray) -> np.ndarray:
    """Stored values uint16 [SIZE, SIZE], of 12 bits: HU + 1024."""
    from scipy import ndimage

    y, x = np.mgrid[:SIZE, :SIZE]
    wide, deep = 170 + 20 * np.sin(number / 60), 120 + 10 * np.cos(number / 45)
    radius = ((x - 256) / wide) ** 2 + ((y - 250) / deep) ** 2
    hu = np.full((SIZE, SIZE), -1000.0)
    hu[radius < 1] = -90
    hu[radius < 0.8] = 45
    hu[((x - 256) / 35) ** 2 + ((y - 320) / 28) ** 2 < 1] = 350 + 150 * np.sin(
        number / 4
    )
    hu = ndimage.gaussian_filter(hu, 1) + noise
    return np.clip(np.round(hu + 1024), 0, 4095).astype(np.uint16)


def write(folder: Path, planes: int) -> None:
    """Writes the series into a folder of each kind."""
    import openjpeg.utils
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless
    from scipy import ndimage

    from tests.l3spot import series

    rng = np.random.default_rng(0)
    blurred = [
        ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 0.8) for _ in range(8)
    ]
    for kind in KINDS:
        (folder / kind).mkdir()
    for i in range(planes):
        stored = plane(i, 18 * blurred[i % 8] / blurred[i % 8].std())
        place = (-180.0, -180.0, STEP * i)
        ds = series.image(stored, place, i + 1, PixelSpacing=[MM, MM], RescaleSlope=1.0,
                          RescaleIntercept=-1024.0, BitsStored=12, HighBit=11,
                          SliceThickness=STEP)  # fmt: skip
        (folder / KINDS[0] / f"{i:04}.dcm").write_bytes(series.content(ds))
        frame = openjpeg.utils.encode_array(
            stored, bits_stored=12, photometric_interpretation=2
        )
        ds.PixelData = encapsulate([bytes(frame)])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        (folder / KINDS[1] / f"{i:04}.dcm").write_bytes(series.content(ds))


def ours(folder: Path) -> Callable[[], Seen]:
    """`l3spot`: slices one by one."""
    from l3spot.ct import scan
    from l3spot.projections import mip

    def work() -> Seen:
        volume = scan.choose(scan.read(folder), folder)
        made = mip.project(volume)
        return made.frontal, made.lateral

    return work


def simple_itk(folder: Path) -> Callable[[], Seen]:
    """SimpleITK's series reader, then NumPy."""
    import SimpleITK as sitk  # noqa: N813

    def work() -> Seen:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        return seen(sitk.GetArrayViewFromImage(image))

    return work


def nifti(folder: Path) -> Callable[[], Seen]:
    """dicom2nifti, then nibabel and NumPy."""
    import dicom2nifti
    import nibabel

    def work() -> Seen:
        with tempfile.TemporaryDirectory() as made:
            path = Path(made) / "a.nii"
            dicom2nifti.dicom_series_to_nifti(folder, path)
            image = nibabel.load(path)
            turned = nibabel.as_closest_canonical(image)  # RAS.
            hu = np.asanyarray(turned.dataobj)
            return seen(hu.transpose(2, 1, 0)[:, ::-1, ::-1])

    return work


CONTENDERS = {"ours": ours, "simpleitk": simple_itk, "dicom2nifti": nifti}


def seen(hu: np.ndarray) -> Seen:
    """The maxima of HU [z, y, x], on a grid of 1 mm."""
    return grid(hu.max(axis=1)), grid(hu.max(axis=2))


def grid(values: np.ndarray) -> np.ndarray:
    """[planes, pixels] of STEP and MM to 1 mm, the head up."""
    z, x = STEP * np.arange(len(values)), MM * np.arange(values.shape[1])
    to = np.arange(0, x[-1] + 1e-6)
    across = np.array([np.interp(to, x, row) for row in values])
    rows = np.arange(z[-1], -1e-6, -1.0)
    return np.array([np.interp(rows, z, column) for column in across.T]).T


def check(folder: Path, names: list[str]) -> None:
    """All contenders see the same body.

    Raises:
      RuntimeError: they do not.
    """
    due = CONTENDERS["simpleitk"](folder / KINDS[0])()
    for kind in KINDS:
        for name in names:
            for found, other in zip(
                CONTENDERS[name](folder / kind)(), due, strict=True
            ):
                body = other > 0  # Beside it, ours has what it leaves out at -1024.
                error = np.abs(found - other)[body].max()
                if found.shape != other.shape or not error <= 1:
                    raise RuntimeError(f"{name}, {kind}: {error} HU off")


def one(name: str, folder: Path) -> Turn:
    """Seconds and memory of this process, and of those that it starts."""
    work = CONTENDERS[name](folder)
    before, start = measure.peak_mib(), time.perf_counter()
    busy = time.process_time()
    work()
    took, busy = time.perf_counter() - start, time.process_time() - busy
    started = children()
    peak = measure.peak_mib() + sum(measure.peak_mib(i) for i in started)
    return {
        "seconds": took,
        "cpu_seconds": busy + sum(map(cpu_seconds, started)),
        "peak_mib": peak,
        "increase_mib": peak - before,
    }


def children() -> list[str]:
    """The numbers of the processes that this one has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [i for task in tasks for i in task.read_text().split()]


def cpu_seconds(process: str) -> float:
    """Of a process, on all cores, in its own code and in the system's."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def shares(folder: Path, planes: int) -> dict[str, float]:
    """Milliseconds a plane, in one thread, of the parts of ours."""
    from l3spot.ct import scan
    from l3spot.projections import mip

    start = time.perf_counter()
    volume = scan.choose(scan.read(folder), folder)
    took = {"header": time.perf_counter() - start}
    kept = volume.slices[: min(planes, 100)]
    took["header"] *= len(kept) / planes
    for p in kept:
        start = time.perf_counter()
        values = p.decode()
        decoded = time.perf_counter()
        mip.project_slice(p, values)
        done = time.perf_counter()
        parts = {"decode": decoded - start, "body and maxima": done - decoded}
        for part, seconds in parts.items():
            took[part] = took.get(part, 0) + seconds
    return {part: 1000 * seconds / len(kept) for part, seconds in took.items()}


def figures_of(planes: int, turn_count: int, folder: Path) -> dict[str, Any]:
    """All the figures; those of `KINDS` are rows by contender."""
    measure.need("SimpleITK")
    write(folder, planes)
    found = importlib.util.find_spec("dicom2nifti") is not None
    names = [name for name in CONTENDERS if found or name != "dicom2nifti"]
    packages = ("SimpleITK", "pydicom", "python-gdcm", "numpy", "scipy")
    extra = ("dicom2nifti", "nibabel") if found else ()
    where = measure.machine(None, packages + extra)
    check(folder, names)
    figures: dict[str, Any] = {"machine": where, "planes": planes}
    for kind in KINDS:
        turns: dict[str, list[Turn]] = {name: [] for name in names}
        for _ in range(turn_count):
            for name, made in turns.items():
                module = "benchmarks.project_vs_simpleitk"
                command = [sys.executable, "-m", module, "--only", name]
                command += ["--folder", str(folder / kind)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                made.append(json.loads(done.stdout))
        figures[kind] = {
            name: {k: statistics.median(t[k] for t in made) for k in made[0]}
            | {"all_seconds": [t["seconds"] for t in made]}
            | {"times": times(made, turns["simpleitk"])}
            for name, made in turns.items()
        }
        figures[kind]["ours"]["milliseconds a plane"] = shares(folder / kind, planes)
    return figures


def times(ours: list[Turn], theirs: list[Turn]) -> float:
    """As fast as another, by the median over turns: a turn's have the same load."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(b["seconds"] / a["seconds"] for a, b in pairs)


def table(figures: dict[str, Any]) -> str:
    """The figures to be read."""
    keys = "seconds", "times", "cpu_seconds", "peak_mib", "increase_mib"
    parts = [measure.describe(figures["machine"])]
    for kind in KINDS:
        head = kind, "s", "times", "CPU s", "MiB", "of it"
        rows = [(name, *(r[k] for k in keys)) for name, r in figures[kind].items()]
        steps = figures[kind]["ours"]["milliseconds a plane"]
        each = ", ".join(f"{step} {ms:.2f}" for step, ms in steps.items())
        parts.append(
            measure.table(head, rows, (".2f", ".2f", ".2f", ".0f", ".0f"))
            + f"\nours, milliseconds a slice in one thread: {each}"
        )
    parts.append(
        "times: as fast as SimpleITK, the median of turns. MiB: peak, and its part "
        "beyond imports."
    )
    return "\n\n".join(parts)


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; writes the JSON file and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.only:
        if not args.folder:
            raise ConfigError("--only needs --folder, a folder of DICOM files")
        return json.dumps(one(args.only, Path(args.folder)))
    planes = args.slices or (20 if args.quick else 600)
    with tempfile.TemporaryDirectory() as folder:
        figures = figures_of(planes, 1 if args.quick else args.turns, Path(folder))
    measure.write(figures)
    return table(figures)


if __name__ == "__main__":
    flags.DEFINE_integer("slices", None, "Slices of the series.")
    flags.DEFINE_integer("turns", 5, "Turns of each contender.")
    flags.DEFINE_bool("quick", False, "Few slices, one turn.")
    flags.DEFINE_enum("only", None, list(CONTENDERS), "Measure it in this process.")
    flags.DEFINE_string("folder", "", "A folder of DICOM files, for --only.")
    measure.define_out()
    launch.launch(work)
