"""The training of the network of the ribs; test_vertebrae.py runs it."""

import numpy as np

from configs.l3spot import vertebrae as configs
from l3spot.training import ribs
from l3spot.vertebrae.ribs import SIGNS, SIZE


def test_both_halves_of_a_vertebra_are_in_the_same_set():
    """A third of the vertebrae validate; the grey value of a crop says which it is."""
    vertebrae = 11  # A third of 22 crops would divide a pair.
    config = configs.get_config("smoke")
    config.data.count, config.data.validation = 3, 1
    which = np.repeat(np.arange(vertebrae), 2)
    grey = np.broadcast_to(which[:, None, None], (len(which), SIZE, SIZE))
    signs = np.zeros((len(which), SIGNS), bool)
    training = ribs.make_training(config, ribs.Halves(grey.astype(np.uint8), signs))
    kept, counts = np.unique(training.data["grey"][:, 0, 0], return_counts=True)
    assert list(kept) == list(range(vertebrae - vertebrae // 3))
    assert set(counts) == {2}
    assert np.isfinite(training.evaluate(training.params)["valid/loss"])
