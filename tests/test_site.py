"""The site of the documentation: it has all pages, and builds without a warning."""

import importlib.util
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def nav_pages(entry):
    """The pages below an entry of `nav`."""
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in nav_pages(value)]


def test_each_page_has_a_place_in_the_navigation():
    pages = {
        p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")
    }
    assert pages - set(nav_pages(CONFIG["nav"])) == set(), "add them to mkdocs.yml"


@pytest.mark.parametrize("page", CONFIG["extra"]["api"])
def test_modules_of_the_api_exist(page):
    modules = CONFIG["extra"]["api"][page]
    assert [m for m in modules if importlib.util.find_spec(m) is None] == []
    assert f"api/{page}.md" in nav_pages(CONFIG["nav"])


@pytest.fixture
def mkdocs():
    """The command of mkdocs, installed here or by `make docs`."""
    own = ROOT / ".venv-docs" / "bin" / "mkdocs"
    if importlib.util.find_spec("mkdocs") and importlib.util.find_spec("mkdocstrings"):
        return [sys.executable, "-m", "mkdocs"]
    if own.is_file():
        return [own]
    return pytest.skip("mkdocs is not installed; `make docs` installs it")


@pytest.mark.slow  # It builds the site.
@pytest.mark.parametrize("address", ["", "https://example.org/owner/name"])
def test_the_site_builds_without_warnings(mkdocs, address, tmp_path):
    done = subprocess.run(
        # With --quiet, warnings would not be counted.
        [*mkdocs, "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "REPOSITORY_URL": address},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "site" / "extending" / "index.html").read_text()
    assert 'href="../contributing/#import-contracts"' in page
    assert (f'href="{address}/blob/main/notebooks"' in page) == bool(address)
    api = (tmp_path / "site" / "api" / "mtl" / "index.html").read_text()
    assert 'id="mtl.engine.fit.fit"' in api
    for other in ("benchmarks", "changelog", "results", "model_card"):
        assert (tmp_path / "site" / other / "index.html").is_file()
    shutil.rmtree(tmp_path / "site")
