"""GNU parallel."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ..environments import system_program


def run_true(directory: Path, cores: int, count: int) -> float:
    """Seconds for as many runs of ``true``, each with a directory of its own and files for its output."""
    # The argument only numbers the runs; "-n1 -N0"-like options slow parallel down.
    command: list[str | Path] = [system_program("parallel"), f"-j{cores}", "--results", directory / "results"]
    numbers = "".join(f"{number}\n" for number in range(count))
    began = time.perf_counter()
    subprocess.run([*command, "true # {}"], input=numbers, text=True, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
