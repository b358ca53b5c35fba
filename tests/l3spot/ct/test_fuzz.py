"""Broken files give results or DataErrors, within limits of time and memory.

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

pytestmark = pytest.mark.slow  # It reads thousands of files.

MUTANTS = 10_000  # Over all kinds of files.
AT_ONCE = 8  # Mutated files of one slice, in a folder with as many clean ones.
SECONDS, BYTES = 20.0, 2 << 30  # Limits for reading a folder.


def single(syntax):
    """Returns the contents of files of one slice each, from the feet to the head."""
    made = write.series(slices=2 * AT_ONCE)
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


# By name: the file suffix, and the function that makes the contents of a clean scan's
# files. In a scan of several files, every other one is mutated.
KINDS = {
    **{name: ("", lambda n=name: single(n)) for name in compressed.SYNTAXES},
    "frames": ("", lambda: frames("implicit")),
    "frames, JPEG 2000": ("", lambda: frames("JPEG 2000")),
    "zip": (".zip", archive),
    "NIfTI": (".nii", nifti),
    "NIfTI, packed": (".nii.gz", lambda: [gzip.compress(d, mtime=0) for d in nifti()]),
}


def mutate(data, rng):
    """Applies one to three changes to the bytes of a file."""
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
    """Limits the memory, so that allocating gigabytes raises MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def read_all(root):
    """Reads and projects a scan; returns the results by file, and whether it warned.

    The result of a file is the z and the HU of its last slice that decodes.
    """
    try:
        result = scan.read(root)
    except DataError:
        return {}, True
    groups = [v.slices for v in result.volumes] + [r.slices for r in result.rejected]
    given = {}
    for ct_slice in (p for group in groups for p in group):
        with contextlib.suppress(DataError):
            hu = ct_slice.hu()
            assert hu.shape == ct_slice.shape
            given[ct_slice.file.path] = ct_slice.origin_mm[2], hu.tobytes()
    for volume in result.volumes:
        with contextlib.suppress(DataError):
            made = mip.project(volume, workers=2)
            assert np.isfinite(made.frontal).all()
    warned = any(v.warnings for v in result.volumes) or result.rejected or result.unread
    return given, bool(warned)


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_give_results_or_data_errors(tmp_path, kind):
    suffix, make = KINDS[kind]
    clean = make()
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    paths = [tmp_path / f"{i}{suffix}" for i in range(len(clean))]
    for path, data in zip(paths, clean, strict=True):
        path.write_bytes(data)
    with little_memory():
        whole, warned = read_all(tmp_path)
        assert len(whole) == len(clean)
        assert not warned
        for _ in range(-(-MUTANTS // len(KINDS) // len(clean[::2]))):
            for path, data in zip(paths[::2], clean[::2], strict=True):
                path.write_bytes(mutate(data, rng))
            start = time.perf_counter()
            given, warned = read_all(tmp_path)
            assert time.perf_counter() - start < SECONDS
            # Clean files give their result, or a warning.
            for path in paths[1::2]:
                assert given.get(path) == whole[path] or (path not in given and warned)
