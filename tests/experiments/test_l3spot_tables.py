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
    for held_out, name in enumerate(public_scans.SETS.values()):
        with_l3, found, wrong, alarms, without = [], 0, 0, 0, 0
        for label, answer in zip(labels, answers, strict=True):
            if label["held_out"] != str(held_out) or answer["status"] == "absent":
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


def answers_with_l3(name):
    """Held out, error in mm, confidence and whether it is sure, of scans with L3."""
    labels = {row["scan"]: row for row in lines("l3spot_public_labels.csv")}
    found = []
    for answer in lines(name):
        label = labels[answer["scan"]]
        assert (label["state"], answer["status"]) != ("not in view", "found")
        if label["state"] == "in view" and answer["status"] != "absent":
            error_mm = abs(float(answer["z_mm"]) - float(label["z_mm"]))
            confidence = float(answer["confidence"])
            sure = confidence >= 0.8 and answer["numbering"] != "ambiguous"
            found.append((label["held_out"], error_mm, confidence, sure))
    return found


def test_the_page_says_what_both_versions_answered():
    text = " ".join((DOCS / "results" / "l3spot.md").read_text().split())
    before = answers_with_l3("l3spot_public_before.csv")
    wrong = sorted(row for row in before if row[1] > public_scans.WRONG_MM)
    assert [row[0] for row in wrong] == ["2", "2"]
    assert all(row[3] for row in wrong)
    low, high = sorted(f"{row[2]:.2f}" for row in wrong)
    assert f"in two of these four patients, with a confidence of {low} and {high}" in (
        text.replace("[took another vertebra](l3spot_public_before.csv) ", "")
    )
    others = sum(row[0] != "2" for row in before)
    assert f"which had all {others} L3 of the others right" in text
    assert f"Before, {sum(row[3] for row in before)} were sure, two of them wrong" in (
        text
    )
    after = answers_with_l3("l3spot_public.csv")
    wrong = [row for row in after if row[1] > public_scans.WRONG_MM]
    assert [round(row[2], 2) for row in wrong] == [0.75]
    sure = [row for row in after if row[3]]
    assert f"{len(sure)} of the {len(after)} answers are now sure" in text
    assert not set(sure) & set(wrong)


def test_the_overview_says_how_many_public_scans_are_right():
    overview = (DOCS / "results" / "README.md").read_text()
    labels = {row["scan"]: row for row in lines("l3spot_public_labels.csv")}
    pairs = [
        (labels[a["scan"]], a)
        for a in lines("l3spot_public.csv")
        if a["status"] != "absent"
    ]
    with_l3 = [(k, a) for k, a in pairs if k["state"] == "in view"]
    without = [a for k, a in pairs if k["state"] == "not in view"]
    assert all(a["status"] == "found" for _, a in with_l3)
    assert not any(a["status"] == "found" for a in without)

    def wrong(field):
        return [
            a for k, a in with_l3
            if abs(float(a[field]) - float(k["z_mm"])) > public_scans.WRONG_MM
        ]  # fmt: skip

    (other,) = wrong("z_mm")
    assert float(other["confidence"]) < 0.8
    right = f"L3 right in {len(with_l3) - 1} of the {len(with_l3)} with it in view"
    assert f"{right} that were at hand, wrong but unsure in the other one" in overview
    assert f"no false alarm in {len(without)};" in overview
    assert len(wrong("frontal_z_mm")) == 7
    assert "the frontal position alone is at another vertebra in seven;" in overview


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
