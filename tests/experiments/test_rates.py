"""Validation errors choose the learning rate of each cell; test errors never do."""

from experiments import rates
from mtl.study.results import Row


def row(labelled, seed, validation, test, status="done"):
    """A run of `exponential` with one hidden layer and no unlabelled image."""
    cell = "50", labelled, 0, "exponential"
    return Row(*cell, seed, status, test, validation, 10, test, validation, 1.0)


def test_the_lowest_mean_validation_error_chooses():
    slow = [row(100, 0, 0.30, 0.1), row(100, 1, 0.20, 0.1), row(1000, 0, 0.1, 0.9)]
    fast = [row(100, 0, 0.10, 0.9), row(100, 1, 0.30, 0.9), row(1000, 0, 0.2, 0.1)]
    studies = {0.01: slow, 0.1: fast}
    assert list(rates.choose(studies).values()) == [0.1, 0.01]
    assert rates.chosen(studies) == [*fast[:2], slow[2]]


def test_a_cell_that_diverged_with_one_seed_is_not_chosen():
    slow = [row(100, 0, 0.5, 0.5), row(100, 1, 0.5, 0.5)]
    fast = [row(100, 0, 0.1, 0.1), row(100, 1, 0.1, 0.1, "diverged")]
    assert rates.chosen({0.01: slow, 0.1: fast}) == slow
