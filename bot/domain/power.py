"""Whether a host is off.

What power controllers read, who heard the host, and when that proves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.domain.codec import later
from bot.domain.message import Message


class Power(StrEnum):
    """A host's power as a controller reads it.

    UNKNOWN: no answer, a refused login, an odd answer; never OFF.
    """

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class Binding(StrEnum):
    """How a controller was shown to belong to its host; NONE: it was not, so it proves nothing."""

    NONE = ""
    UUID = "uuid"  # its machine's UUID is the one that the host's libvirt tells
    DRILL = "drill"  # a drill switched it off and this host, drained, fell silent
    PEOPLE = "people"  # two people said so
    REFUTED = "refuted"  # it read OFF while the host ran on: a drill or two people show it anew

    @property
    def proves(self) -> bool:
        """Whether what the controller reads may prove anything."""
        return self not in {Binding.NONE, Binding.REFUTED}


@dataclass(frozen=True, slots=True)
class Device:
    """A power controller of a host, such as a BMC or an outlet of a PDU.

    ``level``: devices of one level must all read OFF before the host is off; levels are tried in
    order.
    ``shares_power``: it has no power when its host has none, so its silence says nothing.
    """

    host: str
    name: str
    level: int = 1
    shares_power: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What one controller read at one moment.

    ``identity``: the UUID of the machine it controls, '' not told.

    ``problem``: why it is UNKNOWN, as the controller or its agent said.
    """

    host: str
    device: str
    level: int
    power: Power
    at: datetime
    identity: str = ""
    problem: Message = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """That a controller belongs to its host, how that was shown, and when."""

    host: str
    device: str
    by: Binding
    at: datetime
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life of a host: who heard it, and when."""

    host: str
    witness: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Round:
    """One round in which every witness was asked for a host; ``heard`` names those who heard it."""

    host: str
    at: datetime
    asked: tuple[str, ...]
    heard: tuple[str, ...] = ()

    @property
    def silent(self) -> bool:
        """Whether somebody was asked and nobody heard the host."""
        return bool(self.asked) and not self.heard


class ProofKind(StrEnum):
    """What a proof that a host is off rests on."""

    DEVICE = "device"
    REBIRTH = "rebirth"  # the host started anew: what ran before does not run any more
    ATTESTED = "attested"  # two people looked at the machine


@dataclass(frozen=True, slots=True)
class Proof:
    """Why nothing that ran on a host before ``since`` can still run there."""

    host: str
    kind: ProofKind
    since: datetime
    level: int = 0
    devices: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    witnesses: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A host that failed, or may have.

    Nothing is started or moved there until people admit it again.

    ``operation``: the id of the failover. ``proof``: why it counts as off; None: nothing is proven.
    ``void``: the last proof that life or power has voided.
    """

    host: str
    since: datetime
    why: Message = ""
    operation: str = ""
    proof: Proof | None = None
    void: Proof | None = later(None)


@dataclass(frozen=True, slots=True)
class LastSeen:
    """What was last read of a host while it answered; kept, so that it outlives host and bot.

    ``boot``: its boot id, '' not told. ``readings``: of its controllers.
    """

    host: str
    at: datetime
    boot: str = ""
    readings: tuple[Reading, ...] = ()


class Lack(StrEnum):
    """What a proof by devices still lacks."""

    NO_DEVICE = "no-device"
    NOT_BOUND = "not-bound"
    ON = "on"
    UNKNOWN = "unknown"
    TOO_FEW = "too-few-readings"
    NOT_SILENT = "not-silent"
    HEARD = "heard"


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no proof: the first lack of a level's devices.

    ``who`` is the device or the witness.
    """

    lack: Lack
    who: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """How much it takes.

    ``reads`` OFF readings of every device of a level, ``apart`` seconds apart.
    """

    reads: int = 3
    apart: float = 3.0


def proven_off(
    devices: Sequence[Device],
    bound: Iterable[Bound],
    readings: Sequence[Reading],
    rounds: Sequence[Round],
    *,
    ordered_at: datetime | None = None,
    rules: Rules = Rules(),
) -> Proof | Missing:
    """The proof that one host is off by the controllers of one level, or what it lacks.

    It takes ``rules.reads`` OFF readings of every device, ``rules.apart`` seconds apart, the last
    of them after the order to switch off if one was given, and after the first of them a round in
    which every witness was silent. One
    ON reading or one sign of life after the first OFF reading voids it: a controller can read OFF
    too early.

    Args:
        devices: all controllers of one level of one host.
        bound: which controllers were shown to belong to their hosts.
        readings: of these devices, in any order; older ones than the host's last sign of life may
            be among them.
        rounds: rounds of witnesses, in any order.
        ordered_at: when the last order to switch off was given; None when none was.
        rules: how much it takes.
    """
    if not devices:
        return Missing(Lack.NO_DEVICE)
    bonds = {(each.host, each.device): each for each in bound if each.by.proves}
    runs: dict[str, tuple[Reading, ...]] = {}
    for device in devices:
        run = _run_of(device, bonds.get((device.host, device.name)), readings, ordered_at, rules)
        if isinstance(run, Missing):
            return run
        runs[device.name] = run
    since = max(run[0].at for run in runs.values())
    first = min(run[0].at for run in runs.values())
    silent = _silence((each for each in rounds if each.host == devices[0].host), first, since)
    if isinstance(silent, Missing):
        return silent
    return Proof(
        devices[0].host,
        ProofKind.DEVICE,
        since,
        devices[0].level,
        tuple(runs),
        tuple(each for run in runs.values() for each in run),
        silent.asked,
    )


def _run_of(
    device: Device,
    bond: Bound | None,
    readings: Sequence[Reading],
    ordered_at: datetime | None,
    rules: Rules,
) -> tuple[Reading, ...] | Missing:
    """The OFF readings of a device that count, spaced; or what they lack."""
    if bond is None:
        return Missing(Lack.NOT_BOUND, device.name)
    mine = [each for each in readings if (each.host, each.device) == (device.host, device.name)]
    run = _off_run(mine, bond)
    if isinstance(run, Missing):
        return run
    spaced = _far_apart(run, rules)
    late_enough = ordered_at is None or spaced[-1].at >= ordered_at
    return (
        spaced if len(spaced) >= rules.reads and late_enough else Missing(Lack.TOO_FEW, device.name)
    )


def _silence(rounds: Iterable[Round], first: datetime, since: datetime) -> Round | Missing:
    """The newest round that was silent, not before ``since``.

    The host heard in one after ``first`` voids all.
    """
    later = sorted((each for each in rounds if each.at >= first), key=lambda each: each.at)
    heard = next((each for each in later if each.heard), None)
    if heard is not None:
        return Missing(Lack.HEARD, heard.heard[0])
    silent = [each for each in later if each.silent and each.at >= since]
    return silent[-1] if silent else Missing(Lack.NOT_SILENT)


def _off_run(readings: Iterable[Reading], bond: Bound) -> tuple[Reading, ...] | Missing:
    """The OFF readings after the last that was not OFF, oldest first; at least one."""
    ordered = sorted(readings, key=lambda each: each.at)
    if not ordered:
        return Missing(Lack.UNKNOWN, bond.device)
    newest = ordered[-1]
    if newest.power is not Power.OFF:
        return Missing(Lack.ON if newest.power is Power.ON else Lack.UNKNOWN, bond.device)
    run: list[Reading] = []
    for each in reversed(ordered):
        # A controller that begins to name another machine is another controller.
        if bond.identity and each.identity and each.identity.lower() != bond.identity.lower():
            return Missing(Lack.NOT_BOUND, bond.device)
        if each.power is not Power.OFF:
            break
        run.append(each)
    return tuple(reversed(run))


def _far_apart(run: Sequence[Reading], rules: Rules) -> tuple[Reading, ...]:
    """The first reading and each that comes ``apart`` seconds or more after the one before it."""
    chosen: list[Reading] = []
    for each in run:
        if not chosen or each.at - chosen[-1].at >= timedelta(seconds=rules.apart):
            chosen.append(each)
    return tuple(chosen)


def holds(proof: Proof, readings: Iterable[Reading], rounds: Iterable[Round]) -> bool:
    """Whether a proof still stands after what was read and heard since.

    Life or power voids it, for good.
    """
    later_on = any(
        each.host == proof.host and each.at > proof.since and each.power is Power.ON
        for each in readings
    )
    heard = any(each.host == proof.host and each.at > proof.since and each.heard for each in rounds)
    return not (later_on or heard)


MOST_MINUTES_ATTESTED = 15
"""How long two people's word is good for, in minutes: somebody may switch the host on again."""


def attestation(
    host: str,
    words: Iterable[tuple[str, datetime]],
    rounds: Sequence[Round],
    readings: Iterable[Reading],
    now: datetime,
) -> Proof | Missing:
    """The proof by two different people who looked at the machine, or what it lacks.

    Args:
        host: the host.
        words: who said that it is off, and when.
        rounds: rounds of witnesses.
        readings: of the host's controllers.
        now: the moment of asking; older words than ``MOST_MINUTES_ATTESTED`` count no more.
    """
    oldest = now - timedelta(minutes=MOST_MINUTES_ATTESTED)
    given = sorted((at, who) for who, at in words if at >= oldest)
    people = tuple(dict.fromkeys(who for _, who in given))
    if len(people) < 2:
        return Missing(Lack.TOO_FEW, people[0] if people else "")
    first = given[0][0]
    on = next(
        (
            each
            for each in readings
            if each.host == host and each.at >= first and each.power is Power.ON
        ),
        None,
    )
    if on is not None:
        return Missing(Lack.ON, on.device)
    silent = _silence((each for each in rounds if each.host == host), first, first)
    if isinstance(silent, Missing):
        return silent
    return Proof(host, ProofKind.ATTESTED, first, witnesses=silent.asked, people=people)


def rebirth(host: str, before: str, after: str, at: datetime) -> Proof | None:
    """The proof by a new boot id: what ran before does not run any more.

    None when the id is the old one or unknown.
    """
    return Proof(host, ProofKind.REBIRTH, at) if before and after and before != after else None


def wrong_controllers(hold: Hold, before: str, now: str) -> tuple[str, ...]:
    """The controllers that proved a host off which was not off; () when nothing shows that.

    A host whose boot id is the one from before its hold never lost its power. What two people said
    tells nothing of controllers.

    Args:
        hold: the hold, with the proof that stands or that is void.
        before: the boot id from before the hold, '' unknown.
        now: the boot id that the host tells now, '' unknown.
    """
    proof = hold.proof or hold.void
    if proof is None or proof.kind is not ProofKind.DEVICE or not before or before != now:
        return ()
    return proof.devices
