"""What is true of hosts and VMs when a drain, an undrain or a rolling maintenance ends; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bot.domain.cluster import Snapshot, Vm
from bot.domain.errors import Remedy
from bot.domain.message import Message, Words, join, nwords, words
from bot.domain.operation import Operation, Summary
from bot.domain.steps import MigrateVm, SetMaintenance
from bot.domain.words import command
from plugins.balance import cards
from plugins.balance.drain import turn_of
from plugins.balance.leaving import STUCK

EXPLAINED = 5  # VMs for which it is told why they stay


def after_drain(operation: Operation, seen: Snapshot) -> Summary:
    """Whether the host is empty; if not, which VMs still run there and why."""
    host = seen.host(operation.intent.host)
    if not host.up:
        return Summary(
            words("Drain of {host} ended, but {host} does not answer now", host=host.name),
            words("It is not known whether VMs still run on {host}.", host=host.name),
            complete=False,
        )
    there = _running_on(seen, host.name)
    if not there and host.maintenance:
        return Summary(
            words("Drained {host}: no VM runs there", host=host.name),
            _powered_off_text(seen, host.name),
        )
    if not host.maintenance and not operation.todo:
        return _out_of_maintenance(host.name, there)
    moved = _away(operation, seen, host.name)
    return Summary(
        _except(host.name, there),
        join(_remainder(operation, seen, host.name, there, moved), "\n"),
        complete=False,
        remedies=(*_shut_down(there), *([_take_back(host.name)] if host.maintenance else [])),
    )


def _except(host: str, there: Sequence[Vm]) -> Words:
    return nwords(
        "Drained {host}, except {vms}, which still runs there",
        "Drained {host}, except {vms}, which still run there",
        n=len(there),
        host=host,
        vms=cards.names_of(vm.name for vm in there),
    )


def _out_of_maintenance(host: str, there: Sequence[Vm]) -> Summary:
    text = words("Somebody took {host} out of maintenance meanwhile.", host=host)
    if there:
        return Summary(_except(host, there), text, complete=False)
    title = words("Drained {host}, but it is not in maintenance any more", host=host)
    return Summary(title, text, complete=False)


def _remainder(
    operation: Operation, seen: Snapshot, host: str, there: Sequence[Vm], moved: Sequence[Vm]
) -> Iterator[Message]:
    if there:
        yield nwords(
            "*{host} is NOT empty:* {vms} still runs there. Do not power it off.",
            "*{host} is NOT empty:* {vms} still run there. Do not power it off.",
            n=len(there),
            host=host,
            vms=cards.names_of(vm.name for vm in there),
        )
    if seen.host(host).maintenance:
        yield words("{host} is still in maintenance.", host=host)
    if moved and operation.todo:
        yield _are_away(host, moved)
    yield from _why(operation, there)


def _why(operation: Operation, there: Sequence[Vm]) -> Iterator[Message]:
    """Why they stay, as the plan, or the look just before their turn, had found."""
    planned = {
        each.code.removeprefix(STUCK): each.text
        for each in operation.plan.warnings
        if each.code.startswith(STUCK)
    }
    for each in operation.skipped:
        step = operation.plan.steps[each.index]
        if isinstance(step, MigrateVm):
            planned.setdefault(step.name, each.why.text)
    for vm in there[:EXPLAINED]:
        if vm.name in planned:
            yield planned[vm.name]


def _are_away(host: str, moved: Sequence[Vm]) -> Words:
    where = tuple(words("{vm} on {host}", vm=vm.name, host=vm.host) for vm in moved)
    return nwords(
        "Moved away from {host}: {where}.", "Moved away from {host}: {where}.",
        n=len(moved), host=host, where=where,
    )  # fmt: skip


def _powered_off_text(seen: Snapshot, host: str) -> Message:
    off = sorted({vm.name for vm in seen.on(host) if not vm.state.active})
    return cards.powered_off_stay(host, off).text if off else ""


def _running_on(seen: Snapshot, host: str) -> list[Vm]:
    return sorted((vm for vm in seen.on(host) if vm.state.active), key=lambda vm: vm.name)


def _away(operation: Operation, seen: Snapshot, host: str) -> list[Vm]:
    """VMs that this operation moved away from a host, in its turn, and that run elsewhere now."""
    steps = operation.plan.steps
    left = {
        step.uuid
        for each in operation.ended
        if isinstance(step := steps[each.index], MigrateVm)
        and step.source == host
        and turn_of(steps, each.index) in ("", host)
    }
    return sorted(
        (vm for vm in seen.vms if vm.uuid in left and vm.state.active and vm.host != host),
        key=lambda vm: vm.name,
    )


def _shut_down(there: Sequence[Vm]) -> Iterator[Remedy]:
    """A button for the only VM that is left; several are people's choice."""
    if len(there) == 1:
        vm = there[0].name
        yield Remedy(words("Shut down {vm}", vm=vm), command("vm shutdown {}", vm))


def _take_back(host: str) -> Remedy:
    return Remedy(words("Undrain {host}", host=host), command("host undrain {}", host))


def after_undrain(operation: Operation, seen: Snapshot) -> Summary:
    """Whether the host serves again and has its VMs back."""
    host = seen.host(operation.intent.host)
    home = set(operation.intent.home)
    away = sorted(
        (vm for vm in seen.vms if vm.uuid in home and vm.state.active and vm.host != host.name),
        key=lambda vm: vm.name,
    )
    text = _are_away(host.name, away) if away else ""
    if host.maintenance:
        title = words("{host} is still in maintenance", host=host.name)
        return Summary(title, join((title, text), "\n"), complete=False)
    if away:
        title = words(
            "{host} is in service again, without {vms}",
            host=host.name,
            vms=cards.names_of(vm.name for vm in away),
        )
        return Summary(title, text, complete=False)
    return Summary(words("{host} is in service again, with its VMs", host=host.name))


def after_rolling(operation: Operation, seen: Snapshot) -> Summary:
    """Which hosts were maintained, which are left in maintenance, and which VMs are not back."""
    turns = _turns(operation)
    resting = [name for name in turns if seen.host(name).maintenance]
    away = {name: _away(operation, seen, name) for name in turns}
    apart = [name for name in turns if away[name]]
    finished = _maintenance_ends(operation)
    left = sorted(set(turns) - set(finished))
    lines: list[Message] = []
    lines += [_host_left(name, seen) for name in resting]
    lines += [_are_away(name, away[name]) for name in apart]
    if left and not operation.todo:
        lines.append(words("Not maintained: {hosts}.", hosts=cards.names_of(left)))
    remedies = tuple(_take_back(name) for name in dict.fromkeys((*resting, *apart)))
    title = words("Maintained {hosts}", hosts=cards.names_of(finished))
    if lines:
        title = words("Maintenance of {hosts} is not complete", hosts=cards.names_of(turns))
    return Summary(title, join(lines, "\n"), complete=not lines, remedies=remedies)


def _host_left(host: str, seen: Snapshot) -> Words:
    there = _running_on(seen, host)
    if not there:
        return words("{host} is still in maintenance, and no VM runs there.", host=host)
    return words(
        "{host} is still in maintenance; there run: {vms}.",
        host=host,
        vms=cards.names_of(vm.name for vm in there),
    )


def _turns(operation: Operation) -> tuple[str, ...]:
    """Hosts that this operation put into maintenance or was to, in order."""
    return tuple(
        dict.fromkeys(
            step.host
            for step in operation.plan.steps
            if isinstance(step, SetMaintenance) and step.on
        )
    )


def _maintenance_starts(operation: Operation) -> Iterable[SetMaintenance]:
    ended = {each.index for each in operation.ended}
    return (
        step
        for index, step in enumerate(operation.plan.steps)
        if index in ended and isinstance(step, SetMaintenance)
    )


def _maintenance_ends(operation: Operation) -> tuple[str, ...]:
    """Hosts whose maintenance was ended by this operation."""
    return tuple(dict.fromkeys(step.host for step in _maintenance_starts(operation) if not step.on))
