"""What `drover check` finds: the configuration, the policy in words, and every connection tried once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bot.declare import Query
from bot.domain import codec
from bot.domain import policy as policies
from bot.domain.card import bare
from bot.domain.cluster import Snapshot
from bot.domain.errors import DroverError
from bot.domain.readiness import Finding as Readiness
from bot.domain.readiness import Severity
from bot.flow import lists
from bot.parts import connected_hypervisor, loaded, opened_store, signed_in
from bot.ports import Hypervisor
from bot.settings import DroverSettings

READINESS = "host check"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; ``text`` says what was found and, when not ``ok``, what to do.

    ``severity`` and ``fix`` come with the readiness of hosts; a WARN is still ``ok``.
    """

    what: str
    ok: bool
    text: str
    severity: str = ""
    fix: str = ""


def offline(settings: DroverSettings) -> list[Finding]:
    """What can be told from the configuration alone."""
    policy = settings.domain_policy()
    findings = [Finding("hosts", bool(settings.hosts), f"{len(settings.hosts)} configured")]
    findings.append(Finding("roles", bool(settings.roles), ", ".join(settings.roles) or "none; nobody may do anything"))
    findings += [_secret(settings, name) for name in _needed_secrets(settings)]
    findings.append(_channel("slack.approvals_channel", settings.slack.approvals_channel))
    try:
        catalog = loaded(settings)
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
    return [Finding(f"may be asked by {who}", who != "nobody", ", ".join(names)) for who, names in asked.items()]


def _rules(settings: DroverSettings, policy: policies.Policy, automatic: Collection[str]) -> list[Finding]:
    """Each rule in words, in the order they are asked; and what contradicts itself or another."""
    people = {name: None if role.groups else frozenset(role.users) for name, role in settings.roles.items()}
    told = [Finding(f"policy rule “{rule.name}”", ok=True, text=lists.rule_text(rule)) for rule in policy.rules]
    wrong = policies.contradictions(policy, people, automatic) if settings.roles else ()
    return told + [Finding(f"policy rule “{name}”", ok=False, text=text) for name, text in wrong]


def _needed_secrets(settings: DroverSettings) -> tuple[str, ...]:
    return ("bot_token", "app_token") if settings.slack.mode == "socket" else ("bot_token", "signing_secret")


def _secret(settings: DroverSettings, name: str) -> Finding:
    given = bool(getattr(settings.slack, name).get_secret_value())
    variable = f"SLACK_{name.upper()}"
    return Finding(f"secret {name}", given, "given" if given else f"missing; set {variable} or {variable}_FILE")


def _channel(key: str, value: str) -> Finding:
    return Finding(key, bool(value), value or "missing; put the channel's id (C…) there and invite the bot")


def online(settings: DroverSettings, save: Path | None = None) -> list[Finding]:
    """What every connection answers; ``save`` keeps the cluster as a file."""
    return [*_hosts(settings, save), *_database(settings), *_slack(settings)]


def _hosts(settings: DroverSettings, save: Path | None) -> list[Finding]:
    hypervisor = connected_hypervisor(settings)
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
        query = loaded(settings).commands.get(READINESS)
    except DroverError:
        return []  # ``offline`` tells it
    if not isinstance(query, Query) or query.gather is None or not seen.hosts:
        return []
    intent = query.grammar.main(["--all"], prog_name=READINESS, standalone_mode=False)
    reports = query.gather(intent, seen, hypervisor).reports
    return [_ready(report.host, each) for report in reports for each in report.findings]


def _ready(host: str, found: Readiness) -> Finding:
    text = str(bare(f"{found.evidence}. {found.fix}" if found.fix else str(found.evidence)))
    fix = str(bare(str(found.fix)))
    return Finding(f"{host} {found.name}", found.severity is not Severity.FAIL, text, found.severity.value, fix)


def _answering(seen: Snapshot) -> list[Finding]:
    return [
        Finding(
            f"host {host.name}",
            host.up,
            f"{len(seen.on(host.name))} VMs, {host.cpus} CPUs, {host.cpu_model or 'CPU model unknown'}"
            if host.up
            else f"{host.problem or 'no answer'}",
        )
        for host in seen.hosts
    ]


def _database(settings: DroverSettings) -> list[Finding]:
    try:
        store = opened_store(settings, loaded(settings))
        broken = store.broken_link()
        store.close()
    except DroverError as error:
        return [Finding("database", ok=False, text=str(error))]
    return [Finding("database", not broken, broken or "opens, and the audit trail holds")]


def _slack(settings: DroverSettings) -> list[Finding]:
    try:
        who = signed_in(settings)
    except DroverError as error:
        return [Finding("slack", ok=False, text=str(error))]
    return [Finding("slack", ok=True, text=f"signed in to {who.team} as {who.user}")]
