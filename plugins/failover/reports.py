"""Pure: evidence and verdicts as sentences."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from bot.domain.message import Duration, Message, Names, When, join, nwords, words
from bot.domain.plan import Objection, Reason
from bot.domain.power import Power, Reading
from plugins.failover.commands import chat
from plugins.failover.evidence import Evidence, Heard, Statement, Witness
from plugins.failover.verdict import Cause, Judged, Verdict

_WITNESSES: dict[Witness, Message] = {
    Witness.LIBVIRT: words("libvirt"),
    Witness.SHELL: words("SSH"),
    Witness.PEERS: words("other hosts"),
    Witness.VMS: words("its VMs"),
    Witness.STORAGE: words("its disks"),
}
_HEARD: dict[Heard, Message] = {
    Heard.WELL: words("answers"),
    Heard.LIFE: words("shows life"),
    Heard.SILENT: words("no sign of life"),
    Heard.UNASKED: words("not asked"),
}
_POWER: dict[Power, Message] = {
    Power.ON: words("*on*"),
    Power.OFF: words("*off*"),
    Power.UNKNOWN: words("no answer"),
}


def title(host: str, count: int, *, attested: bool) -> Message:
    """What a failover does, in one sentence."""
    if attested:
        return nwords(
            "Start {n} VM of {host} on other hosts, by the word of two people that it is off",
            "Start {n} VMs of {host} on other hosts, by the word of two people that it is off",
            n=count,
            host=host,
        )
    return nwords(
        "Switch {host} off and start {n} VM on other hosts",
        "Switch {host} off and start {n} VMs on other hosts",
        n=count,
        host=host,
    )


def asks_for_word(host: str, seen: str) -> Message:
    """What an approver of an attestation says with the vote."""
    return words(
        "Approve only if you looked at {host} yourself and saw it off. The requester saw: {seen}. "
        "If it runs on, two copies of its VMs will write the same disks.",
        host=host,
        seen=seen,
    )


def provable(host: str) -> Objection:
    """That nobody's word is needed."""
    return Objection(
        "provable",
        words("The power controller of {host} answers: nobody's word is needed.", host=host),
        words("Use {command}.", command=chat("host failover {}", host)),
    )


def no_controller(host: str) -> Objection:
    """That nothing of its own can switch it off."""
    return Objection(
        "no-controller",
        words("No power controller that was shown to be the own one of {host} answers.", host=host),
        words("Look at {command}.", command=chat("failover status")),
    )


def half_moved(vm: str, lost: str, host: str) -> Message:
    """What becomes of a VM whose migration in post-copy its source's death has cut off."""
    return words(
        "{vm} was being migrated to {host}, where libvirt still calls it running; the rest of its "
        "memory was on {lost}. Once {lost} is proven off, {vm} is forced off on {host} and starts "
        "anew from its disks.",
        vm=vm,
        host=host,
        lost=lost,
    )


def half_left(vm: str, lost: str, host: str) -> Message:
    """What becomes of a VM whose migration in post-copy its target's death has cut off."""
    return words(
        "{vm} was being migrated from {host} to {lost}, and ran on {lost} with part of its memory; "
        "{host} has an older state of it. Once {lost} is proven off, {vm} is forced off on {host} "
        "and starts anew from its disks.",
        vm=vm,
        host=host,
        lost=lost,
    )


def stops_what_runs(host: str) -> Message:
    """What people decide who overrule a sign of life."""
    return words(
        "{host} shows life. Approve only if you know that it does not do its work: what runs there "
        "ends at once.",
        host=host,
    )


def runs_drover(host: str, own: Collection[str]) -> Message:
    """That the bot itself, or its database, may end with the host."""
    return words(
        "Drover or its database runs in {vms} on {host}, as last seen, and ends when {host} "
        "is switched off.",
        vms=Names(tuple(own)),
        host=host,
    )


def not_by_itself(found: Evidence, cause: Cause) -> Objection:
    """Why nothing is done without people."""
    host = found.host
    return Objection(
        f"not-by-itself-{cause.value}",
        runs_drover(host, found.own)
        if cause is Cause.OWN
        else words(
            "Too few witnesses could be asked about {host} to act without people.", host=host
        ),
        words("To decide yourself: {command}.", command=chat("host failover {}", host)),
    )


def evidence(found: Evidence) -> Iterable[Reason]:
    """One line for each witness that was asked, for the power, and for the bot's own view."""
    if found.last_heard is not None:
        yield Reason(
            "silent",
            words(
                "{host} does not answer for {time}, since {at}.",
                host=found.host,
                time=Duration(found.silent_for),
                at=When(found.last_heard),
            ),
        )
    unasked = [each for each in found.statements if each.said is Heard.UNASKED and not each.detail]
    for each in found.statements:
        if each not in unasked:
            yield Reason(f"witness-{each.witness.value}", statement(each))
    if unasked:
        names = Names(tuple(_WITNESSES[each.witness] for each in unasked))
        yield Reason("witnesses-unasked", words("not asked: {witnesses}", witnesses=names))
    for reading in found.power:
        yield Reason("power", power(reading, found.bound, found.refuted))
    for reading in found.before:
        if reading.power is not Power.UNKNOWN:
            yield Reason("power-before", _before(reading))
    view = found.view
    yield Reason(
        "own-view",
        words(
            "Own view: {heard} of {hosts} hosts answer.",
            heard=view.hosts - view.silent,
            hosts=view.hosts,
        ),
    )


def statement(said: Statement) -> Message:
    """What one witness said."""
    who, what = _WITNESSES[said.witness], _HEARD[said.said]
    if said.detail:
        return words("{who}: {what} ({detail})", who=who, what=what, detail=said.detail)
    return words("{who}: {what}", who=who, what=what)


def _before(reading: Reading) -> Message:
    return words(
        "{device} read {what} at {at}, while {host} still answered.",
        device=reading.device,
        what=_POWER[reading.power],
        at=When(reading.at),
        host=reading.host,
    )


def power(reading: Reading, shown: Collection[str], refuted: Collection[str]) -> Message:
    """What a controller read.

    And whether it is among those ``shown`` to be this host's, or ``refuted``.
    """
    what = _POWER[reading.power]
    bound = reading.device in shown
    if reading.problem:
        return words(
            "power by {device}: {what} ({why})",
            device=reading.device,
            what=what,
            why=reading.problem,
        )
    if bound and reading.identity:
        return words(
            "power by {device}: {what}, the same machine ({uuid})",
            device=reading.device,
            what=what,
            uuid=reading.identity,
        )
    if bound:
        return words(
            "power by {device}: {what}, shown to be this host's", device=reading.device, what=what
        )
    if reading.device in refuted:
        return words(
            "power by {device}: {what}, *not trusted: it read off before while the host ran on*",
            device=reading.device,
            what=what,
        )
    return words(
        "power by {device}: {what}, *not shown to be this host's*", device=reading.device, what=what
    )


def against(host: str, judged: Judged, found: Evidence) -> Objection:
    """Why a host is not to be switched off, by the verdict."""
    if judged.verdict is Verdict.US:
        return Objection(f"us-{judged.cause.value}", _us(judged, found), _later(judged))
    if judged.verdict is Verdict.DARK:
        return _dark(host, judged, found)
    text, advice = _LIVING[judged.verdict](host, judged)
    if judged.verdict is Verdict.WAITING:
        text = words(
            "{host} does not answer for {time} only.", host=host, time=Duration(found.silent_for)
        )
    return Objection(judged.verdict.value, text, advice)


def _us(judged: Judged, found: Evidence) -> Message:
    if judged.cause is Cause.JUST_STARTED:
        return words(
            "Drover has just started, and does not know yet who is unreachable for how long."
        )
    if judged.cause is Cause.STORM:
        return words("Drover itself saw too little a moment ago.")
    view = found.view
    if view.anchors and 2 * view.anchors_heard <= view.anchors:
        return words(
            "Drover reaches {heard} of {n} configured anchors: it is more likely Drover's "
            "own network.",
            heard=view.anchors_heard,
            n=view.anchors,
        )
    return words(
        "{silent} of {hosts} hosts do not answer: it is more likely Drover's own network.",
        silent=found.view.silent,
        hosts=found.view.hosts,
    )


def _later(judged: Judged) -> Message:
    if judged.until is None:
        return words("Check Drover's network. Nothing is switched off meanwhile.")
    return words("Ask again after {at}.", at=When(judged.until))


def _dark(host: str, judged: Judged, found: Evidence) -> Objection:
    code = judged.cause.value or "dark"
    names = Names(tuple(each.device for each in found.power))
    if judged.cause is Cause.NO_DEVICE:
        return Objection(
            code,
            words("{host} has no power controller: nothing can prove that it is off.", host=host),
            _attest(host),
        )
    wrong = tuple(each.device for each in found.power if each.device in found.refuted)
    if judged.cause is Cause.NOT_BOUND and wrong:
        return Objection(
            "refuted",
            words(
                "{devices} read {host} off before while it ran on: nothing that it reads is "
                "trusted.",
                devices=Names(wrong),
                host=host,
            ),
            join((_bind(host, wrong[0]), _attest(host))),
        )
    if judged.cause is Cause.NOT_BOUND:
        return Objection(
            code,
            words(
                "{devices} was never shown to belong to {host}: it may switch off another machine.",
                devices=names,
                host=host,
            ),
            join((_bind(host, found.power[0].device), _attest(host))),
        )
    return Objection(
        code,
        words(
            "Neither {host} nor its power controller ({devices}) answers: it may run on.",
            host=host,
            devices=names,
        ),
        _attest(host),
    )


def _bind(host: str, device: str) -> Message:
    return words(
        "If you know that it does: {command}.", command=chat("failover bind {} {}", host, device)
    )


def wrong_proof(host: str, devices: tuple[str, ...]) -> Message:
    """That controllers proved a host off which never was off."""
    return words(
        "{devices} read {host} off while it ran on: it answers with the boot id that it had "
        "before. What {devices} reads proves nothing from now on. Find out why, then show anew "
        "whose it is: {drill} or {bind}.",
        devices=Names(devices),
        host=host,
        drill=chat("failover drill {} --real", host),
        bind=chat("failover bind {} {}", host, devices[0]),
    )


def _attest(host: str) -> Message:
    return words(
        "Look at it. If it is off, two people say so: {command}.",
        command=chat("host attest-off {} --seen TEXT", host),
    )


def _expected_text(host: str, judged: Judged) -> tuple[Message, Message]:
    if judged.until is None:
        return (
            words("{host} is in maintenance, so it is expected to be unreachable.", host=host),
            words(
                "If it is dead, end its maintenance first: {command}.",
                command=chat("host maintenance {} off", host),
            ),
        )
    return (
        words("{host} is expected to be unreachable until {at}.", host=host, at=When(judged.until)),
        words(
            "If it is dead, end that first: {command}.", command=chat("host quiet {} --off", host)
        ),
    )


_LIVING: dict[Verdict, Callable[[str, Judged], tuple[Message, Message]]] = {
    Verdict.WELL: lambda host, _: (
        words("{host} answers.", host=host),
        words(
            "A failover is for a host that does not. To move its VMs: {drain}. What would happen "
            "if it died: {drill}.",
            drain=chat("host drain {}", host),
            drill=chat("failover drill {}", host),
        ),
    ),
    Verdict.BACK: lambda host, _: (
        words("{host} answers: it has started anew.", host=host),
        words("Start its VMs there: {command}.", command=chat("host resume {}", host)),
    ),
    Verdict.EXPECTED: _expected_text,
    Verdict.DEAF: lambda host, _: (
        words("{host} lives: its shell answers, only its libvirt does not.", host=host),
        words("Restart libvirtd there. Its VMs run on meanwhile."),
    ),
    Verdict.REBORN: lambda host, _: (
        words(
            "{host} has started anew, and its libvirt does not answer: its VMs are off.", host=host
        ),
        words(
            "Start libvirtd there, then its VMs: {resume}. If that fails, two people may switch it "
            "off and start them elsewhere: {failover}.",
            resume=chat("host resume {}", host),
            failover=chat("host failover {} --despite-life", host),
        ),
    ),
    Verdict.CUT_OFF: lambda host, _: (
        words("{host} lives: other hosts reach it, only Drover does not.", host=host),
        words("Check the network between Drover and {host}.", host=host),
    ),
    Verdict.ISOLATED: lambda host, _: (
        words(
            "{host} is cut off, but its VMs still work: switching it off would stop them.",
            host=host,
        ),
        words("Check its management network."),
    ),
    Verdict.UNCLEAR: lambda host, _: (
        words("{host} shows a sign of life: it is on, and its VMs may run.", host=host),
        words(
            "Look at it. If it hangs, two people may switch it off all the same: {command}.",
            command=chat("host failover {} --despite-life", host),
        ),
    ),
    Verdict.WAITING: lambda host, judged: (
        words("{host} is not unreachable for long enough.", host=host),
        words("Ask again after {at}.", at=When(judged.until)) if judged.until else "",
    ),
}
