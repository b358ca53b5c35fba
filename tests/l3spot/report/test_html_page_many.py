"""The page over many results in a headless browser: its filters and its pages."""

import pytest

from l3spot.report import html_page
from l3spot.report.results_file import ResultRow
from tests import browser

pytestmark = pytest.mark.skipif(browser.BROWSER is None, reason="there is no Chromium")

NAMES = (
    """[...document.querySelector("tbody").rows].map((r) => r.cells[0].textContent)"""
)
PLACE = "filters.elements.place.value"
SET = """(() => {{ const field = filters.elements.{};
  field.{} = {}; field.dispatchEvent(new Event("input", {{bubbles: true}})); }})()"""


def rows(count):
    """Returns found results, the least sure one first; each third has a warning."""
    return [
        ResultRow(
            f"scan {i}",
            *("found", "L3", 0.9),
            trust=round(0.5 + i / 1000, 3),
            warnings="" if i % 3 else "thick <slices>",
        )
        for i in range(count)
    ] + [ResultRow("bad", "failed", why="no & more")]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (folder / "index.html").write_text(html_page.render(rows(450), "about"))
    profile, downloads = (tmp_path_factory.mktemp(n) for n in ("profile", "downloads"))
    with browser.page(profile, downloads) as opened:
        opened.folder = folder
        yield opened


@pytest.fixture(autouse=True)
def fresh(page):
    page.open(page.folder / "index.html")


def test_pages_show_all_rows_once(page):
    seen = page(NAMES)
    assert page(PLACE) == "page 1 of 3, 451 of 451"
    assert page("filters.elements.back.disabled")
    for number in (2, 3):
        page.click("[name=next]")
        assert page(PLACE) == f"page {number} of 3, 451 of 451"
        seen += page(NAMES)
    assert page("filters.elements.next.disabled")
    assert seen == ["bad", *(f"scan {i}" for i in range(450))]
    assert page("document.querySelectorAll('figure').length") == 51
    page.click("[name=back]")
    assert page(PLACE).startswith("page 2 of 3")


@pytest.mark.parametrize(
    ("field", "what", "value", "count", "first"),
    [
        ("status", "value", '"failed"', 1, "bad"),
        ("below", "value", '"0.51"', 10, "scan 0"),
        ("warned", "checked", "true", 150, "scan 0"),
        ("text", "value", '"SCAN 44"', 11, "scan 44"),
        ("text", "value", '"& more"', 1, "bad"),
        ("text", "value", '"<slices>"', 150, "scan 0"),
    ],
)
def test_filters_choose_among_all_rows(page, field, what, value, count, first):
    page.click("[name=next]")
    page(SET.format(field, what, value))
    assert page(PLACE).startswith("page 1 of ")
    assert page(PLACE).endswith(f"{count} of 451")
    assert page(NAMES)[0] == first


def test_a_heading_sorts_what_is_chosen(page):
    page(SET.format("warned", "checked", "true"))
    page.click("th:nth-child(4) button")
    page.click("th:nth-child(4) button")
    assert page(NAMES)[:2] == ["scan 447", "scan 444"]
