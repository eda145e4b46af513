"""The service, its nodes and its provider in one thread and in virtual time, with faults.

Real are the engine and the agent's decisions (:class:`millpond.node.machine.Machine`). Simulated are what lies between
and around them: the single writer with its transactions, channels that break, machines that die, a provider that
refuses, processes that end. Everything random comes from one seed, so a story can be told again.
"""

from __future__ import annotations

import heapq
import itertools
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec.structs import replace
from tests.simulation.archive import DictArchive
from tests.simulation.priorities import first_waiting, overtaken

from millpond.batch.engine import machine
from millpond.batch.engine.exit_conditions import satisfies
from millpond.batch.engine.invariants import check
from millpond.batch.engine.job_nodes import RELEASE_LIMIT
from millpond.batch.engine.messages import (
    AgentConnected,
    AgentLost,
    AttemptRef,
    DeallocateNode,
    Effect,
    Event,
    ForgetTask,
    JobPurged,
    NodeDeallocated,
    NodeEnded,
    NodeNotGranted,
    NodePrepared,
    NodeRecovered,
    NodeReleased,
    NodeTroubled,
    PurgeJob,
    RaiseAt,
    ReleaseNode,
    RequestNode,
    RunPrimary,
    StartTask,
    StartTaskReported,
    StopTask,
    SyncNode,
    TaskCoordinated,
    TaskEnded,
    TaskStarted,
)
from millpond.batch.engine.placement import ENDED_BY_USER, has_place
from millpond.batch.engine.state import State
from millpond.batch.model import statistics
from millpond.batch.model.job import JobState
from millpond.batch.model.job_node import JobTaskState
from millpond.batch.model.pool import Node, NodeError, NodeState, StartTaskInfo, StartTaskState
from millpond.batch.model.task import ErrorCategory, Failure, Task, TaskResult, TaskState
from millpond.common.agent_protocol import (
    Assignment,
    Attempt,
    Coordinated,
    Ended,
    FailureInfo,
    Member,
    Membership,
    Orders,
    RunUsage,
    Started,
)
from millpond.common.clock import MINUTE, SECOND
from millpond.common.errors import ServiceError
from millpond.node import machine as node_machine
from millpond.node.machine import Kill, Launch, Machine, Tell

MILLISECOND = SECOND // 1000
START = 1_700_000_000 * SECOND
HEARTBEAT = 10 * SECOND
#: What every process uses.
CPU_PER_RUN = 7_000

TaskName = tuple[str, str]


@dataclass
class Faults:
    """How likely things go wrong, each time that they could."""

    crash: float = 0.0
    failing_commit: float = 0.0
    broken_channel: float = 0.0
    long_absence: float = 0.0
    dead_machine: float = 0.0
    refused_node: float = 0.0
    doubled_report: float = 0.0
    full_disk: float = 0.0
    failing_start_task: float = 0.0


@dataclass
class Script:
    """What a task does: how often it fails before it succeeds, and how long it runs."""

    duration: int
    failures: int = 0
    launches: int = 0
    #: Processes that have ended.
    ends: int = 0
    #: Of a multi-instance task: how often an instance fails in its coordination command.
    bad_coordination: float = 0.0


class Violation(AssertionError):  # noqa: N818 - it is named for what happened
    """The world has seen what must not happen."""


class World:
    def __init__(
        self, seed: int, *, ready_window: int = 4096, faults: Faults | None = None, check_every: int = 1
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults = faults or Faults()
        self.now = START
        self.story: deque[tuple[int, str, Event | Effect | None]] = deque(maxlen=50_000)
        self.archive = DictArchive()
        self.scripts: dict[TaskName, Script] = {}
        #: Per task: the attempts whose processes run now.
        self.processes: dict[TaskName, set[tuple[str, int]]] = {}
        self.agents: dict[str, Agent] = {}
        #: Where a job's preparation has succeeded: by node and job, the boot and the disk at the time.
        self.prepared: dict[tuple[str, str], tuple[int, int]] = {}
        #: Jobs whose end was looked at.
        self._released: set[str] = set()
        #: Tasks whose success is committed.
        self.succeeded: set[tuple[str, str, int]] = set()
        self._succeeding: set[tuple[str, str, int]] = set()
        #: Tasks that have let their dependents go on, ever.
        self.satisfied: set[TaskName] = set()
        #: Called after each committed batch.
        self.observers: list[Callable[[], None]] = []
        self.batches = 0
        self.placements = 0
        self._ready_window = ready_window
        #: Batches from one check of the invariants to the next.
        self._check_every = check_every
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._inbox: list[tuple[Event, Callable[[Any], None] | None]] = []
        self._is_batch_due = False
        #: Which life of the service this is: what an earlier one had in mind is forgotten.
        self._life = 0
        self.state = self._load()

    # --- time

    def later(self, delay: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + max(0, delay), next(self._numbers), act))

    def run(self, until: int, *, stop_if: Callable[[], bool] = lambda: False) -> None:
        """Let things happen up to that moment, or until nothing does any more."""
        while self._events and self._events[0][0] <= until and not stop_if():
            moment, _, act = heapq.heappop(self._events)
            self.now = max(self.now, moment)
            act()
        self.now = max(self.now, until) if not stop_if() else self.now

    def tell(self, text: str, message: Event | Effect | None = None) -> None:
        self.story.append((self.now, text, message))

    def told(self, *, about: str, most: int) -> list[str]:
        """What has happened, for people: the last lines, and the last before them that concern what a text names."""
        lines = [
            f"{(moment - START) / SECOND:12.6f}  {text}{'' if message is None else _short(message)}"
            for moment, text, message in self.story
        ]
        names = {name[-8:] if "tvmps" in name else name for name in re.findall(r"[\w/]*\d[\w/]*", about)}
        named = [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in names]
        before, last = lines[: -most // 3], lines[-most // 3 :]
        concerned = [line for line in before if named and all(name.search(line) for name in named[:2])]
        if len(concerned) < 5:
            concerned = [line for line in before if any(name.search(line) for name in named)]
        return [*concerned[-2 * most // 3 :], "…", *last]

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.rng.random() < probability

    # --- the service

    def send(self, event: Event, answer: Callable[[Any], None] | None = None) -> None:
        """Something happens; the answer is the reply or the :class:`ServiceError`, or does not come (a crash)."""
        self._inbox.append((event, answer))
        if not self._is_batch_due:
            self._is_batch_due = True
            self.later(self.rng.randrange(3 * MILLISECOND), self._run_batch)

    def _run_batch(self) -> None:
        batch, self._inbox = self._inbox, []
        self._is_batch_due = False
        effects: list[Effect] = []
        answers: list[tuple[Callable[[Any], None] | None, Any]] = []
        self.batches += 1
        for event, answer in batch:
            self.tell("-> ", event)
            try:
                reply, more = machine.step(self.state, event, self.now)
            except ServiceError as refusal:
                self.tell(f"   refused: {refusal.code}")
                reply, more = refusal, []
            answers.append((answer, reply))
            effects += more
        is_checked = self.batches % self._check_every == 0
        waiting = first_waiting(self.state) if is_checked else {}
        following = machine.settle(self.state, self.now)
        effects += following
        if is_checked:
            check(self.state)
            if claim := overtaken(self.state, waiting, following):
                raise Violation(claim)
        self._flush()
        if self.chance(self.faults.failing_commit):
            self.tell("!! the commit fails")
            self.archive.rollback()
            self._succeeding.clear()
            self._restart()
            return
        self._commit()
        self._check_releases()
        if self.batches % (16 * self._check_every) == 0:
            self._check_statistics()
        for observer in self.observers:
            observer()
        if self.chance(self.faults.crash):
            done = self.rng.randrange(len(effects) + 1) if self.chance(0.5) else 0
            self.tell(f"!! the service is killed after its commit, with {done} of {len(effects)} effects carried out")
            self._carry_out(effects[:done])
            self._restart()
            return
        for answer, reply in answers:
            if answer is not None:
                answer(reply)
        self._carry_out(effects)

    def _check_statistics(self) -> None:
        """No run is counted twice; a job's totals are the sums over its tasks, with those of tasks that are gone."""
        for key, job in self.archive.jobs.items():
            tasks = self.archive.tasks.get(key, {}).values()
            used = sum(task.usage.user_cpu_time for task in tasks if task.usage is not None)
            if used > job.totals.user_cpu_time or (used < job.totals.user_cpu_time and len(tasks) == job.tasks_added):
                raise Violation(f"the tasks of {key} have used {used}, and it says {job.totals}")
            for task in tasks:
                ends = self.scripts[key, task.key].ends
                if task.usage is not None and task.usage.user_cpu_time > ends * CPU_PER_RUN:
                    raise Violation(f"{task.key} of {key} ended {ends} times, and says {task.usage}")

    def _flush(self) -> None:
        changes = self.state.take_changes()
        for (job, task), record in changes.tasks.items():
            if record is None and self._lets_go_on(self.archive.tasks.get(job, {}).get(task)):
                self.satisfied.add((job, task))
            if record is not None and record.satisfies_dependents:
                self.satisfied.add((job, task))
            if record is not None and record.state is TaskState.COMPLETED and record.result is TaskResult.SUCCESS:
                self._succeeding.add((job, task, record.seq))
        self.archive.write(changes)

    def _lets_go_on(self, deleted: Task | None) -> bool:
        """Whether a task's deletion lets its dependents go on: where it runs, that is its end, too."""
        if deleted is None or not has_place(deleted):
            return False
        return satisfies(replace(deleted, state=TaskState.COMPLETED, result=TaskResult.FAILURE, failure=ENDED_BY_USER))

    def _commit(self) -> None:
        self.archive.commit()
        self.succeeded |= self._succeeding
        self._succeeding.clear()

    def _load(self) -> State:
        self.archive.flush = lambda: None
        state = State(self.archive, ready_window=self._ready_window)
        self.state = state
        self.archive.flush = self._flush
        nodes = list(self.archive.nodes.values())
        effects = machine.restore(
            state,
            list(self.archive.pools.values()),
            nodes,
            self.archive.unfinished_jobs(),
            self.archive.unfinished_schedules(),
            self.archive.placed(),
            list(self.archive.job_nodes.values()),
            self.now,
            self.archive.all_samples(),
            dict(self.archive.pool_usages),
            dict(self.archive.accounts),
        )
        effects += machine.settle(state, self.now)
        check(state)
        self._flush()
        self._commit()
        for node in nodes:
            self.expect(node.key, node.boot)
        self._carry_out(effects)
        return state

    def _restart(self) -> None:
        self._life += 1
        self._inbox.clear()
        for agent in self.agents.values():
            agent.break_channel()
        self._load()

    def expect(self, node: str, boot: int) -> None:
        """Where no agent of this boot connects in time, it is lost."""
        life = self._life

        def look() -> None:
            agent = self.agents.get(node)
            is_there = agent is not None and agent.is_connected and agent.boot == boot
            if life == self._life and not is_there:
                self.send(AgentLost(node=node, boot=boot))

        self.later(HEARTBEAT, look)

    def _carry_out(self, effects: list[Effect]) -> None:
        orders: dict[str, Orders] = {}
        for effect in effects:
            self.tell("<- ", effect)
            match effect:
                case RaiseAt():
                    self._raise_at(effect)
                case PurgeJob():
                    delay = self.rng.randrange(20 * MILLISECOND)
                    self.later(delay, self._in_this_life(partial(self._purge, effect)))
                case RequestNode():
                    self.later(self.rng.randrange(1, 50) * MILLISECOND, partial(self._boot, effect.node))
                case ReleaseNode():
                    self.later(self.rng.randrange(1, 200) * MILLISECOND, partial(self._release, effect.node))
                case DeallocateNode():
                    self.later(self.rng.randrange(1, 200) * MILLISECOND, partial(self._stop, effect))
                case StartTask() | StopTask() | RunPrimary() | ForgetTask() | SyncNode():
                    self._draft(orders, effect)
        for node, order in orders.items():
            agent = self.agents.get(node)
            if agent is not None:
                agent.order(order)

    def _draft(
        self, orders: dict[str, Orders], effect: StartTask | StopTask | RunPrimary | ForgetTask | SyncNode
    ) -> None:
        if isinstance(effect, SyncNode):
            if effect.node in self.state.nodes:
                orders[effect.node] = _full_orders(self.state, effect)
            return
        draft = orders.setdefault(effect.node, _no_orders(self.state, effect.node))
        if isinstance(effect, StartTask):
            self.placements += 1
            _add_start(self.state, draft, effect)
        elif isinstance(effect, StopTask):
            draft.stop.append(_told(effect.attempt))
        elif isinstance(effect, RunPrimary):
            draft.run_primary.append(_told(effect.attempt))
        else:
            (draft.discard if effect.discard else draft.forget).append(_told(effect.attempt))

    def _raise_at(self, effect: RaiseAt) -> None:
        self.later(effect.moment - self.now, self._in_this_life(lambda: self.send(effect.event)))

    def _in_this_life(self, act: Callable[[], None]) -> Callable[[], None]:
        life = self._life

        def unless_forgotten() -> None:
            if life == self._life:
                act()

        return unless_forgotten

    def _purge(self, effect: PurgeJob) -> None:
        self.archive.purge(effect.job)
        self.archive.commit()
        self.send(JobPurged(job=effect.job))

    # --- the provider

    def _boot(self, node: Node) -> None:
        agent = self.agents.get(node.key)
        if agent is not None and agent.boot >= node.boot:
            return
        if agent is not None:
            agent.die()
        if self.chance(self.faults.refused_node):
            self.send(NodeNotGranted(node=node.key, boot=node.boot, code="AllocationFailed", message="No room."))
            return
        if agent is not None and agent.disk > node.disk:
            raise Violation(f"{node.key} boots on a disk that it had before")
        self.tell(f"   {node.key[-8:]} boots for the {node.boot}. time")
        agent = self.agents[node.key] = Agent(self, node.key, node.boot, node.disk)
        self.expect(node.key, node.boot)
        self.later(self.rng.randrange(1, 300) * MILLISECOND, agent.connect)

    def _stop(self, effect: DeallocateNode) -> None:
        agent = self.agents.get(effect.node)
        if agent is not None and agent.boot < effect.boot:
            agent.die()
        self.send(NodeDeallocated(node=effect.node, boot=effect.boot))

    def _release(self, node: str) -> None:
        agent = self.agents.pop(node, None)
        if agent is not None:
            agent.die()
        self.send(NodeReleased(node=node))

    def machine_died(self, agent: Agent) -> None:
        """The provider notices, sooner or later."""

        def notice() -> None:
            if self.agents.get(agent.node) is agent:
                self.send(NodeEnded(node=agent.node, boot=agent.boot, message="It was killed."))

        self.later(self.rng.randrange(1, 2000) * MILLISECOND, notice)

    # --- processes

    def began(self, agent: Agent, assignment: Assignment) -> int:
        """A process begins, or one of a gang; returns how long it would run."""
        attempt, is_member = assignment.attempt, assignment.membership is not None
        name = _name(attempt)
        self.tell(f"   {agent.node[-8:]} begins {name} {attempt.attempt}")
        if assignment.kind != "task":
            return self._began_around(agent, assignment)
        self._check_prepared(agent, attempt.job_id)
        others = self.processes.setdefault(name, set())
        alive = [other for other in others if not self._was_given_up(*other)]
        if any(not is_member or number != attempt.attempt or node == agent.node for node, number in alive):
            raise Violation(f"{name} runs twice at once: {alive} and {agent.node} {attempt.attempt}")
        record = self.archive.tasks.get(name[0], {}).get(name[1])
        if record is not None and (*name, record.seq) in self.succeeded and record.attempt == attempt.attempt:
            raise Violation(f"{name} runs again, though its success is on record")
        others.add((agent.node, attempt.attempt))
        script = self.scripts[name]
        script.launches += not is_member
        return script.duration

    def runs_primary(self, attempt: Attempt) -> None:
        """A gang's primary begins with the task's own command: all that the service counts on must be there."""
        name = _name(attempt)
        self.scripts[name].launches += 1
        record = self.archive.tasks.get(name[0], {}).get(name[1])
        if record is None or record.attempt != attempt.attempt or record.withdrawal is not None:
            return  # its end is on the way
        for node in record.places:
            agent = self.agents.get(node)
            if agent and agent.is_alive and agent.boot == self.archive.nodes[node].boot and not agent.holds(attempt):
                raise Violation(f"{name} runs its own command, though {node} does not run it")

    def _began_around(self, agent: Agent, assignment: Assignment) -> int:
        """A preparation or release task begins: the only process of its job on its node that counts."""
        job = assignment.attempt.job_id
        for name, runs in self.processes.items():
            beside = [run for run in runs if run[0] == agent.node and not self._was_given_up(*run)]
            if name[0] == job and beside and assignment.kind == "release":
                raise Violation(f"{name} runs on {agent.node} while {job} is released there")
        if assignment.kind == "release" and (agent.node, job) not in self.prepared and self._waits_for_success(job):
            raise Violation(f"{agent.node} releases {job}, for which it was not prepared")
        name = _name(assignment.attempt)
        self.processes.setdefault(name, set()).add((agent.node, assignment.attempt.attempt))
        script = self.scripts[name]
        script.launches += 1
        return script.duration

    def _check_prepared(self, agent: Agent, job: str) -> None:
        record = self.archive.jobs.get(job)
        if record is None or record.preparation is None or not record.preparation.wait_for_success:
            return
        boot, disk = self.prepared.get((agent.node, job), (0, -1))
        if disk != agent.disk:
            raise Violation(f"a task of {job} begins on {agent.node}, which was not prepared for it")
        if record.preparation.rerun_on_node_reboot_after_success and boot != agent.boot:
            raise Violation(f"a task of {job} begins on {agent.node}, which was prepared in an earlier boot")

    def _waits_for_success(self, job: str) -> bool:
        record = self.archive.jobs.get(job)
        return record is not None and record.preparation is not None and record.preparation.wait_for_success

    def _check_releases(self) -> None:
        """A job that has just ended has been released on every node that it could be."""
        for job in self.archive.jobs.values():
            if job.state is not JobState.COMPLETED or job.key in self._released:
                continue
            self._released.add(job.key)
            is_late = self.now - (job.previous_state_transition_time or 0) >= RELEASE_LIMIT
            for (owner, key), record in self.archive.job_nodes.items():
                node, slots = self.archive.nodes.get(key), self.state.node_slots.get(key)
                able = node is not None and slots is not None and slots.connected and node.state is NodeState.IDLE
                if owner == job.key and job.release is not None and record.needs_release and able and not is_late:
                    over = record.release is not None and record.release.state is JobTaskState.COMPLETED
                    if not over:
                        raise Violation(f"{job.key} is over, and {key} was not released")

    def ended(self, agent: Agent, attempt: Attempt) -> None:
        self.processes[_name(attempt)].discard((agent.node, attempt.attempt))

    def _was_given_up(self, node: str, attempt: int) -> bool:
        """Whether a process runs on a node that the service has rightly given up, since nothing was heard of it."""
        agent = self.agents.get(node)
        record = self.archive.nodes.get(node)
        return agent is None or agent.is_absent or record is None or record.boot > agent.boot


@dataclass(eq=False)
class Agent:
    """A machine with an agent, in one boot."""

    world: World
    node: str
    boot: int
    disk: int
    machine: Machine = field(default_factory=Machine)
    is_alive: bool = True
    is_connected: bool = False
    is_prepared: bool = False
    #: How its start task stands, where its pool has one.
    start_task: StartTaskInfo | None = None
    #: Away for so long that the service may give the node up.
    is_absent: bool = False
    #: Its disk is full, and the node takes no tasks.
    is_full: bool = False
    channel: int = 0
    _last_delivery: int = 0
    _started: dict[Attempt, int] = field(default_factory=dict)
    #: Attempts of gangs, and those of them whose own command runs.
    _gangs: dict[Attempt, Membership] = field(default_factory=dict)
    _primaries: set[Attempt] = field(default_factory=set)
    _preparations: set[Attempt] = field(default_factory=set)

    def connect(self) -> None:
        if not self.is_alive or self.is_connected:
            return
        self.is_absent = False
        self.is_connected = True
        self.channel += 1
        channel = self.channel
        holding = [_ref(attempt) for attempt in self.machine.holding]

        def answer(reply: Any) -> None:
            if isinstance(reply, ServiceError) and self.channel == channel:
                self.world.tell(f"   the agent of {self.node[-8:]} ends, it was refused")
                self.die()
            elif self.channel == channel:
                self._tell_of_disk()

        event = AgentConnected(
            node=self.node,
            boot=self.boot,
            ip_address="10.0.0.4",
            agent_version="1",
            start_task=self.start_task,
            is_prepared=self.is_prepared,
            holding=holding,
        )
        self.world.send(event, answer)
        if not self.is_prepared:
            self.world.later(self.world.rng.randrange(500) * MILLISECOND, self._prepare)

    def _prepare(self) -> None:
        """What the node needs before tasks is there; an agent whose channel is broken says so in its next hello."""
        if self.is_prepared or not self.is_alive:
            return
        self.is_prepared = True
        node = self.world.archive.nodes.get(self.node)
        if node is not None and self.world.archive.pools[node.pool].start_task_wait_for_success is not None:
            self._tell_of_start_task(StartTaskInfo(state=StartTaskState.RUNNING, start_time=self.world.now))
            self.world.later(self.world.rng.randrange(30_000) * MILLISECOND, self._end_start_task)
        if self.is_connected:
            self._deliver(lambda: self.world.send(NodePrepared(node=self.node, boot=self.boot)))

    def _end_start_task(self) -> None:
        if not self.is_alive or self.start_task is None:
            return
        failed = self.world.chance(self.world.faults.failing_start_task)
        result = TaskResult.FAILURE if failed else TaskResult.SUCCESS
        ended = {"end_time": self.world.now, "exit_code": int(failed), "result": result}
        self._tell_of_start_task(replace(self.start_task, state=StartTaskState.COMPLETED, **ended))

    def _tell_of_start_task(self, info: StartTaskInfo) -> None:
        """Now, or when the agent is connected again."""
        self.start_task = info
        if self.is_connected:
            self._deliver(lambda: self.world.send(StartTaskReported(node=self.node, boot=self.boot, info=info)))

    def _fill_disk(self) -> None:
        """For a while; the agent says so, and that it is over, now or when it is connected again."""
        self.is_full = True
        self.world.tell(f"!! the disk of {self.node[-8:]} is full")
        self._tell_of_disk()

        def clean_up() -> None:
            self.is_full = False
            self._tell_of_disk()

        self.world.later(self.world.rng.randrange(60_000) * MILLISECOND, clean_up)

    def _tell_of_disk(self) -> None:
        if self.is_alive and self.is_connected:
            trouble = NodeTroubled(node=self.node, boot=self.boot, error=NodeError("DiskFull", "It is full."))
            event = trouble if self.is_full else NodeRecovered(node=self.node, boot=self.boot)
            self._deliver(lambda: self.world.send(event))

    def break_channel(self) -> None:
        if not self.is_connected:
            return
        world = self.world
        self.is_connected = False
        self.channel += 1
        self.is_absent = world.chance(world.faults.long_absence)
        away = world.rng.randrange(5, 12) * MINUTE if self.is_absent else world.rng.randrange(1, 20_000) * MILLISECOND
        world.tell(f"!! the channel of {self.node[-8:]} breaks for {away / SECOND:.3f} s")
        world.expect(self.node, self.boot)
        world.later(away, self.connect)

    def holds(self, attempt: Attempt) -> bool:
        return attempt in self._started

    def die(self) -> None:
        """The machine ends with all its processes."""
        self.is_alive = False
        self.is_connected = False
        self.channel += 1
        for attempt in self._started:
            self.world.ended(self, attempt)
        self._started.clear()

    def order(self, orders: Orders) -> None:
        """The service sends orders; they arrive in order, or not at all."""
        if self.is_connected:
            self._deliver(lambda: self._obey(self.machine.on_orders(orders, self.world.now)))

    def _deliver(self, act: Callable[[], None]) -> None:
        channel = self.channel
        world = self.world
        moment = max(self._last_delivery, world.now + world.rng.randrange(1, 2000))
        self._last_delivery = moment

        def arrive() -> None:
            if self.channel == channel:
                act()

        world.later(moment - world.now, arrive)
        if world.chance(world.faults.full_disk) and not self.is_full:
            self._fill_disk()
        if world.chance(world.faults.broken_channel):
            world.later(world.rng.randrange(10) * MILLISECOND, self.break_channel)
        elif world.chance(world.faults.dead_machine) and self.is_alive:
            world.tell(f"!! the machine of {self.node[-8:]} dies")
            self.die()
            world.machine_died(self)

    def _obey(self, instructions: list[Any]) -> None:
        world = self.world
        for instruction in instructions:
            if not self.is_alive:
                return
            match instruction:
                case Launch():
                    attempt = instruction.assignment.attempt
                    self._started[attempt] = world.now
                    if instruction.assignment.kind == "preparation":
                        self._preparations.add(attempt)
                    membership = instruction.assignment.membership
                    duration = world.began(self, instruction.assignment)
                    if membership is None:
                        world.later(duration, partial(self._exit, attempt, None))
                    else:
                        self._gangs[attempt] = membership
                        world.later(world.rng.randrange(SECOND), partial(self._coordinate, attempt))
                case node_machine.RunPrimary() if instruction.attempt not in self._primaries:
                    self._run_primary(instruction.attempt)
                case Kill():
                    delay = world.rng.randrange(50 * MILLISECOND)
                    world.later(delay, partial(self._exit, instruction.attempt, -9))
                case Tell():
                    self._report(instruction.report)

    def _coordinate(self, attempt: Attempt) -> None:
        """A coordination command ends."""
        if not self.is_alive or attempt not in self._started:
            return
        if self.world.chance(self.world.scripts[_name(attempt)].bad_coordination):
            self._exit(attempt, 1)
        else:
            self._obey(self.machine.on_coordinated(attempt))

    def _run_primary(self, attempt: Attempt) -> None:
        membership = self._gangs[attempt]
        if membership.number:
            raise Violation(f"{attempt} is to run its own command on node {membership.number}")
        self._primaries.add(attempt)
        self.world.runs_primary(attempt)
        self.world.later(self.world.scripts[_name(attempt)].duration, partial(self._exit, attempt, None))

    def _exit(self, attempt: Attempt, signal: int | None) -> None:
        """A process ends by itself, or is killed."""
        if not self.is_alive or attempt not in self._started:
            return
        world = self.world
        start = self._started.pop(attempt)
        world.ended(self, attempt)
        script = world.scripts[_name(attempt)]
        script.ends += 1
        code = signal if signal is not None else int(script.launches <= script.failures)
        if code == 0 and attempt in self._preparations:
            world.prepared[self.node, attempt.job_id] = (self.boot, self.disk)
        failure = FailureInfo("usererror", "FailureExitCode", "It failed.") if code else None
        ended = Ended(attempt, start, world.now, code, failure, may_retry=code > 0, usage=RunUsage(CPU_PER_RUN))
        self._obey(self.machine.on_ended(ended, world.now))

    def _report(self, report: Any) -> None:
        event = self._event(report)
        if event is None or not self.is_connected:
            return
        for _ in range(2 if self.world.chance(self.world.faults.doubled_report) else 1):
            self._deliver(lambda: self.world.send(event))

    def _event(self, report: Any) -> Event | None:
        if isinstance(report, Started):
            return TaskStarted(
                node=self.node, boot=self.boot, attempt=_ref(report.attempt), start_time=report.start_time
            )
        if isinstance(report, Coordinated):
            return TaskCoordinated(node=self.node, boot=self.boot, attempt=_ref(report.attempt))
        if isinstance(report, Ended):
            failure = report.failure
            return TaskEnded(
                node=self.node,
                boot=self.boot,
                attempt=_ref(report.attempt),
                start_time=report.start_time,
                end_time=report.end_time,
                exit_code=report.exit_code,
                result=TaskResult.FAILURE if failure or report.exit_code else TaskResult.SUCCESS,
                failure=None
                if failure is None
                else Failure(ErrorCategory(failure.category), failure.code, failure.message),
                may_retry=report.may_retry,
                usage=None if report.usage is None else statistics.RunUsage(report.usage.user_cpu_time),
            )
        return None


def _name(attempt: Attempt) -> TaskName:
    return attempt.job_id, attempt.task_id


def _ref(attempt: Attempt) -> AttemptRef:
    return AttemptRef(attempt.job_id, attempt.task_id, attempt.attempt)


def _told(ref: AttemptRef) -> Attempt:
    return Attempt(ref.job, ref.task, ref.attempt)


def _failure(info: FailureInfo) -> Failure:
    return Failure(ErrorCategory(info.category), info.code, info.message)


def _no_orders(state: State, node: str) -> Orders:
    record = state.nodes.get(node)
    slots = state.pools[record.pool].task_slots_per_node if record else 1
    return Orders(task_slots=slots, start=[], stop=[], forget=[], discard=[])


def _full_orders(state: State, sync: SyncNode) -> Orders:
    slots = state.pools[state.nodes[sync.node].pool].task_slots_per_node
    orders = Orders(task_slots=slots, full=True, start=[], stop=[], forget=[_told(ref) for ref in sync.forget])
    for start in sync.start:
        _add_start(state, orders, start)
    return orders


def _add_start(state: State, orders: Orders, start: StartTask) -> None:
    """As the service does: not if the task has gone on in the same batch."""
    if start.kind is not None:
        orders.start.append(
            Assignment(
                kind=start.kind.value,
                attempt=_told(start.attempt),
                required_slots=0,
                task=b"{}",
                max_wall_clock_time=0,
                retention_time=0,
            )
        )
        return
    task = state.tasks.get((start.attempt.job, start.attempt.task))
    if task is not None and task.attempt == start.attempt.attempt:
        orders.start.append(
            Assignment(
                attempt=_told(start.attempt),
                required_slots=start.required_slots,
                task=b"{}",
                max_wall_clock_time=0,
                retention_time=0,
                membership=_membership(task, start.node),
            )
        )


def _membership(task: Task, node: str) -> Membership | None:
    if task.gang is None:
        return None
    members = tuple(Member(instance.node_id, instance.ip_address) for instance in task.gang.instances)
    return Membership(task.gang.find(node)[0], members)


def _short(message: Event | Effect) -> str:
    parts = []
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if name == "tasks":
            value = f"{len(value)} × {value[0].id}…"
        elif name in ("node", "nodes") and isinstance(value, Node):
            value = value.key[-8:]
        elif isinstance(value, Event):
            value = _short(value)
        elif name == "node":
            value = value[-8:]
        if name not in ("document", "conditions", "pool_id", "job_record") and value is not None:
            parts.append(f"{name}={getattr(value, 'key', value)}")
    return f"{type(message).__name__}({', '.join(parts)})"


def is_settled(state: State) -> bool:
    """Whether no node is in a passing state."""
    passing = {NodeState.CREATING, NodeState.REBOOTING, NodeState.LEAVING_POOL, NodeState.UNKNOWN, NodeState.STARTING}
    passing |= {NodeState.REIMAGING, NodeState.DEALLOCATING}
    return not any(node.state in passing for node in state.nodes.values())
