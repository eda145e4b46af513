"""The rows: what the design promises, and what is beside it."""

from . import blob, million, nodes, simulated, tasks, tutorial

__all__ = ["blob", "million", "nodes", "simulated", "tasks", "tutorial"]
