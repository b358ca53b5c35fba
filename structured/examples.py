"""Examples of system 2, which may lack x or y.

A training set holds pairs, examples of x alone and examples of y alone. Validation and
test sets hold pairs only.
"""

from typing import NamedTuple

import numpy as np

from mtl.host.errors import ConfigError, DataError
from structured import arrays


class Examples(NamedTuple):
    """N examples. A missing row of x or y is 0, and its mask is False.

    Attributes:
      x: float32 [N, ...]; for faces that are augmented, canvases uint8 [N, C, C].
      y: float32 [N, D]. If `data.partial_y`, missing values of a row are NaN.
      has_x: bool [N].
      has_y: bool [N].
      frame: float32 [N, 4], the frames of faces (`crops`).
    """

    x: np.ndarray
    y: np.ndarray
    has_x: np.ndarray
    has_y: np.ndarray
    frame: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """The mask of examples with both x and y, bool [N]."""
        return self.has_x & self.has_y

    def select(self, rows: np.ndarray) -> "Examples":
        """Returns the examples of a mask or of indices."""
        return Examples(*(field[rows] for field in self))


def make_examples(
    x: np.ndarray,
    y: np.ndarray,
    names: tuple[str, str] = ("x", "y"),
    partial_y: bool = False,
    field: str = "data.partial_y",
) -> Examples:
    """Makes examples of x [N, ...] and y [N, D]; a row of NaN is missing.

    Args:
      x: numbers; grey levels of type uint8 are divided by 255.
      y: numbers.
      names: of x and y in an error.
      partial_y: whether some values of a row of y may be missing, NaN.
      field: names `partial_y` in an error.

    Raises:
      DataError: the shapes or types do not fit, a row holds both finite values and
        others, or a row lacks both x and y.

    Examples:
      >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]])
      >>> y = np.array([[0.5], [np.nan], [0.7]])
      >>> examples = make_examples(x, y)
      >>> examples.pairs
      array([ True, False, False])
      >>> examples.has_x
      array([ True,  True, False])
    """
    arrays.check(x, y, *names)
    whole = "fill the whole row with NaN if it is missing"
    part = f"{whole}, or set {field}=True if only some of its values are"
    has_x = arrays.present_rows(x, names[0], whole)
    has_y = arrays.present_rows(y, names[1], "" if partial_y else part)
    empty = np.flatnonzero(~(has_x | has_y))
    if len(empty):
        raise DataError(
            f"row {empty[0]} of {names[0]} and of {names[1]} is NaN; leave it out"
        )
    max_level = 255 if x.dtype == np.uint8 else 1
    x, y = x.astype(np.float32), y.astype(np.float32)
    x[~has_x], y[~has_y] = 0, 0
    x /= np.float32(max_level)
    frame = np.tile(np.array([0, 0, 1, 1], np.float32), (len(x), 1))
    return Examples(x, y, has_x, has_y, frame)


def split_validation(
    train: Examples, share: float, first: bool, where: str, seed: int | None = None
) -> tuple[Examples, Examples]:
    """Splits examples into training and validation sets.

    Args:
      train: all examples.
      share: the share of the pairs that validates.
      first: whether the first pairs validate.
      where: names the data in an error.
      seed: draws the pairs that validate; None takes the last ones.

    Raises:
      DataError: one of the sets would have no pairs.
    """
    pairs = np.flatnonzero(train.pairs)
    if not len(pairs):
        raise DataError(f"{where}: no training example has both x and y; give some")
    count = round(share * len(pairs))
    if not 0 < count < len(pairs):
        raise DataError(
            f"data.valid={share:g} of {len(pairs)} pairs in {where} are {count}; both "
            "training and validation need some: change data.valid, or add pairs"
        )
    if seed is not None and not first:
        pairs = np.random.default_rng(seed).permutation(pairs)
    held_out = np.sort(pairs[:count] if first else pairs[-count:])
    rest = np.setdiff1d(np.arange(len(train.x)), held_out)
    return train.select(rest), train.select(held_out)


def limit_pairs(train: Examples, pairs: int, seed: int) -> Examples:
    """Keeps some random pairs; the other pairs become x alone and y alone.

    Args:
      train: all examples.
      pairs: the number of pairs to keep; negative keeps all.
      seed: seeds the draw.

    Raises:
      ConfigError: there are fewer pairs.
    """
    available = np.flatnonzero(train.pairs)
    if pairs < 0:
        return train
    if pairs > len(available):
        raise ConfigError(
            f"data.pairs={pairs}, but there are {len(available)}; set fewer, or -1"
        )
    shuffled = np.random.default_rng(seed).permutation(available)
    kept = np.union1d(shuffled[:pairs], np.flatnonzero(~train.pairs))
    others = np.sort(shuffled[pairs:])
    return concatenate(train.select(kept), separate_pairs(train.select(others)))


def separate_pairs(e: Examples) -> Examples:
    """Turns each pair into two examples: x alone and y alone."""
    none = np.zeros(len(e.x), bool)
    only_x = e._replace(y=np.zeros_like(e.y), has_y=none)
    only_y = e._replace(x=np.zeros_like(e.x), has_x=none)
    return concatenate(only_x, only_y)


def concatenate(*parts: Examples) -> Examples:
    """Joins several sets of examples."""
    return Examples(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
