"""A local copy of a folder in a store, which takes the store's files and changes it.

The order of copying keeps the store fit for a resume, also if the process is killed
between two files: first logs and tables, then the checkpoint, with the file that
`is_mark` knows last, then the files of a finished run, and then the deletions. A
checkpoint without its mark is not brought back.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from mtl.host import processes, remote_store
from mtl.host.errors import Error, WorkdirError
from mtl.host.remote_claim import Claim

CHECKPOINTS = "checkpoints"  # The folder of a run's checkpoints, each in a folder.
MARK = "_CHECKPOINT_METADATA"  # Orbax has this file in each checkpoint.
UNFINISHED = ".orbax-checkpoint-tmp"  # In the name of a checkpoint during a save.
FINISHED = ("summary.json", "failure.json", "results.csv")  # A run with them is done.
Stamp: TypeAlias = tuple[int, int]  # Size and time of change of a local file.


class Mirror:
    """A local copy of a folder in a store.

    Args:
      address: of the folder, such as gs://bucket/run.

    Attributes:
      address: without a slash at its end.
      folder: the local folder. Its name ends as the address does.

    Raises:
      WorkdirError: the address names no store, or its driver is not installed.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self._store, root = remote_store.open_store(address)
        self._root = root.rstrip("/")
        self._temporary = Path(tempfile.mkdtemp(prefix="run-"))
        self.folder = self._temporary / self.address.split("://")[1].strip("/")
        self._claim: Claim | None = None
        self._stamps: dict[str, Stamp] = {}  # Of files that are the same in the store.
        self._brought: dict[str, str] = {}  # What the store said of a file.
        self._pushed: set[str] = set()
        self._keep = False

    @contextlib.contextmanager
    def claimed(self, shard: tuple[int, int]) -> Iterator[None]:
        """Keeps other processes from this part of the folder."""
        claim = Claim(self._store, self._root, shard)
        with remote_store.reaching("write to", self.address):
            claim.take()
        self._claim = claim
        with claim.renewed():
            yield

    def check_claim(self) -> None:
        """Raises LostClaimError if another process has taken the claim over."""
        if self._claim:
            with remote_store.reaching("read", self.address):
                self._claim.check()

    def bring(self, inside: str = "") -> None:
        """Copies files from the store that this process does not have.

        Args:
          inside: a folder within; "" is the whole, without checkpoints.
        """
        with remote_store.reaching("read", self.address):
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
        with remote_store.reaching("write to", self.address):
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

    @contextlib.contextmanager
    def naming_address(self) -> Iterator[None]:
        """Raises errors that name local files with the addresses of these."""
        try:
            yield
        except Error as e:
            raise type(e)(str(e).replace(str(self.folder), self.address)) from e

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


_LAST_TURN = 3
