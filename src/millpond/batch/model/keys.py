"""How entities are named inside the service."""

from __future__ import annotations


def entity_key(account: str, entity_id: str) -> str:
    """The key of a pool, a job or a job schedule: ``account/id`` in lower case."""
    return f"{account}/{entity_id}".lower()


def node_key(pool: str, node_id: str) -> str:
    """The key of a compute node: its pool's key and its id."""
    return f"{pool}/{node_id}".lower()


def task_key(task_id: str) -> str:
    """The key of a task within its job."""
    return task_id.lower()


def task_number(key: str) -> int | None:
    """The integer of 32 bits that a task's key spells, leading zeros aside; ranges of ids name tasks by it."""
    if not key.removeprefix("-").isdecimal():
        return None
    number = int(key)
    return number if -(2**31) <= number < 2**31 else None
