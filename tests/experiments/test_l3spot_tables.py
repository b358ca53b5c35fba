"""The tables of system 3's results page follow from the CSV files beside it."""

import csv

from experiments import DOCS, few_labels, frozen


def read(module, name):
    """The rows of a CSV file of `docs/results`."""
    with (DOCS / "results" / name).open(newline="") as stream:
        head, *lines = csv.reader(stream)
    assert tuple(head) == module.Row._fields
    kinds = module.Row.__annotations__.values()
    return [
        module.Row(*(kind(x) for kind, x in zip(kinds, line, strict=True)))
        for line in lines
    ]


def cells(lines):
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]


PAGE = cells((DOCS / "results" / "l3spot.md").read_text().splitlines())


def test_the_table_of_few_labels_is_on_the_page():
    table = few_labels._table(read(few_labels, "l3spot_few.csv"))
    head, _, *rows = cells(table.splitlines())
    assert len(rows) == 6
    assert all(row in PAGE for row in (head, *rows))


def test_the_errors_of_frozen_filters_are_on_the_page_a_row_for_each_network():
    table = frozen._table(read(frozen, "l3spot_frozen.csv"))
    rows = cells(table.splitlines())[2:]
    names = ("AlexNet, random", "VGG16, random", "VGG16, ImageNet")
    for variant, name in zip(frozen.VARIANTS, names, strict=True):
        errors = [row[2] for row in rows if row[0] == variant]
        assert [name, *errors] in PAGE
