"""What today's rules ask of an operation.

Read again at each vote, at the start, and before each step that begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.domain import policy as policies
from bot.domain.cluster import Snapshot, Vm, tags_of
from bot.domain.message import Duration, Message, When, nwords, words
from bot.domain.operation import BOT, Operation, Origin, RulingChanged, State
from bot.domain.plan import Blast, Objection, Plan
from bot.domain.policy import MayNot, Policy, Rule, Ruling
from bot.domain.steps import MigrateVm, Step
from bot.domain.timing import Slot
from bot.flow.context import Services, has_role, roles_by_id, roles_of

OLD = "old"  # the code of an approval that has ended
MISSED = "time-missed"  # of an operation that did not begin in its time
CLOSED = "window-closed"  # of one whose maintenance window is another one today


def ruling_now(
    services: Services, action: str, plan: Plan, origin: Origin, slot: Slot | None = None
) -> Ruling | MayNot:
    """What today's rules ask for a plan; of what has a time, as they hold at that time."""
    roles = _requester_roles(services, origin, action)
    now = _moment(services, slot)
    return _ruling(services.policy, action, plan, origin, roles=roles, now=now)


def _ruling(
    policy: Policy,
    action: str,
    plan: Plan,
    origin: Origin,
    *,
    roles: frozenset[str],
    now: datetime,
) -> Ruling | MayNot:
    return policies.ruling(
        policy,
        action,
        plan,
        roles,
        now,
        automatic=origin.automatic,
        by_bot=origin.by == BOT,
        via=origin.via,
    )


def _freeze(services: Services, operation: Operation, part: Plan, now: datetime) -> Rule | None:
    """The freeze that rules on a part of an operation."""
    origin = operation.origin
    return policies.frozen(
        services.policy,
        operation.action,
        part,
        now,
        automatic=origin.automatic,
        via=origin.via,
    )


def ruling_of(services: Services, operation: Operation, view: Plan) -> Ruling | MayNot:
    """What the rules of this moment ask for an operation, whose glass may be broken."""
    today = ruling_now(services, operation.action, view, operation.origin, operation.slot)
    return ease(operation, today, services.clock.now())


def ease(operation: Operation, today: Ruling | MayNot, now: datetime) -> Ruling | MayNot:
    """A ruling with the votes that broken glass asks for, until that ends.

    What a step takes whatever the rules say, it takes now as well.
    """
    glass = operation.glass
    if glass is None or now >= glass.until or isinstance(today, MayNot):
        return today
    least = max(
        (each.least_votes for each in operation.plan.steps if isinstance(each, Step)), default=0
    )
    return replace(today, votes=min(today.votes, max(glass.votes, least)))


def _moment(services: Services, slot: Slot | None) -> datetime:
    """Now, or the time at which it may begin, when that is later."""
    now = services.clock.now()
    return now if slot is None else max(now, slot.start)


def _requester_roles(services: Services, origin: Origin, action: str) -> frozenset[str]:
    """The roles with which it is asked for; the chat is asked only when those by id do not do."""
    if origin.by == BOT:
        return frozenset(services.roles)
    known = roles_by_id(services, origin.by)
    return (
        known if policies.may_ask(services.policy, action, known) else roles_of(services, origin.by)
    )


def tail(operation: Operation, seen: Snapshot | None = None) -> Plan:
    """The part of a plan that has not begun, as the rules look at it.

    Before the start it is the whole plan.

    The tags are those that the VMs have now, as far as ``seen`` shows them.
    """
    plan = operation.plan
    if operation.began_at is None:
        return plan
    if not (operation.ended or operation.skipped or operation.under_way or operation.anew):
        return replace(plan, tags=_tags(plan, plan.steps, seen))
    left = [plan.steps[index] for index in operation.todo if index not in operation.under_way]
    moves = [step for step in left if isinstance(step, MigrateVm)]
    vms = tuple(dict.fromkeys(uuid for step in left for uuid in step.vms))
    blast = Blast(
        vms=vms or plan.blast.vms,
        hosts=tuple(dict.fromkeys(host for step in left for host in step.hosts))
        or plan.blast.hosts,
        memory=sum(move.memory for move in moves) if moves else plan.blast.memory,
        storage=plan.blast.storage,
    )
    return replace(plan, steps=tuple(left), blast=blast, tags=_tags(plan, left, seen))


def _tags(plan: Plan, steps: Sequence[Step], seen: Snapshot | None) -> tuple[str, ...]:
    """The tags of now; those of the plan beside them when one of its VMs is not seen."""
    wanted = {uuid for step in steps for uuid in step.vms}
    found: dict[str, Vm] = (
        {} if seen is None else {vm.uuid: vm for vm in seen.vms if vm.uuid in wanted}
    )
    now = tags_of(found.values())
    return now if found and found.keys() == wanted else tuple(dict.fromkeys((*now, *plan.tags)))


def valid_votes(services: Services, operation: Operation, ruling: Ruling) -> tuple[str, ...]:
    """Who voted, and still has a role that by this ruling could vote when the vote was given."""
    return tuple(
        vote.by
        for vote in operation.votes
        if has_role(
            services,
            vote.by,
            ruling.roles_at((vote.at - operation.proposed_at).total_seconds()),
        )
    )


def new_ruling(services: Services, operation: Operation, today: Ruling) -> RulingChanged | None:
    """That today's rule asks for other votes than the ruling that stands.

    None when it asks for the same.
    """
    stands = operation.ruling
    if _demand(today) == _demand(stands):
        return None
    return RulingChanged(services.clock.now(), BOT, today, valid_votes(services, operation, today))


def _demand(ruling: Ruling) -> tuple[object, ...]:
    return ruling.votes, ruling.approvers, ruling.fallback, ruling.fallback_after


def against_beginning(
    services: Services, operation: Operation, seen: Snapshot | None = None
) -> tuple[Objection, ...]:
    """Everything in today's rules that stands against beginning an approved operation."""
    if old := out_of_time(services, operation):
        return (old,)
    plan = operation.plan
    views = [plan]
    if seen is not None:
        views.append(replace(plan, tags=_tags(plan, plan.steps, seen)))
    return next((found for view in views if (found := _against(services, operation, view))), ())


def _against(services: Services, operation: Operation, view: Plan) -> tuple[Objection, ...]:
    today = ruling_of(services, operation, view)
    if isinstance(today, MayNot):
        return (against(services, operation, view, today),)
    return _votes_missing(services, operation, today)


def out_of_time(services: Services, operation: Operation) -> Objection | None:
    """That the time in which an approved operation may begin is over, or not a time any more.

    Without a time of its own an approval lasts as long as the policy says; with one, until then.
    """
    if operation.slot is None:
        return _too_old(services, operation)
    now, slot = services.clock.now(), operation.slot
    if now >= slot.end:
        return Objection(
            MISSED,
            words(
                "It was to begin between {start} and {end}.",
                start=When(slot.start, weekday=True),
                end=slot.end,
            ),
            words("Press Propose again if it is still wanted."),
        )
    window = services.windows.get(slot.window)
    if slot.window and (window is None or not window.holds(now)):
        return Objection(
            CLOSED,
            words("The maintenance window “{window}” is not open now.", window=slot.window),
            words("`/kvm windows` lists the windows; press Propose again for a new time."),
        )
    return None


def _too_old(services: Services, operation: Operation) -> Objection | None:
    since, lasts = operation.approved_at or operation.changed_at, services.policy.approval_lasts
    age = (services.clock.now() - since).total_seconds()
    if age <= lasts:
        return None
    said = words(
        "It was approved {age} ago, and an approval lasts {lasts}.",
        age=Duration(age),
        lasts=Duration(lasts),
    )
    return Objection(OLD, said, words("Press Propose again if it is still wanted."))


def against(services: Services, operation: Operation, view: Plan, refused: MayNot) -> Objection:
    """A refusal by today's rules, as it is told to others than the requester."""
    asker = operation.origin.by
    if asker != BOT and not policies.may_ask(
        services.policy, operation.action, roles_of(services, asker)
    ):
        return Objection(
            "permission", words("The requester may not use this command any more."), ""
        )
    if _freeze(services, operation, view, _moment(services, operation.slot)):
        return Objection("freeze", refused.text, words("Propose it again after the freeze."))
    return Objection("policy", refused.text, refused.advice)


def _votes_missing(
    services: Services, operation: Operation, today: Ruling
) -> tuple[Objection, ...]:
    good = valid_votes(services, operation, today)
    if len(good) >= today.votes:
        return ()
    lost = len(operation.votes) - len(good)
    if lost and len(operation.votes) >= today.votes:
        said = nwords(
            "{n} of {count} votes is no longer valid: the voter lost the role.",
            "{n} of {count} votes are no longer valid: the voters lost the role.",
            n=lost,
            count=len(operation.votes),
        )
        advice = words("A new plan needs votes of people who have the role now.")
        return (Objection("votes", said, advice),)
    said = nwords(
        "Today's rule “{rule}” asks for {n} vote, and {count} of those given count.",
        "Today's rule “{rule}” asks for {n} votes, and {count} of those given count.",
        n=today.votes,
        rule=today.rule,
        count=len(good),
    )
    return (Objection("votes", said, words("A new plan must be approved by that rule.")),)


@dataclass(frozen=True, slots=True)
class Leave:
    """That steps of a running operation may begin.

    The part of the plan it holds for, and what was found of people.
    """

    services: Services
    operation: Operation
    part: Plan
    roles: frozenset[str]
    votes: int

    def holds(self, now: datetime) -> bool:
        """Return whether the rules of this very moment still give it."""
        operation, policy = self.operation, self.services.policy
        today = _ruling(
            policy, operation.action, self.part, operation.origin, roles=self.roles, now=now
        )
        today = ease(operation, today, now)
        return isinstance(today, Ruling) and today.votes <= self.votes


@dataclass(frozen=True, slots=True)
class Frozen:
    """Nothing may begin for now; ``until`` None: the rule does not say until when."""

    why: Message
    until: datetime | None


def leave(
    services: Services, operation: Operation, seen: Snapshot | None, longest: float
) -> Leave | Frozen | RulingChanged | MayNot:
    """Whether the rest of a running operation may go on, by the rules of this moment.

    Returns:
        RulingChanged when it takes votes that were not given; MayNot when it may not go on at all.
        ``longest``: seconds that a freeze is waited for.
    """
    part, now, origin = tail(operation, seen), services.clock.now(), operation.origin
    rule = _freeze(services, operation, part, now)
    if rule is not None:
        return Frozen(rule.reason, policies.thaw(rule, now, timedelta(seconds=longest)))
    today = ease(operation, ruling_now(services, operation.action, part, origin), now)
    if isinstance(today, MayNot):
        refusal = against(services, operation, part, today)
        return MayNot(refusal.text, refusal.remedy)
    good = valid_votes(services, operation, today)
    if len(good) < today.votes:
        return RulingChanged(now, BOT, today, good)
    return Leave(
        services, operation, part, _requester_roles(services, origin, operation.action), len(good)
    )


def of_now(services: Services, operation: Operation) -> Ruling:
    """The ruling that says who decides on an operation now.

    The stored one when today's rules refuse it.
    """
    if operation.state.over:
        return operation.ruling
    today = ruling_of(services, operation, tail(operation))
    if isinstance(today, MayNot) or (operation.state is State.RUNNING and operation.votes_missing):
        return operation.ruling  # of what waits for votes, the ruling that was shown stands
    return today
