"""All rules that a host is judged by, in the order in which people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from bot.domain.readiness import Finding, HostReport
from plugins.host_check import rules_access, rules_power, rules_resources, rules_virtualization
from plugins.host_check.findings import Case, Seen
from plugins.host_check.settings import HostCheckSettings

Rule = Callable[[Case], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    rules_resources.answers,
    rules_resources.unread_parts,
    rules_virtualization.accelerator,
    rules_virtualization.rows,
    rules_virtualization.nesting,
    rules_virtualization.iommu,
    rules_resources.versions,
    rules_access.packages,
    rules_access.daemon_mode,
    rules_access.modular_daemons,
    rules_access.plain_tcp,
    rules_access.listen_settings,
    rules_access.who_may,
    rules_access.unknown_keys,
    rules_access.tls_certificates,
    rules_access.lock_manager,
    rules_access.security_driver,
    rules_resources.identity,
    rules_resources.pools,
    rules_resources.networks,
    rules_resources.overcommit,
    rules_virtualization.huge_pages,
    rules_resources.ksm,
    rules_resources.clock,
    rules_power.controllers,
    rules_power.autostart,
    rules_power.guard,
)
AGEING: tuple[Rule, ...] = (rules_access.tls_certificates, rules_resources.clock)
"""What goes wrong by the mere passing of time."""


def report(
    seen: Seen, settings: HostCheckSettings, now: datetime, asked: tuple[Rule, ...] = RULES
) -> HostReport:
    """The findings of every rule; without libvirt or a shell, of those that can tell."""
    rules = asked if seen.facts is not None or seen.shell else RULES[:1]
    return HostReport(
        seen.host, tuple(finding for rule in rules for finding in rule(Case(seen, settings, now)))
    )
