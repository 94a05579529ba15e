"""Predictions learn from what moves took: of this VM, of these two hosts, of all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import GIB
from bot.domain.past_moves import LEAST, PastMove, experience

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


@given(st.lists(st.floats(0.01, 1e4), min_size=LEAST, max_size=60))
def test_a_range_holds_four_of_five_and_the_middle_is_in_it(times: list[float]) -> None:
    known = [PastMove("u", "a", "b", GIB, each, each / 10) for each in times]
    found = experience(known, "u", "a", "b", GIB)
    assert found is not None
    assert found.fastest <= found.seconds <= found.slowest
    looked = times[:40]
    inside = sum(found.fastest - 1e-3 <= each <= found.slowest + 1e-3 for each in looked)
    assert inside >= 0.8 * len(looked)
