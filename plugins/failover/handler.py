"""The impure part: switches a host off, proves it, and starts its VMs elsewhere.

Only readings prove anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.cluster import (
    POSTCOPY,
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    STARTING_UP,
    Sighting,
)
from bot.domain.errors import (
    DroverError,
    HostUnreachableError,
    HypervisorError,
    PowerError,
    StepCancelledError,
    StepLostError,
    StepSkippedError,
)
from bot.domain.message import Code, Duration, Message, Names, words
from bot.domain.operation import Ask, Facts
from bot.domain.power import (
    Binding,
    Bound,
    Device,
    Lack,
    Missing,
    Power,
    Reading,
    Round,
    Rules,
    proven_off,
)
from bot.plugin_api import Settled
from bot.ports import ClusterReader, Hypervisor, PowerAccess, Progress, VmLookup
from plugins.failover import variables, witnesses
from plugins.failover.commands import chat
from plugins.failover.settings import FailoverSettings
from plugins.failover.steps import (
    AwaitReady,
    BindDevice,
    ConfirmOff,
    FenceHost,
    ReadmitVm,
    RestartVm,
)

_PATIENCE = 4  # so many times the readings that a proof takes, before none is given any more
_WORD = 20.0  # seconds that a controller, which answered before, may be without an answer
_LOCKED = "disk-locked"  # the code of a start that a lock kept from succeeding
_LOCK_POLL = 5.0  # seconds between two tries
FACTS = (
    words("by"),
    words("off after"),
    words("read off"),
    words("not heard by"),
    words("definition"),
    words("waited for a lock"),
    words("ready after"),
    words("saved memory removed"),
    words("off and unreachable after"),
    words("back after"),
    words("was"),
)
"""The names of the facts of steps, which are labels, for translation."""
_POLL = 1.0  # seconds between two readings of power while a host goes off


# --- fence --------------------------------------------------------------------------------------


def is_off(step: FenceHost, hypervisor: Hypervisor) -> Settled:
    """DONE when every controller of the level reads OFF; what an order answered says nothing."""
    devices = _devices(step.host, step.level, hypervisor)
    readings = _read(devices, hypervisor)
    return (
        Settled.DONE
        if devices and all(each.power is Power.OFF for each in readings)
        else Settled.NOT_YET
    )


def fence(
    settings: FailoverSettings, step: FenceHost, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Ask all witnesses a last time, order the power off, and read until it is off.

    Raises:
        StepLostError: somebody hears the host, or it has no controller of its own.
        DroverError: it does not read OFF in time.
    """
    devices = _devices(step.host, step.level, hypervisor)
    if not devices:
        raise StepLostError(
            words("No power controller was shown to belong to {host}.", host=step.host),
            rest_text(step.host),
        )
    last = witnesses.round_of(step.host, hypervisor)
    if last.heard and not step.despite_life:
        raise _life_error(step.host, last)
    for device in devices:
        try:
            hypervisor.power.switch_off(device)
        except PowerError as error:
            progress.note(words("{device}: {why}", device=device.name, why=error.text))
    waited = 0.0
    while True:
        readings = _read(devices, hypervisor)
        if all(each.power is Power.OFF for each in readings):
            return {"off after": Duration(waited), "by": ", ".join(each.name for each in devices)}
        if waited >= settings.fence_patience:
            raise DroverError(
                words(
                    "{host} does not read off {time} after the order: {readings}.",
                    host=step.host,
                    time=Duration(waited),
                    readings=_readings_text(readings),
                ),
                rest_text(step.host),
                code="not-off",
            )
        check_cancel(step.host, progress)
        progress.say(
            words(
                "Waiting for {host} to read off: {readings}",
                host=step.host,
                readings=_readings_text(readings),
            )
        )
        progress.sleep(_POLL)
        waited += _POLL


def _devices(host: str, level: int, hypervisor: Hypervisor) -> tuple[Device, ...]:
    return witnesses.devices_bound(hypervisor, host, level)


def _read(devices: Sequence[Device], hypervisor: PowerAccess) -> tuple[Reading, ...]:
    return tuple(hypervisor.power.read(each) for each in devices)


def _readings_text(readings: Sequence[Reading]) -> Names:
    return Names(tuple(f"{each.device} {each.power.value}" for each in readings))


def _life_error(host: str, found: Round) -> StepLostError:
    return StepLostError(
        words("{host} shows life: {who} heard it.", host=host, who=Names(found.heard)),
        rest_text(host),
    )


def rest_text(host: str) -> Message:
    """What a failover that stops leaves behind, and how the host gets out of it."""
    return words(
        "Nothing more is started elsewhere. {host} stays on hold until it is admitted again: "
        "{command}.",
        host=host,
        command=chat("host readmit {}", host),
    )


def check_cancel(host: str, progress: Progress) -> None:
    """Stop where people asked for it.

    Raises:
        StepCancelledError: they did.
    """
    if Ask.CANCEL in progress.asks():
        raise StepCancelledError(words("{host} stays on hold.", host=host))


# --- confirm ------------------------------------------------------------------------------------


def is_proven(step: ConfirmOff, hypervisor: PowerAccess) -> Settled:
    """DONE when a proof stands at this moment."""
    return Settled.DONE if hypervisor.power.standing(step.host) is not None else Settled.NOT_YET


def confirm(step: ConfirmOff, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Read every controller several times and hear every witness, until that proves the host off.

    Raises:
        StepLostError: a controller reads ON, or somebody hears the host.
        DroverError: it is not proven in time.
    """
    devices = _devices(step.host, step.level, hypervisor)
    rules = Rules(step.reads, step.every)
    bonds = hypervisor.power.bonds(step.host)
    readings: list[Reading] = []
    rounds: list[Round] = []
    number = 0
    while True:
        number += 1
        readings += _read(devices, hypervisor)
        if number >= step.reads:
            rounds.append(witnesses.round_of(step.host, hypervisor))
        found = proven_off(devices, bonds, readings, rounds, rules=rules)
        if not isinstance(found, Missing):
            hypervisor.power.prove(found)
            await_word(step.host, hypervisor, progress)
            return {
                "read off": ", ".join(f"{each.at:%H:%M:%S}" for each in found.readings) + " UTC",
                "by": ", ".join(found.devices),
                "not heard by": ", ".join(found.witnesses),
            }
        if found.lack in {Lack.ON, Lack.HEARD, Lack.NOT_BOUND, Lack.NO_DEVICE}:
            raise StepLostError(_lack(step.host, found), rest_text(step.host))
        if number >= step.reads * _PATIENCE:
            raise DroverError(_lack(step.host, found), rest_text(step.host), code="not-proven")
        check_cancel(step.host, progress)
        progress.say(words("Read {host} {n} times", host=step.host, n=number))
        progress.sleep(step.every)


def await_word(host: str, hypervisor: PowerAccess, progress: Progress) -> None:
    """Ask a controller that was at a loss for a moment again.

    What voids the proof is not waited for.
    """
    waited = 0.0
    while hypervisor.power.standing(host) is None and waited < _WORD:
        hold = hypervisor.power.hold(host)
        if hold is None or hold.proof is None:
            return
        progress.sleep(_POLL)
        waited += _POLL


def _lack(host: str, found: Missing) -> Message:
    return {
        Lack.NO_DEVICE: words(
            "{host} has no power controller that was shown to be its own.", host=host
        ),
        Lack.NOT_BOUND: words("{who} names another machine than {host}.", who=found.who, host=host),
        Lack.ON: words("{host} has power again, by {who}.", host=host, who=found.who),
        Lack.UNKNOWN: words("{who} does not tell the power of {host}.", who=found.who, host=host),
        Lack.TOO_FEW: words(
            "{who} did not read {host} off often enough.", who=found.who, host=host
        ),
        Lack.NOT_SILENT: words("Nobody could be asked whether {host} answers.", host=host),
        Lack.HEARD: words("{host} shows life: {who} heard it.", host=host, who=found.who),
    }[found.lack]


# --- start elsewhere ----------------------------------------------------------------------------


def is_started(step: RestartVm, hypervisor: ClusterReader) -> Settled:
    """DONE when it runs, on whichever host: a VM that is found running is left alone.

    What waits for its memory does not run: whether that can still arrive is seen when it is ended.
    """
    # The look reads the lost host's controllers too: a proof that does not hold any more is void
    # from then on, also for the VMs that are still to start
    running = [each for each in hypervisor.sightings(step.uuid) if _runs(each)]
    return Settled.DONE if running else Settled.NOT_YET


def _runs(seen: Sighting) -> bool:
    return seen.is_up and seen.paused_by not in {POSTCOPY_FAILED, POSTCOPY_INCOMING}


def _is_alive(seen: Sighting) -> bool:
    return seen.state is not None and seen.state.active and seen.paused_by != POSTCOPY_FAILED


def restart(
    settings: FailoverSettings, step: RestartVm, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Define it on its target and start it, if it can run nowhere else.

    The proof is read again for that.

    Raises:
        StepLostError: the dead host is not proven off any more, or another host may have it.
        StepSkippedError: the target refuses it; the others are worth starting.
    """
    seen = _nowhere_else(step, hypervisor, progress)
    kept = hypervisor.power.definition(step.uuid, step.sha)
    if kept is None:
        raise StepSkippedError(
            words("The definition of {vm} that was approved is not kept any more.", vm=step.name),
            words("Ask again: {command}.", command=_once_more(step)),
        )
    try:
        if not _is_starting(step, seen):
            hypervisor.define_kept(step.target, kept, reset_nvram=step.reset_nvram)
            if kept.detail.nvram and not step.reset_nvram:
                variables.restore(step.target, kept, hypervisor)
        waited = _start(settings.lock_patience, step, hypervisor, progress)
    except HostUnreachableError:
        raise
    except HypervisorError as error:
        raise StepSkippedError(
            words(
                "{vm} did not start on {host}: {why}",
                vm=step.name,
                host=step.target,
                why=error.text,
            ),
            error.advice,
        ) from error
    facts: Facts = {"definition": step.sha}
    return {**facts, "waited for a lock": Duration(waited)} if waited else facts


def _is_starting(step: RestartVm, seen: Sequence[Sighting]) -> bool:
    """Whether it is starting there: a bot that ended had begun it, and QEMU has its files open."""
    return any(each.host == step.target and each.paused_by == STARTING_UP for each in seen)


def _start(patience: float, step: RestartVm, hypervisor: Hypervisor, progress: Progress) -> float:
    """Start it; the seconds that a lock on its disks was waited for.

    A lock of the dead host may outlive it: an NFS server's for its lease, others until somebody
    removes them. It is never broken. The proof is read again before each try.

    Raises:
        StepSkippedError: a lock lasts for longer than ``patience`` seconds.
        StepLostError, HypervisorError: as ``restart`` tells.
    """
    waited = 0.0
    while True:
        # Read again: defining took its time, and so did waiting for a lock. In between the host
        # may have got power.
        _nowhere_else(step, hypervisor, progress)
        try:
            hypervisor.start(step.target, step.uuid)
        except HypervisorError as error:
            if error.code != _LOCKED:
                raise
            if waited >= patience:
                raise _still_locked(step, waited, error) from error
        else:
            return waited
        check_cancel(step.lost, progress)
        progress.say(words("A disk of {vm} is locked; waiting", vm=step.name))
        progress.sleep(_LOCK_POLL)
        waited += _LOCK_POLL


def _still_locked(step: RestartVm, waited: float, error: HypervisorError) -> StepSkippedError:
    return StepSkippedError(
        words(
            "{vm} did not start: a disk is still locked after {time}: {why}",
            vm=step.name,
            time=Duration(waited),
            why=error.text,
        ),
        words(
            "Drover breaks no lock. Remove the lock of {host} on the storage, then: {command}.",
            host=step.lost,
            command=_once_more(step),
        ),
    )


def _once_more(step: RestartVm) -> Code:
    return chat("host failover {} --only={}", step.lost, step.name)


def _nowhere_else(
    step: RestartVm, hypervisor: Hypervisor, progress: Progress
) -> tuple[Sighting, ...]:
    """Refuse a start while the VM may run on another host; return what every host showed of it.

    One look at the hosts reads the lost one's controllers once. Only where they did not tell,
    which may be for a moment, are they asked again.

    Raises:
        StepLostError: it may.
    """
    found = hypervisor.sightings(step.uuid)
    if any(each.host == step.lost and not each.reachable and not each.proven for each in found):
        await_word(step.lost, hypervisor, progress)
        found = hypervisor.sightings(step.uuid)
    for seen in found:
        if seen.host == step.lost and not seen.proven:
            answers = words("{host} answers again", host=seen.host)
            unproven = words("{host} is not proven off any more", host=seen.host)
            raise StepLostError(
                words(
                    "{vm} was not started: {why}.",
                    vm=step.name,
                    why=answers if seen.reachable else unproven,
                ),
                rest_text(step.lost),
            )
        if seen.paused_by in POSTCOPY:
            raise _half_there(step, seen.host)
        if seen.host != step.target and seen.state is not None and seen.state.active:
            raise StepLostError(
                words("{vm} was not started: it is on {host}.", vm=step.name, host=seen.host),
                words("Look at it there."),
            )
        if not seen.reachable and may_have(step.uuid, seen, hypervisor):
            raise silent_error(step.name, seen.host)
    return found


def silent_error(vm: str, host: str) -> StepLostError:
    """That a VM was not started, because of a host that does not answer and may have it."""
    return StepLostError(
        words(
            "{vm} was not started: it may be on {host}, which does not answer.", vm=vm, host=host
        ),
        words("Look at {host}.", host=host),
    )


def may_have(uuid: str, silent: Sighting, hypervisor: ClusterReader) -> bool:
    """Whether a host that does not answer may have a VM: it had it, or was never seen."""
    snapshot = hypervisor.snapshot()
    had_it = any((vm.uuid, vm.host) == (uuid, silent.host) for vm in snapshot.vms)
    return had_it or snapshot.host(silent.host).seen_at is None


def _half_there(step: RestartVm, host: str) -> StepSkippedError:
    return StepSkippedError(
        words(
            "{vm} was not started: what is left of its migration is on {host}.",
            vm=step.name,
            host=host,
        ),
        words(
            "If nothing can complete that migration, end it: {end}. Then: {command}.",
            end=chat("vm force-off {}", step.name),
            command=_once_more(step),
        ),
    )


def is_ready(step: AwaitReady, hypervisor: Hypervisor) -> Settled:
    """DONE when its agent answers."""
    there = next(
        (each for each in hypervisor.sightings(step.uuid) if each.host == step.target), None
    )
    if there is None or not _runs(there):
        return Settled.NOT_YET
    agents = [
        each for each in hypervisor.addresses(step.target, step.uuid) if each.source == "agent"
    ]
    return Settled.DONE if agents else Settled.NOT_YET


def await_ready(step: AwaitReady, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Look until it is ready; the next wave does not wait for ever.

    Raises:
        StepSkippedError: it is not in time.
    """
    waited = 0.0
    while is_ready(step, hypervisor) is not Settled.DONE:
        if waited >= step.patience:
            raise StepSkippedError(
                words("{vm} was not ready after {time}.", vm=step.name, time=Duration(waited)),
                words("Look at it: {command}.", command=chat("vm console {}", step.name)),
            )
        check_cancel(step.target, progress)
        progress.say(words("Waiting for {vm} to be ready", vm=step.name))
        progress.sleep(_POLL)
        waited += _POLL
    return {"ready after": Duration(waited)}


# --- readmit ------------------------------------------------------------------------------------


def is_readmitted(step: ReadmitVm, hypervisor: VmLookup) -> Settled:
    """DONE when the host has it no more."""
    return Settled.DONE if hypervisor.find(step.host, step.uuid) is None else Settled.NOT_YET


def readmit(step: ReadmitVm, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Remove its saved memory, then its definition.

    Never of a VM that runs there, or that runs nowhere else.

    Raises:
        StepLostError: it runs there, or it does not run where it was.
    """
    seen = {each.host: each for each in hypervisor.sightings(step.uuid)}
    if _is_alive(seen[step.host]):
        raise StepLostError(
            words("{vm} runs on {host} too.", vm=step.name, host=step.host),
            words(
                "Two copies may have written the same disks: decide which one stays, and "
                "force the other off."
            ),
        )
    if not _runs(seen[step.lives_on]):
        raise StepLostError(
            words(
                "{vm} does not run on {host} any more; nothing was removed.",
                vm=step.name,
                host=step.lives_on,
            ),
            words("Look at it: {command}.", command=chat("vm show {}", step.name)),
        )
    found = hypervisor.find(step.host, step.uuid)
    if found is not None and found.saved:
        hypervisor.discard_saved(step.host, step.uuid)
    hypervisor.undefine(step.host, step.uuid, keep_state=True)
    return {"saved memory removed": bool(found and found.saved)}


# --- bind ---------------------------------------------------------------------------------------


def is_bound(step: BindDevice, hypervisor: PowerAccess) -> Settled:
    """DONE when it is kept as the host's own."""
    mine = {each.device for each in hypervisor.power.bonds(step.host)}
    return Settled.DONE if step.device in mine else Settled.NOT_YET


def bind(step: BindDevice, hypervisor: PowerAccess, progress: Progress) -> Facts:  # noqa: ARG001
    """Keep it. A controller that later names another machine loses it again."""
    device = next(each for each in hypervisor.power.devices(step.host) if each.name == step.device)
    reading = hypervisor.power.read(device)
    hypervisor.power.bind(
        Bound(step.host, step.device, Binding.PEOPLE, reading.at, reading.identity)
    )
    return {}
