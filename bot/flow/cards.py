"""Every sentence the core says about operations: the proposal, its progress and its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
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
    joined,
    prose,
    words,
)
from bot.domain.cluster import Job
from bot.domain.operation import BOT, Ask, Fact, Operation, Progress, State, StepEnded, Vote
from bot.domain.plan import HostBar, Objection, Plan, Prediction, Refused, Spread
from bot.domain.policy import MayNot
from bot.domain.steps import MigrateVm, SetMaintenance, WaitForPerson
from bot.domain.words import bytes_text, duration_text, plural

PICK = "op.pick"
GO_ON = "op.continue"
HELD = "held"  # in the value of Continue: what waits is the whole operation
CONFIRM = 300  # characters of a question before a click
BOXES = 10  # steps under one heading of the dialog that picks some…
FEW = 50  # …while they are few; then lists of a hundred
UNITS = ("ms", "s", "%")  # what the name of a fact that version 0.1 stored may end with
MENTIONED = 20  # people called by name in one message
SAID = 5  # reasons told in one sentence
BARS = 6  # steps whose progress is shown side by side; the checklist has them all

_MENTION = re.compile(r"<@([UW][A-Z0-9]+)>")

HEADLINES = {
    State.PROPOSED: "Approve? {title}",
    State.APPROVED: "Approved: {title}",
    State.RUNNING: "Running: {title}",
    State.DONE: "Done: {title}",
    State.FAILED: "Failed: {title}",
    State.CANCELLED: "Cancelled: {title}",
    State.DENIED: "Denied: {title}",
    State.WITHDRAWN: "Withdrawn: {title}",
    State.EXPIRED: "Expired: {title}",
    State.STALE: "Not done, the cluster changed: {title}",
}


def who(user: str) -> Person | str:
    """A mention, or the bot's own name."""
    return "Drover" if user == BOT else Person(user)


def value_of(operation: Operation) -> str:
    """What buttons carry: the operation's id and the digest of the plan that was seen. It proves nothing."""
    return f"{operation.id}:{operation.plan.digest}"


def operation_card(operation: Operation, progress: Progress | None = None, *, pickable: Collection[str] = ()) -> Card:
    """The one message of an operation, whatever its state; of a plan of a ``pickable`` action people may pick."""
    headline = HEADLINES[operation.state].format(title=operation.plan.title)
    elements: list[Element] = [_facts(operation)]
    elements += _state_lines(operation)
    if operation.open_to_votes:
        elements += [*_attachment(operation), *_reasons(operation.plan)]
    if operation.state is State.PROPOSED:
        elements += _picture(operation.plan)
    elements += _steps(operation)
    if operation.anew:
        elements.append(Context(tuple(f"Planned anew {str(why).rstrip(':')}." for why in operation.anew[-SAID:])))
    if operation.state is State.RUNNING and progress is not None:
        elements += _progress(progress)
    elements += _buttons(operation, progress, pickable)
    elements.append(_small_print(operation))
    return Card(text=f"{operation.id}: {headline}", title=headline, elements=tuple(elements))


NOT_PROPOSED = "This cannot be proposed."


def attached(operation: Operation) -> tuple[str, ...]:
    """The whole plan in parts, when its message does not show all of it."""
    return whole.attached(operation.plan, operation.origin.command, operation.origin.reason)


def _attachment(operation: Operation) -> list[Element]:
    count = len(attached(operation))
    if not count:
        return []
    text = "*Not all of it fits here.* Read the whole plan in the thread, {parts}, before you decide."
    return [Section(words(text, parts=plural(count, "message")))]


def whole_card(operation: Operation, number: int, count: int, text: str) -> Card:
    """A part of the whole plan, beneath its message."""
    title = f"{operation.id} in full, {number} of {count}"
    return Card(text=title, title=title, elements=(Listing(text),))


def _facts(operation: Operation) -> Fields:
    plan = operation.plan
    pairs: list[tuple[str, Line]] = [
        ("Requested by", words("{who}", who=who(operation.origin.by))),
        ("Command", words("`{command}`", command=operation.origin.command)),
        ("Blast radius", blast_text(plan)),
    ]
    if plan.prediction != Prediction():
        pairs.append(("Prediction", prediction_text(plan.prediction)))
    if operation.origin.reason:
        pairs.append(("Reason", spoken(operation.origin.reason)))
    if operation.state is State.PROPOSED:
        pairs.append(("Expires", words("{at}", at=operation.expires_at)))
    return Fields(tuple(pairs))


def spoken(text: str) -> Words:
    """What a person typed; whom it mentions is shown by name, all else of it stays inert."""
    parts = _MENTION.split(text)
    names = {f"p{index}": Person(part) if index % 2 else part for index, part in enumerate(parts)}
    return Words("".join(f"{{{name}}}" for name in names), names)


def blast_text(plan: Plan) -> str:
    """``1 VM, 128 MiB of memory, on host-a and host-b · risk medium``."""
    parts = [plural(len(plan.blast.vms), "VM")]
    if plan.blast.memory:
        parts.append(f"{bytes_text(plan.blast.memory)} of memory")
    if plan.blast.storage:
        parts.append(f"{bytes_text(plan.blast.storage)} of storage")
    where = f" on {', '.join(plan.blast.hosts)}" if plan.blast.hosts else ""
    return f"{', '.join(parts)}{where} · risk {plan.risk}"


def prediction_text(prediction: Prediction) -> str:
    """``about 4.2 s, paused for about 30 ms, converges (measured 3 MiB/s dirty)``."""
    parts = []
    if prediction.seconds is not None:
        parts.append(f"about {duration_text(prediction.seconds)}")
    if prediction.downtime is not None:
        parts.append(f"paused for about {duration_text(prediction.downtime)}")
    if prediction.converges is not None:
        parts.append("converges" if prediction.converges else "does NOT converge by itself")
    text = ", ".join(parts) or "nothing to predict"
    return f"{text} ({prediction.basis})" if prediction.basis else text


def _state_lines(operation: Operation) -> list[Element]:
    """What the state has to say, in one paragraph."""
    lines: dict[State, Callable[[], Line]] = {
        State.APPROVED: lambda: words("Approved by {who}. Waiting for its turn.", who=_voters(operation)),
        State.DENIED: lambda: words("{who} denied it: _{why}_", who=who(operation.decided_by), why=operation.outcome),
        State.WITHDRAWN: lambda: words(
            "{who} took it back. Nothing was done. {why}", who=who(operation.decided_by), why=operation.outcome
        ),
        State.EXPIRED: lambda: "Nobody decided in time. Nothing was done. Press Propose again if it is still wanted.",
        State.STALE: lambda: prose(f"Nothing was done.\n{objections_text(operation.objections)}"),
        State.FAILED: lambda: _failure(operation),
        State.CANCELLED: lambda: words("{who} stopped it. {why}", who=who(operation.decided_by), why=operation.outcome),
        State.DONE: lambda: done_line(operation),
    }
    line = lines.get(operation.state)
    found: list[Element] = [Section(line())] if line else []
    if Ask.CANCEL in operation.asked and operation.state is State.RUNNING:
        found.append(Section("Stopping as soon as it is safe…"))
    return found


def _failure(operation: Operation) -> Words:
    advice = prose(operation.advice)
    return Words(f"*{{why}}*\n{advice.template}", {**advice.args, "why": operation.outcome})


def done_line(operation: Operation) -> Words:
    """How long it took, what was skipped, and what it brought; what was measured of steps stands beside each."""
    began = operation.began_at or operation.proposed_at
    parts = [f"Done in {duration_text((operation.changed_at - began).total_seconds())}."]
    if operation.skipped:
        parts.append(skipped_text(operation))
    return words("{said}{gain}", said=" ".join(parts), gain=f"\n{told}" if (told := gain_text(operation)) else "")


def skipped_text(operation: Operation) -> str:
    """``2 of 6 steps were skipped: …``: each reason once."""
    count, whole = len(operation.skipped), len(operation.plan.steps)
    why = " ".join(dict.fromkeys(str(each.why.text) for each in operation.skipped[:SAID]))
    more = f" And {count - SAID} more." if count > SAID else ""
    return f"{count} of {plural(whole, 'step')} {'was' if count == 1 else 'were'} skipped: {why}{more}"


def gain_text(operation: Operation) -> str:
    """CPU of the busiest and the idlest host and the score: before, as foretold, as measured and when; '' if none."""
    before, foretold, measured = operation.before, operation.foretold, operation.measured
    if before is None or foretold is None or operation.state is not State.DONE:
        return ""
    spans = [_span(before), f"foretold {_span(foretold)}"]
    scores = [f"{before.unevenness:.3f}", f"foretold {foretold.unevenness:.3f}"]
    if measured is None or operation.measured_at is None:
        spans.append("not measured yet")
    else:
        spans.append(f"measured {_span(measured)}")
        scores.append(f"measured {measured.unevenness:.3f} ({operation.measured_at:%H:%M:%S} UTC)")
    return f"CPU of the busiest and idlest host: {' → '.join(spans)}. Unevenness: {' → '.join(scores)}."


def _span(spread: Spread) -> str:
    return f"{spread.busiest:.0%}/{spread.idlest:.0%}"


def objections_text(objections: tuple[Objection, ...]) -> str:
    """Each objection with its remedy, a line each."""
    return "\n".join(f"• {each.text} {each.remedy}".strip() for each in objections)


def _reasons(plan: Plan) -> list[Element]:
    found: list[Element] = []
    if plan.reasons:
        found.append(Section(prose("\n".join(f"• {reason.text}" for reason in plan.reasons[:8]))))
    for first in range(0, len(plan.warnings), 8):  # all of them: they are what is agreed to
        lines = prose("\n".join(f"• {warning.text}" for warning in plan.warnings[first : first + 8]))
        head = "" if first else "*Please note:*\n"
        found.append(Section(Words(f"{head}{lines.template}", lines.args)))
    return found


def _picture(plan: Plan) -> list[Element]:
    """Memory of each host that changes, before and after; at most 20 hosts fit a chart."""
    changed = [bar for bar in plan.bars if bar.memory_before != bar.memory_after or len(plan.bars) <= 8][:20]
    if not changed:
        return []
    before = tuple(round(bar.memory_before * 100, 1) for bar in changed)
    after = tuple(round(bar.memory_after * 100, 1) for bar in changed)
    return [
        Chart(
            title="Memory allocated, before and after",
            kind="bar",
            labels=tuple(bar.host for bar in changed),
            series=(("before", before), ("after", after)),
            unit="%",
            summary="; ".join(_bar_text(bar) for bar in changed),
        )
    ]


def _bar_text(bar: HostBar) -> str:
    digits = 0 if max(bar.memory_before, bar.memory_after) >= 0.1 else 1  # 1% → 1% tells nothing
    return f"{bar.host} {bar.memory_before:.{digits}%} → {bar.memory_after:.{digits}%}"


def confirm_text(operation: Operation) -> str:
    """What is asked before a vote: the risk and the most dangerous of it first, then how much it touches."""
    plan = operation.plan
    worst = [str(step.title) for step in plan.steps if not isinstance(step, MigrateVm | SetMaintenance | WaitForPerson)]
    parts = [f"Risk {plan.risk}."]
    if worst:
        others = f" and {plural(len(worst) - 1, 'other step')} like it" if len(worst) > 1 else ""
        parts.append(f"{worst[0]}{others}.")
    parts += [str(each.text) for each in plan.warnings[:1]]
    parts += [f"{plan.title}.", f"{blast_text(plan)}."]
    text = " ".join(parts)
    return text if len(text) <= CONFIRM else f"{text[: CONFIRM - 1]}…"


def _steps(operation: Operation) -> list[Element]:
    """The checklist: of several steps while it can still come to them, of one alone once work has begun."""
    steps = operation.plan.steps
    awaited = operation.state in (State.PROPOSED, State.APPROVED) and len(steps) > 1
    if not awaited and operation.began_at is None:
        return []
    done = {each.index for each in operation.ended}
    measured = {each.index: facts_text(each) for each in operation.ended}
    skipped = {each.index: f"skipped: {each.why.text}" for each in operation.skipped}
    items = tuple(
        (_mark(operation, index, done), joined((step.title, measured.get(index, ""), skipped.get(index, "")), " · "))
        for index, step in enumerate(steps)
    )
    return [Checklist(f"{len(done)} of {plural(len(steps), 'step')} done", items[:50])]


def facts_text(ended: StepEnded) -> Line:
    """What was measured of a step: ``118 MiB sent, 3 passes, pause 101 ms``; '' for nothing."""
    return joined((_fact(name, value) for name, value in ended.facts.items()), ", ")


def _fact(name: str, value: Fact) -> Line:
    """A number stands before what it counts; what has a unit, or is text, behind its name. What is not so is left out.

    A name is the template of its label; ``_`` stands for a space. Of version 0.1 names end in their unit.
    """
    label = Words(name.replace("_", " "))
    if isinstance(value, bool):
        return label if value else ""
    if isinstance(value, Words):
        return value
    if isinstance(value, int | float):
        before, _, unit = name.rpartition(" ")
        if before and unit in UNITS:
            return Words("{name} {value} {unit}", {"name": Words(before), "value": str(value), "unit": unit})
        return Words("{value} {name}", {"value": str(value) if isinstance(value, int) else value, "name": label})
    return Words("{name} {value}", {"name": label, "value": value})


def _mark(operation: Operation, index: int, done: set[int]) -> Mark:
    if index in done:
        return Mark.DONE
    if any(each.index == index for each in operation.skipped):
        return Mark.SKIPPED
    if index in operation.under_way:
        return Mark.FAILED if operation.state is State.FAILED else Mark.DOING
    return Mark.TODO


def _progress(progress: Progress) -> list[Element]:
    """One bar or line; of steps side by side, one each under the step's name."""
    if not progress.beside:
        return _part(progress)
    parts = (progress, *progress.beside)
    named = [[Context((part.title,)), *_part(part)] if part.title else _part(part) for part in parts[:BARS]]
    return [element for shown in named for element in shown]


def _part(progress: Progress) -> list[Element]:
    if progress.job is not None:
        return [Bar(progress.job.fraction, job_text(progress.job))]
    return [Section(progress.text)] if progress.text else []


def job_text(job: Job) -> str:
    """``copying · 812 MiB/s · 1.2 GiB left · pass 3 · throttled 20 % · about 4 s to go``."""
    parts = [job.phase]
    if job.rate:
        parts.append(f"{bytes_text(job.rate)}/s")
    parts.append(f"{bytes_text(job.remaining)} left")
    if job.iteration > 1:
        parts.append(f"pass {job.iteration}")
    if job.throttle:
        parts.append(f"throttled {job.throttle}%")
    if job.eta is not None:
        parts.append(f"about {duration_text(job.eta)} to go")
    return " · ".join(parts)


def _buttons(operation: Operation, progress: Progress | None, pickable: Collection[str]) -> list[Element]:
    value = value_of(operation)
    if operation.state is State.PROPOSED:
        some = operation.action in pickable and len(operation.plan.steps) > 1
        picking = (Button("Pick moves…", PICK, value),) if some else ()
        return [Buttons((*voting_buttons(operation), *picking))]
    if operation.state is State.APPROVED:
        return [Buttons((_cancel(operation),))]
    if operation.state is State.RUNNING:
        asks = progress.asks if progress else frozenset({Ask.CANCEL})
        shown = [_cancel(operation)] if Ask.CANCEL in asks and Ask.CANCEL not in operation.asked else []
        if Ask.POSTCOPY in asks and Ask.POSTCOPY not in operation.asked:
            shown.append(_postcopy(value))
        if operation.waiting is not None:
            shown.insert(0, _go_on(operation, operation.waiting))
        if operation.held:
            shown.insert(0, _release(operation))
        if operation.votes_missing:
            shown.insert(0, _approve(operation))
        return [Buttons((*shown, _details(value)))]
    if operation.state in (State.FAILED, State.CANCELLED, State.EXPIRED, State.STALE):
        return [Buttons((*_remedies(operation), Button("Propose again", "op.again", value), _details(value)))]
    return [Buttons((_details(value),))]


def _remedies(operation: Operation) -> tuple[Button, ...]:
    """What people are asked to choose from; each types a command, which is planned and voted on like any other."""
    return tuple(Button(each.text, "run", each.command, Style.DANGER) for each in operation.remedies[:3])


def _approve(operation: Operation) -> Button:
    confirm = Confirm(f"Approve {operation.id}?", confirm_text(operation), "Approve", "Not yet")
    return Button("Approve", "op.approve", value_of(operation), Style.PRIMARY, confirm)


def voting_buttons(operation: Operation, *, mine: bool = True) -> tuple[Button, ...]:
    """Approve, Deny…, Details, Withdraw; the last only where the requester may be among the readers."""
    value = value_of(operation)
    approve = _approve(operation)
    withdraw = (Button("Withdraw", "op.withdraw", value),) if mine else ()
    return (approve, Button("Deny…", "op.deny", value, Style.DANGER), _details(value), *withdraw)


def _details(value: str) -> Button:
    return Button("Details", "op.details", value)


def _cancel(operation: Operation) -> Button:
    if operation.state is State.APPROVED:
        text = "It has not begun yet, so nothing will be done."
    else:
        text = "Steps that are done stay done. The step under way is undone, if that is still possible."
    confirm = Confirm(f"Cancel {operation.id}?", text, "Cancel it", "Let it run")
    return Button("Cancel", "op.cancel", value_of(operation), Style.DANGER, confirm)


def _go_on(operation: Operation, index: int) -> Button:
    following = operation.plan.steps[index + 1 : index + 2]
    then = f"Next: {following[0].title}." if following else "Nothing else is left to do."
    confirm = Confirm("Go on?", then[:300], "Go on", "Not yet")
    return Button("Continue", GO_ON, f"{operation.id}:{index}", Style.PRIMARY, confirm)


def _release(operation: Operation) -> Button:
    confirm = Confirm("Go on?", f"{operation.held} {left_text(operation)}"[:300], "Go on", "Not yet")
    return Button("Continue", GO_ON, f"{operation.id}:{HELD}", Style.PRIMARY, confirm)


def waiting_text(step: WaitForPerson, until: datetime) -> str:
    """While it waits for a person."""
    return f"{step.title}. Waiting for somebody to press Continue, until {until:%Y-%m-%d %H:%M} UTC."


def pause_note(operation: Operation, step: WaitForPerson) -> Card:
    """Told in the thread and to the requester: somebody is needed."""
    text = f"{operation.id} waits for a person: {step.title}."
    advice = "Then press Continue in its message; Cancel ends it here."
    return note_card(text, advice)


def held_text(operation: Operation) -> str:
    """While an operation that was held waits for a person."""
    return f"{operation.held} Nothing more is done until somebody presses Continue."


def silent_text(silence: str) -> str:
    """Why an operation is held."""
    return f"Drover did not run for {silence}, and the hosts may have changed meanwhile."


def too_late_card(text: str, age: timedelta) -> Card:
    """Told to a person whose request lay unhandled for long."""
    what = f"`{text}`" if text else "Your click"
    ago = duration_text(age.total_seconds())
    return note_card(
        f"{what} of {ago} ago was not carried out: Drover did not run.", "Ask again if it is still wanted."
    )


def held_note(operation: Operation) -> Card:
    """Told in the thread and to the requester."""
    return note_card(
        f"{operation.id}: {operation.held}", "Look at the hosts, then press Continue in its message; Cancel ends it."
    )


def nobody_came(operation: Operation) -> tuple[str, str]:
    """Text and advice: an operation that was held was not let go on."""
    return f"Nobody let it go on. {left_text(operation)}", "Look at the hosts, then propose again what is missing."


def votes_text(operation: Operation) -> str:
    """While a running operation waits for votes."""
    missing = plural(operation.votes_missing, "more vote")
    return f"Waiting for {missing}: rule “{operation.ruling.rule}” asks for them before anything more is begun."


def more_votes_note(operation: Operation) -> Card:
    """Told in the thread: what is left of the plan takes votes that were not given."""
    roles = " or ".join(operation.ruling.approvers)
    return note_card(
        f"{operation.id}: {votes_text(operation)}",
        f"Who has the role {roles} can press Approve in its message; Cancel ends it.",
    )


def nobody_voted(operation: Operation) -> tuple[str, str]:
    """Text and advice: the votes for the rest did not come in time."""
    text = f"{plural(operation.votes_missing, 'vote')} for the rest did not come in time. {left_text(operation)}"
    return text, "Propose again what is missing."


def may_not_go_on(operation: Operation, why: Line) -> tuple[str, str]:
    """Text and advice: today's rules refuse the rest."""
    return f"{why} {left_text(operation)}", "Somebody who may must propose again what is missing."


def frozen_end(operation: Operation, why: str) -> tuple[str, str]:
    """Text and advice: a freeze that does not say when it ends."""
    return f"A freeze began: {why} {left_text(operation)}", "Propose again what is missing after the freeze."


def frozen_text(why: str, until: datetime) -> str:
    """While a freeze lasts."""
    return f"Waiting until {until:%Y-%m-%d %H:%M %Z} for the end of a freeze: {why} Cancel ends it here."


def left_text(operation: Operation) -> str:
    """What is true of the steps now: how many are done, and that the rest was not begun."""
    return f"{len(operation.ended)} of {plural(len(operation.plan.steps), 'step')} are done, the rest was not begun."


def not_begun_text(operation: Operation) -> str:
    """What is true of an operation that is stopped; a step of one that was held had begun before."""
    if not operation.under_way:
        return "The remaining steps were not begun."
    steps = " and ".join(str(operation.plan.steps[index].title) for index in sorted(operation.under_way))
    return f"“{steps}” had begun before; look at the hosts. The other steps were not begun."


def _postcopy(value: str) -> Button:
    confirm = Confirm(
        "Switch to post-copy?",
        "The guest runs on the target at once and fetches its memory; if the network fails now, the guest is lost.",
        "Switch",
        "Keep copying",
    )
    return Button("Post-copy now", "op.postcopy", value, Style.PLAIN, confirm)


def _voters(operation: Operation) -> Person | str:
    return who(operation.decided_by) if operation.votes else "the policy (no vote needed)"


def _small_print(operation: Operation) -> Context:
    ruling = operation.ruling
    votes = f"{len(operation.votes)} of {plural(ruling.votes, 'vote')}"
    lines: list[Line] = [words("*{id}* · {votes}", id=operation.id, votes=votes)]
    lines += [words("✓ {who} {at}", who=who(vote.by), at=vote.at) for vote in operation.votes[:5]]
    lines.append(words("rule “{rule}” · plan `{digest}`", rule=ruling.rule, digest=operation.plan.digest))
    if operation.replaces:
        lines.append(words("replaces {id}", id=operation.replaces))
    return Context(tuple(lines))


def details_card(operation: Operation, now: datetime) -> Card:
    """Everything of the plan: all steps, reasons, warnings, and what the policy asks."""
    plan, ruling = operation.plan, operation.ruling
    steps = [f"{index}. {step.title}" for index, step in enumerate(plan.steps, 1)] if len(plan.steps) > 1 else []
    waited = (now - operation.proposed_at).total_seconds()
    roles = " or ".join(ruling.roles_at(waited)) or "nobody"
    elements: list[Element] = [
        Section(words("*{title}*{steps}", title=plan.title, steps="".join(f"\n{step}" for step in steps))),
        Section(
            words(
                "Blast radius: {blast}\nPrediction: {told}",
                blast=blast_text(plan),
                told=prediction_text(plan.prediction),
            )
        ),
        *_reasons(plan),
        Divider(),
        Section(
            words(
                "Needs {votes} (role: {roles}); the requester's own vote does not count. Proposed {at}, rule “{rule}”.",
                votes=plural(ruling.votes, "vote"),
                roles=roles,
                at=operation.proposed_at,
                rule=ruling.rule,
            )
        ),
        Context((words("digest of the plan `{digest}`: what a vote is for", digest=plan.digest),)),
    ]
    return Card(text=f"{operation.id}: {plan.title}", title=f"{operation.id} in full", elements=tuple(elements))


def pick_form(operation: Operation) -> Form:
    """Which steps of a plan are wanted; all are ticked at first."""
    steps = [(str(index), f"{index + 1}. {step.title}") for index, step in enumerate(operation.plan.steps)]
    size = BOXES if len(steps) <= FEW else 10 * BOXES
    fields = []
    for start in range(0, len(steps), size):
        some = tuple(steps[start : start + size])
        label = f"Steps {start + 1} to {start + len(some)}"
        fields.append(ManyField(f"steps-{start}", label, some, tuple(value for value, _ in some)))
    intro = (Section("What is picked becomes a proposal of its own, and votes begin anew."),)
    return Form(PICK, f"Pick of {operation.id}", "Propose these", tuple(fields), intro, value_of(operation))


def refused_card(refused: Refused) -> Card:
    """Why there is no plan: every objection with its remedy."""
    text = objections_text(refused.objections)
    why = prose(text)
    line = Words(f"*{{title}}*\n{why.template}", {**why.args, "title": refused.title})
    return Card(text=bare(f"{refused.title} {text}"), elements=(Section(line),))


def may_not_card(may_not: MayNot) -> Card:
    """Why the person may not."""
    return note_card(may_not.text, may_not.advice)


def unable_card(operation: Operation, why: str) -> Card:
    """Why nothing can be done with an operation here."""
    advice = "Load the plugin again, or start the newer Drover that wrote it."
    return note_card(f"{operation.id} ({operation.plan.title}) is left alone: {why}.", advice)


def not_now_card(operation: Operation, refused: MayNot) -> Card:
    """Why nobody can approve an operation now."""
    return note_card(f"Not now: {refused.text}", f"{operation.id} can be approved when the rules allow it again.")


def note_card(text: Line, advice: Line = "") -> Card:
    """A short answer to one person."""
    return error_card(text, advice)


def proposed_note(operation: Operation, channel: str, slash: str) -> Card:
    """Told to the requester, where they asked."""
    if operation.ruling.votes:
        line = words(
            "*{id}* is proposed: {title}. It waits for {votes} (role: {roles}) in {where}. See `{slash} ops`.",
            id=operation.id,
            title=operation.plan.title,
            votes=plural(operation.ruling.votes, "vote"),
            roles=" or ".join(operation.ruling.approvers),
            where=channel or "the approvals channel",
            slash=slash,
        )
    else:
        line = words("*{id}* needs no vote and starts now: {title}.", id=operation.id, title=operation.plan.title)
    said = "is proposed" if operation.ruling.votes else "starts now"
    return Card(text=f"{operation.id} {said}: {operation.plan.title}", elements=(Section(line),))


def ended_note(operation: Operation) -> Card:
    """Told to the requester, and in the thread, when it is over."""
    headline = HEADLINES[operation.state].format(title=operation.plan.title)
    elements: list[Element] = [Section(words("*{id}* {headline}", id=operation.id, headline=headline))]
    elements += _state_lines(operation)
    if operation.remedies:
        elements.append(Buttons(_remedies(operation)))
    return Card(text=f"{operation.id}: {headline}", elements=tuple(elements))


def gain_note(operation: Operation) -> Card:
    """Told in the thread when what an operation brought has been measured."""
    text = gain_text(operation)
    return Card(text=f"{operation.id}: {text}", elements=(Section(text),))


def vote_note(operation: Operation, vote: Vote) -> Card:
    """Told in the thread after each vote."""
    line = words(
        "{who} approved {id} ({count} of {needed}).",
        who=who(vote.by),
        id=operation.id,
        count=len(operation.votes),
        needed=plural(operation.ruling.votes, "vote"),
    )
    return Card(
        text=f"{operation.id}: {len(operation.votes)} of {operation.ruling.votes} votes", elements=(Section(line),)
    )


def escalation_card(operation: Operation, people: Sequence[str]) -> Card:
    """Told in the thread, once, when the first approvers have let it lie: the fallback approvers by name."""
    names = {f"p{index}": who(user) for index, user in enumerate(people[:MENTIONED])}
    roles = " or ".join(operation.ruling.fallback)
    line = Words(
        f"{' '.join(f'{{{name}}}' for name in names)} *{{id}}* still waits for {{missing}}: {{title}}. "
        "From now on {roles} may decide too.",
        {
            **names,
            "id": operation.id,
            "missing": plural(operation.votes_missing, "vote"),
            "title": operation.plan.title,
            "roles": roles,
        },
    )
    return Card(text=f"{operation.id} still waits; {roles} may decide now", elements=(Section(line),))


def overdue_card(operation: Operation, since: timedelta) -> Card:
    """Told in the thread, once, when it waits for its turn or runs much longer than foretold."""
    line = words(
        "*{id}* is {state} for {time} already. {advice}",
        id=operation.id,
        state=str(operation.state),
        time=duration_text(since.total_seconds()),
        advice="The button Cancel stops it; nothing is lost by waiting."
        if operation.state is State.RUNNING
        else "Something before it on the same host takes long, or the workers are stuck: see `ops --running`.",
    )
    return Card(text=f"{operation.id} is {operation.state} for long", elements=(Section(line),))


def deny_form(operation: Operation) -> Form:
    """Asks why."""
    return Form(
        action="op.deny",
        title=f"Deny {operation.id}",
        submit="Deny",
        fields=(TextField("why", "Why?", hint="The requester and the audit trail read this.", long=True),),
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
    by = f" by {operation.decided_by}" if operation.decided_by else ""
    if operation.decided_by and operation.decided_by != BOT:
        return words(
            "{id} is {state} (decided by {who}). Your click changed nothing.",
            id=operation.id,
            state=str(operation.state),
            who=who(operation.decided_by),
        )
    return words("{id} is {state}{by}. Your click changed nothing.", id=operation.id, state=str(operation.state), by=by)


def settled_card(operation: Operation) -> Card:
    """``settled_text`` as an answer."""
    return Card(text=f"{operation.id} is {operation.state}", elements=(Section(settled_text(operation)),))
