"""Why a task, node, pool, job or job schedule is in the state that it is in, in plain words.

Functions of records alone, as a reader of the store sees them: nothing here changes anything, and nothing needs the
working set. What an explanation says, the rest of the engine does; where a rule there changes, its words change here.
"""

from __future__ import annotations

from .facts import JobFacts, NodeFacts, PoolFacts, Prerequisite, TaskFacts
from .jobs import explain_job
from .nodes import explain_node
from .pools import explain_pool
from .reasons import Explanation, Log, Reason
from .schedules import explain_schedule
from .tasks import explain_task

__all__ = [
    "Explanation",
    "JobFacts",
    "Log",
    "NodeFacts",
    "PoolFacts",
    "Prerequisite",
    "Reason",
    "TaskFacts",
    "explain_job",
    "explain_node",
    "explain_pool",
    "explain_schedule",
    "explain_task",
]
