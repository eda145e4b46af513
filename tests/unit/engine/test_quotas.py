from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulation.client import make_job, make_pool
from tests.unit.engine.bench import Bench

from millpond.batch.engine.messages import (
    JobAddRequested,
    JobTerminateRequested,
    NodeReleased,
    PoolAddRequested,
    PoolDeleteRequested,
    ResizeRequested,
)
from millpond.batch.model.limits import Limits
from millpond.batch.model.pool import AllocationState, NodeState
from millpond.common.config import Quotas, VmSize


def bench_with(**quotas: int) -> Bench:
    return Bench(limits=Limits(quotas=Quotas(**quotas), vm_sizes={"big": VmSize(4, 1024)}))


def let_settle(bench: Bench) -> None:
    """All that should leave has left, all that should come has come."""
    leaving = [key for key, node in bench.archive.nodes.items() if node.state is NodeState.LEAVING_POOL]
    bench.do(*[NodeReleased(node=key) for key in leaving])
    bench.connect(*[key for key, node in bench.archive.nodes.items() if node.state is NodeState.CREATING])


RESIZES = st.lists(
    st.tuples(st.sampled_from(["pool", "big"]), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8
)


@given(dedicated=st.integers(0, 12), low_priority=st.integers(0, 12), resizes=RESIZES)
def test_nodes_never_have_more_cores_than_the_account(
    dedicated: int, low_priority: int, resizes: list[tuple[str, int, int]]
) -> None:
    bench = bench_with(dedicated_cores=dedicated, low_priority_cores=low_priority)
    bench.do(PoolAddRequested(pool=make_pool("pool", 0, 1)))
    bench.do(PoolAddRequested(pool=replace(make_pool("big", 0, 1), vm_size="big")))
    for name, target, low_target in resizes:
        bench.do(
            ResizeRequested(
                pool=name, target_dedicated_nodes=target, target_low_priority_nodes=low_target, resize_timeout=None
            )
        )
        let_settle(bench)
        pool = bench.pool_record(name)
        assert pool.allocation_state is AllocationState.STEADY
        nodes = [node for node in bench.archive.nodes.values() if node.pool == name]
        for is_dedicated, quota, code in (
            (True, dedicated, "AccountCoreQuotaReached"),
            (False, low_priority, "AccountLowPriorityCoreQuotaReached"),
        ):
            used = sum(
                4 if node.vm_size == "big" else 1
                for node in bench.archive.nodes.values()
                if node.is_dedicated is is_dedicated
            )
            assert used <= quota
            is_short = [node.is_dedicated for node in nodes].count(is_dedicated) < pool.target(is_dedicated)
            assert is_short == (code in {problem.code for problem in pool.resize_errors})
            if is_short:
                assert used + (4 if name == "big" else 1) > quota


def test_pools_that_are_being_deleted_count_until_they_are_gone() -> None:
    bench = bench_with(pools=1)
    (node,) = bench.pool(nodes=1)
    other = PoolAddRequested(pool=make_pool("other", 0, 1))
    assert bench.refused(other) == "PoolQuotaReached"
    assert bench.refused(PoolAddRequested(pool=make_pool("pool", 0, 1))) == "PoolExists"
    bench.do(PoolDeleteRequested(pool="pool"))
    assert bench.refused(other) == "PoolQuotaReached"
    bench.do(NodeReleased(node=node))
    bench.do(other)
    bench.do(PoolAddRequested(pool=replace(make_pool("theirs", 0, 1), account="b")))


def test_jobs_that_are_over_do_not_count() -> None:
    bench = bench_with(active_jobs_and_schedules=1)
    bench.job()
    other = JobAddRequested(job=make_job("other", "pool"))
    assert bench.refused(other) == "ActiveJobAndScheduleQuotaReached"
    bench.do(JobTerminateRequested(job="job"))
    bench.do(other)
    bench.do(JobAddRequested(job=replace(make_job("theirs", "pool"), account="b")))


@pytest.mark.parametrize(("nodes", "granted"), [(2, 2), (5, 3)])
def test_pool_whose_nodes_communicate_is_bounded(nodes: int, granted: int) -> None:
    bench = bench_with(communicating_nodes=3)
    bench.pool(nodes=nodes, document={"enableInterNodeCommunication": True})
    pool = bench.pool_record()
    assert len(bench.archive.nodes) == granted
    codes = [problem.code for problem in pool.resize_errors]
    assert codes == (["CommunicationEnabledPoolReachedMaxVMCount"] if nodes > 3 else [])
    bench.pool(nodes=nodes, key="silent")
    assert len([node for node in bench.archive.nodes.values() if node.pool == "silent"]) == nodes


def test_pool_with_endpoints_has_no_more_nodes_than_ports() -> None:
    nat_pool = {"name": "web", "frontendPortRangeStart": 2000, "frontendPortRangeEnd": 2039, "backendPort": 80}
    document = {"networkConfiguration": {"endpointConfiguration": {"inboundNATPools": [nat_pool]}}}
    bench = bench_with()
    bench.pool(nodes=41, document=document)
    assert {node.number for node in bench.archive.nodes.values()} == set(range(1, 41))
    assert [problem.code for problem in bench.pool_record().resize_errors] == ["AllocationFailed"]
