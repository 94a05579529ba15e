"""When the bot speaks up by itself about an uneven cluster, and when it keeps still."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot import catalog
from bot.domain.cluster import Snapshot
from bot.domain.message import Words
from bot.domain.operation import (
    BOT,
    Approved,
    Began,
    Failed,
    Finished,
    Operation,
    Origin,
    Proposed,
    State,
    StepBegan,
    StepEnded,
    advance,
    open_operation,
)
from bot.domain.plan import Plan, Risk
from bot.domain.policy import Rule, Ruling
from bot.domain.steps import MigrateVm
from bot.flow.monitoring import watch as core_watch
from bot.plugin_api import Alert, Looked, Measured, Proposal, WatchView
from bot.testing import draw_cluster, uuid_of
from plugins.balance import watch
from plugins.balance.intents import Balance
from plugins.balance.settings import BalanceSettings
from tests.bot.flow.small_bot import POLICY, Bot, small_bot, text

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
UNEVEN = """
host-a 8cpu 32G | v1 4G load 1 | v2 4G load 1 | v3 4G load 1 | v4 4G load 1
host-b 8cpu 32G
"""
EVEN = """
host-a 8cpu 32G | v1 4G load 1 | v2 4G load 1
host-b 8cpu 32G | v3 4G load 1 | v4 4G load 1
"""


class Past:
    """The operations there were, newest first."""

    def __init__(self, *operations: Operation) -> None:
        self.all = operations

    def operations(
        self, *, states: Collection[object] = (), by: str = "", limit: int = 50
    ) -> tuple[Operation, ...]:
        found = (each for each in self.all if by in ("", each.origin.by))
        return tuple(each for each in found if not states or each.state in states)[:limit]


class Days:
    """Looks every minute at what is drawn, and remembers as the core does: through JSON."""

    def __init__(self, **settings: object) -> None:
        chosen = {"mode": "alert", "hold_minutes": 10, "cooldown_minutes": 30, **settings}
        self.settings = BalanceSettings.model_validate({"watch": chosen, "cooldown_minutes": 1})
        self.now = START
        self.memory: dict[str, object] = {}
        self.said: list[Alert | Proposal] = []
        self.past = Past()

    def looks(self, text: str | Snapshot, minutes: int = 1) -> list[Alert | Proposal]:
        """What was said in so many minutes."""
        before = len(self.said)
        for _ in range(minutes):
            seen = draw_cluster(text) if isinstance(text, str) else text
            seen = replace(seen, taken_at=self.now)
            view = WatchView(seen, (), self.past, Measured(), self.memory, self.now)  # type: ignore[arg-type]
            looked: Looked = watch.look(self.settings, view)
            self.memory = json.loads(json.dumps(dict(looked.memory)))
            self.said += looked.noticed
            self.now += MINUTE
        return self.said[before:]


def operation(begun: datetime, *, done: bool, action: str = "migrate") -> Operation:
    step = MigrateVm(uuid_of("v9"), "v9", "host-a", "host-b", 1)
    origin = Origin("U1", "C1", "/kvm migrate v9", "k")
    plan = Plan("t", (step,), Risk.MEDIUM)
    event = Proposed(
        begun,
        "U1",
        action,
        Balance(),
        plan,
        Ruling(0, (), 60, "none"),
        origin,
        begun + timedelta(hours=1),
    )
    found = open_operation("op-1", event)
    if action == "balance":
        return found
    for each in (Approved(begun, "U2"), Began(begun, "drover"), StepBegan(begun, "drover", 0)):
        found = advance(found, each)
    if done:
        for last in (StepEnded(begun, "drover", 0), Finished(begun, "drover")):
            found = advance(found, last)
    return found


def test_it_is_off_unless_it_is_switched_on() -> None:
    assert catalog.load(["migrate", "balance"]).watches == ()
    on = catalog.load(["migrate", "balance"], {"balance": {"watch": {"mode": "alert"}}})
    assert [each.name for each in on.watches] == ["balance"]


def test_it_speaks_after_the_hold_time_and_not_before_and_then_rests() -> None:
    days = Days()
    assert days.looks(UNEVEN, 10) == []
    (alert,) = days.looks(UNEVEN, 1)
    assert isinstance(alert, Alert)
    assert [each.command for each in alert.remedies] == [
        "balance --max-moves 10",
        "balance sim --max-moves 10",
    ]
    assert days.looks(UNEVEN, 29) == []
    (again,) = days.looks(UNEVEN, 1)
    assert isinstance(again, Alert)
    assert again.key == alert.key


def test_one_even_look_begins_the_hold_time_anew_and_ends_the_alert() -> None:
    days = Days(smooth_minutes=0.01)
    days.looks(UNEVEN, 9)
    assert days.looks(EVEN, 1) == []
    assert days.looks(UNEVEN, 10) == []
    assert len(days.looks(UNEVEN, 1)) == 1
    (over,) = days.looks(EVEN, 1)
    assert isinstance(over, Alert)
    assert over.over
    assert days.looks(EVEN, 5) == []


def test_a_start_or_a_long_silence_begins_the_hold_time_anew() -> None:
    days = Days()
    days.looks(UNEVEN, 9)
    days.now += timedelta(hours=2)
    assert days.looks(UNEVEN, 10) == []
    assert len(days.looks(UNEVEN, 1)) == 1


def test_a_short_peak_is_averaged_away() -> None:
    days = Days(hold_minutes=0, smooth_minutes=10)
    days.looks(EVEN, 5)
    assert days.looks(EVEN.replace("v1 4G load 1", "v1 4G load 2"), 1) == []
    assert days.looks(EVEN, 5) == []


@pytest.mark.parametrize("done", [False, True])
def test_samples_from_our_own_migrations_are_not_used(*, done: bool) -> None:
    days = Days(hold_minutes=3, smooth_minutes=4)
    days.looks(UNEVEN, 2)
    days.past = Past(operation(days.now, done=done))
    assert days.looks(UNEVEN, 4) == []
    assert days.memory["uneven"] == 0
    later = days.looks(UNEVEN, 10)
    assert bool(later) is done


def test_quiet_hours_are_kept() -> None:
    days = Days(quiet_from="11:00", quiet_to="13:00", quiet_zone="UTC")
    assert days.looks(UNEVEN, 60) == []
    assert len(days.looks(UNEVEN, 1)) == 1


def test_a_balance_before_people_is_not_proposed_again() -> None:
    days = Days()
    days.past = Past(operation(START, done=False, action="balance"))
    assert days.looks(UNEVEN, 40) == []


def test_a_plan_that_gains_too_little_is_not_worth_a_word() -> None:
    assert Days(min_gain=0.9).looks(UNEVEN, 40) == []
    assert len(Days(min_gain=0.1).looks(UNEVEN, 40)) == 1


def test_it_proposes_the_plan_itself_with_its_reason_and_few_moves() -> None:
    days = Days(mode="propose", max_moves=1)
    (proposal,) = days.looks(UNEVEN, 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)
    assert proposal.plan is not None
    assert (proposal.action, len(proposal.plan.steps)) == ("balance", 1)
    assert isinstance(proposal.why, Words), "translated where it is shown"
    assert "imbalance above the threshold for" in str(proposal.why)
    assert proposal.intent.max_moves == 1


# auto


def automatic(ended: datetime, moves: int, *, failed: bool = False) -> Operation:
    """An automatic balance of the bot that has ended."""
    step = MigrateVm(uuid_of("v9"), "v9", "host-a", "host-b", 1)
    origin = Origin(BOT, "C1", "/kvm balance", f"k{ended}")
    ruling = Ruling(0, (), 60, "small", automatic=True)
    event = Proposed(
        ended,
        BOT,
        "balance",
        Balance(),
        Plan("t", (step,) * moves, Risk.MEDIUM),
        ruling,
        origin,
        ended + MINUTE,
    )
    found = advance(advance(open_operation("op-1", event), Approved(ended, BOT)), Began(ended, BOT))
    for index in range(moves):
        found = advance(advance(found, StepBegan(ended, BOT, index)), StepEnded(ended, BOT, index))
    return advance(found, Failed(ended, BOT, "broke") if failed else Finished(ended, BOT))


def auto(**settings: object) -> Days:
    return Days(mode="auto", max_moves=3, window_hours=6, window_moves=4, **settings)


def test_auto_means_to_move_by_itself_within_its_limit_of_moves() -> None:
    days = auto()
    (proposal,) = days.looks(UNEVEN, 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)
    assert (proposal.automatic, proposal.action, proposal.intent.max_moves) == (True, "balance", 3)
    days = auto()
    days.past = Past(automatic(START - timedelta(hours=3), 3))
    (proposal,) = days.looks(UNEVEN, 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)
    assert proposal.intent.max_moves == 1
    assert proposal.plan is not None
    assert len(proposal.plan.steps) == 1


def test_when_the_moves_of_the_window_are_used_up_people_are_told_and_later_it_moves_again() -> (
    None
):
    days = auto()
    days.past = Past(
        automatic(START - timedelta(hours=3), 3), automatic(START - timedelta(hours=5), 1)
    )
    (alert,) = days.looks(UNEVEN, 11)
    assert isinstance(alert, Alert)
    assert "the limit of 4 migrations in 6 h is reached" in str(alert.card.text)
    days.now += timedelta(hours=2)
    (proposal,) = days.looks(UNEVEN, 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)
    assert proposal.intent.max_moves == 1


def test_after_a_failure_or_a_cancel_it_moves_nothing_until_the_window_has_passed() -> None:
    days = auto()
    days.past = Past(automatic(START - timedelta(hours=1), 1, failed=True))
    (alert,) = days.looks(UNEVEN, 11)
    assert isinstance(alert, Alert)
    assert "failed or was cancelled" in str(alert.card.text)
    days.now += timedelta(hours=7)
    (proposal,) = days.looks(UNEVEN, 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)


def test_a_vm_with_the_tag_is_never_moved_by_itself() -> None:
    days = auto()
    (proposal,) = days.looks(UNEVEN.replace("v1 4G load 1", "v1 4G load 1 [auto=off]"), 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)
    assert proposal.plan is not None
    assert "v1" not in proposal.plan.blast.vms
    pinned = UNEVEN
    for name in ("v1", "v2", "v3"):
        pinned = pinned.replace(f"{name} 4G load 1", f"{name} 4G load 1 [auto=off]")
    pinned = pinned.replace("v4 4G load 1", "v4 4G load 1 [balance=off]")
    (alert,) = auto().looks(pinned, 11)
    assert isinstance(alert, Alert)
    assert "would not help enough" in str(alert.card.text)
    assert isinstance(Days(mode="propose").looks(pinned, 11)[0], Proposal)


def test_auto_keeps_quiet_hours_hold_and_cooldown_as_a_proposal_does() -> None:
    assert auto(quiet_from="11:00", quiet_to="13:00", quiet_zone="UTC").looks(UNEVEN, 60) == []
    days = auto()
    assert days.looks(UNEVEN, 10) == []
    assert len(days.looks(UNEVEN, 1)) == 1
    assert days.looks(UNEVEN, 29) == []


def test_only_auto_says_that_it_acts_by_itself() -> None:
    for mode, wanted in (
        ("alert", frozenset()),
        ("propose", frozenset()),
        ("auto", frozenset({"balance"})),
    ):
        assert (
            catalog.load(["migrate", "balance"], {"balance": {"watch": {"mode": mode}}}).automatic
            == wanted
        )


AUTO_POLICY = replace(
    POLICY,
    rules=(Rule("small", commands=("balance",), automatic=True, max_vms=2, votes=0), *POLICY.rules),
)
SMALL = "host-a 8cpu 32G | v1 4G load 1 dirty 1M | v2 4G load 1 dirty 1M\nhost-b 8cpu 32G"


def noticed(bot: Bot, cluster: str) -> Proposal:
    (proposal,) = auto().looks(cluster, 11)
    assert isinstance(proposal, Proposal)
    assert isinstance(proposal.intent, Balance)
    core_watch.propose_for_bot(bot.services, proposal, "balance")
    return proposal


def test_what_is_done_by_itself_is_shown_with_cancel_where_approvals_and_alerts_are(
    tmp_path: Path,
) -> None:
    bot = small_bot(tmp_path, SMALL, ("migrate", "balance"), policy=AUTO_POLICY)
    noticed(bot, SMALL)
    assert bot.operation().state is State.APPROVED
    assert (bot.operation().ruling.rule, bot.operation().ruling.automatic) == ("small", True)
    shown = {ref.channel: card for ref, card in bot.chat.messages.items()}
    assert set(shown) == {"CAPPROVALS", "COPS"}
    assert all("op.cancel" in text(card) for card in shown.values())
    bot.works()
    assert bot.operation().state is State.DONE
    assert all(
        "Done:" in text(card)
        for ref, card in bot.chat.messages.items()
        if ref not in bot.chat.threads
    )
    bot.store.close()


def test_anybody_with_the_right_cancels_what_is_done_by_itself(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, SMALL, ("migrate", "balance"), policy=AUTO_POLICY)
    noticed(bot, SMALL)
    bot.clicks("op.cancel", bot.value(), "UBRUNO")
    bot.works()
    assert bot.operation().state is State.CANCELLED
    assert bot.where("v1") == bot.where("v2") == ["host-a"]
    bot.store.close()


def test_what_is_beyond_the_rule_is_laid_before_people(tmp_path: Path) -> None:
    only_one = replace(
        AUTO_POLICY, rules=(replace(AUTO_POLICY.rules[0], max_memory=1 << 30), *POLICY.rules)
    )
    bot = small_bot(tmp_path, SMALL, ("migrate", "balance"), policy=only_one)
    noticed(bot, SMALL)
    assert (bot.operation().state, bot.operation().ruling.rule) == (State.PROPOSED, "default")
    assert [ref.channel for ref in bot.chat.messages] == ["CAPPROVALS"]
    bot.store.close()


def test_the_policy_of_balance_tells_what_is_done_by_itself(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, SMALL, ("migrate", "balance"), policy=AUTO_POLICY)
    said = text(bot.types("policy balance"))
    assert "what a watch does by itself, at most 2 VMs" in said
    bot.store.close()
