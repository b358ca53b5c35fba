"""One training in several processes, each on a part of every mini-batch.

Process 0 alone writes files and prints; all take part in checkpoints. An error of one
ends all. A program that has not connected others is the only process, and then each
function here does nothing.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

# JAX has no public name for its store of keys; Orbax takes it from there, too.
from jax._src import distributed
from jax.experimental import multihost_utils

from mtl.host.errors import Error

POLL_S = 1.0  # How often a process asks whether another one has ended.
GRACE_S = 3.0  # It then has this time to end in its own way.
FAREWELL_S = 15.0  # How long a process that ends waits for the others to notice.
LAST_S = 1.0  # Process 0, which serves the others, ends so much later than they do.
WAIT_S = 7 * 24 * 3600.0  # The longest wait for a process that works alone.

DEATH = (
    "Did another process of this training die? Its own messages then say why. The same "
    "command continues from the last checkpoint."
)
Tree = TypeVar("Tree")
Ending = tuple[str, int]  # The last message of a program, and its exit status.


def several() -> bool:
    """Whether there are other processes."""
    # The backend is not asked before it is there: asking would start it.
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return not several() or jax.process_index() == 0


def wait_for_all() -> None:
    """Waits until each process has called this."""
    if several():
        _barrier(f"mtl/{next(_barriers)}", WAIT_S)


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """Process 0 executes the block, and then all others do."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def any_of_all(*here: bool) -> tuple[bool, ...]:
    """For each condition, whether it holds in at least one process."""
    if not several():
        return here
    everywhere = multihost_utils.process_allgather(np.array(here))
    return tuple(map(bool, everywhere.any(axis=0)))


def of_first(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of process 0, exactly; all have the same names.

    Hosts of different kinds may round differently, but must decide alike.
    """
    if not several():
        return dict(numbers)
    # As bytes, for JAX would make float32 of them.
    own = np.array([float(v) for v in numbers.values()]).view(np.uint8)
    first = np.asarray(multihost_utils.broadcast_one_to_all(own)).view(np.float64)
    return dict(zip(numbers, first.tolist(), strict=True))


def arrays_of_first(tree: Tree) -> Tree:
    """The arrays of process 0: all then begin with the same, to the last bit."""
    if not several():
        return tree
    return jax.tree.map(jnp.asarray, multihost_utils.broadcast_one_to_all(tree))


@contextlib.contextmanager
def ending_together(ending: Callable[[BaseException], Ending]) -> Iterator[None]:
    """Ends all processes when one of them has an error, and lets none end early.

    Args:
      ending: the message and the exit status for an error.
    """
    if not several():
        yield
        return
    done = threading.Event()
    threading.Thread(target=_watch, args=(done,), daemon=True).start()
    try:
        yield
    except BaseException as e:
        message, status = ending(e)
        if not isinstance(e, (Error, OSError, KeyboardInterrupt)):
            message += DEATH
        _leave(message, status, others_know=False)
    done.set()
    wait_for_all()


def _watch(done: threading.Event) -> None:
    """Ends this process once another one has left the reason of its end."""
    while not done.wait(POLL_S):
        try:
            reasons = _client().key_value_dir_get(_REASONS)
        except jax.errors.JaxRuntimeError:
            return  # Process 0 does not answer; JAX itself ends this process then.
        if reasons:
            time.sleep(GRACE_S)
            process, (message, status) = reasons[0][0], json.loads(reasons[0][1])
            _leave(f"process {process.split('/')[-1]}: {message}", status)


def _leave(message: str, status: int, others_know: bool = True) -> None:
    """Exits without the end of the interpreter, which would wait for all others."""
    _leaving.acquire()  # For ever: the first thread's message is the one.
    with contextlib.suppress(OSError):  # Nobody may be reading any more.
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        if not others_know:
            key = f"{_REASONS}/{jax.process_index()}"
            _client().key_value_set(key, json.dumps([message, status]))
        _barrier("mtl/leave", FAREWELL_S)
    if is_first():  # JAX aborts processes that outlive it.
        time.sleep(LAST_S)
    os._exit(status)


def _barrier(name: str, seconds: float) -> None:
    _client().wait_at_barrier(name, timeout_in_ms=int(1000 * seconds))


def _client() -> Any:
    return distributed.global_state.client


_REASONS = "mtl/reasons"
_barriers = iter(range(sys.maxsize))
_leaving = threading.Lock()
