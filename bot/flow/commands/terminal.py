"""The terminal as a second surface: what people type there is a request like one from the chat.

It is stored, handled in its turn by the same workers, asked for the same permissions and told in
the same places. Only the answer goes back to the terminal.
"""

from __future__ import annotations

import queue
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar, cast

from bot.domain.card import Card
from bot.domain.errors import ChatError, NotAllowedError, UnknownNameError, UsageError
from bot.domain.message import Person, words
from bot.domain.operation import Operation, State
from bot.domain.said_parts import change_parts
from bot.flow.answers import Cards
from bot.flow.commands.rate_limit import Pace, Paces
from bot.flow.context import Services, roles_known_of
from bot.flow.operations import break_glass
from bot.flow.operations.break_glass import BreakGlass
from bot.ports import Request
from bot.ports.chat import TERMINAL
from bot.ports.terminal import Caller, Connection, Data, Method

_ID = re.compile(r"\bop-\d+\b")
LINE = 4000  # characters of a command
KEY = 100  # characters of a key or an id; both are short
LOOK = 0.5  # seconds between two looks at an operation, or whether the caller is still there
A_DAY = timedelta(days=1).total_seconds()
TOLD_LATELY = 1000  # operations among which the one of a request is looked for

DONE, REFUSED, DENIED, FAILED, TIMED_OUT = "done", "refused", "denied", "failed", "timed-out"
OUTCOMES: Mapping[State, str] = {
    State.DONE: DONE,
    State.DENIED: DENIED,
    State.WITHDRAWN: DENIED,
    State.EXPIRED: TIMED_OUT,
    State.FAILED: FAILED,
    State.STALE: FAILED,
    State.CANCELLED: FAILED,
}
"""How an operation that is over is told to a script."""

Accept = Callable[[Request], bool]
Status = Callable[[], Data]
T = TypeVar("T")


class Terminal:
    """The methods of the bot's socket. Safe to share by threads.

    Args:
        services: the bot's.
        accept: stores a request and lets the workers handle it; False for a duplicate.
        names: what people are called in a terminal, by user id.
        status: how the bot and the chat are.
        glass: what may be done with fewer votes while the chat is out of reach; None: nothing.
        per_minute: requests that one person or script may make for long.
    """

    def __init__(
        self,
        services: Services,
        accept: Accept,
        names: Mapping[str, str],
        *,
        status: Status = dict,
        per_minute: float = 120.0,
        glass: BreakGlass | None = None,
    ) -> None:
        self._services, self._accept, self._names = services, accept, names
        self._status, self._paces, self._glass = status, Paces(per_minute), glass
        self.methods: Mapping[str, Method] = {
            "do": self.do,
            "follow": self.follow,
            "status": self.status,
            "break-glass": self.break_glass,
        }

    def do(self, caller: Caller, given: Data, connection: Connection) -> Data:
        """Do what a command says, as the caller; show the answer."""
        line = _text(given, "line", LINE)
        self._admit(caller)
        own = _text(given, "key", KEY, needed=False)
        request = Request(
            key=f"{caller.via}:{caller.id}:{own or uuid.uuid4()}",
            kind="command",
            by=caller.id,
            at=self._services.clock.now(),
            text=line,
            locale=caller.locale,
            via=caller.via,
        )
        with self._services.answers.expect(request.key) as cards:
            fresh = self._accept(request)
            refused = fresh and self._relay(cards, connection)
        found = self._of(request)
        if not fresh and found is not None:
            connection.show(self._name_people(self._services.messages.card(found.id)))
        data = None if found is None else operation_data(found)
        return {"outcome": REFUSED if refused else DONE, "operation": data}

    def follow(self, caller: Caller, given: Data, connection: Connection) -> Data:
        """Show an operation whenever it changes, until it is over or time is up."""
        self._admit(caller)
        if not roles_known_of(self._services, caller.id):
            raise NotAllowedError(
                words("You may not read plans."), words("It takes any role of the configuration.")
            )
        wanted = _text(given, "operation", KEY)
        deadline = time.monotonic() + _seconds(given, "timeout")
        shown: tuple[int, Card] | None = None
        while True:
            operation = self._services.store.operation(wanted)
            card = self._services.messages.card(wanted)
            if (operation.version, card) != shown:
                connection.show(self._name_people(card), operation_data(operation))
                shown = operation.version, card
            over = OUTCOMES.get(operation.state, "")
            if over or time.monotonic() >= deadline:
                return {"outcome": over or TIMED_OUT, "operation": operation_data(operation)}
            connection.check()
            self._services.clock.sleep(LOOK)

    def status(self, caller: Caller, _: Data, __: Connection) -> Data:
        """How the bot and the chat are, and who the caller is."""
        roles = sorted(roles_known_of(self._services, caller.id))
        return {**self._status(), "you": {"id": caller.id, "name": caller.name, "roles": roles}}

    def break_glass(self, caller: Caller, given: Data, connection: Connection) -> Data:
        """Ask for fewer votes for an operation; without the sentence, show what has to be typed."""
        self._admit(caller)
        wanted = _text(given, "operation", KEY)
        reason = _text(given, "reason", LINE, needed=False)
        typed = _text(given, "confirm", LINE, needed=False)
        if caller.via != TERMINAL:
            raise NotAllowedError(words("Only a person breaks glass."), code="not-a-person")
        found = break_glass.break_glass(
            self._services, self._glass, wanted, caller.id, reason=reason, typed=typed
        )
        refused = isinstance(found, Card)
        if isinstance(found, Card):
            connection.show(self._name_people(found))
        operation = self._services.store.operation(wanted)
        connection.show(self._name_people(self._services.messages.card(wanted)))
        return {
            "outcome": REFUSED if refused else DONE,
            "operation": operation_data(operation),
            "sentence": break_glass.sentence(operation),
        }

    def _relay(self, cards: Cards, connection: Connection) -> bool:
        """Show the answers of a request until it is handled; whether it was refused."""
        refused = False
        while True:
            try:
                card = cards.get(timeout=LOOK)
            except queue.Empty:
                connection.check()
                continue
            if card is None:
                return refused
            refused = refused or card.not_done or card.refused
            connection.show(self._name_people(card))

    def _admit(self, caller: Caller) -> None:
        if self._paces.ask(caller.id) is not Pace.FINE:
            raise NotAllowedError(
                words("Too many requests. Nothing was done."),
                words("Wait a little."),
                code="too-fast",
            )

    def _of(self, request: Request) -> Operation | None:
        """The operation that a request proposed, or else names."""
        mine = self._services.store.operations(by=request.by, limit=TOLD_LATELY)
        proposed = next((each for each in mine if each.origin.key == request.key), None)
        named = _ID.search(request.text)
        if proposed is None and named:
            # Who may read no plan, or is not known to, is told nothing of it
            with suppress(UnknownNameError, ChatError):
                if roles_known_of(self._services, request.by):
                    return self._services.store.operation(named[0])
        return proposed

    def _name_people(self, said: T) -> T:
        """A card in which people have the names of the configuration."""
        return cast("T", _with_names(said, self._names))


def operation_data(operation: Operation) -> dict[str, object]:
    """An operation for programs; ``version`` grows with everything that happens to it."""
    return {
        "id": operation.id,
        "version": operation.version,
        "state": operation.state.value,
        "over": operation.state.over,
        "title": str(operation.plan.title),
        "command": operation.origin.command,
        "requested_by": operation.origin.by,
        "votes": [vote.by for vote in operation.votes],
        "votes_needed": operation.ruling.votes,
        "plan_hash": operation.plan.digest,
        "outcome": str(operation.outcome),
    }


def _with_names(said: object, names: Mapping[str, str]) -> object:
    if isinstance(said, Person):
        return replace(said, name=said.name or f"@{names.get(said.id, said.id)}")
    return change_parts(said, lambda each: _with_names(each, names))


def _text(given: Data, name: str, most: int, *, needed: bool = True) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > most or (needed and not value.strip()):
        raise UsageError(
            words("“{name}” must be text of at most {count} characters.", name=name, count=most)
        )
    return value


def _seconds(given: Data, name: str) -> float:
    value = given.get(name, A_DAY)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= A_DAY:
        raise UsageError(words("“{name}” must be seconds, at most a day.", name=name))
    return float(value)
