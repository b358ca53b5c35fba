from mtl.host import workdir


def test_writers_with_equal_process_numbers_have_temporary_files_of_their_own(tmp_path):
    """In containers, processes of one file system often have the same number."""
    path = tmp_path / "results.csv"
    made = {workdir.temporary_beside(path) for _ in range(50)}
    assert len(made) == 50
    assert {p.parent for p in made} == {tmp_path}
    assert all(p.name.startswith(".results.csv.") for p in made)
