"""A plugin of pytest: clients try again after a second at most, where they would wait for a quarter of a minute.

A test that gets the same error every time fails with that error, then, instead of by its timeout.
"""

from __future__ import annotations

import asyncio
import time

from azure.core.pipeline.transport import AsyncHttpTransport, HttpTransport

_LONGEST_S = 1.0


def _sleep(_: object, duration: float) -> None:
    time.sleep(min(duration, _LONGEST_S))


async def _sleep_async(_: object, duration: float) -> None:
    await asyncio.sleep(min(duration, _LONGEST_S))


def pytest_configure() -> None:
    HttpTransport.sleep = _sleep  # type: ignore[method-assign, assignment]
    AsyncHttpTransport.sleep = _sleep_async  # type: ignore[method-assign, assignment]
