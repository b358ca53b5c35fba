"""The engine: tasks, update steps, loss weights, training. It knows no system."""

from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.engine import Engine, Metrics, State, make_engine
from mtl.engine.task import Task

__all__ = ["CompiledEpoch", "Engine", "Metrics", "State", "Task", "make_engine"]
