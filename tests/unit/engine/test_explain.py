"""Situations that are hard to bring about on a server, as records, and the reasons that are given for them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from millpond.batch.engine.explain import (
    Explanation,
    JobFacts,
    NodeFacts,
    PoolFacts,
    Prerequisite,
    TaskFacts,
    explain_job,
    explain_node,
    explain_pool,
    explain_schedule,
    explain_task,
)
from millpond.batch.model.job import Counts, DisableTasks, Job, JobState, ManagerTask, PreparationTask, ReleaseTask
from millpond.batch.model.job_node import JobNode, JobTaskRun, JobTaskState
from millpond.batch.model.pool import (
    AllocationState,
    AutoScale,
    AutoScaleRun,
    DeallocationOption,
    Node,
    NodeError,
    NodeState,
    Pool,
    PoolState,
    ResizeError,
    SchedulingState,
    StartTaskInfo,
    StartTaskState,
)
from millpond.batch.model.schedule import JobSchedule, JobScheduleState, Timetable
from millpond.batch.model.task import (
    ErrorCategory,
    Failure,
    Gang,
    Instance,
    SubtaskState,
    Task,
    TaskResult,
    TaskState,
    Withdrawal,
)
from millpond.common.clock import MINUTE, SECOND
from millpond.common.durations import UNLIMITED

NOW = 1_700_000_000 * SECOND
AT = "2023-11-14T22:13:20"

LOST = Failure(ErrorCategory.SERVER_ERROR, "TaskEnded", "It was ended.", (("Reason", "No more time."),))


def pool(**fields: Any) -> Pool:
    times = dict.fromkeys(
        ("state_transition_time", "allocation_state_transition_time", "creation_time", "last_modified"), NOW
    )
    return Pool(
        **{
            **times,
            "key": "a/p",
            "account": "a",
            "id": "P",
            "vm_size": "standard_a1",
            "resize_timeout": 15 * MINUTE,
            "task_slots_per_node": 4,
            "document": {},
            **fields,
        }
    )


def node(number: int = 1, *, used: int = 0, connected: bool = True, **fields: Any) -> NodeFacts:
    record = Node(
        **{
            "key": f"a/p/n{number}",
            "pool": "a/p",
            "id": f"n{number}",
            "number": number,
            "state": NodeState.RUNNING if used else NodeState.IDLE,
            "state_transition_time": NOW,
            "allocation_time": NOW,
            "vm_size": "standard_a1",
            "contact_boot": 1,
            **fields,
        }
    )
    return NodeFacts(node=record, tasks=used, used_slots=used, is_connected=connected)


def on(*nodes: NodeFacts, **fields: Any) -> PoolFacts:
    return PoolFacts(pool_id="P", pool=pool(**{"target_dedicated_nodes": len(nodes), **fields}), nodes=nodes)


def job(**fields: Any) -> Job:
    return Job(
        **{
            "key": "a/j",
            "account": "a",
            "id": "J",
            "state_transition_time": NOW,
            "creation_time": NOW,
            "last_modified": NOW,
            "pool": "a/p",
            "pool_id": "P",
            "max_wall_clock_time": UNLIMITED,
            "start_time": NOW,
            "task_counts": Counts(active=1),
            "document": {},
            **fields,
        }
    )


def task(key: str = "t", **fields: Any) -> Task:
    return Task(
        **{
            "job": "a/j",
            "key": key,
            "id": key,
            "seq": 0,
            "state_transition_time": NOW,
            "creation_time": NOW,
            "last_modified": NOW,
            "max_wall_clock_time": UNLIMITED,
            "retention_time": 0,
            **fields,
        }
    )


def waiting(where: PoolFacts, of: Job | None = None, **fields: Any) -> TaskFacts:
    names = ("prerequisites", "before_in_job", "jobs_before")
    facts = {name: fields.pop(name) for name in names if name in fields}
    records = fields.pop("records", ())
    return TaskFacts(task=task(**fields), job=JobFacts(job=of or job(), pool=where, records=records), **facts)


def record(number: int = 1, **fields: Any) -> JobNode:
    run = JobTaskRun(
        state=JobTaskState.COMPLETED, attempt=0, start_time=NOW, exit_code=4, result=TaskResult.FAILURE, failure=None
    )
    return JobNode(
        **{
            "job": "a/j",
            "node": f"a/p/n{number}",
            "pool_id": "P",
            "node_id": f"n{number}",
            "preparation": run,
            **fields,
        }
    )


def instance(number: int, **fields: Any) -> Instance:
    return Instance(
        node=f"a/p/n{number}", node_id=f"n{number}", ip_address="10.0.0.4", state_transition_time=NOW, **fields
    )


def given(explanation: Explanation) -> list[str]:
    return [f"{reason.code}{'!' if reason.needs_help else ''}: {reason.message}" for reason in explanation.reasons]


def require(explanation: Explanation, *expected: str) -> None:
    """Each reason that is expected is given, in this order, and no other."""
    told = given(explanation)
    assert len(told) == len(expected), told
    for said, pattern in zip(told, expected, strict=True):
        assert re.search(pattern, said), said


PREPARED = PreparationTask(id="jobpreparation", max_wall_clock_time=UNLIMITED, retention_time=0)
RELEASED = ReleaseTask(id="jobrelease", max_wall_clock_time=UNLIMITED, retention_time=0)
MANAGER = ManagerTask(
    id="t", document=b"", max_wall_clock_time=UNLIMITED, retention_time=0, allow_low_priority_node=False
)
GANGS: dict[str, Any] = {"enable_inter_node_communication": True, "task_slots_per_node": 1}
DRAINED: dict[str, Any] = {"drain_option": DeallocationOption.TASK_COMPLETION, "drain_then": NodeState.LEAVING_POOL}

NODES: list[tuple[NodeFacts, list[str]]] = [
    (node(used=3), ["RunningTasks: It runs 3 tasks, which take 3 of its 4 slots"]),
    (node(connected=False), ["AgentNotConnected: "]),
    (node(state=NodeState.CREATING, contact_boot=0), ["Booting: The machine was asked for and has not come up"]),
    (
        node(state=NodeState.REBOOTING, contact_boot=0, failed_boots=2),
        ["Booting: It boots, .* failed to boot 2 times in a row"],
    ),
    (node(state=NodeState.REIMAGING, contact_boot=0), ["Booting: It boots anew on an empty disk"]),
    (node(state=NodeState.STARTING), ["GettingReady: .* its application packages \\(tool 1.0\\)"]),
    (
        node(used=2, **DRAINED),
        ["Draining: .* leave the pool once its 2 tasks have ended"],
    ),
    (
        node(used=1, drain_option=DeallocationOption.REQUEUE, drain_then=NodeState.REBOOTING),
        ["Draining: .* boot anew once its 1 task has been stopped"],
    ),
    (
        node(**{**DRAINED, "drain_option": DeallocationOption.RETAINED_DATA}, retained_until=NOW),
        [f"KeepsFiles: .* no longer kept, at {AT}"],
    ),
    (
        node(used=1, scheduling_state=SchedulingState.DISABLED),
        ["SchedulingDisabled!: .* takes no new tasks. 1 task still there"],
    ),
    (
        node(state=NodeState.UNKNOWN),
        [f"NodeNotHeardOf: Nothing was heard of it since {AT}.* until 2023-11-14T22:18:20"],
    ),
    (node(state=NodeState.PREEMPTED, preempted_until=NOW), [f"Preempted: .* again at {AT}"]),
    (node(state=NodeState.PREEMPTED), ["Preempted: .* A machine was asked for"]),
    (node(state=NodeState.LEAVING_POOL), ["Leaving: "]),
    (node(state=NodeState.DEALLOCATING), ["Deallocating: "]),
    (node(state=NodeState.DEALLOCATED), ["Deallocated!: .* until it is started"]),
    (
        node(state=NodeState.UNUSABLE, errors=(NodeError("DiskFull", "No room.", (("Free", "0 MB"),)),)),
        ["NodeUnusable!: It cannot work: DiskFull: No room. \\(Free: 0 MB\\) It recovers by itself"],
    ),
    (node(state=NodeState.UNUSABLE), ["NodeUnusable!: .* no reason is known. Reboot or reimage it"]),
    (
        node(
            start_task_info=StartTaskInfo(
                state=StartTaskState.COMPLETED, start_time=NOW, exit_code=1, result=TaskResult.FAILURE
            )
        ),
        ["WaitingForTasks: .* its 4 slots are free", "StartTaskFailed: Its start task has failed: exit code 1.$"],
    ),
    (
        node(
            state=NodeState.WAITING_FOR_START_TASK,
            start_task_wait_for_success=True,
            start_task_info=StartTaskInfo(state=StartTaskState.RUNNING, start_time=NOW, exit_code=2, retry_count=1),
        ),
        [f"StartTaskRunning: Its start task runs since {AT}Z, tried again 1 time \\(exit code 2\\)"],
    ),
]


@pytest.mark.parametrize(("facts", "expected"), NODES, ids=lambda value: str(getattr(value, "node", value))[:30])
def test_node(facts: NodeFacts, expected: list[str]) -> None:
    packages = {"applicationPackageReferences": [{"applicationId": "tool", "version": "1.0"}]}
    require(explain_node(pool(document=packages), facts), *expected)


@pytest.mark.parametrize("state", NodeState)
def test_every_state_of_nodes_is_explained(state: NodeState) -> None:
    assert explain_node(pool(), node(state=state)).reasons


RESIZING = {"allocation_state": AllocationState.RESIZING, "resize_started": NOW}
POOLS: list[tuple[PoolFacts, list[str]]] = [
    (on(state=PoolState.DELETING), ["PoolBeingDeleted: "]),
    (
        on(node(state=NodeState.CREATING, contact_boot=0), node(2, used=1, **DRAINED), **RESIZING),
        [
            "PoolResizing: .* 2 dedicated and 0 low-priority nodes. It waits for 1 machine to come up and 1 node to "
            f"leave, which still have 1 task. The resize is given up at {AT.replace('22:13', '22:28')}",
            "Booting: Node n1 is creating",
            "Draining: Node n2 is running",
        ],
    ),
    (
        on(target_dedicated_nodes=2, resize_errors=(ResizeError("AccountCoreQuotaReached", "No more cores"),)),
        ["ResizeFailed!: .* AccountCoreQuotaReached: No more cores."],
    ),
    (on(target_dedicated_nodes=2), ["TooFewNodes!: It has 0 of the 2 nodes"]),
    (
        on(auto_scale=AutoScale(formula="", evaluation_interval=MINUTE, next_evaluation=NOW)),
        ["AutoScaleDue: "],
    ),
    (
        on(
            auto_scale=AutoScale(
                formula="", evaluation_interval=MINUTE, next_evaluation=NOW, run=AutoScaleRun(NOW, "$x=0;")
            )
        ),
        ["AutoScaleWantsNoNodes: .* says so: \\$x=0; The formula is evaluated again at"],
    ),
    (
        on(*(node(n, state=NodeState.UNUSABLE) for n in range(3)), node(4), node(5, used=2)),
        [
            "NodeUnusable!: 3 nodes are unusable; for example n0: ",
            "NodesAtWork: 2 nodes take tasks: 1 of them runs 2 tasks, and 6 of 8 slots are free",
        ],
    ),
]


@pytest.mark.parametrize(("facts", "expected"), POOLS, ids=lambda value: str(value)[-40:])
def test_pool(facts: PoolFacts, expected: list[str]) -> None:
    assert facts.pool is not None
    require(explain_pool(facts.pool, facts), *expected)


TASKS: list[tuple[TaskFacts, list[str]]] = [
    (
        waiting(on(node(used=3), node(2, used=4)), required_slots=2, before_in_job=5),
        [r"NoFreeSlots: .* 2 slots .* 2 nodes .* than 1 free \(1 of 8 in all\). Before it: 5 tasks of its own job"],
    ),
    (
        waiting(on(node(used=4)), jobs_before=(job(id="K", priority=9, task_counts=Counts(active=3), held_back=1),)),
        [r"NoFreeSlots: .* Before it: 2 tasks of job K \(priority 9\)"],
    ),
    (waiting(on(node(used=3))), ["AboutToBePlaced: There is room for it"]),
    (
        waiting(on(node(used=4), node(2, state=NodeState.UNKNOWN))),
        ["NoFreeSlots: ", "NodeNotHeardOf: Node n2 is unknown"],
    ),
    (
        waiting(on(*(node(n, state=NodeState.DEALLOCATED) for n in range(2)))),
        ["NoNodeTakesTasks!: .* 2 deallocated", "Deallocated!: 2 nodes are deallocated; for example n0"],
    ),
    (
        waiting(on(target_dedicated_nodes=1, resize_errors=(ResizeError("AllocationTimedout", "Too late"),))),
        ["PoolHasNoNodes!: ", "ResizeFailed!: .* AllocationTimedout: Too late."],
    ),
    (waiting(on(state=PoolState.DELETING)), ["PoolBeingDeleted!: "]),
    (
        waiting(
            on(node()), job(state=JobState.DISABLING, disable_tasks=DisableTasks.WAIT, task_counts=Counts(running=2))
        ),
        ["JobBeingDisabled: .* until its 2 running tasks end by themselves"],
    ),
    (
        waiting(on(node()), job(state=JobState.COMPLETED, terminate_reason="JMComplete")),
        [r"JobCompleted: Job J has ended \(JMComplete\): its tasks that have not run never will"],
    ),
    (
        waiting(on(node()), job(scheduling_error=LOST, state=JobState.COMPLETED)),
        ["JobCouldNotBegin!: .* without having begun: TaskEnded: It was ended. \\(Reason: No more time.\\)"],
    ),
    (
        waiting(on(node(is_dedicated=False)), job(manager=MANAGER)),
        ["NeedsDedicatedNode: "],
    ),
    (
        waiting(on(node(used=1)), job(manager=replace(MANAGER, allow_low_priority_node=True))),
        ["NoFreeSlots: .* needs 4 slots on one node"],
    ),
    (
        waiting(on(node()), job(preparation=PREPARED), records=(record(is_barred=True),)),
        [r"JobPreparationFailed!: .* \(1 node\).* On n1: exit code 4."],
    ),
    (
        waiting(on(node()), gang=Gang(2)),
        ["PoolTakesNoMultiInstanceTasks!: It is a multi-instance task, and pool P takes none"],
    ),
    (
        waiting(on(node(), node(2, state=NodeState.UNKNOWN), **GANGS), gang=Gang(3)),
        ["NeedsMoreNodes!: It needs 3 nodes at once, and 1 takes tasks. Pool P has 2 nodes in all", "NodeNotHeardOf"],
    ),
    (
        waiting(on(node(), node(2, used=1), **GANGS), gang=Gang(2)),
        ["WaitsForNodes: It needs 2 nodes at once, and 1 of the 2 that take tasks are free"],
    ),
    (
        waiting(on(node(), **GANGS), before_in_job=1),
        ["AboutToBePlaced: .*, or free nodes are kept for a multi-instance task before it"],
    ),
    (
        waiting(
            on(node(used=1), node(2, used=1), **GANGS),
            node="a/p/n1",
            node_id="n1",
            state=TaskState.RUNNING,
            start_time=NOW,
            gang=Gang(2, (instance(1, is_coordinated=True), instance(2))),
        ),
        ["Running: ", "Coordinating: It has its 2 nodes, and its coordination command still runs on n2"],
    ),
    (
        waiting(
            on(node(used=1), node(2, used=1), **GANGS),
            node="a/p/n1",
            node_id="n1",
            state=TaskState.RUNNING,
            start_time=NOW,
            gang=Gang(2, (instance(1), instance(2, state=SubtaskState.COMPLETED, exit_code=9))),
        ),
        ["Running: ", r"CoordinationFailed: .* on node n2 \(exit code 9\)"],
    ),
    (
        waiting(on(node(used=4)), node="a/p/n1", node_id="n1"),
        ["NextOnItsNode: It is on node n1 already"],
    ),
    (
        waiting(on(node(used=4)), node="a/p/n1", node_id="n1", withdrawal=Withdrawal.EARLIER),
        ["EarlierRunEnding: "],
    ),
    (
        waiting(
            on(node(used=4, state=NodeState.UNKNOWN)),
            node="a/p/n1",
            node_id="n1",
            state=TaskState.RUNNING,
            start_time=NOW,
            retry_count=2,
        ),
        [f"Running: It runs on node n1 since {AT}Z. It was tried again 2 times", "NodeNotHeardOf: Its node is unknown"],
    ),
    (
        waiting(on(node(used=4)), node="a/p/n1", node_id="n1", state=TaskState.RUNNING, withdrawal=Withdrawal.REQUEUE),
        ["BeingWithdrawn: "],
    ),
    (
        waiting(on(), state=TaskState.COMPLETED, result=TaskResult.FAILURE, failure=LOST, retry_count=1),
        ["TaskFailed!: It has failed after 2 tries: TaskEnded: It was ended"],
    ),
    (waiting(on(), state=TaskState.COMPLETED, result=TaskResult.SUCCESS), ["TaskSucceeded: "]),
    (
        waiting(
            on(node()),
            job(satisfied=(("5", 9),)),
            pending_dependencies=12,
            prerequisites=(
                Prerequisite(name="5", tasks=(task("5", state=TaskState.COMPLETED, satisfies_dependents=True),)),
                Prerequisite(name="7-9", tasks=(task("7"), task("8")), is_range=True),
            ),
        ),
        [
            "DependencyJustDone: It depends on task 5",
            r"DependencyNotDone: It depends on tasks 7-9, not done yet: 7 \(active\), 8 \(active\)",
            "DependsOnMore: It depends on 10 others",
        ],
    ),
]


@pytest.mark.parametrize(("facts", "expected"), TASKS, ids=lambda value: str(value)[:20])
def test_task(facts: TaskFacts, expected: list[str]) -> None:
    require(explain_task(facts), *expected)


GOING = {"state": JobState.TERMINATING, "terminate_reason": "UserTerminate", "task_counts": Counts(running=1)}
JOBS: list[tuple[JobFacts, list[str]]] = [
    (
        JobFacts(
            job=job(preparation=PREPARED, release=RELEASED, **GOING),
            pool=on(),
            records=(record(needs_release=True),),
        ),
        [
            "JobBeingTerminated: ",
            "TasksEnding: It waits until its 1 running task",
            "JobReleasePending: .* still to run on 1 node, for example n1. .* until 2023-11-14T22:43:20",
        ],
    ),
    (
        JobFacts(
            job=job(preparation=PREPARED, release=RELEASED, **{**GOING, "task_counts": Counts()}),
            pool=on(),
            records=(record(needs_release=True, release=JobTaskRun(attempt=3, start_time=NOW)),),
        ),
        ["JobBeingTerminated: ", f"JobReleaseRunning: .* runs on 1 node, for example n1 since {AT}"],
    ),
    (JobFacts(job=job(state=JobState.DELETING, is_purging=True), pool=on()), ["JobBeingDeleted", "BeingRemoved"]),
    (JobFacts(job=job(state=JobState.ENABLING), pool=on()), ["JobBeingEnabled"]),
    (JobFacts(job=job(task_counts=Counts()), pool=on(node())), ["JobWithoutTasks: It has no tasks."]),
    (
        JobFacts(job=job(task_counts=Counts(succeeded=2, failed=1), max_wall_clock_time=MINUTE), pool=on(node())),
        ["AllTasksDone: All of its 3 tasks have ended \\(1 failed\\)", "JobDeadline: .* 2023-11-14T22:14:20"],
    ),
    (
        JobFacts(job=job(max_parallel_tasks=2, task_counts=Counts(active=3, running=2)), pool=on(node())),
        ["TasksToRun: 2 of its tasks run, 3 wait", "MaxParallelTasksReached"],
    ),
]


@pytest.mark.parametrize(("facts", "expected"), JOBS, ids=lambda value: str(value)[:20])
def test_job(facts: JobFacts, expected: list[str]) -> None:
    require(explain_job(facts), *expected)


@pytest.mark.parametrize("state", JobState)
def test_every_state_of_jobs_is_explained(state: JobState) -> None:
    facts = JobFacts(job=job(state=state), pool=on(node(used=4)))
    assert explain_job(facts).reasons
    assert explain_task(TaskFacts(task=task(), job=facts)).reasons


def schedule(**fields: Any) -> JobSchedule:
    return JobSchedule(
        **{
            "key": "a/s",
            "account": "a",
            "id": "S",
            "state_transition_time": NOW,
            "creation_time": NOW,
            "last_modified": NOW,
            "timetable": Timetable(recurrence_interval=MINUTE),
            "anchor": NOW,
            "template": job(),
            "document": {},
            **fields,
        }
    )


SCHEDULES: list[tuple[JobSchedule, Job | None, list[str]]] = [
    (schedule(last_due=NOW), job(), ["WaitsForItsJob: Its job J is active", "NextRun: .* due at 2023-11-14T22:14:20"]),
    (schedule(), None, [f"NextRun: Its next job is due at {AT}Z. That is over, so it comes at once"]),
    (schedule(timetable=Timetable(), last_due=NOW), None, ["NoNextRun: "]),
    (schedule(state=JobScheduleState.DISABLED), None, ["ScheduleDisabled!: "]),
    (schedule(state=JobScheduleState.TERMINATING), job(), ["WaitsForItsJob: ", "ScheduleEnding: "]),
    (schedule(state=JobScheduleState.COMPLETED), None, ["ScheduleCompleted: "]),
]


@pytest.mark.parametrize(("of", "live", "expected"), SCHEDULES, ids=lambda value: str(value)[:20])
def test_schedule(of: JobSchedule, live: Job | None, expected: list[str]) -> None:
    require(explain_schedule(of, live, NOW), *expected)
