"""What a plugin hands to the core: frozen declarations of data and pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

import click
from pydantic import BaseModel

from bot.domain import placement
from bot.domain.card import Card, Form
from bot.domain.cluster import Snapshot
from bot.domain.operation import Event, Operation
from bot.domain.plan import Objection, Plan, Refused, Risk
from bot.domain.policy import Policy
from bot.domain.steps import Step
from bot.ports import Hypervisor, Progress

PlacementRule = placement.Rule
Rules = tuple[PlacementRule, ...]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: user id, roles and locale; ``now`` in UTC."""

    id: str
    roles: frozenset[str]
    locale: str
    now: datetime


class History(Protocol):
    """The part of the store that a query may read."""

    def operation(self, operation_id: str) -> Operation: ...
    def operations(self, *, states: Collection[Any] = (), by: str = "", limit: int = 50) -> tuple[Operation, ...]: ...
    def touching(self, vm_uuid: str, limit: int = 20) -> tuple[Operation, ...]: ...
    def events(self, operation_id: str) -> tuple[Event, ...]: ...
    def broken_link(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """One command as `help` lists it; ``allowed``: this asker may use it."""

    name: str
    summary: str
    usage: str
    allowed: bool
    changes: bool


@dataclass(frozen=True, slots=True)
class View:
    """What a query may look at: a snapshot, the history, the placement rules, who asks and what they may do."""

    snapshot: Snapshot
    history: History
    rules: Rules
    asker: Asker
    slash: str = "/kvm"
    commands: tuple[Listed, ...] = ()
    policy: Policy = field(default_factory=Policy)
    found: Any = None  # what the query's ``gather`` brought


def nothing(intent: Any) -> tuple[str, ...]:  # noqa: ARG001 - the default of ``focus``
    """No guest needs to be read in depth."""
    return ()


@dataclass(frozen=True, slots=True)
class Query:
    """A command that only reads.

    ``grammar`` is a click command whose callback returns the intent, a frozen dataclass of the plugin's.
    ``answer(intent, View) -> Card``, pure. ``focus(intent)``: guests to read in depth. ``gather(intent, snapshot,
    hypervisor)``, from the plugin's handler, looks at what no snapshot holds; ``answer`` finds it in ``View.found``.
    ``form()``: asked in a dialog when the command is typed without arguments; its fields are named as the grammar's
    parameters.
    """

    name: str
    summary: str
    grammar: click.Command
    answer: Callable[[Any, View], Card]
    focus: Callable[[Any], tuple[str, ...]] = nothing
    needs_snapshot: bool = True
    gather: Callable[[Any, Snapshot, Hypervisor], Any] | None = None
    form: Callable[[], Form] | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """A command that changes something, after approval.

    ``plan(intent, snapshot, rules) -> Plan | Refused``; ``still_good(intent, plan, snapshot, rules)`` answers the
    objections that stand against carrying the plan out now (empty: go). ``emits``: the step types its plans use;
    ``intent``: the frozen dataclass that ``grammar`` returns; ``form``: as for a Query. ``risk`` is the usual one,
    for help and policy listings.
    """

    name: str
    summary: str
    grammar: click.Command
    intent: type
    plan: Callable[[Any, Snapshot, Rules], Plan | Refused]
    still_good: Callable[[Any, Plan, Snapshot, Rules], tuple[Objection, ...]]
    emits: tuple[type[Step], ...]
    risk: Risk = Risk.MEDIUM
    focus: Callable[[Any], tuple[str, ...]] = nothing
    form: Callable[[], Form] | None = None


class Settled(StrEnum):
    """What looking at the hosts shows of a step."""

    DONE = "done"
    NOT_YET = "not yet"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class StepHandler:
    """Does one kind of step.

    ``settle(step, hypervisor) -> Settled`` only looks. ``run(step, hypervisor, progress) -> facts`` does it, is safe
    to repeat after a crash (it is called on LOST too, and must then only tell), returns plain facts for the audit,
    and raises ``DroverError``: ``StepCancelledError`` when it ended because a person asked, ``StepLostError`` when
    people must look.
    """

    step: type[Step]
    settle: Callable[[Any, Hypervisor], Settled]
    run: Callable[[Any, Hypervisor, Progress], Mapping[str, str | int | float | bool]]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something people should know. One open incident per ``key``; ``over`` closes it."""

    key: str
    card: Card
    over: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks now and then; may alert, or propose an operation as the bot."""

    name: str
    every: timedelta
    look: Callable[[Snapshot, Rules], tuple[Alert | tuple[str, Any, Plan], ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """A digest at the times of a cron line (five fields, in the configured time zone)."""

    name: str
    cron: str
    compose: Callable[[View], Card | None]


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A plugin's own part of the configuration: the table ``[plugins.<name>]``, checked by ``model``."""

    name: str
    model: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a hook is handed: the plugins' checked sections by name."""

    sections: Mapping[str, BaseModel] = field(default_factory=dict)
