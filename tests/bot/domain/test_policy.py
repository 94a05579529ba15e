"""Windows, rules and rulings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.message import Message, words
from bot.domain.plan import Blast, Plan, Risk
from bot.domain.policy import (
    AGENT_BY_ITSELF,
    AGENTS_VOTES,
    MayNot,
    Policy,
    Rule,
    Ruling,
    Window,
    contradictions,
    covers,
    frozen,
    may_ask,
    ruling,
    thaw,
    who_may,
)
from bot.domain.steps import AttestOff
from tests.operations import planned

MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ENGINEER = frozenset({"engineer"})
GRANTS = {"engineer": ("migrate", "host*"), "approver": ("*",)}


def policy(*rules: Rule) -> Policy:
    return Policy(GRANTS, ("help",), rules or (Rule("default"),))


def ruled(
    *rules: Rule, now: datetime = MONDAY, command: str = "migrate", **blast: Any
) -> Ruling | MayNot:
    plan = replace(
        planned(), blast=replace(planned().blast, **blast), tags=("env=prod", "team=web")
    )
    return ruling(policy(*rules), command, plan, ENGINEER, now)


def test_the_first_rule_whose_conditions_all_hold_rules() -> None:
    rules = (
        Rule("drains", commands=("host*",), votes=2),
        Rule("moves", commands=("mig*",), votes=1),
        Rule("rest"),
    )
    assert ruled(*rules) == Ruling(1, ("approver",), 3600, "moves")
    assert ruled(*rules, command="host drain") == Ruling(2, ("approver",), 3600, "drains")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"commands": ("migrate",)}, True),
        ({"commands": ("balance", "mig*")}, True),
        ({"commands": ("Migrate",)}, False),
        ({"risks": (Risk.MEDIUM, Risk.HIGH)}, True),
        ({"risks": (Risk.HIGH,)}, False),
        ({"tags": ("env=prod",)}, True),
        ({"tags": ("team=*",)}, True),
        ({"tags": ("env=test",)}, False),
        ({"hosts": ("host-b",)}, True),
        ({"hosts": ("rack2-*",)}, False),
        ({"min_vms": 1}, True),
        ({"min_vms": 2}, False),
        ({"min_memory": 1 << 30}, True),
        ({"min_memory": (1 << 30) + 1}, False),
        ({"max_vms": 1}, True),
        ({"max_memory": 1 << 30}, True),
        ({"max_memory": (1 << 30) - 1}, False),
        ({"automatic": True}, False),
        ({"window": Window(("mon",), time(9), time(17))}, True),
        ({"window": Window(("tue",), time(9), time(17))}, False),
        ({"commands": ("migrate",), "hosts": ("elsewhere",)}, False),
    ],
)
def test_each_condition_decides(condition: dict[str, object], holds: bool) -> None:  # noqa: FBT001
    answer = ruled(Rule("this", votes=2, **condition), Rule("rest"))  # type: ignore[arg-type]
    assert isinstance(answer, Ruling)
    assert answer.rule == ("this" if holds else "rest")


AUTOMATIC = Rule(
    "small", commands=("balance",), automatic=True, max_vms=2, max_memory=8 << 30, votes=0
)


def automatically(*rules: Rule, vms: int = 1, memory: int = 1 << 30) -> Ruling | MayNot:
    plan = replace(planned(), blast=Blast(vms=tuple("abcdef"[:vms]), memory=memory))
    return ruling(policy(*rules), "balance", plan, frozenset({"approver"}), MONDAY, automatic=True)


def test_what_a_watch_does_by_itself_takes_no_vote_within_the_rule_and_people_beyond_it() -> None:
    within = automatically(AUTOMATIC, Rule("rest"))
    assert isinstance(within, Ruling)
    assert (within.rule, within.votes, within.automatic) == ("small", 0, True)
    for beyond in ({"vms": 3}, {"memory": 9 << 30}):
        asked = automatically(AUTOMATIC, Rule("rest"), **beyond)
        assert isinstance(asked, Ruling)
        assert (asked.rule, asked.votes, asked.automatic) == ("rest", 1, False)


def test_no_other_rule_makes_anything_automatic_and_a_freeze_before_it_holds() -> None:
    free = automatically(Rule("free", votes=0))
    assert isinstance(free, Ruling)
    assert not free.automatic
    stop = Rule("stop", commands=("balance",), freeze=True, why="Not today.")
    assert isinstance(automatically(stop, AUTOMATIC), MayNot)
    plan = replace(planned(), blast=Blast(vms=("a",)))
    after = policy(AUTOMATIC, stop, Rule("rest"))
    assert frozen(after, "balance", plan, MONDAY) == stop
    assert frozen(after, "balance", plan, MONDAY, automatic=True) is None


def test_a_freeze_lets_nothing_through_and_says_why() -> None:
    frozen = Rule(
        "year end",
        window=Window((), time(0), time(0)),
        freeze=True,
        why="The year is being closed.",
    )
    assert ruled(frozen) == MayNot("The year is being closed.", words("Ask again after it ends."))
    unexplained = ruled(replace(frozen, why=""))
    assert isinstance(unexplained, MayNot)
    assert unexplained.text == words("“{rule}” is a freeze.", rule="year end")


def test_who_lacks_the_role_is_told_which_it_takes() -> None:
    answer = ruling(policy(), "migrate", planned(), frozenset({"visitor"}), MONDAY)
    assert answer == MayNot(
        words("You may not use `{command}`.", command="migrate"),
        words("It takes one of the roles: {roles}.", roles=("approver", "engineer")),
    )
    nobody = ruling(Policy({}), "migrate", planned(), ENGINEER, MONDAY)
    assert isinstance(nobody, MayNot)
    assert "No role may use it" in str(nobody.advice)


def test_what_no_rule_covers_is_not_allowed() -> None:
    assert isinstance(ruled(Rule("only hosts", commands=("host*",))), MayNot)


def test_grants_are_patterns_and_everyone_has_theirs() -> None:
    assert may_ask(policy(), "help", frozenset())
    assert may_ask(policy(), "hosts", ENGINEER)
    assert not may_ask(policy(), "balance", ENGINEER)
    assert may_ask(policy(), "balance", frozenset({"approver"}))
    assert who_may(policy(), "migrate") == ("approver", "engineer")
    assert who_may(policy(), "balance") == ("approver",)


def test_a_rule_covers_the_commands_it_names() -> None:
    assert covers(Rule("all"), "migrate")
    assert covers(Rule("moves", commands=("mig*",)), "migrate")
    assert not covers(Rule("moves", commands=("mig*",)), "balance")


def test_fallback_approvers_may_vote_after_a_time() -> None:
    slow = Ruling(1, ("approver",), 3600, "default", ("manager",), 600)
    assert slow.roles_at(599) == ("approver",)
    assert slow.roles_at(600) == ("approver", "manager")
    never = replace(slow, fallback_after=0)
    assert never.roles_at(1e9) == ("approver",)


@pytest.mark.parametrize(
    ("window", "now", "holds"),
    [
        (Window(), "2026-01-05T03:00+00:00", True),
        (Window(("sat", "sun")), "2026-01-05T03:00+00:00", False),
        (Window((), time(9), time(17)), "2026-01-05T08:59:59+00:00", False),
        (Window((), time(9), time(17)), "2026-01-05T09:00:00+00:00", True),
        (Window((), time(9), time(17)), "2026-01-05T17:00:00+00:00", False),
        (Window((), time(22), time(6)), "2026-01-05T23:00+00:00", True),
        (Window((), time(22), time(6)), "2026-01-05T05:59+00:00", True),
        (Window((), time(22), time(6)), "2026-01-05T06:00+00:00", False),
        # Saturday morning is Friday's night
        (Window(("fri",), time(22), time(6)), "2026-01-10T05:00+00:00", True),
        (Window(("sat",), time(22), time(6)), "2026-01-10T05:00+00:00", False),
        (Window((), time(9), time(17), "America/Sao_Paulo"), "2026-01-05T11:59+00:00", False),
        (Window((), time(9), time(17), "America/Sao_Paulo"), "2026-01-05T12:00+00:00", True),
        (Window(("mon",), time(0), time(0), "Pacific/Auckland"), "2026-01-04T12:00+00:00", True),
    ],
)
def test_windows(window: Window, now: str, holds: bool) -> None:  # noqa: FBT001
    assert window.holds(datetime.fromisoformat(now)) is holds


days = st.lists(st.sampled_from(("mon", "tue", "wed", "thu", "fri", "sat", "sun")), max_size=7).map(
    tuple
)
minutes = st.times().map(lambda each: each.replace(second=0, microsecond=0))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(  # noqa: DTZ001
    lambda each: each.replace(tzinfo=UTC)
)


@given(minutes, minutes, moments)
def test_a_window_and_its_opposite_share_no_moment_and_leave_none_out(
    start: time, end: time, now: datetime
) -> None:
    if start != end:
        assert Window((), start, end).holds(now) is not Window((), end, start).holds(now)


@given(
    days, minutes, minutes, moments, st.sampled_from(("UTC", "America/Sao_Paulo", "Asia/Kolkata"))
)
def test_a_window_asks_what_time_it_is_there_not_how_it_is_written(
    chosen: tuple[str, ...], start: time, end: time, now: datetime, zone: str
) -> None:
    window = Window(chosen, start, end, zone)
    assert window.holds(now) is window.holds(now.astimezone(ZoneInfo("Asia/Tokyo")))


@given(st.integers(0, 5), st.integers(0, 1 << 40), moments)
def test_a_ruling_is_one_of_the_rules_or_a_refusal(vms: int, memory: int, now: datetime) -> None:
    rules = (
        Rule("many", min_vms=3, votes=3),
        Rule("big", min_memory=1 << 35, votes=2),
        Rule("night", window=Window((), time(22), time(6)), freeze=True),
        Rule("rest", votes=1),
    )
    blast = Blast(tuple(f"vm-{n}" for n in range(vms)), ("host-a",), memory)
    answer = ruling(policy(*rules), "migrate", replace(planned(), blast=blast), ENGINEER, now)
    if vms >= 3:
        assert isinstance(answer, Ruling)
        assert answer.votes == 3
    elif memory >= 1 << 35:
        assert isinstance(answer, Ruling)
        assert answer.votes == 2
    else:
        assert isinstance(answer, MayNot) is (now.hour >= 22 or now.hour < 6)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_waiting_longer_never_takes_a_vote_away(one: float, other: float) -> None:
    rule = Ruling(1, ("approver",), 3600, "default", ("manager", "owner"), 600)
    early, late = sorted((one, other))
    assert set(rule.roles_at(early)) <= set(rule.roles_at(late))


def test_a_window_holds_an_hour_that_the_clock_skips_or_repeats() -> None:
    """On 2026-03-29 Lisbon goes from 01:00 to 02:00; on 2026-10-25 it lives 01:00 to 02:00 twice."""
    night = Window((), time(1), time(2), "Europe/Lisbon")
    start = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    assert not any(night.holds(start + timedelta(minutes=minute)) for minute in range(0, 240, 5))
    start = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    assert sum(night.holds(start + timedelta(minutes=minute)) for minute in range(0, 240, 5)) == 24


# contradictions

PEOPLE = {"engineer": frozenset({"UENG"}), "approver": frozenset({"UA", "UB", "UC"}), "group": None}
NIGHT = Window(start=time(22), end=time(6))
LAST = Rule("last")


@pytest.mark.parametrize(
    ("rules", "name", "said"),
    [
        ((Rule("stop", freeze=True), LAST), "stop", "for ever"),
        ((Rule("free", votes=0, fallback=("engineer",), risks=(Risk.LOW,)), LAST), "free", "leave them out"),
        ((Rule("who", approvers=("boss",), risks=(Risk.LOW,)), LAST), "who", "role “boss”, which does not exist"),
        ((Rule("late", fallback=("engineer",), fallback_after=3600),), "late", "never get a turn"),
        ((Rule("early", fallback=("engineer",)),), "early", "never get a turn"),
        ((Rule("many", votes=4),), "many", "only 3 people"),
        ((Rule("own", votes=3),), "own", "could never be approved"),
        ((Rule("all"), Rule("never", risks=(Risk.HIGH,)), LAST), "never", "“all” comes first"),
        ((Rule("2", risks=(Risk.HIGH, Risk.LOW)), Rule("never", risks=(Risk.LOW,), min_vms=3), LAST), "never", "“2”"),
        ((Rule("night", window=NIGHT), Rule("never", window=NIGHT, hosts=("a",)), LAST), "never", "“night”"),
        ((Rule("twin", risks=(Risk.LOW,)), Rule("twin")), "twin", "two rules"),
        ((Rule("some", risks=(Risk.LOW,)),), "some", "end with a rule without conditions"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_named_with_what_to_do(
    rules: tuple[Rule, ...], name: str, said: str
) -> None:
    found = dict(contradictions(policy(*rules), PEOPLE))
    assert said in str(found[name])


@pytest.mark.parametrize(
    ("rules", "automatic", "name", "said"),
    [
        ((LAST,), {"balance"}, "balance", "no rule allows that"),
        ((replace(AUTOMATIC, votes=1), LAST), {"balance"}, "balance", "no rule allows that"),
        ((replace(AUTOMATIC, freeze=True), LAST), {"balance"}, "balance", "no rule allows that"),
        ((AUTOMATIC, LAST), set(), "small", "no automatic command"),
        ((Rule("all"), AUTOMATIC, LAST), {"balance"}, "small", "“all” comes first"),
        (
            (AUTOMATIC, replace(AUTOMATIC, name="less", max_vms=1), LAST),
            {"balance"},
            "less",
            "“small” comes first",
        ),
    ],
)
def test_what_cannot_be_meant_of_what_is_automatic(
    rules: tuple[Rule, ...], automatic: set[str], name: str, said: str
) -> None:
    assert said in str(dict(contradictions(policy(*rules), PEOPLE, automatic))[name])
    assert contradictions(policy(AUTOMATIC, LAST), PEOPLE, {"balance"}) == ()
    more = replace(AUTOMATIC, name="more", max_vms=9)
    assert contradictions(policy(AUTOMATIC, more, LAST), PEOPLE, {"balance"}) == ()


def test_a_policy_that_makes_sense_has_no_contradictions() -> None:
    sensible = policy(
        Rule("night", window=NIGHT, freeze=True),
        Rule("careful", risks=(Risk.HIGH,), votes=2, fallback=("engineer",), fallback_after=60),
        Rule("many", min_vms=5, votes=2),
        Rule("reads", risks=(Risk.LOW,), votes=0),
        Rule("groups", tags=("env=prod",), votes=9, approvers=("group",)),
        Rule("default"),
    )
    assert contradictions(sensible, PEOPLE) == ()


@given(
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from([None, NIGHT]),
    st.sampled_from([(), (Risk.HIGH,)]),
)
def test_what_is_said_never_to_rule_never_does(
    vms: int, more: int, window: Window | None, risks: tuple[Risk, ...]
) -> None:
    first, second = (
        Rule("first", min_vms=vms, window=window),
        Rule("second", min_vms=more, risks=risks, window=NIGHT),
    )
    if not any(
        name == "second" and "never applies" in str(text)
        for name, text in contradictions(policy(first, second), PEOPLE)
    ):
        return
    for hour in range(24):
        for count in range(6):
            plan = replace(planned(), blast=Blast(vms=tuple("abcdef"[:count])), risk=Risk.HIGH)
            now = MONDAY + timedelta(hours=hour)
            assert not second.holds("migrate", plan, now) or first.holds("migrate", plan, now)


def test_a_freeze_rules_only_where_it_is_the_first_that_holds() -> None:
    freeze = Rule("stop", window=NIGHT, freeze=True)
    night, plan = MONDAY.replace(hour=23), planned()
    assert frozen(policy(freeze, LAST), "migrate", plan, night) == freeze
    assert frozen(policy(freeze, LAST), "migrate", plan, MONDAY) is None
    assert (
        frozen(policy(Rule("urgent", commands=("migrate",)), freeze), "migrate", plan, night)
        is None
    )


# what the bot proposes by itself


@pytest.mark.parametrize(("rule", "automatic", "votes"), [
    (Rule("free", votes=0), False, 1),
    (Rule("free", votes=0), True, 1),
    (Rule("two", votes=2), False, 2),
    (Rule("auto", automatic=True, votes=0), True, 0),
    (Rule("auto", automatic=True, votes=1), True, 1),
])  # fmt: skip
def test_what_the_bot_proposes_takes_a_vote_unless_a_rule_says_automatic(
    rule: Rule, votes: int, *, automatic: bool
) -> None:
    plan = planned()
    asked = ruling(
        policy(rule),
        "migrate",
        plan,
        frozenset({"approver"}),
        MONDAY,
        automatic=automatic,
        by_bot=True,
    )
    assert isinstance(asked, Ruling)
    assert asked.votes == votes


def test_a_rule_without_votes_and_without_approvers_is_a_contradiction() -> None:
    free = Rule("free", votes=0, approvers=("nobody",))
    found = dict(contradictions(policy(free), {"approver": frozenset({"UAPP"})}))
    assert "nobody has the role “nobody”" in str(found["free"])
    automatic = contradictions(
        policy(replace(free, automatic=True), LAST), {"approver": None}, ("x",)
    )
    assert "free" not in dict(automatic)


def test_a_freeze_says_when_it_ends() -> None:
    night = Rule("night", window=Window(start=time(22), end=time(6)), freeze=True)
    at = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
    assert thaw(night, at, timedelta(days=1)) == datetime(2026, 1, 6, 6, 0, tzinfo=UTC)
    assert thaw(night, at, timedelta(hours=1)) is None
    assert thaw(Rule("for ever", hosts=("a",), freeze=True), at, timedelta(days=1)) is None


BY_AGENT = Rule("agents", via="agent", votes=2)


def asked_by_agent(*rules: Rule, plan: Plan | None = None) -> Ruling | MayNot:
    return ruling(policy(*rules), "migrate", plan or planned(), ENGINEER, MONDAY, via="agent")


def test_a_rule_for_agents_rules_on_what_agents_ask_for_alone() -> None:
    assert asked_by_agent(BY_AGENT, Rule("rest")) == Ruling(2, ("approver",), 3600, "agents")
    assert ruled(BY_AGENT, Rule("rest")) == Ruling(1, ("approver",), 3600, "rest")


def test_what_an_agent_asks_for_takes_a_vote_where_people_need_none() -> None:
    free = Rule("free", votes=0)
    assert asked_by_agent(free) == Ruling(1, ("approver",), 3600, "free")
    assert ruled(free) == Ruling(0, ("approver",), 3600, "free")


def test_what_takes_two_people_takes_two_votes_from_an_agent() -> None:
    off = AttestOff("host-b", "The LEDs are dark.")
    plan = replace(planned(), steps=(off,))
    assert asked_by_agent(Rule("rest"), plan=plan) == Ruling(2, ("approver",), 3600, "rest")


def test_where_nobody_may_vote_an_agent_may_not_ask() -> None:
    assert isinstance(asked_by_agent(Rule("free", votes=0, approvers=())), MayNot)


def test_an_automatic_rule_never_rules_on_what_an_agent_asks_for() -> None:
    alone = Rule("alone", automatic=True, votes=0)
    assert asked_by_agent(alone, Rule("rest")) == Ruling(1, ("approver",), 3600, "rest")


def test_a_freeze_for_agents_leaves_people_alone() -> None:
    stop = Rule("no agents", via="agent", freeze=True, why="No agents today.")
    assert asked_by_agent(stop, Rule("rest")) == MayNot(
        "No agents today.", words("Ask again after it ends.")
    )
    assert frozen(policy(stop, Rule("rest")), "migrate", planned(), MONDAY, via="agent") == stop
    assert frozen(policy(stop, Rule("rest")), "migrate", planned(), MONDAY) is None


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (Rule("agents", via="agent", votes=0), AGENTS_VOTES),
        (Rule("agents", via="agent", automatic=True, votes=0), AGENT_BY_ITSELF),
        (BY_AGENT, None),
    ],
)
def test_a_rule_for_agents_that_cannot_be_meant_is_named(rule: Rule, fault: Message | None) -> None:
    people = {"approver": frozenset({"UBRUNO", "UCARLA", "UEVA"})}
    found = contradictions(policy(rule, Rule("rest")), people, ("migrate",))
    assert [text for name, text in found if name == "agents"] == ([fault] if fault else [])


def test_a_rule_for_agents_behind_one_for_all_never_applies_and_the_other_way_round_does() -> None:
    people = {"approver": frozenset({"UBRUNO", "UCARLA", "UEVA"})}
    behind = contradictions(policy(Rule("rest"), BY_AGENT), people)
    assert "agents" in {name for name, _ in behind}
    assert contradictions(policy(BY_AGENT, Rule("rest")), people) == ()


def test_what_is_done_by_itself_only_where_allowed_needs_no_rule_and_may_have_one() -> None:
    resume = replace(AUTOMATIC, name="resume", commands=("host resume",))
    assert contradictions(policy(LAST), PEOPLE, (), {"host resume"}) == ()
    assert contradictions(policy(resume, LAST), PEOPLE, (), {"host resume"}) == ()
    assert "resume" in dict(contradictions(policy(resume, LAST), PEOPLE))
