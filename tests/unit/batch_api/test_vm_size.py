from __future__ import annotations

import pytest

from millpond.batch.model.vm_size import most_task_slots, vm_size
from millpond.common.config import VmSize


@pytest.mark.parametrize(
    ("name", "cores", "memory_gib"),
    [
        ("standard_a1_v2", 1, 2),
        ("STANDARD_D2s_v3", 2, 8),
        ("Standard_D2_v2", 2, 7),
        ("Standard_D5_v2", 16, 56),
        ("Standard_F8s_v2", 8, 16),
        ("Standard_E96as_v5", 96, 768),
        ("Standard_HB120rs_v3", 120, 480),
        ("Standard_NC6s_v3", 6, 54),
        ("Standard_M8-2ms", 8, 128),
        ("basic_a3", 3, 6),
        ("small", 1, 1.75),
        ("whatever", 2, 8),
        ("", 2, 8),
        ("Standard_D0_v9", 2, 8),
    ],
)
def test_every_name_has_a_size(name: str, cores: int, memory_gib: float) -> None:
    assert vm_size(name) == VmSize(cores, int(memory_gib * 1024))


def test_own_table_comes_first() -> None:
    assert vm_size("standard_d2s_v3", {"Standard_D2s_v3": VmSize(64, 1024)}) == VmSize(64, 1024)


@pytest.mark.parametrize(("cores", "slots"), [(1, 4), (2, 8), (64, 256), (96, 256)])
def test_a_core_has_at_most_four_task_slots(cores: int, slots: int) -> None:
    assert most_task_slots(VmSize(cores, 1024)) == slots
