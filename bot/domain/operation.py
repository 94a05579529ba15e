"""An operation from proposal to end: a state table, events in the past tense, and ``advance``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Any

from bot.domain.cluster import Job
from bot.domain.codec import later
from bot.domain.errors import IllegalEventError, Remedy
from bot.domain.message import Code, Message, Person, Quantity, nwords, words
from bot.domain.plan import Objection, Plan, Spread
from bot.domain.policy import Ruling
from bot.domain.steps import Step, WaitForPerson
from bot.domain.timing import Slot

Fact = Message | Quantity | bool
Facts = Mapping[str, Fact]
"""What a step's handler measured, by name: ``{"pause": Duration(0.03), "passes": 3}``."""

BOT = "drover"  # the requester of what the bot proposes by itself
SCRIPTS = "script:"  # what the id of a script begins with, which asks with a token and never votes


MOST_OPEN = 1000  # open operations that are read at once; people follow far fewer


class State(StrEnum):
    """Where an operation stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    STALE = "stale"

    @property
    def over(self) -> bool:
        """Whether nothing more will be done."""
        return self not in (State.PROPOSED, State.APPROVED, State.RUNNING)


class Ask(StrEnum):
    """What people can ask of a running operation."""

    CANCEL = "cancel"
    POSTCOPY = "postcopy"


@dataclass(frozen=True, slots=True)
class Vote:
    """One approval."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: person, channel, the exact command, and the request's own key."""

    by: str
    channel: str
    command: str
    key: str
    reason: Message = ""
    # Of a proposal of the bot: people because of whose act it proposes; they never vote
    causes: tuple[str, ...] = ()
    automatic: bool = False  # a watch means to do it by itself, within its limits
    via: str = later("")  # the way by which it came, as a rule's ``via``; '': a person typed it
    agent: str = later("")  # the name that an agent gives itself; it asks for ``by``


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an operation: when (UTC), and by whom (a user id or the bot)."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Proposed(Event):
    """A plan was laid before the approvers. ``intent`` is the plugin's own value."""

    action: str
    intent: Any  # of a plugin: only its action reads it
    plan: Plan
    ruling: Ruling
    origin: Origin
    expires_at: datetime
    replaces: str = ""
    slot: Slot | None = later(None)  # when it may begin; None: as soon as it is approved


@dataclass(frozen=True, slots=True)
class Rescheduled(Event):
    """A person gave it another time. Votes were for the time before, so they begin anew."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class RulingChanged(Event):
    """Today's rule asks for other votes than the one before; ``ruling`` stands from now on.

    ``counted``: who voted already and whose vote still counts. A running operation waits for the
    votes that are missing before its next step begins.
    """

    ruling: Ruling
    counted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GlassBroken(Event):
    """While the chat was out of reach, a person asked for fewer votes.

    ``votes``, until ``until``.
    """

    why: str
    votes: int
    until: datetime


@dataclass(frozen=True, slots=True)
class VotedFor(Event):
    """A person other than the requester approved; ``digest`` is the plan they saw."""

    digest: str


@dataclass(frozen=True, slots=True)
class Approved(Event):
    """The votes suffice (or none were needed)."""


@dataclass(frozen=True, slots=True)
class Denied(Event):
    """A person refused, and said why."""

    why: str


@dataclass(frozen=True, slots=True)
class Withdrawn(Event):
    """The requester took it back."""


@dataclass(frozen=True, slots=True)
class Expired(Event):
    """Nobody decided in time."""


@dataclass(frozen=True, slots=True)
class Replaced(Event):
    """A person laid out a part of it as a plan of its own, operation ``instead``."""

    instead: str


@dataclass(frozen=True, slots=True)
class Began(Event):
    """The plan still held on a fresh snapshot; work started.

    ``before`` and ``foretold``: how even the load was, and will be; None where the action promises
    nothing of it.
    """

    before: Spread | None = None
    foretold: Spread | None = None


@dataclass(frozen=True, slots=True)
class WentStale(Event):
    """The cluster had changed; nothing was done."""

    objections: tuple[Objection, ...]


@dataclass(frozen=True, slots=True)
class StepBegan(Event):
    """Step number ``index`` (from 0) is about to be settled or run."""

    index: int


@dataclass(frozen=True, slots=True)
class StepEnded(Event):
    """Step ``index`` is truly done, as seen on the hosts.

    ``facts``: what was measured, named values with their units.

    Facts that version 0.1 stored are plain numbers and texts whose names are labels.
    """

    index: int
    facts: Facts = field(default_factory=dict)
    found_done: bool = False


@dataclass(frozen=True, slots=True)
class StepSkipped(Event):
    """Step ``index`` is not to be done any more: what was found against it just before its turn."""

    index: int
    why: Objection


@dataclass(frozen=True, slots=True)
class Replanned(Event):
    """The rest was planned anew when its turn came.

    ``steps`` stand in for all that had not begun.
    """

    steps: tuple[Step, ...]
    why: Message


@dataclass(frozen=True, slots=True)
class Continued(Event):
    """A person let the operation go on at step ``index``, where it waited for one."""

    index: int


@dataclass(frozen=True, slots=True)
class Held(Event):
    """A running operation waits for a person before anything more is done.

    ``why``: one sentence.
    """

    why: Message


@dataclass(frozen=True, slots=True)
class Released(Event):
    """A person let an operation that was held go on."""


@dataclass(frozen=True, slots=True)
class GainMeasured(Event):
    """How even the load is some time after the end, by a sweep taken at ``taken_at``."""

    measured: Spread
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something worth keeping that changes no state."""

    text: Message
    mark: str = later("")  # names what was done, so that it is done once


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """A person asked a running operation for something."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class Summary:
    """What is true of the hosts when an operation ends, as its action saw them.

    ``complete``: what was asked for is true. ``title`` stands in the place of the plan's title.
    ``remedies`` lead out of what is left.
    """

    title: Message
    text: Message = ""
    complete: bool = True
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """Every step is done."""

    summary: Summary | None = later(None)


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """A step could not be done.

    ``advice`` says what to do next, ``remedies`` are offered as buttons.
    """

    why: Message
    advice: Message = ""
    index: int | None = None
    remedies: tuple[Remedy, ...] = ()
    summary: Summary | None = later(None)


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """Stopped on a person's request; ``why`` says how far it had come."""

    why: Message = ""
    summary: Summary | None = later(None)


@dataclass(frozen=True, slots=True)
class Attempted(Event):
    """Somebody tried what they may not; it is of no operation's history, but in the same trail.

    ``what``: the line that was typed, or the button. ``operation``: which one it was about, '' for
    none. ``why``: what they were told.
    """

    what: str
    operation: str = ""
    why: Message = ""


@dataclass(frozen=True, slots=True)
class UnknownEvent(Event):
    """What stands in for a stored event that cannot be read here; never stored.

    ``stored``: its canonical JSON.
    """

    kind: str
    why: Message
    stored: str = "{}"


EVENTS: tuple[type[Event], ...] = (
    Proposed, VotedFor, Approved, Denied, Withdrawn, Expired, Replaced, Began, WentStale,
    StepBegan, StepEnded, StepSkipped, Replanned, Continued, Noted, Asked, Finished, Failed,
    Cancelled, GainMeasured, RulingChanged, Held, Released, GlassBroken, Rescheduled,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as its events left it. ``version`` counts them.

    It is the compare-and-swap key.
    """

    id: str
    version: int
    state: State
    action: str
    intent: Any  # of a plugin: only its action reads it
    plan: Plan
    ruling: Ruling
    origin: Origin
    proposed_at: datetime
    expires_at: datetime
    changed_at: datetime
    votes: tuple[Vote, ...] = ()
    asked: frozenset[Ask] = frozenset()
    # Steps begun and not ended; where it failed, those that did
    under_way: frozenset[int] = frozenset()
    ended: tuple[StepEnded, ...] = ()
    skipped: tuple[StepSkipped, ...] = ()
    anew: tuple[Message, ...] = ()  # why the rest was planned anew, each time
    continued: frozenset[int] = frozenset()  # steps that waited for a person, whom one let go on
    decided_by: str = ""
    outcome: Message = ""
    advice: Message = ""
    remedies: tuple[Remedy, ...] = ()
    objections: tuple[Objection, ...] = ()
    replaces: str = ""
    instead: str = ""  # the operation that a part of it was laid out as
    began_at: datetime | None = None
    notes: tuple[Message, ...] = ()
    marks: frozenset[str] = frozenset()  # of what was noted as done
    before: Spread | None = None
    foretold: Spread | None = None
    measured: Spread | None = None
    measured_at: datetime | None = None
    approved_at: datetime | None = None
    # When another ruling came to stand; None: it is the one of the proposal
    ruled_at: datetime | None = None
    held: Message = ""  # why it waits for a person before anything more is done
    held_at: datetime | None = None
    summary: Summary | None = None  # what was true of the hosts at its end
    glass: GlassBroken | None = None
    slot: Slot | None = None  # when it may begin; None: as soon as it is approved
    unreadable: Message = ""  # why its history cannot be read here: nothing is done with it

    @property
    def number(self) -> int:
        """17 of ``op-17``."""
        return int(self.id.removeprefix("op-"))

    @property
    def digest(self) -> str:
        """What a vote is for, 16 hex digits: the plan, and the time at which it may begin."""
        return digest_of_vote(self.plan, self.slot)

    def early(self, now: datetime) -> bool:
        """Whether it is approved and waits for its time."""
        return self.state is State.APPROVED and self.slot is not None and now < self.slot.start

    @property
    def open_to_votes(self) -> bool:
        """Whether votes are asked for: of a proposal, or of one that runs and has grown."""
        if self.unreadable:
            return False
        return self.state is State.PROPOSED or (
            self.state is State.RUNNING and self.votes_missing > 0
        )

    @property
    def votes_missing(self) -> int:
        """How many more approvals it takes."""
        return max(0, self.ruling.votes - len(self.votes))

    @property
    def todo(self) -> tuple[int, ...]:
        """Indexes of the steps neither ended nor skipped, in order."""
        done = {each.index for each in self.ended} | {each.index for each in self.skipped}
        return tuple(index for index in range(len(self.plan.steps)) if index not in done)

    @property
    def near(self) -> tuple[int, ...]:
        """Of the steps to do those before the next one that waits for a person."""
        return near(self.plan.steps, self.todo, self.continued)

    @property
    def waiting(self) -> int | None:
        """Index of the step that waits for a person now."""
        steps = self.plan.steps
        found = (
            index
            for index in self.under_way - self.continued
            if isinstance(steps[index], WaitForPerson)
        )
        return next(found, None)


def digest_of_vote(plan: Plan, slot: Slot | None) -> str:
    """What a vote is for, 16 hex digits: the plan's own digest when it has no time."""
    if slot is None:
        return plan.digest
    return hashlib.sha256(f"{plan.digest} {slot.mark}".encode()).hexdigest()[:16]


def near(
    steps: Sequence[Step], indexes: Iterable[int], continued: Collection[int] = ()
) -> tuple[int, ...]:
    """Of these steps those before the next one that waits for a person.

    What others must leave room for now.
    """
    before = takewhile(
        lambda index: index in continued or not isinstance(steps[index], WaitForPerson), indexes
    )
    return tuple(before)


def open_operation(operation_id: str, event: Proposed) -> Operation:
    """The operation that a ``Proposed`` event opens."""
    return Operation(
        id=operation_id,
        version=1,
        state=State.PROPOSED,
        action=event.action,
        intent=event.intent,
        plan=event.plan,
        ruling=event.ruling,
        origin=event.origin,
        proposed_at=event.at,
        expires_at=event.expires_at,
        changed_at=event.at,
        replaces=event.replaces,
        slot=event.slot,
    )


Changes = Mapping[str, Any]  # Any: each field has its own type
"""Fields of an operation and what an event makes of them."""
Change = Callable[[Operation, Any], Changes]  # Any: of the table below, each takes its own event


def _vote(operation: Operation, event: VotedFor) -> Changes:
    if event.by == operation.origin.by:
        raise IllegalEventError(words("The requester never counts as an approver."))
    if event.by in operation.origin.causes:
        raise IllegalEventError(words("Who caused a proposal never counts as its approver."))
    if not operation.open_to_votes:
        raise IllegalEventError(words("{id} waits for no vote.", id=operation.id))
    if any(vote.by == event.by for vote in operation.votes):
        raise IllegalEventError(words("{who} has voted already.", who=Person(event.by)))
    if event.digest != operation.digest:
        raise IllegalEventError(
            words("The vote is for another plan."), words("Look at the plan again.")
        )
    return {"votes": (*operation.votes, Vote(event.by, event.at))}


def _approve(operation: Operation, event: Approved) -> Changes:
    if operation.votes_missing:
        raise IllegalEventError(
            nwords(
                "{n} more vote is needed.", "{n} more votes are needed.", n=operation.votes_missing
            )
        )
    return {"decided_by": event.by, "approved_at": event.at}


def _change_ruling(operation: Operation, event: RulingChanged) -> Changes:
    votes = tuple(vote for vote in operation.votes if vote.by in event.counted)
    return {"ruling": event.ruling, "votes": votes, "ruled_at": event.at}


def _break_glass(_operation: Operation, event: GlassBroken) -> Changes:
    return {"glass": event}


def _reschedule(_operation: Operation, event: Rescheduled) -> Changes:
    return {
        "slot": event.slot,
        "expires_at": event.slot.end,
        "votes": (),
        "decided_by": "",
        "approved_at": None,
    }


def _hold(_operation: Operation, event: Held) -> Changes:
    return {"held": event.why, "held_at": event.at}


def _release(operation: Operation, _event: Released) -> Changes:
    if not operation.held:
        raise IllegalEventError(words("{id} is not held.", id=operation.id))
    return {"held": "", "held_at": None}


def _decide(_operation: Operation, event: Event) -> Changes:
    return {"decided_by": event.by, "outcome": getattr(event, "why", "")}


def _replace_by(_operation: Operation, event: Replaced) -> Changes:
    return {
        "decided_by": event.by,
        "instead": event.instead,
        "outcome": words("{id} stands in its place.", id=event.instead),
    }


def _stale(_operation: Operation, event: WentStale) -> Changes:
    return {"objections": event.objections}


def _began(_operation: Operation, event: Began) -> Changes:
    return {"began_at": event.at, "before": event.before, "foretold": event.foretold}


def _still_to_do(operation: Operation, index: int) -> None:
    if index not in operation.todo:
        raise IllegalEventError(words("Step {number} is already done.", number=index + 1))


def _step_began(operation: Operation, event: StepBegan) -> Changes:
    _still_to_do(operation, event.index)
    return {"under_way": operation.under_way | {event.index}}


def _end_step(operation: Operation, event: StepEnded) -> Changes:
    _still_to_do(operation, event.index)
    return {"ended": (*operation.ended, event), "under_way": operation.under_way - {event.index}}


def _skip_step(operation: Operation, event: StepSkipped) -> Changes:
    _still_to_do(operation, event.index)
    return {
        "skipped": (*operation.skipped, event),
        "under_way": operation.under_way - {event.index},
    }


def _replan(operation: Operation, event: Replanned) -> Changes:
    """Plan the tail anew.

    What is done, skipped or under way keeps its number, so it must be a whole tail.
    """
    left = set(operation.todo) - operation.under_way
    first = min(left, default=len(operation.plan.steps))
    if left != set(range(first, len(operation.plan.steps))):
        raise IllegalEventError(
            words("Later steps have begun already; the rest cannot be planned anew now.")
        )
    plan = replace(operation.plan, steps=(*operation.plan.steps[:first], *event.steps))
    return {"plan": plan, "anew": (*operation.anew, event.why)}


def _let_go_on(operation: Operation, event: Continued) -> Changes:
    if event.index != operation.waiting:
        raise IllegalEventError(
            words("Step {number} is not waiting for a person.", number=event.index + 1)
        )
    return {"continued": operation.continued | {event.index}}


def _keep_gain(operation: Operation, event: GainMeasured) -> Changes:
    if operation.measured is not None:
        raise IllegalEventError(words("It was measured already."))
    return {
        "measured": event.measured,
        "measured_at": event.taken_at,
        "changed_at": operation.changed_at,
    }


def _note_after(operation: Operation, event: Noted) -> Changes:
    """Of what is over: when it ended stays."""
    return {**_note(operation, event), "changed_at": operation.changed_at}


def _note(operation: Operation, event: Noted) -> Changes:
    marks = operation.marks | {event.mark} if event.mark else operation.marks
    return {"notes": (*operation.notes, event.text), "marks": marks}


def _ask(operation: Operation, event: Asked) -> Changes:
    return {"asked": operation.asked | {event.ask}}


def _finish(operation: Operation, event: Finished) -> Changes:
    if operation.todo:
        raise IllegalEventError(
            nwords(
                "{n} step is not done yet.", "{n} steps are not done yet.", n=len(operation.todo)
            )
        )
    return {"summary": event.summary}


def _fail(_operation: Operation, event: Failed) -> Changes:
    return {
        "outcome": event.why,
        "advice": event.advice,
        "remedies": event.remedies,
        "summary": event.summary,
    }


def _cancel(_operation: Operation, event: Cancelled) -> Changes:
    return {
        "decided_by": event.by,
        "outcome": event.why,
        "under_way": frozenset(),
        "summary": event.summary,
    }


# state → event → (next state, what else changes). What is not here is illegal, raises and changes
# nothing.
TRANSITIONS: Mapping[State, Mapping[type[Event], tuple[State, Change]]] = {
    State.PROPOSED: {
        VotedFor: (State.PROPOSED, _vote),
        RulingChanged: (State.PROPOSED, _change_ruling),
        GlassBroken: (State.PROPOSED, _break_glass),
        Approved: (State.APPROVED, _approve),
        Denied: (State.DENIED, _decide),
        Withdrawn: (State.WITHDRAWN, _decide),
        Expired: (State.EXPIRED, _decide),
        Replaced: (State.WITHDRAWN, _replace_by),
        Rescheduled: (State.PROPOSED, _reschedule),
        Noted: (State.PROPOSED, _note),
    },
    State.APPROVED: {
        Began: (State.RUNNING, _began),
        WentStale: (State.STALE, _stale),
        Failed: (State.FAILED, _fail),
        Cancelled: (State.CANCELLED, _cancel),
        Rescheduled: (State.PROPOSED, _reschedule),
        Noted: (State.APPROVED, _note),
    },
    State.RUNNING: {
        StepBegan: (State.RUNNING, _step_began),
        StepEnded: (State.RUNNING, _end_step),
        StepSkipped: (State.RUNNING, _skip_step),
        Replanned: (State.RUNNING, _replan),
        Continued: (State.RUNNING, _let_go_on),
        Asked: (State.RUNNING, _ask),
        RulingChanged: (State.RUNNING, _change_ruling),
        VotedFor: (State.RUNNING, _vote),
        Held: (State.RUNNING, _hold),
        Released: (State.RUNNING, _release),
        Noted: (State.RUNNING, _note),
        Finished: (State.DONE, _finish),
        Failed: (State.FAILED, _fail),
        Cancelled: (State.CANCELLED, _cancel),
    },
    State.DONE: {
        GainMeasured: (State.DONE, _keep_gain),
        Noted: (State.DONE, _note_after),
    },
    **{
        state: {Noted: (state, _note_after)}
        for state in State
        if state.over and state is not State.DONE
    },
}


def advance(operation: Operation, event: Event) -> Operation:
    """``operation`` after ``event``: the only way one changes.

    Raises:
        IllegalEventError: the state does not take this event; ``operation`` is unchanged.
    """
    if operation.unreadable:
        raise IllegalEventError(
            words("{id} is left alone here: {why}.", id=operation.id, why=operation.unreadable),
            words("See {command}.", command=Code(f"/kvm audit {operation.id}")),
        )
    row = TRANSITIONS.get(operation.state, {}).get(type(event))
    if row is None:
        raise IllegalEventError(
            words(
                "{id} is {state}: it takes no {event} now.",
                id=operation.id,
                state=operation.state,
                event=type(event).__name__,
            )
        )
    state, change = row
    changes = {"changed_at": event.at, **change(operation, event)}
    return replace(operation, state=state, version=operation.version + 1, **changes)


def replay(operation_id: str, events: tuple[Event, ...]) -> Operation:
    """The operation that a whole history leaves.

    Raises:
        IllegalEventError: the history is not one that ``advance`` could have made.
    """
    first, *rest = events
    if not isinstance(first, Proposed):
        raise IllegalEventError(words("A history starts with a proposal."))
    operation = open_operation(operation_id, first)
    for event in rest:
        operation = follow(operation, event)
    return operation


def follow(operation: Operation, event: Event) -> Operation:
    """``operation`` after an event that is stored already.

    Raises:
        IllegalEventError: the history is not one that ``advance`` could have made.
    """
    if isinstance(event, VotedFor) and event.digest != operation.digest:
        # A field that a newer Drover gave to a step changes the digest of an old plan, never what
        # was voted for.
        event = replace(event, digest=operation.digest)
    return advance(operation, event)


def diagram() -> str:
    """The state table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> proposed: Proposed"]
    lines += [
        f"    {state} --> {target}: {event.__name__}"
        for state, row in TRANSITIONS.items()
        for event, (target, _) in row.items()
        if event is not Noted
    ]
    lines += [f"    {state} --> [*]" for state in State if state.over]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running operation's message shows beside its events; lost in a crash without harm.

    ``beside``: of steps that run side by side, the others', each with its step's ``title``.
    """

    job: Job | None = None
    text: Message = ""
    asks: frozenset[Ask] = frozenset()  # what may be asked right now
    title: Message = ""
    beside: tuple[Progress, ...] = ()
