"""Nodes in trouble say what it is: a disk that is full, a start task that fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.nodes import KEY, Node, local_node

from millpond.common.agent_protocol import Recovered, Report, Trouble


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of its own, of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs to mount a file system, as root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system: {mounted.stderr.decode()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def last_word(node: Node, kind: type[Report]) -> Report:
    """The node's latest word on how it is, once it is of that kind."""

    def find() -> Report | None:
        words = [each for each in node.server.reports.get(KEY, []) if isinstance(each, Trouble | Recovered)]
        return words[-1] if words and isinstance(words[-1], kind) else None

    return await node.server.until(find)


async def test_full_disk_is_told_and_so_is_its_end(small_disk: Path) -> None:
    async with local_node(small_disk / "data", "process") as node:
        await last_word(node, Recovered)
        await node.run("/bin/sh -c 'head -c 10000000 /dev/zero > $AZ_BATCH_NODE_SHARED_DIR/big'")
        trouble = await last_word(node, Trouble)
        assert isinstance(trouble, Trouble)
        assert trouble.code == "DiskFull"
        assert dict(trouble.details)["ReservedBytes"] == "1000000"
        [reply] = await node.server.file(KEY, "delete", "shared/big")
        assert reply.error is None
        await last_word(node, Recovered)
        assert (await node.run("true", "after")).exit_code == 0


async def test_start_task_that_fails_says_its_last_words(tmp_path: Path) -> None:
    script = "echo first >&2; echo out; echo the last line >&2; echo >&2; exit 3"
    pool = {"startTask": {"commandLine": f"/bin/sh -c '{script}'"}}
    async with local_node(tmp_path / "data", "process", pool=pool) as node:
        report = await node.server.start_task(KEY)
        assert report.failure is not None
        assert report.failure.details[-1] == ("StandardError", "the last line")


async def test_start_task_whose_words_lie_elsewhere_says_nothing(tmp_path: Path) -> None:
    script = "rm ../stderr.txt; ln -s /etc/passwd ../stderr.txt; exit 3"
    pool = {"startTask": {"commandLine": f"/bin/sh -c '{script}'"}}
    async with local_node(tmp_path / "data", "process", pool=pool) as node:
        report = await node.server.start_task(KEY)
        assert report.failure is not None
        assert "StandardError" not in dict(report.failure.details)
