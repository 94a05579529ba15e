"""Every sentence the core says when people only look.

Help, hosts, VMs, operations, the audit trail, the policy.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from inspect import cleandoc
from typing import Any

import click

from bot.domain import placement
from bot.domain import policy as policies
from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Context,
    Divider,
    Element,
    Line,
    Section,
    Table,
    Words,
    bare,
    said_elsewhere,
    words,
)
from bot.domain.cluster import Health, Host, Snapshot
from bot.domain.errors import UsageError
from bot.domain.host_menu import SHOW
from bot.domain.message import (
    Code,
    Duration,
    Join,
    Message,
    Names,
    Number,
    Percent,
    Ref,
    Size,
    When,
    join,
    nwords,
)
from bot.domain.metrics import Incident, gravest_first
from bot.domain.operation import (
    BOT,
    Approved,
    Asked,
    Attempted,
    Began,
    Cancelled,
    Continued,
    Denied,
    Event,
    Expired,
    Failed,
    Finished,
    GainMeasured,
    GlassBroken,
    Held,
    Noted,
    Operation,
    Proposed,
    Released,
    Replaced,
    Replanned,
    Rescheduled,
    RulingChanged,
    State,
    StepBegan,
    StepEnded,
    StepSkipped,
    UnknownEvent,
    VotedFor,
    WentStale,
    digest_of_vote,
)
from bot.domain.owner import vms_of_owner
from bot.domain.pages import Page, page_buttons, picker
from bot.domain.state_names import OPERATION_STATES, VM_STATES
from bot.domain.timing import next_slot, slot_text
from bot.flow.operations import operation_cards
from bot.plugin_api import Asker, Listed

HOSTS = 30  # on a page
ONE_HOST = words("One host, and what can be done with it:")
CHOOSE_HOST = words("Choose a host…")
ONE_OPERATION = words("One operation in full:")
CHOOSE_OPERATION = words("Choose an operation…")
ROWS = 95  # of a table; a message takes 100
HELP_LINES = 20  # commands in one paragraph
FAMILY = 4  # commands with the same first word that are told in one line where all are listed
HELP = words("`{slash} COMMAND --help` shows its options.")


def help_card(slash: str, commands: Sequence[Listed], *, whole: bool = False) -> Card:
    """What this person may do, and what others may.

    ``whole``: of everything, so that large families take one line.
    """
    mine = [each for each in commands if each.allowed]
    elements: list[Element] = [Section(replace(HELP, args={"slash": slash}))]
    titles = (
        (words("*To look*"), False),
        (words("*To change something, as the policy allows*"), True),
    )
    for title, changes in titles:
        some = [each for each in mine if each.changes is changes]
        lines = (
            _short_lines(slash, some)
            if whole
            else [(each.usage, _with_example(slash, each)) for each in some]
        )
        pages = range(0, len(lines), HELP_LINES)
        elements += [
            Section(_help_lines("" if start else title, lines[start : start + HELP_LINES]))
            for start in pages
        ]
    if not any(each.changes for each in mine) and len(mine) < len(commands):
        elements.append(
            Context((words("Other commands need a role in Drover. Ask an administrator."),))
        )
    text: Message = words("You may use none of these commands.")
    if mine:
        text = nwords(
            "You may use {n} command: {names}",
            "You may use {n} commands: {names}",
            n=len(mine),
            names=tuple(each.name for each in mine),
        )
    return Card(text=text, title=words("What you can ask Drover"), elements=tuple(elements))


def _with_example(slash: str, listed: Listed) -> Line:
    if not listed.example:
        return listed.summary
    example = words("For example {command}", command=Code(f"{slash} {listed.example}"))
    return Words("{summary}\n    {example}", {"summary": listed.summary, "example": example})


def _short_lines(slash: str, commands: Sequence[Listed]) -> list[tuple[str, Line]]:
    """Usage and summary of each.

    Behind them one line for every family, with how to see its members.
    """
    families: dict[str, list[str]] = {}
    for each in commands:
        first, _, rest = each.name.partition(" ")
        families.setdefault(first, []).append(rest)
    large = {first: rests for first, rests in families.items() if len(rests) >= FAMILY}
    found: list[tuple[str, Line]] = [
        (each.usage, each.summary) for each in commands if each.name.partition(" ")[0] not in large
    ]
    return found + [
        (
            f"{slash} {first} …",
            words(
                "{names}. See `{slash} help {command}`",
                names=rests,
                slash=slash,
                command=first,
            ),
        )
        for first, rests in large.items()
    ]


def _help_lines(title: Line, lines: Sequence[tuple[str, Line]]) -> Line:
    shown = [
        Words(
            "{usage} {summary}",
            {"usage": Code(usage.replace(" [OPTIONS]", "")), "summary": _without_stop(summary)},
        )
        for usage, summary in lines
    ]
    return join((title, *shown), "\n")


def _without_stop(summary: Line) -> Line:
    return summary if isinstance(summary, Words) else str(bare(summary)).removesuffix(".")


def usage_card(
    usage: str,
    grammar: click.Command,
    options: Sequence[tuple[str, Line]],
    *,
    example: str = "",
    related: Sequence[str] = (),
) -> Card:
    """How one command is typed: its usage, what it does, an example, each option.

    ``example`` and ``related``: lines that can be typed.
    """
    told = cleandoc(grammar.help or "")
    elements: list[Element] = [
        Section(words("`{usage}`", usage=usage)),
        *([Section(said_elsewhere(told))] if told else []),
    ]
    if example:
        elements.append(Section(words("For example {command}", command=Code(example))))
    if options:
        rows = tuple((words("`{option}`", option=option), meaning) for option, meaning in options)
        elements.append(Table((words("Option"), words("Meaning")), rows))
    if related:
        others = Names(tuple(Code(each) for each in related))
        elements.append(Context((words("See also {commands}", commands=others),)))
    return Card(text=Words("{usage}", {"usage": Code(usage)}), elements=tuple(elements))


_MOST_TOLD = 10  # of what is wrong with hosts; a card has 50 blocks, and the file has all
_NAMED_TOGETHER = 5  # hosts whose problem is the same


def _silent(down: Iterable[Host]) -> Iterator[Section]:
    """Why hosts do not answer, those with the same problem together."""
    alike: dict[Message, list[str]] = {}
    for host in down:
        if host.problem:
            alike.setdefault(host.problem, []).append(host.name)
    for problem, names in list(alike.items())[:_MOST_TOLD]:
        yield Section(
            nwords(
                "*{hosts}* does not answer: {problem}",
                "*{hosts}* do not answer: {problem}",
                n=len(names),
                hosts=Names(tuple(names), most=_NAMED_TOGETHER),
                problem=problem,
            )
        )
    if more := sum(map(len, list(alike.values())[_MOST_TOLD:])):
        yield Section(
            nwords("{n} more host does not answer.", "{n} more hosts do not answer.", n=more)
        )


def _unread(seen: Snapshot, hosts: Iterable[Host]) -> Iterator[Section]:
    """What could not be read of hosts that answer."""
    lacking = [(host.name, parts) for host in hosts if (parts := unread_parts(seen, host))]
    for name, parts in lacking[:_MOST_TOLD]:
        yield Section(words("*{host}* could not be read whole: {parts}", host=name, parts=parts))
    if more := len(lacking[_MOST_TOLD:]):
        yield Section(
            nwords(
                "{n} more host could not be read whole.",
                "{n} more hosts could not be read whole.",
                n=more,
            )
        )


def hosts_card(
    seen: Snapshot,
    number: int = 1,
    line: Callable[[int], str] | None = None,
    allowed: Collection[str] = (),
) -> Card:
    """A page of the hosts.

    State, VMs, memory, CPU; with ``line``, the command of a page, its buttons.

    ``allowed``: commands that the person may use; with that for one host, one can be chosen.
    """
    hosts = sorted(seen.hosts, key=lambda host: host.name)
    page = Page(len(hosts), number, HOSTS)
    rows = tuple(_host_row(seen, host) for host in hosts)
    down = [host for host in hosts if not host.up]
    up = len(hosts) - len(down)
    whole = Table(
        (
            words("Host"),
            words("State"),
            words("VMs"),
            words("Memory allocated"),
            words("CPU busy"),
            words("QEMU"),
        ),
        rows,
        numeric=frozenset({2}),
    )
    elements: list[Element] = [replace(whole, rows=rows[page.first : page.last])]
    if SHOW in allowed:
        shown = hosts[page.first : page.last]
        lines = ((host.name, f"{SHOW} {shlex.quote(host.name)}") for host in shown)
        elements += picker(ONE_HOST, CHOOSE_HOST, lines)
    elements += [page_buttons(line, page)] if line is not None else []
    elements += [*_silent(down), *_unread(seen, hosts)]
    title = _hosts_up(len(hosts), up, sum(host.up and host.maintenance for host in hosts))
    text = (
        words(
            "{title}; down: {names}",
            title=title,
            names=Names(tuple(host.name for host in down), most=10),
        )
        if down
        else title
    )
    notes = (page.text, *_as_of(seen).lines) if page.count > 1 else _as_of(seen).lines
    return Card(text=text, title=title, elements=(*elements, Context(notes)), export=whole)


def _hosts_up(count: int, up: int, resting: int) -> Words:
    if resting:
        return nwords(
            "{up} of {n} host up, {resting} of them in maintenance",
            "{up} of {n} hosts up, {resting} of them in maintenance",
            n=count,
            up=up,
            resting=resting,
        )
    return nwords("{up} of {n} host up", "{up} of {n} hosts up", n=count, up=up)


HEALTH = {
    Health.UP: words("up"),
    Health.STALE: words("stale"),
    Health.UNREACHABLE: words("unreachable"),
}
_UNREAD = 5  # parts of a host that are told; the rest is counted


def unread_parts(seen: Snapshot, host: Host) -> Line:
    """What of a host that answers could not be read, each with its reason; '' when all was."""
    if not host.up:
        return ""
    parts: list[Line] = [each.text for each in host.unread]
    parts += [
        words("VM {vm}: {problem}", vm=vm.name, problem=vm.problem)
        for vm in seen.on(host.name)
        if vm.problem
    ]
    rest = len(parts) - _UNREAD
    more = nwords("and {n} more", "and {n} more", n=rest) if rest > 0 else ""
    return join((*parts[:_UNREAD], more), "; ")


def _host_row(seen: Snapshot, host: Host) -> tuple[Line, ...]:
    guests = seen.on(host.name)
    running = sum(1 for vm in guests if vm.state.active)
    state = words("maintenance") if host.up and host.maintenance else HEALTH[host.health]
    if not host.up:
        return (host.name, state, str(len(guests)), "?", "?", "?")
    share = placement.cpu_share(seen, host)
    memory = words(
        "{used} of {usable}", used=Size(seen.memory_promises(host.name)), usable=Size(host.usable)
    )
    cpu = (
        words("not measured yet")
        if share is None
        else words("{share} of {cpus}", share=Percent(share), cpus=host.cpus)
    )
    return (
        host.name,
        state,
        f"{running}/{len(guests)}",
        memory,
        cpu,
        version_text(host.hypervisor_version),
    )


def version_text(version: int) -> str:
    """7.2.22 of 7002022."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}" if version else "?"


def _as_of(seen: Snapshot) -> Context:
    return Context((words("as of {at}", at=seen.taken_at),))


def ops_card(
    operations: Sequence[Operation],
    still: int,
    now: datetime,
    page: Page,
    line: Callable[[int], str],
) -> Card:
    """A page of operations, newest first.

    ``operations``: those up to the page's end, or all; ``still``: how many of all are not over;
    ``line``: the command of a page.
    """
    if not operations:
        return operation_cards.note_card(
            words("No operations."), words("Nothing matches; `/kvm ops` alone lists the latest.")
        )
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (
            Words("{id}", {"id": Ref(each.id)}),
            _state_of(each, now),
            _title_of(each),
            operation_cards.requester(each.origin),
            words("{time} ago", time=Duration(max(0.0, (now - each.changed_at).total_seconds()))),
        )
        for each in operations
    )
    text = nwords(
        "{n} operation, {open} open", "{n} operations, {open} open", n=page.whole, open=still
    )
    columns = (words("ID"), words("State"), WHAT, WHO, words("Changed"))
    return Card(
        text=text,
        title=text,
        elements=(
            Table(columns, rows[page.first : page.last]),
            *_operation_picker("details", (each.id for each in operations[page.first : page.last])),
            page_buttons(line, page, by_time=True),
            *([Context((page.text,))] if page.count > 1 else []),
        ),
        export=Table(columns, rows),
    )


def _operation_picker(command: str, ids: Iterable[str]) -> list[Section]:
    """A list of operations, of which the chosen one is shown by a command."""
    return picker(ONE_OPERATION, CHOOSE_OPERATION, ((each, f"{command} {each}") for each in ids))


def _state_of(operation: Operation, now: datetime) -> Line:
    if operation.early(now):
        return words("🕒 scheduled")
    return operation_cards.state_line(operation)


def _title_of(operation: Operation) -> Line:
    """What it does; of what has not begun yet also when it will."""
    if operation.slot is None or operation.state not in (State.PROPOSED, State.APPROVED):
        return operation.plan.title
    return words(
        "{title} · runs {time}", title=operation.plan.title, time=slot_text(operation.slot)
    )


def windows_card(windows: Mapping[str, policies.Window], now: datetime, slash: str) -> Card:
    """The maintenance windows: when, and when each opens next."""
    if not windows:
        return operation_cards.note_card(
            words("No maintenance windows are configured."),
            words("Add `[[windows]]` to the configuration."),
        )
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (name, window_text(window), _opening(window, name, now))
        for name, window in sorted(windows.items())
    )
    text = nwords("{n} maintenance window", "{n} maintenance windows", n=len(windows))
    how = words(
        "{command} runs an action in one, after approval.",
        command=Code(f"{slash} host drain HOST --window NAME"),
    )
    columns = (words("Window"), words("When"), words("Opens"))
    return Card(text=text, title=text, elements=(Table(columns, rows), Context((how,))))


def _opening(window: policies.Window, name: str, now: datetime) -> Line:
    try:
        slot = next_slot(window, name, now)
    except UsageError:
        return words("never")
    if slot.start == now:
        return words("open now, until {end}", end=slot.end)
    return words("{start}", start=When(slot.start, weekday=True))


def audit_card(
    operation: Operation,
    events: Sequence[Event],
    broken: Message,
    page: Page,
    line: Callable[[int], str],
) -> Card:
    """A page of an operation's history, newest first, and whether the chain of the trail holds."""
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (_moment(event), _actor(event), event_text(event)) for event in events
    )
    columns = (WHEN, WHO, WHAT)
    notes = (_chain_text(broken), words("plan {digest}", digest=operation.digest))
    text = nwords(
        "{id} is {state}; {n} event",
        "{id} is {state}; {n} events",
        n=len(events),
        id=operation.id,
        state=OPERATION_STATES[operation.state],
    )
    return Card(
        text=text,
        title=operation_cards.id_line(operation, operation.plan.title),
        elements=(
            Table(columns, rows[page.first : page.last]),
            page_buttons(line, page, by_time=True),
            Context((page.text, *notes) if page.count > 1 else notes),
        ),
        export=Table(columns, rows),
    )


WHEN, WHO, WHAT = words("When (UTC)"), words("Who"), words("What")


def trail_card(
    about: Words,
    entries: Sequence[tuple[str, Event]],
    broken: Message,
    page: Page,
    line: Callable[[int], str],
) -> Card:
    """A page of what happened, newest first: when, who, to which operation, what.

    And whether the chain holds. ``line``: the command of a page.
    """
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (
            _moment(event),
            _actor(event),
            Words("{id}", {"id": Ref(id_)}) if id_ else "",
            event_text(event),
        )
        for id_, event in entries
    )
    title = nwords("{n} event in the audit trail", "{n} events in the audit trail", n=len(entries))
    columns = (WHEN, WHO, words("Operation"), WHAT)
    elements: list[Element] = [Section(words("Audit trail {about}", about=about))]
    if rows:
        elements += [
            Table(columns, rows[page.first : page.last]),
            *_operation_picker("audit", (id_ for id_, _ in entries[page.first : page.last] if id_)),
            page_buttons(line, page, by_time=True),
        ]
    chain = _chain_text(broken)
    notes: tuple[Line, ...] = (page.text, chain) if page.count > 1 else (chain,)
    return Card(title, title, (*elements, Context(notes)), export=Table(columns, rows))


def _moment(event: Event) -> str:
    """To the second, as a trail needs it: what happened within a minute has an order."""
    return f"{event.at:%Y-%m-%d %H:%M:%S}"


def _chain_text(broken: Message) -> Line:
    if broken:
        return words("*The audit trail was tampered with:* {broken}", broken=broken)
    return words("Audit trail intact (full check every 6 h, new events just now).")


def event_text(event: Event) -> Line:
    """An event as a sentence of the audit trail."""
    sentence = _EVENTS.get(type(event))
    said = sentence(event) if sentence is not None else type(event).__name__.lower()
    if isinstance(event, Proposed) and event.slot is not None:
        return words("{what} · runs {time}", what=said, time=slot_text(event.slot))
    return said


def _behind(sentence: Words, said: Line) -> Line:
    """A sentence and, where there is one, what was said with it."""
    return Words("{what}: {said}", {"what": sentence, "said": said}) if said != "" else sentence


def _proposal(event: Proposed) -> Line:
    if event.origin.via == policies.AGENT:
        return nwords(
            "{who} proposed {command} (plan {digest}); rule “{rule}” asks {n} vote",
            "{who} proposed {command} (plan {digest}); rule “{rule}” asks {n} votes",
            n=event.ruling.votes,
            who=operation_cards.requester(event.origin),
            command=event.origin.command,
            digest=digest_of_vote(event.plan, event.slot),
            rule=event.ruling.rule,
        )
    return nwords(
        "proposed {command} (plan {digest}); rule “{rule}” asks {n} vote",
        "proposed {command} (plan {digest}); rule “{rule}” asks {n} votes",
        n=event.ruling.votes,
        command=event.origin.command,
        digest=digest_of_vote(event.plan, event.slot),
        rule=event.ruling.rule,
    )


def _step_end(event: StepEnded) -> Line:
    number = event.index + 1
    how = words("step {number} was found done", number=number) if event.found_done else _end(number)
    return _behind(how, operation_cards.facts_text(event))


def _end(number: int) -> Words:
    return words("step {number} ended", number=number)


def _glass(event: GlassBroken) -> Line:
    return nwords(
        "broke glass until {until}, for {n} vote: {why}",
        "broke glass until {until}, for {n} votes: {why}",
        n=event.votes,
        until=event.until,
        why=event.why,
    )


def _ruling(event: RulingChanged) -> Line:
    return nwords(
        "from now on rule “{rule}” asks {n} vote; {count} of those given count",
        "from now on rule “{rule}” asks {n} votes; {count} of those given count",
        n=event.ruling.votes,
        rule=event.ruling.rule,
        count=len(event.counted),
    )


def _gain(event: GainMeasured) -> Line:
    found = event.measured
    return words(
        "measured at {time} UTC: CPU of the busiest host {busiest}, of the idlest {idlest}, "
        "unevenness {score}",
        time=f"{event.taken_at:%H:%M:%S}",
        busiest=Percent(found.busiest),
        idlest=Percent(found.idlest),
        score=Number(found.unevenness, 3),
    )


def _replan(event: Replanned) -> Line:
    steps = join((step.title for step in event.steps), "; ")
    return words("the rest planned anew, {why} {steps}", why=event.why, steps=steps)


def _actor(event: Event) -> Words:
    """Who did it. That the votes were enough is found by the bot, whoever gave the last of them."""
    by = BOT if isinstance(event, Approved) else event.by
    return words("{who}", who=operation_cards.who(by))


def _approval(event: Approved) -> Line:
    return (
        words("approved: every vote was given")
        if event.by != BOT
        else words("approved: no vote is needed")
    )


_EVENTS: Mapping[type[Event], Callable[[Any], Line]] = {
    Attempted: lambda event: words(
        "⛔ tried {what}; refused: {why}", what=Code(event.what), why=event.why
    ),
    Proposed: _proposal,
    VotedFor: lambda event: words("approved the plan {digest}", digest=event.digest),
    Denied: lambda event: words("denied: {why}", why=event.why),
    WentStale: lambda event: words(
        "not done: {why}", why=operation_cards.objections_text(event.objections)
    ),
    StepBegan: lambda event: words("step {number} began", number=event.index + 1),
    StepEnded: _step_end,
    StepSkipped: lambda event: words(
        "step {number} skipped: {why}", number=event.index + 1, why=event.why.text
    ),
    Replanned: _replan,
    Continued: lambda event: words("let step {number} go on", number=event.index + 1),
    RulingChanged: _ruling,
    GlassBroken: _glass,
    Held: lambda event: words("held: {why}", why=event.why),
    Released: lambda _: words("let it go on"),
    Rescheduled: lambda event: words("moved to {time}", time=slot_text(event.slot)),
    UnknownEvent: lambda event: words(
        "{kind} (not read here: {why})", kind=event.kind, why=event.why
    ),
    Replaced: lambda event: words("replaced by {id}", id=event.instead),
    GainMeasured: _gain,
    Noted: lambda event: event.text,
    Asked: lambda event: words("asked: {what}", what=operation_cards.ASKS[event.ask]),
    Failed: lambda event: words("failed: {why}", why=join((event.why, event.advice))),
    Cancelled: lambda event: _behind(words("cancelled"), event.why),
    Approved: _approval,
    Began: lambda _: words("started: the plan was checked again on the hosts"),
    Finished: lambda _: words("finished: every step is done"),
    Expired: lambda _: words("expired: nobody decided in time"),
}


def approvals_card(operations: Sequence[Operation], asker: Asker) -> Card:
    """What waits for this person's vote, with a way to read each plan."""
    waiting = [each for each in operations if may_vote(each, asker)]
    if not waiting:
        return operation_cards.note_card(words("Nothing waits for your vote."))
    elements: list[Element] = []
    for each in waiting[:10]:
        elements += _waiting(each)
    title = nwords(
        "{n} operation waits for your vote",
        "{n} operations wait for your vote",
        n=len(waiting),
    )
    return Card(text=title, title=title, elements=tuple(elements))


def _waiting(operation: Operation) -> tuple[Element, ...]:
    """A proposal to vote on: what it is, what it leaves or takes away, and the buttons."""
    line = words(
        "*{id}* {title}\n{blast}; asked by {who}; expires {at}",
        id=operation.id,
        title=operation.plan.title,
        blast=operation_cards.blast_text(operation.plan),
        who=operation_cards.requester(operation.origin),
        at=operation.expires_at,
    )
    buttons = Buttons(operation_cards.voting_buttons(operation, mine=False))
    return (Section(line), *operation_cards.notes(operation.plan), buttons)


def may_vote(operation: Operation, asker: Asker) -> bool:
    """Whether this person's vote would count now."""
    waited = (asker.now - operation.proposed_at).total_seconds()
    return (
        operation.open_to_votes
        and asker.id not in (operation.origin.by, *operation.origin.causes)
        and all(vote.by != asker.id for vote in operation.votes)
        and bool(asker.roles & set(operation.ruling.roles_at(waited)))
    )


def policy_card(policy: policies.Policy, command: str) -> Card:
    """Who may ask for a command, and what each rule that can apply to it asks."""
    rules = [rule for rule in policy.rules if policies.covers(rule, command)]
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (rule.name, _conditions(rule), _demand(rule), _time(rule.expires)) for rule in rules
    )
    roles = policies.who_may(policy, command)
    asks = Names(roles) if roles else words("nobody")
    columns = (words("Rule"), words("When"), words("Needs"), words("Expires after"))
    return Card(
        text=nwords(
            "{command}: asked by {asks}; {n} rule",
            "{command}: asked by {asks}; {n} rules",
            n=len(rules),
            command=command,
            asks=asks,
        ),
        title=words("Policy for {command}", command=command),
        elements=(
            Section(
                words("May be asked by: *{asks}*. The first matching rule applies.", asks=asks)
            ),
            Table(columns, rows),
        ),
    )


def _time(seconds: float) -> Line:
    return Words("{time}", {"time": Duration(seconds)})


def rule_text(rule: policies.Rule) -> Line:
    """A rule in one line: when it applies, what it takes, until when."""
    parts = {"conditions": _conditions(rule), "needs": _demand(rule)}
    line = (
        words("{conditions} → {needs}", **parts)
        if rule.freeze
        else words(
            "{conditions} → {needs}; expires after {time}", time=Duration(rule.expires), **parts
        )
    )
    if not rule.commands:
        return line
    return Words("{commands}: {line}", {"commands": Names(rule.commands), "line": line})


def _either(names: Iterable[str]) -> Names:
    return Names(tuple(names), Join.OR)


def _conditions(rule: policies.Rule) -> Line:
    parts: list[Line] = []
    if rule.automatic:
        parts.append(words("what a watch does by itself"))
    if rule.via == policies.AGENT:
        parts.append(words("what an agent asks for"))
    if rule.risks:
        risks = Names(tuple(operation_cards.RISKS[risk] for risk in rule.risks), Join.OR)
        parts.append(words("risk {risks}", risks=risks))
    if rule.tags:
        parts.append(words("tag {tags}", tags=_either(rule.tags)))
    if rule.hosts:
        parts.append(words("host {hosts}", hosts=_either(rule.hosts)))
    parts += _sizes(rule)
    if rule.window:
        parts.append(window_text(rule.window))
    return join(parts, ", ") or words("otherwise")


def _sizes(rule: policies.Rule) -> list[Line]:
    parts: list[Line] = []
    if rule.min_vms:
        parts.append(nwords("at least {n} VM", "at least {n} VMs", n=rule.min_vms))
    if rule.min_memory:
        parts.append(words("at least {size}", size=Size(rule.min_memory)))
    if rule.max_vms:
        parts.append(nwords("at most {n} VM", "at most {n} VMs", n=rule.max_vms))
    if rule.max_memory:
        parts.append(words("at most {size}", size=Size(rule.max_memory)))
    return parts


DAYS = {
    "mon": words("Mon"),
    "tue": words("Tue"),
    "wed": words("Wed"),
    "thu": words("Thu"),
    "fri": words("Fri"),
    "sat": words("Sat"),
    "sun": words("Sun"),
}


def window_text(window: policies.Window) -> Line:
    """The days, hours and zone of a window."""
    days = (
        Names(tuple(DAYS[day] for day in window.days), Join.AND)
        if window.days
        else words("every day")
    )
    if window.start == window.end:
        return words("{days}, all day ({zone})", days=days, zone=window.zone)
    return words(
        "{days}, {start}–{end} ({zone})",
        days=days,
        start=f"{window.start:%H:%M}",
        end=f"{window.end:%H:%M}",
        zone=window.zone,
    )


def _demand(rule: policies.Rule) -> Line:
    if rule.freeze:
        return words("frozen: {why}", why=rule.why) if rule.why else words("frozen")
    if not rule.votes and rule.automatic:
        return words("no vote")
    approvers = _either(rule.approvers)
    if not rule.votes:
        return words("no vote; 1 from {roles} for what the bot proposes", roles=approvers)
    votes = nwords("{n} vote from {roles}", "{n} votes from {roles}", n=rule.votes, roles=approvers)
    if not rule.fallback:
        return votes
    return words(
        "{votes}; after {time} also {roles}",
        votes=votes,
        time=Duration(rule.fallback_after),
        roles=_either(rule.fallback),
    )


ONE_CLICK = (
    (words("Status"), "status"),
    (words("Top VMs"), "top"),
    (words("Alerts"), "alerts"),
    (words("Digest"), "digest"),
    (words("Votes"), "approvals"),
)
"""Buttons of the dashboard and the commands they type.

Shown where these exist and the person may use them.
"""


def _home_answer(said: Card | None) -> list[Element]:
    """The answer to the last click on the home tab, above everything else."""
    if said is None:
        return []
    title = [Section(Words("*{title}*", {"title": said.title}))] if said.title != "" else []
    note = words("The answer to your last click. It goes when you open this tab again.")
    return [*title, *said.elements, Context((note,)), Divider()]


LOOKING = frozenset({"hosts", "vms"})
"""Commands without which a person is shown nothing of the cluster."""
NO_ROLE = words("You have no role in Drover yet. Ask an administrator for access.")


def home_card(
    seen: Snapshot,
    operations: Sequence[Operation],
    asker: Asker,
    slash: str,
    *,
    commands: Collection[str] = (),
    incidents: Sequence[Incident] | None = None,
    said: Card | None = None,
) -> Card:
    """The dashboard, of what this person may look at.

    What waits for me, what I asked for, what runs, what is wrong, my VMs, the hosts.

    Args:
        seen: the cluster; empty for who may not look at it.
        operations: those that are open.
        asker: whose home it is.
        slash: the slash command.
        commands: names of those that the person may use.
        incidents: what is, or was lately, wrong; None for who may not look at it.
        said: the answer to the person's last click there.
    """
    waiting = [each for each in operations if may_vote(each, asker)]
    elements: list[Element] = [
        *_home_answer(said),
        Section(words("*Waiting for your vote:* {count}", count=len(waiting))),
    ]
    for each in waiting[:5]:
        elements += _waiting(each)
    if "ops" in commands:
        elements += _open_operations(operations, asker)
    if incidents is not None:
        elements.append(_active_alerts(incidents))
    if "vms" in commands:
        elements.append(_my_vms(seen, asker))
    row = tuple(Button(text, "run", line) for text, line in ONE_CLICK if line in commands)
    elements += [Buttons(row)] if row else []
    if "hosts" in commands:
        elements += hosts_card(seen).elements
    if not asker.roles:
        elements.append(Section(NO_ROLE))
    elements.append(Context((words("Type `{slash} help` in any channel.", slash=slash),)))
    return Card(text="Drover", title=words("The cluster"), elements=tuple(elements))


def _open_operations(operations: Sequence[Operation], asker: Asker) -> list[Element]:
    mine = [each for each in operations if each.origin.by == asker.id]
    busy = [each for each in operations if each.state in (State.APPROVED, State.RUNNING)]
    scheduled = [each for each in busy if each.early(asker.now)]
    running = [each for each in busy if each not in scheduled]
    lists = [
        (words("*My requests:* {count}", count=len(mine)), mine),
        (words("*Running operations:* {count}", count=len(running)), running),
    ]
    if scheduled:
        lists.append((words("*Scheduled:* {count}", count=len(scheduled)), scheduled))
    return [
        element
        for title, some in lists
        for element in (Section(title), *(Section(_home_line(each)) for each in some[:10]))
    ]


def _home_line(operation: Operation) -> Words:
    return words(
        "*{id}* {title} ({state})",
        id=Ref(operation.id),
        title=_title_of(operation),
        state=operation_cards.state_line(operation),
    )


def _active_alerts(incidents: Sequence[Incident]) -> Section:
    standing = [each.title for each in gravest_first(incidents) if each.open]
    titles = join(standing[:10], "; ") or words("none")
    return Section(words("*Active alerts:* {titles}", titles=titles))


def _my_vms(seen: Snapshot, asker: Asker) -> Section:
    mine = vms_of_owner(seen.vms, asker.id)
    if not mine:
        me = operation_cards.who(asker.id)
        return Section(
            words("*My VMs:* none. VMs with the tag owner={who} are listed here.", who=me)
        )
    named = tuple(
        words("{vm} ({state} on {host})", vm=vm.name, state=VM_STATES[vm.state], host=vm.host)
        for vm in mine[:20]
    )
    return Section(words("*My VMs:* {vms}", vms=named))
