from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond.batch.model.endpoints import endpoints, next_number, public_address, room
from millpond.batch.model.pool import Pool


def _pool(*sizes: int, created: int = 0, key: str = "account/p") -> Pool:
    nat_pools = [
        {
            "name": f"n{index}",
            "protocol": "tcp",
            "backendPort": 80 + index,
            "frontendPortRangeStart": 1000 * (index + 1),
            "frontendPortRangeEnd": 1000 * (index + 1) + size - 1,
        }
        for index, size in enumerate(sizes)
    ]
    return Pool(
        key=key,
        account="account",
        id="p",
        state_transition_time=0,
        allocation_state_transition_time=0,
        creation_time=0,
        last_modified=0,
        vm_size="s",
        resize_timeout=1,
        nodes_created=created,
        document={"networkConfiguration": {"endpointConfiguration": {"inboundNATPools": nat_pools}}},
    )


def test_a_pool_without_endpoints() -> None:
    pool = _pool()
    assert (room(pool), endpoints(pool, 1), next_number(pool, [1, 2])) == (None, [], 1)


def test_each_range_has_a_port_for_each_node() -> None:
    pool = _pool(50, 40)
    assert room(pool) == 40
    ports = [(each.name, each.frontend_port, each.backend_port) for each in endpoints(pool, 3)]
    assert ports == [("n0.2", 1002, 80), ("n1.2", 2002, 81)]
    assert endpoints(pool, 43) == endpoints(pool, 3)


def test_pools_have_addresses_of_their_own() -> None:
    assert public_address(_pool(40)) != public_address(_pool(40, key="account/q"))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100))))
def test_no_two_nodes_share_a_port(steps: list[tuple[bool, int]]) -> None:
    """Nodes come and go in any order, as long as there is room."""
    created, nodes = 0, list[int]()
    for adds, index in steps * 5:
        if adds and len(nodes) < 4:
            pool = _pool(4, created=created)
            created = next_number(pool, nodes)
            assert created > pool.nodes_created
            nodes.append(created)
        elif nodes:
            nodes.pop(index % len(nodes))
        ports = [endpoints(_pool(4), number)[0].frontend_port for number in nodes]
        assert len(set(ports)) == len(ports)
