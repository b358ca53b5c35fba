"""Broken files are results or DataErrors: nothing else, soon, and without much memory.

10,000 mutants of small files; another kind of file is a line of KINDS.
"""

import contextlib
import gzip
import io
import resource
import time
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from l3spot.ct import scan
from l3spot.projections import mip
from mtl.host.errors import DataError
from tests.l3spot import compressed
from tests.l3spot import series as write

MUTANTS = 10_000  # Of all kinds.
AT_ONCE = 8  # Of files that are a plane: in one folder, beside as many clean ones.
SECONDS, BYTES = 20.0, 2 << 30  # The most that reading a folder may take.


def single(syntax):
    """Contents of files of a plane each, from the feet to the head."""
    made = write.series(planes=2 * AT_ONCE)
    return [compressed.content(ds, syntax) for ds in made]


def frames(syntax):
    return [compressed.content(write.enhanced(2.0, True, AT_ONCE), syntax)]


def archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for i, data in enumerate(single("explicit")[:AT_ONCE]):
            made.writestr(str(i), data)
    return [stream.getvalue()]


def nifti():
    hu = write.values(AT_ONCE).T - np.int16(100)
    return [nibabel.Nifti1Image(hu, np.diag([1.0, 1.0, 2.0, 1.0])).to_bytes()]


# By name: the suffix of files, and what makes the contents of those of a clean scan. Of
# a scan of several files every other one is mutated.
KINDS = {
    **{name: ("", lambda n=name: single(n)) for name in compressed.SYNTAXES},
    "frames": ("", lambda: frames("implicit")),
    "frames, JPEG 2000": ("", lambda: frames("JPEG 2000")),
    "zip": (".zip", archive),
    "NIfTI": (".nii", nifti),
    "NIfTI, packed": (".nii.gz", lambda: [gzip.compress(d, mtime=0) for d in nifti()]),
}


def mutate(data, rng):
    """One to three changes of a file."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(len(data), 1)))
        size = int(rng.integers(1, 9))
        how = rng.integers(0, 7)
        if how == 0:
            data[at : at + 1] = bytes([rng.integers(0, 256)])
        elif how == 1:
            data[at:at] = rng.bytes(size)
        elif how == 2:
            del data[at : at + size]
        elif how == 3:
            del data[at:]
        elif how == 4:
            data[at : at + size] = b"\0" * len(data[at : at + size])
        elif how == 5:
            data[at : at + size] = b"\xff" * len(data[at : at + size])
        else:
            to = int(rng.integers(0, max(len(data), 1)))
            block = data[at : at + 4 * size]
            data[at : at + 4 * size] = data[to : to + 4 * size]
            data[to : to + len(block)] = block
    return bytes(data)


@contextlib.contextmanager
def little_memory():
    """Asking for gigabytes is a MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def whatever(root):
    """All that is done with a scan: what its files give, and whether it is warned of.

    By file, of the last of its planes that can be decoded, height and HU.
    """
    try:
        found = scan.read(root)
    except DataError:
        return {}, True
    groups = [v.planes for v in found.volumes] + [r.planes for r in found.rejected]
    given = {}
    for plane in (p for group in groups for p in group):
        with contextlib.suppress(DataError):
            hu = plane.hu()
            assert hu.shape == plane.shape
            given[plane.file.path] = plane.origin[2], hu.tobytes()
    for volume in found.volumes:
        with contextlib.suppress(DataError):
            made = mip.project(volume, workers=2)
            assert np.isfinite(made.frontal).all()
    warned = any(v.warnings for v in found.volumes) or found.rejected or found.unread
    return given, bool(warned)


@pytest.mark.parametrize("kind", KINDS)
def test_mutants(tmp_path, kind):
    suffix, make = KINDS[kind]
    clean = make()
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    paths = [tmp_path / f"{i}{suffix}" for i in range(len(clean))]
    for path, data in zip(paths, clean, strict=True):
        path.write_bytes(data)
    with little_memory():
        whole, warned = whatever(tmp_path)
        assert len(whole) == len(clean)
        assert not warned
        for _ in range(-(-MUTANTS // len(KINDS) // len(clean[::2]))):
            for path, data in zip(paths[::2], clean[::2], strict=True):
                path.write_bytes(mutate(data, rng))
            start = time.perf_counter()
            given, warned = whatever(tmp_path)
            assert time.perf_counter() - start < SECONDS
            # The files beside the broken ones give what they gave, or that is told.
            for path in paths[1::2]:
                assert given.get(path) == whole[path] or (path not in given and warned)
