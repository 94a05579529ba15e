"""Every sentence the core says when people only look: help, hosts, VMs, operations, the audit trail, the policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
    Element,
    Line,
    Section,
    Table,
    Words,
    bare,
    said_elsewhere,
    words,
)
from bot.domain.cluster import Health, Host, Snapshot, Vm
from bot.domain.message import Duration, Message, Number, Percent, joined, nwords
from bot.domain.metrics import Incident
from bot.domain.operation import (
    BOT,
    Approved,
    Asked,
    Began,
    Cancelled,
    Continued,
    Denied,
    Event,
    Expired,
    Failed,
    Finished,
    GainMeasured,
    Held,
    Noted,
    Operation,
    Proposed,
    Released,
    Replaced,
    Replanned,
    RulingChanged,
    State,
    StepBegan,
    StepEnded,
    StepSkipped,
    UnknownEvent,
    VotedFor,
    WentStale,
)
from bot.domain.words import bytes_text, duration_text, plural
from bot.flow.operations import operation_cards
from bot.plugin_api import Asker, Listed

ROWS = 95  # of a table; a message takes 100
HELP_LINES = 20  # commands in one paragraph
FAMILY = 4  # commands with the same first word that are told in one line where all are listed
HELP = "`{slash} COMMAND --help` tells all options of one."


def help_card(slash: str, commands: Sequence[Listed], *, whole: bool = False) -> Card:
    """What this person may do, and what others may; ``whole``: of everything, so that large families take one line."""
    mine = [each for each in commands if each.allowed]
    elements: list[Element] = [Section(words(HELP, slash=slash))]
    for title, changes in (("To look", False), ("To change something, as the policy allows", True)):
        some = [each for each in mine if each.changes is changes]
        lines = _told_short(slash, some) if whole else [(each.usage, each.summary) for each in some]
        pages = range(0, len(lines), HELP_LINES)
        elements += [
            Section(_help_lines("" if start else title, lines[start : start + HELP_LINES]))
            for start in pages
        ]
    others = [each.name for each in commands if not each.allowed]
    if others:
        elements.append(Context((words("Not yours to use: {names}", names=", ".join(others)),)))
    text = f"{plural(len(mine), 'command')} you may use: {', '.join(each.name for each in mine)}"
    return Card(text=text, title="What you can ask Drover", elements=tuple(elements))


def _told_short(slash: str, commands: Sequence[Listed]) -> list[tuple[str, Line]]:
    """Usage and summary of each; behind them one line for every family, with how to see its members."""
    families: dict[str, list[str]] = {}
    for each in commands:
        first, _, rest = each.name.partition(" ")
        families.setdefault(first, []).append(rest)
    large = {first: rests for first, rests in families.items() if len(rests) >= FAMILY}
    found: list[tuple[str, Line]] = [
        (each.usage, each.summary) for each in commands if each.name.partition(" ")[0] not in large
    ]
    return found + [
        (f"{slash} {first} …", f"{', '.join(rests)}. See {slash} help {first}")
        for first, rests in large.items()
    ]


def _help_lines(title: str, lines: Sequence[tuple[str, Line]]) -> Words:
    parts = [f"`{{u{index}}}` {{s{index}}}" for index in range(len(lines))]
    usages = {
        f"u{index}": usage.replace(" [OPTIONS]", "") for index, (usage, _) in enumerate(lines)
    }
    summaries = {f"s{index}": _without_stop(summary) for index, (_, summary) in enumerate(lines)}
    return Words("\n".join([*([f"*{title}*"] if title else []), *parts]), {**usages, **summaries})


def _without_stop(summary: Line) -> Line:
    return summary if isinstance(summary, Words) else str(bare(summary)).removesuffix(".")


def usage_card(usage: str, grammar: click.Command, options: Sequence[tuple[str, str]]) -> Card:
    """How one command is typed: its usage, what it does, each option."""
    told = cleandoc(grammar.help or "")
    elements: list[Element] = [
        Section(words("`{usage}`", usage=usage)),
        *([Section(said_elsewhere(told))] if told else []),
    ]
    if options := [each for each in options if each[1]]:  # an argument's name says what it is
        rows = tuple(
            (words("`{option}`", option=option), said_elsewhere(meaning))
            for option, meaning in options
        )
        elements.append(Table(("Option", "Meaning"), rows))
    return Card(text=usage, elements=tuple(elements))


def hosts_card(seen: Snapshot) -> Card:
    """Every host: state, guests, memory, CPU."""
    hosts = sorted(seen.hosts, key=lambda host: host.name)
    rows = tuple(_host_row(seen, host) for host in hosts)
    down = [host for host in hosts if not host.up]
    up = len(hosts) - len(down)
    elements: list[Element] = [
        Table(
            ("Host", "State", "VMs", "Memory allocated", "CPU busy", "QEMU"),
            rows,
            numeric=frozenset({2}),
        )
    ]
    elements += [
        Section(
            words(
                "*{host}* {problem}",
                host=host.name,
                problem=host.problem.removeprefix(f"{host.name} "),
            )
        )
        for host in down
        if host.problem
    ]
    elements += [Section(words("*{host}* could not be read whole: {parts}", host=host.name, parts=parts))
                 for host in hosts if (parts := unread_text(seen, host))]  # fmt: skip
    text = f"{up} of {plural(len(hosts), 'host')} up" + (
        f"; not: {', '.join(h.name for h in down)}" if down else ""
    )
    return Card(
        text=text,
        title=f"{up} of {plural(len(hosts), 'host')} up",
        elements=(*elements, _as_of(seen)),
    )


_UNREAD = 5  # parts of a host that are told; the rest is counted


def unread_text(seen: Snapshot, host: Host) -> str:
    """What of a host that answers could not be read, each with its reason; '' when all was."""
    if not host.up:
        return ""
    told = [each.text for each in host.unread]
    told += [f"VM {vm.name}: {vm.problem}" for vm in seen.on(host.name) if vm.problem]
    more = f"; and {len(told) - _UNREAD} more" if len(told) > _UNREAD else ""
    return "; ".join(told[:_UNREAD]) + more


def _host_row(seen: Snapshot, host: Host) -> tuple[Line, ...]:
    guests = seen.on(host.name)
    running = sum(1 for vm in guests if vm.state.active)
    state = "maintenance" if host.up and host.maintenance else str(host.health)
    if not host.up:
        return (host.name, state, str(len(guests)), "?", "?", "?")
    share = placement.cpu_share(seen, host)
    memory = f"{bytes_text(seen.promised(host.name))} of {bytes_text(host.usable)}"
    cpu = "not measured yet" if share is None else f"{share:.0%} of {host.cpus}"
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


def vms_card(seen: Snapshot, wanted: str, limit: int = 95) -> Card:
    """Guests, by name; ``wanted`` narrows by a part of the name, a host or ``tag=value``."""
    found = sorted(
        (vm for vm in seen.vms if _matches(vm, wanted)), key=lambda vm: (vm.name, vm.host)
    )
    if not found:
        advice = f"Nothing matches “{wanted}”." if wanted else "The hosts that answer have none."
        return operation_cards.note_card("No VMs.", advice)
    rows = tuple(_vm_row(vm, seen) for vm in found[:limit])
    running = sum(1 for vm in found if vm.state.active)
    title = f"{plural(len(found), 'VM')}, {running} running"
    elements: list[Element] = [
        Table(("VM", "Host", "State", "vCPUs", "Memory", "CPU", "Tags"), rows, frozenset({3}))
    ]
    if len(found) > limit:
        elements.append(
            Section(
                f"… and {len(found) - limit} more; narrow it down with a name, a host or tag=value."
            )
        )
    return Card(text=title, title=title, elements=(*elements, _as_of(seen)))


def _matches(vm: Vm, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    if equals:
        return vm.tags.get(key) == value
    return not wanted or wanted in vm.name or wanted in (vm.host, vm.uuid)


def _vm_row(vm: Vm, seen: Snapshot) -> tuple[Line, ...]:
    fresh = seen.host(vm.host).health is Health.UP
    state = f"{vm.state}, memory saved" if vm.saved else str(vm.state)
    state = state if fresh else f"{state} (last seen)"
    cpu = "" if vm.cpu is None else f"{vm.cpu:.2f}"
    tags = ", ".join(f"{key}={value}" for key, value in sorted(vm.tags.items()))
    return (vm.name, vm.host, state, str(vm.vcpus), bytes_text(vm.memory), cpu, tags)


def _as_of(seen: Snapshot) -> Context:
    return Context((words("as of {at}", at=seen.taken_at),))


def ops_card(operations: Sequence[Operation], now: datetime) -> Card:
    """Operations, newest first."""
    if not operations:
        return operation_cards.note_card(
            words("No operations."), words("Nothing matches; `ops` alone lists the latest.")
        )
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (
            each.id,
            operation_cards.STATES[each.state],
            each.plan.title,
            words("{who}", who=operation_cards.who(each.origin.by)),
            words("{time} ago", time=Duration(max(0.0, (now - each.changed_at).total_seconds()))),
        )
        for each in operations
    )
    running = sum(1 for each in operations if not each.state.over)
    text = nwords(
        "{n} operation, {open} open", "{n} operations, {open} open", n=len(operations), open=running
    )
    columns = (words("ID"), words("State"), WHAT, WHO, words("Changed"))
    return Card(text=text, title=text, elements=(Table(columns, rows),))


def audit_card(operation: Operation, events: Sequence[Event], broken: Message) -> Card:
    """An operation's whole history, and whether the chain of the trail holds."""
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (_moment(event), words("{who}", who=operation_cards.who(event.by)), event_text(event))
        for event in events[:ROWS]
    )
    text = nwords(
        "{id} is {state}; {n} event",
        "{id} is {state}; {n} events",
        n=len(events),
        id=operation.id,
        state=operation_cards.STATES[operation.state],
    )
    return Card(
        text=text,
        title=operation_cards.id_line(operation, operation.plan.title),
        elements=(
            Table((WHEN, WHO, WHAT), rows),
            Context((_chain_text(broken), words("plan {digest}", digest=operation.plan.digest))),
        ),
    )


WHEN, WHO, WHAT = words("When (UTC)"), words("Who"), words("What")


def trail_card(about: Words, entries: Sequence[tuple[Operation, Event]], broken: Message) -> Card:
    """What happened, newest first: when, who, to which operation, what; and whether the chain holds."""
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (
            _moment(event),
            words("{who}", who=operation_cards.who(event.by)),
            operation.id,
            event_text(event),
        )
        for operation, event in entries[:ROWS]
    )
    title = nwords("{n} event in the audit trail", "{n} events in the audit trail", n=len(entries))
    elements: list[Element] = [Section(words("Audit trail {about}", about=about))]
    if rows:
        elements.append(Table((WHEN, WHO, words("Operation"), WHAT), rows))
    if len(entries) > ROWS:
        more = len(entries) - ROWS
        elements.append(
            Section(words("… and {count} older; narrow it down with --since.", count=more))
        )
    return Card(text=title, title=title, elements=(*elements, Context((_chain_text(broken),))))


def _moment(event: Event) -> str:
    """To the second, as a trail needs it: what happened within a minute has an order."""
    return f"{event.at:%Y-%m-%d %H:%M:%S}"


def _chain_text(broken: Message) -> Line:
    if broken:
        return words("*The audit trail was tampered with:* {broken}", broken=broken)
    return words(
        "The hash chain holds (new events were checked now; all of them at the start and every 6 hours)."
    )


def event_text(event: Event) -> Line:
    """An event as a sentence of the audit trail."""
    told = _TOLD.get(type(event))
    return told(event) if told is not None else type(event).__name__.lower()


def _behind(told: Words, said: Line) -> Line:
    """A sentence and, where there is one, what was said with it."""
    return Words("{told}: {said}", {"told": told, "said": said}) if said != "" else told


def _proposed(event: Proposed) -> Line:
    return nwords(
        "proposed {command} (plan {digest}); rule “{rule}” asks {n} vote",
        "proposed {command} (plan {digest}); rule “{rule}” asks {n} votes",
        n=event.ruling.votes,
        command=event.origin.command,
        digest=event.plan.digest,
        rule=event.ruling.rule,
    )


def _step_ended(event: StepEnded) -> Line:
    number = event.index + 1
    how = (
        words("step {number} was found done", number=number) if event.found_done else _ended(number)
    )
    return _behind(how, operation_cards.facts_text(event))


def _ended(number: int) -> Words:
    return words("step {number} ended", number=number)


def _ruling_changed(event: RulingChanged) -> Line:
    return nwords(
        "from now on rule “{rule}” asks {n} vote; {count} of those given count",
        "from now on rule “{rule}” asks {n} votes; {count} of those given count",
        n=event.ruling.votes,
        rule=event.ruling.rule,
        count=len(event.counted),
    )


def _measured(event: GainMeasured) -> Line:
    found = event.measured
    return words(
        "measured at {time} UTC: CPU of the busiest host {busiest}, of the idlest {idlest}, unevenness {score}",
        time=f"{event.taken_at:%H:%M:%S}",
        busiest=Percent(found.busiest),
        idlest=Percent(found.idlest),
        score=Number(found.unevenness, 3),
    )


def _replanned(event: Replanned) -> Line:
    steps = joined((step.title for step in event.steps), "; ")
    return words("the rest planned anew, {why} {steps}", why=event.why, steps=steps)


def _approved(event: Approved) -> Line:
    return (
        words("approved: the votes suffice")
        if event.by != BOT
        else words("approved: no vote is needed")
    )


_TOLD: Mapping[type[Event], Callable[[Any], Line]] = {
    Proposed: _proposed,
    VotedFor: lambda event: words("approved the plan {digest}", digest=event.digest),
    Denied: lambda event: words("denied: {why}", why=event.why),
    WentStale: lambda event: words(
        "not done: {why}", why=operation_cards.objections_text(event.objections)
    ),
    StepBegan: lambda event: words("step {number} began", number=event.index + 1),
    StepEnded: _step_ended,
    StepSkipped: lambda event: words(
        "step {number} skipped: {why}", number=event.index + 1, why=event.why.text
    ),
    Replanned: _replanned,
    Continued: lambda event: words("let step {number} go on", number=event.index + 1),
    RulingChanged: _ruling_changed,
    Held: lambda event: words("held: {why}", why=event.why),
    Released: lambda _: words("let it go on"),
    UnknownEvent: lambda event: words(
        "{kind} (not read here: {why})", kind=event.kind, why=event.why
    ),
    Replaced: lambda event: words("replaced by {id}", id=event.instead),
    GainMeasured: _measured,
    Noted: lambda event: event.text,
    Asked: lambda event: words("asked: {what}", what=operation_cards.ASKS[event.ask]),
    Failed: lambda event: words("failed: {why}", why=joined((event.why, event.advice))),
    Cancelled: lambda event: _behind(words("cancelled"), event.why),
    Approved: _approved,
    Began: lambda _: words("began: the plan still held on a fresh look at the hosts"),
    Finished: lambda _: words("finished: every step is done"),
    Expired: lambda _: words("expired: nobody decided in time"),
}


def approvals_card(operations: Sequence[Operation], asker: Asker) -> Card:
    """What waits for this person's vote, with a way to read each plan."""
    waiting = [each for each in operations if may_vote(each, asker)]
    if not waiting:
        return operation_cards.note_card("Nothing waits for your vote.")
    elements: list[Element] = []
    for each in waiting[:10]:
        elements.append(Section(_waiting_line(each)))
        elements.append(Buttons(operation_cards.voting_buttons(each, mine=False)))
    title = f"{plural(len(waiting), 'operation')} for you to decide"
    return Card(text=title, title=title, elements=tuple(elements))


def _waiting_line(operation: Operation) -> Words:
    return words(
        "*{id}* {title}\n{blast}; asked by {who}; expires {at}",
        id=operation.id,
        title=operation.plan.title,
        blast=operation_cards.blast_text(operation.plan),
        who=operation_cards.who(operation.origin.by),
        at=operation.expires_at,
    )


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
        (rule.name, _conditions(rule), _demand(rule), duration_text(rule.expires)) for rule in rules
    )
    asks = ", ".join(policies.who_may(policy, command)) or "nobody"
    return Card(
        text=f"{command}: asked by {asks}; {plural(len(rules), 'rule')}",
        title=f"Policy for {command}",
        elements=(
            Section(
                words(
                    "May be asked by: *{asks}*. The first rule whose conditions all hold rules.",
                    asks=asks,
                )
            ),
            Table(("Rule", "When", "Takes", "Expires after"), rows),
        ),
    )


def rule_text(rule: policies.Rule) -> str:
    """A rule in one line: when it rules, what it takes, until when."""
    commands = f"{', '.join(rule.commands)}: " if rule.commands else ""
    expires = "" if rule.freeze else f"; expires after {duration_text(rule.expires)}"
    return f"{commands}{_conditions(rule)} → {_demand(rule)}{expires}"


def _conditions(rule: policies.Rule) -> str:
    parts = [
        "what a watch does by itself" if rule.automatic else "",
        f"risk {' or '.join(rule.risks)}" if rule.risks else "",
        f"tag {' or '.join(rule.tags)}" if rule.tags else "",
        f"host {' or '.join(rule.hosts)}" if rule.hosts else "",
        f"at least {plural(rule.min_vms, 'VM')}" if rule.min_vms else "",
        f"at least {bytes_text(rule.min_memory)}" if rule.min_memory else "",
        f"at most {plural(rule.max_vms, 'VM')}" if rule.max_vms else "",
        f"at most {bytes_text(rule.max_memory)}" if rule.max_memory else "",
        _window_text(rule.window) if rule.window else "",
    ]
    return ", ".join(part for part in parts if part) or "always"


def _window_text(window: policies.Window) -> str:
    days = " ".join(window.days) or "every day"
    return f"{days} {window.start:%H:%M}–{window.end:%H:%M} {window.zone}"


def _demand(rule: policies.Rule) -> str:
    if rule.freeze:
        return f"frozen: {rule.why}" if rule.why else "frozen"
    if not rule.votes:
        return (
            "no vote"
            if rule.automatic
            else f"no vote; 1 from {' or '.join(rule.approvers)} for what the bot proposes"
        )
    text = f"{plural(rule.votes, 'vote')} from {' or '.join(rule.approvers)}"
    late = (
        f"; after {duration_text(rule.fallback_after)} also {' or '.join(rule.fallback)}"
        if rule.fallback
        else ""
    )
    return text + late


ONE_CLICK = (
    ("Status", "status"),
    ("Top VMs", "top"),
    ("Alerts", "alerts"),
    ("Digest", "digest"),
    ("Votes", "approvals"),
)
"""Buttons of the dashboard and the commands they type, where these exist and the person may use them."""


def home_card(
    seen: Snapshot,
    operations: Sequence[Operation],
    asker: Asker,
    slash: str,
    *,
    commands: Collection[str] = (),
    incidents: Sequence[Incident] = (),
) -> Card:
    """The dashboard: what waits for me, what runs, what is wrong, my VMs (tagged ``owner`` with my id), the hosts."""
    waiting = [each for each in operations if may_vote(each, asker)]
    running = [each for each in operations if each.state in (State.APPROVED, State.RUNNING)]
    elements: list[Element] = [
        Section(words("*Waiting for your vote:* {count}", count=len(waiting)))
    ]
    for each in waiting[:5]:
        elements += [
            Section(_waiting_line(each)),
            Buttons(operation_cards.voting_buttons(each, mine=False)),
        ]
    elements.append(Section(words("*Under way:* {count}", count=len(running))))
    elements += [
        Section(words("*{id}* {title} ({state})", id=o.id, title=o.plan.title, state=str(o.state)))
        for o in running[:10]
    ]
    standing = [each for each in incidents if each.open]
    elements += [
        Section(
            words(
                "*Wrong now:* {what}",
                what="; ".join(str(each.title) for each in standing[:10]) or "nothing",
            )
        )
    ]
    mine = sorted(
        (vm for vm in seen.vms if vm.tags.get("owner") == asker.id), key=lambda vm: vm.name
    )
    if not mine:
        elements.append(
            Section(
                words("*My VMs:* none; those with the tag `owner={id}` stand here.", id=asker.id)
            )
        )
    else:
        told = ", ".join(f"{vm.name} ({vm.state} on {vm.host})" for vm in mine[:20])
        elements.append(Section(words("*My VMs:* {told}", told=told)))
    row = tuple(Button(text, "run", line) for text, line in ONE_CLICK if line in commands)
    elements += [Buttons(row)] if row else []
    elements += hosts_card(seen).elements
    elements.append(Context((words("Type `{slash} help` in any channel.", slash=slash),)))
    return Card(text="Drover", title="The cluster", elements=tuple(elements))
