"""Right or wrong vertebra by the distances between a scan's own vertebrae."""

import pytest

from l3spot import evaluate
from mtl.host.errors import DataError

LEVELS = "scan,level,z_mm,upper_mm,lower_mm,probability"


def table(path, head, rows):
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def errors(folder, z_mm, labels, levels=()):
    """The errors of one scan, a, with L3 at 100 mm."""
    results = table(
        folder / "results.csv", "scan,status,z_mm,confidence", [f"a,found,{z_mm},0.9"]
    )
    if levels:
        table(folder / "levels.csv", LEVELS, levels)
    head, row = labels
    return evaluate.evaluate(results, table(folder / "l.csv", head, [row])).errors


STATED = ("scan,z_mm,l2_mm,upper_mm,lower_mm,l4_mm", "a,100,120,107,93,81")
PLAIN = ("scan,z_mm", "a,100")
# A child's bodies, under names that are one too high.
CHILD = ["a,L1,119,126,112,0.9", "a,L2,101,108,94,0.9", "a,L3,82,89,75,0.9",
         "a,S1,60,70,50,0.9"]  # fmt: skip


@pytest.mark.parametrize(
    ("z_mm", "wrong"), [(109.5, 0), (110.5, 1), (91, 0), (90, 1), (100, 0)]
)
def test_half_the_way_to_the_neighbour_that_the_labels_state(tmp_path, z_mm, wrong):
    found = errors(tmp_path, z_mm, STATED)
    assert (found["wrong_vertebra"], found["own_distances"]) == (wrong, 1)


@pytest.mark.parametrize(("z_mm", "wrong"), [(109, 0), (110, 1), (91.5, 0), (90, 1)])
def test_half_the_way_to_the_neighbour_that_was_found(tmp_path, z_mm, wrong):
    found = errors(tmp_path, z_mm, PLAIN, CHILD)
    assert (found["wrong_vertebra"], found["own_distances"]) == (wrong, 1)


def test_18_mm_where_nothing_is_known(tmp_path):
    for z_mm, wrong in ((117, 0), (119, 1)):
        found = errors(tmp_path, z_mm, PLAIN)
        assert (found["wrong_vertebra"], found["own_distances"]) == (wrong, 0)
        assert "inside_body" not in found
    # The label is in none of the bodies.
    found = errors(tmp_path, 117, PLAIN, ["a,L4,60,70,50,0.9"])
    assert found["own_distances"] == 0


@pytest.mark.parametrize(
    ("z_mm", "inside", "third"),
    [(106.5, 1, 0), (107.5, 0, 0), (102, 1, 1), (103, 1, 0), (97, 1, 0), (92.5, 0, 0)],
)
def test_inside_the_body_and_in_its_middle_third(tmp_path, z_mm, inside, third):
    found = errors(tmp_path, z_mm, STATED)
    assert (found["inside_body"], found["middle_third"]) == (inside, third)


def test_scans_of_similar_confidence_have_a_group(tmp_path):
    rows = ["a,found,100,0.3", "b,found,140,0.49", "c,found,101,0.96", "d,found,100,1"]
    results = table(tmp_path / "r.csv", "scan,status,z_mm,confidence", rows)
    labels = table(tmp_path / "l.csv", "scan,z_mm", [f"{s},100" for s in "abcd"])
    evaluation = evaluate.evaluate(results, labels)
    low, high = evaluation.confidence
    assert (low.name, low.errors["scans"], low.errors["mean_mm"]) == ("0 to 0.5", 2, 20)
    assert (high.name, high.errors["scans"]) == ("0.95 to 1", 2)
    assert evaluation.to_json()["confidence"][0]["wrong_vertebra"] == 0.5


def test_numbers_that_are_none_name_file_and_columns(tmp_path):
    with pytest.raises(DataError, match=r"l\.csv, line 2: 'high' .*l2_mm, upper_mm"):
        errors(tmp_path, 100, (STATED[0], "a,100,high,107,93,81"))
    with pytest.raises(DataError, match=r"levels\.csv is no levels\.csv"):
        errors(tmp_path, 100, PLAIN, ["a,L3,x,1,2,3"])
