"""The single writer: inbox → step → one transaction → replies → effects.

One thread owns the engine's state and the store's writing side. It takes all events that wait, steps them one by one,
lets the engine settle, writes what changed and commits once for all of them; only then are the callers answered and the
effects handed over, both on the event loop. So nothing is acknowledged or done that is not on disk, and one sync of the
disk pays for many requests.

What goes wrong:

* A step refuses (:class:`ServiceError`): its caller gets the error; nothing changed.
* A step, or the write of its changes, fails in any other way: the transaction is rolled back, the state rebuilt from
  the store, and the batch's events run again one by one, so that only the event that fails is lost: its caller gets
  ``InternalError`` and the log the story.
* The commit fails: the state is rebuilt from the store and every caller of the batch gets ``InternalError``.

After a rebuild the restored effects are handed over, and ``Outcome.restored`` tells whoever carries them out that news
may have been lost: agents have to say again what they run.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from millpond.common.clock import SECOND, Clock
from millpond.common.errors import ServiceError

from .engine.machine import restore, settle, step
from .engine.messages import Effect, Event, JobPurged, PurgeJob, RaiseAt, RequestNode, StartTask, SyncNode
from .engine.state import State
from .errors import error
from .model.changes import Changes
from .model.job import Job
from .model.limits import Limits
from .model.pool import Node, Pool
from .model.schedule import JobSchedule
from .model.task import Task
from .store.base import Chore, StoredTask, Writer

_log = logging.getLogger(__name__)

#: Requests that may wait; more are told that the server is busy.
_MOST_WAITING = 4096
#: How long a batch goes on taking what arrives while it is being stepped, in seconds.
_BATCH_S = 0.02
#: Tasks of a deleted job that are removed in one go, between batches.
_PURGE_PART = 2000
#: Longest wait for the next timer, in seconds, so that a clock that was set does not matter for long.
_LONGEST_WAIT_S = 60.0


_NO_LIMITS = Limits()


class ChoreDone(Event, frozen=True, kw_only=True):
    """A node has deleted the files it was asked to. The store's business: the engine does not see it."""

    chore: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a committed batch leaves to be done."""

    effects: list[Effect]
    #: The tasks that :class:`StartTask` effects name, also inside :class:`SyncNode`, and their jobs.
    tasks: dict[tuple[str, str], StoredTask]
    jobs: dict[str, Job]
    #: The nodes that :class:`SyncNode` and :class:`RequestNode` effects name, and their pools.
    nodes: dict[str, Node]
    pools: dict[str, Pool]
    #: Per node: file deletions that are new, or, where the node is to be synced, all that it has to do.
    chores: dict[str, list[Chore]]
    #: What was committed.
    changes: list[Changes]
    #: All nodes, where the state was just built from the store; ``None`` otherwise.
    restored: list[Node] | None = None


class _CommitFailed(Exception):  # noqa: N818 - it says what happened; it never leaves this module
    pass


class _Item(msgspec.Struct, frozen=True):
    """An event in the inbox; a caller who waits for the reply has a future."""

    event: Event
    future: asyncio.Future[Any] | None = None


class Runtime:
    """Feeds events to the engine. All methods are for the event loop that called :meth:`start`."""

    def __init__(self, writer: Writer, clock: Clock, *, ready_window: int = 4096, limits: Limits = _NO_LIMITS) -> None:
        self._inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._worker = _Worker(writer, clock, self._inbox, self._hand_over, ready_window=ready_window, limits=limits)
        self._thread = threading.Thread(target=self._worker.run, name="millpond-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._carry_out: Callable[[Outcome], None]
        self._is_open = False

    async def start(self, carry_out: Callable[[Outcome], None]) -> None:
        """Build the state from the store and begin to take events.

        ``carry_out`` is called on the loop with each committed batch's outcome, in order, and first with that of the
        restored state.
        """
        self._loop = asyncio.get_running_loop()
        self._carry_out = carry_out
        self._is_open = True  # what the restored effects lead to waits in the inbox
        await asyncio.to_thread(self._worker.load)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, then close the store's writing side."""
        self._is_open = False
        self._inbox.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        await asyncio.sleep(0)  # the last outcome has been handed over to the loop, and runs now
        self._worker.close()

    async def submit(self, event: Event) -> Any:
        """The reply to a request, once it is committed.

        Raises the :class:`ServiceError` that refuses it: the engine's own, ``ServerBusy`` or ``InternalError``.
        """
        if not self._is_open or self._inbox.qsize() >= _MOST_WAITING:
            raise error("ServerBusy")
        future = asyncio.get_running_loop().create_future()
        self._inbox.put(_Item(event, future))
        return await future

    def post(self, event: Event) -> None:
        """Take a piece of news, which nobody waits for."""
        if self._is_open:
            self._inbox.put(_Item(event))

    async def room(self) -> None:
        """Wait while so many events wait that whoever brings news should hold back."""
        while self._inbox.qsize() >= _MOST_WAITING:
            await asyncio.sleep(0.005)

    def _hand_over(self, answers: Sequence[tuple[_Item, Any]], outcome: Outcome | None) -> None:
        """Called by the writer's thread after each commit."""
        self._loop.call_soon_threadsafe(self._deliver, answers, outcome)

    def _deliver(self, answers: Sequence[tuple[_Item, Any]], outcome: Outcome | None) -> None:
        for item, reply in answers:
            if item.future is not None and not item.future.done():
                if isinstance(reply, ServiceError):
                    item.future.set_exception(reply)
                else:
                    item.future.set_result(reply)
        if outcome is not None:
            self._carry_out(outcome)


class _Archive:
    """The engine's view of the store: changes made so far are written to the open transaction before each read."""

    def __init__(self, writer: Writer, flush: Callable[[], None]) -> None:
        self._writer = writer
        self._flush = flush

    def job(self, job: str) -> Job | None:
        self._flush()
        return self._writer.job(job)

    def schedule(self, schedule: str) -> JobSchedule | None:
        self._flush()
        return self._writer.schedule(schedule)

    def jobs_of(self, schedule: str, limit: int) -> list[Job]:
        self._flush()
        return self._writer.jobs_of(schedule, limit)

    def task(self, job: str, task: str) -> Task | None:
        self._flush()
        return self._writer.task(job, task)

    def existing(self, job: str, tasks: Sequence[str]) -> set[str]:
        self._flush()
        return self._writer.existing(job, tasks)

    def waiting(self, job: str, after_seq: int, limit: int) -> list[Task]:
        self._flush()
        return self._writer.waiting(job, after_seq, limit)

    def satisfying(self, job: str, tasks: Sequence[str]) -> set[str]:
        self._flush()
        return self._writer.satisfying(job, tasks)

    def satisfied_runs(self, job: str, first: int, last: int) -> list[tuple[int, int]]:
        self._flush()
        return self._writer.satisfied_runs(job, first, last)

    def dependents(self, job: str, prerequisites: Sequence[str], before_seq: int, limit: int) -> list[tuple[str, Task]]:
        self._flush()
        return self._writer.dependents(job, prerequisites, before_seq, limit)

    def holding_files(self, job: str) -> Iterable[str]:
        self._flush()
        return self._writer.holding_files(job)


class _Worker:
    """The writer's thread: owns the state, the store's writing side and the timers."""

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        inbox: queue.SimpleQueue[_Item | None],
        hand_over: Callable[[Sequence[tuple[_Item, Any]], Outcome | None], None],
        *,
        ready_window: int,
        limits: Limits,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._inbox = inbox
        self._hand_over = hand_over
        self._ready_window = ready_window
        self._limits = limits
        self._state: State | None = None
        #: Changes written to the open transaction, and chores recorded by it.
        self._changes: list[Changes] = []
        self._chores: list[Chore] = []
        #: (moment, how many-th, event)
        self._timers: list[tuple[int, int, Event]] = []
        self._timer_numbers = itertools.count()
        #: Keys of jobs whose tasks are to be removed.
        self._purges: deque[str] = deque()

    # --- the thread ---

    def run(self) -> None:
        while (items := self._take()) is not None:
            if items:
                self._process(items)
            if self._purges:
                self._purge_part()

    def close(self) -> None:
        self._writer.close()

    def _take(self) -> list[_Item] | None:
        """What is due, waiting until something is (an empty list: only a purge is). ``None``: the end was asked for."""
        try:
            first = self._inbox.get(timeout=self._time_to_wait())
        except queue.Empty:
            return self._due_timers()
        return None if first is None else [*self._due_timers(), first]

    def _time_to_wait(self) -> float:
        if self._purges:
            return 0.0
        if not self._timers:
            return _LONGEST_WAIT_S
        return min(max(self._timers[0][0] - self._clock.now(), 0) / SECOND, _LONGEST_WAIT_S)

    def _due_timers(self) -> list[_Item]:
        due = []
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            due.append(_Item(heapq.heappop(self._timers)[2]))
        return due

    def _arriving(self, first: Sequence[_Item]) -> Iterator[_Item]:
        """``first``, then what waits in the inbox and what arrives meanwhile, for a short time."""
        yield from first
        until = time.monotonic() + _BATCH_S
        while time.monotonic() < until:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return
            if item is None:
                self._inbox.put(None)  # the end comes after this batch
                return
            yield item

    # --- batches ---

    def _process(self, first: Sequence[_Item]) -> None:
        state = self._state or self._reload()
        if state is None:
            self._fail(first)
            return
        taken: list[_Item] = []
        try:
            self._run_batch(state, self._arriving(first), taken)
        except _CommitFailed as failure:
            _log.critical("The store did not commit %d events: %s", len(taken), failure.__cause__)
            self._fail(taken)
            self._reload()
        except Exception:
            _log.warning("A batch of %d events failed; they run again one by one", len(taken), exc_info=True)
            self._reload()
            for item in taken:
                self._process_alone(item)

    def _process_alone(self, item: _Item) -> None:
        state = self._state
        if state is None:
            self._fail([item])
            return
        try:
            self._run_batch(state, (item,), [])
        except Exception as failure:
            cause = failure.__cause__ if isinstance(failure, _CommitFailed) else failure
            _log.critical("%s failed and is dropped", _describe(item.event), exc_info=cause)
            self._fail([item])
            self._reload()

    def _run_batch(self, state: State, items: Iterable[_Item], taken: list[_Item]) -> None:
        """Step the items, noting them in ``taken``, commit, and hand over answers and effects."""
        effects: list[Effect] = []
        replies: list[Any] = []
        for item in items:
            taken.append(item)
            try:
                reply, more = self._step(state, item.event)
            except ServiceError as refusal:
                reply = refusal
            else:
                effects += more
            replies.append(reply)
        effects += settle(state, self._clock.now())
        outcome = self._commit(state, effects)
        self._hand_over(list(zip(taken, replies, strict=True)), outcome)

    def _step(self, state: State, event: Event) -> tuple[Any, list[Effect]]:
        if isinstance(event, ChoreDone):
            self._writer.chore_done(event.chore)
            return None, []
        return step(state, event, self._clock.now())

    def _flush(self) -> None:
        """Write the engine's changes to the open transaction."""
        if self._state is not None:
            changes = self._state.take_changes()
            self._chores += self._writer.write(changes)
            self._changes.append(changes)

    def _commit(self, state: State, effects: list[Effect], restored: list[Node] | None = None) -> Outcome:
        self._flush()
        outcome = self._outcome(state, effects, restored)
        try:
            self._writer.commit()
        except Exception as failure:
            raise _CommitFailed from failure
        self._changes, self._chores = [], []
        for effect in effects:
            if isinstance(effect, RaiseAt):
                heapq.heappush(self._timers, (effect.moment, next(self._timer_numbers), effect.event))
            elif isinstance(effect, PurgeJob) and effect.job not in self._purges:
                self._purges.append(effect.job)
        return outcome

    def _outcome(self, state: State, effects: list[Effect], restored: list[Node] | None) -> Outcome:
        """The effects that are not the runtime's own, with the records that it takes to carry them out."""
        starts: list[StartTask] = []
        nodes: dict[str, Node] = {}
        chores: dict[str, list[Chore]] = {}
        for chore in self._chores:
            chores.setdefault(chore.deletion.node, []).append(chore)
        for effect in effects:
            if isinstance(effect, StartTask):
                starts.append(effect)
            elif isinstance(effect, RequestNode):
                nodes[effect.node.key] = effect.node
            elif isinstance(effect, SyncNode) and effect.node in state.nodes:
                starts += effect.start
                nodes[effect.node] = state.nodes[effect.node]
                chores[effect.node] = self._writer.chores(effect.node)
        jobs = {start.attempt.job: state.jobs[start.attempt.job] for start in starts if start.attempt.job in state.jobs}
        wanted = (
            (start.attempt.job, start.attempt.task)
            for start in starts
            if start.kind is None and start.attempt.job in jobs
        )
        return Outcome(
            effects=[effect for effect in effects if not isinstance(effect, RaiseAt | PurgeJob)],
            tasks=self._writer.stored_tasks(wanted),
            jobs=jobs,
            nodes=nodes,
            pools={node.pool: state.pools[node.pool] for node in nodes.values()},
            chores=chores,
            changes=self._changes,
            restored=restored,
        )

    def _purge_part(self) -> None:
        job = self._purges[0]
        try:
            left = self._writer.purge_tasks(job, _PURGE_PART)
            self._writer.commit()
        except Exception:
            _log.critical("The tasks of a deleted job could not be removed", exc_info=True)
            self._reload()
            return
        if not left:
            self._purges.popleft()
            self._process([_Item(JobPurged(job=job))])

    # --- from the store ---

    def load(self) -> State:
        """Build the state from the store, and hand over the effects that follow from it."""
        self._writer.rollback()
        self._changes, self._chores = [], []
        self._timers.clear()
        self._purges.clear()
        stored = self._writer.load()
        state = self._state = State(
            _Archive(self._writer, self._flush), ready_window=self._ready_window, limits=self._limits
        )
        now = self._clock.now()
        effects = restore(
            state,
            stored.pools,
            stored.nodes,
            stored.jobs,
            stored.schedules,
            stored.placed,
            stored.job_nodes,
            now,
            stored.samples,
            stored.pool_usages,
            stored.accounts,
        )
        effects += settle(state, now)
        self._hand_over((), self._commit(state, effects, stored.nodes))
        return state

    def _reload(self) -> State | None:
        """As :meth:`load`; where that fails too, there is no state, and the next batch tries again."""
        try:
            return self.load()
        except Exception:
            self._state = None
            _log.critical("The state could not be rebuilt from the store", exc_info=True)
            return None

    def _fail(self, items: Sequence[_Item]) -> None:
        self._hand_over([(item, error("InternalError")) for item in items], None)


def _describe(event: Event) -> str:
    """The event's kind and the keys of what it is about: nothing of what clients wrote."""
    names = ("pool", "node", "job", "schedule", "task", "boot", "attempt")
    about = {name: getattr(event, name) for name in names if hasattr(event, name)}
    keys = {name: getattr(value, "key", value) for name, value in about.items()}
    return f"{type(event).__name__}({', '.join(f'{name}={key}' for name, key in keys.items())})"
