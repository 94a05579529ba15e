"""Looking without touching: queries' answers, the core's own queries, and the App Home."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import click

from bot.domain import policy as policies
from bot.domain import suggest
from bot.domain.card import Card, Words, words
from bot.domain.cluster import Snapshot
from bot.domain.errors import UNKNOWN, UsageError
from bot.domain.message import Code, Join, Names, join
from bot.domain.operation import MOST_OPEN, Attempted, Event, Operation, State
from bot.domain.pages import Page
from bot.domain.units import seconds_of
from bot.flow import personal_settings
from bot.flow.commands import decisions, query_cards, vm_list
from bot.flow.commands.parse import usage
from bot.flow.context import OPEN, Services, asker, keep_attempt, snapshot
from bot.flow.operations import operation_cards
from bot.hookspecs import hookimpl
from bot.plugin_api import Asker, Command, Counted, Decision, History, Listed, Measured, Query, View
from bot.ports import Request

OPERATIONS = 30  # on a page
EVERYTHING = 10_000  # operations in a file
AUDITED = 500  # operations looked through for one answer; the whole trail is `drover audit export`
DAY = 86400
_OPERATION = re.compile(r"op-\d+")
_PERSON = re.compile(r"<?@?(?P<id>[UW][A-Z0-9]{3,}|drover)(\|[^>]*)?>?")


def _count_nothing(done: int, of: int) -> None:
    """Tell nobody how far it is."""


def answer(
    services: Services,
    query: Query,
    intent: object,
    person: Asker,
    counted: Counted = _count_nothing,
    *,
    whole: bool = False,
) -> Card:
    """A query's card for a person; ``counted`` is told how far it is. ``whole``: for a file."""
    seen = view(services, person, query.focus(intent), needs_snapshot=query.needs_snapshot)
    seen = replace(seen, whole=whole)
    if query.count is not None:
        found = query.count(intent, seen.snapshot, services.hypervisor, counted)
        seen = replace(seen, found=found)
    elif query.gather is not None:
        seen = replace(seen, found=query.gather(intent, seen.snapshot, services.hypervisor))
    return query.answer(intent, seen)


def view(
    services: Services, person: Asker, focus: Sequence[str] = (), *, needs_snapshot: bool = True
) -> View:
    """What a query may look at; the hosts are only asked when it needs them."""
    seen = snapshot(services, focus) if needs_snapshot else Snapshot(services.clock.now(), (), ())
    listed = tuple(
        _listing(services, command, person) for command in services.catalog.commands.values()
    )
    measured = Measured() if services.monitor is None else services.monitor.measures()
    return View(
        seen,
        services.store,
        services.catalog.rules,
        person,
        services.slash,
        listed,
        services.policy,
        services.windows,
        measured=measured,
    )


def _listing(services: Services, command: Command, person: Asker) -> Listed:
    allowed = (
        bool(person.roles)
        if isinstance(command, Decision)
        else command.name == personal_settings.NAME
        or policies.may_ask(services.policy, command.name, person.roles)
    )
    return Listed(
        command.name,
        command.summary,
        usage(command, services.slash),
        allowed,
        not isinstance(command, Query),
        command.example,
        command.also,
    )


def home(services: Services, request: Request, said: Card | None = None) -> None:
    """Fill a person's App Home; ``said``: what their last click there is answered."""
    if said is not None and said.refused:
        keep_attempt(services, request, said)
    person = asker(services, request)
    operations = services.store.operations(states=OPEN, limit=100)
    allowed = [
        name
        for name in services.catalog.commands
        if policies.may_ask(services.policy, name, person.roles)
    ]
    # There may be alerts although no command lists them
    alerts = "alerts" in allowed or (person.roles and "alerts" not in services.catalog.commands)
    incidents = services.monitor.measures().incidents if services.monitor is not None else ()
    looks = not query_cards.LOOKING.isdisjoint(allowed)
    card = query_cards.home_card(
        snapshot(services) if looks else Snapshot(services.clock.now(), (), ()),
        operations,
        person,
        services.slash,
        commands=allowed,
        incidents=incidents if alerts else None,
        said=said,
    )
    services.messages.answer(request.by, lambda: services.chat.publish_home(request.by, card))


@dataclass(frozen=True, slots=True)
class Help:
    """`help [WORD]`."""

    word: str = ""


@dataclass(frozen=True, slots=True)
class Hosts:
    """`hosts [--page N]`."""

    page: int = 1

    def line(self, page: int) -> str:
        """The command that shows a page of the same list."""
        return f"hosts --page {page}" if page > 1 else "hosts"


OPS_FLAGS = ("--mine", "--running", "--failed", "--scheduled")


@dataclass(frozen=True, slots=True)
class Ops:
    """`ops [VM|HOST|@PERSON] [--mine] [--running] [--failed] [--scheduled] [--page N]`."""

    mine: bool = False
    running: bool = False
    failed: bool = False
    scheduled: bool = False
    what: str = ""
    page: int = 1

    def line(self, page: int) -> str:
        """The command that shows a page of the same list."""
        flags = [flag for flag in OPS_FLAGS if getattr(self, flag.removeprefix("--"))]
        what = [self.what] if self.what else []
        turn = ["--page", str(page)] if page > 1 else []
        return shlex.join(["ops", *what, *flags, *turn])


@dataclass(frozen=True, slots=True)
class Windows:
    """`windows`."""


@dataclass(frozen=True, slots=True)
class Audit:
    """`audit [WHAT]`: an operation's id, a VM's or host's name, ``@`` and a person, or '' for all.

    ``since`` as typed.
    """

    what: str = ""
    since: str = ""
    page: int = 1

    def line(self, page: int) -> str:
        """The command that shows a page of the same list."""
        what = [self.what] if self.what else []
        since = ["--since", self.since] if self.since else []
        turn = ["--page", str(page)] if page > 1 else []
        return shlex.join(["audit", *what, *since, *turn])


@dataclass(frozen=True, slots=True)
class Approvals:
    """`approvals`."""


@dataclass(frozen=True, slots=True)
class PolicyOf:
    """`policy COMMAND`; with arguments it is planned, see ``policy_preview``."""

    command: str


HELP = words("What you may do.")
HOSTS = words("Every host: state, VMs, memory, CPU.")
OPS = words("The latest operations, or those of a VM, on a host, or by a person.")
WINDOWS = words("The maintenance windows, and when each opens next.")
AUDIT = words(
    "Everything that happened to an operation (op-17), to a VM, on a host, or by a person.\n\n"
    "Without one: "
    "everything of the last day."
)
APPROVALS = words("What waits for your vote.")
POLICY = words(
    "Who may ask for COMMAND, and who would have to approve it, with its arguments if given."
)
MINE = words("Only what you asked for.")
RUNNING = words("Only what is approved or running.")
FAILED = words("Only what failed or went stale.")
SCHEDULED = words("Only what has a time and waits for it, the next first.")
SINCE = words("How far back, for example 24h or 7d.")


@click.command("help", help=str(HELP))
@click.argument("word", nargs=-1, metavar="[WORD]…")
def _help(word: tuple[str, ...]) -> Help:
    """Grammar of `help`."""
    return Help(" ".join(word))


@click.command("hosts", help=str(HOSTS))
@vm_list.page_option()
def _hosts(page: int) -> Hosts:
    """Grammar of `hosts`."""
    return Hosts(page)


@click.command("ops", help=str(OPS))
@click.argument("what", metavar="[VM|HOST|@PERSON]", default="")
@click.option("--mine", is_flag=True, help=str(MINE))
@click.option("--running", is_flag=True, help=str(RUNNING))
@click.option("--failed", is_flag=True, help=str(FAILED))
@click.option("--scheduled", is_flag=True, help=str(SCHEDULED))
@vm_list.page_option()
def _ops(*, what: str, mine: bool, running: bool, failed: bool, scheduled: bool, page: int) -> Ops:
    """Grammar of `ops`."""
    return Ops(mine, running, failed, scheduled, what, page)


@click.command("windows", help=str(WINDOWS))
def _windows() -> Windows:
    """Grammar of `windows`."""
    return Windows()


@click.command("audit", help=str(AUDIT))
@click.argument("what", metavar="[ID|VM|HOST|@PERSON]", default="")
@click.option("--since", metavar="DURATION", default="", help=str(SINCE))
@vm_list.page_option()
def _audit(what: str, since: str, page: int) -> Audit:
    """Grammar of `audit`."""
    if since:
        seconds_of(since)  # what cannot be read is told now
    return Audit(f"op-{what}" if what.isdecimal() else what, since, page)


@click.command("approvals", help=str(APPROVALS))
def _approvals() -> Approvals:
    """Grammar of `approvals`."""
    return Approvals()


# What follows is another command's, its options too
@click.command("policy", help=str(POLICY), context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, metavar="COMMAND…")
def _policy(command: tuple[str, ...]) -> PolicyOf:
    """Grammar of `policy`."""
    return PolicyOf(shlex.join(command))


def _answer_help(intent: Help, seen: View) -> Card:
    chosen = _topics(intent.word.lower(), seen.commands)
    if not chosen:
        raise _unknown_command(intent.word, seen)
    return query_cards.help_card(seen.slash, chosen, whole=not intent.word)


def _topics(word: str, commands: Sequence[Listed]) -> tuple[Listed, ...]:
    """The commands that a word of `help` is about.

    They begin with it, hold it, or it means them.
    """
    found = tuple(
        each for each in commands if each.name.startswith(word) or word in each.name.split()
    )
    if found:
        return found
    known = {each.name: each.also for each in commands}
    names = {name for name, _ in suggest.guesses(word.split(), known)}
    return tuple(each for each in commands if each.name in names)


def _answer_ops(intent: Ops, seen: View) -> Card:
    if intent.scheduled:
        return _schedule(intent, seen)
    states: tuple[State, ...] = (State.APPROVED, State.RUNNING) if intent.running else ()
    states += (State.FAILED, State.STALE) if intent.failed else ()
    person = _person_of("ops", intent.what, seen)
    by = seen.asker.id if intent.mine else person
    limit = EVERYTHING if seen.whole else intent.page * OPERATIONS
    if intent.what and not person:
        found = [
            each
            for each in seen.history.operations(states=states, by=by, limit=max(limit, AUDITED))
            if _about_it(each, intent.what)
        ]
        whole, still = len(found), sum(not each.state.over for each in found)
    else:
        found = list(seen.history.operations(states=states, by=by, limit=limit))
        whole, still = _count(seen.history, states, by)
    if not found and (flag := f"--{intent.what.lower()}") in OPS_FLAGS:
        line = Code(f"{seen.slash} ops {flag}")
        return operation_cards.note_card(
            words("No operations."), words("Did you mean {line}?", line=line)
        )
    page = Page(whole, intent.page, OPERATIONS)
    return query_cards.ops_card(found, still, seen.asker.now, page, intent.line)


def _count(history: History, states: tuple[State, ...], by: str) -> tuple[int, int]:
    """How many operations there are, and how many of them are not over; no states: all."""
    ongoing = [each for each in states or tuple(State) if not each.over]
    still = history.count_operations(states=ongoing, by=by) if ongoing else 0
    return history.count_operations(states=states, by=by), still


def _usable_commands(seen: View) -> set[str]:
    """The commands that who asks may use."""
    return {each.name for each in seen.commands if each.allowed}


def _schedule(intent: Ops, seen: View) -> Card:
    by = seen.asker.id if intent.mine else ""
    waiting = seen.history.operations(
        states=(State.PROPOSED, State.APPROVED), by=by, limit=MOST_OPEN
    )
    timed = [(each.slot.start, each) for each in waiting if each.slot is not None]
    timed.sort(key=lambda pair: pair[0])
    page = Page(len(timed), intent.page, OPERATIONS)
    found = [each for _, each in timed]
    return query_cards.ops_card(found, len(found), seen.asker.now, page, intent.line)


def _answer_windows(_intent: Windows, seen: View) -> Card:
    return query_cards.windows_card(seen.windows, seen.asker.now, seen.slash)


def _answer_audit(intent: Audit, seen: View) -> Card:
    broken = seen.history.broken_link(whole=False)
    if _OPERATION.fullmatch(intent.what):
        operation = seen.history.operation(intent.what)
        events = seen.history.events(operation.id)[::-1]
        page = Page(len(events), intent.page, query_cards.ROWS)
        return query_cards.audit_card(operation, events, broken, page, intent.line)
    by = _person_of("audit", intent.what, seen)
    reach = seconds_of(intent.since) if intent.since else 0 if intent.what else DAY
    since = seen.asker.now - timedelta(seconds=reach) if reach else None
    attempts: tuple[Attempted, ...] = ()
    if by or not intent.what:
        attempts = seen.history.attempts(by=by, since=since, limit=AUDITED)
    touched = _operations_of(intent, seen, by, since)
    if not touched and not attempts:
        raise _nothing_known(intent, by)
    chosen = [*_entries(touched, seen, by, since), *((each.operation, each) for each in attempts)]
    chosen.sort(key=lambda entry: entry[1].at, reverse=True)
    page = Page(len(chosen), intent.page, query_cards.ROWS)
    return query_cards.trail_card(_about(intent, by), chosen, broken, page, intent.line)


def _person_of(command: str, what: str, seen: View) -> str:
    """The id of the person that a command is asked about; '' for anything else.

    Raises:
        UsageError: a person is meant, and only a name arrived.
    """
    if by := _PERSON.fullmatch(what):
        return by["id"]
    if not what.startswith("@"):
        return ""
    raise UsageError(
        words("Slack did not say who “{who}” is.", who=what),
        words(
            "Choose the name from the list that Slack shows after @, or write the member id (in "
            "the person's profile: ⋮, then Copy member ID), like {command}. The app's "
            "administrator can make names work: turn on “Escape channels, users, and links” for "
            "the command.",
            command=Code(f"{seen.slash} {command} @U0123ABCD"),
        ),
    )


def _operations_of(intent: Audit, seen: View, by: str, since: datetime | None) -> list[Operation]:
    """The operations that the trail is asked about."""
    found = seen.history.operations(limit=EVERYTHING if seen.whole else AUDITED)
    recent = [each for each in found if since is None or each.changed_at >= since]
    if by or not intent.what:
        return recent
    return [each for each in recent if _about_it(each, intent.what)]


def _entries(
    touched: Iterable[Operation], seen: View, by: str, since: datetime | None
) -> Iterator[tuple[str, Event]]:
    """Their events, newest first, also of those that happened at the same moment."""
    for each in touched:
        for event in seen.history.events(each.id)[::-1]:
            if (since is None or event.at >= since) and by in ("", event.by):
                yield each.id, event


def _about_it(operation: Operation, name: str) -> bool:
    """Whether an operation has this id, or is about a VM or a host of this name."""
    is_it = operation.id == name.lower()
    return is_it or _touches(operation, name) or name in operation.plan.blast.hosts


def _touches(operation: Operation, name: str) -> bool:
    return name in operation.plan.blast.vms or any(
        name in step.vms for step in operation.plan.steps
    )


def _about(intent: Audit, by: str) -> Words:
    if by:
        return words("by {who}", who=operation_cards.who(by))
    return words("of {what}", what=intent.what) if intent.what else words("of everything")


def _unknown_command(name: str, seen: View) -> UsageError:
    known = {each.name: each.also for each in seen.commands}
    found = suggest.guesses(name.split(), known)
    lines = tuple(Code(shlex.join([*near.split(), *rest])) for near, rest in found)
    near = words("Did you mean {commands}?", commands=Names(lines, Join.OR)) if lines else ""
    everything = words("See all with {help}.", help=Code(f"{seen.slash} help"))
    return UsageError(
        words("There is no command “{name}”.", name=name),
        join((near, everything)),
        code=UNKNOWN,
    )


def _nothing_known(intent: Audit, by: str) -> UsageError:
    if by:
        text = words("{who} did nothing in that time.", who=operation_cards.who(by))
    elif intent.what:
        text = words("The audit trail has nothing about “{what}”.", what=intent.what)
    else:
        text = words("Nothing happened in the last day.")
    return UsageError(text, words("Try `--since 30d`, or `/kvm ops`."))


def _answer_policy(intent: PolicyOf, seen: View) -> Card:
    if intent.command not in {each.name for each in seen.commands}:
        raise _unknown_command(intent.command, seen)
    return query_cards.policy_card(seen.policy, intent.command)


def _answer_approvals(_intent: Approvals, seen: View) -> Card:
    return query_cards.approvals_card(
        seen.history.operations(states=(State.PROPOSED, State.RUNNING), limit=100), seen.asker
    )


class Core:
    """The core's own commands, registered like any plugin's."""

    @hookimpl
    def register_commands(self) -> Sequence[Query | Decision]:
        """Help, hosts, VMs, operations, windows, audit, approvals, policy; and what decides."""
        return (
            *decisions.DECISIONS,
            Query(
                personal_settings.NAME,
                personal_settings.SUMMARY,
                personal_settings.grammar,
                personal_settings.elsewhere,
                needs_snapshot=False,
                example="me --quiet 22:00-07:00",
                also=("settings", "preferences", "notifications", "profile"),
            ),
            Query(
                "help",
                words("What you may do"),
                _help,
                _answer_help,
                needs_snapshot=False,
                example="help snapshot",
                also=("commands", "man", "?", "ajuda"),
            ),
            Query(
                "hosts",
                words("Every host: state, VMs, memory, CPU"),
                _hosts,
                lambda intent, seen: query_cards.hosts_card(
                    seen.snapshot, intent.page, intent.line, _usable_commands(seen)
                ),
                example="hosts",
                also=(
                    "list",
                    "ls",
                    "list hosts",
                    "host list",
                    "show hosts",
                    "nodes",
                    "hypervisors",
                    "servers",
                ),
            ),
            Query(
                "vms",
                words("All VMs, or by name, host, tag=value"),
                vm_list.grammar,
                vm_list.answer,
                example="vms web",
                also=(
                    "list",
                    "ls",
                    "list vms",
                    "vm list",
                    "vm ls",
                    "show vms",
                    "inventory",
                    "guests",
                    "machines",
                    "instances",
                ),
            ),
            Query(
                "ops",
                words("The latest operations"),
                _ops,
                _answer_ops,
                needs_snapshot=False,
                example="ops --mine",
                also=(
                    "list ops",
                    "show ops",
                    "operations",
                    "jobs",
                    "tasks",
                    "history",
                    "queue",
                    "ps",
                ),
            ),
            Query(
                "windows",
                words("Maintenance windows, and when they open"),
                _windows,
                _answer_windows,
                needs_snapshot=False,
                example="windows",
                also=("maintenance", "schedule", "calendar", "scheduled", "janelas"),
            ),
            Query(
                "audit",
                words("What happened to an operation or VM, on a host, or by a person"),
                _audit,
                _answer_audit,
                needs_snapshot=False,
                example="audit op-17",
                also=("log", "logs", "trail", "events"),
            ),
            Query(
                "approvals",
                words("What waits for your vote"),
                _approvals,
                _answer_approvals,
                needs_snapshot=False,
                example="approvals",
                also=("pending", "votes", "inbox", "aprovações"),
            ),
            Query(
                "policy",
                words("Who may ask for a command, and who approves"),
                _policy,
                _answer_policy,
                needs_snapshot=False,
                example="policy migrate",
                also=("rules", "permissions", "who may", "acl", "política"),
            ),
        )
