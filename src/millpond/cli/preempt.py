"""``millpond preempt``: play the cloud that wants a low-priority node's machine back."""

from __future__ import annotations

from urllib.parse import quote

from millpond.common.config import Settings

from .batch_client import post


def preempt(settings: Settings, account: str | None, node: str, seconds: int) -> None:
    """Raises ``CommandError``."""
    post(settings, account, f"/nodes/{quote(node, safe='')}/preempt", {"seconds": str(seconds)})
    print(f"Preempted {node}; there will be a machine for it again in {seconds} s.")
