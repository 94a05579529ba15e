"""Power controllers of a host: whether they answer, and whether they were shown to be its own."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import Vm
from bot.domain.message import Code, Message, Names, nwords, words
from bot.domain.power import Power, Reading
from bot.domain.readiness import Finding
from bot.domain.words import command
from plugins.host_check.findings import Case, failure, good, warning

_POWER = {Power.ON: words("on"), Power.OFF: words("off")}


def controllers(case: Case) -> Iterator[Finding]:
    """One row for each controller; none where none is configured."""
    for reading in case.seen.readings:
        yield _controller(case, reading)


def _controller(case: Case, reading: Reading) -> Finding:
    name, label = f"power by {reading.device}", words("power by {device}", device=reading.device)
    if reading.power is Power.UNKNOWN:
        why = reading.problem or words("no answer")
        fix = words("Check its address, its user and its password in `[[hosts.fence]]`.")
        return failure(name, words("it does not answer: {why}", why=why), fix, label)
    mine = case.seen.facts.uuid if case.seen.facts else ""
    if reading.identity and mine and reading.identity.lower() != mine.lower():
        text = words(
            "it controls another machine ({other}); this one is {uuid}",
            other=reading.identity,
            uuid=mine,
        )
        fix = words("Correct its `system` or `plug`: it would switch the other machine off.")
        return failure(name, text, fix, label)
    if reading.power is Power.OFF and case.seen.facts is not None:
        text = words("it reads off, and {host} answers", host=case.seen.host)
        fix = words("It is stale, or another machine's: do not trust it before that is fixed.")
        return failure(name, text, fix, label)
    return _whose(case, reading, mine, name, label)


def _whose(case: Case, reading: Reading, mine: str, name: str, label: Message) -> Finding:
    """Whether a controller that answers is this host's; ``mine``: its UUID, '' untold."""
    what = _POWER[reading.power]
    bind = Code(command("/kvm failover bind {} {}", case.seen.host, reading.device))
    drill = Code(command("/kvm failover drill {} --real", case.seen.host))
    fix = words("Say so, two people: {bind}; or try it: {drill}.", bind=bind, drill=drill)
    if reading.device in case.seen.refuted:
        text = words("{power}, not trusted: it read off before while the host ran on", power=what)
        return failure(name, text, fix, label)
    if reading.identity and mine:
        return good(name, words("{power}, the same machine ({uuid})", power=what, uuid=mine), label)
    if reading.device in case.seen.bound:
        return good(name, words("{power}, shown to be this host's", power=what), label)
    text = words("{power}, never shown to be this host's: it proves nothing", power=what)
    return warning(name, text, fix, label)


def autostart(case: Case) -> Iterator[Finding]:
    """VMs that a failover starts elsewhere and that libvirt starts with this host too."""
    if not case.seen.readings:
        return
    name, label = "autostart", words("autostart and failover")
    twice = [vm.name for vm in case.seen.guests if _starts_twice(vm)]
    if not twice:
        yield good(name, words("libvirt starts no VM that failover protects"), label)
        return
    yield warning(
        name,
        nwords(
            "after a failover, libvirt would start an old copy of {names} when the host gets power",
            "after a failover, libvirt would start old copies of {names} when the host gets power",
            n=len(twice),
            names=Names(tuple(twice), most=10),
        ),
        words("Let Drover start them: {command}.", command=Code("/kvm failover protect")),
        label,
    )


_MISSING = 66  # the probe's word for a hook that is not there


def guard(case: Case) -> Iterator[Finding]:
    """The hook that refuses the start of old copies after a failover, where it was put."""
    told = case.seen.answer("guard")
    if not case.seen.readings or told is None:
        return
    name, label = "guard", words("guard against old copies")
    if told.code == _MISSING:
        text = words("none: when the host comes back, an old copy can be started there by hand")
        yield good(name, text, label)
        return
    seen = told.out.split()
    show = words("Put it there as {command} says.", command=Code("/kvm failover guard"))
    if "executable" not in seen:
        yield warning(name, words("its file is not executable"), show, label)
    elif "read" not in seen:
        text = words("libvirt's daemon was started before it was put there, and does not know it")
        yield warning(name, text, words("Restart the daemon; VMs run on."), label)
    elif "admitted" not in seen:
        text = words("it refuses VMs that Drover starts with this host: the host is not admitted")
        fix = words(
            "Drover admits it within 10 minutes, unless it is on hold, where its SSH user is root "
            "or has sudo."
        )
        yield warning(name, text, fix, label)
    else:
        yield good(name, words("it works, and the host is admitted"), label)


def _starts_twice(vm: Vm) -> bool:
    return vm.autostart and vm.persistent and vm.tags.get("failover") != "off"
