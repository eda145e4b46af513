"""What a process and all below it take of the machine's memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

_PERIOD_S = 0.1


@dataclass
class Seen:
    """The most that was seen, in bytes."""

    peak: int = 0


def memory(pid: int) -> int:
    """The proportional set size of a tree of processes: what several share is counted once. In bytes."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


@contextmanager
def watched(pid: int) -> Iterator[Seen]:
    """Look at the memory of a tree of processes for as long as the block runs."""
    seen, is_over = Seen(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_PERIOD_S):
            seen.peak = max(seen.peak, memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()
