"""Fixtures of system 2."""

import pytest

from tests.structured.face_folders import NAMES, write_face


@pytest.fixture
def root(tmp_path):
    """Writes four faces in helen/trainset and one in afw."""
    for seed, name in enumerate(NAMES):
        write_face(tmp_path / "300w" / "helen" / "trainset", name, seed)
    write_face(tmp_path / "300w" / "afw", "a_1.jpg", 9)
    return tmp_path / "300w"
