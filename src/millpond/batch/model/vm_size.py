"""What a ``vmSize`` stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from millpond.common.config import VmSize

#: Gibibytes for each core, by the letters of a series (``Standard_D4s_v3``: D).
_MEMORY_PER_CORE_GIB = {
    "a": 2.0,
    "b": 4.0,
    "d": 4.0,
    "ds": 3.5,
    "e": 8.0,
    "f": 2.0,
    "g": 14.0,
    "h": 7.0,
    "hb": 4.0,
    "hc": 8.0,
    "l": 8.0,
    "m": 16.0,
    "nc": 9.0,
    "nd": 19.0,
    "nv": 7.0,
}
#: Sizes of the first generations, whose number does not count cores.
_OLD_SIZES = {
    "small": VmSize(1, 1_792),
    "medium": VmSize(2, 3_584),
    "large": VmSize(4, 7_168),
    "extralarge": VmSize(8, 14_336),
    "standard_a0": VmSize(1, 768),
    "standard_a1": VmSize(1, 1_792),
    "standard_a2": VmSize(2, 3_584),
    "standard_a3": VmSize(4, 7_168),
    "standard_a4": VmSize(8, 14_336),
    "standard_d1": VmSize(1, 3_584),
    "standard_d2": VmSize(2, 7_168),
    "standard_d3": VmSize(4, 14_336),
    "standard_d4": VmSize(8, 28_672),
    "standard_d1_v2": VmSize(1, 3_584),
    "standard_d2_v2": VmSize(2, 7_168),
    "standard_d3_v2": VmSize(4, 14_336),
    "standard_d4_v2": VmSize(8, 28_672),
    "standard_d5_v2": VmSize(16, 57_344),
    "standard_d11_v2": VmSize(2, 14_336),
    "standard_d12_v2": VmSize(4, 28_672),
    "standard_d13_v2": VmSize(8, 57_344),
    "standard_d14_v2": VmSize(16, 114_688),
}
#: Most task slots that a core may have, and a node.
_SLOTS_PER_CORE = 4
_MOST_SLOTS = 256
#: For a name that says nothing.
_DEFAULT = VmSize(2, 8_192)

_NAME = re.compile(r"(?:standard|basic)_(?P<series>[a-z]+?)(?P<cores>\d+)(?:-\d+)?[a-z]*(?:_.*)?")


def vm_size(name: str, table: Mapping[str, VmSize] | None = None) -> VmSize:
    """Cores and memory of a size: from a table of one's own, the sizes known here, or what the name says.

    Names are compared without case. Every name has a size, for a local node needs no machine of that kind.
    """
    lower = name.lower()
    for size, meaning in (table or {}).items():
        if size.lower() == lower:
            return meaning
    if lower in _OLD_SIZES:
        return _OLD_SIZES[lower]
    match = _NAME.fullmatch(lower)
    if not match or not int(match["cores"]):
        return _DEFAULT
    cores = int(match["cores"])
    series = match["series"]
    per_core = _MEMORY_PER_CORE_GIB.get(series) or _MEMORY_PER_CORE_GIB.get(series[0], 4.0)
    return VmSize(cores, int(cores * per_core * 1024))


def most_task_slots(size: VmSize) -> int:
    """The highest ``taskSlotsPerNode`` of a pool of such nodes: four for each core, and 256."""
    return min(_SLOTS_PER_CORE * size.cores, _MOST_SLOTS)
