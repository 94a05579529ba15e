"""The sliding window: which moves run side by side, by example and by property."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.admission import INTO, OUT, Limits, ends, holding, may_begin, under_way
from bot.domain.operation import Approved, Began, Operation, StepBegan, StepEnded, advance, replay
from bot.domain.steps import Lane, SetMaintenance, Step
from tests.operations import START, move, planned, proposal

HOSTS = ("host-a", "host-b", "host-c", "host-d", "host-e")


def running(*steps: Step, begun: tuple[int, ...] = (), done: tuple[int, ...] = ()) -> Operation:
    operation = replay(
        "op-1",
        (
            proposal(votes=0, plan=planned(*steps)),
            Approved(START, "drover"),
            Began(START, "drover"),
        ),
    )
    for index in done:
        operation = advance(
            advance(operation, StepBegan(START, "drover", index)), StepEnded(START, "drover", index)
        )
    for index in begun:
        operation = advance(operation, StepBegan(START, "drover", index))
    return operation


def free(operation: Operation, limits: Limits = Limits()) -> tuple[int, ...]:  # noqa: B008 - frozen
    return may_begin(operation, Counter(), limits)


def test_moves_between_other_hosts_run_side_by_side() -> None:
    assert free(running(move("a", "host-a", "host-b"), move("b", "host-c", "host-d"))) == (0, 1)


def test_one_out_of_a_host_and_one_into_it_at_a_time() -> None:
    drain = [
        move(name, "host-a", target)
        for name, target in (("a", "host-b"), ("b", "host-c"), ("c", "host-b"))
    ]
    assert free(running(*drain)) == (0,)
    assert free(running(*drain, begun=(0,))) == ()
    assert free(running(*drain, done=(0,))) == (1,)
    assert free(running(*drain), Limits(2, 2)) == (0, 1)
    assert free(running(*drain), Limits(3, 1)) == (0, 1)
    fill = [move("a", "host-a", "host-c"), move("b", "host-b", "host-c")]
    assert free(running(*fill)) == (0,)


def test_a_move_waits_for_the_one_that_makes_room_for_it() -> None:
    swap = (move("a", "host-a", "host-b"), move("b", "host-c", "host-a"))
    assert free(running(*swap), Limits(9, 9)) == (0,)
    assert free(running(*swap, begun=(0,)), Limits(9, 9)) == ()
    assert free(running(*swap, done=(0,)), Limits(9, 9)) == (1,)


def test_a_host_may_send_one_while_it_receives_one_that_came_first_in_the_plan() -> None:
    assert free(running(move("a", "host-a", "host-b"), move("b", "host-b", "host-c"))) == (0, 1)


@dataclass(frozen=True, slots=True)
class Start(Step):
    """A step with a lane, as a plugin would have one."""

    uuid: str
    host: str
    wave: int
    most: int = 2

    @property
    def vms(self) -> tuple[str, ...]:
        return (self.uuid,)

    @property
    def lane(self) -> Lane:
        return Lane(self.wave, self.host, self.most)


def test_steps_of_one_wave_run_side_by_side_so_many_a_host_and_the_next_wave_waits() -> None:
    steps = [Start(f"u-{number}", "host-b", 1) for number in range(3)]
    steps += [Start("u-9", "host-c", 1), Start("u-10", "host-c", 2)]
    assert free(running(*steps)) == (0, 1, 3)
    assert free(running(*steps, begun=(0, 1, 3))) == ()
    assert free(running(*steps, done=(0,), begun=(1, 3))) == (2,)
    assert free(running(*steps, done=(0, 1, 3))) == (2,)
    assert free(running(*steps, done=(0, 1, 2, 3))) == (4,)


def test_steps_of_one_wave_and_one_vm_are_one_after_another() -> None:
    assert free(running(Start("u-1", "host-b", 1), Start("u-1", "", 1), Start("u-2", "", 1))) == (
        0,
        2,
    )


def test_moves_of_one_guest_are_one_after_another() -> None:
    assert free(
        running(move("a", "host-a", "host-b"), move("a", "host-b", "host-c")), Limits(9, 9)
    ) == (0,)


def test_other_steps_wait_for_all_before_them_and_all_after_wait_for_them() -> None:
    rest = SetMaintenance("host-e", on=True)
    steps = (move("a", "host-a", "host-b"), rest, move("b", "host-c", "host-d"))
    assert free(running(*steps)) == (0,)
    assert free(running(*steps, done=(0,))) == (1,)
    assert free(running(*steps, done=(0,), begun=(1,))) == ()
    assert free(running(*steps, done=(0, 1))) == (2,)


def test_moves_of_other_operations_count_and_are_named() -> None:
    mine = running(move("a", "host-a", "host-b"))
    other = replace(running(move("b", "host-c", "host-b"), begun=(0,)), id="op-2")
    idle = replace(running(move("c", "host-a", "host-b")), id="op-3")
    assert may_begin(mine, under_way((idle, other)), Limits()) == ()
    assert holding(mine.plan.steps[0], (idle, other), Limits()) == other
    assert may_begin(mine, under_way((idle, other)), Limits(1, 2)) == (0,)
    assert holding(mine.plan.steps[0], (idle, other), Limits(1, 2)) is None
    assert holding(SetMaintenance("host-b", on=True), (other,), Limits()) is None


moves = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(HOSTS), st.sampled_from(HOSTS)).filter(
        lambda each: each[1] != each[2]
    ),
    min_size=1,
    max_size=8,
)


@given(moves, st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_plan_gets_done_within_the_limits_and_no_host_ever_holds_more_than_step_by_step(
    wanted: list[tuple[str, str, str]], out: int, into: int, random: object
) -> None:
    steps = [move(*each) for each in wanted]
    operation, limits = running(*steps), Limits(out, into)
    while operation.todo:
        for index in may_begin(operation, Counter(), limits):
            operation = advance(operation, StepBegan(START, "drover", index))
        busy = ends(steps[index] for index in operation.under_way)
        assert busy, "stuck"
        assert all(count <= (out if way == OUT else into) for (way, _), count in busy.items())
        for index in operation.under_way:
            leaving = {steps[each].source for each in operation.todo if each < index}
            assert steps[index].target not in leaving
            assert all(
                steps[each].uuid != steps[index].uuid for each in operation.todo if each < index
            )
        ended = random.choice(sorted(operation.under_way))  # type: ignore[attr-defined]
        operation = advance(operation, StepEnded(START, "drover", ended))
    assert ends(()) == Counter()
    assert {way for way, _ in ends(steps)} == {OUT, INTO}
