"""Splits scans into training, validation and test sets by patient."""

from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import GroupKFold

from l3spot.training.dataset import ProjectionDataset
from mtl.host.errors import ConfigError


def select(dataset: ProjectionDataset, rows: np.ndarray) -> ProjectionDataset:
    """Returns some scans of a dataset."""
    return ProjectionDataset(*(a[rows] for a in dataset))


def split_off(
    dataset: ProjectionDataset, count: int, seed: int | None = None
) -> tuple[ProjectionDataset, ProjectionDataset]:
    """Splits off some scans with a label, and all other scans of their patients.

    Args:
      dataset: scans, without a label where `l3_mm` is NaN.
      count: how many scans are split off, at least.
      seed: draws the scans; None takes the last ones.

    Returns:
      The remaining scans, with and without a label; and the scans that are split off,
      all of them with a label.

    Raises:
      ConfigError: no scan with a label would remain.
    """
    if not count:
        return dataset, select(dataset, np.arange(0))
    labelled = ~np.isnan(dataset.l3_mm)
    patients = dataset.patient[labelled]
    if seed is not None:
        patients = np.random.default_rng(seed).permutation(patients)
    held_out = np.isin(dataset.patient, patients[max(len(patients) - count, 0) :])
    if not (labelled & ~held_out).any():
        raise ConfigError(
            f"of {labelled.sum()} scans with a label {count} are to be held back, "
            "which leaves none to train on; lower config.data.validation or data.test"
        )
    return select(dataset, ~held_out), select(dataset, held_out & labelled)


def folds(
    dataset: ProjectionDataset, count: int, seed: int
) -> Iterator[tuple[ProjectionDataset, ProjectionDataset]]:
    """Yields for each fold the scans of other patients, and the fold's scans.

    Raises:
      ConfigError: there are fewer patients with a label than folds.
    """
    labelled = ~np.isnan(dataset.l3_mm)
    patients = dataset.patient[labelled]
    if len(np.unique(patients)) < count:
        raise ConfigError(
            f"{len(np.unique(patients))} patients have a label, which is too few for "
            f"--folds={count}"
        )
    splits = GroupKFold(count, shuffle=True, random_state=seed)
    for _, test in splits.split(patients, groups=patients):
        held_out = np.isin(dataset.patient, patients[test])
        yield select(dataset, ~held_out), select(dataset, held_out & labelled)


def limit_labels(
    dataset: ProjectionDataset,
    labelled: int,
    unlabelled: int,
    min_labelled_rows: int,
    seed: int,
) -> ProjectionDataset:
    """Selects training scans with and without a label.

    Scans that lose their label can be among those without one.

    Args:
      dataset: scans, without a label where `l3_mm` is NaN.
      labelled: how many scans keep their label, drawn at random; 0 keeps all.
      unlabelled: how many scans without a label are selected; -1 selects all.
      min_labelled_rows: scans with a label are repeated to at least so many rows.
      seed: of the random draw.

    Raises:
      ConfigError: there are not enough scans.
    """
    known = np.flatnonzero(~np.isnan(dataset.l3_mm))
    unknown = np.flatnonzero(np.isnan(dataset.l3_mm))
    if labelled:
        shuffled = np.random.default_rng(seed).permutation(known)
        known = shuffled[:labelled]
        unknown = np.concatenate([shuffled[labelled:], unknown])
    if len(known) < labelled or len(unknown) < unlabelled:
        raise ConfigError(
            f"config.data.labelled={labelled} and config.data.unlabelled={unlabelled} "
            f"are more than there are: {len(known)} and {len(unknown)}"
        )
    unknown = unknown if unlabelled == -1 else unknown[:unlabelled]
    repeats = max(-(-min_labelled_rows // len(known)), 1)
    rows = np.concatenate([np.tile(known, repeats), unknown])
    selected = select(dataset, rows)
    selected.l3_mm[repeats * len(known) :] = np.nan
    return selected
