"""Which scans train, validate and test: patients are never in two parts."""

from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import GroupKFold

from l3spot.training.dataset import Pool
from mtl.host.errors import ConfigError


def take(pool: Pool, rows: np.ndarray) -> Pool:
    """Some scans of a pool."""
    return Pool(*(a[rows] for a in pool))


def last(pool: Pool, count: int) -> tuple[Pool, Pool]:
    """The others, and the last so many scans, of whole patients.

    Scans without a label are all among the others.

    Raises:
      ConfigError: there are not as many, or they leave no other with a label.
    """
    if not count:
        return pool, take(pool, np.arange(0))
    labelled = ~np.isnan(pool.l3)
    first = max(np.flatnonzero(labelled).size - count, 0)
    moved = np.isin(pool.patient, pool.patient[labelled][first:])
    if not (labelled & ~moved).any():
        raise ConfigError(
            f"of {labelled.sum()} scans with a label {count} are to be held back, "
            "which leaves none to train on; lower config.data.valid or data.test"
        )
    return take(pool, ~moved), take(pool, moved & labelled)


def folds(pool: Pool, count: int, seed: int) -> Iterator[tuple[Pool, Pool]]:
    """For each of so many folds the others, and the scans of the fold.

    Raises:
      ConfigError: there are fewer patients with a label than folds.
    """
    labelled = ~np.isnan(pool.l3)
    patients = pool.patient[labelled]
    if len(np.unique(patients)) < count:
        raise ConfigError(
            f"{len(np.unique(patients))} patients have a label, which is too few for "
            f"--folds={count}"
        )
    parts = GroupKFold(count, shuffle=True, random_state=seed)
    for _, held in parts.split(patients, groups=patients):
        moved = np.isin(pool.patient, patients[held])
        yield take(pool, ~moved), take(pool, moved & labelled)


def few(pool: Pool, labelled: int, unlabelled: int, strips: int, seed: int) -> Pool:
    """What trains: some scans keep their labels, and some are without.

    Args:
      pool: of scans, without a label where `l3` is NaN.
      labelled: how many keep theirs, drawn at random; 0: all.
      unlabelled: how many there are without, -1: all that are left.
      strips: an epoch has at least so many of scans with a label, which repeat.
      seed: of the draw.

    Raises:
      ConfigError: there are not as many.
    """
    known, unknown = np.flatnonzero(~np.isnan(pool.l3)), np.isnan(pool.l3).nonzero()[0]
    if labelled:
        drawn = np.random.default_rng(seed).permutation(known)
        known, unknown = drawn[:labelled], np.concatenate([drawn[labelled:], unknown])
    if len(known) < labelled or len(unknown) < unlabelled:
        raise ConfigError(
            f"config.data.labelled={labelled} and config.data.unlabelled={unlabelled} "
            f"are more than there are: {len(known)} and {len(unknown)}"
        )
    unknown = unknown if unlabelled == -1 else unknown[:unlabelled]
    again = max(-(-strips // len(known)), 1)
    made = take(pool, np.concatenate([np.tile(known, again), unknown]))
    made.l3[again * len(known) :] = np.nan
    return made
