"""Every sentence the core says about operations: the proposal, its progress and its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain import whole
from bot.domain.card import (
    Bar,
    Button,
    Buttons,
    Card,
    Chart,
    Checklist,
    Confirm,
    Context,
    Divider,
    Element,
    Fields,
    Form,
    Line,
    Listing,
    ManyField,
    Mark,
    Person,
    Section,
    Style,
    TextField,
    Words,
    bare,
    error_card,
    join,
    nwords,
    prose,
    said_elsewhere,
    words,
)
from bot.domain.cluster import Job
from bot.domain.message import (
    Code,
    Duration,
    Join,
    Message,
    Names,
    Number,
    Percent,
    Rate,
    Ref,
    Size,
    Value,
)
from bot.domain.operation import (
    BOT,
    SCRIPTS,
    Ask,
    Fact,
    Operation,
    Origin,
    Progress,
    State,
    StepEnded,
    Vote,
)
from bot.domain.past_moves import done_moves
from bot.domain.plan import (
    DefinitionChange,
    Edit,
    HostBar,
    Objection,
    Plan,
    Prediction,
    Refused,
    Risk,
    Spread,
)
from bot.domain.policy import AGENT, MayNot
from bot.domain.said_parts import has_person
from bot.domain.state_names import OPERATION_STATES
from bot.domain.steps import HoldHost, MigrateVm, SetMaintenance, Step, WaitForPerson
from bot.domain.timing import Slot, slot_text

PICK = "op.pick"
MOVE = "op.move"
TIMED_OUT = frozenset({"time-missed", "window-closed", "old"})
"""Codes of objections that say nothing of the cluster, only of the time."""
GO_ON = "op.continue"
HELD = "held"  # in the value of Continue: what waits is the whole operation
BOXES = 10  # steps under one heading of the dialog that picks some…
FEW = 50  # …while they are few; then lists of a hundred
UNITS = ("ms", "s", "%")  # what the name of a fact that version 0.1 stored may end with
MENTIONED = 20  # people called by name in one message
NOTED = 5  # notes of a plan where it is not shown whole
SAID = 5  # reasons told in one sentence
BARS = 6  # steps whose progress is shown side by side; the checklist has them all

_MENTION = re.compile(r"<@([UW][A-Z0-9]+)>")

HEADLINES = {
    State.PROPOSED: words("Approve? {title}"),
    State.APPROVED: words("Approved: {title}"),
    State.RUNNING: words("Running: {title}"),
    State.DONE: words("Done: {title}"),
    State.FAILED: words("Failed: {title}"),
    State.CANCELLED: words("Cancelled: {title}"),
    State.DENIED: words("Denied: {title}"),
    State.WITHDRAWN: words("Withdrawn: {title}"),
    State.EXPIRED: words("Expired: {title}"),
    State.STALE: words("Not done, the cluster changed: {title}"),
}
RISKS = {
    Risk.LOW: words("low"),
    Risk.MEDIUM: words("medium"),
    Risk.HIGH: words("high"),
    Risk.DESTRUCTIVE: words("destructive"),
}
ASKS = {Ask.CANCEL: words("cancel"), Ask.POSTCOPY: words("post-copy")}
PHASES = (
    words("preparing"),
    words("copying"),
    words("copying storage"),
    words("post-copy"),
    words("finishing"),
)
"""Phases of a job, which are shown as the hypervisor's adapter names them."""


SIGNS = {
    State.PROPOSED: "🟡",
    State.APPROVED: "🕒",
    State.RUNNING: "🔵",
    State.DONE: "✅",
    State.FAILED: "❌",
    State.CANCELLED: "⏹️",
    State.DENIED: "⛔",
    State.WITHDRAWN: "↩️",
    State.EXPIRED: "⌛",
    State.STALE: "🔄",
}
"""A state at a glance: each sign has a colour and a shape of its own."""
WAITING_SIGN, INCOMPLETE_SIGN = "✋", "⚠️"
WAITING_HEADLINES = (
    words("Waiting for a person: {title}"), words("Waiting for votes: {title}"),
)  # fmt: skip
WAITING = words("waiting for a person")


def waits(operation: Operation) -> bool:
    """Whether a running operation goes on only when a person comes."""
    return operation.state is State.RUNNING and (
        operation.waiting is not None or bool(operation.held) or operation.votes_missing > 0
    )


def sign_of(operation: Operation) -> str:
    """The sign of how an operation stands."""
    if waits(operation):
        return WAITING_SIGN
    summary = operation.summary
    incomplete = summary is not None and not summary.complete
    return (
        INCOMPLETE_SIGN if operation.state is State.DONE and incomplete else SIGNS[operation.state]
    )


def state_line(operation: Operation) -> Words:
    """The sign and the state, for a list."""
    state = WAITING if waits(operation) else OPERATION_STATES[operation.state]
    return Words("{sign} {state}", {"sign": sign_of(operation), "state": state})


def headline_of(operation: Operation) -> Words:
    """The sign, the state and the plan's title; of what is done, what is true now."""
    said = HEADLINES[operation.state]
    if waits(operation):
        said = WAITING_HEADLINES[bool(operation.votes_missing)]
    shown: Line = replace(said, args={"title": operation.plan.title})
    if operation.state is State.DONE and operation.summary is not None:
        shown = operation.summary.title
    if operation.state is State.APPROVED and operation.slot is not None:
        shown = words("Scheduled: {title}", title=operation.plan.title)
    elif any(each.code in TIMED_OUT for each in operation.objections):
        shown = words("Not run in its time: {title}", title=operation.plan.title)
    return Words("{sign} {headline}", {"sign": sign_of(operation), "headline": shown})


def id_line(operation: Operation, said: Line) -> Words:
    """Something said of an operation, for a notification."""
    return Words("{id}: {said}", {"id": operation.id, "said": said})


def bullets(lines: Iterable[Line]) -> Line:
    """A line each, behind a bullet; commands in plain text are shown as code."""
    return join((Words("• {line}", {"line": prose(line)}) for line in lines), "\n")


def who(user: str) -> Person | Words | str:
    """A mention, the bot's own name, or a script's."""
    if user.startswith(SCRIPTS):
        return words("the script {name}", name=user.removeprefix(SCRIPTS))
    return "Drover" if user == BOT else Person(user)


def requester(origin: Origin) -> Words:
    """Who asked for it: a person, the bot, or an agent for a person."""
    person = who(origin.by)
    if origin.via != AGENT:
        return words("{who}", who=person)
    return (
        words("the agent “{agent}” for {who}", agent=origin.agent, who=person)
        if origin.agent
        else words("an agent for {who}", who=person)
    )


def value_of(operation: Operation) -> str:
    """What buttons carry: the operation's id and the digest of the plan that was seen.

    It proves nothing.
    """
    return f"{operation.id}:{operation.digest}"


def operation_card(
    operation: Operation, progress: Progress | None = None, *, pickable: Collection[str] = ()
) -> Card:
    """The one message of an operation, whatever its state.

    Of a plan of a ``pickable`` action people may pick.
    """
    headline = headline_of(operation)
    elements: list[Element] = [_facts(operation)]
    elements += _state_lines(operation)
    elements += glass_lines(operation)
    if operation.open_to_votes:
        elements += _agents_note(operation.origin)
        elements += _attachment(operation)
    if operation.state is State.RUNNING:
        elements += _progress_of(operation, progress)
    elements += _buttons(operation, progress, pickable)
    if operation.open_to_votes:
        elements += [*_changes(operation.plan), *_reasons(operation.plan)]
    if operation.state is State.PROPOSED and _moves(operation.plan) >= CHARTED:
        elements += _picture(operation.plan)
    elements += _steps(operation)
    if operation.anew:
        elements.append(Context(tuple(_replan_text(why) for why in operation.anew[-SAID:])))
    elements.append(_small_print(operation))
    return Card(text=id_line(operation, headline), title=headline, elements=tuple(elements))


def glass_lines(operation: Operation) -> list[Element]:
    """That somebody broke glass for it, why, and until when."""
    glass = operation.glass
    if glass is None:
        return []
    line = nwords(
        "*Break glass* by {who} while Slack did not answer: _{why}_\n"
        "It takes {n} vote, until {until}; what has not begun by then takes those of the rules.",
        "*Break glass* by {who} while Slack did not answer: _{why}_\n"
        "It takes {n} votes, until {until}; what has not begun by then takes those of the rules.",
        n=glass.votes,
        who=who(glass.by),
        why=glass.why,
        until=glass.until,
    )
    return [Section(line)]


def _agents_note(origin: Origin) -> list[Element]:
    """Before a vote: that no person chose this, and who answers for it."""
    if origin.via != AGENT:
        return []
    return [Section(words("*Proposed by an agent for {who}.*", who=who(origin.by)))]


CHARTED = 3  # moves from which on a picture tells more than the sentences
EDITS = 12  # lines of a definition's diff that a message shows; its details show all


def _moves(plan: Plan) -> int:
    return sum(isinstance(step, MigrateVm) for step in plan.steps)


def _changes(plan: Plan, most: int = EDITS) -> list[Element]:
    """What becomes of definitions, as a diff."""
    if not plan.changes:
        return []
    rest = len(plan.changes) - most
    lines = [_edit_text(each) for each in plan.changes[:most]]
    people = [each for each in lines if has_person(each)]  # a listing mentions nobody
    lines = [each for each in lines if not has_person(each)]
    if rest > 0:
        lines.append(
            nwords("… and {n} more line in Details", "… and {n} more lines in Details", n=rest)
        )
    return [*([Listing(join(lines, "\n"))] if lines else []), *map(Section, people)]


def _edit_text(change: DefinitionChange) -> Words:
    """``~ web-1 memory: 1 GiB → 2 GiB``."""
    args: dict[str, Value] = {
        "edit": change.edit.value,
        "subject": change.subject,
        "part": change.part,
        "before": change.before,
        "after": change.after,
    }
    head = "{edit} {subject} {part}" if change.subject else "{edit} {part}"
    if change.edit is Edit.CHANGE:
        return Words(f"{head}: {{before}} → {{after}}", args)
    shown = "{before}" if change.edit is Edit.REMOVE else "{after}"
    return Words(f"{head}: {shown}" if change.before or change.after else head, args)


def _replan_text(why: Line) -> Line:
    return words("Planned anew {why}.", why=why if isinstance(why, Words) else why.rstrip(":"))


NOT_PROPOSED = words("This cannot be proposed.")


def attachments(operation: Operation) -> tuple[Message, ...]:
    """The whole plan in parts, when its message does not show all of it."""
    return whole.attachments(operation.plan, operation.origin.command, str(operation.origin.reason))


def _attachment(operation: Operation) -> list[Element]:
    count = len(attachments(operation))
    if not count:
        return []
    text = nwords(
        "*Not all of it fits here.* Read the whole plan in the thread, {n} message, before you "
        "decide.",
        "*Not all of it fits here.* Read the whole plan in the thread, {n} messages, before "
        "you decide.",
        n=count,
    )
    return [Section(text)]


def whole_card(operation: Operation, number: int, count: int, text: Message) -> Card:
    """A part of the whole plan, beneath its message."""
    title = words("{id} in full, {number} of {count}", id=operation.id, number=number, count=count)
    return Card(text=title, title=title, elements=(Listing(text),))


def _facts(operation: Operation) -> Fields:
    plan = operation.plan
    pairs: list[tuple[Line, Line]] = [
        (words("Requested by"), requester(operation.origin)),
        (words("Command"), words("`{command}`", command=operation.origin.command)),
        (words("Blast radius"), blast_text(plan)),
    ]
    if plan.prediction != Prediction() and not compared_text(operation):
        pairs.append((words("Prediction"), prediction_text(plan.prediction)))
    if plan.outlook and not operation.state.over:
        outlook = join((each.text for each in plan.outlook), "\n")
        pairs.append((words("After it"), outlook))
    if reason := operation.origin.reason:
        pairs.append((words("Reason"), _reason(operation.origin, reason)))
    if operation.slot is not None:
        pairs.append((words("Runs"), slot_text(operation.slot)))
    if operation.state is State.PROPOSED:
        pairs.append((words("Expires"), words("{at}", at=operation.expires_at)))
    return Fields(tuple(pairs))


def _reason(origin: Origin, reason: Message) -> Line:
    """Whom a person mentions in a reason is called; an agent calls nobody."""
    if not isinstance(reason, str):
        return reason
    return Words("{reason}", {"reason": reason}) if origin.via == AGENT else spoken(reason)


def spoken(text: str) -> Words:
    """What a person typed; whom it mentions is shown by name, all else of it stays inert."""
    parts = _MENTION.split(text)
    names = {f"p{index}": Person(part) if index % 2 else part for index, part in enumerate(parts)}
    return Words("".join(f"{{{name}}}" for name in names), names)


def blast_text(plan: Plan) -> Line:
    """``1 VM, 128 MiB of memory on host-a, host-b · risk medium``."""
    blast = plan.blast
    parts: list[Line] = [nwords("{n} VM", "{n} VMs", n=len(blast.vms))]
    if blast.memory:
        parts.append(words("{size} of memory", size=Size(blast.memory)))
    if blast.storage:
        parts.append(words("{size} of storage", size=Size(blast.storage)))
    what = join(parts, ", ")
    risk = RISKS[plan.risk]
    if not blast.hosts:
        return words("{what} · risk {risk}", what=what, risk=risk)
    return words("{what} on {hosts} · risk {risk}", what=what, hosts=blast.hosts, risk=risk)


def prediction_text(prediction: Prediction) -> Line:
    """``about 4.2 s, paused for about 30 ms, converges (measured 3 MiB/s dirty)``."""
    parts: list[Line] = []
    if prediction.seconds is not None:
        time = _with_range(prediction.seconds, prediction.least, prediction.most)
        parts.append(words("about {time}", time=time))
    if prediction.downtime is not None:
        time = _with_range(prediction.downtime, prediction.shortest, prediction.longest)
        parts.append(words("paused for about {time}", time=time))
    if prediction.converges is not None:
        parts.append(
            words("converges") if prediction.converges else words("does NOT converge by itself")
        )
    text = join(parts, ", ") or words("nothing to predict")
    return (
        Words("{text} ({basis})", {"text": text, "basis": prediction.basis})
        if prediction.basis
        else text
    )


def _with_range(middle: float, low: float | None, high: float | None) -> Line:
    """``4.2 s (3.1 s to 6 s)``."""
    if low is None or high is None:
        return Words("{time}", {"time": Duration(middle)})
    return words(
        "{time} ({low} to {high})", time=Duration(middle), low=Duration(low), high=Duration(high)
    )


def compared_text(operation: Operation) -> Line:
    """What was predicted of moves beside what they took; '' where either is not known."""
    plan, told = operation.plan, operation.plan.prediction
    moves = list(done_moves((operation,)))
    wanted = [step for step in plan.steps if isinstance(step, MigrateVm)]
    if operation.state is not State.DONE or not moves or told.seconds is None:
        return ""
    if len(moves) != len(wanted):
        return ""  # what was skipped or copied was predicted too
    if len(plan.steps) > 1:
        return nwords(
            "{n} migration took {actual}, predicted {predicted}.",
            "{n} migrations took {actual} added up, predicted {predicted}.",
            n=len(moves),
            actual=Duration(sum(each.seconds for each in moves)),
            predicted=_with_range(told.seconds, told.least, told.most),
        )
    lines: list[Line] = [
        words(
            "Time: {actual}, predicted {predicted}.",
            actual=Duration(moves[0].seconds),
            predicted=_with_range(told.seconds, told.least, told.most),
        )
    ]
    if moves[0].pause is not None and told.downtime is not None:
        lines.append(
            words(
                "Pause: {actual}, predicted {predicted}.",
                actual=Duration(moves[0].pause),
                predicted=_with_range(told.downtime, told.shortest, told.longest),
            )
        )
    return join(lines, "\n")


def _state_lines(operation: Operation) -> list[Element]:
    """What the state has to say, in one paragraph."""
    lines: dict[State, Callable[[], Line]] = {
        State.APPROVED: lambda: _approved_line(operation),
        State.DENIED: lambda: words(
            "{who} denied it: _{why}_", who=who(operation.decided_by), why=operation.outcome
        ),
        State.WITHDRAWN: lambda: words(
            "{who} took it back. Nothing was done. {why}",
            who=who(operation.decided_by),
            why=operation.outcome,
        ),
        State.EXPIRED: lambda: words(
            "Nobody decided in time. Nothing was done. Press Propose again if it is still wanted."
        ),
        State.STALE: lambda: join(
            (words("Nothing was done."), objections_text(operation.objections)), "\n"
        ),
        State.FAILED: lambda: _failure(operation),
        State.CANCELLED: lambda: words(
            "{who} stopped it. {why}", who=who(operation.decided_by), why=operation.outcome
        ),
        State.DONE: lambda: done_line(operation),
    }
    line = lines.get(operation.state)
    found: list[Element] = [Section(line())] if line else []
    if operation.summary is not None and operation.summary.text:
        found.append(Section(prose(operation.summary.text)))
    if Ask.CANCEL in operation.asked and operation.state is State.RUNNING:
        found.append(Section(words("Stopping as soon as it is safe…")))
    return found


def _approved_line(operation: Operation) -> Line:
    if operation.slot is None:
        return words("Approved by {who}. Waiting for its turn.", who=_voters(operation))
    return words(
        "Approved by {who}. It runs {time}; before it begins, the plan, the votes and the rules "
        "are checked again.",
        who=_voters(operation),
        time=slot_text(operation.slot),
    )


def _failure(operation: Operation) -> Words:
    return Words("*{why}*\n{advice}", {"why": operation.outcome, "advice": prose(operation.advice)})


def done_line(operation: Operation) -> Line:
    """How long it took, what was skipped, and what it brought.

    What was measured of steps stands beside each.
    """
    began = operation.began_at or operation.proposed_at
    said: list[Line] = [words("Done in {time}.", time=operation.changed_at - began)]
    if operation.skipped:
        said.append(skipped_text(operation))
    return join((join(said), compared_text(operation), gain_text(operation)), "\n")


def skipped_text(operation: Operation) -> Line:
    """``2 of 6 steps were skipped: …``: each reason once."""
    count = len(operation.skipped)
    why = join(dict.fromkeys(each.why.text for each in operation.skipped[:SAID]))
    said = nwords(
        "{n} of {whole} steps was skipped: {why}",
        "{n} of {whole} steps were skipped: {why}",
        n=count,
        whole=len(operation.plan.steps),
        why=why,
    )
    rest = count - SAID
    return join((said, nwords("And {n} more.", "And {n} more.", n=rest) if rest > 0 else ""))


def gain_text(operation: Operation) -> Line:
    """CPU of the busiest and the idlest host and the score.

    Before, as foretold, as measured and when; '' if none.
    """
    before, foretold, measured = operation.before, operation.foretold, operation.measured
    if before is None or foretold is None or operation.state is not State.DONE:
        return ""
    spans = [_span(before), words("foretold {value}", value=_span(foretold))]
    scores = [_score(before), words("foretold {value}", value=_score(foretold))]
    if measured is None or operation.measured_at is None:
        spans.append(words("not measured yet"))
    else:
        spans.append(words("measured {value}", value=_span(measured)))
        scores.append(words("measured {value} ({time} UTC)", value=_score(measured),
                            time=f"{operation.measured_at:%H:%M:%S}"))  # fmt: skip
    return words(
        "CPU of the busiest and idlest host: {cpu}. Unevenness: {scores}.",
        cpu=join(spans, " → "),
        scores=join(scores, " → "),
    )


def _span(spread: Spread) -> Words:
    return Words(
        "{busiest}/{idlest}", {"busiest": Percent(spread.busiest), "idlest": Percent(spread.idlest)}
    )


def _score(spread: Spread) -> Words:
    return Words("{score}", {"score": Number(spread.unevenness, 3)})


def objections_text(objections: tuple[Objection, ...]) -> Line:
    """Each objection with its remedy, a line each."""
    return bullets(
        join((prose(each.text), prose(each.remedy) if each.remedy else "")) for each in objections
    )


def _reasons(plan: Plan) -> list[Element]:
    found: list[Element] = []
    if plan.reasons:
        found.append(Section(bullets(reason.text for reason in plan.reasons[:8])))
    for first in range(0, len(plan.warnings), 8):  # all of them: they are what is agreed to
        lines = bullets(warning.text for warning in plan.warnings[first : first + 8])
        found.append(Section(lines if first else join((words("*Please note:*"), lines), "\n")))
    return found


def notes(plan: Plan) -> tuple[Section, ...]:
    """What a voter agrees to besides the steps, where the whole plan is not shown."""
    said: list[Line] = []
    if plan.outlook:
        after = join(each.text for each in plan.outlook)
        said.append(words("After it: {outlook}", outlook=after))
    if plan.warnings:
        said += [words("*Please note:*"), bullets(each.text for each in plan.warnings[:NOTED])]
    if (more := len(plan.warnings) - NOTED) > 0:
        said.append(
            nwords("{n} more note: press Details.", "{n} more notes: press Details.", n=more)
        )
    return (Section(join(said, "\n")),) if said else ()


def _picture(plan: Plan) -> list[Element]:
    """Memory of each host that changes, before and after; at most 20 hosts fit a chart."""
    changed = [
        bar for bar in plan.bars if bar.memory_before != bar.memory_after or len(plan.bars) <= 8
    ][:20]
    if not changed:
        return []
    before = tuple(round(bar.memory_before * 100, 1) for bar in changed)
    after = tuple(round(bar.memory_after * 100, 1) for bar in changed)
    return [
        Chart(
            title=words("Memory allocated, before and after"),
            kind="bar",
            labels=tuple(bar.host for bar in changed),
            series=((words("before"), before), (words("after"), after)),
            unit="%",
            summary=join((_bar_text(bar) for bar in changed), "; "),
        )
    ]


def _bar_text(bar: HostBar) -> Line:
    digits = 0 if max(bar.memory_before, bar.memory_after) >= 0.1 else 1  # 1% → 1% tells nothing
    before, after = Percent(bar.memory_before, digits), Percent(bar.memory_after, digits)
    return Words("{host} {before} → {after}", {"host": bar.host, "before": before, "after": after})


def confirm_text(operation: Operation) -> Line:
    """What is asked before a vote.

    The risk and the most dangerous of it first, then how much it touches.
    """
    plan = operation.plan
    kept = MigrateVm | SetMaintenance | HoldHost | WaitForPerson
    work = [step for step in plan.steps if not isinstance(step, kept)]
    return join((
        words("Risk {risk}.", risk=RISKS[plan.risk]),
        *_kinds_of_work(work),
        *(bare(each.text) for each in plan.outlook),
        *(bare(each.text) for each in plan.warnings[:1]),
        _sentence(plan.title) if [step.title for step in work] != [plan.title] else "",
        _sentence(blast_text(plan)),
    ))  # fmt: skip


_MOST_KINDS = 3  # named before a vote, where Slack shows 300 characters in all


def _kinds_of_work(steps: Iterable[Step]) -> Iterator[Line]:
    """The first step of each kind and how many there are; what destroys first."""
    kinds: dict[str, list[Step]] = {}
    for step in sorted(steps, key=lambda each: not each.destroys):
        title = step.title
        kinds.setdefault(title if isinstance(title, str) else title.template, []).append(step)
    for alike in list(kinds.values())[:_MOST_KINDS]:
        others = len(alike) - 1
        yield (
            nwords(
                "{step} and {n} other step like it.",
                "{step} and {n} other steps like it.",
                n=others,
                step=alike[0].title,
            )
            if others
            else _sentence(alike[0].title)
        )
    if more := sum(map(len, list(kinds.values())[_MOST_KINDS:])):
        yield nwords("{n} more step.", "{n} more steps.", n=more)


def _sentence(text: Line) -> Words:
    return Words("{text}.", {"text": text})


def _steps(operation: Operation) -> list[Element]:
    """The checklist.

    Of several steps while it can still come to them, of one alone once work has begun.
    """
    steps = operation.plan.steps
    awaited = operation.state in (State.PROPOSED, State.APPROVED) and len(steps) > 1
    if not awaited and operation.began_at is None:
        return []
    done = {each.index for each in operation.ended}
    measured = {each.index: facts_text(each) for each in operation.ended}
    skipped = {each.index: words("skipped: {why}", why=each.why.text) for each in operation.skipped}
    items = tuple(
        (
            _mark(operation, index, done),
            join((step.title, measured.get(index, ""), skipped.get(index, "")), " · "),
        )
        for index, step in enumerate(steps)
    )
    title = nwords(
        "{done} of {n} step done", "{done} of {n} steps done", n=len(steps), done=len(done)
    )
    return [Checklist(title, items[:50])]


def facts_text(ended: StepEnded) -> Line:
    """What was measured of a step: ``118 MiB sent, 3 passes, pause 101 ms``; '' for nothing."""
    return join((_fact(name, value) for name, value in ended.facts.items()), ", ")


UNDONE = (State.FAILED, State.CANCELLED, State.EXPIRED, State.STALE)
"""States of what ended without being done, and may be proposed again."""


_ONE = {"passes": words("pass")}
"""The labels of facts that count, where there is one."""


def _fact(name: str, value: Fact) -> Line:
    """A number stands before what it counts; what has a unit, or is text, behind its name.

    What is not so is left out.

    A name is the template of its label; ``_`` stands for a space. Of version 0.1 names end in their
    unit.
    """
    label = Words(name.replace("_", " "))
    if isinstance(value, bool):
        return label if value else ""
    if isinstance(value, Words):
        return value
    if isinstance(value, int | float):
        before, _, unit = name.rpartition(" ")
        if before and unit in UNITS:
            return Words(
                "{name} {value} {unit}", {"name": Words(before), "value": str(value), "unit": unit}
            )
        counted = _ONE.get(name, label) if value == 1 else label
        return Words(
            "{value} {name}",
            {"value": str(value) if isinstance(value, int) else value, "name": counted},
        )
    return Words("{name} {value}", {"name": label, "value": value})


def _mark(operation: Operation, index: int, done: set[int]) -> Mark:
    if index in done:
        return Mark.DONE
    if any(each.index == index for each in operation.skipped):
        return Mark.SKIPPED
    if index in operation.under_way:
        return Mark.FAILED if operation.state is State.FAILED else Mark.DOING
    return Mark.TODO


def _progress_of(operation: Operation, progress: Progress | None) -> list[Element]:
    """How far a running operation is; of one that waits, what it waits for and no bar of before."""
    if progress is None:
        return []
    if not waits(operation):
        return _progress(progress)
    parts = (progress, *progress.beside)
    if operation.waiting is not None:
        # What another step said last is not what it waits for
        step = operation.plan.steps[operation.waiting].title
        parts = tuple(part for part in parts if part.title == step)
    said: list[Element] = [Section(part.text) for part in parts if part.text]
    return said[:1]


def _progress(progress: Progress) -> list[Element]:
    """One bar or line; of steps side by side, one each under the step's name."""
    if not progress.beside:
        return _part(progress)
    parts = (progress, *progress.beside)
    named = [
        [Context((part.title,)), *_part(part)] if part.title else _part(part)
        for part in parts[:BARS]
    ]
    return [element for shown in named for element in shown]


def _part(progress: Progress) -> list[Element]:
    if progress.job is not None:
        return [Bar(progress.job.fraction, job_text(progress.job))]
    return [Section(progress.text)] if progress.text else []


def job_text(job: Job) -> Line:
    """``copying · 812 MiB/s · 1.2 GiB left · pass 3 · throttled 20 % · about 4 s to go``."""
    parts: list[Line] = [said_elsewhere(job.phase)]
    if job.rate:
        parts.append(Words("{rate}", {"rate": Rate(job.rate)}))
    parts.append(words("{size} left", size=Size(job.remaining)))
    if job.iteration > 1:
        parts.append(words("pass {number}", number=job.iteration))
    if job.throttle:
        parts.append(words("throttled {share}", share=Percent(job.throttle / 100)))
    if job.eta is not None:
        parts.append(words("about {time} to go", time=Duration(job.eta)))
    return join(parts, " · ")


def _buttons(
    operation: Operation, progress: Progress | None, pickable: Collection[str]
) -> list[Element]:
    value = value_of(operation)
    if operation.state is State.PROPOSED:
        some = operation.action in pickable and len(operation.plan.steps) > 1
        picking = (Button(words("Pick moves…"), PICK, value),) if some else ()
        return [Buttons((*voting_buttons(operation), *picking))]
    if operation.state is State.APPROVED:
        moving = () if operation.slot is None else (Button(words("Move…"), MOVE, value),)
        return [Buttons((_cancel(operation), *moving, _details(value)))]
    if operation.state is State.RUNNING:
        asks = progress.asks if progress else frozenset({Ask.CANCEL})
        shown = (
            [_cancel(operation)] if Ask.CANCEL in asks and Ask.CANCEL not in operation.asked else []
        )
        if Ask.POSTCOPY in asks and Ask.POSTCOPY not in operation.asked:
            shown.append(_postcopy(value))
        if operation.waiting is not None:
            shown.insert(0, _go_on(operation, operation.waiting))
        if operation.held:
            shown.insert(0, _release(operation))
        if operation.votes_missing:
            shown.insert(0, _approve(operation))
        return [Buttons((*shown, _details(value)))]
    if operation.state is State.DONE:
        return [Buttons((*_remedies(operation), _details(value)))]
    if operation.state in UNDONE:
        return [
            Buttons(
                (
                    *_remedies(operation),
                    Button(words("Propose again"), "op.again", value),
                    _details(value),
                )
            )
        ]
    return [Buttons((_details(value),))]


def _remedies(operation: Operation) -> tuple[Button, ...]:
    """What people are asked to choose from.

    Each types a command, which is planned and voted on like any other.
    """
    urgent = tuple(
        Button(each.text, "run", each.command, Style.DANGER) for each in operation.remedies[:3]
    )
    left = operation.summary.remedies if operation.summary is not None else ()
    return (*urgent, *(Button(each.text, "run", each.command, Style.PRIMARY) for each in left[:3]))


def _approve(operation: Operation) -> Button:
    confirm = Confirm(
        words("Approve {id}?", id=operation.id),
        confirm_text(operation),
        words("Approve"),
        words("Not yet"),
    )
    return Button(words("Approve"), "op.approve", value_of(operation), Style.PRIMARY, confirm)


def voting_buttons(operation: Operation, *, mine: bool = True) -> tuple[Button, ...]:
    """Approve, Deny…, Details, Withdraw.

    The last only where the requester may be among the readers.
    """
    value = value_of(operation)
    approve = _approve(operation)
    withdraw = (Button(words("Withdraw"), "op.withdraw", value),) if mine else ()
    return (
        approve,
        Button(words("Deny…"), "op.deny", value, Style.DANGER),
        _details(value),
        *withdraw,
    )


def move_form(operation: Operation) -> Form:
    """Ask for another time."""
    intro: list[Element] = [Section(words("{title}", title=operation.plan.title))]
    if operation.slot is not None:
        intro.append(Section(words("Now: {time}", time=slot_text(operation.slot))))
    if operation.votes:
        intro.append(Section(words("Votes were for this time; they begin anew.")))
    when = TextField(
        "when",
        words("New time"),
        hint=words("For example sat 22:00, tomorrow 6:30, in 2h, now, or window NAME."),
    )
    title = words("Move {id}", id=operation.id)
    return Form(MOVE, title, words("Move it"), (when,), tuple(intro), value_of(operation))


def moved_note(operation: Operation) -> Card:
    """Told in the thread and to the requester: it has another time."""
    time = slot_text(operation.slot) if operation.slot is not None else ""
    line = words("{id} was moved: it runs {time}.", id=operation.id, time=time)
    if operation.state is not State.PROPOSED:
        return note_card(line)
    more = nwords(
        "It waits for {n} vote for this time.",
        "It waits for {n} votes for this time.",
        n=operation.votes_missing,
    )
    return note_card(line, more)


def _details(value: str) -> Button:
    return Button(words("Details"), "op.details", value)


def _cancel(operation: Operation) -> Button:
    if operation.state is State.APPROVED:
        text = words("It has not begun yet, so nothing will be done.")
    else:
        text = words(
            "Steps that are done stay done. The step under way is undone, if that is still "
            "possible."
        )
    confirm = Confirm(
        words("Cancel {id}?", id=operation.id), text, words("Cancel it"), words("Let it run")
    )
    return Button(words("Cancel"), "op.cancel", value_of(operation), Style.DANGER, confirm)


def _go_on(operation: Operation, index: int) -> Button:
    following = operation.plan.steps[index + 1 : index + 2]
    then = (
        words("Next: {step}.", step=following[0].title)
        if following
        else words("Nothing else is left to do.")
    )
    confirm = Confirm(words("Go on?"), then, words("Go on"), words("Not yet"))
    return Button(words("Continue"), GO_ON, f"{operation.id}:{index}", Style.PRIMARY, confirm)


def _release(operation: Operation) -> Button:
    told = join((operation.held, left_text(operation)))
    confirm = Confirm(words("Go on?"), told, words("Go on"), words("Not yet"))
    return Button(words("Continue"), GO_ON, f"{operation.id}:{HELD}", Style.PRIMARY, confirm)


def waiting_text(step: WaitForPerson, until: datetime) -> Line:
    """While it waits for a person."""
    return words(
        "{step}. Waiting for somebody to press Continue, until {until}.",
        step=step.title,
        until=until,
    )


def pause_note(operation: Operation, step: WaitForPerson) -> Card:
    """Told in the thread and to the requester: somebody is needed, who can continue right here."""
    index = next(
        (
            number
            for number, each in enumerate(operation.plan.steps)
            if each == step and number in operation.todo and number not in operation.continued
        ),
        None,
    )
    text = words("{id} waits for a person: {step}.", id=Ref(operation.id), step=step.title)
    line = words("✋ {text} Then press Continue. Cancel ends it here.", text=text)
    buttons = (_go_on(operation, index),) if index is not None else ()
    return Card(text=text, elements=(Section(line), Buttons((*buttons, _cancel(operation)))))


def held_text(operation: Operation) -> Line:
    """While an operation that was held waits for a person."""
    return join((operation.held, words("Nothing more is done until somebody presses Continue.")))


def silent_text(silence: timedelta) -> Line:
    """Why an operation is held."""
    return words(
        "Drover did not run for {time}, and the hosts may have changed meanwhile.", time=silence
    )


def too_late_card(text: str, age: timedelta, *, by_chat: bool = False) -> Card:
    """Told to a person whose request lay unhandled for long, here or in the chat."""
    advice = words("Ask again if it is still wanted.")
    if by_chat:
        told = words(
            "{command} of {time} ago was not carried out: it arrived only now.",
            command=Code(text),
            time=age,
        )
        return note_card(told, advice)
    if not text:
        return note_card(
            words("Your click of {time} ago was not carried out: Drover did not run.", time=age),
            advice,
        )
    told = words(
        "{command} of {time} ago was not carried out: Drover did not run.",
        command=Code(text),
        time=age,
    )
    return note_card(told, advice)


def window_over_text(slot: Slot) -> Line:
    """Why an operation is held at the end of its maintenance window."""
    return words(
        "The maintenance window “{window}” ended at {at}.", window=slot.window, at=slot.end
    )


def held_note(operation: Operation) -> Card:
    """Told in the thread and to the requester."""
    said = Words("{id}: {said}", {"id": Ref(operation.id), "said": operation.held})
    line = words("✋ {said} Look at the hosts, then press Continue. Cancel ends it.", said=said)
    return Card(
        text=said, elements=(Section(line), Buttons((_release(operation), _cancel(operation))))
    )


def nobody_came(operation: Operation) -> tuple[Line, Line]:
    """Text and advice: an operation that was held was not let go on."""
    text = join((words("Nobody let it go on."), left_text(operation)))
    return text, words("Look at the hosts, then propose again what is missing.")


def votes_text(operation: Operation) -> Line:
    """While a running operation waits for votes."""
    return nwords(
        "Waiting for {n} more vote: rule “{rule}” asks for it before anything more is begun.",
        "Waiting for {n} more votes: rule “{rule}” asks for them before anything more is begun.",
        n=operation.votes_missing,
        rule=operation.ruling.rule,
    )


def more_votes_note(operation: Operation) -> Card:
    """Told in the thread: what is left of the plan takes votes that were not given."""
    roles = Names(operation.ruling.approvers, Join.OR)
    advice = words(
        "Who has the role {roles} can press Approve in its message; Cancel ends it.", roles=roles
    )
    return note_card(id_line(operation, votes_text(operation)), advice)


def nobody_voted(operation: Operation) -> tuple[Line, Line]:
    """Text and advice: the votes for the rest did not come in time."""
    late = nwords(
        "{n} vote for the rest did not come in time.",
        "{n} votes for the rest did not come in time.",
        n=operation.votes_missing,
    )
    return join((late, left_text(operation))), words("Propose again what is missing.")


def may_not_go_on(operation: Operation, why: Line) -> tuple[Line, Line]:
    """Text and advice: today's rules refuse the rest."""
    return join((why, left_text(operation))), words(
        "Somebody who may must propose again what is missing."
    )


def frozen_end(operation: Operation, why: Line) -> tuple[Line, Line]:
    """Text and advice: a freeze that does not say when it ends."""
    text = join((words("A freeze began: {why}", why=why), left_text(operation)))
    return text, words("Propose again what is missing after the freeze.")


def frozen_text(why: Line, until: datetime) -> Line:
    """While a freeze lasts."""
    return words(
        "Waiting until {until} for the end of a freeze: {why} Cancel ends it here.",
        until=until,
        why=why,
    )


def left_text(operation: Operation) -> Line:
    """What is true of the steps now: how many are done, and that the rest was not begun."""
    return nwords(
        "{done} of {n} step are done, the rest was not begun.",
        "{done} of {n} steps are done, the rest was not begun.",
        n=len(operation.plan.steps),
        done=len(operation.ended),
    )


def not_begun_text(operation: Operation) -> Line:
    """What is true of an operation that is stopped.

    A step of one that was held had begun before.
    """
    if not operation.under_way:
        return words("The remaining steps were not begun.")
    titles = tuple(operation.plan.steps[index].title for index in sorted(operation.under_way))
    return words(
        "“{steps}” had begun before; look at the hosts. The other steps were not begun.",
        steps=Names(titles, Join.AND),
    )


def _postcopy(value: str) -> Button:
    confirm = Confirm(
        words("Switch to post-copy?"),
        words(
            "The VM runs on the target at once and fetches its memory; if the network fails "
            "now, the VM is lost."
        ),
        words("Switch"),
        words("Keep copying"),
    )
    return Button(words("Post-copy now"), "op.postcopy", value, Style.PLAIN, confirm)


def _voters(operation: Operation) -> Person | Line:
    return who(operation.decided_by) if operation.votes else words("the policy (no vote needed)")


def _small_print(operation: Operation) -> Context:
    ruling = operation.ruling
    lines: list[Line] = [
        Words("*{id}* · {votes}", {"id": operation.id, "votes": _votes_of(operation)})
    ]
    lines += [words("✓ {who} {at}", who=who(vote.by), at=vote.at) for vote in operation.votes[:5]]
    lines.append(
        words("rule “{rule}” · plan `{digest}`", rule=ruling.rule, digest=operation.digest)
    )
    if operation.replaces:
        lines.append(words("replaces {id}", id=operation.replaces))
    return Context(tuple(lines))


def _votes_of(operation: Operation) -> Words:
    count = len(operation.votes)
    return nwords(
        "{count} of {n} vote", "{count} of {n} votes", n=operation.ruling.votes, count=count
    )


def _roles(roles: Sequence[str]) -> Names | Words:
    return Names(tuple(roles), Join.OR) if roles else words("nobody")


def details_card(operation: Operation, now: datetime) -> Card:
    """Everything of the plan: all steps, reasons, warnings, and what the policy asks."""
    plan, ruling = operation.plan, operation.ruling
    steps = (
        [_numbered_step(index, step.title) for index, step in enumerate(plan.steps, 1)]
        if len(plan.steps) > 1
        else []
    )
    waited = (now - operation.proposed_at).total_seconds()
    elements: list[Element] = [
        Section(join((Words("*{title}*", {"title": plan.title}), *steps), "\n")),
        Section(
            words(
                "Blast radius: {blast}\nPrediction: {told}",
                blast=blast_text(plan),
                told=prediction_text(plan.prediction),
            )
        ),
        *([Section(join((each.text for each in plan.outlook), "\n"))] if plan.outlook else []),
        *_changes(plan, most=len(plan.changes)),
        *_reasons(plan),
        *_picture(plan),
        Divider(),
        Section(
            nwords(
                "Needs {n} vote (role: {roles}); the requester's own vote does not count. "
                "Proposed {at}, rule “{rule}”.",
                "Needs {n} votes (role: {roles}); the requester's own vote does not count. "
                "Proposed {at}, rule “{rule}”.",
                n=ruling.votes,
                roles=_roles(ruling.roles_at(waited)),
                at=operation.proposed_at,
                rule=ruling.rule,
            )
        ),
        Context(
            (
                words(
                    "plan hash `{digest}`: a vote is for exactly this plan", digest=operation.digest
                ),
            )
        ),
    ]
    title = words("{id} in full", id=operation.id)
    return Card(text=id_line(operation, plan.title), title=title, elements=tuple(elements))


def _numbered_step(number: int, title: Line) -> Words:
    return Words("{number}. {title}", {"number": number, "title": title})


def pick_form(operation: Operation) -> Form:
    """Which steps of a plan are wanted; all are ticked at first."""
    steps = [
        (str(index), _numbered_step(index + 1, step.title))
        for index, step in enumerate(operation.plan.steps)
    ]
    size = BOXES if len(steps) <= FEW else 10 * BOXES
    fields = []
    for start in range(0, len(steps), size):
        some = tuple(steps[start : start + size])
        label = words("Steps {first} to {last}", first=start + 1, last=start + len(some))
        fields.append(ManyField(f"steps-{start}", label, some, tuple(value for value, _ in some)))
    intro = (Section(words("What is picked becomes a proposal of its own, and votes begin anew.")),)
    title = words("Pick of {id}", id=operation.id)
    return Form(PICK, title, words("Propose these"), tuple(fields), intro, value_of(operation))


def refused_card(refused: Refused) -> Card:
    """Why there is no plan: every objection with its remedy."""
    why = objections_text(refused.objections)
    line = join((Words("*{title}*", {"title": refused.heading}), why), "\n")
    return Card(text=join((refused.heading, why)), elements=(Section(line),), not_done=True)


def may_not_card(may_not: MayNot) -> Card:
    """Why the person may not."""
    return forbidden_card(may_not.text, may_not.advice)


def forbidden_card(text: Line, advice: Line = "") -> Card:
    """A short answer to somebody who may not do what they tried; the audit trail keeps it."""
    return replace(note_card(text, advice), refused=True)


def unable_card(operation: Operation, why: Message) -> Card:
    """Why nothing can be done with an operation here."""
    advice = words("Load the plugin again, or start the newer Drover that wrote it.")
    told = words(
        "{id} ({title}) is left alone: {why}.", id=operation.id, title=operation.plan.title, why=why
    )
    return note_card(told, advice)


def not_now_card(operation: Operation, why: Message) -> Card:
    """Why nobody can approve an operation now."""
    advice = words("{id} can be approved when the rules allow it again.", id=operation.id)
    return note_card(words("Not now: {why}", why=why), advice)


def note_card(text: Line, advice: Line = "") -> Card:
    """A short answer to one person."""
    return error_card(text, advice)


def twin_card(operation: Operation, *, mine: bool) -> Card:
    """Told to whoever asks for what is proposed already; others can decide on it right here."""
    said = words(
        "*{id}* proposes this already: {title}. {who} asked for it, {at}. No second proposal was "
        "made.",
        id=Ref(operation.id),
        title=operation.plan.title,
        who=who(operation.origin.by),
        at=operation.proposed_at,
    )
    text = words("{id} proposes this already", id=operation.id)
    buttons = (
        (
            _details(value_of(operation)),
            Button(words("Withdraw"), "op.withdraw", value_of(operation)),
        )
        if mine
        else voting_buttons(operation, mine=False)
    )
    return Card(text=text, elements=(Section(said), *notes(operation.plan), Buttons(buttons)))


def proposed_note(operation: Operation, slash: str) -> Card:
    """Told to the requester, where they asked."""
    title = operation.plan.title
    if operation.slot is not None:
        return _scheduled_note(operation, operation.slot, slash)
    if not operation.ruling.votes:
        line = words(
            "*{id}* needs no vote and starts now: {title}.", id=Ref(operation.id), title=title
        )
        return Card(
            text=words("{id} starts now: {title}", id=operation.id, title=title),
            elements=(Section(line), *notes(operation.plan)),
        )
    line = nwords(
        "*{id}* is proposed: {title}. It waits for {n} vote (role: {roles}) in the approvals "
        "channel. See `{slash} ops`.",
        "*{id}* is proposed: {title}. It waits for {n} votes (role: {roles}) in the approvals "
        "channel. See `{slash} ops`.",
        n=operation.ruling.votes,
        id=Ref(operation.id),
        title=title,
        roles=_roles(operation.ruling.approvers),
        slash=slash,
    )
    return Card(
        text=words("{id} is proposed: {title}", id=operation.id, title=title),
        elements=(Section(line), *notes(operation.plan)),
    )


def _scheduled_note(operation: Operation, slot: Slot, slash: str) -> Card:
    """Told to the requester of something with a time, where they asked."""
    title, time = operation.plan.title, slot_text(slot)
    text = words("{id} is proposed: {title}", id=operation.id, title=title)
    if not operation.ruling.votes:
        said = words(
            "*{id}* needs no vote and runs {time}: {title}.",
            id=operation.id,
            time=time,
            title=title,
        )
    else:
        said = nwords(
            "*{id}* is proposed: {title}. It waits for {n} vote (role: {roles}) and runs {time}.",
            "*{id}* is proposed: {title}. It waits for {n} votes (role: {roles}) and runs {time}.",
            n=operation.ruling.votes,
            id=operation.id,
            title=title,
            roles=_roles(operation.ruling.approvers),
            time=time,
        )
    how = words(
        "Another time: {command}. All with a time: `{slash} ops --scheduled`.",
        command=Code(f"{slash} reschedule {operation.id} tomorrow 22:00"),
        slash=slash,
    )
    return Card(text=text, elements=(Section(join((said, how))), *notes(operation.plan)))


def ended_note(operation: Operation) -> Card:
    """Told to the requester, and in the thread, when it is over."""
    headline = headline_of(operation)
    elements: list[Element] = [
        Section(Words("*{id}* {headline}", {"id": Ref(operation.id), "headline": headline}))
    ]
    elements += _state_lines(operation)
    if buttons := _remedies(operation):
        elements.append(Buttons(buttons))
    return Card(text=id_line(operation, headline), elements=tuple(elements))


def successor_note(operation: Operation) -> Card:
    """Told in the thread of the operation that it follows."""
    title = operation.plan.title
    line = words("*{id}* proposes it again: {title}", id=Ref(operation.id), title=title)
    text = words("{id} proposes it again: {title}", id=operation.id, title=title)
    return Card(text=text, elements=(Section(line),))


def agents_note(operation: Operation) -> Card:
    """Told to the person for whom an agent proposed something."""
    said = words(
        "{agent} proposed {id} in your name: {title}.",
        agent=words("The agent “{agent}”", agent=operation.origin.agent)
        if operation.origin.agent
        else words("An agent"),
        id=operation.id,
        title=operation.plan.title,
    )
    advice = words("People vote on it. If you do not want it, press Withdraw.")
    value = value_of(operation)
    row = Buttons((_details(value), Button(words("Withdraw"), "op.withdraw", value)))
    return Card(text=said, elements=(Section(join((said, advice), "\n")), row))


def gain_note(operation: Operation) -> Card:
    """Told in the thread when what an operation brought has been measured."""
    text = gain_text(operation)
    return Card(text=id_line(operation, text), elements=(Section(text),))


def vote_note(operation: Operation, vote: Vote) -> Card:
    """Told in the thread after each vote."""
    votes = _votes_of(operation)
    line = words("{who} approved {id} ({votes}).", who=who(vote.by), id=operation.id, votes=votes)
    return Card(text=id_line(operation, votes), elements=(Section(line),))


def escalation_card(operation: Operation, people: Sequence[str]) -> Card:
    """Told in the thread, once, when the first approvers have let it lie.

    To the fallback approvers by name.
    """
    roles = Names(operation.ruling.fallback, Join.OR)
    line = nwords(
        "{people} *{id}* still waits for {n} vote: {title}. From now on {roles} may decide too.",
        "{people} *{id}* still waits for {n} votes: {title}. From now on {roles} may decide too.",
        n=operation.votes_missing,
        people=join((Words("{who}", {"who": who(user)}) for user in people[:MENTIONED]), " "),
        id=operation.id,
        title=operation.plan.title,
        roles=roles,
    )
    text = words("{id} still waits; {roles} may decide now", id=operation.id, roles=roles)
    return Card(text=text, elements=(Section(line),))


def votes_due_card(operation: Operation, slot: Slot, people: Sequence[str]) -> Card:
    """Told in the thread, and to its requester: its time is near, and nobody approved it."""
    line = nwords(
        "{people} *{id}* still waits for {n} vote: {title}. It runs {time} if it is approved by "
        "{end}; otherwise it expires.",
        "{people} *{id}* still waits for {n} votes: {title}. It runs {time} if it is approved by "
        "{end}; otherwise it expires.",
        n=operation.votes_missing,
        people=join((Words("{who}", {"who": who(user)}) for user in people[:MENTIONED]), " "),
        id=operation.id,
        title=operation.plan.title,
        time=slot_text(slot),
        end=slot.end,
    )
    text = nwords(
        "{id} runs soon and still waits for {n} vote",
        "{id} runs soon and still waits for {n} votes",
        n=operation.votes_missing,
        id=operation.id,
    )
    return Card(text=text, elements=(Section(line),))


def overdue_card(operation: Operation, since: timedelta) -> Card:
    """Told in the thread, once, when it waits for its turn or runs much longer than foretold."""
    line = words(
        "*{id}* is {state} for {time} already. {advice}",
        id=operation.id,
        state=OPERATION_STATES[operation.state],
        time=since,
        advice=words("The button Cancel stops it; nothing is lost by waiting.")
        if operation.state is State.RUNNING
        else words(
            "Something before it on the same host takes long, or the workers are stuck: see "
            "`/kvm ops --running`."
        ),
    )
    text = words(
        "{id} is {state} for long", id=operation.id, state=OPERATION_STATES[operation.state]
    )
    return Card(text=text, elements=(Section(line),))


def deny_form(operation: Operation) -> Form:
    """Asks why."""
    return Form(
        action="op.deny",
        title=words("Deny {id}", id=operation.id),
        submit=words("Deny"),
        fields=(
            TextField(
                "why",
                words("Why?"),
                hint=words("The requester and the audit trail read this."),
                long=True,
            ),
        ),
        intro=(Section(words("{title}", title=operation.plan.title)),),
        hidden=value_of(operation),
    )


def settled_text(operation: Operation) -> Words:
    """What a click on an operation that has moved on is told."""
    if operation.state is State.APPROVED and operation.votes:
        return words(
            "{id} is already approved by {who} at {at}.",
            id=operation.id,
            who=who(operation.votes[-1].by),
            at=operation.votes[-1].at,
        )
    if operation.decided_by and operation.decided_by != BOT:
        return words(
            "{id} is {state} (decided by {who}). Nothing was changed.",
            id=operation.id,
            state=OPERATION_STATES[operation.state],
            who=who(operation.decided_by),
        )
    return words(
        "{id} is {state}. Nothing was changed.",
        id=operation.id,
        state=OPERATION_STATES[operation.state],
    )


def only_proposed_card(operation: Operation, slash: str, by: str) -> Card:
    """What cannot be cancelled, for nothing of it runs or will run yet.

    ``by``: who tried. Who asked for it can withdraw it, and others can deny it.
    """
    own = by == operation.origin.by
    line = Code(f"{slash} {'withdraw' if own else 'deny'} {operation.id}")
    return note_card(
        words("{id} is only proposed: nothing of it runs.", id=operation.id),
        words("Take it back with {command}.", command=line)
        if own
        else words("Deny it with {command}.", command=line),
    )


def settled_card(operation: Operation) -> Card:
    """``settled_text`` as an answer."""
    text = words("{id} is {state}", id=operation.id, state=OPERATION_STATES[operation.state])
    told: Message = settled_text(operation)
    if operation.state in UNDONE:
        line = Code(f"/kvm retry {operation.id}")
        told = join((told, words("{command} proposes it again.", command=line)))
    return Card(text=text, elements=(Section(told),), not_done=True)
