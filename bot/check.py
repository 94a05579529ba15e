"""What `drover check` finds: the configuration, the policy in words, and every connection tried once."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bot.domain import codec
from bot.domain import policy as policies
from bot.domain.card import bare
from bot.domain.cluster import Host, Snapshot
from bot.domain.errors import DroverError
from bot.domain.readiness import Finding as Readiness
from bot.domain.readiness import Severity
from bot.domain.words import plural
from bot.factories import connect_hypervisor, existing_store, load_catalog, signed_in
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; ``text`` says what was found and, when not ``ok``, what to do.

    ``severity``: PASS, WARN, FAIL or UNKNOWN, as `host check` has it; '' becomes PASS or FAIL; only
    FAIL is not ``ok``. ``fix`` and ``host`` come with the readiness of hosts. ``explains``: it says
    what is configured, be it good or bad.
    """

    what: str
    ok: bool
    text: str
    severity: str = ""
    fix: str = ""
    explains: bool = False
    host: str = ""

    def __post_init__(self) -> None:
        if not self.severity:
            object.__setattr__(
                self, "severity", (Severity.PASS if self.ok else Severity.FAIL).value
            )


def report(findings: Collection[Finding], *, verbose: bool = False) -> str:
    """Return what the terminal prints: a summary, what is wrong, the policy in words, and all else if ``verbose``."""
    shown = [each for each in ORDER if verbose or each is not Severity.PASS]
    wanted = [
        each for level in shown for each in findings if each.severity == level and not each.explains
    ]
    wanted = wanted if verbose else _together(wanted)
    lines = [
        _summary(findings),
        *([""] if wanted else []),
        *(_line(each, f"{each.severity:8}") for each in wanted),
    ]
    if explained := [each for each in findings if each.explains]:
        lines += ["", "The policy:", *(_line(each, "  ", short=not verbose) for each in explained)]
    if not verbose:
        lines += ["", "All that passed, and every command by name: drover check --verbose"]
    return "\n".join(lines)


def _together(findings: Iterable[Finding]) -> list[Finding]:
    """What nobody could look at on one host for one reason as one line; all else as it is."""
    grouped: dict[tuple[str, ...], list[Finding]] = {}
    for number, each in enumerate(findings):
        alike = each.severity == Severity.UNKNOWN and each.host
        grouped.setdefault((each.host, each.text) if alike else (str(number),), []).append(each)
    return [
        replace(
            same[0],
            what=f"{same[0].host} {', '.join(each.what.removeprefix(each.host).strip() for each in same)}",
        )
        if len(same) > 1
        else same[0]
        for same in grouped.values()
    ]


def _summary(findings: Collection[Finding]) -> str:
    words = {"FAIL": "failed", "WARN": "warned", "UNKNOWN": "unknown", "PASS": "passed"}
    counts = [
        (sum(each.severity == level and not each.explains for each in findings), level)
        for level in ORDER
    ]
    told = ", ".join(
        f"{count} {words[level]}" for count, level in counts if count or level is Severity.FAIL
    )
    return f"{plural(sum(count for count, _ in counts), 'check')}: {told}"


def _line(found: Finding, before: str, *, short: bool = False) -> str:
    text = found.text.removesuffix(f". {found.fix}") if found.fix else found.text
    if short and len(text) > WIDTH:
        text = f"{text.count(', ') + 1} commands"
    indent = " " * (len(before) + 2)
    line = textwrap.fill(
        f"{before}{found.what}: {text}", WIDTH, subsequent_indent=indent, break_on_hyphens=False
    )
    # A command is copied whole, so it is not broken
    return f"{line}\n{indent}{found.fix}" if found.fix else line


def offline(settings: DroverSettings) -> list[Finding]:
    """What can be told from the configuration alone."""
    policy = settings.domain_policy()
    findings = [Finding("hosts", bool(settings.hosts), f"{len(settings.hosts)} configured")]
    findings.append(
        Finding(
            "roles",
            bool(settings.roles),
            ", ".join(settings.roles) or "none; nobody may do anything",
        )
    )
    findings += [_secret(settings, name) for name in _needed_secrets(settings)]
    findings.append(_channel("slack.approvals_channel", settings.slack.approvals_channel))
    try:
        catalog = load_catalog(settings)
    except DroverError as error:
        return [*findings, Finding("plugins", ok=False, text=str(error))]
    findings.append(Finding("plugins", ok=True, text=", ".join(settings.plugins.enabled)))
    findings += _askers(policy, catalog.commands)
    return [*findings, *_rules(settings, policy, catalog.automatic)]


def _askers(policy: policies.Policy, commands: Iterable[str]) -> list[Finding]:
    """Who may ask for which commands, those of the same people together; what nobody may ask for is a fault."""
    asked: dict[str, list[str]] = {}
    for name in commands:
        roles = ", ".join(policies.who_may(policy, name)) or "nobody"
        asked.setdefault("everyone" if name in policy.everyone else roles, []).append(name)
    return [
        Finding(
            f"may be asked by {who}", who != "nobody", ", ".join(names), explains=who != "nobody"
        )
        for who, names in asked.items()
    ]


def _rules(
    settings: DroverSettings, policy: policies.Policy, automatic: Collection[str]
) -> list[Finding]:
    """Each rule in words, in the order they are asked; and what contradicts itself or another."""
    people = {
        name: None if role.groups else frozenset(role.users)
        for name, role in settings.roles.items()
    }
    told = [
        Finding(
            f"policy rule “{rule.name}”",
            ok=True,
            text=str(query_cards.rule_text(rule)),
            explains=True,
        )
        for rule in policy.rules
    ]
    wrong = policies.contradictions(policy, people, automatic) if settings.roles else ()
    told += [
        Finding(
            f"policy rule “{rule.name}”",
            ok=True,
            text=str(policies.for_the_bot(rule)),
            severity=Severity.WARN.value,
        )
        for rule in policy.rules
        if policies.for_the_bot(rule)
    ]
    return told + [
        Finding(f"policy rule “{name}”", ok=False, text=str(text)) for name, text in wrong
    ]


def _needed_secrets(settings: DroverSettings) -> tuple[str, ...]:
    return (
        ("bot_token", "app_token")
        if settings.slack.mode == "socket"
        else ("bot_token", "signing_secret")
    )


def _secret(settings: DroverSettings, name: str) -> Finding:
    problem = _secret_problem(settings, name)
    return Finding(f"secret {name}", not problem, problem or "given")


def _secret_problem(settings: DroverSettings, name: str) -> str:
    """Why this cannot be what Slack calls it, with what to do; '' when it can.

    Never with the secret itself.
    """
    value = getattr(settings.slack, name).get_secret_value()
    variable = f"SLACK_{name.upper()}"
    if not value:
        return f"missing; set {variable} or {variable}_FILE"
    wanted = _PREFIXES.get(name)
    if wanted is None or value.startswith(wanted):
        return ""
    other = next((each for each, prefixes in _PREFIXES.items() if value.startswith(prefixes)), "")
    if other:
        mine, takes = _PREFIXES[other][0], wanted[0]
        return f"it is an {mine}… token, and {variable} takes an {takes}… one; give it as SLACK_{other.upper()}"
    return (
        f"it does not begin with {wanted[0]}; copy it again, see README, “Connect a real workspace”"
    )


def _channel(key: str, value: str) -> Finding:
    return Finding(
        key, bool(value), value or "missing; put the channel's id (C…) there and invite the bot"
    )


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
        save.write_text(codec.text(seen), encoding="utf-8")
    return [*_answering(seen), *ready]


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
    text = str(bare(f"{found.evidence}. {found.fix}" if found.fix else str(found.evidence)))
    fine, fix = found.severity is not Severity.FAIL, str(bare(str(found.fix)))
    return Finding(f"{host} {found.name}", fine, text, found.severity.value, fix, host=host)


def _size(host: Host, vms: int) -> str:
    unread = (
        f"; could not read {'; '.join(each.text for each in host.unread)}" if host.unread else ""
    )
    return f"{plural(vms, 'VM')}, {plural(host.cpus, 'CPU')}, {host.cpu_model or 'CPU model unknown'}{unread}"


def _answering(seen: Snapshot) -> list[Finding]:
    return [
        Finding(
            f"host {host.name}",
            host.up,
            _size(host, len(seen.on(host.name))) if host.up else host.problem or "no answer",
        )
        for host in seen.hosts
    ]


def _database(settings: DroverSettings) -> list[Finding]:
    """Whether what is stored holds. A look makes no database where none is."""
    try:
        store = existing_store(settings, load_catalog(settings))
        if store is None:
            return [Finding("database", ok=True, text="none yet; the first `drover run` makes it")]
        broken = store.broken_link()
        store.close()
    except DroverError as error:
        return [Finding("database", ok=False, text=str(error))]
    return [Finding("database", not broken, str(broken) or "opens, and the audit trail holds")]


def _slack(settings: DroverSettings) -> list[Finding]:
    if _secret_problem(settings, "bot_token"):
        return [
            Finding(
                "slack",
                ok=True,
                text="not asked without a bot token",
                severity=Severity.UNKNOWN.value,
            )
        ]
    try:
        who = signed_in(settings)
    except DroverError as error:
        return [Finding("slack", ok=False, text=str(error))]
    return [Finding("slack", ok=True, text=f"signed in to {who.team} as {who.user}")]
