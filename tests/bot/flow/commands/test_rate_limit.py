"""One person cannot take the bot from the others, and gets it back."""

from __future__ import annotations

from bot.flow.commands.rate_limit import Pace, Paces


def test_a_bucket_empties_tells_once_and_fills_again() -> None:
    now = [0.0]
    paces = Paces(per_minute=6, burst=2, clock=lambda: now[0])
    assert [paces.ask("ana") for _ in range(4)] == [Pace.FINE, Pace.FINE, Pace.TOO_FAST, Pace.TOLD]
    assert paces.ask("bruno") is Pace.FINE
    now[0] += 10
    assert [paces.ask("ana") for _ in range(2)] == [Pace.FINE, Pace.TOO_FAST]
    now[0] += 3600
    assert [paces.ask("ana") for _ in range(3)] == [Pace.FINE, Pace.FINE, Pace.TOO_FAST]


def test_no_limit() -> None:
    paces = Paces(per_minute=0)
    assert {paces.ask("ana") for _ in range(1000)} == {Pace.FINE}


def test_people_who_stopped_asking_are_forgotten() -> None:
    now = [0.0]
    paces = Paces(per_minute=60, clock=lambda: now[0])
    for number in range(10_001):
        paces.ask(f"U{number}")
    now[0] += 60
    paces.ask("ana")
    assert len(paces._buckets) == 1
