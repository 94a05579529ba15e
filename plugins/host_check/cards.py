"""Every sentence of this plugin that people read, but for the findings': each of those stands with its rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bot.domain.card import Card, Context, Element, Line, Listing, Picture, Section, Table, prose, words
from bot.domain.plan import Objection, Reason
from bot.domain.readiness import CpuBaseline, Finding, GuestCpu, HostReport, Severity
from bot.domain.words import duration_text, plural
from plugins.host_check.findings import SEVERITIES, Based, Checked, Paired, PairReport, worst_first

CHECK = "Is this host ready: hardware, daemons, access, storage, networks, time, with what to type if not."
PAIR = "Can guests move between these hosts, each way, with what to type if not; --all draws the whole matrix."
BASELINE = "The CPU model that every host can run, and which guests keep from it."
MAINTENANCE = "Put a host into maintenance (nothing is placed there) or take it out."
ALL_HELP = "Every host."
REASON_HELP = 'Why, for the approvers and the audit trail; several words in quotes: --reason "disk swap".'
NAME_TWO = "Name two hosts, or --all."
NO_HOSTS = "No host is configured."
ADD_HOSTS = "Add one under [[hosts]] in the configuration."
HOST_LABEL = "Host"
SWITCH_LABEL = "Maintenance"
SWITCH_ON = "On: nothing is placed there"
SWITCH_OFF = "Off: it takes guests again"
MAINTENANCE_TITLE = "Host maintenance"
MAINTENANCE_SUBMIT = "Ask for it"
MARKS = {Severity.PASS: "✓", Severity.WARN: "!", Severity.FAIL: "✗", Severity.UNKNOWN: "?"}
NOTHING_MORE = "Everything that could be looked at is as it should be."
VERDICT = "Verdict"
VALIDATE = "validate: "  # before the names of findings that are virt-host-validate's own
NOT_ALL_LOOKED = "Nothing is wrong with what could be looked at."


# --- host maintenance ---------------------------------------------------------------------------------------------


def maintenance_title(host: str, *, on: bool) -> str:
    """What approvers read first."""
    return f"{'Put' if on else 'Take'} {host} {'into' if on else 'out of'} maintenance"


def already(host: str, *, on: bool) -> Objection:
    """There is nothing to do."""
    return Objection(
        "already",
        f"{host} is {'in' if on else 'not in'} maintenance{' already' if on else ''}.",
        f"End it with `host maintenance {host} off`." if on else "Nothing to do.",
    )


def still_there(host: str, names: Sequence[str]) -> Reason:
    """Maintenance moves nobody."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    text = f"{plural(len(names), 'guest')} still there and not moved by this: {', '.join(names[:10])}{more}"
    return Reason("guests", f"{text}. Move them with `migrate VM`; what arrives meanwhile is not stopped on {host}.")


def last_host(host: str) -> Reason:
    """Nobody is left to take guests."""
    return Reason(
        "last-host", f"No other host is up and out of maintenance: while {host} is in it, nothing can be placed."
    )


def what_it_means(host: str, *, on: bool) -> Reason:
    """What the step does."""
    return Reason(
        "maintenance", f"Nothing is placed on {host} or moved to it." if on else f"{host} takes guests again."
    )


# --- host check ---------------------------------------------------------------------------------------------------


def counts(report: HostReport) -> str:
    """``1 FAIL, 3 WARN, 1 UNKNOWN, 20 PASS``."""
    told = [f"{report.count(each)} {each}" for each in SEVERITIES if report.count(each)]
    return ", ".join(told) or "nothing found"


def check_card(checked: Checked) -> Card:
    """One host with everything, or several with what is wrong."""
    if len(checked.reports) == 1:
        return _one_host(checked.reports[0])
    return _hosts(checked.reports)


def _one_host(report: HostReport) -> Card:
    bad = [each for each in worst_first(report.findings) if each.severity is not Severity.PASS]
    good = [each for each in report.findings if each.severity is Severity.PASS]
    elements: list[Element] = []
    if bad:
        elements.append(Table((VERDICT, "Check", "Found", "Do"), tuple(_row(each) for each in bad)))
    else:
        elements.append(Section(NOTHING_MORE))
    if good:
        elements.append(Context((words("*PASS*\n{list}", list="\n".join(_good(good))),)))
    text = f"{report.host}: {counts(report)}"
    return Card(text=text, title=text, elements=tuple(elements))


def _good(findings: Sequence[Finding]) -> list[str]:
    """A line each; those of virt-host-validate, which says nothing more, in one."""
    theirs = [each.name.removeprefix(VALIDATE) for each in findings if each.name.startswith(VALIDATE)]
    told = [f"{MARKS[Severity.PASS]} {each.name}: {each.evidence}" for each in findings if VALIDATE not in each.name]
    return [*told, *([f"{MARKS[Severity.PASS]} virt-host-validate: {', '.join(theirs)}"] if theirs else [])]


def _row(finding: Finding) -> tuple[Line, ...]:
    return (finding.severity.value, finding.name, finding.evidence, _do(finding.fix))


# `On HOST: command  (note)`; commands begin with a small letter, sentences do not.
_COMMAND = re.compile(r"(On [^:]+: )?([a-z].*?)(  \(.*\))?", re.DOTALL)


def _do(fix: Line) -> Line:
    """A command ready to be copied, or a sentence."""
    found = _COMMAND.fullmatch(fix) if isinstance(fix, str) else None
    if found is None:
        return prose(fix)
    where, command, note = found.groups()
    return words("{where}`{command}`{note}", where=where or "", command=command, note=note or "")


def _hosts(reports: Sequence[HostReport]) -> Card:
    summary = tuple(words("*{host}* {counts}", host=each.host, counts=counts(each)) for each in reports)
    bad = [
        (report.host, finding)
        for report in reports
        for finding in worst_first(report.findings)
        if finding.severity in {Severity.FAIL, Severity.WARN}
    ]
    bad.sort(key=lambda each: SEVERITIES.index(each[1].severity))
    elements: list[Element] = [Section(line) for line in summary[:30]]
    if bad:
        rows = tuple((host, *_row(finding)) for host, finding in _together(bad))
        elements.append(Table(("Host", VERDICT, "Check", "Found", "Do"), rows))
    else:
        elements.append(Section(NOT_ALL_LOOKED))
    worst = Counter(each.worst for each in reports)
    text = f"{plural(len(reports), 'host')}: " + ", ".join(
        f"{worst[each]} {each}" for each in SEVERITIES if worst[each]
    )
    return Card(text=text, title=text, elements=tuple(elements))


def _together(found: Sequence[tuple[str, Finding]]) -> list[tuple[str, Finding]]:
    """The same finding of several hosts as one row."""
    hosts: dict[Finding, list[str]] = {}
    for host, finding in found:
        hosts.setdefault(finding, []).append(host)
    return [(", ".join(names), finding) for finding, names in hosts.items()]


# --- host pair ----------------------------------------------------------------------------------------------------


def pair_card(paired: Paired, png: bytes | None) -> Card:
    """The matrix as a picture where there are more than two hosts, and everything that is not PASS as a table."""
    reports = paired.reports
    bad = [
        (report, finding) for report in reports for finding in report.findings if finding.severity is not Severity.PASS
    ]
    bad.sort(key=lambda each: SEVERITIES.index(each[1].severity))
    elements: list[Element] = []
    if png is not None:
        elements.append(Picture(png, matrix_words(reports), MATRIX_TITLE))
    if len(reports) <= 2:
        elements += [Section(_direction(report)) for report in reports]
    if bad:
        rows = tuple((where, *_row(finding)) for where, finding in _same(bad, len(reports)))
        elements.append(Table(("From → to", VERDICT, "Check", "Found", "Do"), rows))
    else:
        elements.append(Section(PAIRS_GOOD))
    text = _pairs_text(reports)
    return Card(text=text, title=text, elements=tuple(elements))


MATRIX_TITLE = "From each host (row) to each host (column)"
EVERY_DIRECTION = "every direction"
_NAMED = 12  # directions with the same finding that are named in its row
PAIRS_GOOD = "Guests can move each way."


def _pairs_text(reports: Sequence[PairReport]) -> str:
    worst = Counter(each.worst for each in reports)
    told = ", ".join(f"{worst[each]} {each}" for each in SEVERITIES if worst[each])
    return f"{plural(len(reports), 'direction')}: {told or 'none'}"


def _direction(report: PairReport) -> Line:
    told = ", ".join(f"{each.name} {MARKS[each.severity]}" for each in report.findings)
    return words(
        "*{one} → {other}* {worst}: {told}", one=report.source, other=report.target, worst=report.worst.value, told=told
    )


def _same(bad: Sequence[tuple[PairReport, Finding]], directions: int) -> list[tuple[str, Finding]]:
    """The same finding of several directions as one row; of many, some are named."""
    places: dict[Finding, list[str]] = {}
    for report, finding in bad:
        places.setdefault(finding, []).append(f"{report.source} → {report.target}")
    return [(_places(where, directions), finding) for finding, where in places.items()]


def _places(where: Sequence[str], directions: int) -> str:
    if len(where) == directions > 1:
        return EVERY_DIRECTION
    return ", ".join(where[:_NAMED]) + (f" and {len(where) - _NAMED} more" if len(where) > _NAMED else "")


def matrix_words(reports: Sequence[PairReport]) -> str:
    """The picture for those who do not see it."""
    told = "; ".join(f"{each.source} to {each.target}: {each.worst}{_why(each)}" for each in reports)
    return f"{MATRIX_TITLE}. {told}."


def _why(report: PairReport) -> str:
    bad = [each.name for each in report.findings if each.severity is report.worst]
    return f" ({', '.join(bad)})" if report.worst is not Severity.PASS else ""


# --- host baseline ------------------------------------------------------------------------------------------------


def baseline_card(based: Based) -> Card:
    """The model, who keeps from it, and the element to put into definitions."""
    if based.baseline is None:
        return Card(text=based.trouble, elements=(Section(based.trouble), *_left_out(based)))
    found = based.baseline
    beside = plural(len(found.features), "feature")
    text = f"Baseline of {plural(len(found.hosts), 'host')}: {found.model} and {beside} beside it"
    return Card(text=text, title=text, elements=(*_guests(found), *_definition(found), *_left_out(based)))


def _guests(found: CpuBaseline) -> list[Element]:
    rows = tuple((each.name, each.host, _cpu(each), why) for each in found.guests if (why := keeps(each, found)))
    if not found.guests:
        return [Section("No guest runs, so none keeps from it.")]
    if not rows:
        return [Section(f"{plural(len(found.guests), 'running guest')}: all can run on every one of these hosts.")]
    lead = words(
        "*{count}* of {all} cannot run on every one of these hosts:",
        count=len(rows),
        all=plural(len(found.guests), "running guest"),
    )
    return [Section(lead), Table(("VM", "Host", "CPU", "Why"), rows)]


def keeps(guest: GuestCpu, found: CpuBaseline) -> str:
    """Why a guest cannot run on every host of the baseline; '' when it can."""
    if guest.mode == "host-passthrough":
        return "host-passthrough: only on identical hosts"
    if guest.problem:
        return f"cannot tell: {guest.problem}"
    if guest.virt_type and guest.virt_type != found.virt_type:
        return f"cannot tell: it runs with {guest.virt_type}, the baseline is for {found.virt_type}"
    if guest.beyond:
        more = f" and {len(guest.beyond) - 5} more" if len(guest.beyond) > 5 else ""
        return f"it has {', '.join(guest.beyond[:5])}{more}; the baseline has not"
    return ""


def _cpu(guest: GuestCpu) -> str:
    return f"{guest.model} ({guest.mode})" if guest.model else guest.mode


def _definition(found: CpuBaseline) -> list[Element]:
    return [Section(words("For `virsh edit VM`, from the next start on:")), Listing(found.xml)]


def _left_out(based: Based) -> list[Element]:
    told = "; ".join(f"{host}: {why}" for host, why in based.left_out)
    return [Context((words("Left out: {told}", told=told),))] if told else []


# --- the nightly look ---------------------------------------------------------------------------------------------


LOOK = "Check it again"


def worse_card(host: str, found: Sequence[tuple[Severity | None, Finding]]) -> Card:
    """What is worse than it was known to be."""
    text = f"{host} is less ready than it was: {', '.join(finding.name for _, finding in found)}"
    rows = tuple(
        (f"{before or 'new'} → {finding.severity}", finding.name, finding.evidence, _do(finding.fix))
        for before, finding in found
    )
    return Card(text=text, title=text[:140], elements=(Table((VERDICT, "Check", "Found", "Do"), rows),))


READINESS = "Readiness"


def changed(host: str, before: str, finding: Finding) -> str:
    """A line of a digest."""
    return f"{host}: {finding.name} {before} → {finding.severity} ({finding.evidence})"


def recovered_card(host: str) -> Card:
    """It is as good as it was."""
    return Card(text=f"{host} is as ready as it was.", elements=(Section(f"{host} is as ready as it was."),))


# --- clocks and certificates --------------------------------------------------------------------------------------


def clock_off(host: str, finding: Finding | None) -> Card:
    """A clock drifted."""
    title = f"{host}'s clock is off"
    told = finding.evidence if finding is not None else "by how much is not known"
    elements: list[Element] = [Section("Guests that move there jump in time; certificates meet a wrong date.")]
    if finding is not None:
        elements.insert(0, Table((VERDICT, "Check", "Found", "Do"), (_row(finding),)))
    return Card(text=f"{title}: {told}", title=title, elements=tuple(elements))


def clock_right(host: str) -> Card:
    """It is right again."""
    return Card(f"{host}'s clock is right again.", f"{host}'s clock is off")


def own_clock(common: float, hosts: int) -> Card:
    """Most hosts are off the same way: it is likely the bot."""
    way = "behind" if common > 0 else "ahead of"
    told = f"The bot's clock is {duration_text(abs(common))} {way} those of most of {plural(hosts, 'host')}"
    lines = (Section(f"{told}."), Section("That is more likely the bot's machine than all of them: look at its clock."))
    return Card(text=told, title="The bot's own clock is suspect", elements=lines)


def own_clock_well() -> Card:
    """They agree again."""
    return Card("The bot's clock agrees with the hosts' again.", "The bot's own clock is suspect")


def certificates_end(host: str, ending: Sequence[Finding]) -> Card:
    """Certificates that end soon, or have ended."""
    ended = any(each.severity is Severity.FAIL for each in ending)
    title = f"Certificates on {host} have ended" if ended else f"Certificates on {host} end soon"
    told = "; ".join(f"{each.name.removeprefix('certificate ')} {each.evidence}" for each in ending)
    rows = tuple(_row(each) for each in ending)
    return Card(text=f"{title}: {told}", title=title, elements=(Table((VERDICT, "Check", "Found", "Do"), rows),))


def certificates_good(host: str) -> Card:
    """They were renewed."""
    return Card(f"Every certificate on {host} is good for long enough.", f"Certificates on {host} end soon")
