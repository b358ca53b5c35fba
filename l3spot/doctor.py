"""Examines whether this machine can find L3: versions, decoders, and a test.

python -m l3spot.doctor

Decodes a small picture of each kind of compression, and finds L3 in a phantom that it
writes to a temporary folder. The exit status is 1 if something does not work.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from l3spot.ct import sample_frames
from l3spot.phantom import series
from l3spot.phantom.draw import PhantomRanges
from l3spot.report import locating
from mtl.host import environment, errors, launch, tables
from mtl.host.errors import DataError

SEED, NUMBER, SIZE = 0, 0, 256  # Of the phantom.
MAX_ERROR_MM = 5.0


def examine() -> tuple[list[list[str]], bool]:
    """Returns what was found as rows of texts, and whether all of it works."""
    rows = [[name, str(value)] for name, value in environment.describe().items()]
    works = True
    checks: dict[str, Callable[[], str]] = {
        name: sample.check for name, sample in sample_frames.SAMPLES.items()
    }
    for name, check in (checks | {"L3 in a phantom": check_phantom}).items():
        start = time.perf_counter()
        try:
            found = check()
        except Exception as e:
            found, works = f"FAILED: {errors.reason(e)}", False
        rows.append([name, f"{found}, {time.perf_counter() - start:.1f} s"])
    return rows, works


def check_phantom() -> str:
    """Finds L3 in a phantom, and returns how far it is from the truth.

    Raises:
      DataError: it is not found, or too far away.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "phantom"
        z_mm = series.write(path, SEED, NUMBER, PhantomRanges(), SIZE)
        location = locating.locate(path)
    if location.z_mm is None:
        raise DataError("L3 is in view, and was not found")
    error_mm = abs(location.z_mm - z_mm)
    if not error_mm < MAX_ERROR_MM:
        raise DataError(f"L3 was found {error_mm:.1f} mm from its place")
    return f"found, {error_mm:.1f} mm from its place"


def launcher(arguments: Sequence[str]) -> str:
    """Examines the machine and returns what was found."""
    launch.reject_extra_args(arguments)
    rows, works = examine()
    text = tables.aligned(rows, right=[])
    if not works:
        print(text)
        sys.exit("error: some of it does not work; install the package again")
    return text


if __name__ == "__main__":
    launch.launch(launcher)
