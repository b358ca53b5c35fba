"""Applies a function to many items in processes; a process may die.

Not pebble 5.2: there a process that dies before it has an item fails all items, and of
2,000 items 1,700 waited for ever. Here it loses one (`tests/l3spot/test_parallel.py`).
"""

import contextlib
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mtl.host import errors

EXIT_TIMEOUT_S = 10.0  # A terminated process is killed after this time.


class ProcessDiedError(Exception):
    """The process that worked on an item was killed."""


def map_unordered(
    work: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yields (index, result) of each item when it is done.

    If an item raises, its result is the exception; if its process is killed, it is a
    ProcessDiedError. The other items are not affected. If the caller stops iterating,
    the processes end.

    Args:
      work: the function, applied to one item; it and the items must be picklable,
        unless there is one worker.
      items: its arguments.
      workers: number of processes; 1 works in the calling process.
    """
    if workers == 1:
        for index, item in enumerate(items):
            yield index, result_or_exception(work, item)
        return
    waiting = deque(enumerate(items))
    running: dict[Connection, tuple[BaseProcess, int]] = {}
    try:
        for _ in range(min(workers, len(items))):
            _send_next_item(*_start_process(work), waiting, running)
        while running:
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                process, index = running.pop(pipe)
                try:
                    result = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    exit_code = process.exitcode
                    result = ProcessDiedError(f"its process ended with {exit_code}")
                    pipe.close()
                    if waiting:
                        process, pipe = _start_process(work)
                if waiting:
                    _send_next_item(process, pipe, waiting, running)
                elif not pipe.closed:
                    pipe.close()  # The process reads the end of the pipe, and ends.
                yield index, result
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join(EXIT_TIMEOUT_S)
            process.kill()


def _start_process(work: Callable[[Any], Any]) -> tuple[BaseProcess, Connection]:
    """Starts a process, and returns it with the pipe to it.

    The process is spawned, because a fork of a process with threads may hang.
    """
    spawn = multiprocessing.get_context("spawn")
    own_end, worker_end = spawn.Pipe()
    process = spawn.Process(target=_run_worker, args=(worker_end, work), daemon=True)
    process.start()
    worker_end.close()
    return process, own_end


def _send_next_item(
    process: BaseProcess,
    pipe: Connection,
    waiting: deque[tuple[int, Any]],
    running: dict[Connection, tuple[BaseProcess, int]],
) -> None:
    index, item = waiting.popleft()
    running[pipe] = (process, index)
    # If the process is already dead, reading its result raises the error.
    with contextlib.suppress(OSError):
        pipe.send(item)


def _run_worker(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """Works on the items of a pipe until it is closed."""
    # On Ctrl-C, the caller ends this process with SIGTERM, which unwinds the stack.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(result_or_exception(work, item))


def result_or_exception(work: Callable[[Any], Any], item: Any) -> Any:
    """Returns the result of an item, or the exception that it raises."""
    try:
        return work(item)
    except Exception as e:
        return e


def reason(e: Exception) -> str:
    """Returns in one line why an item has no result, with the fix."""
    if isinstance(e, ProcessDiedError | MemoryError):
        return f"{str(e) or 'no memory'}; try --workers=1, or more memory"
    return errors.reason(e)
