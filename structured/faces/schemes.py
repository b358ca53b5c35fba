"""Describes the points of a face: which ones a mirror exchanges, which are the eyes.

Indices count from 0; the papers' figures count from 1. Left and right are those of the
image: the person's right eye is on the left.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scheme:
    """The points of a face.

    Attributes:
      count: P, the number of points.
      mirror_pairs: the points that a mirror exchanges; all others stay. Empty if
        unknown.
      eye_corners: the outer corners of the left and the right eye. Empty if no points
        mark them.
      eyes: the points of the left and of the right eye; their mean is the middle of
        the eye. Empty if unknown.
    """

    count: int
    mirror_pairs: tuple[tuple[int, ...], ...] = ()
    eye_corners: tuple[int, ...] = ()
    eyes: tuple[tuple[int, ...], ...] = ()

    @property
    def mirror_order(self) -> np.ndarray:
        """The index of each point's mirror image, int [P]."""
        order = np.arange(self.count)
        for a, b in self.mirror_pairs:
            order[a], order[b] = b, a
        return order


# 300-W, HELEN, LFPW, AFW and IBUG (Sagonas et al., 300 Faces in-the-Wild, 2013).
IBUG_68 = Scheme(
    68,
    mirror_pairs=(
        *((i, 16 - i) for i in range(8)),  # the jaw
        *((17 + i, 26 - i) for i in range(5)),  # the brows
        *((31 + i, 35 - i) for i in range(2)),  # the nostrils
        *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),  # the eyes
        *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),  # the outer lips
        *((60, 64), (61, 63), (65, 67)),  # the inner lips
    ),
    eye_corners=(36, 45),
    eyes=(tuple(range(36, 42)), tuple(range(42, 48))),
)

# WFLW (Wu et al., Look at Boundary, CVPR 2018). The last two points are the pupils.
WFLW_98 = Scheme(
    98,
    mirror_pairs=(
        *((i, 32 - i) for i in range(16)),  # the jaw
        *((33 + i, 46 - i) for i in range(5)),  # the upper edges of the brows
        *((38 + i, 50 - i) for i in range(4)),  # their lower edges
        *((55 + i, 59 - i) for i in range(2)),  # the nostrils
        *((60 + i, 72 - i) for i in range(5)),  # the upper lids, and the corners
        *((65 + i, 75 - i) for i in range(3)),  # the lower lids
        *((76 + i, 82 - i) for i in range(3)),  # the upper edge of the outer lips
        *((83 + i, 87 - i) for i in range(2)),  # their lower edge
        *((88 + i, 92 - i) for i in range(2)),  # the upper edge of the inner lips
        (93, 95),  # their lower edge
        (96, 97),  # the pupils
    ),
    eye_corners=(60, 72),
    eyes=((96,), (97,)),
)

# Both eyes, the tip of the nose, both corners of the mouth, as face detectors give.
FIVE_POINTS = Scheme(5, mirror_pairs=((0, 1), (3, 4)), eyes=((0,), (1,)))

SCHEMES = {scheme.count: scheme for scheme in (FIVE_POINTS, IBUG_68, WFLW_98)}
