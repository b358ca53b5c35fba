"""Applies a function to many items on a Ray cluster; nodes may leave it.

The cluster is that of RAY_ADDRESS or of this machine, or else one that is started here.
The package has to be installed on all nodes, and they need the same paths.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from l3spot.projections import process_pool
from l3spot.projections.process_pool import ProcessDiedError
from mtl.host.errors import ConfigError

RETRIES = 3  # Of an item, if its process or its node dies.
WAITING_PER_CPU = 2  # Items that are sent ahead; the others wait here.


def check() -> None:
    """Checks that Ray is there.

    Raises:
      ConfigError: it is not.
    """
    try:
        import ray  # noqa: F401
    except ImportError as e:
        raise ConfigError("--engine=ray needs Ray: pip install 'ray>=2.50'") from e


def map_unordered(
    work: Callable[[Any], Any], items: Sequence[Any], workers: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Yields (index, result) of each item when it is done.

    If an item raises, its result is the exception; if its processes die, it is a
    ProcessDiedError. An item may be worked on twice, so it must do no harm.

    Args:
      work: the function, applied to one item; it and the items must be picklable.
      items: its arguments.
      workers: the most items at once; None takes one per CPU of the cluster.
    """
    import ray

    ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
    task = ray.remote(max_retries=RETRIES, num_cpus=1)(process_pool.result_or_exception)
    shared = ray.put(work)
    waiting = iter(enumerate(items))
    running: dict[Any, int] = {}

    def send() -> None:
        cpus = int(ray.cluster_resources().get("CPU", 1))
        most = workers or WAITING_PER_CPU * cpus
        while len(running) < most and (entry := next(waiting, None)) is not None:
            index, item = entry
            running[task.remote(shared, item)] = index

    try:
        send()
        while running:
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                index = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as e:
                    result = ProcessDiedError(f"its process ended ({type(e).__name__})")
                yield index, result
            send()
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
