"""Records for tests, with as few words as a test has to say."""

from __future__ import annotations

from typing import Any

from millpond.batch.model.changes import Changes
from millpond.batch.model.job import Job
from millpond.batch.model.keys import entity_key, node_key, task_key
from millpond.batch.model.pool import Node, Pool
from millpond.batch.model.schedule import JobSchedule, Timetable
from millpond.batch.model.task import Task
from millpond.common.durations import UNLIMITED

ACCOUNT = "alice"
NOW = 1_700_000_000_000_000


def pool(pool_id: str = "Pool", **fields: Any) -> Pool:
    defaults = {
        "account": ACCOUNT,
        "state_transition_time": NOW,
        "allocation_state_transition_time": NOW,
        "creation_time": NOW,
        "last_modified": NOW,
        "vm_size": "standard_d2_v3",
        "resize_timeout": 900_000_000,
        "document": {"id": pool_id},
    }
    values = {**defaults, **fields}
    return Pool(key=entity_key(values["account"], pool_id), id=pool_id, **values)


def node(node_id: str = "Node", pool_id: str = "Pool", **fields: Any) -> Node:
    defaults = {
        "number": 1,
        "state_transition_time": NOW,
        "allocation_time": NOW,
        "vm_size": "standard_d2_v3",
    }
    pool_key = entity_key(ACCOUNT, pool_id)
    return Node(key=node_key(pool_key, node_id), pool=pool_key, id=node_id, **{**defaults, **fields})


def job(job_id: str = "Job", **fields: Any) -> Job:
    defaults = {
        "account": ACCOUNT,
        "state_transition_time": NOW,
        "creation_time": NOW,
        "last_modified": NOW,
        "start_time": NOW,
        "pool": entity_key(ACCOUNT, "Pool"),
        "pool_id": "Pool",
        "max_wall_clock_time": UNLIMITED,
        "document": {"id": job_id},
    }
    values = {**defaults, **fields}
    return Job(key=entity_key(values["account"], job_id), id=job_id, **values)


def schedule(schedule_id: str = "Schedule", **fields: Any) -> JobSchedule:
    defaults = {
        "account": ACCOUNT,
        "state_transition_time": NOW,
        "creation_time": NOW,
        "last_modified": NOW,
        "timetable": Timetable(),
        "anchor": NOW,
        "template": job(""),
        "document": {"displayName": schedule_id},
    }
    values = {**defaults, **fields}
    return JobSchedule(key=entity_key(values["account"], schedule_id), id=schedule_id, **values)


def task(seq: int, task_id: str | None = None, job_id: str = "Job", **fields: Any) -> Task:
    defaults = {
        "state_transition_time": NOW,
        "creation_time": NOW,
        "last_modified": NOW,
        "max_wall_clock_time": UNLIMITED,
        "retention_time": 604_800_000_000,
    }
    name = task_id or f"Task-{seq}"
    return Task(job=entity_key(ACCOUNT, job_id), key=task_key(name), id=name, seq=seq, **{**defaults, **fields})


def added(*tasks: Task) -> Changes:
    """Tasks that are new, each with a document that names it."""
    return Changes(
        tasks={(each.job, each.key): each for each in tasks},
        documents={(each.job, each.key): document_of(each) for each in tasks},
    )


def changed(*tasks: Task) -> Changes:
    return Changes(tasks={(each.job, each.key): each for each in tasks})


def document_of(task: Task) -> bytes:
    return f'{{"id":"{task.id}","commandLine":"true"}}'.encode()
