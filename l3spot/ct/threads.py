"""Applies a function to many items in threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Items per thread-pool call: for small items, one call each would double the time.
CHUNK_SIZE = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None
) -> list[Result]:
    """Returns the results in the order of the items.

    Raises the exception of the first item that fails.

    Args:
      work: the function, applied to one item.
      items: its arguments.
      workers: number of threads; None lets Python choose, 1 works in the caller's.
    """
    if workers == 1:
        return [work(item) for item in items]
    chunks = [items[i : i + CHUNK_SIZE] for i in range(0, len(items), CHUNK_SIZE)]

    def work_on_chunk(chunk: Sequence[Item]) -> list[Result]:
        return [work(item) for item in chunk]

    with ThreadPoolExecutor(workers) as pool:
        return [result for chunk in pool.map(work_on_chunk, chunks) for result in chunk]
