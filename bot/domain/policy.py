"""Who must approve what: rules from the configuration, read top down, first match rules."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from zoneinfo import ZoneInfo

from bot.domain.plan import Plan, Risk


@dataclass(frozen=True, slots=True)
class Window:
    """Times of the week: ``days`` of mon..sun (empty: every day), from ``start`` to ``end`` (may pass midnight)."""

    days: tuple[str, ...] = ()
    start: time = time(0)
    end: time = time(0)
    zone: str = "UTC"

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` (any zone) is inside. A window past midnight belongs to the day it starts."""
        local = now.astimezone(ZoneInfo(self.zone))
        minute, day = local.time(), local.weekday()
        if self.start == self.end:
            return self._day(day)
        if self.start < self.end:
            return self._day(day) and self.start <= minute < self.end
        if minute >= self.start:
            return self._day(day)
        return minute < self.end and self._day((day - 1) % 7)

    def _day(self, index: int) -> bool:
        return not self.days or ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[index] in self.days


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the policy. Every condition left empty holds; the first rule whose conditions all hold rules.

    ``commands`` and ``tags`` and ``hosts`` are shell patterns; ``min_vms`` and ``min_memory`` (bytes) look at the
    blast radius. ``freeze``: nothing may be done at all, with ``why`` as the text.
    """

    name: str
    commands: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    tags: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    min_vms: int = 0
    min_memory: int = 0
    window: Window | None = None
    votes: int = 1
    approvers: tuple[str, ...] = ("approver",)
    expires: int = 3600
    fallback: tuple[str, ...] = ()
    fallback_after: int = 0
    freeze: bool = False
    why: str = ""

    def holds(self, command: str, plan: Plan, now: datetime) -> bool:
        """Whether every condition of the rule holds."""
        return (
            (not self.commands or _any(self.commands, (command,)))
            and (not self.risks or plan.risk in self.risks)
            and (not self.tags or _any(self.tags, plan.tags))
            and (not self.hosts or _any(self.hosts, plan.blast.hosts))
            and len(plan.blast.vms) >= self.min_vms
            and plan.blast.memory >= self.min_memory
            and (self.window is None or self.window.holds(now))
        )

    @property
    def reason(self) -> str:
        """Why nothing may be done while it freezes."""
        return self.why or f"“{self.name}” is a freeze."


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a plan takes: ``votes`` from people with one of the roles ``approvers``, within ``expires`` seconds.

    After ``fallback_after`` seconds (0: never) the roles ``fallback`` may vote too.
    """

    votes: int
    approvers: tuple[str, ...]
    expires: int
    rule: str
    fallback: tuple[str, ...] = ()
    fallback_after: int = 0

    def roles_at(self, waited: float) -> tuple[str, ...]:
        """The roles that may vote after ``waited`` seconds."""
        late = self.fallback_after and waited >= self.fallback_after
        return (*self.approvers, *self.fallback) if late else self.approvers


@dataclass(frozen=True, slots=True)
class MayNot:
    """The person may not ask for this, or nobody may now."""

    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Roles → what they may ask, and the rules. ``grants``: role → shell patterns of commands.

    Reading commands follow the same grants. ``everyone`` are patterns any member of the workspace may use.
    """

    grants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    everyone: tuple[str, ...] = ("help",)
    rules: tuple[Rule, ...] = (Rule("default"),)


def may_ask(policy: Policy, command: str, roles: frozenset[str]) -> bool:
    """Whether a person with these roles may type this command."""
    patterns = [*policy.everyone, *(each for role in roles for each in policy.grants.get(role, ()))]
    return _any(tuple(patterns), (command,))


def ruling(policy: Policy, command: str, plan: Plan, roles: frozenset[str], now: datetime) -> Ruling | MayNot:
    """What the plan takes by the first rule that holds; MayNot when it is not allowed at all."""
    if not may_ask(policy, command, roles):
        return MayNot(
            f"You may not use `{command}`.",
            f"It takes one of the roles: {', '.join(who_may(policy, command)) or 'none is configured'}.",
        )
    for rule in policy.rules:
        if rule.holds(command, plan, now):
            if rule.freeze:
                return MayNot(rule.reason, "Ask again after it ends.")
            return Ruling(rule.votes, rule.approvers, rule.expires, rule.name, rule.fallback, rule.fallback_after)
    return MayNot("No rule of the policy covers this.", "Add one to [policy] in the configuration.")


def frozen(policy: Policy, command: str, plan: Plan, now: datetime) -> Rule | None:
    """The freeze that rules on a plan now; None when none does."""
    first = next((rule for rule in policy.rules if rule.holds(command, plan, now)), None)
    return first if first is not None and first.freeze else None


def who_may(policy: Policy, command: str) -> tuple[str, ...]:
    """The roles that may type a command, sorted."""
    return tuple(sorted(role for role, patterns in policy.grants.items() if _any(patterns, (command,))))


def covers(rule: Rule, command: str) -> bool:
    """Whether the rule can ever rule on this command."""
    return not rule.commands or _any(rule.commands, (command,))


def _any(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)
