"""Today's rules: asked again at each vote, at the start, and before each step that begins; an approval ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from bot.domain.operation import (
    BOT,
    Began,
    Held,
    Operation,
    Released,
    RulingChanged,
    State,
    StepBegan,
    VotedFor,
)
from bot.domain.plan import Risk
from bot.domain.policy import Policy, Rule, Window
from bot.flow import context
from bot.flow.commands import dispatcher, late_requests
from bot.flow.context import Role
from bot.flow.monitoring import watch
from bot.flow.operations import overdue, perform, propose
from bot.plugin_api import Proposal
from bot.ports import Request
from plugins.migrate.grammar import Migrate
from tests.bot.flow.small_bot import Bot, small_bot, text

CLUSTER = """
host-a 8cpu 32G reserve 2G | dev-1 4G load 1 dirty 1M [env=dev]
host-b 8cpu 32G reserve 2G | dev-2 4G load 1 dirty 1M [env=dev]
host-c 8cpu 32G reserve 2G
"""
GRANTS = {"engineer": ("*",), "approver": ("*",)}
PROD = Rule("prod", tags=("env=prod",), votes=2, expires=3600)
ONE = Rule("default", votes=1, expires=3600)
BY_TAG = Policy(GRANTS, rules=(PROD, ONE))
FREE = Policy(
    GRANTS, rules=(Rule("free", risks=(Risk.LOW, Risk.MEDIUM), votes=0, expires=3600), ONE)
)
NIGHT = Rule(
    "night", window=Window(start=time(22), end=time(6)), freeze=True, why="Nothing moves at night."
)
STOP = Rule("stop", hosts=("host-b", "host-c"), freeze=True, why="Hands off.")
HOUR = 3600.0


def rolling_bot(tmp_path: Path, policy: Policy = BY_TAG, **more: Any) -> Bot:
    table = {"balance": {"rolling": {"pause_hours": 30}}}
    return small_bot(tmp_path, CLUSTER, ("migrate", "balance"), table, policy=policy, **more)


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = rolling_bot(tmp_path)
    yield made
    made.store.close()


def ruled(bot: Bot, *rules: Rule, **fields: Any) -> None:
    """Put other rules into force, as a restart with another configuration does."""
    bot.services = replace(
        bot.services,
        policy=replace(bot.services.policy, rules=rules or bot.services.policy.rules, **fields),
    )


def has_roles(bot: Bot, **roles: set[str]) -> None:
    bot.services = replace(
        bot.services, roles={name: Role(frozenset(users)) for name, users in roles.items()}
    )


def tagged(bot: Bot, name: str, **tags: str) -> None:
    bot.hypervisor.put(replace(bot.hypervisor.snapshot().vm(name), tags=tags))


def meanwhile(bot: Bot, *acts: Any) -> list[str]:
    """While the operation waits, do each act once, in order; what its message said each time."""
    left, said = list(acts), []
    sleep = bot.clock.sleep

    def acting(seconds: float) -> None:
        operation = bot.operation()
        waits = operation.waiting is not None or operation.votes_missing or operation.held
        if waits and left:
            said.append(text(bot.shown()))
            left.pop(0)()
        sleep(seconds)

    bot.clock.sleep = acting  # type: ignore[method-assign]
    return said


def goes_on(bot: Bot, by: str = "UANA") -> Any:
    return lambda: bot.clicks("op.continue", f"op-1:{bot.operation().waiting}", by)


def votes(bot: Bot, by: str) -> Any:
    return lambda: bot.clicks("op.approve", bot.value(), by)


def begun(bot: Bot, number: int = 1) -> list[StepBegan]:
    return [event for event in bot.store.events(f"op-{number}") if isinstance(event, StepBegan)]


# plans that grow after the approval


def roll(bot: Bot) -> None:
    bot.types("host rolling host-a host-b")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    assert bot.operation().state is State.APPROVED


def test_a_production_vm_that_comes_after_the_approval_waits_for_the_second_vote(bot: Bot) -> None:
    roll(bot)

    def arrives() -> None:
        tagged(bot, "dev-2", env="prod")
        goes_on(bot)()

    def second_vote() -> None:
        assert bot.where("dev-2") == ["host-b"]
        assert "op.approve" in bot.buttons()
        assert "op-1" in text(bot.types("approvals", by="UCARLA"))
        assert "You approved op-1 already" in text(votes(bot, "UBRUNO")())
        votes(bot, "UCARLA")()

    said = meanwhile(bot, arrives, second_vote, goes_on(bot))
    bot.works()
    assert "Waiting for 1 more vote" in said[1]
    assert bot.operation().state is State.DONE, bot.operation().outcome
    asked = [event for event in bot.store.events("op-1") if isinstance(event, RulingChanged)]
    assert [(event.ruling.rule, event.counted) for event in asked] == [("prod", ("UBRUNO",))]
    events = bot.store.events("op-1")
    second = max(place for place, event in enumerate(events) if isinstance(event, VotedFor))
    steps = bot.operation().plan.steps
    moved = [
        place for place, event in enumerate(events)
        if isinstance(event, StepBegan) and getattr(steps[event.index], "name", "") == "dev-2"
    ]  # fmt: skip
    assert moved
    assert all(place > second for place in moved)


def test_votes_for_the_rest_that_do_not_come_end_it_with_what_is_true(bot: Bot) -> None:
    roll(bot)

    def arrives() -> None:
        tagged(bot, "dev-2", env="prod")
        goes_on(bot)()

    meanwhile(bot, arrives)
    bot.works()
    assert bot.operation().state is State.FAILED
    assert "1 vote for the rest did not come in time" in str(bot.operation().outcome)
    assert "the rest was not begun" in str(bot.operation().outcome)
    assert bot.where("dev-2") == ["host-b"]


def test_a_freeze_that_begins_while_it_waits_is_waited_out(bot: Bot) -> None:
    ruled(bot, NIGHT, ONE)
    roll(bot)

    def at_night() -> None:
        bot.clock.turn(20.8 * HOUR)  # 05:48
        goes_on(bot)()

    meanwhile(bot, at_night, goes_on(bot))
    bot.works()
    assert bot.operation().state is State.DONE, bot.operation().outcome
    assert not [event for event in begun(bot) if event.at.hour >= 22 or event.at.hour < 6]
    assert begun(bot)[-1].at.day == 6


def test_a_freeze_without_an_end_ends_it_with_what_is_true(bot: Bot) -> None:
    roll(bot)

    def freezes() -> None:
        ruled(bot, STOP, ONE)
        goes_on(bot)()

    meanwhile(bot, freezes)
    run_with_newest_services(bot)
    assert bot.operation().state is State.FAILED
    assert "A freeze began: Hands off." in str(bot.operation().outcome)
    assert bot.where("dev-2") == ["host-b"]


def run_with_newest_services(bot: Bot) -> None:
    """As a restart does: the process that has the new rules carries on."""

    class Restarted(BaseException):
        pass

    sleep, services = bot.clock.sleep, bot.services

    def until_new(seconds: float) -> None:
        sleep(seconds)
        if bot.services is not services:
            raise Restarted

    bot.clock.sleep = until_new  # type: ignore[method-assign]
    with pytest.raises(Restarted):
        perform.perform(services, "op-1")
    bot.clock.sleep = sleep  # type: ignore[method-assign]
    perform.perform(bot.services, "op-1")


def test_a_requester_who_lost_the_right_while_it_waits_moves_nothing_more(bot: Bot) -> None:
    roll(bot)

    def leaves() -> None:
        has_roles(bot, engineer=set(), approver={"UBRUNO", "UCARLA"})
        assert "may not steer" in text(goes_on(bot)())
        goes_on(bot, "UBRUNO")()

    meanwhile(bot, leaves)
    run_with_newest_services(bot)
    assert bot.operation().state is State.FAILED
    assert str(bot.operation().outcome).startswith(
        "The requester may not use this command any more."
    )
    assert bot.where("dev-2") == ["host-b"]


@pytest.mark.parametrize(
    "button", ["op.cancel", "op.postcopy", "op.withdraw", "op.details", "op.again"]
)
def test_every_button_asks_for_the_role_of_that_moment(bot: Bot, button: str) -> None:
    bot.types("migrate dev-1 to host-b")
    if button in ("op.cancel", "op.postcopy"):
        bot.clicks("op.approve", bot.value(), "UBRUNO")
        bot.store.append(bot.operation(), Began(bot.clock.now(), BOT))
    if button == "op.again":
        bot.clicks("op.withdraw", bot.value(), "UANA")
    before = bot.store.events("op-1")
    has_roles(bot, engineer=set(), approver={"UBRUNO"})
    assert "You may not" in text(bot.clicks(button, bot.value(), "UANA"))
    assert bot.store.events("op-1") == before
    assert len(bot.store.operations()) == 1


# approvals that end, and rules that changed


def approved(bot: Bot, line: str = "migrate dev-1 to host-b") -> None:
    bot.types(line)
    bot.clicks("op.approve", bot.value(), "UBRUNO")


@pytest.mark.parametrize("late_by", [HOUR + 1, 200 * 24 * HOUR])
def test_an_approval_that_ended_begins_nothing_and_proposes_nothing(
    bot: Bot, late_by: float
) -> None:
    approved(bot)
    bot.clock.turn(late_by)
    dispatcher.pick_up(bot.services)
    bot.works()
    assert bot.operation().state is State.STALE
    assert "an approval lasts 1 h" in text(bot.shown())
    assert bot.where("dev-1") == ["host-a"]
    assert len(bot.store.operations()) == 1


def test_what_needed_no_vote_and_was_found_long_after_is_not_done(tmp_path: Path) -> None:
    bot = rolling_bot(tmp_path, FREE)
    bot.types("migrate dev-1 to host-b")
    bot.work.ids.clear()
    bot.clock.turn(2 * HOUR)
    dispatcher.pick_up(bot.services)
    bot.works()
    assert bot.operation().state is State.STALE
    assert [bot.where("dev-1"), len(bot.store.operations())] == [["host-a"], 1]
    bot.store.close()


def test_votes_are_counted_by_the_rule_of_the_start(bot: Bot) -> None:
    approved(bot)
    ruled(bot, replace(ONE, votes=2, name="strict"))
    bot.works()
    assert bot.operation().state is State.STALE
    assert "“strict” asks for 2 votes, and 1 of those given count" in text(bot.shown())
    assert bot.operation(2).ruling.votes == 2


def test_votes_are_counted_by_the_rule_of_the_click(bot: Bot) -> None:
    bot.types("migrate dev-1 to host-b")
    ruled(bot, replace(ONE, votes=2, name="strict"))
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    assert (bot.operation().state, bot.operation().votes_missing) == (State.PROPOSED, 1)
    bot.clicks("op.approve", bot.value(), "UCARLA")
    bot.works()
    assert bot.operation().state is State.DONE


def test_a_tag_that_changed_before_the_start_asks_for_its_votes(bot: Bot) -> None:
    approved(bot)
    tagged(bot, "dev-1", env="prod")
    bot.works()
    assert bot.operation().state is State.STALE
    assert "“prod” asks for 2 votes" in text(bot.shown())


def test_a_tag_that_changed_before_the_start_asks_for_its_approvers(bot: Bot) -> None:
    owners = Rule("prod", tags=("env=prod",), approvers=("owner",))
    ruled(bot, owners, ONE)
    has_roles(bot, engineer={"UANA"}, approver={"UBRUNO"}, owner={"UCARLA"})
    approved(bot)
    tagged(bot, "dev-1", env="prod")
    bot.works()
    assert bot.operation().state is State.STALE
    assert bot.where("dev-1") == ["host-a"]


def stored(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> Operation:
    """A proposal without votes, stored by a process that died before it approved it."""
    with monkeypatch.context() as patch:
        patch.setattr(propose, "lay_out", lambda _services, operation: operation)
        bot.types("migrate dev-1 to host-b")
    return bot.operation()


def test_a_proposal_without_votes_that_a_crash_left_is_approved_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = rolling_bot(tmp_path, FREE)
    stored(bot, monkeypatch)
    dispatcher.pick_up(bot.services)
    assert bot.operation().state is State.APPROVED
    bot.store.close()


def test_a_proposal_without_votes_that_is_old_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = rolling_bot(tmp_path, FREE)
    stored(bot, monkeypatch)
    bot.clock.turn(propose.LATE.total_seconds() + 1)
    dispatcher.pick_up(bot.services)
    assert bot.operation().state is State.EXPIRED
    bot.store.close()


def test_a_proposal_without_votes_under_stricter_rules_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = rolling_bot(tmp_path, FREE)
    stored(bot, monkeypatch)
    ruled(bot, ONE)
    dispatcher.pick_up(bot.services)
    assert (bot.operation().state, bot.operation().votes_missing) == (State.PROPOSED, 1)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    assert bot.operation().state is State.APPROVED
    bot.store.close()


# what the bot proposes by itself


def test_what_the_bot_proposes_waits_for_a_vote_under_a_rule_without_votes(tmp_path: Path) -> None:
    bot = rolling_bot(tmp_path, FREE)
    watch.propose_for_bot(
        bot.services, Proposal("migrate", Migrate("dev-1", "host-b"), why="It is time."), "some"
    )
    bot.works()
    assert (bot.operation().state, bot.operation().ruling.votes) == (State.PROPOSED, 1)
    assert bot.where("dev-1") == ["host-a"]
    bot.types("migrate dev-2 to host-c")  # a person who asks needs none
    bot.works()
    assert bot.operation(2).state is State.DONE
    bot.store.close()


def test_an_automatic_rule_without_votes_lets_the_bot_do_it(tmp_path: Path) -> None:
    rule = Rule("auto", automatic=True, votes=0)
    bot = rolling_bot(tmp_path, Policy(GRANTS, rules=(rule, ONE)))
    wish = Migrate("dev-1", "host-b")
    watch.propose_for_bot(bot.services, Proposal("migrate", wish, automatic=True), "some")
    bot.works()
    assert bot.operation().state is State.DONE
    # Not within its limits
    watch.propose_for_bot(bot.services, Proposal("migrate", replace(wish, to="host-c")), "some")
    assert bot.operation(2).state is State.PROPOSED
    bot.store.close()


def test_who_caused_a_proposal_of_the_bot_does_not_vote_on_it(bot: Bot) -> None:
    watch.propose_for_bot(
        bot.services, Proposal("migrate", Migrate("dev-1", "host-b"), causes=("UBRUNO",)), "some"
    )
    assert "because of what you did" in text(bot.clicks("op.approve", bot.value(), "UBRUNO"))
    assert bot.operation().votes == ()
    assert "Nothing waits" in text(bot.types("approvals", by="UBRUNO"))
    bot.clicks("op.approve", bot.value(), "UCARLA")
    assert bot.operation().state is State.APPROVED


# restarts after a long silence


def began(bot: Bot) -> None:
    """A drain of which one step is done when the process dies."""
    bot.types("host drain host-a")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.store.append(bot.operation(), Began(bot.clock.now(), BOT))
    bot.store.append(bot.operation(), StepBegan(bot.clock.now(), BOT, 0))
    bot.store.mark_alive()


def test_what_ran_when_the_bot_fell_silent_for_long_waits_for_a_person(bot: Bot) -> None:
    began(bot)
    bot.clock.turn(bot.services.silence + 1)
    late_requests.hold(bot.services)
    late_requests.hold(bot.services)
    said = meanwhile(bot, lambda: bot.clicks("op.continue", "op-1:held", "UGIL"),
                     lambda: bot.clicks("op.continue", "op-1:held", "UANA"))  # fmt: skip
    bot.work.ids[:] = ["op-1"]
    bot.works()
    assert bot.operation().state is State.DONE, bot.operation().outcome
    assert "Drover did not run for" in said[0]
    events = bot.store.events("op-1")
    assert [type(event) for event in events if isinstance(event, Held | Released)] == [
        Held,
        Released,
    ]
    released = next(index for index, event in enumerate(events) if isinstance(event, Released))
    assert not [
        event for event in events[:released] if isinstance(event, StepBegan) and event.index > 0
    ]


def test_a_held_operation_that_is_cancelled_says_what_had_begun(bot: Bot) -> None:
    began(bot)
    bot.clock.turn(bot.services.silence + 1)
    late_requests.hold(bot.services)
    meanwhile(bot, lambda: bot.clicks("op.cancel", bot.value(), "UANA"))
    bot.work.ids[:] = ["op-1"]
    bot.works()
    assert bot.operation().state is State.CANCELLED
    assert "had begun before; look at the hosts" in str(bot.operation().outcome)
    assert bot.where("dev-1") == ["host-a"]


def test_a_short_silence_holds_nothing(bot: Bot) -> None:
    began(bot)
    bot.clock.turn(30)
    late_requests.hold(bot.services)
    assert not bot.operation().held


def test_a_request_from_long_before_a_crash_is_told_and_not_carried_out(tmp_path: Path) -> None:
    bot = rolling_bot(tmp_path, FREE)
    line = "migrate dev-1 to host-b"
    bot.store.accept(Request("old", "command", "UANA", bot.clock.now(), "COPS", line))
    bot.clock.turn(3 * 24 * HOUR)
    bot.store.accept(
        Request("new", "command", "UANA", bot.clock.now(), "COPS", "migrate dev-2 to host-c")
    )
    workers = dispatcher.RequestWorkers(bot.services, 1)
    workers.start()
    workers.stop()
    assert "of 3 d ago was not carried out" in text(bot.chat.whispers[0].card)
    assert [each.origin.command for each in bot.store.operations()] == [
        "/kvm migrate dev-2 to host-c"
    ]
    assert bot.store.pending_requests() == ()


def test_a_message_that_the_chat_delivers_hours_late_is_told_and_not_carried_out(
    tmp_path: Path,
) -> None:
    bot = rolling_bot(tmp_path, FREE)
    workers = dispatcher.RequestWorkers(bot.services, 1)
    workers.start()
    written = bot.clock.now()
    bot.clock.turn(5 * HOUR)
    for key, at, line in (
        ("old", written, "migrate dev-1 to host-b"),
        ("new", bot.clock.now(), "migrate dev-2 to host-c"),
    ):
        assert workers.accept(Request(key, "command", "UANA", at, "DANA", line, message="1.1"))
    workers.stop()
    assert "of 5 h ago was not carried out: it arrived only now" in "".join(
        text(each.card) for each in bot.chat.whispers
    )
    assert [each.origin.command for each in bot.store.operations()] == [
        "/kvm migrate dev-2 to host-c"
    ]
    assert bot.store.pending_requests() == ()


def test_a_cancel_from_before_a_crash_is_never_too_late(bot: Bot) -> None:
    approved(bot)
    click = Request(
        "c",
        "click",
        "UANA",
        bot.clock.now(),
        "C",
        action="op.cancel",
        value=bot.value(),
        trigger="t",
    )
    bot.store.accept(click)
    bot.clock.turn(HOUR)
    workers = dispatcher.RequestWorkers(bot.services, 1)
    workers.start()
    workers.stop()
    assert bot.operation().state is State.CANCELLED


def test_a_cancel_that_races_with_the_start_is_quiet(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(bot)
    asked = context.snapshot

    def cancelled_meanwhile(*args: Any, **more: Any) -> Any:
        bot.clicks("op.cancel", bot.value(), "UANA")
        return asked(*args, **more)

    monkeypatch.setattr(perform, "snapshot", cancelled_meanwhile)
    bot.works()  # raises nothing
    assert bot.operation().state is State.CANCELLED
    assert bot.where("dev-1") == ["host-a"]


def test_expiry_and_reminders_leave_a_running_operation_that_waits_for_votes_alone(
    bot: Bot,
) -> None:
    roll(bot)
    bot.store.append(bot.operation(), Began(bot.clock.now(), BOT))
    ruling = replace(bot.operation().ruling, votes=2)
    bot.store.append(bot.operation(), RulingChanged(bot.clock.now(), BOT, ruling, ("UBRUNO",)))
    bot.clock.turn(2 * HOUR)
    overdue.expire(bot.services)
    overdue.remind(bot.services)
    assert bot.operation().state is State.RUNNING
