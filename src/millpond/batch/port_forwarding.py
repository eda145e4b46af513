"""Carries connections from the public addresses of pools to the ports of their nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from .model.endpoints import Endpoint, endpoints
from .model.pool import Node, Pool

_log = logging.getLogger(__name__)

_CHUNK = 1 << 16
#: The pause before a port that another program has is tried again, in seconds.
_PAUSE_S = 5.0


class PortForwarding:
    """All methods are for the event loop."""

    def __init__(self) -> None:
        #: What listens for each node, and the address that it leads to.
        self._nodes: dict[str, tuple[str, list[asyncio.Task[None]]]] = {}

    def open(self, node: Node, pool: Pool) -> None:
        """Let a node's endpoints be reached, from now until :meth:`close`."""
        wanted = endpoints(pool, node.number)
        if not wanted or not node.ip_address:
            return
        if (present := self._nodes.get(node.key)) and present[0] == node.ip_address:
            return
        self.close(node.key)
        forwarding = [asyncio.create_task(_forward(each, node)) for each in wanted]
        self._nodes[node.key] = (node.ip_address, forwarding)

    def close(self, node: str) -> None:
        """Listen no more for a node, and end the connections to it."""
        _, forwarding = self._nodes.pop(node, ("", []))
        for task in forwarding:
            task.cancel()

    async def stop(self) -> None:
        forwarding = [task for _, tasks in self._nodes.values() for task in tasks]
        for node in list(self._nodes):
            self.close(node)
        await asyncio.gather(*forwarding, return_exceptions=True)


async def _forward(endpoint: Endpoint, node: Node) -> None:
    """Listen at an endpoint until this is cancelled."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        connections.add(task)
        try:
            await _connect(reader, writer, node.ip_address, endpoint.backend_port)
        except asyncio.CancelledError:
            pass  # the endpoint is closed, and so is the connection
        finally:
            connections.discard(task)
            writer.close()

    try:
        server = await _listen(endpoint, node, connected)
        async with server:
            await server.serve_forever()
    finally:
        for task in list(connections):
            task.cancel()


async def _listen(endpoint: Endpoint, node: Node, connected: object) -> asyncio.Server:
    is_told = False
    while True:
        try:
            return await asyncio.start_server(connected, endpoint.public_address, endpoint.frontend_port)  # type: ignore[arg-type]
        except OSError as error:
            if not is_told:
                _log.warning("endpoint %s of node %s cannot be had: %s", endpoint.name, node.key, error)
                is_told = True
            await asyncio.sleep(_PAUSE_S)


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: int) -> None:
    try:
        node_reader, node_writer = await asyncio.open_connection(address, port)
    except OSError:
        writer.transport.abort()  # nobody listens there
        return
    try:
        await asyncio.gather(_pump(reader, node_writer), _pump(node_reader, writer))
    finally:
        node_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end, and say that it has ended."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
