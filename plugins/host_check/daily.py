"""What changed in the hosts' readiness since it was last good; what stays as it is, is not told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bot.domain.metrics import Change
from bot.domain.readiness import Finding, HostReport, Severity
from bot.plugin_api import Alert, Looked, Remedy, WatchView
from plugins.host_check import cards, drift, rules_resources

_RANK = {Severity.PASS: 0, Severity.WARN: 1, Severity.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Worse:
    """A check that is worse than the best it was known to be; ``before`` None: it is new."""

    finding: Finding
    before: Severity | None


def watch(view: WatchView) -> Looked:
    """One incident for each host that got worse, open until it is as good as before.

    All changes are for the digest.

    ``view.found`` is ``Checked``; the memory is host → check → severity, once the ``best`` known
    and once the ``last``. What is wrong when a host is seen first, or when its shell answers for
    the first time, is how things are, and no change. A host that does not answer is told by those
    who watch for that, and looked at another night.
    """
    best = {host: dict(checks) for host, checks in view.memory.get("best", {}).items()}
    last = {host: dict(checks) for host, checks in view.memory.get("last", {}).items()}
    alerts: list[Alert] = []
    changes: list[Change] = []
    for report in map(_without_own_alerts, view.found.reports):
        if _is_silent(report):
            continue
        before, seen = best.get(report.host), last.get(report.host, {})
        after = best[report.host] = best_known(before or {}, report)
        last[report.host] = seen | {
            each.name: each.severity.value for each in report.findings if _could(each)
        }
        if before is not None:
            alerts.append(_alert(report, tuple(worse(after, before, report))))
            told = changed_findings(seen, report)
            changes += [
                Change(view.now, cards.READINESS, cards.change_line(report.host, *each))
                for each in told
            ]
    return Looked(tuple(alerts), {"best": best, "last": last}, tuple(changes))


def _is_silent(report: HostReport) -> bool:
    return any(
        each.name == rules_resources.ANSWERS and each.severity is Severity.FAIL
        for each in report.findings
    )


def changed_findings(seen: Mapping[str, str], report: HostReport) -> Iterator[tuple[str, Finding]]:
    """Findings that differ, better or worse, each with its last known severity."""
    for finding in report.findings:
        before = seen.get(finding.name)
        if before is not None and _could(finding) and finding.severity != before:
            yield before, finding


def _could(finding: Finding) -> bool:
    return finding.severity is not Severity.UNKNOWN


def _without_own_alerts(report: HostReport) -> HostReport:
    """Without what has an alert of its own: one truth, one message."""
    return replace(
        report, findings=tuple(each for each in report.findings if not drift.has_alert(each))
    )


def best_known(before: Mapping[str, str], report: HostReport) -> dict[str, str]:
    """The best that each check was ever seen as.

    Checks that are not made any more are kept: they may come back.
    """
    after = dict(before)
    first = _newly_seen(before, report)
    for finding in report.findings:
        old = before.get(finding.name)
        if finding.severity is Severity.UNKNOWN:
            after.setdefault(finding.name, Severity.UNKNOWN.value)
        elif old is None:
            after[finding.name] = finding.severity.value if first else Severity.PASS.value
        elif old == Severity.UNKNOWN or _RANK[finding.severity] < _RANK[Severity(old)]:
            after[finding.name] = finding.severity.value
    return after


def worse(
    after: Mapping[str, str], before: Mapping[str, str], report: HostReport
) -> Iterator[Worse]:
    """The findings that are worse than the best known; those that could not be made are silent."""
    for finding in report.findings:
        best = Severity(after[finding.name])
        if (
            Severity.UNKNOWN not in {best, finding.severity}
            and _RANK[finding.severity] > _RANK[best]
        ):
            yield Worse(finding, Severity(before[finding.name]) if finding.name in before else None)


def _newly_seen(before: Mapping[str, str], report: HostReport) -> bool:
    """Whether this is the first look, or the first with a shell: then a new check is no change."""
    shell = next(
        (each.severity for each in report.findings if each.name == "SSH"), Severity.UNKNOWN
    )
    return not before or (shell is Severity.PASS and before.get("SSH") != Severity.PASS)


def _alert(report: HostReport, found: tuple[Worse, ...]) -> Alert:
    key = f"readiness:{report.host}"
    if not found:
        return Alert(key, cards.recovered_card(report.host), over=True)
    told = tuple((each.before, each.finding) for each in found)
    return Alert(
        key,
        cards.worse_card(report.host, told),
        remedies=(Remedy(cards.LOOK, f"host check {report.host}"),),
    )
