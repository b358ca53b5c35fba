"""The tables of system 3's results page follow from the CSV files beside it."""

import csv

import numpy as np

from experiments import (
    DOCS,
    few_labels,
    frozen,
    hard_phantoms,
    public_scans,
    reliability,
)


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


def test_hard_phantoms_of_all_kinds_were_measured():
    rows = hard_phantoms.read(hard_phantoms.CSV)
    assert {row.kind for row in rows} == set(hard_phantoms.KINDS)


def lines(name):
    with (DOCS / "results" / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_page_counts_the_answers_for_public_scans():
    """They are counted here again, from the two CSV files."""
    labels, answers = lines("l3spot_public_labels.csv"), lines("l3spot_public.csv")
    assert [k["scan"] for k in labels] == [a["scan"] for a in answers]
    for held_out, name in (("0", "seen during the work"), ("1", "held out")):
        with_l3, found, wrong, alarms, without = [], 0, 0, 0, 0
        for label, answer in zip(labels, answers, strict=True):
            if label["held_out"] != held_out:
                continue
            is_found = answer["status"] == "found"
            if label["state"] == "not in view":
                without, alarms = without + 1, alarms + is_found
            elif label["state"] == "in view":
                with_l3.append(label["scan"])
                found += is_found
                if is_found:
                    error_mm = float(answer["z_mm"]) - float(label["z_mm"])
                    wrong += abs(error_mm) > public_scans.WRONG_MM
        (row,) = [row for row in PAGE if row[0] == name]
        assert row[1:4] == [str(n) for n in (len(with_l3), found, wrong)]
        assert row[7:] == [str(n) for n in (without, alarms)]


def test_the_page_says_what_the_version_before_answered():
    labels, answers = (
        lines("l3spot_public_labels.csv"),
        lines("l3spot_public_before.csv"),
    )
    found, errors_mm = {"0": [], "1": []}, {}
    for label, answer in zip(labels, answers, strict=True):
        assert label["scan"] == answer["scan"]
        assert (label["state"], answer["status"]) != ("not in view", "found")
        if label["state"] == "in view":
            found[label["held_out"]].append(answer["status"] == "found")
            if answer["status"] == "found":
                error_mm = abs(float(answer["z_mm"]) - float(label["z_mm"]))
                errors_mm[label["scan"]] = error_mm, float(answer["confidence"])
    assert [(sum(f), len(f)) for f in found.values()] == [(11, 12), (3, 5)]
    (wrong,) = [v for v in errors_mm.values() if v[0] > public_scans.WRONG_MM]
    first = [
        errors_mm[s][0] for s in ("ircad17", "pet_ct", "totalsegmentator", "flt001")
    ]
    text = " ".join((DOCS / "results" / "l3spot.md").read_text().split())
    assert f"with a confidence of {wrong[1]:.2f}: ribs" in text
    assert f"its errors were {min(first):.1f} to {max(first):.1f} mm" in text
    assert "The version before found 3 of their 5 L3, all rightly" in text


def test_the_reliability_figure_shows_the_csv():
    """Each point is the mean of an eighth of the answers, counted here again."""
    rows = reliability.read(reliability.CSV)
    figure = reliability.draw(rows)
    for ax, (stated, right) in zip(
        figure.axes, reliability.pairs(rows).values(), strict=True
    ):
        answers = sorted(zip(stated, range(len(stated)), right, strict=True))
        size, more = divmod(len(answers), 8)
        points = [
            line.get_xydata()[0] for line in ax.lines if len(line.get_xydata()) == 1
        ]
        assert len(points) == 8
        for i, point in enumerate(points):
            part, answers = (
                answers[: size + (i < more)],
                answers[size + (i < more) :],
            )
            wanted = [sum(a[k] for a in part) / len(part) for k in (0, 2)]
            np.testing.assert_allclose(point, wanted)
