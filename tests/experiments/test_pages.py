"""The tables of the result pages are those of the CSV files beside them."""

import pytest

from experiments import pages

PAGES = sorted(pages.RESULTS.glob("*.md"))


def test_a_marked_table_is_made_again(monkeypatch):
    monkeypatch.setitem(pages.TABLES, "one", lambda: "| new |")
    page = "before\n<!-- table one -->\n| old |\n<!-- end -->\nafter\n"
    assert pages.render(page) == page.replace("old", "new")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_has_an_outdated_table(page):
    assert pages.render(page.read_text()) == page.read_text()
