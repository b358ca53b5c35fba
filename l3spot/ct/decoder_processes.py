"""Decodes frames in other processes, which may crash, hang or take too much memory."""

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

from l3spot.ct import decoders
from l3spot.ct.decoders import Decoded, Frame
from mtl.host import launch

PROGRAM = Path(decoders.__file__)
PATIENCE = 60.0  # Seconds after which a frame is given up.

_idle: "SimpleQueue[subprocess.Popen]" = SimpleQueue()
_room = threading.Semaphore(launch.cores())


def decode(frame: Frame) -> Decoded:
    """Decodes a frame in a process that is kept for the next one; for any thread.

    Raises:
      ValueError: it cannot be decoded, or its decoder crashed or took too long.
    """
    with _room:
        try:
            process = _idle.get_nowait()
        except Empty:
            process = _start()
        try:
            answer = _ask(process, frame)
        except BaseException:
            _end(process)
            raise
        _idle.put(process)
    if isinstance(answer, str):
        raise ValueError(answer)
    return Decoded(*answer)


def _start() -> subprocess.Popen:
    pipe = subprocess.PIPE
    # -P: no module of this package is taken for one of Python's.
    return subprocess.Popen([sys.executable, "-P", PROGRAM], stdin=pipe, stdout=pipe)


def _ask(process: subprocess.Popen, frame: Frame) -> str | tuple[bytes, int]:
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Timer(PATIENCE, process.kill)
    late.start()
    try:
        pickle.dump(tuple(frame), process.stdin)
        process.stdin.flush()
        return pickle.load(process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError) as e:
        raise ValueError("the decoder crashed on it, or took too long") from e
    finally:
        late.cancel()


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # What was not sent cannot be any more.
                stream.close()


@atexit.register
def close() -> None:
    """Ends the processes that wait for work."""
    while not _idle.empty():
        _end(_idle.get())


def _forget() -> None:
    """In a forked process: the decoders are its parent's."""
    global _idle, _room
    _idle, _room = SimpleQueue(), threading.Semaphore(launch.cores())


os.register_at_fork(after_in_child=_forget)
