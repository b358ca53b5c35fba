"""An archive of scans: how many in an hour, and what many results cost.

    python -m benchmarks.archive [--scans 200] [--workers 1,2] [--jpeg2000 0.2] \
        [--slices 120,600] [--size 512] [--method vertebrae] [--phantoms FOLDER] \
        [--out FILE.json]
    python -m benchmarks.archive --results 1000,10000,100000 [--out FILE.json]

The first command writes ten phantoms of 120 to 600 slices of 512 x 512 pixels, a share
of them in lossless JPEG 2000 and the others uncompressed. The archive of so many scans
is made of links to them, as 2,000 scans of this size take 380 GB. It finds L3 in all of
them with each number of workers; each run is a process of its own, and its results are
removed. Memory is the highest of all its processes together. `--phantoms` keeps the
phantoms for the next call.

The second one makes an archive in which each scan has its result: a file, its NAME.json
and a picture. It measures a run of `l3spot.predict` that finds all of them still valid,
and writes the tables and pages.
"""

import io
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openjpeg.utils
import pydicom
from absl import flags
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from benchmarks import measure
from l3spot.batch import resume, run, scan_list
from l3spot.ct import volumes
from l3spot.localize import model
from l3spot.phantom import series
from l3spot.phantom.draw import PhantomRanges
from l3spot.projections import fingerprint
from l3spot.projections.scan_folders import Case
from l3spot.report import result_json
from l3spot.report.predict_scan import METHODS, PredictOptions
from l3spot.report.results_file import LevelRow, ResultRow, ScanRows
from mtl.host import claims, compile_cache, launch, workdir
from mtl.host.errors import ConfigError

PHANTOMS = 10
MONOCHROME2 = 2  # The code of openjpeg.
NAMES = ("T12", "L1", "L2", "L3", "L4", "L5", "S1")


def predict(*arguments: object) -> dict[str, float]:
    """Runs l3spot.predict; returns seconds, those of all cores, and MB.

    The last two are of the process and of those that it started, together.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "l3spot", "predict", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    highest, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.2):
            highest = max(highest, _memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "mb": highest}


def _memory_mb(pid: int) -> float:
    """Returns the resident memory of a process and of those that it started."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True
    )
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    family = {pid}
    for own, parent, _ in rows:  # In the order of their start.
        if parent in family:
            family.add(own)
    return sum(kb for own, _, kb in rows if own in family) / 1000


def write_phantoms(
    folder: Path, slices: tuple[int, int], size: int, share: float
) -> list[Path]:
    """Writes phantoms with evenly spread numbers of slices; longer scans have more.

    Args:
      folder: phantoms that it holds already are kept.
      slices: the lowest and the highest number of slices.
      size: pixels a side of a slice.
      share: of the phantoms in JPEG 2000.
    """
    drawn = [series.draw(0, i, PhantomRanges()) for i in range(PHANTOMS)]
    drawn.sort(key=lambda p: float(p.scan.high_mm - p.scan.low_mm))
    made = []
    lowest, highest = slices
    counts = np.linspace(lowest, highest, PHANTOMS).astype(int)
    for i, (phantom, count) in enumerate(zip(drawn, counts, strict=True)):
        length_mm = phantom.scan.high_mm - phantom.scan.low_mm
        # Half a slice is left over, so that rounding does not change their number.
        scan = phantom.scan._replace(slice_mm=length_mm / (count - 0.5))
        made.append(folder / f"phantom-{i}-{count}-{size}")
        series.write_drawn(
            made[-1], phantom._replace(scan=scan), f"archive {i}", i, size
        )
        if is_compressed(i, share):
            made[-1] = compress(made[-1])
    return made


def compress(folder: Path) -> Path:
    """Encodes the DICOM files of a folder in lossless JPEG 2000; returns their folder.

    Files that it holds already are kept.
    """
    to = folder.with_name(f"{folder.name}-jpeg2000")
    to.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if (to / path.name).exists():
            continue
        ds = pydicom.dcmread(path)
        stored = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
        frame = openjpeg.utils.encode_array(
            stored,
            bits_stored=ds.BitsStored,
            photometric_interpretation=MONOCHROME2,
        )
        ds.PixelData = encapsulate([bytes(frame)])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        content = io.BytesIO()
        ds.save_as(content)
        workdir.write_bytes(to / path.name, content.getvalue())
    return to


def is_compressed(number: int, share: float) -> bool:
    """Returns whether a phantom is of the share, which is spread over all sizes."""
    return math.floor((number + 1) * share) > math.floor(number * share)


def _slices() -> tuple[int, int]:
    """Returns the lowest and the highest number of slices.

    Raises:
      ConfigError: the flag has no two rising numbers.
    """
    numbers = measure.integers("slices", volumes.MIN_SLICES)
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        raise ConfigError(
            f"--slices={','.join(map(str, numbers))} must be the lowest number and the "
            "highest, such as 120,600"
        )
    return numbers[0], numbers[1]


def throughput(
    scans: int, workers: Sequence[int], folder: Path, args: flags.FlagValues
) -> dict[str, Any]:
    """Measures how many scans each number of workers gets through in an hour."""
    phantoms = Path(args.phantoms) if args.phantoms else folder
    slices = _slices()
    made = write_phantoms(phantoms.absolute(), slices, args.size, args.jpeg2000)
    compressed = [is_compressed(i, args.jpeg2000) for i in range(PHANTOMS)]
    sizes = [len(list(path.iterdir())) for path in made]
    archive = folder / "archive"
    archive.mkdir()
    for i in range(scans):
        (archive / f"scan-{i:06d}").symlink_to(made[i % PHANTOMS])
    found = {}
    for count in workers:
        out = folder / f"results-{count}"
        cost = predict(
            *(f"--scans={archive}", f"--out={out}", f"--workers={count}"),
            f"--method={args.method}",
        )
        done = workdir.read_json(out / "summary.json")["results"]
        found[str(count)] = cost | {
            "scans_an_hour": 3600 * scans / cost["seconds"],
            "results": done,
        }
    return {
        **{"scans": scans, "slices": sizes, "jpeg2000": compressed, "size": args.size},
        **{"method": args.method, "workers": found},
    }


def resumed(count: int, folder: Path) -> dict[str, Any]:
    """Measures a run of an archive in which each scan has a result that holds."""
    files, out = folder / "files", folder / "out"
    files.mkdir()
    out.mkdir()
    options = PredictOptions()
    common = run.made_by(run.make_worker(out, model.PACKAGED_FILE, options))
    rng = np.random.default_rng(0)
    cases = []
    for i in range(count):
        path = files / f"scan-{i:06d}.nii"
        path.write_bytes(b"")
        case = Case(path.name, path)
        job = resume.job(case, common)
        made_by = {**job.made_by, "files": fingerprint.of_files(case)}
        result_json.write(out, case.name, [_result(case.name, rng)], made_by)
        (out / f"{path.name}.png").write_bytes(b"")
        cases.append(case)
    names = [f"{case.name}{end}" for case in cases for end in (".json", ".png")]
    claims.claim(out, names, trusted=True)
    scan_list.write(folder / "scans.csv", cases)
    cost = predict(f"--scans={folder / 'scans.csv'}", f"--out={out}")
    rows = workdir.read_json(out / "summary.json")["results"]
    assert sum(rows.values()) == count
    return cost | {"page_mb": (out / "index.html").stat().st_size / 1e6}


def _result(name: str, rng: np.random.Generator) -> ScanRows:
    z_mm = round(float(rng.uniform(-300, 300)), 2)
    levels = [
        LevelRow(name, level, z_mm + 100 - 35 * i, z_mm + 114 - 35 * i, z_mm, 0.9)
        for i, level in enumerate(NAMES)
    ]
    within_5_mm = round(float(rng.uniform(0, 1)), 4)
    row = ResultRow(
        name, "found", "L3", round(float(rng.uniform(0.5, 1)), 4), "both", z_mm,
        levels=" ".join(NAMES), within_5_mm=within_5_mm, trust=within_5_mm,
        series="1.2.840.113619.2.55.3.604688119.868.1234567890.123",
        seconds=1.0,
    )  # fmt: skip
    return ScanRows(row, levels)


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags and returns what was found."""
    launch.reject_extra_args(arguments)
    compile_cache.enable()
    args = flags.FLAGS
    found: dict[str, Any] = {"machine": measure.machine(None, ("jax", "numpy"))}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.results:
            for count in measure.integers("results"):
                place = Path(folder) / str(count)
                place.mkdir()
                found[f"{count} results"] = resumed(count, place)
        else:
            workers = measure.integers("workers")
            found |= throughput(args.scans, workers, Path(folder), args)
    measure.write(found)
    return json.dumps(found, indent=2)


if __name__ == "__main__":
    flags.DEFINE_integer("scans", 200, "The number of scans.", lower_bound=1)
    flags.DEFINE_list("workers", ["1", "2"], "The numbers of workers.")
    flags.DEFINE_float(
        *("jpeg2000", 0.2, "The share of the scans in JPEG 2000."),
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_list("slices", ["120", "600"], "Their lowest and highest number.")
    flags.DEFINE_integer("size", 512, "Pixels a side of a slice.", lower_bound=64)
    flags.DEFINE_enum("method", METHODS[0], METHODS, "As of l3spot.predict.")
    flags.DEFINE_list("results", [], "The numbers of results that are there.")
    flags.DEFINE_string("phantoms", None, "A folder that keeps the phantoms.")
    flags.DEFINE_string("folder", None, "Where temporary files are.")
    measure.define_out()
    launch.launch(work)
