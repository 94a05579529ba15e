"""Operations of several steps: side by side where hosts allow, in order where not, and honest when one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.sql.store import SqlStore
from bot.domain.admission import Limits
from bot.domain.card import Bar, Card, Checklist, Mark
from bot.domain.cluster import Job
from bot.domain.operation import BOT, Began, Event, Operation, State, StepBegan, StepEnded
from bot.domain.steps import MigrateVm
from bot.flow.context import Services, record
from bot.flow.operations import current_rules, perform
from bot.flow.operations.step_progress import OperationProgress
from bot.testing import Ending, TickingClock
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.waiting import PATIENCE, until

FOUR = """
host-a  16cpu 64G reserve 2G load 4 | web-1 4G 2cpu load 0.5 dirty 8M | web-2 4G 2cpu load 0.5 dirty 8M
host-b  16cpu 64G reserve 2G load 1 | app-1 2G load 0.2 dirty 8M
host-c  16cpu 64G reserve 2G load 1
host-d  16cpu 64G reserve 2G load 1
"""


class Unhurried(TickingClock):
    """A sleep takes a moment of real time too: a move that a test holds must not seem stalled for minutes."""

    def sleep(self, seconds: float) -> None:
        time.sleep(0.005)
        super().sleep(seconds)


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, FOUR, ("migrate", "tests.bot.flow.several"), clock=Unhurried())
    yield made
    made.store.close()


class Meeting:
    """Holds fake migrations until so many are under way at once, and remembers how many there ever were."""

    def __init__(self, wanted: int, patience: float = 10) -> None:
        self._inside: set[str] = set()
        self.most, self.met = 0, threading.Event()
        self._wanted, self._patience = wanted, patience
        self._lock = threading.Lock()

    def __call__(self, step: MigrateVm, job: Job) -> None:
        with self._lock:
            self._inside.add(step.name)
            self.most = max(self.most, len(self._inside))
            if self.most >= self._wanted:
                self.met.set()
        self.met.wait(self._patience)


def approved(bot: Bot, line: str, number: int = 1) -> None:
    bot.types(line)
    bot.clicks("op.approve", bot.value(number), "UBRUNO")


def indexes(bot: Bot, kind: type[StepBegan | StepEnded]) -> list[int]:
    return [event.index for event in bot.store.events("op-1") if isinstance(event, kind)]


def test_moves_between_different_hosts_are_under_way_at_once_and_shown_so(bot: Bot) -> None:
    meeting = Meeting(2)

    def both_shown() -> bool:
        return any(bars(card) == 2 and doing(card) == 2 for _, card in bot.chat.edits)

    def during(step: MigrateVm, job: Job) -> None:
        meeting(step, job)
        until(both_shown)

    bot.hypervisor.during = during
    approved(bot, "several web-1=host-c app-1=host-d")
    bot.works()
    assert meeting.most == 2
    assert bot.operation().state is State.DONE
    assert (bot.where("web-1"), bot.where("app-1")) == (["host-c"], ["host-d"])
    assert sorted(indexes(bot, StepEnded)) == [0, 1]
    assert both_shown()
    assert bot.store.broken_link() == ""


def test_moves_out_of_one_host_follow_each_other(bot: Bot) -> None:
    meeting = Meeting(2, patience=0.05)
    bot.hypervisor.during = meeting
    approved(bot, "several web-1=host-c web-2=host-d")
    bot.works()
    order = [
        type(event)
        for event in bot.store.events("op-1")
        if isinstance(event, (StepBegan, StepEnded))
    ]
    assert order == [StepBegan, StepEnded, StepBegan, StepEnded]
    assert bot.operation().state is State.DONE


def test_a_failed_step_lets_those_beside_it_end_and_begins_no_more(bot: Bot) -> None:
    hold = threading.Event()
    failed: list[str] = []

    def during(step: MigrateVm, job: Job) -> None:
        if step.name == "app-1":
            hold.wait(PATIENCE)
        elif not failed:
            failed.append(step.name)
            bot.hypervisor.end_next(Ending.FAILED, at=0.0)

    def released() -> None:
        until(
            lambda: "Nothing more is begun" in text(bot.shown()),
            "it is said that nothing more begins",
        )
        bot.hypervisor.end_next(Ending.MOVED)
        hold.set()

    bot.hypervisor.during = during
    approved(bot, "several web-1=host-c app-1=host-d web-2=host-b")
    watcher = threading.Thread(target=released)
    watcher.start()
    bot.works()
    watcher.join()
    operation = bot.operation()
    assert operation.state is State.FAILED
    assert operation.under_way == {0}
    assert [each.index for each in operation.ended] == [1]
    assert bot.where("app-1") == ["host-d"]
    assert (bot.where("web-1"), bot.where("web-2")) == (["host-a"], ["host-a"])
    assert sorted(indexes(bot, StepBegan)) == [0, 1]


class Died(BaseException):
    """The process is gone."""


def test_steps_under_way_at_a_crash_are_settled_again_and_none_is_done_twice(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(bot, "several web-1=host-c app-1=host-d")
    bot.hypervisor.during = Meeting(2)
    append = bot.store.append

    def dies(operation: Operation, *events: Event, since: int | None = None) -> Operation:
        if isinstance(events[0], StepEnded):
            raise Died
        return append(operation, *events, since=since)

    monkeypatch.setattr(bot.store, "append", dies)
    with pytest.raises(Died):
        bot.works()
    monkeypatch.undo()
    assert bot.operation().under_way == {0, 1}
    bot.work.ids.append("op-1")
    bot.works()
    assert bot.operation().state is State.DONE
    assert [call[0] for call in bot.hypervisor.calls].count("migrate") == 2
    assert all(
        event.found_done for event in bot.store.events("op-1") if isinstance(event, StepEnded)
    )


def test_two_operations_into_one_host_take_turns_and_say_so(bot: Bot) -> None:
    approved(bot, "migrate web-1 to host-c", 1)
    approved(bot, "migrate app-1 to host-c", 2)
    said = threading.Event()

    def during(step: MigrateVm, job: Job) -> None:
        if step.name == "web-1":
            said.wait(PATIENCE)

    def looked() -> None:
        until(
            lambda: "Waiting for a move of op-1" in text(bot.shown(2)),
            "the second says what it waits for",
        )
        said.set()

    bot.hypervisor.during = during
    threads = [
        threading.Thread(target=perform.perform, args=(bot.services, each))
        for each in ("op-1", "op-2")
    ]
    threads[0].start()
    until(lambda: bot.operation(1).under_way == {0})
    watcher = threading.Thread(target=looked, daemon=True)
    watcher.start()
    threads[1].start()
    for thread in threads:
        thread.join(60)
    watcher.join(60)
    assert said.is_set()
    assert {bot.operation(number).state for number in (1, 2)} == {State.DONE}
    assert began_at(bot, 2) > ended_at(bot, 1)


def test_more_at_a_time_when_configured(tmp_path: Path) -> None:
    plugins = ("migrate", "tests.bot.flow.several")
    bot = small_bot(tmp_path, FOUR, plugins, clock=Unhurried(), limits=Limits(2, 2))
    meeting = Meeting(2)
    bot.hypervisor.during = meeting
    approved(bot, "several web-1=host-c web-2=host-c")
    bot.works()
    assert meeting.most == 2
    assert bot.operation().state is State.DONE
    bot.store.close()


def test_a_cancel_stops_those_under_way_and_begins_no_more(bot: Bot) -> None:
    meeting = Meeting(2)
    pressed: list[object] = []

    def during(step: MigrateVm, job: Job) -> None:
        meeting(step, job)
        if not pressed:
            pressed.append(bot.clicks("op.cancel", bot.value(), "UANA"))
        until(lambda: ("cancel_job", step.source) in [call[:2] for call in bot.hypervisor.calls])

    bot.hypervisor.during = during
    approved(bot, "several web-1=host-c app-1=host-d web-2=host-b")
    bot.works()
    assert bot.operation().state is State.CANCELLED
    assert (bot.where("web-1"), bot.where("app-1"), bot.where("web-2")) == (
        ["host-a"],
        ["host-b"],
        ["host-a"],
    )
    assert sorted(indexes(bot, StepBegan)) == [0, 1]


def bars(card: Card) -> int:
    return sum(isinstance(each, Bar) for each in card.elements)


def doing(card: Card) -> int:
    lists = [each for each in card.elements if isinstance(each, Checklist)]
    return sum(mark is Mark.DOING for each in lists for mark, _ in each.items)


def position(bot: Bot, number: int, kind: type[object]) -> int:
    return next(
        link.position
        for link in bot.store.trail()
        if (link.operation, link.kind) == (number, kind.__name__)
    )


def began_at(bot: Bot, number: int) -> int:
    return position(bot, number, StepBegan)


def ended_at(bot: Bot, number: int) -> int:
    return position(bot, number, StepEnded)


def given(services: Services, operation: Operation) -> current_rules.Leave:
    found = current_rules.leave(services, operation, None, 0.0)
    assert isinstance(found, current_rules.Leave)
    return found


def test_two_replicas_that_decide_in_the_same_moment_begin_one_move_out_of_a_host(
    bot: Bot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(bot, "several web-1=host-c")
    approved(bot, "several web-2=host-d", 2)
    first, second = (record(bot.services, f"op-{n}", Began(bot.clock.now(), BOT)) for n in (1, 2))
    store = SqlStore(
        f"sqlite:///{tmp_path}/drover.sqlite", bot.services.catalog.codec(), clock=bot.clock
    )
    other = replace(bot.services, store=store, turn=threading.Lock())
    operations = bot.store.operations
    begun: list[object] = []

    def seen_and_then(**wanted: Any) -> tuple[Operation, ...]:
        found = operations(**wanted)
        if not begun:
            begun.append(
                perform._begin_steps(
                    other,
                    second,
                    OperationProgress(other, second.id),
                    (0,),
                    given(other, second),
                )
            )
        return found

    monkeypatch.setattr(bot.store, "operations", seen_and_then)
    overall = OperationProgress(bot.services, first.id)
    assert (
        perform._begin_steps(bot.services, first, overall, (0,), given(bot.services, first)) == ()
    )
    assert begun == [(0,)]
    assert (
        perform._begin_steps(bot.services, first, overall, (0,), given(bot.services, first)) == ()
    )  # it sees the other's move now
    assert (bot.operation(1).under_way, bot.operation(2).under_way) == (frozenset(), frozenset({0}))
    store.close()
