"""A running operation is made of its events once: what is kept is advanced by those that are new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.projections import End, Projection, Projections
from bot.adapters.sql.store import SqlStore
from bot.domain.operation import BOT, Noted, Operation, replay
from tests.bot.flow.small_bot import Bot, small_bot

MINUTES = 100


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def proposed(bot: Bot) -> Operation:
    bot.types("migrate web-1 to host-b")
    return bot.operation()


def note(bot: Bot, store: SqlStore, text: str) -> Operation:
    return store.append(store.operation("op-1"), Noted(bot.clock.now(), BOT, text))


def decoded(store: SqlStore, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many stored events are decoded while something is done."""
    real, count = store._codec.keeps, 0

    def counting(stored: str) -> object:
        nonlocal count
        count += 1
        return real(stored)

    with monkeypatch.context() as patch:
        patch.setattr(store._codec, "keeps", counting, raising=False)
        act()
    return count


def test_each_event_is_decoded_once_however_often_the_operation_is_read(
    bot: Bot, proposed: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        for minute in range(MINUTES):
            note(bot, bot.store, f"minute {minute}")
            for _ in range(5):
                bot.store.operation("op-1")
            bot.store.operations()

    assert decoded(bot.store, run, monkeypatch) == MINUTES
    assert bot.operation().version == proposed.version + MINUTES


def test_progress_is_shown_without_decoding_anything(
    bot: Bot, proposed: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.store.operation(proposed.id)
    assert decoded(bot.store, lambda: bot.services.messages.show(proposed.id), monkeypatch) == 0


def test_what_another_process_stored_is_seen_at_once(bot: Bot, proposed: Operation) -> None:
    other = SqlStore(str(bot.store._engine.url), bot.store._codec, clock=bot.clock)
    after = note(bot, other, "by the other")
    assert bot.store.operation(proposed.id).notes == after.notes == ("by the other",)
    assert other.operation(proposed.id) == bot.store.operation(proposed.id)
    other.close()


def test_what_is_kept_equals_what_all_events_say(bot: Bot, proposed: Operation) -> None:
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    kept = bot.operation()
    assert kept.state.over
    assert kept == replay(proposed.id, bot.store.events(proposed.id))


def test_another_history_is_read_from_its_beginning(bot: Bot, proposed: Operation) -> None:
    note(bot, bot.store, "before the backup was restored")
    assert bot.operation().notes
    events = models.events
    with bot.store._engine.begin() as connection:
        newest = sa.select(sa.func.max(events.c.position)).scalar_subquery()
        connection.execute(sa.delete(events).where(events.c.position == newest))
    assert bot.operation().notes == ()
    assert bot.operation().version == proposed.version


def test_one_that_was_read_further_stays() -> None:
    kept, operation = Projections(most=1), cast(Operation, None)
    kept.keep(1, Projection(operation, End(5, "e")))
    kept.keep(1, Projection(operation, End(4, "d")))
    found = kept.get(1)
    assert found is not None
    assert found.end == End(5, "e")
    kept.keep(2, Projection(operation, End(0, "a")))
    assert kept.get(1) is None
