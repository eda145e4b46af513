from __future__ import annotations

import pytest
from tests.simulation.client import make_pool
from tests.unit.engine.bench import Bench, start_task_ended

from millpond.batch.engine.messages import (
    AgentConnected,
    AgentLost,
    AttemptRef,
    NodeEnded,
    NodeNotGranted,
    NodeOverdue,
    NodePrepared,
    NodeRebootRequested,
    NodeTroubled,
    PoolAddRequested,
    PoolPatchRequested,
    RaiseAt,
    RequestNode,
    StartTaskReported,
    StopTask,
    SyncNode,
    TaskDeleteRequested,
    TaskTerminateRequested,
)
from millpond.batch.engine.nodes import MOST_FAILED_BOOTS, UNKNOWN_LIMIT
from millpond.batch.model.pool import DeallocationOption, NodeError, NodeState, StartTaskInfo, StartTaskState
from millpond.batch.model.task import TaskResult, TaskState
from millpond.common.clock import HOUR, SECOND


def reboot(node: str, option: DeallocationOption = DeallocationOption.REQUEUE) -> NodeRebootRequested:
    return NodeRebootRequested(pool="pool", node=node, option=option)


def one_running(bench: Bench, *, slots: int = 1) -> str:
    """A node that runs task ``t``."""
    (node,) = bench.pool(nodes=1, slots=slots)
    bench.job()
    bench.tasks("t")
    assert bench.running() == ["t"]
    return node


# --- starting


def test_node_without_start_task_is_idle_as_soon_as_its_agent_connects() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 1, 1)))
    (node,) = bench.archive.nodes.values()
    assert (node.state, node.last_boot_time) == (NodeState.CREATING, None)
    event = AgentConnected(node=node.key, boot=1, ip_address="127.64.0.1", agent_version="1.2", start_task=None)
    reply = bench.do(event)
    assert reply.state is NodeState.IDLE
    assert (reply.last_boot_time, reply.ip_address, reply.agent_version) == (bench.now, "127.64.0.1", "1.2")
    assert bench.all(SyncNode) == [SyncNode(node=node.key, start=[])]
    assert reply.start_task_info is None


@pytest.mark.parametrize(
    ("result", "state"),
    [(TaskResult.SUCCESS, NodeState.IDLE), (TaskResult.FAILURE, NodeState.START_TASK_FAILED)],
)
def test_node_waits_for_its_start_task(result: TaskResult, state: NodeState) -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.job()
    bench.tasks("t")
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK
    info = bench.node(node).start_task_info
    assert info is not None
    assert info.state is StartTaskState.RUNNING
    assert bench.running() == []
    bench.do(StartTaskReported(node=node, boot=1, info=start_task_ended(result)))
    assert bench.running() == (["t"] if state is NodeState.IDLE else [])
    assert bench.node(node).state is (NodeState.RUNNING if state is NodeState.IDLE else state)
    assert bench.node(node).start_task_info == start_task_ended(result)


def test_start_task_that_nobody_waits_for_does_not_matter() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=False)
    assert bench.node(node).state is NodeState.IDLE
    bench.do(StartTaskReported(node=node, boot=1, info=start_task_ended(TaskResult.FAILURE)))
    assert bench.node(node).state is NodeState.IDLE


def test_start_task_of_an_earlier_boot_is_stale_news() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.do(NodeEnded(node=node, boot=1, message=""))
    bench.connect(node)
    bench.do(StartTaskReported(node=node, boot=1, info=start_task_ended(TaskResult.SUCCESS)))
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK


def test_start_task_added_later_waits_for_the_next_boot() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(PoolPatchRequested(pool="pool", document={}, start_task_wait_for_success=True))
    bench.do(AgentLost(node=node, boot=1))
    bench.connect(node)
    assert bench.node(node).state is NodeState.IDLE
    bench.do(reboot(node))
    bench.connect(node)
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK


def test_node_takes_no_task_before_it_is_prepared() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(reboot(node))
    bench.job()
    bench.tasks("t")
    bench.connect(node, is_prepared=False)
    assert (bench.node(node).state, bench.running()) == (NodeState.STARTING, [])
    bench.do(NodePrepared(node=node, boot=1))  # stale
    bench.do(AgentLost(node=node, boot=2))
    bench.connect(node, is_prepared=False)
    assert (bench.node(node).state, bench.running()) == (NodeState.STARTING, [])
    bench.do(NodePrepared(node=node, boot=2))
    assert (bench.node(node).state, bench.running()) == (NodeState.RUNNING, ["t"])
    bench.do(NodePrepared(node=node, boot=2))
    assert bench.node(node).state is NodeState.RUNNING


def test_start_task_comes_between_preparation_and_tasks() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.do(reboot(node))
    bench.connect(node, is_prepared=False)
    assert bench.node(node).state is NodeState.STARTING
    assert bench.node(node).start_task_info is None
    running = StartTaskInfo(state=StartTaskState.RUNNING, start_time=bench.now)
    bench.do(StartTaskReported(node=node, boot=2, info=running), NodePrepared(node=node, boot=2))
    assert bench.node(node).state is NodeState.WAITING_FOR_START_TASK


# --- running


def test_node_is_running_while_it_has_tasks() -> None:
    bench = Bench()
    node = one_running(bench, slots=2)
    bench.tasks("u")
    assert bench.node(node).state is NodeState.RUNNING
    bench.end("t")
    assert bench.node(node).state is NodeState.RUNNING
    bench.end("u")
    assert bench.node(node).state is NodeState.IDLE


def test_node_counts_its_tasks() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.end("t", code=1)
    bench.tasks("u")
    bench.end("u")
    record = bench.node(node)
    assert (record.total_tasks_run, record.total_tasks_succeeded) == (2, 1)
    assert [recent.task for recent in record.recent_tasks] == ["u", "t"]


def test_node_remembers_ten_recent_tasks_each_once() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job(max_task_retry_count=1)
    bench.tasks(*[f"t{n:02}" for n in range(12)])
    for n in range(12):
        bench.end(f"t{n:02}", code=1)
        bench.end(f"t{n:02}")
    assert [recent.task for recent in bench.node(node).recent_tasks] == [f"t{n:02}" for n in range(11, 1, -1)]


# --- contact


@pytest.mark.parametrize("boot", [0, 2])
def test_agent_of_another_boot_is_refused(boot: int) -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    event = AgentConnected(node=node, boot=boot, ip_address="", agent_version="", start_task=None)
    assert bench.refused(event) == "NodeNotReady"


def test_agent_of_a_node_that_is_not_there_is_refused() -> None:
    event = AgentConnected(node="none", boot=1, ip_address="", agent_version="", start_task=None)
    assert Bench().refused(event) == "NodeNotFound"


def test_lost_node_keeps_its_tasks_and_takes_no_new_ones() -> None:
    bench = Bench()
    node = one_running(bench, slots=2)
    bench.do(AgentLost(node=node, boot=1))
    bench.tasks("u")
    assert bench.node(node).state is NodeState.UNKNOWN
    assert bench.running() == ["t"]
    bench.connect(node, holding=[bench.attempt("t")])
    assert bench.node(node).state is NodeState.RUNNING
    assert bench.running() == ["t", "u"]
    (sync,) = bench.all(SyncNode)
    assert [start.attempt for start in sync.start] == [bench.attempt("t")]


def test_attempt_that_a_returning_agent_does_not_hold_is_sent_again() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.connect(node, holding=[])
    (sync,) = bench.all(SyncNode)
    assert [start.attempt for start in sync.start] == [bench.attempt("t")]
    assert bench.running() == ["t"]


def test_attempt_that_a_returning_agent_should_not_hold_is_stopped() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    stray = AttemptRef("job", "gone", 3)
    bench.connect(node, holding=[stray])
    assert bench.all(SyncNode) == [SyncNode(node=node, start=[])]
    assert bench.all(StopTask) == [StopTask(node=node, attempt=stray)]


def test_waiting_task_does_not_start_while_a_returning_agent_holds_an_earlier_run_of_it() -> None:
    bench = Bench()
    node = one_running(bench)
    late = bench.end_event("t")
    bench.do(TaskDeleteRequested(job="job", task="t"))
    bench.restart()  # what the node was told to end is forgotten
    bench.tasks("t")
    bench.connect(node, holding=[late.attempt])
    assert bench.all(StopTask) == [StopTask(node=node, attempt=late.attempt)]
    assert bench.running() == []
    bench.do(late)
    assert bench.running() == ["t"]


def test_node_unknown_for_too_long_loses_its_tasks_without_counting_it() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(AgentLost(node=node, boot=1))
    (timer,) = bench.all(RaiseAt)
    assert timer == RaiseAt(moment=bench.now + UNKNOWN_LIMIT, event=NodeOverdue(node=node, boot=1))
    bench.do(timer.event, after=UNKNOWN_LIMIT)
    task = bench.task("t")
    assert task.is_waiting
    assert (task.retry_count, task.requeue_count) == (0, 0)
    record = bench.node(node)
    assert (record.state, record.boot) == (NodeState.REBOOTING, 2)
    assert [effect.node.boot for effect in bench.all(RequestNode)] == [2]


def test_node_that_came_back_in_time_is_not_given_up() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(AgentLost(node=node, boot=1))
    bench.connect(node, holding=[bench.attempt("t")])
    bench.do(AgentLost(node=node, boot=1), after=UNKNOWN_LIMIT - 2 * SECOND)
    bench.do(NodeOverdue(node=node, boot=1), after=2 * SECOND)  # the timer of the first absence
    assert bench.running() == ["t"]


# --- ends


def test_dead_node_loses_its_tasks_and_boots_again() -> None:
    bench = Bench()
    node = one_running(bench)
    attempt = bench.task("t").attempt
    bench.do(NodeEnded(node=node, boot=1, message="killed"))
    task = bench.task("t")
    assert task.is_waiting
    assert (task.retry_count, task.requeue_count) == (0, 0)
    record = bench.node(node)
    assert (record.state, record.boot, record.start_task_info) == (NodeState.REBOOTING, 2, None)
    bench.connect(node)
    assert bench.running() == ["t"]
    assert bench.task("t").attempt > attempt
    assert bench.node(node).last_boot_time == bench.now


def test_end_of_an_earlier_boot_is_stale_news() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(NodeEnded(node=node, boot=1, message=""))
    bench.connect(node)
    bench.do(NodeEnded(node=node, boot=1, message=""), AgentLost(node=node, boot=1))
    assert bench.running() == ["t"]


def test_node_that_keeps_ending_soon_becomes_unusable() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    for boot in range(1, MOST_FAILED_BOOTS + 1):
        assert bench.node(node).boot == boot
        bench.do(NodeEnded(node=node, boot=boot, message="exec format error"))
        assert bool(bench.all(RequestNode)) == (boot < MOST_FAILED_BOOTS)
        if boot < MOST_FAILED_BOOTS:
            bench.connect(node)
    record = bench.node(node)
    assert record.state is NodeState.UNUSABLE
    assert record.errors[0].code == "NodeStartFailed"
    assert "exec format error" in record.errors[0].message


def test_node_that_never_comes_up_becomes_unusable_and_ends_the_resize() -> None:
    bench = Bench()
    bench.do(PoolAddRequested(pool=make_pool("pool", 1, 1)))
    (node,) = bench.archive.nodes
    for boot in range(1, MOST_FAILED_BOOTS + 1):
        bench.do(NodeEnded(node=node, boot=boot, message=""))
    assert bench.node(node).state is NodeState.UNUSABLE
    assert bench.pool_record().allocation_state == "steady"


def test_ends_far_apart_are_no_reason_to_give_up() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    for boot in range(1, 3 * MOST_FAILED_BOOTS):
        bench.do(NodeEnded(node=node, boot=boot, message=""), after=HOUR)
        bench.connect(node)
    assert bench.node(node).state is NodeState.IDLE


def test_task_that_came_to_its_end_proves_the_node_usable() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.job()
    for boot in range(1, 3 * MOST_FAILED_BOOTS):
        bench.tasks(f"t{boot}")
        bench.end(f"t{boot}")
        bench.do(NodeEnded(node=node, boot=boot, message=""))
        bench.connect(node)
    assert bench.node(node).state is NodeState.IDLE


def test_reboot_helps_an_unusable_node() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(NodeTroubled(node=node, boot=1, error=NodeError("DiskFull", "The disk is full.")))
    assert bench.node(node).state is NodeState.UNUSABLE
    bench.do(reboot(node))
    bench.connect(node)
    assert (bench.node(node).state, bench.node(node).errors) == (NodeState.IDLE, ())


def test_troubled_node_returns_its_tasks_uncounted_and_keeps_the_reason() -> None:
    bench = Bench()
    node = one_running(bench)
    problem = NodeError("DiskFull", "The disk is full.")
    bench.do(NodeTroubled(node=node, boot=1, error=problem))
    assert bench.node(node).errors == (problem,)
    assert bench.running() == ["t"]  # until the node has ended it
    bench.end("t", code=-9)
    task = bench.task("t")
    assert task.is_waiting
    assert (task.retry_count, task.requeue_count) == (0, 0)


def test_node_that_cannot_be_booted_again_is_unusable() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1)
    bench.do(reboot(node))
    bench.do(NodeNotGranted(node=node, boot=2, code="AllocationFailed", message="No room."))
    assert bench.node(node).state is NodeState.UNUSABLE
    assert bench.node(node).errors == (NodeError("AllocationFailed", "No room."),)


# --- reboots


def test_reboot_with_requeue_waits_only_for_the_tasks_to_be_stopped() -> None:
    bench = Bench()
    node = one_running(bench)
    reply = bench.do(reboot(node))
    assert reply.state is NodeState.REBOOTING
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["t"]
    assert bench.all(RequestNode) == []
    bench.end("t", code=-9)
    assert bench.task("t").requeue_count == 1
    assert [effect.node.boot for effect in bench.all(RequestNode)] == [2]
    bench.connect(node)
    assert bench.running() == ["t"]
    assert bench.node(node).state is NodeState.RUNNING


def test_reboot_does_not_wait_for_a_node_out_of_contact() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(AgentLost(node=node, boot=1))
    bench.do(reboot(node))
    assert [effect.node.boot for effect in bench.all(RequestNode)] == [2]
    assert bench.task("t").requeue_count == 1


def test_reboot_with_terminate_ends_the_tasks() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(reboot(node, DeallocationOption.TERMINATE))
    assert bench.task("t").state is TaskState.COMPLETED
    assert [effect.node.boot for effect in bench.all(RequestNode)] == [2]


def test_reboot_with_taskcompletion_waits_for_the_tasks() -> None:
    bench = Bench()
    node = one_running(bench, slots=2)
    bench.do(reboot(node, DeallocationOption.TASK_COMPLETION))
    bench.tasks("u")
    assert bench.running() == ["t"]
    assert bench.refused(reboot(node)) == "NodeBeingRebooted"
    bench.end("t")
    assert bench.node(node).state is NodeState.REBOOTING
    bench.connect(node)
    assert bench.running() == ["u"]


def test_agent_may_reconnect_while_its_node_is_emptied_for_a_reboot() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(reboot(node))
    bench.connect(node, holding=[bench.attempt("t")])
    assert bench.node(node).state is NodeState.REBOOTING
    assert [stop.attempt.task for stop in bench.all(StopTask)] == ["t"]
    assert bench.running() == ["t"]
    bench.connect(node, holding=[])
    assert bench.task("t").is_waiting
    assert bench.node(node).boot == 2


def test_reboot_is_refused_in_the_wrong_state() -> None:
    bench = Bench()
    assert bench.refused(reboot("none")) == "PoolNotFound"
    bench.do(PoolAddRequested(pool=make_pool("pool", 1, 1)))
    assert bench.refused(reboot("none")) == "NodeNotFound"
    (node,) = bench.archive.nodes
    assert bench.refused(reboot(node)) == "NodeBeingCreated"
    bench.connect(node)
    bench.do(reboot(node))
    assert bench.refused(reboot(node)) == "NodeBeingRebooted"


def test_failed_start_task_is_helped_by_a_reboot() -> None:
    bench = Bench()
    (node,) = bench.pool(nodes=1, start_task_wait_for_success=True)
    bench.do(StartTaskReported(node=node, boot=1, info=start_task_ended(TaskResult.FAILURE)))
    bench.do(reboot(node))
    assert bench.node(node).start_task_info is None
    bench.connect(node)
    bench.do(StartTaskReported(node=node, boot=2, info=start_task_ended(TaskResult.SUCCESS)))
    assert bench.node(node).state is NodeState.IDLE


def test_attempt_ended_for_good_on_a_node_that_boots_again_is_forgotten() -> None:
    bench = Bench()
    node = one_running(bench)
    bench.do(TaskTerminateRequested(job="job", task="t"))
    assert bench.state.dying
    bench.do(NodeEnded(node=node, boot=1, message=""))
    assert not bench.state.dying
