"""Tests the review of results in a headless browser, with keys and mouse."""

import csv
import io
import json
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from l3spot.report import corrections
from tests import browser
from tests.l3spot.report import reviewed
from tests.l3spot.report.reviewed import FIVE_MM, L3_MM, SLICES_MM, STEP_MM

pytestmark = pytest.mark.skipif(browser.BROWSER is None, reason="there is no Chromium")

ODD_NAME = "=50% #1?&<b>\"'é\udcff\U0001f9b4"
# From the least sure one on; the last answer is that L3 is not in view.
NAMES = [ODD_NAME, "b", "c", 'two\nlines, "d"']

STATE = """
({progress: get("progress").textContent, scan: get("scan").textContent,
  state: get("state").textContent, now: get("now").textContent,
  message: get("message").textContent, note: get("note").value,
  pictures: document.querySelectorAll("image").length,
  lines: [...document.querySelectorAll("#frontal g")].map((g) => [
    g.getAttribute("class"), +g.querySelector("line").getAttribute("y1")])})
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Writes the results of four scans and of a failed one."""
    out = tmp_path_factory.mktemp("review") / "50% #1 ré"
    chances = [0.6, 0.8, 0.9]
    answers = {n: reviewed.find(p) for n, p in zip(NAMES, chances, strict=False)}
    answers[NAMES[3]] = reviewed.find(0.01)
    reviewed.make(out, answers, failed=["broken"])
    return out


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    profile, downloads = (tmp_path_factory.mktemp(n) for n in ("profile", "downloads"))
    with browser.page(profile, downloads) as page:
        page.downloads = downloads
        yield page


@pytest.fixture
def page(opened, results, tmp_path):
    """Opens the page at a place of its own, where the browser has no answers yet."""
    place = tmp_path / results.name
    place.symlink_to(results)
    opened.open(place / "review.html")
    return opened


def z_of(page):
    """Returns z of the red line, from its place in the picture."""
    row = dict(page(STATE)["lines"])["now"]
    return page("SCANS[page.at].top_mm") - row


def exported(page):
    """Presses E, and returns the bytes of the file that the browser saves."""
    for old in page.downloads.iterdir():
        old.unlink()
    page.press("e")
    end = time.monotonic() + 30
    path = page.downloads / "corrections.csv"
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return path.read_bytes()


def test_the_least_sure_scan_comes_first_with_both_pictures(page):
    got = page(STATE)
    assert got["progress"] == "0 of 4 reviewed"
    assert page("SCANS.slice(1).map((s) => s.scan)") == NAMES[1:]
    assert got["scan"].startswith("=50% #1?&<b>")
    assert got["pictures"] == 2
    loads = "[...document.querySelectorAll('image')].map((i) => i.href.baseVal)"
    sizes = page(
        f"Promise.all({loads}.map(async (src) => {{ const i = new Image(); "
        "i.src = src; await i.decode(); return [i.naturalWidth, i.naturalHeight]; }))"
    )
    assert sizes == [[90, 240], [90, 240]]
    assert z_of(page) == pytest.approx(L3_MM, abs=0.01)
    assert "1 failed" in page("document.body.innerText")
    wide = page("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


def test_keys_move_the_line_by_slices_millimetres_and_vertebrae(page):
    above = min(z for z in SLICES_MM if z > L3_MM + 0.005)
    page.press("ArrowUp")
    assert z_of(page) == pytest.approx(above, abs=1e-3)
    page.press("ArrowUp")
    assert z_of(page) == pytest.approx(above + STEP_MM, abs=1e-3)
    page.press("ArrowDown", "ArrowDown")
    assert z_of(page) == pytest.approx(above - STEP_MM, abs=1e-3)
    page.press("Shift+ArrowDown")
    assert z_of(page) == pytest.approx(above - STEP_MM - 5, abs=1e-3)
    page.press("Home", "PageUp")
    assert z_of(page) == pytest.approx(FIVE_MM[1], abs=0.01)
    page.press(*["PageDown"] * 9)
    assert z_of(page) == pytest.approx(FIVE_MM[-1], abs=0.01)
    page.press(*["Shift+ArrowDown"] * 50)  # Not beyond the last slice.
    assert z_of(page) == pytest.approx(SLICES_MM[0], abs=1e-3)
    assert page(STATE)["state"].startswith("Changed")


def test_the_mouse_drags_the_line_to_the_z_under_it(page):
    box = "get('frontal').getBoundingClientRect()"
    x = page(f"(({{x, width}}) => x + width / 2)({box})")
    a, d, f = page("(({a, d, f}) => [a, d, f])(get('frontal').getScreenCTM())")
    assert a == pytest.approx(d)
    rows = 120, 150, 171
    page.drag(*((x, f + d * row) for row in rows))
    top = page("SCANS[0].top_mm")
    assert top == pytest.approx(500.5)
    assert z_of(page) == pytest.approx(top - rows[-1], abs=0.11)
    page.press("u")
    assert z_of(page) == pytest.approx(L3_MM, abs=0.01)  # One drag is one step.


def test_a_click_on_a_vertebra_moves_the_line_and_enter_still_accepts(page):
    page.click("#vertebrae button:nth-child(2)")
    assert z_of(page) == pytest.approx(FIVE_MM[1], abs=0.01)
    page.press("Enter")
    got = page(STATE)
    assert (got["progress"], got["scan"]) == ("1 of 4 reviewed", "b")


def test_undo_goes_back_over_answers_and_lines(page):
    page.press("ArrowUp", "ArrowUp", "Enter", "x", "c")
    assert page(STATE)["progress"] == "3 of 4 reviewed"
    page.press("u", "Control+z")
    assert (page(STATE)["progress"], page(STATE)["scan"]) == ("1 of 4 reviewed", "b")
    page.press("u")
    assert page(STATE)["state"].startswith("Changed")
    page.press("m", *"why", "Enter", "u")  # Steps in a row are undone together.
    assert page(STATE)["state"] == "Not reviewed"
    assert page(STATE)["note"] == "why"
    page.press("u")
    assert page(STATE)["message"] == "There is nothing to undo."


def reload(page, condition):
    """Loads the page again, until a condition holds, as a busy browser is late.

    A new process of Chromium may read localStorage as it was some time before.
    """
    for _ in range(5):
        page.reload()
        if page(condition):
            return
        time.sleep(1)
    raise AssertionError(page(STATE))


def test_a_reload_keeps_answers_notes_and_the_place(page, tmp_path):
    page.press("Enter", "ArrowUp", "m", *"hi x", "Enter")
    moved = z_of(page)
    reload(page, "page.at == 1 && doneCount == 1 && reviews[1].note == 'hi x'")
    got = page(STATE)
    assert (got["progress"], got["scan"]) == ("1 of 4 reviewed", "b")
    assert got["note"] == "hi x"
    assert z_of(page) == pytest.approx(moved)
    # The answers of another folder are its own.
    reviewed.make(tmp_path / "other", {n: reviewed.find() for n in NAMES})
    page.open(tmp_path / "other" / "review.html")
    assert page(STATE)["progress"] == "0 of 4 reviewed"


def test_two_tabs_show_the_same_answers(page):
    other = page.tab()
    other.open(Path(unquote(urlsplit(page("location.href")).path)))
    page.press("Enter", "c")
    other.wait("get('progress').textContent == '2 of 4 reviewed'")
    assert other("reviews[1].kind") == "cannot tell"
    other.press("x")
    page.wait("reviews[0].kind == 'not in view'")
    assert page(STATE)["progress"] == "2 of 4 reviewed"
    other.send("Page.close")


def test_the_filter_skips_reviewed_scans_until_none_is_left(page):
    page.press("ArrowRight", "Enter", "ArrowLeft", "ArrowLeft", "f")
    assert page("page.at") == 0
    page.press("Enter")
    assert page(STATE)["scan"] == "c"
    page.press("Enter", "Enter")
    got = page(STATE)
    assert got["progress"] == "4 of 4 reviewed"
    assert got["message"].startswith("All scans are reviewed")


def test_the_export_is_read_by_python_with_all_names(page, tmp_path):
    page("get('reader').focus()")
    page.press(*"=me,", "Enter")
    page.press("ArrowUp", "m", *'a "b", c', *["Enter"] * 3, "c", "Enter")
    above = min(z for z in SLICES_MM if z > L3_MM + 0.005)
    path = tmp_path / "corrections.csv"
    path.write_bytes(exported(page))
    lines = corrections.read(path)
    assert [*lines] == NAMES
    assert lines[NAMES[3]].correction[1:5] == (None, "L3", "=me,", "accepted")
    odd = lines[ODD_NAME].correction
    assert odd.z_mm == pytest.approx(above)
    assert odd[2:] == ("L3", "=me,", "moved", 'a "b", c')
    assert lines["b"].correction.verdict == "accepted"
    assert lines["b"].correction.z_mm == pytest.approx(L3_MM, abs=0.01)
    assert lines["c"].correction[1:] == (None, "L3", "=me,", "cannot tell", "")
    text = path.read_bytes().decode(errors="surrogateescape")
    cells = [row[0] for row in csv.reader(io.StringIO(text, newline=""))]
    assert not [c for c in cells if c.startswith(("=", "+", "@"))]


def test_a_scan_without_l3_gets_it_by_a_click_or_is_accepted(page):
    page.press(*["ArrowRight"] * 3)
    assert page(STATE)["now"] == "L3 not in view"
    page.press("Enter")
    assert page("verdict(SCANS[3], reviews[3])") == "accepted"
    page.press("ArrowUp")
    assert page("[verdict(SCANS[3], reviews[3]), reviews[3].done]") == ["moved", False]


def test_the_pictures_can_be_magnified_and_brightened(page):
    """The line stays where it is in the patient, and in sight."""
    page.press("+", "+", "b")
    shown = page("get('frontal').viewBox.baseVal.height")
    assert shown == pytest.approx(240 / 1.5**2)
    assert z_of(page) == pytest.approx(L3_MM, abs=0.01)
    page.press(*["PageUp"] * 3)
    top, height = page("(({y, height}) => [y, height])(get('frontal').viewBox.baseVal)")
    assert top < page("SCANS[0].top_mm") - z_of(page) < top + height
    light = "getComputedStyle(document.querySelector('image')).filter"
    assert page(light) == "brightness(1.2)"
    page.press("0", "d")
    assert page("get('frontal').viewBox.baseVal.height") == 240
    assert page(light) == "brightness(1)"


def test_texts_have_one_size_on_the_screen(page):
    page.reload()  # The first drawing changes the width of the pictures.
    sizes = page(
        "[...document.querySelectorAll('svg text')].map("
        "(t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"
    )
    assert len(sizes) > 4
    assert sizes == pytest.approx([14] * len(sizes), abs=0.5)


def test_a_key_that_is_held_accepts_one_scan(page):
    for is_repeat in (False, True, True):
        about = {"key": "Enter", "windowsVirtualKeyCode": 13, "autoRepeat": is_repeat}
        page.send("Input.dispatchKeyEvent", type="keyDown", **about)
    assert page(STATE)["progress"] == "1 of 4 reviewed"


def test_the_page_says_so_if_the_browser_keeps_nothing(page):
    assert page("get('lost').hidden")
    page("Storage.prototype.setItem = () => { throw new Error('full'); }; 0")
    page.press("Enter")
    assert not page("get('lost').hidden")
    assert page(STATE)["progress"] == "1 of 4 reviewed"


def test_a_missing_picture_is_named(page, results, tmp_path):
    (tmp_path / "review.html").write_bytes((results / "review.html").read_bytes())
    page.open(tmp_path / "review.html")
    message = page.wait("get('message').textContent")
    assert message.startswith("The picture ")
    assert message.endswith(".png is missing.")


def test_ten_thousand_scans_open_fast(page, results, tmp_path):
    """One scan is in the document; the rest is data."""
    text = (results / "review.html").read_text()
    start = text.index('id="data">') + len('id="data">')
    end = text.index("</script>", start)
    data = json.loads(text[start:end])
    scans = [{**data["scans"][i % 4], "scan": f"scan {i}"} for i in range(10_000)]
    many = json.dumps({**data, "scans": scans}).replace("<", "\\u003c")
    path = tmp_path / "review.html"
    path.write_text(text[:start] + many + text[end:])
    began = time.monotonic()
    page.open(path)
    assert page(STATE)["progress"] == "0 of 10000 reviewed"
    assert time.monotonic() - began < 30  # About 1 s, if nothing else runs.
    assert page("document.querySelectorAll('*').length") < 200
    page.press("Enter")
    assert page(STATE)["progress"] == "1 of 10000 reviewed"
