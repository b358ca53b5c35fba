import pytest

from mtl.host import logs, workdir
from mtl.host.errors import WorkdirError


def test_writers_with_equal_process_numbers_have_temporary_files_of_their_own(tmp_path):
    """In containers, processes of one file system often have the same number."""
    path = tmp_path / "results.csv"
    made = {workdir.temporary_beside(path) for _ in range(50)}
    assert len(made) == 50
    assert {p.parent for p in made} == {tmp_path}
    assert all(p.name.startswith(".results.csv.") for p in made)


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "wines.npz").touch()
    with pytest.raises(WorkdirError, match="cannot make --out=x: it is a file; take"):
        workdir.make(tmp_path / "wines.npz", "--out=x")


@pytest.mark.parametrize("text", ["[1]", "null", '"a"', "{", "", "[" * 100_000])
def test_json_of_another_shape_is_named(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(WorkdirError, match=r"data.json is (damaged|not JSON)"):
        workdir.read_json(tmp_path / "data.json")


def test_a_field_that_is_missing_or_of_another_type_is_named(tmp_path):
    path = tmp_path / "data.json"
    lacks = pytest.raises(WorkdirError, match=r"data.json .*lacks the field 'rows'")
    with lacks, workdir.damaged(path):
        {}["rows"]
    other = pytest.raises(WorkdirError, match=r"data.json is damaged")
    with other, workdir.damaged(path):
        int(None)


@pytest.mark.parametrize("line", ["[1]", "null", "{}", '{"epoch": "1"}', '{"x": 1}'])
def test_a_line_of_a_log_of_another_shape_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"epoch": 1, "x": NaN}}\n{line}\n')
    with pytest.raises(WorkdirError, match=r"metrics.jsonl: line 2 is damaged"):
        logs.read_rows(tmp_path)
