"""Nodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from ..batch_client import BatchClient, millpond
from ..measuring import OURS, Contender, Goal, row

_NODES = 50


@row("pool", Goal("50 nodes, s", "<=", 3))
def pool(stack: ExitStack, directory: Path) -> Mapping[str, Contender]:
    """A pool of 50 local nodes, each a process with a directory and a sandbox of its own.

    Timed from sending the request that adds the pool until all nodes are idle, as listed; deleting it is not timed.
    """
    _, client = stack.enter_context(millpond(directory))
    pools = iter(range(1 << 30))
    return {OURS: lambda: _make_pool(client, f"pool-{next(pools)}")}


def _make_pool(client: BatchClient, name: str) -> dict[str, float]:
    began = time.perf_counter()
    client.add_pool(name, _NODES)
    client.wait_until_idle(name, _NODES)
    took = time.perf_counter() - began
    client.delete_pool(name)
    return {f"{_NODES} nodes, s": took}
