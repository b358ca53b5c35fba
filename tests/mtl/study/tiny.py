"""A study that takes a moment: digits, a small network, few epochs."""

from configs.mtl import table1


def config(**changes):
    c = table1.get_config("smoke")
    c.epochs, c.optim.decay_epochs, c.eval_every = 6, 2, 2
    c.schedule.t1, c.schedule.sigma, c.schedule.cutoff = 2, 1.0, 0.05
    c.study.labelled, c.study.unlabelled = (50,), (150,)
    c.study.parts.a.hidden = ((8,),)
    c.study.parts.a.methods = ("baseline", "baseline_matched", "exponential", "ratio")
    del c.study.parts.b
    c.study.update(changes)
    return c
