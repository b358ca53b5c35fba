"""Draws the labelled and the unlabelled training images; the others are left out."""

import numpy as np

from mtl.host.errors import ConfigError


def choose_rows(
    y: np.ndarray,
    classes: int,
    labelled: int,
    unlabelled: int,
    seed: int,
    balanced: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws l + u training rows; only the first l keep their label.

    Args:
      y: the labels int32 [N] of the rows to choose from, -1 for "no label".
      classes: the number of classes.
      labelled: l, drawn from the rows that have a label; -1 takes them all.
      unlabelled: u, drawn from all the other rows; -1 takes them all. With the same
        seed, fewer of them are a subset of more.
      seed: of the draw.
      balanced: as many labelled rows of each class (one more for some, drawn too).

    Returns:
      The row numbers, and the labels int32, -1 for those that are hidden.

    Raises:
      ConfigError: there are not so many.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    ranked = order[y[order] >= 0]
    labelled = len(ranked) if labelled == -1 else labelled
    if balanced and labelled < len(ranked):
        quota = np.full(classes, labelled // classes)
        quota[rng.permutation(classes)[: labelled % classes]] += 1
        of_class = [ranked[y[ranked] == c][:q] for c, q in enumerate(quota)]
        for c, (rows, q) in enumerate(zip(of_class, quota, strict=True)):
            if len(rows) < q:
                raise ConfigError(
                    f"data.labelled={labelled} needs {q} labelled rows of class {c}, "
                    f"but there are {len(rows)}; lower it, or set data.balanced=False"
                )
        chosen = np.concatenate(of_class)
    else:
        chosen = ranked[:labelled]
    if not 0 < len(chosen) == labelled:
        raise ConfigError(
            f"data.labelled={labelled}, but there are {len(ranked)} labelled rows to "
            "train on"
        )
    others = order[~np.isin(order, chosen)]
    if unlabelled > len(others):
        raise ConfigError(
            f"data.unlabelled={unlabelled}, but {len(others)} rows are left"
        )
    others = others if unlabelled < 0 else others[:unlabelled]
    rows = np.concatenate([chosen, others])
    shown = np.where(np.arange(len(rows)) < labelled, y[rows], -1)
    return rows, shown.astype(np.int32)
