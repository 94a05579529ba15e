"""Operations with a time: approved now, checked again and begun then, moved, cancelled, missed."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot.domain.errors import TooEarlyError
from bot.domain.operation import Began, Held, Operation, Rescheduled, State, StepBegan
from bot.domain.policy import Policy, Rule, Window
from bot.flow.context import Role
from bot.flow.operations import overdue, perform
from bot.flow.operations.propose import busy_with
from tests.bot.flow.small_bot import POLICY, ROLES, Bot, small_bot, text
from tests.examples import examples

# The clock of the small bot begins on Monday 5 January 2026, 9:00 UTC.
MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 1, 10, 22, 0, tzinfo=UTC)
WHEN = ('--at "sat 22:00"', "--in 1m", "--in 2h", "--window night", "")
NIGHT = Window(("sat",), time(22), time(2), "UTC")


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return small_bot(tmp_path, windows={"night": NIGHT})


def _until(bot: Bot, at: datetime) -> None:
    bot.clock.turn((at - bot.clock.now()).total_seconds())


def _ticks(bot: Bot) -> None:
    """What every replica's clock does every few seconds, and what the workers then do."""
    overdue.expire(bot.services)
    overdue.remind(bot.services)
    bot.works()


def _scheduled(bot: Bot, how: str = '--at "sat 22:00"') -> Operation:
    bot.types(f"migrate web-1 host-b {how}")
    return bot.operation()


def test_it_is_approved_now_and_runs_at_its_time_once(bot: Bot) -> None:
    assert _scheduled(bot).slot is not None
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _ticks(bot)
    assert bot.operation().state is State.APPROVED
    assert bot.where("web-1") == ["host-a"]
    _until(bot, SATURDAY - timedelta(seconds=1))
    _ticks(bot)
    assert bot.where("web-1") == ["host-a"]
    _until(bot, SATURDAY)
    for _ in range(3):
        _ticks(bot)
    assert bot.operation().state is State.DONE
    assert bot.where("web-1") == ["host-b"]
    began = [each for each in bot.store.events("op-1") if isinstance(each, Began)]
    assert [each.at for each in began] == [SATURDAY]


def test_the_card_and_the_lists_say_when(bot: Bot) -> None:
    said = text(bot.types('migrate web-1 host-b --at "sat 22:00"'))
    assert "runs Sat 2026-01-10 22:00 UTC" in said
    assert "reschedule op-1" in said
    assert "2026-01-10 22:00 UTC" in text(bot.shown())
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    card = text(bot.shown())
    assert "Scheduled: " in card
    assert "It runs Sat 2026-01-10 22:00 UTC" in card
    assert {"op.cancel", "op.move"} <= set(bot.buttons())
    assert "scheduled" in text(bot.types("ops"))
    listed = text(bot.types("ops --scheduled"))
    assert "runs Sat 2026-01-10 22:00 UTC" in listed
    assert "No operations" not in listed


def test_its_votes_may_come_until_the_end_of_its_time(bot: Bot) -> None:
    _scheduled(bot)
    assert bot.operation().expires_at == SATURDAY + timedelta(seconds=bot.services.grace)
    _until(bot, SATURDAY + timedelta(minutes=5))
    _ticks(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _ticks(bot)
    assert bot.operation().state is State.DONE


def test_missing_votes_are_told_before_its_time_once_and_again_when_it_is_moved(bot: Bot) -> None:
    _scheduled(bot)
    due = SATURDAY - timedelta(seconds=bot.services.remind_before)
    _until(bot, due - timedelta(seconds=1))
    _ticks(bot)
    assert _reminders(bot) == []
    _until(bot, due)
    _ticks(bot)
    _ticks(bot)
    (reminder,) = _reminders(bot)
    assert "UBRUNO UCARLA op-1" in reminder
    assert "still waits for 1 vote" in reminder
    assert "It runs Sat 2026-01-10 22:00 UTC if it is approved by 2026-01-10 22:15 UTC" in reminder
    bot.types('reschedule op-1 "sun 22:00"')
    _until(bot, due + timedelta(days=1))
    _ticks(bot)
    assert len(_reminders(bot)) == 2
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _ticks(bot)
    assert len(_reminders(bot)) == 2


def test_what_is_proposed_for_soon_needs_no_reminder(bot: Bot) -> None:
    _scheduled(bot, "--in 10m")
    _ticks(bot)
    bot.clock.turn(300)
    _ticks(bot)
    assert _reminders(bot) == []


def _reminders(bot: Bot) -> list[str]:
    """What Ana was told of missing votes."""
    told = [text(card) for card in bot.chat.cards_for("UANA")]
    return [each for each in told if "if it is approved by" in each]


def test_without_its_votes_it_expires_at_the_end_of_its_time(bot: Bot) -> None:
    _scheduled(bot)
    _until(bot, SATURDAY + timedelta(minutes=15))
    _ticks(bot)
    assert bot.operation().state is State.EXPIRED


def test_an_approval_is_valid_until_its_time_plus_the_grace(bot: Bot) -> None:
    """Days pass, far more than ``approval_lasts``; past the grace it is told as missed."""
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY + timedelta(minutes=14, seconds=59))
    _ticks(bot)
    assert bot.operation().state is State.DONE


def test_a_missed_time_is_told_and_begins_nothing(bot: Bot) -> None:
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY + timedelta(minutes=15))
    _ticks(bot)
    missed = bot.operation()
    assert (missed.state, [each.code for each in missed.objections]) == (
        State.STALE,
        ["time-missed"],
    )
    assert bot.where("web-1") == ["host-a"]
    assert "Not run in its time" in text(bot.shown())
    told = [text(card) for card in bot.chat.cards_for("UANA")]
    assert any("It was to begin between Sat 2026-01-10 22:00 UTC" in each for each in told)
    assert len(bot.store.operations()) == 1, "nobody asked for it at another time"


def test_plan_votes_and_freezes_are_checked_again_at_its_time(tmp_path: Path) -> None:
    bot = small_bot(tmp_path)
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY)
    freeze = Rule("freeze", freeze=True, why="No changes now.")
    bot.services = replace(bot.services, policy=replace(POLICY, rules=(freeze, *POLICY.rules)))
    _ticks(bot)
    assert [each.code for each in bot.operation().objections] == ["freeze"]
    assert bot.where("web-1") == ["host-a"]


def test_a_voter_without_the_role_at_that_time_does_not_count(tmp_path: Path) -> None:
    bot = small_bot(tmp_path)
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY)
    bot.services = replace(bot.services, roles={**ROLES, "approver": Role(frozenset({"UCARLA"}))})
    _ticks(bot)
    assert bot.operation().state is State.STALE
    assert bot.where("web-1") == ["host-a"]


def test_the_rules_of_that_time_are_asked_not_those_of_now(tmp_path: Path) -> None:
    """A freeze on Saturdays refuses Saturday when it is asked for, and lets Monday night be asked for in it."""
    weekend = Rule("weekend", freeze=True, why="Weekend.", window=Window(("sat", "sun")))
    bot = small_bot(tmp_path, policy=replace(POLICY, rules=(weekend, *POLICY.rules)))
    assert "Weekend." in text(bot.types('migrate web-1 host-b --at "sat 22:00"'))
    assert bot.store.operations() == ()
    _until(bot, SATURDAY)
    bot.types('migrate web-1 host-b --at "mon 22:00"')
    assert bot.operation().state is State.PROPOSED


def test_a_changed_cluster_is_found_then_and_a_new_plan_keeps_the_time(bot: Bot) -> None:
    _scheduled(bot, "--window night")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.types("migrate web-1 host-c")  # the wait for Saturday keeps nobody from it
    bot.clicks("op.approve", bot.value(2), "UBRUNO")
    bot.works()
    assert bot.where("web-1") == ["host-c"]
    _until(bot, SATURDAY)
    _ticks(bot)
    assert bot.operation().state is State.STALE
    anew = bot.operation(3)
    assert (anew.state, anew.replaces) == (State.PROPOSED, "op-1")
    assert anew.slot == bot.operation().slot


def test_waiting_for_its_time_it_keeps_nobody_from_the_vm(bot: Bot) -> None:
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    plan = bot.operation().plan
    assert busy_with(bot.services, plan) == ()
    _until(bot, SATURDAY)
    assert [each.code for each in busy_with(bot.services, plan)] == ["busy"]


def test_a_window_begins_it_when_it_opens(bot: Bot) -> None:
    slot = _scheduled(bot, "--window night").slot
    assert slot is not None
    assert (slot.start, slot.end) == (SATURDAY, SATURDAY + timedelta(hours=4))
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY + timedelta(hours=3, minutes=59))
    _ticks(bot)
    assert bot.operation().state is State.DONE


def test_a_window_that_was_moved_begins_nothing_outside_it(bot: Bot) -> None:
    _scheduled(bot, "--window night")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    elsewhere = Window(("sun",), time(22), time(2), "UTC")
    bot.services = replace(bot.services, windows={"night": elsewhere})
    _until(bot, SATURDAY)
    _ticks(bot)
    assert [each.code for each in bot.operation().objections] == ["window-closed"]
    bot.clicks("op.again", bot.value(), "UANA")
    again = bot.operation(2).slot
    assert again is not None
    assert again.start == SATURDAY + timedelta(days=1)


@pytest.fixture
def late(tmp_path: Path) -> Bot:
    """Two moves in a window that ended before the first of them was begun."""
    plugins = ("migrate", "tests.bot.flow.several")
    bot = small_bot(tmp_path, plugins=plugins, windows={"night": NIGHT})
    bot.types("several web-1=host-b db-1=host-b --window night")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY + timedelta(hours=3, minutes=59))
    bot.store.append(bot.operation(), Began(bot.clock.now(), "drover"))
    _until(bot, SATURDAY + timedelta(hours=4))
    return bot


def test_what_is_left_at_the_end_of_the_window_waits_for_a_person(
    late: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perform, "LONG_LOOK", 3600.0)
    perform.perform(late.services, "op-1")  # nobody comes for a day
    events = late.store.events("op-1")
    assert [str(each.why) for each in events if isinstance(each, Held)] == [
        "The maintenance window “night” ended at 2026-01-11 02:00 UTC."
    ]
    assert not any(isinstance(each, StepBegan) for each in events)
    assert late.operation().state is State.FAILED


def test_a_person_lets_the_rest_go_on_after_the_window(
    late: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked once: who says go on means all that is left."""

    def comes(seconds: float) -> None:
        late.clock.turn(seconds)
        if late.operation().held:
            late.clicks("op.continue", "op-1:held", "UBRUNO")

    monkeypatch.setattr(late.clock, "sleep", comes)
    perform.perform(late.services, "op-1")
    assert late.operation().state is State.DONE
    assert len([each for each in late.store.events("op-1") if isinstance(each, Held)]) == 1


def test_cancelled_before_its_time_it_does_nothing(bot: Bot) -> None:
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.clicks("op.cancel", bot.value(), "UANA")
    _until(bot, SATURDAY)
    _ticks(bot)
    assert bot.operation().state is State.CANCELLED
    assert bot.where("web-1") == ["host-a"]


def _moves(bot: Bot, when: str, by: str) -> object:
    return bot.answers("op.move", bot.value(), by, when=when)


def test_moved_by_its_requester_the_votes_begin_anew(bot: Bot) -> None:
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    old = bot.value()
    _moves(bot, "sun 22:00", "UANA")
    moved = bot.operation()
    assert (moved.state, moved.votes) == (State.PROPOSED, ())
    assert moved.slot is not None
    assert moved.slot.start == SATURDAY + timedelta(days=1)
    bot.clicks("op.approve", old, "UBRUNO")  # a click on the card with the former time
    assert bot.operation().votes == ()
    _until(bot, SATURDAY)
    _ticks(bot)
    assert bot.where("web-1") == ["host-a"]
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY + timedelta(days=1))
    _ticks(bot)
    assert bot.operation().state is State.DONE


def test_moved_by_an_approver_it_stays_approved_for_the_new_time(bot: Bot) -> None:
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _moves(bot, "in 30m", "UCARLA")
    moved = bot.operation()
    assert moved.state is State.APPROVED
    assert [vote.by for vote in moved.votes] == ["UCARLA"]
    _until(bot, MONDAY + timedelta(minutes=30))
    _ticks(bot)
    assert bot.operation().state is State.DONE


def test_nobody_without_a_say_moves_it(bot: Bot) -> None:
    _scheduled(bot)
    before = bot.operation()
    _moves(bot, "sun 22:00", "UGIL")
    assert bot.operation() == before


def test_a_move_into_a_freeze_is_refused(tmp_path: Path) -> None:
    weekend = Rule("weekend", freeze=True, why="Weekend.", window=Window(("sun",)))
    bot = small_bot(tmp_path, policy=replace(POLICY, rules=(weekend, *POLICY.rules)))
    _scheduled(bot)
    before = bot.operation()
    assert "Weekend." in text(_moves(bot, "sun 22:00", "UANA"))  # type: ignore[arg-type]
    assert bot.operation() == before


def test_moved_while_a_worker_holds_it_the_worker_leaves_it(bot: Bot) -> None:
    """The clock handed it over; a person moved it in that moment; the next hand-over performs it."""
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY)
    overdue.remind(bot.services)
    assert bot.work.ids == ["op-1"]
    bot.work.ids.clear()
    _moves(bot, "sun 22:00", "UCARLA")
    with pytest.raises(TooEarlyError):
        perform.perform(bot.services, "op-1")
    _moves(bot, "mon 22:00", "UANA")  # proposed again
    with pytest.raises(TooEarlyError):
        perform.perform(bot.services, "op-1")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY + timedelta(days=2))
    _ticks(bot)
    assert bot.operation().state is State.DONE
    assert len([e for e in bot.store.events("op-1") if isinstance(e, Rescheduled)]) == 2


def test_a_performer_whose_clock_is_a_moment_behind_waits(bot: Bot) -> None:
    _scheduled(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    _until(bot, SATURDAY - timedelta(seconds=10))
    perform.perform(bot.services, "op-1")
    began = bot.operation().began_at
    assert began is not None
    assert began >= SATURDAY


def test_a_picked_part_keeps_the_time_of_the_whole(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, plugins=("migrate", "balance"))
    refused = text(bot.types("balance --pick 1 --at 22:00"))
    assert "keeps the time" in refused


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("migrate web-1 host-b --at soon", "is not a time"),
        ("migrate web-1 host-b --at 22:00 --in 2h", "exclude each other"),
        ("migrate web-1 host-b --window nigth", "Did you mean"),
        ("migrate web-1 host-b --at '2020-01-01 10:00'", "is over"),
        ("migrate web-1 host-b --in tomorrow", "is not a duration"),
    ],
)
def test_a_time_that_makes_no_sense_is_refused_before_any_vote(
    bot: Bot, typed: str, said: str
) -> None:
    assert said in text(bot.types(typed))
    assert bot.store.operations() == ()


def test_without_windows_it_is_said_where_to_add_them(tmp_path: Path) -> None:
    bot = small_bot(tmp_path)
    assert "[[windows]]" in text(bot.types("migrate web-1 host-b --window night"))
    assert "[[windows]]" in text(bot.types("windows"))


def test_windows_lists_when_each_opens(bot: Bot) -> None:
    listed = text(bot.types("windows"))
    assert "Sat, 22:00–02:00 (UTC)" in listed
    assert "2026-01-10 22:00 UTC" in listed
    _until(bot, SATURDAY)
    assert "open now" in text(bot.types("windows"))


def test_what_needs_no_vote_waits_for_its_time_too(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, policy=Policy(grants=POLICY.grants, rules=(Rule("free", votes=0),)))
    assert "needs no vote and runs" in text(bot.types("migrate web-1 host-b --in 2h"))
    bot.works()
    assert bot.operation().state is State.APPROVED
    assert bot.where("web-1") == ["host-a"]
    _until(bot, MONDAY + timedelta(hours=2))
    _ticks(bot)
    assert bot.where("web-1") == ["host-b"]


class Calendar(RuleBasedStateMachine):
    """Anything that people, clocks, rules and crashes do to operations with a time.

    Nothing begins outside its time or its window, twice, or without the votes of the rule of that
    moment.
    """

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bot = small_bot(Path(self.folder.name), windows={"night": NIGHT}, grace=600.0)
        self._changed(policy=replace(POLICY, rules=(Rule("default", votes=1),)))
        self.seen: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self.bot.store.close()
        self.folder.cleanup()

    @rule(vm=st.sampled_from(("web-1", "db-1")), host=st.sampled_from(("host-b", "host-c")),
          how=st.sampled_from(WHEN))  # fmt: skip
    def ask(self, vm: str, host: str, how: str) -> None:
        self.bot.types(f"migrate {vm} {host} {how}")
        self._remember()

    @rule(vm=st.sampled_from(("web-1", "db-1")), how=st.sampled_from(WHEN))
    def ask_and_approve(self, vm: str, how: str) -> None:
        """A straight life as far as the wait for its time, or else what comes then stays untried."""
        before = {each.id for each in self.bot.store.operations()}
        self.bot.types(f"migrate {vm} host-b {how}")
        self._remember()
        for each in self.bot.store.operations():
            if each.id not in before:
                for by in ("UBRUNO", "UCARLA"):
                    self.bot.clicks("op.approve", f"{each.id}:{each.digest}", by)

    @rule(data=st.data(), by=st.sampled_from(("UANA", "UBRUNO", "UCARLA", "UGIL")))
    def vote(self, data: st.DataObject, by: str) -> None:
        """On a card as it is, or as it was when it showed another time."""
        if self.seen:
            _, value = data.draw(st.sampled_from(self.seen))
            self.bot.clicks("op.approve", value, by)
            self._remember()

    @rule(data=st.data(), by=st.sampled_from(("UANA", "UBRUNO", "UCARLA")),
          when=st.sampled_from(("sun 22:00", "in 2h", "in 1m", "now", "window night")))  # fmt: skip
    def move(self, data: st.DataObject, by: str, when: str) -> None:
        if self.seen:
            name, _ = data.draw(st.sampled_from(self.seen))
            self.bot.answers("op.move", f"{name}:", by, when=when)
            self._remember()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.seen:
            name, _ = data.draw(st.sampled_from(self.seen))
            self.bot.clicks("op.cancel", f"{name}:", "UANA")

    @rule(seconds=st.sampled_from((-7200, -61, 1, 59, 599, 601, 3600, 7200, 80000, 200000)))
    def clock(self, seconds: int) -> None:
        self.bot.clock.turn(seconds)

    @rule(to_saturday=st.integers(-2, 16000))
    def saturday(self, to_saturday: int) -> None:
        _until(self.bot, SATURDAY + timedelta(seconds=to_saturday))

    @rule(voters=st.sampled_from((frozenset({"UBRUNO", "UCARLA"}), frozenset({"UCARLA"}))))
    def roles(self, voters: frozenset[str]) -> None:
        self._changed(roles={**ROLES, "approver": Role(voters)})

    @rule(votes=st.integers(1, 2), freeze=st.booleans())
    def policy(self, votes: int, freeze: bool) -> None:  # noqa: FBT001
        rules = (*((Rule("freeze", freeze=True),) if freeze else ()), Rule("default", votes=votes))
        self._changed(policy=replace(POLICY, rules=rules))

    @rule(window=st.sampled_from((NIGHT, Window(("sun",), time(22), time(2), "UTC"), None)))
    def window(self, window: Window | None) -> None:
        self._changed(windows={} if window is None else {"night": window})

    def _changed(self, **changes: Any) -> None:
        self.bot.services = replace(self.bot.services, **changes)

    @rule()
    def tick(self) -> None:
        overdue.expire(self.bot.services)
        overdue.remind(self.bot.services)

    @rule(vm=st.sampled_from(("web-1", "db-1")), how=st.sampled_from(WHEN[:-1]),
          after=st.sampled_from((-61, 0, 599, 600, 20000)), votes=st.integers(1, 2),
          voters=st.sampled_from((frozenset({"UBRUNO", "UCARLA"}), frozenset({"UEVA"}))))  # fmt: skip
    def its_time_comes(
        self, vm: str, how: str, after: int, votes: int, voters: frozenset[str]
    ) -> None:
        """Seconds before, at and after the start of one that waits, by the rules of that moment."""
        self.ask_and_approve(vm, how)
        waiting = self.bot.store.operations(states=(State.APPROVED,), limit=1)
        if waiting and waiting[0].slot is not None:
            _until(self.bot, waiting[0].slot.start + timedelta(seconds=after))
            self.roles(voters)
            self._changed(policy=replace(POLICY, rules=(Rule("default", votes=votes),)))
            self.work()

    @rule()
    def crash(self) -> None:
        """What was handed over is forgotten; the next tick hands over what is due."""
        self.bot.work.ids.clear()
        self.bot.forgets()

    @rule()
    def work(self) -> None:
        """The workers; of what begins, the rules of that moment are kept beside it."""
        overdue.remind(self.bot.services)
        while self.bot.work.ids:
            name = self.bot.work.ids.pop(0)
            before = self._begun(name)
            try:
                perform.perform(self.bot.services, name)
            except TooEarlyError:
                continue
            if self._begun(name) > before:
                self._must_have_been_right(name)

    def _begun(self, name: str) -> int:
        return sum(isinstance(each, Began) for each in self.bot.store.events(name))

    def _must_have_been_right(self, name: str) -> None:
        operation, services = self.bot.store.operation(name), self.bot.services
        began = operation.began_at
        assert began is not None
        assert self._begun(name) == 1, "begun twice"
        if operation.slot is not None:
            assert operation.slot.holds(began), "begun outside its time"
            if operation.slot.window:
                assert services.windows["night"].holds(began), "begun outside the window"
        now = services.policy.rules[0]
        assert not now.freeze, "begun in a freeze"
        good = {vote.by for vote in operation.votes} & services.roles["approver"].users
        assert len(good - {operation.origin.by}) >= now.votes, "begun without its votes"

    def _remember(self) -> None:
        for each in self.bot.store.operations():
            pair = (each.id, f"{each.id}:{each.digest}")
            if pair not in self.seen:
                self.seen.append(pair)

    @invariant()
    def nothing_is_begun_twice(self) -> None:
        for each in self.bot.store.operations() if hasattr(self, "bot") else ():
            assert self._begun(each.id) <= 1


TestCalendar = Calendar.TestCase
TestCalendar.settings = settings(
    max_examples=examples(12),
    stateful_step_count=30,
)


def test_it_is_moved_and_approved_by_typing_too(bot: Bot) -> None:
    _scheduled(bot)
    assert "A time is needed" in text(bot.types("reschedule op-1"))
    said = text(bot.types("reschedule op-1 sun 22:00"))
    assert "It runs Sun 2026-01-11 22:00 UTC" in said
    digest = bot.operation().digest
    assert digest != bot.operation().plan.digest
    bot.types(f"approve op-1 {bot.operation().plan.digest[:8]}", "UBRUNO")
    assert bot.operation().votes == (), "the hash of the plan alone is not that of its time"
    bot.types(f"approve op-1 {digest[:8]}", "UBRUNO")
    assert bot.operation().state is State.APPROVED
    assert "Two times" in text(bot.types("reschedule op-1 sun 22:00 --in 2h"))
    assert "In 2 h" not in text(bot.types("reschedule op-1 --in 2h", "UCARLA"))
    moved = bot.operation().slot
    assert moved is not None
    assert moved.start == MONDAY + timedelta(hours=2)
