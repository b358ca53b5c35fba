"""The size of the tests that exist at two sizes.

`make test` leaves out the tests marked as slow, and runs some others with fewer cases.
`make test-all` runs all tests, with all their cases.
"""

import pytest

_small = False


def is_small(config: pytest.Config) -> bool:
    """Returns whether the slow tests are left out."""
    return "not slow" in config.option.markexpr


def configure(config: pytest.Config) -> None:
    """Chooses the size; conftest.py calls it before pytest imports the tests."""
    global _small
    _small = is_small(config)


def cases(small: int, full: int) -> int:
    """Returns the number of cases of a test in this run."""
    return small if _small else full
