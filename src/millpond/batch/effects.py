"""Carries out what the engine orders, after it is committed: nodes by the provider, tasks by the agents.

Every effect may come twice, and any may be lost with the process: what is stored implies it, and the engine orders it
again (``machine.restore``). What comes of an effect returns as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from millpond.common.agent_protocol import Assignment, Attempt, DeleteFiles, Member, Membership, Welcome

from .agents import Agents, NodeOrders, NodeTokens
from .engine.messages import (
    DeallocateNode,
    Effect,
    ForgetTask,
    NodeDeallocated,
    NodeEnded,
    NodeNotGranted,
    NodeReleased,
    ReleaseNode,
    RequestNode,
    RunPrimary,
    StartTask,
    StopTask,
    SyncNode,
)
from .model.job import Job
from .model.job_node import JobTaskKind
from .model.pool import Node, NodeState, Pool
from .model.task import Gang, TaskState
from .port_forwarding import PortForwarding
from .providers.base import NodeRequest, NotGranted, Observation, Provider
from .runtime import Outcome, Runtime

_log = logging.getLogger(__name__)

#: How often the provider is asked how its nodes are, in seconds.
_OBSERVE_S = 5.0
#: The pause before a node is tried to be released again: the first, doubled each time, and the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Effects:
    """All methods are for the event loop."""

    def __init__(
        self, runtime: Runtime, agents: Agents, provider: Provider, tokens: NodeTokens, *, base_url: str
    ) -> None:
        self._runtime = runtime
        self._agents = agents
        self._provider = provider
        self._tokens = tokens
        self._base_url = base_url.rstrip("/")
        self._ports = PortForwarding()
        #: Nodes that the provider has granted, with the boot that it was asked for: the ones to observe.
        self._granted: dict[str, int] = {}
        #: The latest request or release of each node; the next one waits for it.
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._observers: set[asyncio.Task[None]] = set()
        self._is_open = False

    def start(self) -> None:
        self._is_open = True
        self._observe_soon(self._observe_often())

    async def stop(self) -> None:
        """Do nothing more. What is under way is left undone, and is ordered again by the next process."""
        self._is_open = False
        running = [*self._operations.values(), *self._observers]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._ports.stop()

    def carry_out(self, outcome: Outcome) -> None:
        """Set the effects of a committed batch going."""
        if not self._is_open:
            return
        if outcome.restored is not None:
            self._take_over(outcome.restored, outcome.effects)
        drafts: defaultdict[str, NodeOrders] = defaultdict(NodeOrders)
        welcomes: dict[str, Welcome] = {}
        environments = {key: _environment(job) for key, job in outcome.jobs.items()}
        for effect in outcome.effects:
            match effect:
                case StartTask():
                    _draft_start(self._tokens, drafts[effect.node], effect, outcome, environments)
                case StopTask() | RunPrimary() | ForgetTask():
                    _draft(drafts[effect.node], effect)
                case SyncNode() if node := outcome.nodes.get(effect.node):
                    pool = outcome.pools[node.pool]
                    welcomes[node.key] = self._welcome(node, pool)
                    self._ports.open(node, pool)
                    draft = drafts[node.key] = NodeOrders(task_slots=pool.task_slots_per_node)
                    draft.forget += effect.forget
                    for start in effect.start:
                        _draft_start(self._tokens, draft, start, outcome, environments)
                case RequestNode():
                    self._agents.dismiss(effect.node.key, before_boot=effect.node.boot)
                    self._operate(effect.node.key, partial(self._request, effect.node, outcome.pools[effect.node.pool]))
                case ReleaseNode() | DeallocateNode():
                    self._agents.dismiss(effect.node)  # from now on nothing is heard of it, and its end is no news
                    self._granted.pop(effect.node, None)
                    self._ports.close(effect.node)
                    self._operate(effect.node, partial(self._end, effect))
        for key, chores in outcome.chores.items():
            drafts[key].delete += [
                DeleteFiles(chore.id, chore.deletion.job_id, chore.deletion.task_id) for chore in chores
            ]
        for key, draft in drafts.items():
            self._agents.order(key, draft, welcomes.get(key))

    def notice(self, observation: Observation) -> None:
        """The provider has seen something happen to a node. It is asked again: the news may be of an earlier boot."""
        if self._is_open:
            self._observe_soon(self._observe([observation.key]))

    # --- tasks ---

    def _welcome(self, node: Node, pool: Pool) -> Welcome:
        return Welcome(
            account_name=pool.account,
            account_url=f"{self._base_url}/",
            pool_id=pool.id,
            node_id=node.id,
            is_dedicated=node.is_dedicated,
            pool=msgspec.json.encode(pool.document),
        )

    # --- nodes ---

    def _take_over(self, nodes: Sequence[Node], effects: Sequence[Effect]) -> None:
        """Begin with the nodes on record: their agents should connect, and the provider knows whether they can.

        Those that are about to be requested or released are not in doubt.
        """
        asked = {effect.node.key for effect in effects if isinstance(effect, RequestNode)}
        released = {effect.node for effect in effects if isinstance(effect, ReleaseNode | DeallocateNode)}
        released |= {node.key for node in nodes if node.state is NodeState.DEALLOCATED}
        self._agents.reset()
        self._granted = {node.key: node.boot for node in nodes if node.key not in asked | released}
        for node, boot in self._granted.items():
            self._agents.expect(node, boot)
        self._observe_soon(self._observe(list(self._granted)))

    def _operate(self, node: str, operation: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a request or release after those before it of the same node."""
        previous = self._operations.get(node)

        async def in_turn() -> None:
            if previous is not None:
                await asyncio.wait([previous])
            await operation()

        def forget(task: asyncio.Task[None]) -> None:
            if self._operations.get(node) is task:
                del self._operations[node]

        task = self._operations[node] = asyncio.create_task(in_turn())
        task.add_done_callback(forget)

    async def _request(self, node: Node, pool: Pool) -> None:
        request = NodeRequest(
            key=node.key,
            pool_id=pool.id,
            node_id=node.id,
            number=node.number,
            boot=node.boot,
            disk=node.disk,
            vm_size=node.vm_size,
            token=self._tokens.token(node.key),
            channel_url=f"{self._base_url.replace('http', 'ws', 1)}/agents/{quote(node.key)}",
            pool=pool.document,
        )
        try:
            await self._provider.request(request)
        except NotGranted as refusal:
            self._refuse(node, refusal)
        except Exception as failure:
            _log.exception("The provider failed to start %s", node.key)
            self._refuse(node, NotGranted("AllocationFailed", f"The node could not be started: {failure}"))
        else:
            self._granted[node.key] = node.boot
            self._agents.expect(node.key, node.boot)
            await self._observe([node.key])  # it may have ended while it was being started

    def _refuse(self, node: Node, refusal: NotGranted) -> None:
        self._runtime.post(NodeNotGranted(node=node.key, boot=node.boot, code=refusal.code, message=refusal.message))

    async def _end(self, effect: ReleaseNode | DeallocateNode) -> None:
        if isinstance(effect, ReleaseNode):
            await self._insist("release", effect.node, self._provider.release)
            self._runtime.post(NodeReleased(node=effect.node))
        else:
            await self._insist("stop", effect.node, self._provider.stop)
            self._runtime.post(NodeDeallocated(node=effect.node, boot=effect.boot))

    async def _insist(self, what: str, node: str, operation: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        """Have the provider do something that must succeed in the end."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await operation(node)
            except Exception:
                _log.exception("The provider failed to %s %s", what, node)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return

    async def _observe_often(self) -> None:
        while True:
            await asyncio.sleep(_OBSERVE_S)
            await self._observe(list(self._granted))

    async def _observe(self, nodes: Sequence[str]) -> None:
        """Ask the provider how nodes are; those that have ended are news."""
        boots = {node: self._granted[node] for node in nodes if node in self._granted}
        if not boots:
            return
        try:
            observations = await self._provider.observe(list(boots))
        except Exception:
            _log.exception("The provider failed to observe its nodes")
            return
        for observation in observations:
            node, boot = observation.key, boots.get(observation.key)
            if not observation.running and boot is not None and self._granted.get(node) == boot:
                del self._granted[node]
                self._runtime.post(NodeEnded(node=node, boot=boot, message=observation.reason))

    def _observe_soon(self, observing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(observing)
        self._observers.add(task)
        task.add_done_callback(self._observers.discard)


def _draft(draft: NodeOrders, effect: StopTask | RunPrimary | ForgetTask) -> None:
    """Add to a node's orders what says no more than which attempt it is about."""
    match effect:
        case StopTask():
            draft.stop.append(effect.attempt)
        case RunPrimary():
            draft.run_primary.append(effect.attempt)
        case ForgetTask():
            (draft.discard if effect.discard else draft.forget).append(effect.attempt)


def _draft_start(
    tokens: NodeTokens,
    draft: NodeOrders,
    start: StartTask,
    outcome: Outcome,
    environments: Mapping[str, dict[str, str]],
) -> None:
    """Add a start to a node's orders, unless the task has gone on or away in the same batch."""
    job = outcome.jobs.get(start.attempt.job)
    if job is None:
        return
    environment = environments[job.key]
    if start.kind is not None:
        draft.start.append((start.attempt, _job_task(job, start.kind, start.attempt.attempt, environment)))
        return
    stored = outcome.tasks.get((job.key, start.attempt.task))
    if stored is None or stored.task.attempt != start.attempt.attempt or stored.task.state is TaskState.COMPLETED:
        return
    task = stored.task
    if task.gang is not None and start.node not in task.places:
        return
    assignment = Assignment(
        attempt=Attempt(job.id, task.id, task.attempt),
        required_slots=start.required_slots,
        task=stored.document,
        max_wall_clock_time=task.max_wall_clock_time,
        retention_time=task.retention_time,
        environment=environment,
        preparation=_preparation_id(job),
        authentication_token=tokens.task_token(start.attempt) if _wants_token(stored.document) else "",
        membership=None if task.gang is None else _membership(task.gang, start.node),
    )
    draft.start.append((start.attempt, assignment))


class _TokenSettings(msgspec.Struct):
    access: list[str] = []


class _TokenDocument(msgspec.Struct, rename="camel"):
    """The part of a task's document that asks for a token."""

    authentication_token_settings: _TokenSettings = msgspec.field(default_factory=_TokenSettings)


_decode_token_document = msgspec.json.Decoder(_TokenDocument).decode


def _wants_token(document: bytes) -> bool:
    """Whether a task is to have an authentication token. Few are, so few documents are read for it."""
    if b'"authenticationTokenSettings"' not in document:
        return False
    return "job" in _decode_token_document(document).authentication_token_settings.access


def _job_task(job: Job, kind: JobTaskKind, attempt: int, environment: dict[str, str]) -> Assignment:
    task = job.preparation if kind is JobTaskKind.PREPARATION else job.release
    assert task is not None  # noqa: S101 - it was ordered to run
    return Assignment(
        kind=kind.value,
        attempt=Attempt(job.id, task.id, attempt),
        required_slots=0,
        task=msgspec.json.encode(job.document[f"job{kind.capitalize()}Task"]),
        max_wall_clock_time=task.max_wall_clock_time,
        retention_time=task.retention_time,
        environment=environment,
        preparation=_preparation_id(job) if kind is JobTaskKind.RELEASE else None,
    )


def _preparation_id(job: Job) -> str | None:
    return None if job.preparation is None else job.preparation.id


def _membership(gang: Gang, node: str) -> Membership:
    members = tuple(Member(instance.node_id, instance.ip_address) for instance in gang.instances)
    return Membership(gang.find(node)[0], members)


def _environment(job: Job) -> dict[str, str]:
    return {setting["name"]: setting.get("value", "") for setting in job.document.get("commonEnvironmentSettings", ())}
