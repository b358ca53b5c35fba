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


def texts_of(fields, config, make_training):
    """Yields, for each field with another value, its name and the epoch's text.

    Args:
      fields: another value of each field.
      config: of the trainings.
      make_training: from a config to a training.
    """
    for name, value in fields.items():
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({name: value})
        yield name, epoch_text(make_training(changed))
