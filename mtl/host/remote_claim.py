"""A file in an object store that says which process works on a run.

Object stores have no locks that end with their process. So a process that works on a
run renews its claim all the time. Another one that finds the claim waits, and takes it
over if it is not renewed. Only the time that passes here counts: clocks may differ.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import fsspec

from mtl.host.errors import WorkdirError

RENEW_S = 15.0  # Between two renewals of a claim.
DEAD_S = 90.0  # A claim that is not renewed for so long is that of a dead process.
POLL_S = 2.0  # Between two readings of the claim of another process.
READS = 5  # Of a claim that is no JSON, for it may be half written.
NAME = ".claim-{}-of-{}.json"


class LostClaimError(WorkdirError):
    """Another process has taken over the claim of this one."""


class Claim:
    """This process's claim on a part of a run's folder.

    Args:
      store: the file system.
      root: the folder in it.
      shard: the part and the number of parts. Other parts of the same whole may be
        claimed at the same time.

    Attributes:
      path: of the claim's file.
    """

    def __init__(
        self, store: fsspec.AbstractFileSystem, root: str, shard: tuple[int, int]
    ):
        self.path = f"{root}/{NAME.format(*shard)}"
        self._store, self._root, self._total = store, root, shard[1]
        self._token = uuid.uuid4().hex

    def take(self) -> None:
        """Takes the claim, once a dead process's claim is not renewed.

        Raises:
          WorkdirError: another process works on the same part, or on one of another
            whole.
        """
        others = self._in_conflict()
        self._wait_until_dead(others)
        for path in others:
            with contextlib.suppress(FileNotFoundError):
                self._store.rm_file(path)
        try:
            self._store.pipe_file(self.path, self._content(), mode="create")
        except FileExistsError as e:
            raise WorkdirError(self._said(self.path, self._read(self.path))) from e

    def check(self) -> None:
        """Raises LostClaimError if another process has taken the claim over."""
        found = self._read(self.path)
        if found.get("token") != self._token:
            raise LostClaimError(
                f"{self._said(self.path, found)}; this process had not renewed its own "
                f"for {DEAD_S:.0f} s"
            )

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews the claim in a thread, and removes it at the end."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with contextlib.suppress(Exception):  # Then it counts as dead soon.
                if self._read(self.path).get("token") == self._token:
                    self._store.rm_file(self.path)

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(RENEW_S):
            with contextlib.suppress(Exception):  # The next copy says what is wrong.
                self.check()
                self._store.pipe_file(self.path, self._content())

    def _in_conflict(self) -> list[str]:
        """The claims of this part, and those of parts of another whole."""
        self._store.invalidate_cache()
        paths = self._store.glob(f"{self._root}/{NAME.format('*', '*')}")
        own = self.path.rsplit("/", 1)[1]
        return [
            path
            for path in paths
            if path.endswith(f"/{own}")
            or not re.search(rf"-of-{self._total}\.json$", path)
        ]

    def _wait_until_dead(self, paths: Iterable[str]) -> None:
        """Waits until claims are removed, or were not renewed for DEAD_S.

        Raises:
          WorkdirError: one is renewed.
        """
        first = {path: found for path in paths if (found := self._read(path))}
        for path, found in first.items():
            text = "waiting to see whether it still lives"
            print(f"{self._said(path, found)}; {text}", flush=True)
        end = time.monotonic() + DEAD_S
        while first and time.monotonic() < end:
            time.sleep(POLL_S)
            now = {path: self._read(path) for path in first}
            for path, found in now.items():
                if found and found != first[path]:
                    raise WorkdirError(self._said(path, found))
            first = {path: found for path, found in now.items() if found}

    def _read(self, path: str) -> dict[str, Any]:
        """The content of a claim; {} if there is none."""
        for _ in range(READS):
            try:
                content = json.loads(self._store.cat_file(path))
            except FileNotFoundError:
                return {}
            except ValueError:
                content = None
            if isinstance(content, dict):
                return content
            time.sleep(0.1)
        return {"host": "?"}  # A kill cut it short.

    def _said(self, path: str, found: dict[str, Any]) -> str:
        if not found:
            return f"the claim {path} was removed"
        who = ", ".join(f"{k} {found.get(k)}" for k in ("host", "pid", "started"))
        return f"another process works on this run ({who}; its claim is {path})"

    def _content(self) -> bytes:
        content = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _STARTED,
            "renewed": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "renewal": uuid.uuid4().hex,
            "token": self._token,
        }
        return json.dumps(content, indent=2).encode()


_STARTED = time.strftime("%Y-%m-%dT%H:%M:%S%z")
