"""Fixtures of the tests of training."""

import pytest

from l3spot.training import dataset
from tests.l3spot.training.bars import images_of_bars


@pytest.fixture
def bars(monkeypatch):
    """Replaces the phantoms by images of bars."""
    monkeypatch.setattr(dataset, "phantoms", lambda *_: images_of_bars())
