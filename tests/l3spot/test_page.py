"""The page over all results, in a browser without a window."""

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
from tests.l3spot.test_projection import images, trunk

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
ODD = "50% #1?&<b>'é"
HEAD = ["scan", "status", "confidence", "z mm", "slice index", "warnings", "why"]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

SEEN = """
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
    """What predict leaves of three scans, one of them broken."""
    root = tmp_path_factory.mktemp("page")
    write.write(root / "scans" / ODD, images(trunk()))
    write.write(root / "scans" / "noisy", images(trunk()[::-1] * 2))
    write.write(root / "scans" / "broken", images(trunk())[:3])
    calibration = Calibration((0.3,) * model.FEATURE_COUNT, 0.0)
    model.save(root / "model", model.load()._replace(calibration=calibration))
    predict.predict(root / "scans", root / "out", root / "model")
    return root / "out"


@pytest.fixture(scope="module")
def browse(results, tmp_path_factory):
    """Opens the page, clicks on headings, and tells what is to be seen."""
    profile = tmp_path_factory.mktemp("profile")

    @functools.cache
    def seen(*headings):
        clicks = "".join(
            f"document.querySelectorAll('th button')[{HEAD.index(h)}].click();"
            for h in headings
        )
        # Lazy pictures would not be waited for by the load event.
        script = f"""<script>
        [...document.images].forEach((image) => image.loading = "eager");
        addEventListener("load", () => {{
            {clicks}
            const told = document.createElement("pre");
            told.textContent = JSON.stringify({SEEN});
            document.documentElement.replaceChildren(told);
        }})</script>"""
        page = results / "probe.html"
        page.write_text((results / "index.html").read_text() + script)
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-dev-shm-usage", "--window-size=1200,4000"]
        command += [f"--user-data-dir={profile}", "--virtual-time-budget=5000"]
        command += ["--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        told = re.search("<pre>(.*)</pre>", done.stdout, re.S)
        assert told, done.stdout + done.stderr
        return json.loads(html.unescape(told[1]))

    return seen


def confidences(seen):
    return [float(row[2] or "-inf") for row in seen["rows"]]


def test_the_page_shows_all_scans_and_the_worst_first(browse):
    seen = browse()
    assert seen["head"] == HEAD
    assert sorted(row[0] for row in seen["rows"]) == sorted([ODD, "broken", "noisy"])
    assert len(set(confidences(seen))) == 3
    assert confidences(seen) == sorted(confidences(seen))
    assert seen["rows"][0][0] == "broken"
    assert "3 planes are too few" in seen["rows"][0][6]
    assert seen["sorted"] == [["confidence", "ascending"]]
    assert seen["wide"] <= 0  # Nothing is cut off, or must be scrolled to.


def test_pictures_are_loaded_and_links_lead_to_them(browse):
    seen = browse()
    assert len(seen["pictures"]) == 2
    assert all(width > 0 for width, _ in seen["pictures"]), seen["pictures"]
    for alt, row in zip(seen["targets"], seen["rows"][1:], strict=True):
        assert alt.startswith(row[0])


def test_a_heading_sorts_by_its_column_and_back(browse):
    up, down = browse("scan"), browse("scan", "scan")
    names = [row[0] for row in up["rows"]]
    assert names == sorted(names)
    assert up["sorted"] == [["scan", "ascending"]]
    assert [row[0] for row in down["rows"]] == names[::-1]
    assert down["sorted"] == [["scan", "descending"]]
    best = browse("confidence")
    assert confidences(best) == sorted(confidences(best), reverse=True)
    assert best["sorted"] == [["confidence", "descending"]]
