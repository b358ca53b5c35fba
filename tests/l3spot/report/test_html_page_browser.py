"""Tests the page over all results in a headless browser."""

import functools
import html
import json
import re
import shutil
import subprocess

import pytest

from l3spot import predict
from l3spot.localize import model
from l3spot.localize.model import Calibration
from tests.l3spot import series as write
from tests.l3spot.trunk import images, trunk

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
ODD_NAME = "50% #1?&<b>'é"
HEAD = [
    *("scan", "status", "why", "trust", "confidence", "within 5 mm", "numbering"),
    *("z mm", "slice index", "warnings", "left out"),
]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

PAGE_STATE = """
(() => ({
  head: [...document.querySelectorAll("th")].map((h) => h.textContent),
  rows: [...document.querySelector("tbody").rows].map(
    (row) => [...row.cells].map((cell) => cell.textContent)),
  sorted: [...document.querySelectorAll("th[aria-sort]")].map(
    (h) => [h.textContent, h.getAttribute("aria-sort")]),
  pictures: [...document.images].map((image) => [image.naturalWidth, image.alt]),
  targets: [...document.querySelectorAll("td a")].map(
    (a) => a.click() || document.querySelector(":target img").alt),
  wide: document.documentElement.scrollWidth - innerWidth,
}))()
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Predicts three scans, one of them broken; returns the results' folder."""
    root = tmp_path_factory.mktemp("page")
    write.write(root / "scans" / ODD_NAME, images(trunk()))
    write.write(root / "scans" / "noisy", images(trunk()[::-1, :, 8:-8] * 2))
    write.write(root / "scans" / "broken", images(trunk())[:3])
    calibration = Calibration((0.3,) * model.FEATURE_COUNT, 0.0)
    model.save(root / "model", model.load()._replace(calibration=calibration))
    predict.predict(root / "scans", root / "out", root / "model")
    return root / "out"


@pytest.fixture(scope="module")
def browse(results, tmp_path_factory):
    """Opens the page, clicks on headings, and returns what it then shows."""
    profile = tmp_path_factory.mktemp("profile")

    @functools.cache
    def open_page(*headings):
        clicks = "".join(
            f"document.querySelectorAll('th button')[{HEAD.index(h)}].click();"
            for h in headings
        )
        # The load event does not wait for lazy pictures.
        script = f"""<script>
        [...document.images].forEach((image) => image.loading = "eager");
        addEventListener("load", () => {{
            {clicks}
            const state = document.createElement("pre");
            state.textContent = JSON.stringify({PAGE_STATE});
            document.documentElement.replaceChildren(state);
        }})</script>"""
        page = results / "probe.html"
        page.write_text((results / "index.html").read_text() + script)
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-dev-shm-usage", "--window-size=1200,4000"]
        command += [f"--user-data-dir={profile}", "--virtual-time-budget=5000"]
        command += ["--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        state = re.search("<pre>(.*)</pre>", done.stdout, re.S)
        assert state, done.stdout + done.stderr
        return json.loads(html.unescape(state[1]))

    return open_page


def trusts(page):
    return [float(row[HEAD.index("trust")] or "-inf") for row in page["rows"]]


def test_the_page_lists_all_scans_least_trustworthy_first(browse):
    page = browse()
    assert page["head"] == HEAD
    assert sorted(row[0] for row in page["rows"]) == sorted(
        [ODD_NAME, "broken", "noisy"]
    )
    assert len(set(trusts(page))) == 3
    assert trusts(page) == sorted(trusts(page))
    assert page["rows"][0][0] == "broken"
    assert "3 slices are too few" in page["rows"][0][HEAD.index("why")]
    assert page["sorted"] == []
    assert page["wide"] <= 0  # Nothing is cut off or needs scrolling.


def test_pictures_load_and_links_target_them(browse):
    page = browse()
    assert len(page["pictures"]) == 2
    assert all(width > 0 for width, _ in page["pictures"]), page["pictures"]
    for alt, row in zip(page["targets"], page["rows"][1:], strict=True):
        assert alt.startswith(row[0])


def test_a_click_on_a_heading_sorts_and_a_second_one_reverses(browse):
    up, down = browse("scan"), browse("scan", "scan")
    names = [row[0] for row in up["rows"]]
    assert names == sorted(names)
    assert up["sorted"] == [["scan", "ascending"]]
    assert [row[0] for row in down["rows"]] == names[::-1]
    assert down["sorted"] == [["scan", "descending"]]
    ascending = browse("trust")
    assert trusts(ascending) == sorted(trusts(ascending))
    assert ascending["sorted"] == [["trust", "ascending"]]
