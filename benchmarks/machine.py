"""On what a measurement was made."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from .environments import ROOT


def machine_facts(directory: Path) -> dict[str, str | int | float]:
    """``directory`` is where the measurements write."""
    model = re.search(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    partition = max(
        (each for each in psutil.disk_partitions(all=True) if directory.is_relative_to(each.mountpoint)),
        key=lambda each: len(each.mountpoint),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip(),
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": partition.fstype,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
