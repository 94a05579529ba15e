"""Pure: ``host readmit``.

How a host that failed is admitted again without the old copies of its VMs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bot.domain.cluster import Host, Snapshot, Vm, VmState
from bot.domain.message import Message, Names, join, words
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.power import Power, Reading
from bot.domain.steps import HoldHost, Step
from bot.domain.words import virsh_name
from bot.plugin_api import Rules
from plugins.failover import reports
from plugins.failover.commands import chat, shell
from plugins.failover.intents import Readmit
from plugins.failover.places import lacking_networks
from plugins.failover.steps import ReadmitVm


def plan(
    intent: Readmit,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Remove what lives elsewhere, then lift the hold."""
    host = snapshot.host(intent.host)
    title = words("Admit {host} again", host=host.name)
    wrong = tuple(_wrong(intent, snapshot)) if host.up else ()
    against = (*_objections(intent, snapshot), *(() if intent.despite_check else _red(host, wrong)))
    if against:
        return Refused(title, against)
    old = tuple(_old(snapshot, host.name))
    steps: list[Step] = [ReadmitVm(vm.uuid, vm.name, host.name, lives_on) for vm, lives_on in old]
    warnings = [Reason(each.code, each.text) for each in wrong]
    if saved := [vm.name for vm, _ in old if vm.saved]:
        warnings.append(
            Reason(
                "saved",
                words(
                    "Memory saved on {host} is removed: {names}.",
                    host=host.name,
                    names=Names(tuple(saved), most=10),
                ),
            )
        )
    return Plan(
        title,
        (*steps, HoldHost(host.name, on=False)),
        Risk.HIGH,
        Blast(tuple(vm.name for vm, _ in old), (host.name,)),
        reasons=(
            Reason(
                "old-copies", words("Old copies of VMs that run elsewhere are removed; disks stay.")
            ),
        )
        if old
        else (),
        warnings=tuple(warnings),
    )


def still_good(
    intent: Readmit, planned: Plan, snapshot: Snapshot, rules: Rules
) -> tuple[Objection, ...]:
    """What stands against it now: also old copies that were not there when it was planned."""
    again = plan(intent, snapshot, rules)
    if isinstance(again, Refused):
        return again.objections
    if again.steps != planned.steps:
        return (
            Objection(
                "changed", words("{host} has other VMs now than approved.", host=intent.host)
            ),
        )
    return ()


def _objections(intent: Readmit, snapshot: Snapshot) -> Iterable[Objection]:
    host = snapshot.host(intent.host)
    if not host.held:
        yield Objection("not-held", words("{host} is not on hold.", host=host.name))
    if not host.up:
        yield Objection(
            "silent",
            words("{host} does not answer.", host=host.name),
            words("Start it, then ask again."),
        )
    for vm, lives_on in _copies(snapshot, host.name):
        if vm.state.active:
            yield Objection(
                "two-copies",
                words(
                    "{vm} runs on {host} and on {other}.",
                    vm=vm.name,
                    host=host.name,
                    other=lives_on,
                ),
                _stop_one(vm),
            )


def _wrong(intent: Readmit, snapshot: Snapshot) -> Iterable[Objection]:
    """What a host needs to be of use again, and to be proven off when it fails again."""
    host = snapshot.host(intent.host)
    for pool in host.pools:
        if pool.autostart and not pool.active:
            yield Objection(
                "pool-inactive",
                words("The pool {pool} of {host} is not active.", pool=pool.name, host=host.name),
                words(
                    "On {host}: {command}.",
                    host=host.name,
                    command=shell("virsh pool-start {}", pool.name),
                ),
            )
    for vm, _ in _copies(snapshot, host.name):
        if what := lacking_networks(host, vm.detail):
            yield Objection(
                "lacks",
                words(
                    "{host} lacks what {vm} needs there: {what}.",
                    host=host.name,
                    vm=vm.name,
                    what=Names(what),
                ),
                words("Give {host} its network again.", host=host.name),
            )
    for reading in intent.readings:
        yield from _controller(host.name, reading, intent.bound)
    if intent.unheard:
        yield Objection(
            "not-heard",
            words("Other hosts do not reach {host}: no VM could move there.", host=host.name),
            words("Check its network: {command}.", command=chat("host check {}", host.name)),
        )


def _red(host: Host, wrong: Sequence[Objection]) -> tuple[Objection, ...]:
    """What is wrong; the last of it with how the host is admitted all the same."""
    if not wrong:
        return ()
    *others, last = wrong
    anyway = words(
        "To admit it all the same: {command}.",
        command=chat("host readmit {} --despite-check", host.name),
    )
    return (*others, replace(last, remedy=join((last.remedy, anyway))))


def _controller(host: str, reading: Reading, bound: frozenset[str]) -> Iterable[Objection]:
    if reading.power is Power.ON and reading.device in bound:
        return
    yield Objection(
        "controller",
        words(
            "When {host} fails again, nothing proves it off: {power}.",
            host=host,
            power=reports.power(reading, bound, ()),
        ),
        words("See what is wrong with it: {command}.", command=chat("host check {}", host)),
    )


def _stop_one(vm: Vm) -> Message:
    if vm.state is VmState.RUNNING:
        return words(
            "Stop what runs twice first: {command}.",
            command=chat("failover stop-copies {}", vm.host),
        )
    return words(
        "Decide which copy stays, and force the other off on its host: {command}.",
        command=shell("virsh destroy {}", virsh_name(vm)),
    )


def _old(snapshot: Snapshot, host: str) -> Iterable[tuple[Vm, str]]:
    """The VMs that are off on the host and run elsewhere, with where."""
    return ((vm, lives_on) for vm, lives_on in _copies(snapshot, host) if not vm.state.active)


def _copies(snapshot: Snapshot, host: str) -> Iterable[tuple[Vm, str]]:
    """The VMs of a host that run elsewhere too."""
    running = {vm.uuid: vm.host for vm in snapshot.vms if vm.host != host and vm.state.active}
    return ((vm, running[vm.uuid]) for vm in snapshot.on(host) if vm.uuid in running)
