"""What the owner of a service allows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from millpond.common.clock import MINUTE, SECOND
from millpond.common.config import Quotas, Settings, VmSize

from .vm_size import vm_size


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that the engine decides by."""

    quotas: Quotas = Quotas()
    vm_sizes: Mapping[str, VmSize] = {}
    shortest_evaluation_interval: int = 5 * MINUTE

    @property
    def enable_spacing(self) -> int:
        """How long a client has to wait until it enables automatic scaling of a pool again."""
        return min(30 * SECOND, self.shortest_evaluation_interval)

    def cores(self, size: str) -> int:
        """How many cores a ``vmSize`` stands for."""
        return vm_size(size, self.vm_sizes).cores


def limits_of(settings: Settings) -> Limits:
    return Limits(
        quotas=settings.quotas,
        vm_sizes=settings.vm_sizes,
        shortest_evaluation_interval=int(settings.shortest_evaluation_interval_s * SECOND),
    )
