"""Random numbers, and the ranges of all that is random in a phantom."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array

Interval = tuple[float, float]
MAX_DRAWS = 8192  # Uniform numbers, and normal ones, for a body.
# Files of phantoms hold their ranges with these names of fields.
STORED_NAMES = {
    "lean_rad": "lean",
    "roll_rad": "roll",
    "scoliosis_rad": "scoliosis",
    "disc_height": "disc",
    "bone_density": "bone",
    "fat_mm": "fat",
    "head_size": "head",
    "head_nod_rad": "nod",
    "head_tilt_rad": "tip",
    "shoulder_blade_rad": "blade",
    "oral_contrast": "oral",
    "bowel_gas": "gas",
    "implant": "metal",
    "calcified_cartilage": "calcified",
    "slice_mm": "step",
    "pixel_mm": "pixel",
    "noise_hu": "noise",
    "streaks_hu": "streaks",
    "sharpness_mm": "sharpness",
    "clipped_share": "clip",
    "length_mm": "length",
    "without_l3": "without",
}

# Older files lack these fields; with their defaults phantoms are what they were.
ADDED = (
    *("rib_radius", "rib_density", "rib_hollow", "steep_ribs"),
    *("pelvis_density", "fossa_density", "sacrum_fading"),
)


@dataclasses.dataclass(frozen=True)
class PhantomRanges:
    """Ranges of uniform draws, probabilities and standard deviations; our choice.

    Attributes:
      size: factor of all lengths; 1 is an average adult.
      curve: factor of lordosis and kyphosis.
      lean_rad: angle of the whole spine to the back.
      roll_rad: angle of the whole spine to the side.
      scoliosis_rad: standard deviation of the vertebrae's tilt; a tenth have four times
        that.
      disc_height: factor of the discs' height; 1 is healthy.
      vertebra_height: factor of the height of vertebrae and discs alone.
      transverse_length: factor of the length of lumbar transverse processes.
      transverse_radius: factor of their radius; children's are thin.
      transverse_density: factor of their HU; children's are faint.
      rib_drop: factor of the ribs' descent; some ribs are nearly horizontal.
      rib_start: how far ribs have descended where they leave the spine, in units of
        0.18 times their whole descent.
      crest_mm: height of the iliac crests above their usual place.
      bone_density: factor of the bones' HU.
      rib_radius: factor of the ribs' radius.
      rib_density: factor of the ribs' HU.
      rib_hollow: how dark ribs are between their edges; 0 is as bright.
      steep_ribs: probability that ribs descend from the spine on, as most people's do;
        the others are level beside the spine.
      pelvis_density: factor of the HU of the hips, the sacrum and the thighs.
      fossa_density: factor of the HU of the iliac wings inside their edges.
      sacrum_fading: how much narrower and fainter the sacrum is towards the coccyx.
      fat_mm: fat below the skin.
      girth: factor of the trunk's width.
      head_size: factor of the head's size.
      head_nod_rad: angle of the head to the back.
      head_tilt_rad: angle of the head to a side.
      shoulder_blade_rad: rotation of the shoulder blades of raised arms.
      sixth_lumbar: probability of an L6.
      sacralised: probability of an L5 that is fused with the sacrum.
      ribs_11: probability of 11 pairs of ribs.
      ribs_13: probability of 13 pairs of ribs.
      fracture: probability for each vertebra.
      arms_up: probability of raised arms.
      contrast: probability of contrast agent in vessels and organs.
      oral_contrast: probability of contrast agent in the bowel.
      bowel_gas: probability for each pocket.
      implant: probability for each implant.
      calcified_cartilage: probability of calcified rib cartilage.
      tooth: probability for each tooth.
      filling: probability for each tooth.
      slice_mm: distance between slices.
      pixel_mm: size of a slice's pixel.
      noise_hu: standard deviation of a slice's noise.
      streaks_hu: standard deviation of streaks where the body is widest.
      sharpness_mm: distance from air to the full HU of a rim.
      clipped_share: probability of a scanner of 12 bits that ends at 1023 HU.
      length_mm: height of the scan.
      without_l3: probability that L3 is not in view.
    """

    size: Interval = (0.86, 1.14)
    curve: Interval = (0.3, 1.7)
    lean_rad: Interval = (-0.06, 0.06)
    roll_rad: Interval = (-0.06, 0.06)
    scoliosis_rad: float = 0.035
    disc_height: Interval = (0.55, 1.15)
    vertebra_height: Interval = (1.0, 1.0)
    transverse_length: Interval = (1.0, 1.0)
    transverse_radius: Interval = (1.0, 1.0)
    transverse_density: Interval = (1.0, 1.0)
    rib_drop: Interval = (0.75, 1.25)
    rib_start: Interval = (0.0, 0.4)
    crest_mm: Interval = (-14.0, 16.0)
    bone_density: Interval = (0.55, 1.35)
    rib_radius: Interval = (0.85, 1.15)
    rib_density: Interval = (1.0, 1.0)
    rib_hollow: Interval = (0.5, 0.5)
    steep_ribs: float = 0.0
    pelvis_density: Interval = (1.0, 1.0)
    fossa_density: Interval = (1.0, 1.0)
    sacrum_fading: Interval = (0.0, 0.0)
    fat_mm: Interval = (6.0, 50.0)
    girth: Interval = (0.88, 1.2)
    head_size: Interval = (0.95, 1.05)
    head_nod_rad: Interval = (-0.08, 0.24)
    head_tilt_rad: Interval = (-0.07, 0.07)
    shoulder_blade_rad: Interval = (0.4, 0.65)
    sixth_lumbar: float = 0.04
    sacralised: float = 0.05
    ribs_11: float = 0.04
    ribs_13: float = 0.04
    fracture: float = 0.02
    arms_up: float = 0.7
    contrast: float = 0.6
    oral_contrast: float = 0.25
    bowel_gas: float = 0.5
    implant: float = 0.06
    calcified_cartilage: float = 0.5
    tooth: float = 0.85
    filling: float = 0.1
    slice_mm: Interval = (0.8, 5.0)
    pixel_mm: Interval = (0.6, 0.98)
    noise_hu: Interval = (6.0, 35.0)
    streaks_hu: Interval = (0.0, 40.0)
    sharpness_mm: Interval = (0.7, 1.3)
    clipped_share: float = 0.2
    length_mm: Interval = (180.0, 800.0)
    without_l3: float = 0.15

    def to_text(self) -> str:
        """Returns the ranges as text, to compare them with those of a file."""
        values = (
            f"{STORED_NAMES.get(name, name)}={value!r}"
            for name, value in dataclasses.asdict(self).items()
            if not (name in ADDED and value == getattr(PhantomRanges, name))
        )
        return f"Ranges({', '.join(values)})"


# A network that is trained on usual proportions alone places L3 by them: at about the
# same share of the way from the ribs to the pelvis.
VARIED_PROPORTIONS = PhantomRanges(
    vertebra_height=(0.84, 1.16),
    transverse_length=(0.85, 1.55),
    transverse_radius=(0.4, 1.1),
    transverse_density=(0.35, 1.1),
    rib_drop=(0.3, 1.4),
    rib_start=(-0.3, 0.7),
    crest_mm=(-38.0, 34.0),
)
PROPORTIONS = {"usual": PhantomRanges(), "varied": VARIED_PROPORTIONS}


class Draw:
    """Draws random numbers one after the other.

    They are computed at once: a program with one generator for each draw takes a minute
    to compile.
    """

    def __init__(self, key: Array, ranges: PhantomRanges) -> None:
        self.ranges = ranges
        uniform_key, normal_key = jax.random.split(key)
        self._uniform = jax.random.uniform(uniform_key, (MAX_DRAWS,))
        self._normal = jax.random.normal(normal_key, (MAX_DRAWS,))
        self._taken = 0

    def __call__(
        self, low: float | Array, high: float | Array, shape: tuple[int, ...] = ()
    ) -> Array:
        """Draws uniform numbers."""
        return low + (high - low) * self._take(self._uniform, shape)

    def normal(self, shape: tuple[int, ...] = ()) -> Array:
        """Draws normal numbers of unit variance."""
        return self._take(self._normal, shape)

    def chance(self, probability: float | Array, shape: tuple[int, ...] = ()) -> Array:
        """Draws whether an event of the given probability happens."""
        return self._take(self._uniform, shape) < probability

    def sometimes(
        self, probability: float, rim_hu: float | Array, absent_hu: float
    ) -> Array:
        """Returns rim_hu with the given probability, and absent_hu otherwise."""
        return jnp.where(self.chance(probability, jnp.shape(rim_hu)), rim_hu, absent_hu)

    def _take(self, numbers: Array, shape: tuple[int, ...]) -> Array:
        start, self._taken = self._taken, self._taken + math.prod(shape)
        if self._taken > MAX_DRAWS:
            raise ValueError(
                f"more than {MAX_DRAWS} numbers are drawn; increase MAX_DRAWS"
            )
        return numbers[start : self._taken].reshape(shape)
