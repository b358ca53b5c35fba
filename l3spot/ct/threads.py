"""Small work on many items in threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 8  # Items that a thread takes, for to take one costs as much as its work.

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None
) -> list[Result]:
    """The results of items, in their order; raises what the first of them raises.

    Args:
      work: takes an item.
      items: what to work on.
      workers: threads; None lets Python choose.
    """
    parts = [items[i : i + AT_ONCE] for i in range(0, len(items), AT_ONCE)]

    def some(part: Sequence[Item]) -> list[Result]:
        return [work(item) for item in part]

    with ThreadPoolExecutor(workers) as pool:
        return [result for part in pool.map(some, parts) for result in part]
