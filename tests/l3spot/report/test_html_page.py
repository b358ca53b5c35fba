"""Tests the page over all results with an HTML parser."""

from html.parser import HTMLParser

from l3spot.report import html_page
from l3spot.report.results_file import ResultRow

ROWS = [
    ResultRow("good", "found", "L3", 0.91, "both", -12.5, slice_index=34, trust=0.91),
    ResultRow(
        *("a&<b> #1", "found", "L3", 0.55, "", 7.25),
        slice_index=56,
        warnings="x < y",
        trust=0.55,
    ),
    ResultRow("other", "not in view", "L3", 0.2, trust=0.8),
    ResultRow("far", "found", "L3", 0.95, "both", 3.0, within_5_mm=0.4, trust=0.4),
    ResultRow("broken", "failed", why="no <slices> & more"),
]


class Reader(HTMLParser):
    """Collects the cells' texts, the sorted headings, the pictures and the links."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.sorted, self.images, self.links = [], [], [], []
        self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
            if "aria-sort" in attrs:
                self.sorted.append((len(self.rows[-1]) - 1, attrs["aria-sort"]))
        elif tag == "img":
            self.images.append((attrs["src"], attrs["alt"]))
        elif tag == "a":
            self.links.append(attrs["href"])

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data


def rendered(rows=ROWS):
    return html_page.render(rows, "trained on a & b")


def test_rows_show_the_results_least_trustworthy_first():
    read = Reader(rendered())
    assert read.rows == [
        [
            *(
                "scan",
                "status",
                "why",
                "trust",
                "confidence",
                "within 5 mm",
                "numbering",
                "z mm",
            ),
            *("slice index", "warnings", "left out"),
        ],
        ["broken", "failed", "no <slices> & more", "", "", "", "", "", "", "", ""],
        ["far", "found", "", "0.4", "0.95", "0.4", "both", "3.0", "", "", ""],
        ["a&<b> #1", "found", "", "0.55", "0.55", "", "", "7.25", "56", "x < y", ""],
        ["other", "not in view", "", "0.8", "0.2", "", "", "", "", "", ""],
        ["good", "found", "", "0.91", "0.91", "", "both", "-12.5", "34", "", ""],
    ]
    assert read.sorted == []


def test_each_scan_that_did_not_fail_has_its_picture():
    read = Reader(rendered())
    assert read.images == [
        ("far.png", "far: found"),
        ("a%26%3Cb%3E%20%231.png", "a&<b> #1: found"),
        ("other.png", "other: not in view"),
        ("good.png", "good: found"),
    ]
    first, *links = read.links
    assert first == "review.html"
    assert links == ["#far", "#a%26%3Cb%3E%20%231", "#other", "#good"]


def test_the_intro_has_the_counts_and_explains_the_columns():
    text = " ".join(rendered().split())
    assert "<h1>L3 in 5 scans</h1>" in text
    assert "<p>1 failed, 3 found, 1 not in view." in text
    assert "Trust is the probability that the answer is right" in text
    assert "trained on a &amp; b" in text


def test_names_that_are_not_utf8_are_shown_and_linked():
    """A name holds the byte 0xFF, as Python reads it from a file system."""
    page = rendered([ResultRow("a\udcff", "found", "L3", 0.9, trust=0.9)])
    read = Reader(page)
    assert read.rows[1][0] == "a\ufffd"
    assert read.links[1:] == ["#a%FF"]
    assert read.images == [("a%FF.png", "a\ufffd: found")]
    assert page.encode().decode() == page
