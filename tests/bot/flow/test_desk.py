"""Requests on their lanes: a dialog or a decision waits behind nothing slow, and people take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.flow.commands import dispatcher
from bot.flow.commands.buttons import Lane
from bot.flow.commands.dispatcher import RequestWorkers, Turns, lane_of
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot


def asked(bot: Bot, key: str, kind: str = "command", **more: str) -> Request:
    return replace(Request(key, kind, "UANA", bot.clock.now(), "COPS", trigger=key), **more)  # type: ignore[arg-type]


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=("migrate", "host_check"))
    yield made
    made.store.close()


@pytest.fixture
def workers(bot: Bot) -> Iterator[RequestWorkers]:
    made = RequestWorkers(bot.services, 2)
    yield made
    made.stop(10)


@pytest.mark.parametrize(
    ("request_", "lane"),
    [
        ({"kind": "click", "action": "op.approve"}, Lane.DECISION),
        ({"kind": "click", "action": "op.cancel"}, Lane.DECISION),
        ({"kind": "click", "action": "op.withdraw"}, Lane.DECISION),
        ({"kind": "click", "action": "alert.ack"}, Lane.DECISION),
        ({"kind": "form", "action": "op.deny"}, Lane.DECISION),
        ({"kind": "click", "action": "op.deny"}, Lane.DIALOG),
        ({"kind": "command", "text": "host maintenance"}, Lane.DIALOG),
        ({"kind": "command", "text": " Host  Maintenance "}, Lane.DIALOG),
        ({"kind": "command", "text": "migrate web-1"}, Lane.WORK),
        ({"kind": "command", "text": "host maintenance", "trigger": ""}, Lane.WORK),
        ({"kind": "click", "action": "op.again"}, Lane.WORK),
        ({"kind": "home"}, Lane.WORK),
    ],
)
def test_every_request_has_its_lane(bot: Bot, request_: dict[str, str], lane: Lane) -> None:
    assert lane_of(bot.services, asked(bot, "key", **request_)) is lane


def test_a_decision_and_a_dialog_do_not_wait_for_slow_queries(
    bot: Bot, workers: RequestWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, order, done = threading.Event(), [], threading.Semaphore(0)
    real = dispatcher.handle

    def slow(services: object, request: Request) -> None:
        if request.text == "ops":
            assert go.wait(60)
        order.append(request.key)
        real(bot.services, request)
        done.release()

    bot.types("migrate web-1 to host-b")
    monkeypatch.setattr(dispatcher, "handle", slow)
    workers.start()
    for number in range(1000):
        request = asked(bot, f"query-{number}", text="ops", by=f"U{number % 50}")
        workers._put(request)
    click = asked(bot, "vote", kind="click", action="op.approve", value=bot.value(), by="UBRUNO")
    dialog = asked(bot, "dialog", text="host maintenance")
    for request in (click, dialog):
        assert workers.accept(request)
    assert done.acquire(timeout=60)
    assert done.acquire(timeout=60)
    assert sorted(order) == ["dialog", "vote"]
    assert bot.operation().votes_missing == 0
    assert "dialog" in bot.chat.forms
    for turns in workers._lanes.values():
        turns._waiting.clear()
    go.set()


def test_people_take_turns() -> None:
    turns = Turns()
    at = Request("", "command", "", None).at  # type: ignore[arg-type]
    for number in range(100):
        turns.put(Request(f"a{number}", "command", "UANA", at))
    turns.put(Request("b0", "command", "UBRUNO", at))
    turns.put(Request("c0", "command", "UCARLA", at))
    first = [turns.get() for _ in range(4)]
    assert [each.key for each in first if each] == ["a0", "b0", "c0", "a1"]


def test_what_is_queued_is_finished_before_the_end() -> None:
    turns = Turns()
    turns.put(Request("a", "command", "UANA", None))  # type: ignore[arg-type]
    turns.end()
    last = turns.get()
    assert last is not None
    assert last.key == "a"
    assert turns.get() is None
