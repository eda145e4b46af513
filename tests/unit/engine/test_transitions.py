from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.engine.bench import Bench

from millpond.batch.engine import transitions
from millpond.batch.engine.transitions import IllegalMove, TaskTrigger, move
from millpond.batch.model.job import JobState
from millpond.batch.model.pool import AllocationState, NodeState, PoolState
from millpond.batch.model.schedule import JobScheduleState
from millpond.batch.model.task import TaskState

Table = Mapping[tuple[Any, Any], Any]


def reachable(table: Table, start: Any) -> set[Any]:
    found = {start}
    while True:
        more = {after for (before, _), after in table.items() if before in found} - found
        if not more:
            return found
        found |= more


#: States that this engine does not put anything into yet.
UNUSED_NODE_STATES = {
    NodeState.UPGRADING_OS,
}


@pytest.mark.parametrize(
    ("table", "start", "states"),
    [
        (transitions.POOL, PoolState.ACTIVE, set(PoolState)),
        (transitions.ALLOCATION, AllocationState.STEADY, set(AllocationState)),
        (transitions.NODE, NodeState.CREATING, set(NodeState) - UNUSED_NODE_STATES),
        (transitions.JOB, JobState.ACTIVE, set(JobState)),
        (transitions.JOB_SCHEDULE, JobScheduleState.ACTIVE, set(JobScheduleState)),
        (transitions.TASK, TaskState.ACTIVE, set(TaskState)),
    ],
)
def test_table_reaches_all_states(table: Table, start: Any, states: set[Any]) -> None:
    assert reachable(table, start) == states


@pytest.mark.parametrize(
    ("table", "end"),
    [
        (transitions.POOL, PoolState.DELETING),
        (transitions.NODE, NodeState.LEAVING_POOL),
        (transitions.JOB, JobState.DELETING),
        (transitions.JOB_SCHEDULE, JobScheduleState.DELETING),
    ],
)
def test_nothing_follows_the_last_state(table: Table, end: Any) -> None:
    assert not [trigger for state, trigger in table if state is end]


@pytest.mark.parametrize("state", sorted(set(NodeState) - UNUSED_NODE_STATES - {NodeState.LEAVING_POOL}))
def test_a_node_in_any_state_can_leave_the_pool(state: NodeState) -> None:
    assert transitions.NODE[state, transitions.NodeTrigger.LEAVE] is NodeState.LEAVING_POOL


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.DELETING}))
def test_a_job_in_any_state_can_be_deleted(state: JobState) -> None:
    assert transitions.JOB[state, transitions.JobTrigger.DELETE] is JobState.DELETING


def test_illegal_move_tells_the_story_of_the_record() -> None:
    bench = Bench()
    bench.job()
    task = bench.tasks("t1")[0]
    with pytest.raises(IllegalMove) as caught:
        move(transitions.TASK, task, task.state, TaskTrigger.RETRY)
    assert "Task in state active cannot be retried" in str(caught.value)
    assert "'id': 't1'" in str(caught.value)
