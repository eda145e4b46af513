"""The variables that the service defines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

#: Read-only variables, each with what it measures. The slot-weighted ones are our own.
METRICS: dict[str, str] = {
    "$ActiveTasks": "tasks that are ready to run and wait for a node; a multi-instance task counts its instances",
    "$RunningTasks": "tasks that run",
    "$PendingTasks": "`$ActiveTasks` and `$RunningTasks` together",
    "$SucceededTasks": "tasks that ended well during the sample's 30 seconds",
    "$FailedTasks": "tasks that failed during the sample's 30 seconds",
    "$RunningTaskSlots": "slots that running tasks take",
    "$PendingTaskSlots": "slots that the tasks of `$PendingTasks` take or need",
    "$TaskSlotsPerNode": "task slots of each node",
    "$CurrentDedicatedNodes": "dedicated nodes in the pool",
    "$CurrentLowPriorityNodes": "low-priority (Spot) nodes in the pool, preempted ones included",
    "$PreemptedNodeCount": "nodes that were preempted and have not come back",
    "$UsableNodeCount": "nodes that can run tasks",
    "$SampleNodeCount": "nodes that the sample's measurements come from",
    "$CPUPercent": "CPU use, averaged over the nodes; a fraction from 0 to 1, despite its name",
    "$WallClockSeconds": "seconds that the nodes were up during the sample, added up",
    "$MemoryBytes": "memory in use, in megabytes, averaged over the nodes",
    "$DiskBytes": "local disk space in use, in gigabytes, averaged over the nodes",
    "$DiskReadBytes": "bytes read from disks during the sample, over all nodes",
    "$DiskWriteBytes": "bytes written to disks during the sample, over all nodes",
    "$DiskReadOps": "read operations of disks during the sample, over all nodes",
    "$DiskWriteOps": "write operations of disks during the sample, over all nodes",
    "$NetworkInBytes": "bytes received during the sample, over all nodes",
    "$NetworkOutBytes": "bytes sent during the sample, over all nodes",
}

#: Names of the years before low-priority nodes, which still work.
METRIC_ALIASES: dict[str, str] = {
    "$CurrentDedicated": "$CurrentDedicatedNodes",
    "$CurrentLowPriority": "$CurrentLowPriorityNodes",
}

TARGET_DEDICATED = "$TargetDedicatedNodes"
TARGET_LOW_PRIORITY = "$TargetLowPriorityNodes"
DEALLOCATION_OPTION = "$NodeDeallocationOption"

#: The targets, and the old name of each; where a formula sets both, the full name counts.
TARGET_ALIASES: dict[str, str] = {
    TARGET_DEDICATED: "$TargetDedicated",
    TARGET_LOW_PRIORITY: "$TargetLowPriority",
}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


#: How the measurements of many nodes become one sample.
_OVER_NODES: dict[str, Callable[[Sequence[float]], float]] = {
    "$CPUPercent": _mean,
    "$WallClockSeconds": sum,
    "$MemoryBytes": _mean,
    "$DiskBytes": _mean,
    "$DiskReadBytes": sum,
    "$DiskWriteBytes": sum,
    "$DiskReadOps": sum,
    "$DiskWriteOps": sum,
    "$NetworkInBytes": sum,
    "$NetworkOutBytes": sum,
}


def over_nodes(measurements: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """One sample of the node metrics, from what each node measured during its 30 seconds.

    A metric that no node measured has no sample; ``$SampleNodeCount`` always has one.
    """
    nodes = list(measurements)
    sample: dict[str, float] = {"$SampleNodeCount": float(len(nodes))}
    for name, combine in _OVER_NODES.items():
        if values := [node[name] for node in nodes if name in node]:
            sample[name] = combine(values)
    return sample
