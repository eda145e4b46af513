"""The engine's way in: :func:`step` takes an event, :func:`settle` draws the consequences, :func:`restore` begins.

A caller steps as many events as have come, then settles once, then writes ``state.take_changes()`` and carries out
the effects, in this order. Between the steps of a batch and its settling, the records are right but some moves that
follow from them are still to be made: a job may be ``terminating`` with nothing left to end, slots may be free
beside waiting tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..model.changes import PoolSample
from ..model.job import Job
from ..model.job_node import JobNode
from ..model.pool import Node, Pool
from ..model.schedule import JobSchedule
from ..model.statistics import AccountTotals, PoolUsage
from ..model.task import Task
from . import dependencies, messages, node_requests, preemption, sampling, scaling, scheduler
from . import jobs as job_rules
from . import nodes as node_rules
from . import pools as pool_rules
from . import schedules as schedule_rules
from . import tasks as task_rules
from .messages import Effect, Event
from .state import State

_NONE: Mapping[str, Any] = MappingProxyType({})

_HANDLERS: dict[type[Event], Callable[[State, Any, int], Any]] = {
    messages.PoolAddRequested: pool_rules.on_pool_add_requested,
    messages.PoolPatchRequested: pool_rules.on_pool_patch_requested,
    messages.PoolDeleteRequested: pool_rules.on_pool_delete_requested,
    messages.ResizeRequested: pool_rules.on_resize_requested,
    messages.StopResizeRequested: pool_rules.on_stop_resize_requested,
    messages.NodesRemoveRequested: pool_rules.on_nodes_remove_requested,
    messages.ResizeTimedOut: pool_rules.on_resize_timed_out,
    messages.AutoScaleEnableRequested: scaling.on_auto_scale_enable_requested,
    messages.AutoScaleDisableRequested: scaling.on_auto_scale_disable_requested,
    messages.AutoScaleEvaluateRequested: scaling.on_auto_scale_evaluate_requested,
    messages.AutoScaleDue: scaling.on_auto_scale_due,
    messages.SamplesDue: sampling.on_samples_due,
    messages.NodeMeasured: sampling.on_node_measured,
    messages.NodePreemptRequested: preemption.on_node_preempt_requested,
    messages.PreemptionEnded: preemption.on_preemption_ended,
    messages.NodeRebootRequested: node_requests.on_node_reboot_requested,
    messages.NodeReimageRequested: node_requests.on_node_reimage_requested,
    messages.NodeDeallocateRequested: node_requests.on_node_deallocate_requested,
    messages.NodeStartRequested: node_requests.on_node_start_requested,
    messages.NodeDisableSchedulingRequested: node_requests.on_node_disable_scheduling_requested,
    messages.NodeEnableSchedulingRequested: node_requests.on_node_enable_scheduling_requested,
    messages.AgentConnected: node_rules.on_agent_connected,
    messages.AgentLost: node_rules.on_agent_lost,
    messages.NodePrepared: node_rules.on_node_prepared,
    messages.StartTaskReported: node_rules.on_start_task_reported,
    messages.NodeTroubled: node_rules.on_node_troubled,
    messages.NodeRecovered: node_rules.on_node_recovered,
    messages.NodeNotGranted: node_rules.on_node_not_granted,
    messages.NodeEnded: node_rules.on_node_ended,
    messages.NodeDeallocated: node_rules.on_node_deallocated,
    messages.NodeReleased: node_rules.on_node_released,
    messages.NodeOverdue: node_rules.on_node_overdue,
    messages.RetentionEnded: node_rules.on_retention_ended,
    messages.JobAddRequested: job_rules.on_job_add_requested,
    messages.JobChangeRequested: job_rules.on_job_change_requested,
    messages.JobDeleteRequested: job_rules.on_job_delete_requested,
    messages.JobTerminateRequested: job_rules.on_job_terminate_requested,
    messages.JobDisableRequested: job_rules.on_job_disable_requested,
    messages.JobEnableRequested: job_rules.on_job_enable_requested,
    messages.JobTimedOut: job_rules.on_job_timed_out,
    messages.JobPurged: job_rules.on_job_purged,
    messages.JobScheduleAddRequested: schedule_rules.on_job_schedule_add_requested,
    messages.JobScheduleChangeRequested: schedule_rules.on_job_schedule_change_requested,
    messages.JobScheduleDeleteRequested: schedule_rules.on_job_schedule_delete_requested,
    messages.JobScheduleTerminateRequested: schedule_rules.on_job_schedule_terminate_requested,
    messages.JobScheduleDisableRequested: schedule_rules.on_job_schedule_disable_requested,
    messages.JobScheduleEnableRequested: schedule_rules.on_job_schedule_enable_requested,
    messages.JobScheduleDue: schedule_rules.on_job_schedule_due,
    messages.TasksAddRequested: task_rules.on_tasks_add_requested,
    messages.TaskChangeRequested: task_rules.on_task_change_requested,
    messages.TaskTerminateRequested: task_rules.on_task_terminate_requested,
    messages.TaskDeleteRequested: task_rules.on_task_delete_requested,
    messages.TaskReactivateRequested: task_rules.on_task_reactivate_requested,
    messages.TaskStarted: task_rules.on_task_started,
    messages.TaskCoordinated: task_rules.on_task_coordinated,
    messages.TaskEnded: task_rules.on_task_ended,
    messages.DependentsDue: dependencies.on_dependents_due,
    messages.PlacementsOverdue: scheduler.recall_overdue,
}


def step(state: State, event: Event, now: int) -> tuple[Any, list[Effect]]:
    """Take in what happened at ``now``. Returns the reply (see the event's class) and what is to be done.

    Raises :class:`~millpond.common.errors.ServiceError` where the service refuses what a client asks for; then
    nothing has changed.
    """
    reply = _HANDLERS[type(event)](state, event, now)
    return reply, state.take_effects()


def settle(state: State, now: int) -> list[Effect]:
    """Place tasks, and make all moves that follow from the surroundings, until nothing moves any more."""
    while (
        state.stirred_dependents
        or state.stirred_jobs
        or state.stirred_schedules
        or state.stirred_pools
        or state.stirred_nodes
    ):
        for job in _take(state.stirred_dependents):
            dependencies.settle_dependents(state, job, now)
        for job in _take(state.stirred_jobs):
            job_rules.settle_job(state, job, now)
        for schedule in _take(state.stirred_schedules):
            schedule_rules.settle_schedule(state, schedule, now)
        for pool in _take(state.stirred_pools):
            if pool in state.pool_slots:
                scheduler.schedule(state, state.pool_slots[pool], now)
            sampling.settle_usage(state, pool, now)
            pool_rules.settle_pool(state, pool, now)
            scaling.settle_scaling(state, pool, now)
        for node in _take(state.stirred_nodes):
            node_rules.settle_node(state, node, now)
    return state.take_effects()


def _take(stirred: dict[str, None]) -> list[str]:
    keys = list(stirred)
    stirred.clear()
    return keys


def restore(  # noqa: PLR0917 - it takes a whole service
    state: State,
    pools: Iterable[Pool],
    nodes: Iterable[Node],
    jobs: Iterable[Job],
    schedules: Iterable[JobSchedule],
    placed_tasks: Iterable[Task],
    job_nodes: Iterable[JobNode],
    now: int,
    samples: Iterable[PoolSample] = (),
    usages: Mapping[str, PoolUsage] = _NONE,
    accounts: Mapping[str, AccountTotals] = _NONE,
) -> list[Effect]:
    """Take in what was stored when the service ended, and give again the orders that may have been lost with it.

    Nodes take tasks once their agents have connected. What the agents have to be told, they are told then.
    """
    state.usages.update(usages)
    state.accounts.update(accounts)
    for pool in pools:
        state.load_pool(pool)
        pool_rules.arm_resize_timer(state, pool)
        scaling.order_again(state, pool)
    for sample in samples:
        state.load_sample(sample)
    for node in nodes:
        state.load_node(node)
        node_rules.order_again(state, node, now)
    sampling.watch(state, now)
    for job in jobs:
        state.load_job(job)
        job_rules.order_again(state, job, now)
        dependencies.watch(state, job.key)
    for schedule in schedules:
        state.load_schedule(schedule)
    for record in job_nodes:
        if record.job in state.jobs and record.node in state.nodes:
            state.load_job_node(record)
    for task in sorted(placed_tasks, key=lambda placed: placed.attempt):
        state.load_placed(task)
    for slots in state.pool_slots.values():
        scheduler.watch_restored(state, slots, now)
    return state.take_effects()
