"""The text of a result page."""

from collections.abc import Callable

import pytest

from experiments import pages


@pytest.fixture(scope="session")
def text() -> Callable[[str], str]:
    """`name -> text` of a page, without the breaks of its lines."""
    return lambda name: " ".join((pages.RESULTS / f"{name}.md").read_text().split())
