"""The WebSocket that agents hold open: ``/agents/{node key}``, with the node's token as bearer."""

from __future__ import annotations

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..agents import ChannelClosed
from ..service import BatchService


async def agent_channel(service: BatchService, websocket: WebSocket, node: str) -> None:
    """Serve an agent's channel until it closes; without the node's token it is not opened (403)."""
    scheme, _, token = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not service.tokens.admits(node, token.strip()):
        await websocket.close()
        return
    await websocket.accept()
    await service.agents.serve(node, _WebSocketTransport(websocket))


class _WebSocketTransport:
    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ChannelClosed
        data: bytes = message.get("bytes") or message.get("text", "").encode()
        return data

    async def send(self, message: bytes) -> None:
        try:
            await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError) as failure:  # starlette's RuntimeError: it is closed already
            raise ChannelClosed from failure

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError) as failure:
            raise ChannelClosed from failure
