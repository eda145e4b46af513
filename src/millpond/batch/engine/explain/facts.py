"""The records that explanations are made of."""

from __future__ import annotations

import msgspec

from ...model.job import Job
from ...model.job_node import JobNode
from ...model.pool import Node, Pool, SchedulingState
from ...model.task import Task
from ..transitions import WORKING


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    node: Node
    #: Tasks that run, or wait for a preparation, and the slots that they take.
    tasks: int = 0
    used_slots: int = 0
    #: Whether its agent has a channel.
    is_connected: bool = True

    @property
    def takes_tasks(self) -> bool:
        node = self.node
        is_open = node.state in WORKING and node.drain_then is None
        return is_open and node.scheduling_state is SchedulingState.ENABLED and self.is_connected


class PoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    #: As the job names it; ``pool`` is ``None`` where there is none of that id.
    pool_id: str
    pool: Pool | None
    nodes: tuple[NodeFacts, ...] = ()

    @property
    def open_nodes(self) -> list[NodeFacts]:
        return [facts for facts in self.nodes if facts.takes_tasks]

    def node(self, key: str | None) -> NodeFacts | None:
        return next((facts for facts in self.nodes if facts.node.key == key), None)


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    job: Job
    pool: PoolFacts
    #: How its preparation and release tasks stand.
    records: tuple[JobNode, ...] = ()


class Prerequisite(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a task still depends on."""

    #: The id, or the range of ids as ``first-last``.
    name: str
    #: What there is of it; of a range some at most.
    tasks: tuple[Task, ...] = ()
    is_range: bool = False


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    task: Task
    job: JobFacts
    prerequisites: tuple[Prerequisite, ...] = ()
    #: Tasks of its job that are ready and come before it; no more than somebody cared to count.
    before_in_job: int = 0
    #: Jobs on the same pool that come before its own and have tasks that are ready, the first one first.
    jobs_before: tuple[Job, ...] = ()


def ready_tasks(job: Job) -> int:
    """Tasks of a job that wait for nothing but a place."""
    return max(0, job.task_counts.active - job.held_back)
