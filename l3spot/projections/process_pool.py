"""Work on many items in processes of their own, of which any may die."""

import contextlib
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

PATIENCE = 10.0  # Seconds that a process has to end what it cannot leave.


class DiedError(Exception):
    """The process that worked on an item was killed."""


def each(
    work: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[tuple[int, Any]]:
    """(number, result) of each item, as they are done.

    The result is the exception where there was one, `DiedError` where the process was
    killed; the others go on. If the caller leaves, the processes end.

    Args:
      work: takes an item; both must be picklable, unless there is one worker.
      items: what to work on.
      workers: processes; 1 works in this one.
    """
    if workers == 1:
        yield from ((number, _tried(work, item)) for number, item in enumerate(items))
        return
    todo = deque(enumerate(items))
    team: dict[Connection, tuple[BaseProcess, int]] = {}
    try:
        for _ in range(min(workers, len(items))):
            _give(*_hire(work), todo, team)
        while team:
            for pipe in wait(list(team)):
                assert isinstance(pipe, Connection)
                process, number = team.pop(pipe)
                try:
                    result = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    result = DiedError(f"its process ended with {process.exitcode}")
                    pipe.close()
                    if todo:
                        process, pipe = _hire(work)
                if todo:
                    _give(process, pipe, todo, team)
                elif not pipe.closed:
                    pipe.close()  # The process reads that, and ends.
                yield number, result
    finally:
        for process, _ in team.values():
            process.terminate()
        for process, _ in team.values():
            process.join(PATIENCE)
            process.kill()


def _hire(work: Callable[[Any], Any]) -> tuple[BaseProcess, Connection]:
    """A new process. It is spawned: a fork of a process with threads may hang."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there, work), daemon=True)
    process.start()
    there.close()
    return process, here


def _give(
    process: BaseProcess,
    pipe: Connection,
    todo: deque[tuple[int, Any]],
    team: dict[Connection, tuple[BaseProcess, int]],
) -> None:
    number, item = todo.popleft()
    team[pipe] = (process, number)
    # If it died at once, whoever waits for it is told.
    with contextlib.suppress(OSError):
        pipe.send(item)


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """A process: works on items until there are no more."""
    # Ctrl-C is the caller's: it ends this with SIGTERM, which unwinds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_tried(work, item))


def _tried(work: Callable[[Any], Any], item: Any) -> Any:
    try:
        return work(item)
    except Exception as e:
        return e
