"""The text of the program of an epoch, before it is compiled."""

import jax
import numpy as np

from mtl.engine.fit import compile_epoch


def epoch_text(training):
    """Returns the StableHLO of an epoch with all tasks."""
    engine = compile_epoch(training).engine
    epoch = jax.jit(engine.epoch, static_argnames="active")
    lowered = epoch.lower(
        engine.init(training.params),
        training.data,
        np.asarray(training.loss_weights[0], np.float32),
        np.float32(training.learning_rates[0]),
        jax.random.fold_in(training.key, 0),
        active=(True,) * len(training.tasks),
    )
    return lowered.as_text()


def changed(config, fields):
    """Returns a copy of a config with other values of some fields, by their names."""
    copy = config.copy_and_resolve_references()
    copy.update_from_flattened_dict(fields)
    return copy
