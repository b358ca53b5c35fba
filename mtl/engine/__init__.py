"""The engine: tasks, update steps, loss weights, training. It knows no system."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl.engine.compiled_epoch import CompiledEpoch
    from mtl.engine.engine import Engine, Metrics, State, make_engine
    from mtl.engine.task import Task

__all__ = ["CompiledEpoch", "Engine", "Metrics", "State", "Task", "make_engine"]


def __getattr__(name: str) -> Any:
    """Imports the engine when it is asked for: predictions use other modules alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mtl.engine import compiled_epoch, engine, task

    module = {"CompiledEpoch": compiled_epoch, "Task": task}.get(name, engine)
    return getattr(module, name)
