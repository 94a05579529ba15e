"""What agents ask for, and what they are answered, as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bot.domain import policy as policies
from bot.domain.errors import NotAllowedError, UsageError
from bot.domain.message import Message, words
from bot.domain.operation import Operation, Proposed
from bot.domain.plain_card import harmless, plain_text, plain_title
from bot.domain.plan import Objection, Plan, Refused
from bot.flow.commands.agents import Agent, Agents
from bot.flow.operations import operation_cards
from bot.ports.chat import SCRIPT
from bot.ports.terminal import Caller, Connection, Method

Data = dict[str, Any]  # JSON
Given = Mapping[str, Any]  # JSON
Answer = Callable[[Agents, Agent, Given], Data]


def answer(agents: Agents, agent: Agent, method: str, given: Given) -> Data:
    """Answer one request of an agent.

    Args:
        agents: what agents may do.
        agent: who asks.
        method: ``hello``, ``commands``, ``ask``, ``plan``, ``propose`` or ``follow``; nothing else
            exists.
        given: ``command``, and of ``propose`` ``reason``; of ``follow`` ``operation``, ``after``
            (a version) and ``wait`` (seconds).

    Raises:
        DroverError: it cannot be done; the text and the advice are for the agent.
    """
    known = METHODS.get(method)
    if known is None:
        raise UsageError(
            words("An agent cannot ask for “{method}”.", method=method[:40]),
            words("It can ask for: {names}.", names=tuple(METHODS)),
        )
    return known(agents, agent, given)


def with_agents(methods: Mapping[str, Method], agents: Agents) -> Mapping[str, Method]:
    """The methods of the socket with that of agents; who calls as an agent may use no other.

    ``agent`` takes what ``answer`` does, with its method as ``ask`` and the agent's own ``name``,
    which counts only where a person lets it ask.
    """

    def agent(caller: Caller, given: Given, _: Connection) -> Data:
        if caller.via == SCRIPT:
            raise NotAllowedError(
                words("A script is no agent: it has no person to ask for."),
                words("Use `drover do`."),
                code="agent",
            )
        name = caller.name
        if caller.via != policies.AGENT:
            name = str(given.get("name", ""))
        return answer(agents, Agent(name, caller.id), str(given.get("ask", "")), given)

    return {**{name: _for_people(method) for name, method in methods.items()}, "agent": agent}


def _for_people(method: Method) -> Method:
    def answer(caller: Caller, given: Given, connection: Connection) -> Given:
        if caller.via == policies.AGENT:
            raise NotAllowedError(
                words("An agent can only look, plan, propose and follow."),
                words("Use `drover mcp`."),
                code="agent",
            )
        return method(caller, given, connection)

    return answer


def _commands(agents: Agents, agent: Agent, _: Given) -> Data:
    return {
        "commands": [
            {
                "name": each.name,
                "summary": each.summary,
                "usage": each.usage,
                "changes": each.changes,
            }
            for each in agents.commands(agent)
        ]
    }


def _ask(agents: Agents, agent: Agent, given: Given) -> Data:
    card = agents.ask(agent, _text(given, "command"))
    return {"title": plain_title(card), "text": plain_text(card)}


def _plan(agents: Agents, agent: Agent, given: Given) -> Data:
    found = agents.plan(agent, _text(given, "command"))
    if not isinstance(found, Proposed):
        return {"possible": False, "objections": _against(found)}
    ruling = found.ruling
    return {
        "possible": True,
        **plan_data(found.plan),
        "votes_needed": ruling.votes,
        "approvers": list(ruling.approvers),
        "rule": ruling.rule,
        "expires_at": found.expires_at.isoformat(),
    }


def _propose(agents: Agents, agent: Agent, given: Given) -> Data:
    found = agents.propose(agent, _text(given, "command"), _text(given, "reason"))
    if not isinstance(found, Operation):
        return {"proposed": False, "objections": _against(found)}
    return {"proposed": True, "operation": operation_data(found)}


def _follow(agents: Agents, agent: Agent, given: Given) -> Data:
    after, wait = _number(given, "after"), _number(given, "wait")
    found = agents.follow(agent, _text(given, "operation"), after=int(after), wait=wait)
    return operation_data(found)


def _hello(agents: Agents, agent: Agent, _: Given) -> Data:
    agents.admit(agent)
    return {"agent": agent.name, "person": agent.person}


METHODS: Mapping[str, Answer] = {
    "hello": _hello,
    "commands": _commands,
    "ask": _ask,
    "plan": _plan,
    "propose": _propose,
    "follow": _follow,
}


def plan_data(plan: Plan) -> Data:
    """A plan: what would be done, with what risk, and what is predicted."""
    return {
        "title": _plain(plan.title),
        "steps": [_plain(step.title) for step in plan.steps],
        "risk": plan.risk.value,
        "vms": len(plan.blast.vms),
        "hosts": list(plan.blast.hosts),
        "touches": _plain(operation_cards.blast_text(plan)),
        "prediction": _plain(operation_cards.prediction_text(plan.prediction)),
        "reasons": [_plain(each.text) for each in plan.reasons],
        "warnings": [_plain(each.text) for each in plan.warnings],
        "plan_hash": plan.digest,
    }


def operation_data(operation: Operation) -> Data:
    """An operation as it is now; ``version`` grows with everything that happens to it."""
    ended = {each.index: each for each in operation.ended}
    skipped = {each.index: each for each in operation.skipped}

    def step(index: int, title: Message) -> Data:
        if index in ended:
            facts = _plain(operation_cards.facts_text(ended[index]))
            return {"title": _plain(title), "state": "done", "facts": facts}
        if index in skipped:
            why = _plain(skipped[index].why.text)
            return {"title": _plain(title), "state": "skipped", "why": why}
        state = "running" if index in operation.under_way else "to do"
        return {"title": _plain(title), "state": state}

    return {
        "id": operation.id,
        "version": operation.version,
        "state": operation.state.value,
        "over": operation.state.over,
        "title": _plain(operation.plan.title),
        "command": operation.origin.command,
        "requested_by": operation.origin.by,
        "agent": operation.origin.agent,
        "reason": _plain(operation.origin.reason),
        "votes": [vote.by for vote in operation.votes],
        "votes_needed": operation.ruling.votes,
        "approvers": list(operation.ruling.approvers),
        "expires_at": operation.expires_at.isoformat(),
        "steps": [step(index, each.title) for index, each in enumerate(operation.plan.steps)],
        "waits_for_person": operation.waiting is not None or bool(operation.held),
        "outcome": _plain(operation.outcome),
        "advice": _plain(operation.advice),
        "objections": _objections(operation.objections),
        "remedies": [each.command for each in operation.remedies],
    }


def _against(found: Refused | policies.MayNot) -> list[Data]:
    if isinstance(found, policies.MayNot):
        return [{"code": "policy", "text": _plain(found.text), "fix": _plain(found.advice)}]
    return _objections(found.objections)


def _objections(given: tuple[Objection, ...]) -> list[Data]:
    return [
        {"code": each.code, "text": _plain(each.text), "fix": _plain(each.remedy)} for each in given
    ]


def _plain(message: Message) -> str:
    return harmless(str(message))


def _text(given: Given, name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or not value.strip():
        raise UsageError(words("“{name}” is missing.", name=name), words("Give it as text."))
    return value


def _number(given: Given, name: str) -> float:
    value = given.get(name, 0)
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not math.isfinite(value):
        raise UsageError(words("“{name}” must be a number.", name=name), words("Give a number."))
    return float(value)
