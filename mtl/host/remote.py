"""Runs in an object store, such as `--workdir=gs://bucket/run`.

A run works in a temporary local folder. `local_folder` brings the run's files there.
Each saved checkpoint is followed by `push`, which copies changed files to the store, as
does the end. fsspec opens the store.

The alternative was to write all files to the store directly, by etils' epath and Orbax.
Orbax alone could do that. But a run also appends to its log, renames files, locks its
folder, and calls libraries that write local files (TensorBoard, Matplotlib,
safetensors). And epath opens only gs:// and s3://, so that no test could run here.

The order of copying keeps the store fit for a resume, also if the process is killed
between two files: first logs and tables, then the checkpoint, with the file that
`is_mark` knows last, then the files of a finished run, and then the deletions. A
checkpoint without its mark is not brought back.

Checkpoints are brought when they are opened, so that a study with many finished runs
starts quickly. With several processes, the first one copies; all bring.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import fsspec
from fsspec.registry import known_implementations

from mtl.host import processes
from mtl.host.errors import Error, WorkdirError
from mtl.host.remote_claim import Claim, LostClaimError

CHECKPOINTS = "checkpoints"  # The folder of a run's checkpoints, each in a folder.
MARK = "_CHECKPOINT_METADATA"  # Orbax has this file in each checkpoint.
UNFINISHED = ".orbax-checkpoint-tmp"  # In the name of a checkpoint during a save.
FINISHED = ("summary.json", "failure.json", "results.csv")  # A run with them is done.
Stamp: TypeAlias = tuple[int, int]  # Size and time of change of a local file.


def is_address(folder: str) -> bool:
    """Whether a folder is an address such as gs://bucket/run."""
    return "://" in folder


@contextlib.contextmanager
def local_folder(folder: str, shard: tuple[int, int] | None = (1, 1)) -> Iterator[Path]:
    """The folder in which a run works; for an address, a local copy.

    At the end, changed files are copied to the store, also after an error.

    Args:
      folder: a local folder, which is returned as it is; or an address.
      shard: the part of the work, and the number of parts. Other processes that work on
        the same part are refused. None only reads, or writes reports.

    Raises:
      WorkdirError: the store cannot be read or written, or another process works there.
    """
    if not is_address(folder):
        yield Path(folder)
        return
    mirror = Mirror(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(mirror.remove)
        if shard and processes.is_first():
            stack.enter_context(mirror.claimed(shard))
        mirror.bring()
        stack.enter_context(_registered(mirror))
        try:
            yield mirror.folder
        except Error as e:
            raise type(e)(str(e).replace(str(mirror.folder), folder)) from e
        finally:
            mirror.push_at_end()


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


class Mirror:
    """A local copy of a folder in a store.

    Args:
      address: of the folder, such as gs://bucket/run.

    Attributes:
      folder: the local folder. Its name ends as the address does.

    Raises:
      WorkdirError: the address names no store, or its driver is not installed.
    """

    def __init__(self, address: str):
        self._address = address.rstrip("/")
        self._store, root = _open(address)
        self._root = root.rstrip("/")
        self._temporary = Path(tempfile.mkdtemp(prefix="run-"))
        self.folder = self._temporary / self._address.split("://")[1].strip("/")
        self._claim: Claim | None = None
        self._stamps: dict[str, Stamp] = {}  # Of files that are the same in the store.
        self._brought: dict[str, str] = {}  # What the store said of a file.
        self._pushed: set[str] = set()
        self._keep = False

    @contextlib.contextmanager
    def claimed(self, shard: tuple[int, int]) -> Iterator[None]:
        """Keeps other processes from this part of the folder."""
        claim = Claim(self._store, self._root, shard)
        with self._reaching("write to"):
            claim.take()
        self._claim = claim
        with claim.renewed():
            yield

    def check_claim(self) -> None:
        """Raises LostClaimError if another process has taken the claim over."""
        if self._claim:
            with self._reaching("read"):
                self._claim.check()

    def bring(self, inside: str = "") -> None:
        """Copies files from the store that this process does not have.

        Args:
          inside: a folder within; "" is the whole, without checkpoints.
        """
        with self._reaching("read"):
            there = self._list(inside)
            new = {
                name: state
                for name, state in there.items()
                if name not in self._pushed and self._brought.get(name) != state
            }
            if new:
                paths = [str(self.folder / name) for name in new]
                self._store.get([f"{self._root}/{name}" for name in new], paths)
        self._brought |= new
        self._stamps |= {name: _stamp(self.folder / name) for name in new}
        self.folder.mkdir(parents=True, exist_ok=True)

    def push(self) -> None:
        """Copies new and changed files to the store, and deletes those that are gone.

        Raises:
          WorkdirError: the store cannot be written.
        """
        if not processes.is_first():
            return
        here = {name: _stamp(self.folder / name) for name in _files(self.folder)}
        changed = [n for n, stamp in here.items() if self._stamps.get(n) != stamp]
        with self._reaching("write to"):
            for turn in range(_LAST_TURN + 1):
                names = [name for name in changed if _turn(name) == turn]
                if names:
                    paths = [f"{self._root}/{name}" for name in names]
                    self._store.put([str(self.folder / n) for n in names], paths)
                self._stamps |= {name: here[name] for name in names}
                self._pushed |= set(names)
            gone = self._stamps.keys() - here.keys()
            for name in sorted(gone, key=is_mark, reverse=True):
                with contextlib.suppress(FileNotFoundError):
                    self._store.rm_file(f"{self._root}/{name}")
                del self._stamps[name]

    def push_at_end(self) -> None:
        """Copies what is left; if this fails, the local folder stays.

        Raises:
          WorkdirError: the store cannot be written, or another process works there.
        """
        try:
            self.check_claim()
            self.push()
        except WorkdirError as e:
            self._keep = True
            raise WorkdirError(f"{e}; the run's files stay in {self.folder}") from e

    def remove(self) -> None:
        """Removes the local folder, if all of it is in the store."""
        if not self._keep:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _list(self, inside: str) -> dict[str, str]:
        """The files in the store that are to be here, and what it says of them."""
        self._store.invalidate_cache()
        root = f"{self._root}/{inside}".rstrip("/")
        found = self._store.find(root, detail=True)
        start = len(self._root) + 1
        infos = {path[start:]: repr(info) for path, info in found.items()}
        marked = {str(PurePosixPath(name).parent) for name in infos if is_mark(name)}

        def wanted(name: str) -> bool:
            path = PurePosixPath(name)
            if not is_checkpoint(name):
                return not path.name.startswith(".")
            opened = CHECKPOINTS in PurePosixPath(inside).parts
            return opened and any(str(p) in marked for p in path.parents)

        return {name: info for name, info in infos.items() if wanted(name)}

    @contextlib.contextmanager
    def _reaching(self, doing: str) -> Iterator[None]:
        """Raises all errors of the store's driver as WorkdirError."""
        try:
            yield
        except Error:
            raise
        except Exception as e:  # Each driver has errors of its own.
            raise WorkdirError(
                f"cannot {doing} {self._address} ({type(e).__name__}: {e}); check the "
                "bucket's name, and that this machine has credentials which may read "
                "and write there"
            ) from e


def is_checkpoint(name: str) -> bool:
    """Whether a file belongs to a checkpoint, by its name within the run."""
    return CHECKPOINTS in PurePosixPath(name).parts


def is_mark(name: str) -> bool:
    """Whether a file, by its presence in the store, says that a checkpoint is whole."""
    return is_checkpoint(name) and PurePosixPath(name).name == MARK


def _turn(name: str) -> int:
    """When a file is copied to the store: those of a lower number come before it."""
    if not is_checkpoint(name):
        return _LAST_TURN if PurePosixPath(name).name in FINISHED else 0
    return 2 if is_mark(name) else 1


def _files(folder: Path) -> list[str]:
    """The names of the files that a store gets: no locks, nothing unfinished."""
    paths = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    return [
        p.as_posix()
        for p in paths
        if not any(x.startswith(".") or UNFINISHED in x for x in p.parts)
    ]


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _open(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an address, and the path in it."""
    protocol = address.split("://")[0].split("::")[-1]
    local = {"auto_mkdir": True} if protocol in ("file", "local") else {}
    try:
        return fsspec.core.url_to_fs(address, **local)
    except ImportError as e:
        package = known_implementations[protocol]["class"].partition(".")[0]
        raise WorkdirError(f"{address} needs pip install {package} ({e})") from e
    except Exception as e:  # Each driver has errors of its own.
        raise WorkdirError(f"cannot open {address} ({type(e).__name__}: {e})") from e


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


_LAST_TURN = 3
_mirrors: list[Mirror] = []
