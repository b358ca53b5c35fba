"""System 2's epoch in PyTorch with CUDA graphs: a batch's kernels start at once."""

from collections.abc import Sequence
from typing import Any

from benchmarks.structured_contenders import ByHand, load_torch
from benchmarks.structured_problem import Problem


class Graphs(ByHand):
    """`ByHand` with SGD's fused kernel; a graph holds the steps of a full batch.

    A graph holds numbers as well as kernels: each run and learning rate has its own.
    The first batch goes without a graph, to load what the kernels need; the second one
    records it.
    """

    def __init__(self, problem: Problem, weights: Sequence, device: str) -> None:
        super().__init__(problem, weights, device, "fused")
        inputs, outputs = problem.x.shape[1], problem.y.shape[1]
        self.x_given = self.x.new_empty(self.batch, inputs)
        self.y_given = self.y.new_empty(self.batch, outputs)
        self.graphs: dict[tuple[int, float], Any] = {}
        self.warm = False

    def batch_steps(self, x: Any, y: Any) -> None:
        """See `structured_contenders.Torch`."""
        torch = load_torch()
        if len(x) < self.batch or not self.warm:
            super().batch_steps(x, y)
            self.warm = True
            return
        self.x_given.copy_(x)
        self.y_given.copy_(y)
        own = self.run, self.rate
        if own not in self.graphs:
            self.graphs[own] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graphs[own]):
                super().batch_steps(self.x_given, self.y_given)
        self.graphs[own].replay()
