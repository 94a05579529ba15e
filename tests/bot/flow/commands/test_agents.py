"""Agents look, plan, propose and follow for a person; people decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.slack.blocks import render
from bot.domain.errors import DroverError, NotAllowedError, UsageError
from bot.domain.operation import Proposed, State
from bot.domain.policy import Policy, Rule
from bot.flow.commands import agent_answers
from bot.flow.commands.agents import Agent, AgentLimits, Agents
from bot.flow.context import Role
from bot.plugin_api import Decision
from tests.bot.flow.small_bot import POLICY, ROLES, Bot, small_bot, text

ANA = Agent("triage", "UANA")
WHY = "host-a is the busiest host"


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return small_bot(tmp_path, plugins=("migrate", "balance"))


def asks(
    bot: Bot,
    method: str,
    agent: Agent = ANA,
    limits: AgentLimits | None = None,
    **given: Any,
) -> Mapping[str, Any]:
    agents = Agents(bot.services, limits or AgentLimits())
    return agent_answers.answer(agents, agent, method, given)


def proposes(bot: Bot, command: str = "migrate web-1 to host-b", **more: Any) -> Mapping[str, Any]:
    return asks(bot, "propose", command=command, reason=WHY, **more)


def test_an_agent_looks_with_the_permissions_of_its_person(bot: Bot) -> None:
    said = asks(bot, "ask", command="hosts")
    assert "host-a" in said["text"]
    with pytest.raises(NotAllowedError):
        asks(bot, "ask", Agent("triage", "UGIL"), command="hosts")


def test_the_commands_that_an_agent_is_offered_are_those_it_may_use(bot: Bot) -> None:
    offered = {each["name"]: each for each in asks(bot, "commands")["commands"]}
    assert offered["migrate"]["changes"]
    assert not offered["hosts"]["changes"]
    few = AgentLimits(may=("hosts", "why"))
    assert {each["name"] for each in asks(bot, "commands", limits=few)["commands"]} == {
        "hosts",
        "why",
    }
    with pytest.raises(NotAllowedError):
        asks(bot, "plan", limits=few, command="migrate web-1 to host-b")
    nobody = {each["name"] for each in asks(bot, "commands", Agent("x", "UGIL"))["commands"]}
    assert nobody == {"help"}


def test_a_plan_says_what_would_happen_and_stores_nothing(bot: Bot) -> None:
    plan = asks(bot, "plan", command="migrate web-1 to host-b")
    assert plan["possible"]
    assert plan["votes_needed"] == 1
    assert plan["approvers"] == ["approver"]
    assert "web-1" in plan["steps"][0]
    assert bot.store.operations() == ()


def test_a_plan_that_cannot_be_says_why_with_codes(bot: Bot) -> None:
    plan = asks(bot, "plan", command="migrate off-1 to host-b")
    assert not plan["possible"]
    assert plan["objections"][0]["code"]
    assert plan["objections"][0]["text"]


def test_a_proposal_says_that_an_agent_made_it_for_its_person(bot: Bot) -> None:
    made = proposes(bot)
    assert made["proposed"]
    assert made["operation"]["requested_by"] == "UANA"
    assert made["operation"]["agent"] == "triage"
    operation = bot.operation()
    assert operation.state is State.PROPOSED
    shown = text(bot.shown())
    assert "Proposed by an agent for UANA." in shown
    assert "the agent “triage” for UANA" in shown
    assert WHY in shown
    (told,) = [each for each in bot.chat.whispers if each.user == "UANA"]
    assert "op-1 in your name" in text(told.card)
    proposed = next(each for each in bot.store.events("op-1") if isinstance(each, Proposed))
    assert (proposed.by, proposed.origin.via) == ("UANA", "agent")
    assert "the agent “triage” for UANA proposed" in text(bot.types("audit op-1", by="UBRUNO"))
    assert "the agent “triage” for UANA" in text(bot.types("approvals", by="UBRUNO"))


def test_the_person_of_an_agent_does_not_vote_for_its_proposal_and_may_withdraw_it(
    tmp_path: Path,
) -> None:
    both = {**ROLES, "approver": Role(frozenset({"UANA", "UBRUNO"}))}
    bot = small_bot(tmp_path, roles=both)
    proposes(bot)
    assert "your vote does not count" in text(bot.clicks("op.approve", bot.value(), "UANA"))
    bot.clicks("op.withdraw", bot.value(), "UANA")
    assert bot.operation().state is State.WITHDRAWN


def test_people_approve_and_the_agent_follows_to_the_end(bot: Bot) -> None:
    made = proposes(bot)
    version = made["operation"]["version"]
    same = asks(bot, "follow", operation="op-1", after=version, wait=1)
    assert (same["state"], same["version"]) == ("proposed", version)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    voted = asks(bot, "follow", operation="op-1", after=version, wait=30)
    assert voted["votes"] == ["UBRUNO"]
    bot.works()
    end = asks(bot, "follow", operation="op-1", after=voted["version"], wait=30)
    assert end["over"]
    assert end["state"] == "done"
    assert [each["state"] for each in end["steps"]] == ["done"]
    assert bot.where("web-1") == ["host-b"]


@pytest.mark.parametrize(
    "method", ["approve", "vote", "deny", "cancel", "op.approve", "break_glass", "", "__class__"]
)
def test_an_agent_has_no_way_to_decide(bot: Bot, method: str) -> None:
    proposes(bot)
    with pytest.raises(UsageError):
        asks(bot, method, operation="op-1", command="op-1")
    assert bot.operation().state is State.PROPOSED


@pytest.mark.parametrize("method", ["ask", "plan", "propose"])
def test_a_command_that_decides_is_not_an_agents(bot: Bot, method: str) -> None:
    proposes(bot)
    digest = bot.operation().plan.digest
    decisions = {
        name: each
        for name, each in bot.services.catalog.commands.items()
        if isinstance(each, Decision)
    }
    assert {"approve", "deny", "withdraw", "cancel"} <= decisions.keys()
    offered = {each["name"] for each in asks(bot, "commands")["commands"]}
    assert not offered & decisions.keys()
    for name in decisions:
        for rest in ("op-1", f"op-1 {digest}", "op-1 why not"):
            with pytest.raises((NotAllowedError, UsageError)):
                asks(bot, method, command=f"{name} {rest}", reason=WHY)
    assert bot.operation().state is State.PROPOSED
    assert bot.operation().votes == ()


def test_an_agent_does_not_pick_of_a_proposal_of_people(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, plugins=("migrate", "balance"))
    with pytest.raises(UsageError, match="may not pick"):
        proposes(bot, "balance --pick 1")


def test_what_an_agent_asks_for_takes_a_vote_where_people_need_none(tmp_path: Path) -> None:
    free = Policy(POLICY.grants, rules=(Rule("free", votes=0),))
    bot = small_bot(tmp_path, policy=free)
    assert proposes(bot)["operation"]["state"] == "proposed"
    bot.works()
    assert bot.operation().state is State.PROPOSED
    assert bot.where("web-1") == ["host-a"]


def test_a_rule_for_agents_asks_for_more_votes_until_the_end(tmp_path: Path) -> None:
    more = Policy(POLICY.grants, rules=(Rule("agents", via="agent", votes=2), Rule("default")))
    bot = small_bot(tmp_path, policy=more)
    proposes(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    assert bot.operation().state is State.PROPOSED
    bot.clicks("op.approve", bot.value(), "UCARLA")
    bot.works()
    assert bot.operation().state is State.DONE


def test_who_proposes_it_again_is_a_person_who_asks(tmp_path: Path) -> None:
    more = Policy(POLICY.grants, rules=(Rule("agents", via="agent", votes=2), Rule("default")))
    bot = small_bot(tmp_path, policy=more)
    proposes(bot)
    bot.clicks("op.withdraw", bot.value(), "UANA")
    bot.clicks("op.again", bot.value(), "UEVA")
    again = bot.operation(2)
    assert (again.origin.by, again.origin.via, again.origin.agent) == ("UEVA", "", "")
    assert again.ruling.votes == 1


def test_the_same_proposal_again_is_the_one_that_is_open(bot: Bot) -> None:
    first, second = proposes(bot), proposes(bot)
    assert first["operation"]["id"] == second["operation"]["id"] == "op-1"


def test_an_agent_gives_a_reason(bot: Bot) -> None:
    for reason in ("", "   ", "\u200b\n"):
        with pytest.raises(UsageError):
            asks(bot, "propose", command="migrate web-1 to host-b", reason=reason)


def test_the_text_of_an_agent_mentions_and_formats_nothing(bot: Bot) -> None:
    agent = Agent("<!channel>\n*x*", "UANA")
    reason = "ask <@UBRUNO> <!here>\r\n\x1b[2J *now*"
    asks(bot, "propose", agent, command="migrate web-1 to host-b", reason=reason)
    sent = str(render(bot.shown()))
    assert "<@UBRUNO>" not in sent
    assert "<!here>" not in sent
    assert "<!channel>" not in sent
    assert "\x1b" not in sent
    assert "\n" not in bot.operation().origin.agent
    assert "<@UANA>" in sent


def test_requests_of_the_agents_of_one_person_are_limited(bot: Bot) -> None:
    agents = Agents(bot.services, AgentLimits(per_minute=3))
    agent_answers.answer(agents, ANA, "ask", {"command": "hosts"})  # a third of a minute's at once
    with pytest.raises(NotAllowedError) as told:
        agent_answers.answer(agents, ANA, "ask", {"command": "hosts"})
    assert told.value.code == "too-fast"
    agent_answers.answer(agents, Agent("other", "UEVA"), "ask", {"command": "hosts"})


def test_open_proposals_of_the_agents_of_one_person_are_limited(bot: Bot) -> None:
    limits = AgentLimits(open_proposals=2)
    for vm in ("web-1 to host-b", "db-1 to host-c"):
        proposes(bot, f"migrate {vm}", limits=limits)
    with pytest.raises(NotAllowedError) as told:
        proposes(bot, "migrate app-1 to host-c", limits=limits)
    assert told.value.code == "too-many-proposals"
    bot.clicks("op.withdraw", bot.value(), "UANA")
    assert proposes(bot, "migrate app-1 to host-c", limits=limits)["proposed"]


@pytest.mark.parametrize("person", ["", "drover"])
def test_an_agent_without_a_person_is_refused(bot: Bot, person: str) -> None:
    with pytest.raises(NotAllowedError):
        asks(bot, "ask", Agent("triage", person), command="hosts")


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("ask", {}),
        ("ask", {"command": 3}),
        ("ask", {"command": "x" * 5000}),
        ("ask", {"command": "no such command"}),
        ("ask", {"command": "migrate web-1 to host-b"}),
        ("ask", {"command": 'hosts "'}),
        ("plan", {"command": "hosts"}),
        ("follow", {"operation": "op-99"}),
        ("follow", {"operation": "17; drop"}),
        ("follow", {"operation": "op-1", "after": "one"}),
        ("follow", {"operation": "op-1", "wait": float("nan")}),
    ],
)
def test_what_makes_no_sense_is_answered_with_what_to_do(
    bot: Bot, method: str, given: dict[str, Any]
) -> None:
    with pytest.raises(DroverError) as told:
        asks(bot, method, **given)
    assert told.value.text
    assert told.value.advice


def test_a_reader_without_a_role_follows_nothing(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, roles=ROLES)
    proposes(bot)
    with pytest.raises(NotAllowedError):
        asks(bot, "follow", Agent("triage", "UGIL"), operation="op-1")
