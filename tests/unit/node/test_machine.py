"""The agent's decisions, played through without processes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from millpond.common.agent_protocol import (
    Assignment,
    Attempt,
    DeleteFiles,
    Ended,
    FilesDeleted,
    Orders,
    Started,
)
from millpond.common.durations import UNLIMITED
from millpond.node.machine import Delete, Discard, Instruction, Kill, Launch, Limit, Machine, Tell

NOW = 1_000_000


def want(task: str, attempt: int = 1, *, slots: int = 1, job: str = "job") -> Assignment:
    return Assignment(
        attempt=Attempt(job, task, attempt),
        required_slots=slots,
        task=b"{}",
        max_wall_clock_time=UNLIMITED,
        retention_time=UNLIMITED,
    )


def at(task: str, attempt: int = 1) -> Attempt:
    return Attempt("job", task, attempt)


def over(task: str, attempt: int = 1, exit_code: int | None = 0) -> Ended:
    return Ended(at(task, attempt), NOW, NOW + 1, exit_code)


def orders(*start: Assignment, slots: int = 1, **rest: Any) -> Orders:
    return Orders(task_slots=slots, start=list(start), **rest)


def launched(instructions: list[Instruction]) -> list[str]:
    return [each.assignment.attempt.task_id for each in instructions if isinstance(each, Launch)]


def killed(instructions: list[Instruction]) -> list[Attempt]:
    return [each.attempt for each in instructions if isinstance(each, Kill)]


def told(instructions: list[Instruction]) -> list[Any]:
    return [each.report for each in instructions if isinstance(each, Tell)]


def machine(*start: Assignment, slots: int = 1) -> Machine:
    """A machine that has been given these."""
    made = Machine()
    made.on_orders(orders(*start, slots=slots), NOW)
    return made


class TestLimits:
    def test_start_of_what_runs_gives_it_its_limits(self) -> None:
        node = machine(want("a"))
        again = replace(want("a"), max_wall_clock_time=7)
        assert node.on_orders(orders(again), NOW) == [Limit(again)]
        assert node.on_orders(orders(again, full=True), NOW) == [Tell(Started(at("a"), NOW)), Limit(again)]

    def test_start_of_what_waits_gives_it_its_limits_and_leaves_it_its_turn(self) -> None:
        node = machine(want("a"), want("b"), want("c"))
        again = replace(want("b"), max_wall_clock_time=7)
        assert node.on_orders(orders(again), NOW) == []
        assert node.on_ended(over("a"), NOW)[-1] == Launch(again)

    def test_start_of_what_has_ended_starts_nothing(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert node.on_orders(orders(want("a")), NOW) == [Tell(over("a"))]


class TestStart:
    def test_start_with_a_free_slot_launches_and_tells(self) -> None:
        instructions = Machine().on_orders(orders(want("a")), NOW)
        assert told(instructions) == [Started(at("a"), NOW)]
        assert launched(instructions) == ["a"]

    def test_start_without_a_free_slot_waits_for_an_end(self) -> None:
        node = machine(want("a"), want("b"))
        assert node.holding == [at("a"), at("b")]
        assert launched(node.on_ended(over("a"), NOW)) == ["b"]

    def test_starts_go_in_order_of_arrival(self) -> None:
        node = Machine()
        assert launched(node.on_orders(orders(want("c"), want("a"), want("b"), slots=3), NOW)) == ["c", "a", "b"]

    def test_repeated_start_of_a_running_attempt_neither_launches_nor_tells(self) -> None:
        instructions = machine(want("a")).on_orders(orders(want("a")), NOW)
        assert (launched(instructions), told(instructions)) == ([], [])

    def test_repeated_start_of_an_ended_attempt_tells_its_end_again(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        instructions = node.on_orders(orders(want("a")), NOW)
        assert told(instructions) == [over("a")]
        assert launched(instructions) == []

    def test_start_after_forget_runs_again(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert launched(node.on_orders(orders(want("a"), forget=[at("a")]), NOW)) == ["a"]


class TestSlots:
    @pytest.mark.parametrize(
        ("needs", "slots", "started"),
        [
            ([1, 1, 1], 2, 2),
            ([2, 1], 2, 1),
            ([1, 2], 2, 1),
            ([1, 2, 1], 2, 1),  # nobody overtakes the one that needs two
            ([2, 2], 4, 2),
            ([5], 4, 1),  # more than there are: it gets them all
            ([5, 1], 4, 1),
        ],
    )
    def test_slots_bound_what_runs_at_a_time(self, needs: list[int], slots: int, started: int) -> None:
        wants = [want(f"t{number}", slots=need) for number, need in enumerate(needs)]
        assert len(launched(Machine().on_orders(orders(*wants, slots=slots), NOW))) == started

    def test_task_being_killed_keeps_its_slot(self) -> None:
        node = machine(want("a"), want("b"))
        assert launched(node.on_orders(orders(stop=[at("a")]), NOW)) == []
        assert launched(node.on_ended(over("a", exit_code=-9), NOW)) == ["b"]

    def test_more_slots_start_more(self) -> None:
        node = machine(want("a"), want("b"), want("c"))
        assert launched(node.on_orders(orders(slots=3), NOW)) == ["b", "c"]


class TestStop:
    def test_stop_of_a_running_attempt_kills_and_then_tells_that_the_user_did_it(self) -> None:
        node = machine(want("a"))
        assert killed(node.on_orders(orders(stop=[at("a")]), NOW)) == [at("a")]
        [end] = told(node.on_ended(over("a", exit_code=-9), NOW))
        assert (end.exit_code, end.failure.code, end.failure.category, end.may_retry) == (
            None,
            "TaskEnded",
            "usererror",
            False,
        )

    def test_stop_twice_kills_once(self) -> None:
        node = machine(want("a"))
        node.on_orders(orders(stop=[at("a")]), NOW)
        assert node.on_orders(orders(stop=[at("a")]), NOW) == []

    def test_stop_of_a_waiting_attempt_ends_it_without_a_start(self) -> None:
        node = machine(want("a"), want("b"))
        [end] = told(node.on_orders(orders(stop=[at("b")]), NOW))
        assert (end.attempt, end.start_time, end.exit_code) == (at("b"), None, None)
        assert launched(node.on_ended(over("a"), NOW)) == []

    def test_stop_of_an_ended_attempt_tells_how_it_really_ended(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert told(node.on_orders(orders(stop=[at("a")]), NOW)) == [over("a")]

    def test_stop_of_an_unknown_attempt_is_answered(self) -> None:
        [end] = told(Machine().on_orders(orders(stop=[at("x")]), NOW))
        assert (end.attempt, end.start_time) == (at("x"), None)


class TestAttempts:
    def test_next_attempt_waits_for_the_end_of_the_one_before(self) -> None:
        node = machine(want("a"), slots=2)
        instructions = node.on_orders(orders(want("a", 2), slots=2), NOW)
        assert (killed(instructions), launched(instructions)) == ([at("a")], [])
        instructions = node.on_ended(over("a", exit_code=-9), NOW)
        assert (told(instructions), launched(instructions)) == ([Started(at("a", 2), NOW)], ["a"])

    def test_stop_then_next_attempt_tells_the_end_of_the_first(self) -> None:
        node = machine(want("a"), slots=2)
        node.on_orders(orders(stop=[at("a")], slots=2), NOW)
        node.on_orders(orders(want("a", 2), slots=2), NOW)
        instructions = node.on_ended(over("a", exit_code=-9), NOW)
        assert [report.attempt for report in told(instructions)] == [at("a"), at("a", 2)]


class TestFullOrders:
    def test_running_attempt_in_full_orders_goes_on_and_its_start_is_told_again(self) -> None:
        node = machine(want("a"))
        instructions = node.on_orders(orders(want("a"), full=True), NOW + 5)
        assert told(instructions) == [Started(at("a"), NOW)]
        assert (killed(instructions), launched(instructions)) == ([], [])

    def test_running_attempt_not_in_full_orders_is_killed_and_not_spoken_of(self) -> None:
        node = machine(want("a"))
        assert killed(node.on_orders(orders(full=True), NOW)) == [at("a")]
        assert node.holding == []
        assert node.on_ended(over("a", exit_code=-9), NOW) == []

    def test_waiting_attempt_not_in_full_orders_never_starts(self) -> None:
        node = machine(want("a"), want("b"))
        node.on_orders(orders(want("a"), full=True), NOW)
        assert launched(node.on_ended(over("a"), NOW)) == []

    def test_end_that_was_not_heard_is_told_again(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert node.holding == [at("a")]
        assert told(node.on_orders(orders(want("a"), full=True), NOW)) == [over("a"), over("a")]

    def test_end_that_is_on_record_is_forgotten(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert node.on_orders(orders(full=True), NOW) == []
        assert node.holding == []

    def test_stop_in_full_orders_is_answered_with_the_real_end(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert told(node.on_orders(orders(full=True, stop=[at("a")]), NOW))[-1] == over("a")

    def test_full_orders_with_a_stop_of_a_running_attempt_tell_its_end(self) -> None:
        node = machine(want("a"))
        assert killed(node.on_orders(orders(want("a"), full=True, stop=[at("a")]), NOW)) == [at("a")]
        [end] = told(node.on_ended(over("a", exit_code=-9), NOW))
        assert end.failure.code == "TaskEnded"


class TestDeletion:
    def test_files_that_nobody_uses_are_deleted_at_once(self) -> None:
        node = Machine()
        chore = DeleteFiles(7, "job", "a")
        assert node.on_orders(orders(delete=[chore]), NOW) == [Delete(chore)]
        assert told(node.on_deleted(7, NOW)) == [FilesDeleted(7)]

    @pytest.mark.parametrize("task_id", ["a", None])
    def test_files_of_a_running_task_are_deleted_after_its_end(self, task_id: str | None) -> None:
        node = machine(want("a"))
        chore = DeleteFiles(7, "job", task_id)
        assert node.on_orders(orders(stop=[at("a")], delete=[chore]), NOW) == [Kill(at("a"))]
        assert Delete(chore) in node.on_ended(over("a", exit_code=-9), NOW)

    def test_task_starts_after_the_deletion_of_its_namesakes_files(self) -> None:
        node = Machine()
        assert launched(node.on_orders(orders(want("a"), delete=[DeleteFiles(7, "job", "a")]), NOW)) == []
        assert launched(node.on_deleted(7, NOW)) == ["a"]

    def test_deletion_ordered_twice_is_done_once(self) -> None:
        node = Machine()
        node.on_orders(orders(delete=[DeleteFiles(7, "job", "a")]), NOW)
        assert node.on_orders(orders(full=True, delete=[DeleteFiles(7, "job", "a")]), NOW) == []


class Model(Machine):
    """A machine with what runs beside it, to check what must hold at all times."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: dict[Attempt, int] = {}
        self.kills: set[Attempt] = set()
        self.slots = 1

    def follow(self, instructions: list[Instruction]) -> None:
        for each in instructions:
            if isinstance(each, Launch):
                attempt = each.assignment.attempt
                assert attempt not in self.processes
                assert all(other.task_id != attempt.task_id for other in self.processes), "two runs share a directory"
                self.processes[attempt] = min(each.assignment.required_slots, self.slots)
                assert sum(self.processes.values()) <= max(self.slots, self.processes[attempt])
            elif isinstance(each, Kill):
                assert each.attempt in self.processes
                self.kills.add(each.attempt)
            elif isinstance(each, Delete):
                assert all(each.chore.task_id not in (None, run.task_id) for run in self.processes)
                self.follow(self.on_deleted(each.chore.chore, NOW))


_attempts = st.builds(Attempt, st.just("job"), st.sampled_from("abcd"), st.integers(1, 3))
_wants = st.builds(
    lambda attempt, slots: want(attempt.task_id, attempt.attempt, slots=slots), _attempts, st.integers(1, 3)
)
_orders = st.builds(
    Orders,
    task_slots=st.just(2),
    full=st.booleans(),
    start=st.lists(_wants, max_size=4),
    stop=st.lists(_attempts, max_size=2),
    forget=st.lists(_attempts, max_size=2),
    delete=st.lists(
        st.builds(DeleteFiles, st.integers(1, 3), st.just("job"), st.sampled_from(["a", None])), max_size=1
    ),
)


@given(st.lists(st.one_of(_orders, st.integers(0, 9)), max_size=30))
def test_whatever_is_ordered_slots_and_directories_are_shared_by_the_rules(story: list[Orders | int]) -> None:
    node = Model()
    node.slots = 2
    for step in story:
        if isinstance(step, Orders):
            node.follow(node.on_orders(step, NOW))
        elif node.processes:
            attempt = list(node.processes)[step % len(node.processes)]
            del node.processes[attempt]
            node.follow(node.on_ended(Ended(attempt, NOW, NOW, 0), NOW))
    # Left alone, everything that is still wanted runs and ends.
    for _ in range(100):
        if not node.processes:
            break
        attempt = next(iter(node.processes))
        del node.processes[attempt]
        node.follow(node.on_ended(Ended(attempt, NOW, NOW, 0), NOW))
    assert not node.processes
    assert not node.is_busy
    node.follow(node.on_orders(Orders(task_slots=2, full=True), NOW))
    assert node.holding == []


class TestWithoutSlots:
    def test_what_takes_no_slots_starts_whatever_runs_and_waits(self) -> None:
        node = machine(want("a"), want("b"))
        assert launched(node.on_orders(orders(want("prep", slots=0)), NOW)) == ["prep"]
        assert launched(node.on_ended(over("prep"), NOW)) == []
        assert launched(node.on_ended(over("a"), NOW)) == ["b"]

    def test_it_is_held_ended_and_forgotten_as_any_other(self) -> None:
        node = machine(want("prep", slots=0))
        assert node.holding == [at("prep")]
        assert killed(node.on_orders(orders(stop=[at("prep")]), NOW)) == [at("prep")]
        [end] = told(node.on_ended(over("prep", exit_code=-9), NOW))
        assert end.failure.code == "TaskEnded"
        node.on_orders(orders(forget=[at("prep")]), NOW)
        assert node.holding == []


class TestDiscarding:
    def test_directory_of_an_attempt_that_nobody_asks_about_is_removed_once(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        assert node.on_orders(orders(discard=[at("a")]), NOW) == [Discard(at("a"))]
        assert node.on_orders(orders(discard=[at("a")]), NOW) == []
        assert node.holding == []

    def test_directory_that_a_later_attempt_uses_stays(self) -> None:
        node = machine(want("a"))
        node.on_ended(over("a"), NOW)
        node.on_orders(orders(want("a", 2)), NOW)
        assert node.on_orders(orders(discard=[at("a")]), NOW) == []
        node.on_ended(over("a", 2), NOW)
        assert node.on_orders(orders(discard=[at("a", 2)]), NOW) == [Discard(at("a", 2))]

    def test_end_that_was_not_held_is_no_reason_to_remove_anything(self) -> None:
        assert machine().on_orders(orders(discard=[at("a")]), NOW) == []
