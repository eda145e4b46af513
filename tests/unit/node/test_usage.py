from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from millpond.node.usage import PERIOD_S, Usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")

_WORK = """
import sys, time
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
with open(sys.argv[1], "wb") as file:
    for _ in range(10):
        file.write(bytes(1 << 20))
"""


def test_what_a_child_used_is_counted_after_its_end_too(tmp_path: Path) -> None:
    usage = Usage(tmp_path)
    assert 0 < usage.due_in_s <= PERIOD_S
    subprocess.run([sys.executable, "-c", _WORK, str(tmp_path / "file")], check=True)
    found = usage.measure()
    seconds = found["$CPUPercent"] * found["$WallClockSeconds"]
    assert 0.1 < seconds < 10  # of all processors together
    assert found["$DiskWriteOps"] >= 10
    assert found["$MemoryBytes"] > 10
    assert found["$DiskBytes"] > 0
    assert "$NetworkInBytes" not in found


def test_measurement_is_of_the_time_since_the_one_before(tmp_path: Path) -> None:
    usage = Usage(tmp_path)
    subprocess.run([sys.executable, "-c", _WORK, str(tmp_path / "file")], check=True)
    first, second = usage.measure(), usage.measure()
    assert second["$DiskWriteOps"] < first["$DiskWriteOps"]
    assert second["$WallClockSeconds"] < first["$WallClockSeconds"]


def test_processes_that_run_are_counted(tmp_path: Path) -> None:
    usage = Usage(tmp_path)
    alone = usage.measure()["$MemoryBytes"]
    program = "block = bytearray(200 << 20); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert usage.measure()["$MemoryBytes"] > alone + 150
        process.communicate(b"\n")
