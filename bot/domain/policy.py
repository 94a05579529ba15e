"""Who must approve what: rules from the configuration, read top down, first match rules."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from bot.domain.message import Join, Message, Names, nwords, words
from bot.domain.plan import Plan, Risk
from bot.domain.steps import Step
from bot.domain.words import nfc

AGENT = "agent"
"""What ``Origin.via`` and ``Rule.via`` call an agent that asks for a person."""


@dataclass(frozen=True, slots=True)
class Window:
    """Times of the week.

    ``days`` of mon..sun (empty: every day), from ``start`` to ``end`` (may pass midnight).
    """

    days: tuple[str, ...] = ()
    start: time = time(0)
    end: time = time(0)
    zone: str = "UTC"

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` (any zone) is inside.

        A window past midnight belongs to the day it starts.
        """
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
        return (
            not self.days or ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[index] in self.days
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the policy. Every condition left empty holds.

    The first rule whose conditions all hold rules.

    ``commands`` and ``tags`` and ``hosts`` are shell patterns; ``min_vms``, ``max_vms`` (0: any),
    ``min_memory`` and ``max_memory`` (bytes) look at the blast radius. ``automatic``: only for what
    a watch means to do by itself, within its own limits. ``via``: only for what is asked for by
    that way, such as ``agent``. ``freeze``: nothing may be done at all, with ``why`` as the text.
    """

    name: str
    commands: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    tags: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    min_vms: int = 0
    min_memory: int = 0
    max_vms: int = 0
    max_memory: int = 0
    automatic: bool = False
    via: str = ""
    window: Window | None = None
    votes: int = 1
    approvers: tuple[str, ...] = ("approver",)
    expires: int = 3600
    fallback: tuple[str, ...] = ()
    fallback_after: int = 0
    freeze: bool = False
    why: str = ""

    def holds(
        self, command: str, plan: Plan, now: datetime, *, automatic: bool = False, via: str = ""
    ) -> bool:
        """Whether every condition of the rule holds."""
        return (
            (automatic or not self.automatic)
            and self.via in ("", via)
            and (not self.commands or _any(self.commands, (command,)))
            and (not self.risks or plan.risk in self.risks)
            and (not self.tags or _any(self.tags, plan.tags))
            and (not self.hosts or _any(self.hosts, plan.blast.hosts))
            and self.min_vms <= len(plan.blast.vms) <= (self.max_vms or len(plan.blast.vms))
            and self.min_memory <= plan.blast.memory <= (self.max_memory or plan.blast.memory)
            and (self.window is None or self.window.holds(now))
        )

    @property
    def unconditional(self) -> bool:
        """Whether it holds for every plan at any time."""
        sizes = (self.min_vms, self.min_memory, self.max_vms, self.max_memory)
        named = (self.commands, self.risks, self.tags, self.hosts, self.via)
        return not any((*named, *sizes, self.automatic, self.window is not None))

    @property
    def reason(self) -> Message:
        """Why nothing may be done while it freezes."""
        return self.why or words("“{rule}” is a freeze.", rule=self.name)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a plan takes.

    ``votes`` from people with one of the roles ``approvers``, within ``expires`` seconds.

    After ``fallback_after`` seconds (0: never) the roles ``fallback`` may vote too. ``automatic``:
    a watch does it by itself, by a rule that says so.
    """

    votes: int
    approvers: tuple[str, ...]
    expires: int
    rule: str
    fallback: tuple[str, ...] = ()
    fallback_after: int = 0
    automatic: bool = False

    def roles_at(self, waited: float) -> tuple[str, ...]:
        """The roles that may vote after ``waited`` seconds."""
        late = self.fallback_after and waited >= self.fallback_after
        return (*self.approvers, *self.fallback) if late else self.approvers


@dataclass(frozen=True, slots=True)
class MayNot:
    """The person may not ask for this, or nobody may now."""

    text: Message
    advice: Message


@dataclass(frozen=True, slots=True)
class Policy:
    """Roles → what they may ask, and the rules. ``grants``: role → shell patterns of commands.

    Reading commands follow the same grants. ``everyone`` are patterns any member of the workspace
    may use.
    ``approval_lasts``: seconds after the approval within which an operation must begin.
    """

    grants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    everyone: tuple[str, ...] = ("help",)
    rules: tuple[Rule, ...] = (Rule("default"),)
    approval_lasts: int = 3600


def may_ask(policy: Policy, command: str, roles: frozenset[str]) -> bool:
    """Whether a person with these roles may type this command."""
    patterns = [*policy.everyone, *(each for role in roles for each in policy.grants.get(role, ()))]
    return _any(tuple(patterns), (command,))


def ruling(
    policy: Policy,
    command: str,
    plan: Plan,
    roles: frozenset[str],
    now: datetime,
    *,
    automatic: bool = False,
    by_bot: bool = False,
    via: str = "",
) -> Ruling | MayNot:
    """What the plan takes by the first rule that holds; MayNot when it is not allowed at all.

    ``automatic``: a watch means to do it by itself, within its limits. ``by_bot``: the bot proposes
    it, so it takes a person's vote unless an automatic rule rules on it. ``via``: the way by which
    it is asked for; what an agent asks for takes a person's vote.
    """
    if not may_ask(policy, command, roles):
        able = who_may(policy, command)
        return MayNot(
            words("You may not use `{command}`.", command=command),
            words("It takes one of the roles: {roles}.", roles=able)
            if able
            else words("No role may use it. Ask an administrator."),
        )
    for rule in policy.rules:
        if rule.holds(command, plan, now, automatic=automatic, via=via):
            if rule.freeze:
                return MayNot(rule.reason, words("Ask again after it ends."))
            by_itself = automatic and rule.automatic and not rule.votes
            least = _least_votes(plan, via)
            votes = max(rule.votes or (1 if by_bot and not by_itself else 0), least)
            if least and not rule.approvers:
                return MayNot(
                    words(
                        "This takes a vote, and the rule “{rule}” names nobody who may vote.",
                        rule=rule.name,
                    ),
                    words("Add `approvers` to that rule in the configuration."),
                )
            return Ruling(
                votes,
                rule.approvers,
                rule.expires,
                rule.name,
                rule.fallback,
                rule.fallback_after,
                by_itself,
            )
    return MayNot(
        words("No rule of the policy covers this."),
        words("Add one to [policy] in the configuration."),
    )


def _least_votes(plan: Plan, via: str) -> int:
    """The votes that a plan takes whatever the rule says; an agent is nobody who could be one."""
    least = max((each.least_votes for each in plan.steps if isinstance(each, Step)), default=0)
    return least + 1 if via == AGENT else least


def thaw(rule: Rule, now: datetime, within: timedelta) -> datetime | None:
    """The minute in which a freeze's window ends.

    None when it has none, or not within that time.
    """
    window = rule.window
    if window is None:
        return None
    start = now.replace(second=0, microsecond=0)
    minutes = range(1, int(within.total_seconds() // 60) + 1)
    return next(
        (end for each in minutes if not window.holds(end := start + timedelta(minutes=each))), None
    )


def frozen(
    policy: Policy,
    command: str,
    plan: Plan,
    now: datetime,
    *,
    automatic: bool = False,
    via: str = "",
) -> Rule | None:
    """The freeze that rules on a plan now; None when none does."""
    first = next(
        (
            rule
            for rule in policy.rules
            if rule.holds(command, plan, now, automatic=automatic, via=via)
        ),
        None,
    )
    return first if first is not None and first.freeze else None


def who_may(policy: Policy, command: str) -> tuple[str, ...]:
    """The roles that may type a command, sorted."""
    return tuple(
        sorted(role for role, patterns in policy.grants.items() if _any(patterns, (command,)))
    )


def contradictions(
    policy: Policy,
    people: Mapping[str, frozenset[str] | None],
    automatic: Collection[str] = (),
    where_allowed: Collection[str] = (),
) -> tuple[tuple[str, Message], ...]:
    """What cannot be meant, as (name of the rule or command, what is wrong and what to do).

    Args:
        policy: whole.
        people: role → its people; None: a user group's, not known here.
        automatic: commands that watches mean to do by themselves.
        where_allowed: those that they do by themselves if a rule lets them.
    """
    found: list[tuple[str, Message]] = [
        (rule.name, fault)
        for rule in policy.rules
        if (fault := _contradiction(rule, policy, people))
    ]
    found += [
        (
            rule.name,
            words("it never applies: “{rule}” comes first and covers all of it", rule=by.name),
        )
        for rule, by in _shadows(policy)
    ]
    names = [rule.name for rule in policy.rules]
    found += [(name, words("two rules have this name; the audit trail could not tell them apart"))
              for name in sorted({name for name in names if names.count(name) > 1})]  # fmt: skip
    found += [(command, NOT_AUTOMATIC) for command in without_rule(policy, automatic)]
    found += [
        (rule.name, NOTHING_AUTOMATIC)
        for rule in policy.rules
        if rule.automatic
        and not any(covers(rule, command) for command in (*automatic, *where_allowed))
    ]
    if policy.rules and not policy.rules[-1].unconditional:
        found.append((policy.rules[-1].name, OPEN_END))
    return tuple(found)


OPEN_END = words(
    "it is the last and has conditions: what no rule covers is refused; end with a rule "
    "without conditions"
)


NOT_AUTOMATIC = words(
    "it is configured as automatic but no rule allows that, so every run would still ask for "
    "approval; add a rule with automatic = true and votes = 0, or set it to propose"
)
AGENTS_VOTES = words(
    "what an agent asks for takes 1 vote at least; set votes to 1 or more, and name approvers"
)
AGENT_BY_ITSELF = words(
    "it never applies: what an agent asks for is never automatic; remove automatic or via"
)
NOTHING_AUTOMATIC = words("this rule can never match: no automatic command is covered by it")


def without_rule(policy: Policy, automatic: Collection[str]) -> tuple[str, ...]:
    """The commands that are to be done without people, and for which no rule says that they may."""
    able = [rule for rule in policy.rules if rule.automatic and not rule.votes and not rule.freeze]
    return tuple(
        command for command in sorted(automatic) if not any(covers(rule, command) for rule in able)
    )


def _contradiction(
    rule: Rule, policy: Policy, people: Mapping[str, frozenset[str] | None]
) -> Message:
    if rule.freeze:
        return (
            words("it freezes everything for ever; give it a window or other conditions")
            if rule.unconditional
            else ""
        )
    if rule.via == AGENT and rule.automatic:
        return AGENT_BY_ITSELF
    if not rule.votes:
        return _contradiction_without_votes(rule, people)
    missing = [role for role in (*rule.approvers, *rule.fallback) if role not in people]
    if missing:
        return words(
            "it asks for the role “{role}”, which does not exist; add it to [roles]",
            role=missing[0],
        )
    if rule.fallback and not 0 < rule.fallback_after < rule.expires:
        return words(
            "its fallback approvers never get a turn: fallback_after must be more than 0 and "
            "less than expires"
        )
    return _too_few(rule, policy, people)


def for_both(rule: Rule, policy: Policy) -> Message:
    """What a rule for VMs with tags means for a plan that touches others beside them.

    '' unless a stricter one for VMs with other tags comes after it.
    """
    after = policy.rules[policy.rules.index(rule) + 1 :]
    stricter = next((each for each in after if _is_stricter(each, rule)), None)
    if stricter is None:
        return ""
    return words(
        "a plan that touches VMs with its tags and VMs with those of “{rule}” is ruled by this "
        "one, which comes first and asks for less. Write “{rule}” before it",
        rule=stricter.name,
    )


def _is_stricter(rule: Rule, than: Rule) -> bool:
    """Whether it asks for more of what both may hold for, each by tags of its own."""
    if not (rule.tags and than.tags) or than.freeze or set(rule.tags) & set(than.tags):
        return False
    both = (
        _may_meet(rule.commands, than.commands)
        and _may_meet(rule.hosts, than.hosts)
        and _may_meet(rule.risks, than.risks)
        and rule.via in ("", than.via)
    )
    return both and (rule.freeze or rule.votes > than.votes)


def _may_meet(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether something may be of both patterns; none is all."""
    return not (some and others) or any(
        _any((one,), (other,)) or _any((other,), (one,)) for one in some for other in others
    )


def for_the_bot(rule: Rule) -> Message:
    """What a rule without votes means for what the bot proposes by itself.

    '' when it is not in doubt.
    """
    if rule.votes or rule.automatic or rule.freeze:
        return ""
    return words(
        "people who ask need no vote; what an agent asks for, and what the bot proposes by "
        "itself, takes 1 vote of {roles}. To let it act without anybody, write a rule with "
        "automatic = true and votes = 0 before this one",
        roles=Names(rule.approvers, Join.OR),
    )


def _contradiction_without_votes(
    rule: Rule, people: Mapping[str, frozenset[str] | None]
) -> Message:
    """A rule without votes still needs approvers.

    For what the bot proposes by itself, unless it is automatic.
    """
    if rule.via == AGENT:
        return AGENTS_VOTES
    if rule.fallback:
        return words("it needs no vote and names fallback approvers; leave them out")
    able = [people[role] for role in rule.approvers if role in people]
    if rule.automatic or any(group is None or group for group in able):
        return ""
    return words(
        "what the bot proposes by itself takes 1 vote here too, and nobody has the role {roles}; "
        "name approvers that exist, or set automatic = true",
        roles=Names(tuple(f"“{role}”" for role in rule.approvers), Join.OR),
    )


def _too_few(rule: Rule, policy: Policy, people: Mapping[str, frozenset[str] | None]) -> Message:
    groups = [people[role] for role in {*rule.approvers, *rule.fallback}]
    if None in groups:
        return ""
    able = frozenset[str]().union(*(group for group in groups if group is not None))
    if len(able) < rule.votes:
        return nwords(
            "it asks for {n} vote, and only {count} people have its roles",
            "it asks for {n} votes, and only {count} people have its roles",
            n=rule.votes,
            count=len(able),
        )
    asking = frozenset[str]().union(
        *(people.get(role) or () for role, patterns in policy.grants.items() if patterns)
    )
    if len(able) == rule.votes and able & asking:
        return nwords(
            "the only possible approver can also request, so their own requests could never be "
            "approved",
            "the only {n} possible approvers can also request, so their own requests could "
            "never be approved",
            n=len(able),
        )
    return ""


def _shadows(policy: Policy) -> tuple[tuple[Rule, Rule], ...]:
    """Rules with the one before them that covers every plan they could."""
    pairs = [
        (rule, by)
        for index, rule in enumerate(policy.rules)
        for by in policy.rules[:index]
        if _within(rule, by)
    ]
    return tuple({rule.name: (rule, by) for rule, by in reversed(pairs)}.values())


def _within(rule: Rule, by: Rule) -> bool:
    """Whether every plan and moment that ``rule`` holds for, ``by`` surely holds for too."""
    lists = (
        (rule.commands, by.commands),
        (rule.risks, by.risks),
        (rule.tags, by.tags),
        (rule.hosts, by.hosts),
    )
    return (
        all(not wide or (narrow and set(narrow) <= set(wide)) for narrow, wide in lists)
        and rule.min_vms >= by.min_vms
        and rule.min_memory >= by.min_memory
        and (not by.max_vms or 0 < rule.max_vms <= by.max_vms)
        and (not by.max_memory or 0 < rule.max_memory <= by.max_memory)
        and (rule.automatic or not by.automatic)
        and by.via in ("", rule.via)
        and by.window in (None, rule.window)
    )


def covers(rule: Rule, command: str) -> bool:
    """Whether the rule can ever rule on this command."""
    return not rule.commands or _any(rule.commands, (command,))


def matches(patterns: tuple[str, ...], command: str) -> bool:
    """Whether one of the shell patterns covers a command."""
    return _any(patterns, (command,))


def _any(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    known, wanted = [nfc(each) for each in names], [nfc(each) for each in patterns]
    return any(fnmatch.fnmatchcase(name, pattern) for name in known for pattern in wanted)
