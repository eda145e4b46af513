"""The WebSocket of the agents, as it meets whoever knocks."""

from __future__ import annotations

import msgspec
import pytest
from tests.servers import Server
from tests.unit.batch_runtime.simulated import hello
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from millpond.batch.agents import NodeTokens
from millpond.common.agent_protocol import CLOSED_FOR_GOOD
from millpond.common.clock import SystemClock

_NODE = "millpond/pool/tvmps_0_d"


def _knock(server: Server, token: str | None, node: str = _NODE) -> ClientConnection:
    headers = {} if token is None else {"Authorization": token}
    url = f"{server.batch_url.replace('http', 'ws', 1)}/agents/{node}"
    return connect(url, additional_headers=headers, open_timeout=10)


def _token(server: Server, node: str = _NODE) -> str:
    return NodeTokens(server.data / "batch" / "agent.key", SystemClock()).token(node)


@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic wrong", "SharedKey a:b"])
def test_without_the_nodes_token_the_channel_stays_shut(server: Server, token: str | None) -> None:
    with pytest.raises(InvalidStatus) as caught:
        _knock(server, token)
    assert caught.value.response.status_code == 403


def test_token_of_another_node_opens_nothing(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        _knock(server, f"Bearer {_token(server)}", node="millpond/pool/tvmps_1_d")
    assert caught.value.response.status_code == 403


def test_account_key_opens_nothing(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        _knock(server, f"Bearer {server.credentials['BATCH_ACCOUNT_KEY']}")
    assert caught.value.response.status_code == 403


def test_token_opens_the_channel_and_nonsense_closes_it(server: Server) -> None:
    with _knock(server, f"Bearer {_token(server)}") as channel:
        channel.send("text, and no hello")
        with pytest.raises(ConnectionClosed) as caught:
            channel.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1007


def test_agent_of_a_node_that_is_gone_is_told_to_end(server: Server) -> None:
    with _knock(server, f"Bearer {_token(server)}") as channel:
        channel.send(msgspec.msgpack.encode(hello()))
        with pytest.raises(ConnectionClosed) as caught:
            channel.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == CLOSED_FOR_GOOD


def test_secret_is_readable_by_its_owner_alone(server: Server) -> None:
    assert (server.data / "batch" / "agent.key").stat().st_mode & 0o777 == 0o600
