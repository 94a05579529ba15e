"""What this plugin lays out for people; each rule's own sentences stand with the rule."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Context,
    Element,
    Line,
    Listing,
    Menu,
    Picture,
    Section,
    Table,
    said_elsewhere,
)
from bot.domain.message import Code, Duration, Names, Words, join, nwords, words
from bot.domain.pages import ROW, Page, page_buttons
from bot.domain.plan import Objection, Reason
from bot.domain.readiness import CpuBaseline, Finding, GuestCpu, HostReport, Severity
from bot.domain.words import command
from plugins.host_check.findings import (
    SEVERITIES,
    BaselineResult,
    CheckResult,
    PairReport,
    PairResult,
    worst_first,
)

CHECK = words(
    "Is this host ready: hardware, daemons, access, storage, networks, time; with the fix for "
    "each problem."
)
PAIR = words("Can VMs move between these hosts, each way, with the fix for each problem.")
BASELINE = words("The best CPU model that all hosts share, and the VMs that do not fit it.")
MAINTENANCE = words("Put a host into maintenance (nothing is placed there) or take it out.")
ALL_HELP = words("Every host.")
REASON_HELP = words(
    'Why, for the approvers and the audit trail; several words in quotes: --reason "disk swap".'
)
VERBOSE_HELP = words("Show each check that passed as well, not their number alone.")
SHOW_PASSED = words("Show what passed")
PAGE_HELP = words("Which page of the findings.")
NAME_TWO = words("Name at least two hosts, or write `--all`.")
NO_HOSTS = words("No host is configured.")
ADD_HOSTS = words("Add one under `[[hosts]]` in the configuration.")
HOST_LABEL = words("Host")
SWITCH_LABEL = words("Maintenance")
SWITCH_ON = words("On: nothing is placed there")
SWITCH_OFF = words("Off: it takes VMs again")
MAINTENANCE_TITLE = words("Host maintenance")
MAINTENANCE_SUBMIT = words("Ask for it")
MARKS = {Severity.PASS: "✓", Severity.WARN: "!", Severity.FAIL: "✗", Severity.UNKNOWN: "?"}
NOTHING_MORE = words("Everything that could be looked at is as it should be.")
COLUMNS = (words("Verdict"), words("Check"), words("Found"), words("Do"))
ROWS = 25  # findings on a page
VALIDATE = "validate: "  # before the names of findings that are virt-host-validate's own
NOT_ALL_LOOKED = words("Nothing is wrong with what could be looked at.")
LABELS = (
    words("versions"),
    words("host name"),
    words("storage pools"),
    words("networks"),
    words("bridges"),
    words("memory allocated"),
    words("time sync"),
    words("clock"),
    words("daemon mode"),
    words("modular daemons"),
    words("plain TCP"),
    words("listen settings"),
    words("who may connect"),
    words("lock manager"),
    words("TLS certificates"),
    words("packages"),
    words("accelerator"),
    words("nested virtualization"),
    words("huge pages"),
    words("machine types"),
    words("migration ports"),
    words("names"),
    words("storage"),
    words("clocks"),
    words("credentials"),
    words("encryption"),
)
"""Names of checks, which are shown as they are stored and so are templates."""
_RENAMED = {"guest confinement": words("VM confinement")}
"""Checks whose stored name, which never changes, says it in other words."""


def label(finding: Finding) -> Line:
    """What a check is called."""
    return finding.label or _RENAMED.get(finding.name) or said_elsewhere(finding.name)


# --- host maintenance


def maintenance_title(host: str, *, on: bool) -> Words:
    """What approvers read first."""
    return (
        words("Put {host} into maintenance", host=host)
        if on
        else words("Take {host} out of maintenance", host=host)
    )


def no_change(host: str, *, on: bool) -> Objection:
    """There is nothing to do."""
    if on:
        end = words("End it with `/kvm host maintenance {host} off`.", host=host)
        return Objection("already", words("{host} is in maintenance already.", host=host), end)
    return Objection(
        "already", words("{host} is not in maintenance.", host=host), words("Nothing to do.")
    )


def remaining_vms(host: str, names: Sequence[str], *, up: bool = True) -> Reason:
    """Maintenance moves nobody; off a host that is not ``up`` nothing can be moved."""
    if not up:
        text = nwords(
            "{n} VM was last seen there and may still be running: {vms}. It is not moved by this.",
            "{n} VMs were last seen there and may still be running: {vms}. They are not moved by "
            "this.",
            n=len(names),
            vms=Names(tuple(names), most=10),
        )
        return Reason("guests", text)
    return Reason(
        "guests",
        nwords(
            "{n} VM is still there and not moved by this: {vms}. {drain} moves it; what arrives "
            "meanwhile is not stopped on {host}.",
            "{n} VMs are still there and not moved by this: {vms}. {drain} moves them; what "
            "arrives meanwhile is not stopped on {host}.",
            drain=Code(command("/kvm host drain {}", host)),
            n=len(names),
            vms=Names(tuple(names), most=10),
            host=host,
        ),
    )


def last_host(host: str) -> Reason:
    """Nobody is left to take guests."""
    return Reason(
        "last-host",
        words(
            "No other host is up and out of maintenance: while {host} is in it, nothing can be "
            "placed.",
            host=host,
        ),
    )


def consequence(host: str, *, on: bool) -> Reason:
    """What the step does."""
    placed = words("Nothing is placed on {host} or moved to it.", host=host)
    return Reason("maintenance", placed if on else words("{host} takes VMs again.", host=host))


# --- host check


def counts(report: HostReport) -> Line:
    """``1 FAIL, 3 WARN, 1 UNKNOWN, 20 PASS``."""
    told = [f"{report.count(each)} {each}" for each in SEVERITIES if report.count(each)]
    return ", ".join(told) or words("nothing found")


def check_card(
    checked: CheckResult,
    number: int = 1,
    line: Callable[[int], str] = str,
    *,
    verbose: bool = False,
) -> Card:
    """One host, or several a page at a time: what is wrong, and what passed as a count.

    ``number``: of the page; ``line(number)``: the command that shows it. ``verbose``: each check
    that passed as well.
    """
    if len(checked.reports) == 1:
        return _one_host(checked.reports[0], line(1), verbose=verbose)
    return _hosts(checked.reports, number, line, verbose=verbose)


def _one_host(report: HostReport, line: str, *, verbose: bool) -> Card:
    findings = worst_first(report.findings)
    bad = [each for each in findings if each.severity is not Severity.PASS]
    good = [each for each in report.findings if each.severity is Severity.PASS]
    elements: list[Element] = []
    if bad:
        elements.append(Table(COLUMNS, tuple(_row(each) for each in bad)))
    else:
        elements.append(Section(NOTHING_MORE))
    if good and verbose:
        elements.append(Context((Words("*PASS*\n{list}", {"list": join(_good(good), "\n")}),)))
    elif good:
        passed = nwords("{n} check passed.", "{n} checks passed.", n=len(good))
        elements.append(Context((passed,)))
    files = page_buttons(lambda _: line, Page(len(findings), 1, len(findings) or 1))
    show = [Button(SHOW_PASSED, "run", f"{line} --verbose")] if good and not verbose else []
    elements.append(Buttons((*show, *files.buttons)))
    text = Words("{host}: {counts}", {"host": report.host, "counts": counts(report)})
    every = Table(COLUMNS, tuple(_row(each) for each in findings))
    return Card(text=text, title=text, elements=tuple(elements), export=every)


def _good(findings: Sequence[Finding]) -> list[Line]:
    """A line each; those of virt-host-validate, which says nothing more, in one."""
    mark = MARKS[Severity.PASS]
    theirs = [
        each.name.removeprefix(VALIDATE) for each in findings if each.name.startswith(VALIDATE)
    ]
    told: list[Line] = [
        Words(
            "{mark} {check}: {evidence}",
            {"mark": mark, "check": label(each), "evidence": each.evidence},
        )
        for each in findings
        if VALIDATE not in each.name
    ]
    return [*told, *([f"{mark} virt-host-validate: {', '.join(theirs)}"] if theirs else [])]


def _row(finding: Finding) -> tuple[Line, ...]:
    return (finding.severity.value, label(finding), finding.evidence, finding.fix)


def _hosts(
    reports: Sequence[HostReport], number: int, line: Callable[[int], str], *, verbose: bool
) -> Card:
    summary = tuple(
        words("*{host}* {counts}", host=each.host, counts=counts(each)) for each in reports
    )
    bad = [
        (report.host, finding)
        for report in reports
        for finding in worst_first(report.findings)
        if verbose or finding.severity is not Severity.PASS
    ]
    bad.sort(key=lambda each: SEVERITIES.index(each[1].severity))
    elements: list[Element] = [
        Section(line, _menu(report.host))
        for line, report in zip(summary[:30], reports, strict=False)
    ]
    if bad:
        rows = tuple((host, *_row(finding)) for host, finding in _together(bad))
        page = Page(len(rows), number, ROWS)
        elements += [
            Table((HOST_LABEL, *COLUMNS), rows[page.first : page.last]),
            page_buttons(line, page),
            *([Context((page.text,))] if page.count > 1 else []),
        ]
        every = Table((HOST_LABEL, *COLUMNS), rows)
    else:
        every = None
        elements.append(Section(NOT_ALL_LOOKED))
    verdicts = _verdicts(each.worst for each in reports)
    text = nwords(
        "{n} host: {verdicts}", "{n} hosts: {verdicts}", n=len(reports), verdicts=verdicts
    )
    return Card(text=text, title=text, elements=tuple(elements), export=every)


def _menu(host: str) -> Menu:
    """What can be looked at of one host."""
    line = f"host check {shlex.quote(host)}"
    return Menu((
        Button(words("This host alone"), ROW, line),
        Button(words("With what passed"), ROW, f"{line} --verbose"),
    ))  # fmt: skip


def _verdicts(worst: Iterable[Severity]) -> str:
    """``2 FAIL, 1 PASS``."""
    count = Counter(worst)
    return ", ".join(f"{count[each]} {each}" for each in SEVERITIES if count[each])


def _together(found: Sequence[tuple[str, Finding]]) -> list[tuple[str, Finding]]:
    """The same finding of several hosts as one row."""
    hosts: dict[Finding, list[str]] = {}
    for host, finding in found:
        hosts.setdefault(finding, []).append(host)
    return [(", ".join(names), finding) for finding, names in hosts.items()]


# --- host pair


def pair_card(paired: PairResult, png: bytes | None) -> Card:
    """The matrix as a picture, of more than two hosts, and all that is not PASS as a table."""
    reports = paired.reports
    bad = [
        (report, finding)
        for report in reports
        for finding in report.findings
        if finding.severity is not Severity.PASS
    ]
    bad.sort(key=lambda each: SEVERITIES.index(each[1].severity))
    elements: list[Element] = []
    if png is not None:
        elements.append(Picture(png, matrix_text(reports), MATRIX_TITLE))
    if len(reports) <= 2:
        elements += [Section(_direction(report)) for report in reports]
    if paired.groups:
        elements += [Section(_pairs_line(paired)), Table(GROUP_COLUMNS, _group_rows(paired.groups))]
    if bad:
        same = _same(bad, len(reports))
        rows = tuple((where, *_row(finding)) for where, finding in same[:_MOST_ROWS])
        elements.append(Table((words("From → to"), *COLUMNS), rows))
        elements += _rows_left(len(same) - _MOST_ROWS)
    else:
        elements.append(Section(PAIRS_GOOD))
    text = _pairs_text(reports)
    return Card(text=text, title=text, elements=tuple(elements))


MATRIX_TITLE = words("From each host (row) to each host (column)")
EVERY_DIRECTION = words("every direction")
_NAMED = 12  # directions with the same finding that are named in its row
PAIRS_GOOD = words("VMs can move each way.")


_MOST_ROWS = 40  # of a table, worst first
_MOST_GROUPS = 10  # lines of equal hosts; the rest is counted
GROUP_COLUMNS = (words("Equal hosts"), words("Number"))


def _pairs_line(paired: PairResult) -> Line:
    """What was tried of how much, and why that is enough."""
    count = paired.hosts
    tried = nwords(
        "{tried} of {n} direction was tried: to an equal host, and between groups.",
        "{tried} of {n} directions were tried: to an equal host, and between groups.",
        n=count * (count - 1),
        tried=len(paired.reports),
    )
    return join((tried, words("Try two hosts: {command}.", command=Code("/kvm host pair A B"))))


def _group_rows(groups: Sequence[tuple[str, ...]]) -> tuple[tuple[Line, ...], ...]:
    shown = [(Names(group, most=_NAMED).line, str(len(group))) for group in groups[:_MOST_GROUPS]]
    rest = groups[_MOST_GROUPS:]
    if rest:
        more = nwords("{n} more group", "{n} more groups", n=len(rest))
        shown.append((more, str(sum(len(group) for group in rest))))
    return tuple(shown)


def _rows_left(count: int) -> list[Element]:
    if count <= 0:
        return []
    text = nwords(
        "and {n} more finding, less severe", "and {n} more findings, less severe", n=count
    )
    return [Context((text,))]


def _pairs_text(reports: Sequence[PairReport]) -> Line:
    verdicts = _verdicts(each.worst for each in reports) or "–"
    return nwords(
        "{n} direction: {verdicts}", "{n} directions: {verdicts}", n=len(reports), verdicts=verdicts
    )


def _direction(report: PairReport) -> Line:
    checks = [
        Words("{check} {mark}", {"check": label(each), "mark": MARKS[each.severity]})
        for each in report.findings
    ]
    return Words(
        "*{one} → {other}* {worst}: {checks}",
        {
            "one": report.source,
            "other": report.target,
            "worst": report.worst.value,
            "checks": join(checks, ", "),
        },
    )


def _same(bad: Sequence[tuple[PairReport, Finding]], directions: int) -> list[tuple[Line, Finding]]:
    """The same finding of several directions as one row; of many, some are named."""
    places: dict[Finding, list[str]] = {}
    for report, finding in bad:
        places.setdefault(finding, []).append(f"{report.source} → {report.target}")
    return [(_places(where, directions), finding) for finding, where in places.items()]


def _places(where: Sequence[str], directions: int) -> Line:
    return (
        EVERY_DIRECTION if len(where) == directions > 1 else Names(tuple(where), most=_NAMED).line
    )


def matrix_text(reports: Sequence[PairReport]) -> Line:
    """The picture for those who do not see it: directions with the same verdict are one part."""
    alike: dict[tuple[str, ...], list[PairReport]] = {}
    for report in reports:
        verdict = (report.worst, *(each.name for each in report.grounds))
        alike.setdefault(verdict, []).append(report)
    cells = join((_cells_text(each, len(reports)) for each in alike.values()), "; ")
    return Words("{title}. {cells}.", {"title": MATRIX_TITLE, "cells": cells})


def _cells_text(alike: Sequence[PairReport], directions: int) -> Line:
    where = _places([f"{each.source} → {each.target}" for each in alike], directions)
    cell = Words("{where}: {worst}", {"where": where, "worst": alike[0].worst.value})
    if not (bad := alike[0].grounds):
        return cell
    return Words("{cell} ({checks})", {"cell": cell, "checks": join(map(label, bad), ", ")})


# --- host baseline


def baseline_card(based: BaselineResult) -> Card:
    """The model, who keeps from it, and the element to put into definitions."""
    if based.baseline is None:
        return Card(text=based.trouble, elements=(Section(based.trouble), *_exclusions(based)))
    found = based.baseline
    text = nwords(
        "Baseline of {hosts}: {model} and {n} more feature",
        "Baseline of {hosts}: {model} and {n} more features",
        n=len(found.features),
        hosts=Names(found.hosts, most=_NAMED),
        model=found.model,
    )
    return Card(
        text=text, title=text, elements=(*_guests(found), *_definition(found), *_exclusions(based))
    )


def _guests(found: CpuBaseline) -> list[Element]:
    rows = tuple(
        (each.name, each.host, _cpu(each), why)
        for each in found.guests
        if (why := misfit(each, found))
    )
    if not found.guests:
        return [Section(words("No VM is running, so none limits the baseline."))]
    count = len(found.guests)
    if not rows:
        fit = nwords(
            "{n} VM runs, and can run on every one of these hosts.",
            "{n} VMs run, and all can run on every one of these hosts.",
            n=count,
        )
        return [Section(fit)]
    lead = nwords(
        "*{count}* of {n} running VM cannot run on every one of these hosts:",
        "*{count}* of {n} running VMs cannot run on every one of these hosts:",
        n=count,
        count=len(rows),
    )
    return [Section(lead), Table((words("VM"), HOST_LABEL, words("CPU"), words("Why")), rows)]


def misfit(guest: GuestCpu, found: CpuBaseline) -> Line:
    """Why a guest cannot run on every host of the baseline; '' when it can."""
    if guest.mode == "host-passthrough":
        return words("host-passthrough: only on identical hosts")
    if guest.problem:
        return words("cannot tell: {why}", why=guest.problem)
    if guest.virt_type and guest.virt_type != found.virt_type:
        return words(
            "cannot tell: it runs with {accelerator}, the baseline is for {other}",
            accelerator=guest.virt_type,
            other=found.virt_type,
        )
    if guest.beyond:
        return words(
            "it has {features}; the baseline has not", features=Names(guest.beyond, most=5)
        )
    return ""


def _cpu(guest: GuestCpu) -> str:
    return f"{guest.model} ({guest.mode})" if guest.model else guest.mode


def _definition(found: CpuBaseline) -> list[Element]:
    return [Section(words("For `virsh edit VM`, from the next start on:")), Listing(found.xml)]


def _exclusions(based: BaselineResult) -> list[Element]:
    left = join(
        (Words("{host}: {why}", {"host": host, "why": why}) for host, why in based.left_out), "; "
    )
    return [Context((words("Left out: {hosts}", hosts=left),))] if left else []


# --- the nightly look


LOOK = words("Check it again")


def worse_card(host: str, found: Sequence[tuple[Severity | None, Finding]]) -> Card:
    """What is worse than it was known to be."""
    checks = join((label(finding) for _, finding in found), ", ")
    text = words("{host} is less ready than it was: {checks}", host=host, checks=checks)
    rows = tuple((_change(before, finding), *_row(finding)[1:]) for before, finding in found)
    return Card(text=text, title=text, elements=(Table(COLUMNS, rows),))


def _change(before: Severity | None, finding: Finding) -> Line:
    now = finding.severity.value
    return f"{before} → {now}" if before else words("new → {verdict}", verdict=now)


READINESS = str(words("Readiness"))  # the digest translates it


def change_line(host: str, before: str, finding: Finding) -> Line:
    """A line of a digest."""
    told = {
        "host": host,
        "check": label(finding),
        "change": f"{before} → {finding.severity}",
        "found": finding.evidence,
    }
    return Words("{host}: {check} {change} ({found})", told)


def recovered_card(host: str) -> Card:
    """It is as good as it was."""
    text = words("{host} is as ready as it was.", host=host)
    return Card(text=text, elements=(Section(text),))


# --- clocks and certificates
# --------------------------------------------------------------------------------------


def clock_off_card(host: str, finding: Finding | None) -> Card:
    """A clock drifted."""
    title = _clock_title(host)
    told = finding.evidence if finding is not None else words("by how much is not known")
    jump = words(
        "Time jumps in VMs that migrate there; certificates are checked against a wrong date."
    )
    elements: list[Element] = [Section(jump)]
    if finding is not None:
        elements.insert(0, Table(COLUMNS, (_row(finding),)))
    return Card(text=_both(title, told), title=title, elements=tuple(elements))


def _clock_title(host: str) -> Words:
    return words("The clock of {host} is off", host=host)


def _both(title: Line, told: Line) -> Line:
    return Words("{title}: {told}", {"title": title, "told": told})


def clock_right_card(host: str) -> Card:
    """It is right again."""
    return Card(words("The clock of {host} is right again.", host=host), _clock_title(host))


def own_clock_card(common: float, hosts: int) -> Card:
    """Most hosts are off the same way: it is likely the bot."""
    by = Duration(abs(common))
    told = (
        nwords(
            "The bot's clock is {by} behind that of {n} host.",
            "The bot's clock is {by} behind those of most of {n} hosts.",
            n=hosts,
            by=by,
        )
        if common > 0
        else nwords(
            "The bot's clock is {by} ahead of that of {n} host.",
            "The bot's clock is {by} ahead of those of most of {n} hosts.",
            n=hosts,
            by=by,
        )
    )
    advice = words("That is more likely the bot's machine than all of them: look at its clock.")
    return Card(text=told, title=OWN_CLOCK, elements=(Section(told), Section(advice)))


OWN_CLOCK = words("The bot's own clock is suspect")


def own_clock_right_card() -> Card:
    """They agree again."""
    return Card(words("The bot's clock agrees with the hosts' again."), OWN_CLOCK)


def certificates_end_card(host: str, ending: Sequence[Finding]) -> Card:
    """Certificates that end soon, or have ended."""
    ended = any(each.severity is Severity.FAIL for each in ending)
    title = words("Certificates on {host} have ended", host=host) if ended else _ends_soon(host)
    told = join(
        (
            Words("{check} {found}", {"check": label(each), "found": each.evidence})
            for each in ending
        ),
        "; ",
    )
    rows = tuple(_row(each) for each in ending)
    return Card(text=_both(title, told), title=title, elements=(Table(COLUMNS, rows),))


def _ends_soon(host: str) -> Words:
    return words("Certificates on {host} end soon", host=host)


def certificates_good_card(host: str) -> Card:
    """They were renewed."""
    return Card(
        words("Every certificate on {host} is good for long enough.", host=host), _ends_soon(host)
    )
