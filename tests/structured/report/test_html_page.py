"""Tests the report with an HTML parser."""

import base64
from html.parser import HTMLParser

import pytest

from mtl.host.errors import WorkdirError
from structured.report import html_page
from structured.report.html_page import Section

VOID = {"meta", "img", "br", "hr", "link", "input"}
MARKUP = "<script>alert(\"1\")</script> & 'x' {title}"


class Reader(HTMLParser):
    """Collects elements and texts, and checks that elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_decl(self, decl):
        assert decl == "DOCTYPE html"
        assert not self.elements

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), "an attribute given twice"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data))

    def under(self, tag):
        return [text for place, text in self.texts if place == tag]

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def written(folder, *sections, title="Faces", intro=""):
    html_page.write(folder / "report.html", title, intro, sections)
    return Reader((folder / "report.html").read_text())


def test_the_head_has_language_viewport_and_title(tmp_path):
    page = written(tmp_path)
    assert page.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.all("meta")
    (viewport,) = [m for m in page.all("meta") if m.get("name") == "viewport"]
    assert viewport["content"].startswith("width=device-width")
    assert page.under("title") == page.under("h1") == ["Faces"]
    assert "prefers-color-scheme: dark" in page.under("style")[0]


def test_the_page_loads_no_other_file(tmp_path):
    page = written(tmp_path, Section("a", png=b"PNG", alt="a line"))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert "href" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
    assert "url(" not in page.under("style")[0]
    assert "@import" not in page.under("style")[0]


def test_all_values_are_escaped(tmp_path):
    table = ([MARKUP], [[MARKUP]])
    section = Section(MARKUP, MARKUP, table, b"png", MARKUP)
    page = written(tmp_path, section, title=MARKUP, intro=MARKUP)
    assert not page.all("script")
    for tag in ("title", "h1", "h2", "th", "td"):
        assert page.under(tag) == [MARKUP]
    assert page.under("p") == [MARKUP, MARKUP]
    assert page.all("img")[0]["alt"] == MARKUP


def test_figures_are_embedded_in_the_file(tmp_path):
    content = b"\x89PNG any bytes"
    (image,) = written(tmp_path, Section("a", png=content, alt="bytes")).all("img")
    assert image["alt"] == "bytes"
    start = "data:image/png;base64,"
    assert base64.b64decode(image["src"].removeprefix(start)) == content


def test_tables_keep_the_order_and_align_numbers_right(tmp_path):
    head = ["variant", "AUC, %", "seeds", "note"]
    rows = [["mean", 64.55, "–", "5 faces"], ["MLP", "76.3 ± 0.1", 3, "all faces"]]
    page = written(tmp_path, Section("Scores", table=(head, rows)))
    assert page.under("th") == head
    assert page.under("td") == [str(cell) for row in rows for cell in row]
    kinds = [cell.get("class") for cell in page.all("th") + page.all("td")]
    assert kinds == 3 * [None, "number", "number", None]
    assert len(page.all("tr")) == 3


def test_sections_keep_their_order(tmp_path):
    page = written(tmp_path, Section("one", "a"), Section("two"), intro="b")
    assert page.under("h2") == ["one", "two"]
    assert page.under("p") == ["b", "a"]


def test_a_figure_without_alt_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="alt text"):
        written(tmp_path, Section("a", png=b"png"))
    assert not list(tmp_path.iterdir())


def test_a_row_with_another_number_of_cells_is_refused(tmp_path):
    with pytest.raises(ValueError, match="1 cells under a head of 2"):
        written(tmp_path, Section("a", table=(["b", "c"], [[1]])))


def test_a_report_replaces_an_older_one_and_leaves_no_other_file(tmp_path):
    written(tmp_path, title="old")
    assert written(tmp_path, title="new").under("h1") == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WorkdirError, match="absent"):
        written(tmp_path / "absent")
