"""What `drover check` finds: the configuration, the policy in words, and every connection."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bot.adapters.language import Languages
from bot.catalog import Catalog
from bot.cluster_files import write_file
from bot.domain import codec
from bot.domain import policy as policies
from bot.domain.card import bare, said_elsewhere
from bot.domain.cluster import Host, Snapshot
from bot.domain.errors import DroverError
from bot.domain.message import Code, Message, Names, Words, join, nwords, words
from bot.domain.power import Power, Reading
from bot.domain.readiness import Finding as Readiness
from bot.domain.readiness import Severity
from bot.domain.words import command
from bot.factories import (
    connect_hypervisor,
    existing_store,
    load_catalog,
    other_ways,
    power_control,
    sign_in,
)
from bot.flow.commands import query_cards
from bot.plugin_api import Query
from bot.ports import Hypervisor
from bot.settings import DroverSettings

READINESS = "host check"
WIDTH = 100
ORDER = (Severity.FAIL, Severity.WARN, Severity.UNKNOWN, Severity.PASS)
"""What is printed first."""
_PREFIXES = {"bot_token": ("xoxb-", "xoxe.xoxb-"), "app_token": ("xapp-",)}
"""How Slack's tokens begin; a bot token that is rotated begins with xoxe. as well."""
EVERYONE = words("may be asked by everyone")
NOBODY = words("may be asked by nobody")

Say = Callable[[Message], str]
"""Writes a message in the terminal's language."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check and its result.

    ``text``: what was found; for what is wrong without a ``fix``, also what to do. ``severity``:
    PASS, WARN, FAIL or UNKNOWN, as in `host check`; '' becomes PASS or FAIL; only FAIL is not
    ``ok``. ``host``, ``check`` and ``fix`` come with the readiness of hosts. ``explains``: it
    explains the configuration, and checks nothing. ``commands``: those that it names.
    """

    what: Message
    ok: bool
    text: Message
    severity: str = ""
    fix: Message = ""
    explains: bool = False
    host: str = ""
    check: Message = ""
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.severity:
            object.__setattr__(
                self, "severity", (Severity.PASS if self.ok else Severity.FAIL).value
            )

    @property
    def label(self) -> Message:
        """``what``, with the name of a host's check in words that can be translated."""
        if not self.check:
            return self.what
        return Words(
            "{host} {check}", {"host": self.host, "check": said_elsewhere(str(self.check))}
        )

    @property
    def data(self) -> dict[str, object]:
        """JSON-able, in English whatever the language, for scripts."""
        return {
            "what": str(self.what),
            "ok": self.ok,
            "text": str(join((self.text, self.fix), ". ")),
            "severity": self.severity,
            "fix": str(self.fix),
            "explains": self.explains,
            "host": self.host,
        }


def report(findings: Collection[Finding], *, verbose: bool = False, say: Say = str) -> str:
    """Return what the terminal prints: a summary, what is wrong, and the policy in words.

    ``verbose``: also what passed.
    """
    shown = [each for each in ORDER if verbose or each is not Severity.PASS]
    wanted = [
        each for level in shown for each in findings if each.severity == level and not each.explains
    ]
    wanted = wanted if verbose else _group(wanted)
    lines = [
        say(_summary(findings)),
        *([""] if wanted else []),
        *(_line(each, f"{each.severity:8}", say) for each in wanted),
    ]
    if explained := [each for each in findings if each.explains]:
        told = [_line(each, "  ", say, short=not verbose) for each in explained]
        lines += ["", say(words("The policy:")), *told]
    if not verbose:
        more = words("To see all that passed, and every command by name: `drover check --verbose`")
        lines += ["", say(more)]
    return "\n".join(lines)


def _group(findings: Iterable[Finding]) -> list[Finding]:
    """Checks of one host that could not be made for one reason, as one; all else as it is."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for number, each in enumerate(findings):
        alike = each.severity == Severity.UNKNOWN and each.check and not each.fix
        groups.setdefault((each.host, each.text) if alike else (number,), []).append(each)
    return [same[0] if len(same) == 1 else _as_one(same) for same in groups.values()]


def _as_one(same: list[Finding]) -> Finding:
    checks = Names(tuple(said_elsewhere(str(each.check)) for each in same))
    what = Words("{host} {checks}", {"host": same[0].host, "checks": checks})
    return replace(same[0], what=what, check="")


def _summary(findings: Collection[Finding]) -> Words:
    def count(level: Severity) -> int:
        return sum(each.severity == level and not each.explains for each in findings)

    told = {
        Severity.FAIL: nwords("{n} failed", "{n} failed", n=count(Severity.FAIL)),
        Severity.WARN: nwords("{n} warning", "{n} warnings", n=count(Severity.WARN)),
        Severity.UNKNOWN: nwords("{n} unknown", "{n} unknown", n=count(Severity.UNKNOWN)),
        Severity.PASS: nwords("{n} passed", "{n} passed", n=count(Severity.PASS)),
    }
    shown = [told[level] for level in ORDER if count(level) or level is Severity.FAIL]
    every = sum(map(count, ORDER))
    return nwords("{n} check: {counts}", "{n} checks: {counts}", n=every, counts=shown)


def _line(found: Finding, before: str, say: Say, *, short: bool = False) -> str:
    text = say(found.text)
    if short and found.commands and len(text) > WIDTH:
        text = say(nwords("{n} command", "{n} commands", n=len(found.commands)))
    indent = " " * (len(before) + 2)
    line = textwrap.fill(
        f"{before}{say(found.label)}: {text}",
        WIDTH,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    # A command is copied whole, so it is not broken
    return f"{line}\n{indent}{say(found.fix)}" if found.fix else line


def _error_text(error: DroverError) -> Message:
    """An error in two sentences."""
    return join((error.text, error.advice))


def offline(settings: DroverSettings) -> list[Finding]:
    """What can be told from the configuration alone."""
    policy = settings.domain_policy()
    findings = [
        Finding(
            words("hosts"),
            bool(settings.hosts),
            nwords("{n} configured", "{n} configured", n=len(settings.hosts)),
        ),
        Finding(
            words("roles"),
            bool(settings.roles),
            Words("{roles}", {"roles": Names(tuple(settings.roles))})
            if settings.roles
            else words("none; nobody may do anything"),
        ),
    ]
    findings += [_secret(settings, name) for name in _needed_secrets(settings)]
    findings.append(_channel("slack.approvals_channel", settings.slack.approvals_channel))
    plugins = words("plugins")
    try:
        catalog = load_catalog(settings)
    except DroverError as error:
        return [*findings, Finding(plugins, ok=False, text=_error_text(error))]
    findings.append(Finding(plugins, ok=True, text=", ".join(settings.plugins.enabled)))
    findings += _askers(policy, catalog.role_commands)
    findings += [*_ways(settings), *_webhook(settings, catalog)]
    return [*findings, *_rules(settings, policy, catalog)]


def _ways(settings: DroverSettings) -> list[Finding]:
    """Whether each address of other ways than the chat is understood; nothing is sent."""
    if not settings.tell:
        return []
    names = Names(tuple(each.name for each in settings.tell))
    try:
        other_ways(settings, Languages())
    except DroverError as error:
        return [Finding("tell", ok=False, text=_error_text(error))]
    return [Finding("tell", ok=True, text=words("{names}: `drover tell` tries them", names=names))]


def _webhook(settings: DroverSettings, catalog: Catalog) -> list[Finding]:
    """Whether the webhook has its token, and each fix a command."""
    if not settings.alertmanager.port:
        return []
    problems: list[Message] = []
    try:
        settings.alertmanager.token()
    except DroverError as error:
        problems.append(_error_text(error))
    for fix in settings.alertmanager.fixes:
        try:
            catalog.find(shlex.split(fix.command))
        except (DroverError, ValueError) as error:
            why = error.text if isinstance(error, DroverError) else str(error)
            problems.append(words("{command}: {why}", command=Code(fix.command), why=why))
    told = [Finding("alertmanager", ok=False, text=each) for each in problems]
    return told or [Finding("alertmanager", ok=True, text=words("given"))]


def _askers(policy: policies.Policy, commands: Iterable[str]) -> list[Finding]:
    """Which roles may ask for which commands, grouped by roles.

    A command that nobody may ask for is wrong.
    """
    asked: dict[Words, list[str]] = {}
    for name in commands:
        roles = policies.who_may(policy, name)
        may = words("may be asked by {roles}", roles=tuple(roles)) if roles else NOBODY
        asked.setdefault(EVERYONE if name in policy.everyone else may, []).append(name)
    return [
        Finding(
            may,
            may is not NOBODY,
            ", ".join(names),
            explains=may is not NOBODY,
            commands=tuple(names),
        )
        for may, names in asked.items()
    ]


def _rule(name: str) -> Words:
    return words("policy rule “{rule}”", rule=name)


def _rules(settings: DroverSettings, policy: policies.Policy, catalog: Catalog) -> list[Finding]:
    """Each rule in words, in their order; and what contradicts itself or another rule."""
    people = {
        name: None if role.groups else frozenset(role.users)
        for name, role in settings.roles.items()
    }
    told = [
        Finding(_rule(rule.name), ok=True, text=query_cards.rule_text(rule), explains=True)
        for rule in policy.rules
    ]
    told += [
        Finding(
            words("maintenance window “{window}”", window=name),
            ok=True,
            text=query_cards.window_text(window),
            explains=True,
        )
        for name, window in settings.maintenance_windows().items()
    ]
    wrong = (
        policies.contradictions(policy, people, catalog.automatic, catalog.where_allowed)
        if settings.roles
        else ()
    )
    told += [
        Finding(
            _rule(rule.name),
            ok=True,
            text=text,
            severity=Severity.WARN.value,
        )
        for rule in policy.rules
        for text in (policies.for_the_bot(rule), policies.for_both(rule, policy))
        if text
    ]
    return told + [Finding(_rule(name), ok=False, text=text) for name, text in wrong]


def _needed_secrets(settings: DroverSettings) -> tuple[str, ...]:
    return (
        ("bot_token", "app_token")
        if settings.slack.mode == "socket"
        else ("bot_token", "signing_secret")
    )


def _secret(settings: DroverSettings, name: str) -> Finding:
    problem = _secret_problem(settings, name)
    what = words("secret {name}", name=name)
    return Finding(what, not problem, problem or words("given"))


def _secret_problem(settings: DroverSettings, name: str) -> Message:
    """Why this cannot be what Slack calls it, with what to do; '' when it can.

    Never with the secret itself.
    """
    value = getattr(settings.slack, name).get_secret_value()
    variable = f"SLACK_{name.upper()}"
    if not value:
        file = f"{variable}_FILE"
        return words("missing; set {variable} or {file}", variable=variable, file=file)
    wanted = _PREFIXES.get(name)
    if wanted is None or value.startswith(wanted):
        return ""
    other = next((each for each, prefixes in _PREFIXES.items() if value.startswith(prefixes)), "")
    if other:
        right = f"SLACK_{other.upper()}"
        return words(
            "it is an {given}… token, and {variable} takes an {wanted}… one; give it as {right}",
            given=_PREFIXES[other][0],
            variable=variable,
            wanted=wanted[0],
            right=right,
        )
    return words(
        "it does not begin with {wanted}; copy it again, see README, “Connect a real workspace”",
        wanted=wanted[0],
    )


def _channel(key: str, value: str) -> Finding:
    missing = words("missing; put the channel's id (C…) there and invite the bot")
    return Finding(key, bool(value), value or missing)


def online(settings: DroverSettings, save: Path | None = None) -> list[Finding]:
    """What every connection answers; ``save`` keeps the cluster as a file."""
    return [*_hosts(settings, save), *_database(settings), *_slack(settings)]


def _hosts(settings: DroverSettings, save: Path | None) -> list[Finding]:
    hypervisor = connect_hypervisor(settings)
    try:
        seen = hypervisor.snapshot()
        ready = _readiness(settings, seen, hypervisor)
    finally:
        hypervisor.close()
    if save:
        write_file(save, codec.text(seen))
    return [*_answering(seen), *_fences(settings, seen), *ready]


def _fences(settings: DroverSettings, seen: Snapshot) -> list[Finding]:
    """What the power controller of each host reads; nothing is switched."""
    try:
        control = power_control(settings)
    except DroverError as error:
        return [Finding(words("power controllers"), ok=False, text=_error_text(error))]
    readings = [
        (host, control.read(each)) for host in seen.hosts for each in control.devices(host.name)
    ]
    return [_fence(host, reading) for host, reading in readings]


def _fence(host: Host, reading: Reading) -> Finding:
    what = words("{host} power by {device}", host=host.name, device=reading.device)
    if reading.power is Power.UNKNOWN:
        why = reading.problem or words("no answer")
        return Finding(what, ok=False, text=words("it does not answer: {why}", why=why))
    power = words("on") if reading.power is Power.ON else words("off")
    if not reading.identity or not host.uuid:
        text = words("{power}; it names no machine, so two people bind it", power=power)
        return Finding(
            what,
            ok=True,
            text=text,
            severity=Severity.WARN.value,
            fix=words(
                "{command}",
                command=Code(command("/kvm failover bind {} {}", host.name, reading.device)),
            ),
        )
    if reading.identity.lower() != host.uuid.lower():
        text = words(
            "it controls another machine ({other}); this one is {uuid}",
            other=reading.identity,
            uuid=host.uuid,
        )
        return Finding(what, ok=False, text=text)
    return Finding(
        what,
        ok=True,
        text=words("{power}, the same machine ({uuid})", power=power, uuid=host.uuid),
    )


def _readiness(settings: DroverSettings, seen: Snapshot, hypervisor: Hypervisor) -> list[Finding]:
    """What `host check` finds on every host, where a plugin has that command."""
    try:
        query = load_catalog(settings).commands.get(READINESS)
    except DroverError:
        return []  # ``offline`` tells it
    if not isinstance(query, Query) or query.gather is None or not seen.hosts:
        return []
    intent = query.grammar.main(["--all"], prog_name=READINESS, standalone_mode=False)
    reports = query.gather(intent, seen, hypervisor).reports
    return [_ready(report.host, each) for report in reports for each in report.findings]


def _ready(host: str, found: Readiness) -> Finding:
    return Finding(
        f"{host} {found.name}",
        found.severity is not Severity.FAIL,
        bare(found.evidence),
        found.severity.value,
        bare(found.fix),
        host=host,
        check=found.label or found.name,
    )


def _size(host: Host, vms: int) -> Message:
    size = words(
        "{vms}, {cpus}, {model}",
        vms=nwords("{n} VM", "{n} VMs", n=vms),
        cpus=nwords("{n} CPU", "{n} CPUs", n=host.cpus),
        model=host.cpu_model or words("CPU model unknown"),
    )
    if not host.unread:
        return size
    parts = join((each.text for each in host.unread), "; ")
    return words("{size}; could not read {parts}", size=size, parts=parts)


def _answering(seen: Snapshot) -> list[Finding]:
    return [
        Finding(
            words("host {host}", host=host.name),
            host.up,
            _size(host, len(seen.on(host.name))) if host.up else _silence(host),
        )
        for host in seen.hosts
    ]


def _silence(host: Host) -> Message:
    return words("it does not answer: {why}", why=host.problem or words("no answer"))


def _database(settings: DroverSettings) -> list[Finding]:
    """Whether what is stored holds. A look makes no database where none is."""
    what = words("database")
    try:
        store = existing_store(settings, load_catalog(settings))
        if store is None:
            none = words("none yet; the first `drover run` makes it")
            return [Finding(what, ok=True, text=none)]
        broken = store.broken_link()
        store.close()
    except DroverError as error:
        return [Finding(what, ok=False, text=_error_text(error))]
    good = words("opens, and the audit trail is intact")
    return [Finding(what, not broken, broken or good)]


def _slack(settings: DroverSettings) -> list[Finding]:
    if _secret_problem(settings, "bot_token"):
        return [
            Finding(
                "slack",
                ok=True,
                text=words("not asked without a bot token"),
                severity=Severity.UNKNOWN.value,
            )
        ]
    try:
        who = sign_in(settings)
    except DroverError as error:
        return [Finding("slack", ok=False, text=_error_text(error))]
    told = words("signed in to {team} as {user}", team=who.team, user=who.user)
    return [Finding("slack", ok=True, text=told)]
