"""The log of committed changes: numbered, bounded, followed by many."""

from __future__ import annotations

import asyncio

from millpond.batch.change_log import ChangeLog
from millpond.batch.model.changes import Changes


def removals(*keys: str) -> Changes:
    return Changes(jobs=dict.fromkeys(keys))


async def test_changes_are_numbered_and_read_in_parts() -> None:
    log = ChangeLog()
    log.append(removals("a/1", "a/2"))
    log.append(removals("a/3"))
    assert [(change.number, change.key) for change in log.since(0, 2)] == [(1, "a/1"), (2, "a/2")]
    assert [change.key for change in log.since(2, 2)] == ["a/3"]
    assert log.since(3, 2) == []
    assert (log.oldest, log.newest) == (1, 3)


async def test_only_the_latest_are_kept() -> None:
    log = ChangeLog(kept=2)
    log.append(removals("a/1", "a/2", "a/3"))
    assert (log.oldest, log.newest) == (2, 3)
    assert [change.key for change in log.since(1, 9)] == ["a/2", "a/3"]


async def test_news_wake_everyone_who_waits() -> None:
    log = ChangeLog()
    waiting = [asyncio.create_task(log.news()) for _ in range(3)]
    await asyncio.sleep(0)
    log.append(Changes())
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    log.append(removals("a/1"))
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
