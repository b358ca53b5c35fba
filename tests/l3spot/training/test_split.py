"""Splits by patient, folds, and limited labels."""

import numpy as np
import pytest

from l3spot.projections import projection_files
from l3spot.training import config as configs
from l3spot.training import dataset, experiment, split
from l3spot.training.dataset import ProjectionDataset
from mtl.host.errors import ConfigError, DataError


def dataset_of(l3, patient):
    l3, count = np.array(l3, np.float32), len(l3)
    hu = np.arange(count, dtype=np.int16)[:, None, None]
    height = np.full(count, 500, np.float32)
    return ProjectionDataset(hu, height, l3, np.array(patient, np.int32))


def test_no_patient_is_in_two_sets():
    whole = dataset_of([1, np.nan, 2, 3, 4, 5], [0, 3, 1, 1, 2, 3])
    rest, held = split.split_off(whole, 2)
    # Patient 3's scan without a label is dropped.
    assert rest.l3_mm.tolist() == [1, 2, 3]
    assert held.l3_mm.tolist() == [4, 5]
    rest, held = split.split_off(whole, 3)
    assert rest.l3_mm.tolist() == [1]  # Patient 1 has two scans.
    assert held.l3_mm.tolist() == [2, 3, 4, 5]
    assert len(split.split_off(whole, 0)[1].hu) == 0
    with pytest.raises(ConfigError, match="none to train on"):
        split.split_off(whole, 5)


def test_a_seed_draws_the_scans_that_are_split_off():
    whole = dataset_of(np.arange(40), np.arange(40) // 2)
    (rest, held), again, other = (split.split_off(whole, 7, seed) for seed in (0, 0, 1))
    assert held.l3_mm.tolist() == again[1].l3_mm.tolist() != other[1].l3_mm.tolist()
    assert len(held.l3_mm) in range(7, 15)  # A patient has two scans.
    assert not set(rest.patient) & set(held.patient)
    assert len(rest.l3_mm) + len(held.l3_mm) == 40
    assert held.patient.min() < 10  # Not the last ones.


@pytest.mark.parametrize(
    ("source", "last"), [("phantoms", True), ("projections", False)]
)
def test_scans_of_people_are_drawn_to_validate_and_to_test(source, last):
    """They are sorted by name, and so by hospital or year."""
    whole = dataset_of(np.arange(60), np.arange(60))
    c = configs.default()
    c.data.source, c.data.count, c.data.validation, c.data.test = source, 60, 5, 5
    sets = experiment._datasets(c, whole)
    held = [s.l3_mm.tolist() for s in sets[1:]]
    assert (held == [[*range(50, 55)], [*range(55, 60)]]) == last
    seen = np.concatenate([s.l3_mm for s in sets])
    assert sorted(seen) == list(range(60))


def test_folds_test_each_scan_once():
    patient = np.repeat(np.arange(7), 2)
    whole = dataset_of([*range(13), np.nan], patient)
    seen = []
    for rest, test in split.folds(whole, 3, seed=1):
        assert not set(rest.patient) & set(test.patient)
        assert not np.isnan(test.l3_mm).any()
        assert len(rest.hu) + len(test.hu) >= 13
        seen += test.l3_mm.tolist()
    assert sorted(seen) == list(range(13))
    with pytest.raises(ConfigError, match="too few"):
        list(split.folds(whole, 8, seed=1))


def test_a_limited_number_of_scans_keep_their_label():
    whole = dataset_of([*range(8), np.nan], range(9))
    same = split.limit_labels(whole, 0, 0, 0, seed=0)
    assert same.l3_mm.tolist() == list(range(8))
    selected = split.limit_labels(whole, 2, 5, 6, seed=0)
    known = selected.l3_mm[~np.isnan(selected.l3_mm)]
    assert len(known) == 6  # Two, three times.
    assert len(set(known)) == 2
    others = selected.hu[np.isnan(selected.l3_mm)].ravel().tolist()
    assert len(set(others)) == 5
    assert not set(others) & set(known.astype(int).tolist())
    assert len(split.limit_labels(whole, 2, -1, 0, seed=0).hu) == 9
    assert not np.isnan(whole.l3_mm[:8]).any()  # The argument is unchanged.
    for labelled, unlabelled in ((9, 0), (2, 8)):
        with pytest.raises(ConfigError, match="more than there are"):
            split.limit_labels(whole, labelled, unlabelled, 0, seed=0)


def test_scans_with_a_label_are_repeated():
    """Two scans with a label repeat four times for seven strips."""
    selected = split.limit_labels(dataset_of(range(8), range(8)), 2, 0, 7, seed=0)
    assert np.unique(selected.l3_mm, return_counts=True)[1].tolist() == [4, 4]


def test_the_seed_determines_labels_and_folds():
    whole = dataset_of(range(40), range(40))
    drawn = [split.limit_labels(whole, 5, 0, 0, s).l3_mm.tolist() for s in (0, 1, 2, 1)]
    assert len(set(map(tuple, drawn))) == 3
    assert drawn[1] == drawn[3]
    assert all(sorted(d) != list(range(5)) for d in drawn)
    tests = [[t.l3_mm.tolist() for _, t in split.folds(whole, 4, s)] for s in (0, 1, 0)]
    assert tests[0] == tests[2] != tests[1]


def test_patients_of_projections_come_from_a_file(tmp_path):
    z = 500.0 - np.arange(300)
    hu, x = np.full((300, 260), 100, np.int16), np.arange(260.0)
    scans = [
        projection_files.Example(name, hu, z, x, 420.0, "in view", hu, x)
        for name in "abc"
    ]
    scans[2] = scans[2]._replace(label="", l3_z=np.nan)
    path = tmp_path / "patients.csv"
    path.write_text("scan,patient\na,x\nb,y\nc,x\n")
    assert dataset.projections(scans, path).patient.tolist() == [0, 1, 0]
    assert np.isnan(dataset.projections(scans).l3_mm[2])
    assert dataset.projections(scans).patient.tolist() == [0, 1, 2]
    path.write_text("scan,patient\na,x\n")
    with pytest.raises(DataError, match="has no patient for the scan b"):
        dataset.projections(scans, path)
    path.write_text("scan\na\n")
    with pytest.raises(DataError, match="columns scan and patient"):
        dataset.projections(scans, path)


def test_training_images_that_a_run_loads_are_mapped_if_devices_share_them(monkeypatch):
    whole = dataset_of(range(1, 9), range(8))
    monkeypatch.setattr(experiment, "load_dataset", lambda _: whole)
    c = configs.default()
    c.data.validation = 2
    plain = experiment._datasets(c, None)
    c.shard_data = True
    mapped, given = experiment._datasets(c, None), experiment._datasets(c, whole)
    kinds = [isinstance(d.train.hu, np.memmap) for d in (plain, mapped, given)]
    assert kinds == [False, True, False]
    np.testing.assert_array_equal(mapped.train.hu, plain.train.hu)
