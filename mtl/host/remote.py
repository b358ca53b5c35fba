"""Runs, data and results in an object store, such as `--workdir=gs://bucket/run`.

A run works in a temporary local folder. `local_folder` brings the run's files there.
Each saved checkpoint is followed by `push`, which copies changed files to the store, as
does the end. Checkpoints are brought when they are opened, so that a study with many
finished runs starts quickly. With several processes, the first one copies; all bring.

`local_copy` brings a file or folder that is only read, and `output` copies a result.

The alternative was to write all files to the store directly, by etils' epath and Orbax.
Orbax alone could do that. But a run also appends to its log, renames files, locks its
folder, and calls libraries that write local files (TensorBoard, Matplotlib,
safetensors). And epath opens only gs:// and s3://, so that no test could run here.
"""

import atexit
import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from mtl.host import processes, remote_store
from mtl.host.errors import DataError, WorkdirError
from mtl.host.remote_claim import LostClaimError
from mtl.host.remote_mirror import Mirror


@contextlib.contextmanager
def local_folder(
    folder: str | Path, shard: tuple[int, int] | None = (1, 1)
) -> Iterator[Path]:
    """The folder in which a run works; for an address, a local copy.

    At the end, changed files are copied to the store, also after an error.

    Args:
      folder: a local folder, which is returned as it is; or an address.
      shard: the part of the work, and the number of parts. Other processes that work on
        the same part are refused. None only reads, or writes reports.

    Raises:
      WorkdirError: the store cannot be read or written, or another process works there.
    """
    if not remote_store.is_address(str(folder)):
        yield Path(folder)
        return
    mirror = Mirror(str(folder))
    with contextlib.ExitStack() as stack:
        stack.callback(mirror.remove)
        if shard and processes.is_first():
            stack.enter_context(mirror.claimed(shard))
        mirror.bring()
        stack.enter_context(_registered(mirror))
        try:
            with mirror.naming_address():
                yield mirror.folder
        finally:
            mirror.push_at_end()


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A file or folder that is only read; for an address, a local copy.

    The copy is made once, and stays until the program ends, because data may be read
    during the whole training.

    Raises:
      WorkdirError: the store cannot be read.
      DataError: there is nothing at the address.
    """
    if not remote_store.is_address(path):
        yield path
        return
    mirror = _copy(path)
    with mirror.naming_address():
        yield str(mirror.folder / remote_store.parent(path)[1])


@contextlib.contextmanager
def output(path: str) -> Iterator[Path]:
    """Where a result is written; for an address, a local file or folder.

    At the end, it is copied to the store, with all that was written beside it. If this
    fails, it stays.

    Raises:
      WorkdirError: the store cannot be written.
    """
    if not remote_store.is_address(path):
        yield Path(path)
        return
    folder, name = remote_store.parent(path)
    mirror = Mirror(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(mirror.remove)
        mirror.folder.mkdir(parents=True)
        with mirror.naming_address():
            yield mirror.folder / name
        mirror.push_at_end()


def is_mirrored(folder: Path) -> bool:
    """Whether the folder is the local copy of one in a store."""
    return any(True for _ in _mirrors_of(folder))


def push(folder: Path) -> None:
    """Copies changed files to the store; for a local folder, does nothing.

    If this fails, it says so. The next copy has these files as well.

    Raises:
      LostClaimError: another process has taken the run over.
    """
    for mirror, _ in _mirrors_of(folder):
        try:
            mirror.check_claim()
            mirror.push()
        except LostClaimError:
            raise
        except WorkdirError as e:
            print(f"{e}; the next save tries again", file=sys.stderr, flush=True)


def bring(folder: Path) -> None:
    """Brings what others have changed in the store; for a local folder, does nothing.

    Args:
      folder: the folder of a run or of several runs; or of checkpoints, which are
        brought only then.

    Raises:
      WorkdirError: the store cannot be read.
    """
    for mirror, inside in _mirrors_of(folder):
        mirror.bring(inside)


def share(folder: Path) -> None:
    """Lets all processes of a training see what the first one has written so far."""
    if processes.is_first():
        push(folder)
    processes.wait_for_all()
    if not processes.is_first():
        bring(folder)


@functools.cache
def _copy(address: str) -> Mirror:
    """A copy of a file or folder alone, which is removed when the program ends."""
    folder, name = remote_store.parent(address)
    mirror = Mirror(folder)
    atexit.register(mirror.remove)
    mirror.bring(name)
    if not (mirror.folder / name).exists():
        raise DataError(f"there is no file or folder {address}")
    return mirror


@contextlib.contextmanager
def _registered(mirror: Mirror) -> Iterator[None]:
    _mirrors.append(mirror)
    try:
        yield
    finally:
        _mirrors.remove(mirror)


def _mirrors_of(folder: Path) -> Iterator[tuple[Mirror, str]]:
    """The mirror that holds a folder, if there is one, and the folder's name in it."""
    for mirror in _mirrors:
        if folder.absolute().is_relative_to(mirror.folder):
            inside = folder.absolute().relative_to(mirror.folder)
            yield mirror, inside.as_posix().removeprefix(".")


_mirrors: list[Mirror] = []
