"""Compiled programs are kept on the disk, where that is possible."""

import jax
import pytest

from mtl.host import compile_cache


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", compile_cache.FOLDER])
def test_a_broken_place_or_one_of_the_user_changes_nothing(tmp_path, monkeypatch, name):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "file").write_text("")
    monkeypatch.delenv(compile_cache.FOLDER, raising=False)
    monkeypatch.setenv(name, str(tmp_path / "file"))
    compile_cache.enable()
    assert jax.config.jax_compilation_cache_dir == before
