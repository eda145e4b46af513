"""The rows: what the design promises, and what is beside it."""

from ..measuring import ROWS
from . import blob, dependencies, million, nodes, simulated, tasks, tutorial

__all__ = ["ROWS", "blob", "dependencies", "million", "nodes", "simulated", "tasks", "tutorial"]
