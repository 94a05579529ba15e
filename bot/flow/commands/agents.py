"""What agents may do: look, see what would happen, propose, and follow. People decide.

An agent asks for a named person and has that person's permissions, as far as ``[agents]`` lets it.
It has no way to vote, to press a button or to confirm anything: there is no such request here.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import structlog

from bot.domain import policy as policies
from bot.domain.card import Card
from bot.domain.errors import NotAllowedError, UsageError
from bot.domain.message import Code, nwords, words
from bot.domain.operation import BOT, MOST_OPEN, Operation, Origin, Proposed, State
from bot.domain.plain_card import one_line
from bot.domain.plan import Refused
from bot.flow.commands import queries
from bot.flow.commands.parse import Parsed, parse, usage
from bot.flow.commands.rate_limit import Pace, Paces
from bot.flow.context import OPEN, Services, roles_of
from bot.flow.operations import operation_cards, propose, scheduled
from bot.plugin_api import Action, Asker, Decision, Picked, Query

log = structlog.get_logger()

LINE = 2000  # characters of a command
REASON = 500  # characters: it stands on the card that people approve
NAME = 40  # characters; the same
LOOK = 0.5  # seconds between two looks at an operation that is followed
LONGEST = 30.0  # seconds that one call follows an operation
MINUTES = 60  # in an hour


@dataclass(frozen=True, slots=True)
class Agent:
    """Who asks: the name that the agent gives itself, and the user id of its person."""

    name: str
    person: str


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What the configuration lets agents do.

    ``may``: patterns of commands, of those that the person may use. ``per_minute``: requests for
    each person's agents; ``proposals_per_hour`` of these, and ``open_proposals`` at a time.
    """

    may: tuple[str, ...] = ("*",)
    per_minute: int = 60
    proposals_per_hour: int = 20
    open_proposals: int = 3


@dataclass(frozen=True, slots=True)
class Offered:
    """A command that an agent may use; ``changes``: it takes a proposal."""

    name: str
    summary: str
    usage: str
    changes: bool


class Agents:
    """Answers agents. Safe to share by threads.

    Args:
        services: the bot's.
        limits: what agents may do.

    Every method may raise ``DroverError``: its text and advice are for the agent.
    """

    def __init__(self, services: Services, limits: AgentLimits) -> None:
        self._services, self._limits = services, limits
        self._requests = Paces(limits.per_minute)
        self._proposals = Paces(
            limits.proposals_per_hour / MINUTES, burst=limits.proposals_per_hour
        )

    def commands(self, agent: Agent) -> tuple[Offered, ...]:
        """The commands that this agent may use."""
        self.admit(agent)
        services, roles = self._services, roles_of(self._services, agent.person)
        return tuple(
            Offered(name, str(each.summary), usage(each, "", full=True), isinstance(each, Action))
            for name, each in services.catalog.commands.items()
            if not isinstance(each, Decision)
            and self._lets(name)
            and policies.may_ask(services.policy, name, roles)
        )

    def ask(self, agent: Agent, line: str) -> Card:
        """Answer a command that only looks."""
        found, command, person = self._read(agent, line)
        if isinstance(command, Action):
            raise UsageError(
                words("`{command}` changes something.", command=command.name),
                words("Use `plan` to see what it would do, and `propose` to ask people for it."),
            )
        return queries.answer(self._services, command, found.intent, person)

    def plan(self, agent: Agent, line: str) -> Proposed | Refused | policies.MayNot:
        """What an action would do now, and whose votes it would take. Nothing is stored."""
        read, command, _ = self._read(agent, line)
        action = _action(command, read.intent)
        slot = scheduled.slot_of(self._services, read.timing)
        origin = self._origin(agent, line, "")
        return propose.consider(self._services, action, read.intent, origin, slot=slot)

    def propose(
        self, agent: Agent, line: str, reason: str
    ) -> Operation | Refused | policies.MayNot:
        """Propose an action to people; the same again, while it is open, is the same proposal."""
        read, command, _ = self._read(agent, line)
        action = _action(command, read.intent)
        slot = scheduled.slot_of(self._services, read.timing)
        said = one_line(reason, REASON)
        if not said:
            raise UsageError(
                words("A proposal of an agent needs a reason."),
                words("Say in a sentence why: the people who vote read it."),
            )
        origin = self._origin(agent, line, said)
        if same := self._same(agent, origin.command):
            return same
        self._admit_proposal(agent)
        found = propose.try_plan(self._services, action, read.intent, origin, slot=slot)
        if isinstance(found, propose.Twin):
            return found.operation
        if isinstance(found, Operation):
            found = propose.lay_out(self._services, found)
            card = operation_cards.agents_note(found)
            self._services.messages.tell(agent.person, card, f"agent:{found.id}")
            log.info("proposed by an agent", operation=found.id, agent=origin.agent, by=origin.by)
        return found

    def follow(self, agent: Agent, operation_id: str, *, after: int, wait: float) -> Operation:
        """An operation as soon as it is newer than version ``after`` or over, or when time is up.

        Args:
            agent: who asks.
            operation_id: ``op-17``.
            after: the version that the agent has seen; 0: none.
            wait: seconds, at most ``LONGEST``.
        """
        self.admit(agent)
        if not roles_of(self._services, agent.person):
            raise NotAllowedError(
                words("You may not read plans."),
                words("It takes any role of the configuration."),
            )
        clock, store = self._services.clock, self._services.store
        for _ in range(int(min(max(wait, 0.0), LONGEST) / LOOK)):
            found = store.operation(operation_id)
            if found.version > after or found.state.over:
                return found
            clock.sleep(LOOK)
        return store.operation(operation_id)

    def _read(self, agent: Agent, line: str) -> tuple[Parsed, Query | Action, Asker]:
        """A command line and who asks, if that person and an agent may use it."""
        self.admit(agent)
        if len(line) > LINE:
            raise UsageError(words("The command is too long."), words("Write a shorter one."))
        services = self._services
        found = parse(services.catalog, "", one_line(line, LINE))
        name = found.command.name
        if isinstance(found.command, Decision):
            raise NotAllowedError(
                words("`{command}` decides on an operation, and only people decide.", command=name),
                words("Wait for them with `follow`."),
            )
        if found.help:
            raise UsageError(words("{usage}", usage=found.help))
        if not self._lets(name):
            raise NotAllowedError(
                words("Agents may not use `{command}` here.", command=name),
                words("A person can use it."),
            )
        roles = roles_of(services, agent.person)
        if not policies.may_ask(services.policy, name, roles):
            raise NotAllowedError(
                words("The person you ask for may not use `{command}`.", command=name),
                words("See what is allowed with {command}.", command=Code("help")),
            )
        return found, found.command, Asker(agent.person, roles, "", services.clock.now())

    def _lets(self, name: str) -> bool:
        return policies.matches(self._limits.may, name)

    def admit(self, agent: Agent) -> None:
        """Count a request of an agent whose person is known."""
        if agent.person in ("", BOT):
            raise NotAllowedError(
                words("An agent asks for a person, and yours is not known."),
                words("The configuration says for whom an agent asks."),
            )
        if self._requests.ask(agent.person) is not Pace.FINE:
            raise NotAllowedError(
                nwords(
                    "Too many requests: agents of one person may make {n} a minute.",
                    "Too many requests: agents of one person may make {n} a minute.",
                    n=self._limits.per_minute,
                ),
                words("Wait a little."),
                code="too-fast",
            )

    def _admit_proposal(self, agent: Agent) -> None:
        """Votes are given with care only while there are few to give."""
        most = self._limits.open_proposals
        if len(self._open(agent, (State.PROPOSED,))) >= most:
            raise NotAllowedError(
                nwords(
                    "{n} proposal of agents for this person waits for votes: no more for now.",
                    "{n} proposals of agents for this person wait for votes: no more for now.",
                    n=most,
                ),
                words("Wait until people have decided."),
                code="too-many-proposals",
            )
        if self._proposals.ask(agent.person) is not Pace.FINE:
            raise NotAllowedError(
                words("Agents of this person have proposed too much within an hour."),
                words("Wait, or let the person ask."),
                code="too-fast",
            )

    def _open(self, agent: Agent, states: tuple[State, ...]) -> list[Operation]:
        found = self._services.store.operations(states=states, by=agent.person, limit=MOST_OPEN)
        return [each for each in found if each.origin.via == policies.AGENT]

    def _same(self, agent: Agent, command: str) -> Operation | None:
        mine = self._open(agent, OPEN)
        return next((each for each in mine if each.origin.command == command), None)

    def _origin(self, agent: Agent, line: str, reason: str) -> Origin:
        command = f"{self._services.slash} {one_line(line, LINE)}"
        key = f"agent:{uuid.uuid4()}"
        name = one_line(agent.name, NAME)
        return Origin(agent.person, "", command, key, reason, via=policies.AGENT, agent=name)


def _action(command: Query | Action, intent: object) -> Action:
    if isinstance(command, Query):
        raise UsageError(
            words("`{command}` only looks: there is nothing to propose.", command=command.name),
            words("Use `ask`."),
        )
    if isinstance(intent, Picked):
        raise UsageError(
            words("An agent may not pick of a proposal that is open: that is a decision."),
            words("Propose something smaller."),
        )
    return command
