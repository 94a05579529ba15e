"""The card of a digest."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Chart,
    Context,
    Divider,
    Element,
    Line,
    Section,
    Table,
    Words,
    join,
    nwords,
    said_elsewhere,
    words,
)
from bot.domain.message import Duration, Number, Percent, Size, Value
from bot.domain.plan import Spread
from plugins.monitor.backups import backup_line
from plugins.monitor.cards import (
    NOT_MEASURED,
    SCREEN,
    STATES,
    bullets,
    days_left,
    hosts_up,
    names,
    operation_line,
    percent,
    short_verdict,
    show,
    use_of,
    verdict,
)
from plugins.monitor.digest_values import Changed, Decisions, Digest, Filling, Gain, Move, Picture

_MOVES = 20  # rows of a table
_GAINS = 5  # plans whose effect is told


def digest_card(found: Digest, slash: str, *, weekly: bool) -> Card:
    """A daily or weekly digest."""
    state = hosts_up(found.hosts_up, found.hosts, found.running)
    title = (
        words("Weekly digest: {state}", state=state)
        if weekly
        else words("Daily digest: {state}", state=state)
    )
    elements: list[Element] = [
        Section(verdict(found.losses)),
        Section(words("*What changed*\n{changes}", changes=_changes(found))),
    ]
    picture = _picture(found.picture)
    elements += [picture] if picture else []
    elements += [
        Section(Words("*{head}*\n{line}", {"head": head, "line": line}))
        for head, line in _parts(found)
    ]
    moves = _moves_table(found.moves)
    elements += [Divider(), moves] if moves else []
    elements.append(
        Buttons(
            (
                Button(words("Status"), "run", "status"),
                Button(words("Forecast"), "run", "forecast"),
            )
        )
    )
    since = (
        words("since {at}", at=found.since) if found.since else words("since the start of the bot")
    )
    more = words("more: `{slash} forecast`, `{slash} alerts`, `{slash} ops`", slash=slash)
    elements.append(Context((since, more)))
    text = join((Words("{title}.", {"title": title}), short_verdict(found.losses)))
    return Card(text=text, title=title, elements=tuple(elements))


def _changes(found: Digest) -> Line:
    if found.since is None:
        return words("This is the first digest; the next one says what changed.")
    return join(_changed_lines(found.changed), "\n") or words("Nothing.")


def _changed_lines(found: Changed) -> Iterator[Line]:
    for host, before, now in found.hosts:
        states = {"before": STATES.get(before, before), "now": STATES.get(now, now)}
        yield Words("{host}: {before} → {now}", {"host": host, **states})
    moved = [
        Words("{vm} ({source} → {target})", {"vm": vm, "source": source, "target": target})
        for vm, source, target in found.moved
    ]
    if found.made:
        yield words("New: {vms}", vms=names(found.made))
    if found.gone:
        yield words("Gone: {vms}", vms=names(found.gone))
    if moved:
        yield words("Moved: {vms}", vms=names(moved))
    if found.started:
        yield words("Started: {vms}", vms=names(found.started))
    if found.stopped:
        yield words("Stopped: {vms}", vms=names(found.stopped))


def _parts(found: Digest) -> Iterator[tuple[Line, Line]]:
    """Every part that holds something, with its heading."""
    yield from _told_parts(found)
    yield from _capacity_parts(found)
    yield from _vm_parts(found)
    if found.gains:
        gains = join((_gain(each) for each in found.gains[:_GAINS]), "\n")
        yield words("Imbalance, predicted and actual"), gains
    if accuracy := _accuracy(found.moves):
        yield words("Predictions of moves"), accuracy
    if found.failed:
        failed = names([operation_line(each) for each in found.failed], 5)
        yield words("Not completed"), show(failed)
    if found.decisions != Decisions():
        yield words("Decisions"), _decisions(found.decisions)


def _told_parts(found: Digest) -> Iterator[tuple[Line, Line]]:
    """Alerts, and changes that watches told of."""
    if found.incidents:
        alerts = [
            words("{title} (active)", title=each.title)
            if each.open
            else words("{title} (resolved)", title=each.title)
            for each in found.incidents
        ]
        yield words("Alerts"), bullets(alerts)
    for about in dict.fromkeys(each.about for each in found.notes):
        yield (
            said_elsewhere(about),
            bullets([each.text for each in found.notes if each.about == about]),
        )


def _capacity_parts(found: Digest) -> Iterator[tuple[Line, Line]]:
    if found.filling:
        pools = [_filling(each) for each in found.filling]
        yield words("Pools that fill"), show(names(pools, 5))
    if found.hot:
        yield words("Hot hosts"), _shares(found.hot)
    if found.idle:
        yield words("Idle hosts"), _shares(found.idle)


def _shares(hosts: Iterable[tuple[str, float]]) -> Line:
    lines = (Words("{host} {share}", {"host": host, "share": Percent(n)}) for host, n in hosts)
    return show(names(lines))


def _vm_parts(found: Digest) -> Iterator[tuple[Line, Line]]:
    if found.idle_vms:
        yield words("Idle VMs"), show(names(found.idle_vms))
    if found.oversized:
        vms = [
            nwords(
                "{vm} ({n} vCPU, needs {cores})",
                "{vm} ({n} vCPUs, needs {cores})",
                n=vcpus,
                vm=vm,
                cores=Number(cores, 1),
            )
            for vm, vcpus, cores in found.oversized
        ]
        yield words("VMs larger than they need"), show(names(vms))
    if found.snapshots:
        snapshots = [
            Words("{vm}: {snapshot}", {"vm": each.vm, "snapshot": each.name})
            for each in found.snapshots
        ]
        yield words("Old snapshots"), show(names(snapshots))
    if found.backups:
        backups = [backup_line(each, found.now) for each in found.backups]
        yield words("Backups that are too old"), show(names(backups))


def _filling(one: Filling) -> Words:
    """A pool, how full it is, and when it will be full."""
    use: dict[str, Value] = {
        "pool": one.pool.name,
        "share": percent(use_of(one.pool)),
        "all": Size(one.pool.capacity),
        "when": days_left(one.days, one.earliest, one.latest),
    }
    if one.where == "shared":
        return words("{pool} {share} of {all}; full: {when}", **use)
    return words("{pool} on {host} {share} of {all}; full: {when}", host=one.where, **use)


def _gain(one: Gain) -> Line:
    spreads: dict[str, Value] = {
        "operation": one.operation,
        "before": _imbalance(one.before),
        "predicted": _imbalance(one.foretold),
    }
    if one.measured is None:
        return words("{operation}: {before} → predicted {predicted} → not measured yet", **spreads)
    return words(
        "{operation}: {before} → predicted {predicted} → actual {actual}",
        actual=_imbalance(one.measured),
        **spreads,
    )


def _imbalance(found: Spread) -> Words:
    """``0.350 (CPU 80% and 10%)``: that of the busiest and of the idlest host."""
    return words(
        "{imbalance} (CPU {busiest} and {idlest})",
        imbalance=Number(found.unevenness, 3),
        busiest=Percent(found.busiest),
        idlest=Percent(found.idlest),
    )


def _decisions(found: Decisions) -> Line:
    counts = nwords(
        "{n} request: {approved}, {denied}, {expired}.",
        "{n} requests: {approved}, {denied}, {expired}.",
        n=found.asked,
        approved=nwords("{n} approved", "{n} approved", n=found.approved),
        denied=nwords("{n} denied", "{n} denied", n=found.denied),
        expired=nwords("{n} expired", "{n} expired", n=found.expired),
    )
    if found.median is None:
        return counts
    return join((counts, words("Median time to decision {time}.", time=Duration(found.median))))


def _accuracy(moves: Sequence[Move]) -> Line:
    """How good the predictions were: ranges that held, and how far off the middle was."""
    times = [(each.foretold, each.took) for each in moves]
    pauses = [(each.pause, each.paused) for each in moves]
    lines = (
        *_accuracy_of(words("time"), [each.held[0] for each in moves], times),
        *_accuracy_of(words("pause"), [each.held[1] for each in moves], pauses),
    )
    return join(lines, "\n")


def _accuracy_of(
    label: Words,
    ranges: Sequence[bool | None],
    pairs: Sequence[tuple[float | None, float | None]],
) -> Iterator[Line]:
    """Lines on one kind of prediction; ``pairs``: what was predicted, and what was measured."""
    held = [each for each in ranges if each is not None]
    off = [abs(actual - told) / actual for told, actual in pairs if told is not None and actual]
    if held:
        yield words(
            "{what}: {good} of {count} within the predicted range (4 of 5 are meant to be)",
            what=label,
            good=sum(held),
            count=len(held),
        )
    if off:
        yield nwords(
            "{what}: {n} prediction was off by {share}",
            "{what}: half of {n} predictions were off by {share} or less",
            n=len(off),
            what=label,
            share=Percent(statistics.median(off)),
        )


def _moves_table(moves: Sequence[Move]) -> Table | None:
    if not moves:
        return None
    rows = tuple(
        (
            one.operation,
            one.vm,
            f"{one.source} → {one.target}",
            _seconds(one.foretold),
            _seconds(one.took),
        )
        for one in moves[:_MOVES]
    )
    columns = (
        words("Operation"),
        words("VM"),
        words("Move"),
        words("Predicted"),
        words("Actual"),
    )
    return Table(columns, rows, frozenset({3, 4}))


def _seconds(value: float | None) -> Line:
    return NOT_MEASURED if value is None else show(Duration(value))


def _picture(found: Sequence[Picture]) -> Chart | None:
    """Memory allocated, by host: at the last digest, where it is known of all, and now."""
    if not found:
        return None
    if len(found) > SCREEN:
        found = sorted(found, key=lambda each: -each.now)[:SCREEN]
    now = tuple(round(100 * each.now, 1) for each in found)
    series: tuple[tuple[Line, tuple[float, ...]], ...] = ((words("now"), now),)
    before = [each.before for each in found if each.before is not None]
    if len(before) == len(found):
        was = tuple(round(100 * each, 1) for each in before)
        series = ((words("before"), was), *series)
    shares = (Words("{h} {now}", {"h": each.host, "now": Percent(each.now)}) for each in found)
    summary = words("Memory allocated: {hosts}", hosts=join(shares, ", "))
    hosts = tuple(each.host for each in found)
    return Chart(words("Memory allocated by host"), "bar", hosts, series, "%", summary)
