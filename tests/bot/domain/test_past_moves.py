"""Predictions learn from what moves took: of this VM, of these two hosts, of all."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import GIB
from bot.domain.past_moves import LEAST, PastMove, experience, of_several
from bot.domain.plan import Prediction
from bot.domain.steps import MigrateVm

FEW = LEAST - 1


def moves(
    count: int,
    uuid: str = "u",
    between: tuple[str, str] = ("a", "b"),
    *,
    seconds: float = 10.0,
    pause: float | None = 0.8,
) -> list[PastMove]:
    return [PastMove(uuid, *between, GIB, seconds, pause) for _ in range(count)]


def test_too_few_moves_say_nothing() -> None:
    assert experience(moves(FEW), "u", "a", "b", GIB) is None


def test_this_vm_speaks_before_these_hosts_and_these_before_all() -> None:
    known = [
        *moves(3, uuid="mine", between=("x", "y"), seconds=1),
        *moves(3, uuid="other", seconds=2),
        *moves(9, uuid="far", between=("x", "z"), seconds=30),
    ]
    mine = experience(known, "mine", "a", "b", GIB)
    assert mine is not None
    assert (mine.seconds, mine.count) == (1, 3)
    assert str(mine.kind) == "3 earlier moves of this VM"
    pair = experience(known, "new", "b", "a", GIB)
    assert pair is not None
    assert pair.seconds == 2, "the way back is the same pair"
    every = experience(known, "new", "a", "c", GIB)
    assert every is not None
    assert every.count == 15


def test_time_grows_with_memory_and_the_pause_does_not() -> None:
    found = experience(moves(5), "u", "a", "b", 4 * GIB)
    assert found is not None
    assert (found.seconds, found.pause) == (40.0, 0.8)


def test_without_pauses_the_model_keeps_its_own() -> None:
    found = experience(moves(5, pause=None), "u", "a", "b", GIB)
    assert found is not None
    assert (found.pause, found.shortest, found.longest) == (None, None, None)


def step(uuid: str, source: str, target: str, memory: int = GIB) -> MigrateVm:
    return MigrateVm(uuid, uuid, source, target, memory)


def test_moves_one_after_another_take_the_sum_of_what_alike_ones_took() -> None:
    known = [*moves(3, uuid="mine", seconds=4), *moves(3, uuid="far", between=("a", "c"))]
    planned = [step("mine", "a", "b"), step("new", "a", "c", 2 * GIB)]
    model = Prediction(1.0, basis="model")
    found = of_several(model, planned, known)
    assert found.seconds == 4 + 20
    assert (found.least, found.most) == (3 + 15, 5 + 25)
    assert "2 migrations one after another, from earlier moves" in str(found.basis)


def test_of_copies_and_of_too_little_the_model_speaks() -> None:
    model = Prediction(1.0, basis="model")
    assert of_several(model, [step("u", "a", "b")], moves(FEW)) is model
    assert of_several(model, [], moves(9)) is model
    copies = replace(step("u", "a", "b"), copy_storage=True)
    assert of_several(model, [step("u", "a", "b"), copies], moves(9)) is model


@given(st.lists(st.floats(0.01, 1e4), min_size=LEAST, max_size=60))
def test_a_range_holds_four_of_five_and_the_middle_is_in_it(times: list[float]) -> None:
    known = [PastMove("u", "a", "b", GIB, each, each / 10) for each in times]
    found = experience(known, "u", "a", "b", GIB)
    assert found is not None
    assert found.fastest <= found.seconds <= found.slowest
    looked = times[:40]
    inside = sum(found.fastest - 1e-3 <= each <= found.slowest + 1e-3 for each in looked)
    assert inside >= 0.8 * len(looked)
