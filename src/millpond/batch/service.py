"""The Batch service put together: which store, which provider, and the order in which its parts start and stop."""

from __future__ import annotations

from sqlalchemy import URL

from millpond.common.clock import Clock, SystemClock
from millpond.common.config import Accounts, Settings

from .agents import Agents, NodeTokens, TaskToken
from .applications import open_applications
from .auto_storage import AutoStorage
from .certificates import Certificates
from .change_log import ChangeLog
from .effects import Effects
from .model.limits import limits_of
from .model.task import TaskState
from .node_actions import NodeActions
from .node_files import NodeFiles
from .providers.base import Observation, Provider
from .runtime import Outcome, Runtime
from .store.base import Reader


class BatchService:
    """What the API stands on: requests go to ``runtime``, reads to ``reader``, the nodes' files to ``files``, what
    else nodes do at once to ``actions``."""

    def __init__(
        self,
        *,
        clock: Clock,
        runtime: Runtime,
        reader: Reader,
        agents: Agents,
        effects: Effects,
        provider: Provider,
        tokens: NodeTokens,
        settings: Settings,
        accounts: Accounts,
    ) -> None:
        self.clock = clock
        self.runtime = runtime
        self.reader = reader
        self.agents = agents
        self.files = NodeFiles(agents)
        self.actions = NodeActions(agents)
        self.provider = provider
        self.tokens = tokens
        self.settings = settings
        self.accounts = accounts
        self.applications = open_applications(settings)
        self.certificates = Certificates(settings.data / "batch" / "certificates.json")
        self.auto_storage = AutoStorage(accounts, settings.blob_url)
        self.change_log = ChangeLog()
        #: Tells this run of the service from others.
        self.started = f"{clock.now():x}"
        self._effects = effects

    def task_of(self, token: str) -> TaskToken | None:
        """The task that an authentication token was made for, while the attempt in question lasts."""
        said = self.tokens.read_task_token(token)
        stored = said and self.reader.task(said.job, said.task)
        if not said or not stored or stored.task.attempt != said.attempt:
            return None
        task = stored.task
        is_over = task.state is TaskState.COMPLETED or task.node is None or task.withdrawal is not None
        return None if is_over else said

    async def start(self) -> None:
        """Take up the work where the store says it is."""
        self._effects.start()
        try:
            await self.runtime.start(self._committed)
        except BaseException:
            await self._effects.stop()
            raise

    def _committed(self, outcome: Outcome) -> None:
        for changes in outcome.changes:
            self.change_log.append(changes)
        self._effects.carry_out(outcome)

    async def stop(self, *, release_nodes: bool = True) -> None:
        """Stop; ``release_nodes`` ends all nodes with what they run.

        Agents are no longer listened to before that, so that what it does to tasks is not taken for their own doing:
        the next start finds the nodes gone, has them boot again, and the tasks wait for a new place.
        """
        self.agents.close()
        await self._effects.stop()
        try:
            await self.provider.close(release_all=release_nodes)
        finally:
            await self.runtime.stop()
            self.reader.close()


def open_service(settings: Settings, accounts: Accounts, base_url: str, clock: Clock | None = None) -> BatchService:
    """The service on the settings' data directory, with nodes on this machine; clients and agents reach it at
    ``base_url``.

    Raises ``OSError`` or ``sqlalchemy.exc.SQLAlchemyError`` where the data cannot be opened.
    """
    from .providers.local import LocalProvider
    from .store.sql import open_store

    directory = settings.data / "batch"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock = clock or SystemClock()
    writer, reader = open_store(URL.create("sqlite", database=str(directory / "batch.db")))
    tokens = NodeTokens(directory / "agent.key", clock)
    runtime = Runtime(writer, clock, ready_window=settings.ready_window, limits=limits_of(settings))
    agents = Agents(runtime, clock, heartbeat_timeout_s=settings.heartbeat_timeout_s)

    def on_end(observation: Observation) -> None:
        effects.notice(observation)

    provider = LocalProvider(settings, on_end)
    effects = Effects(runtime, agents, provider, tokens, base_url=base_url)
    return BatchService(
        clock=clock,
        runtime=runtime,
        reader=reader,
        agents=agents,
        effects=effects,
        provider=provider,
        tokens=tokens,
        settings=settings,
        accounts=accounts,
    )
