"""The impure part of a test of power controllers, and of a silence that is expected."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.errors import DroverError, PowerError, StepLostError
from bot.domain.message import Duration, Names, words
from bot.domain.operation import Facts
from bot.domain.power import Binding, Bound, Device, Power
from bot.plugin_api import Settled
from bot.ports import Hypervisor, Progress
from plugins.failover.steps import ExpectSilence, PowerOff, PowerOn

_POLL = 1.0  # seconds between two looks


def is_expected(step: ExpectSilence, hypervisor: Hypervisor) -> Settled:  # noqa: ARG001
    """DONE: the operation itself is what is kept, and it is stored."""
    return Settled.DONE


def expect(
    step: ExpectSilence,  # noqa: ARG001
    hypervisor: Hypervisor,  # noqa: ARG001
    progress: Progress,  # noqa: ARG001
) -> Facts:
    """Nothing is left to do."""
    return {}


def is_off(step: PowerOff, hypervisor: Hypervisor) -> Settled:
    """DONE when all controllers read OFF and the host is silent."""
    off = _read_off(_devices(step, hypervisor), hypervisor)
    silent = not hypervisor.snapshot().host(step.host).up
    return Settled.DONE if off and silent else Settled.NOT_YET


def switch_off(step: PowerOff, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Switch an empty host off.

    If it answers on although they read OFF, they are switched on again.

    Raises:
        StepLostError: a VM runs there, or the controllers are another machine's.
        DroverError: they do not read OFF in time.
    """
    if running := [vm.name for vm in hypervisor.snapshot().on(step.host) if vm.state.active]:
        raise StepLostError(
            words("VMs run on {host}: {names}.", host=step.host, names=Names(tuple(running))),
            words("Nothing was switched off."),
        )
    devices = _devices(step, hypervisor)
    for device in devices:
        hypervisor.power.switch_off(device)
    waited = 0.0
    while is_off(step, hypervisor) is not Settled.DONE:
        if waited >= step.patience:
            raise _not_its_own(step, devices, hypervisor)
        progress.say(words("Waiting until {host} is unreachable", host=step.host))
        progress.sleep(_POLL)
        waited += _POLL
    return {"off and unreachable after": Duration(waited)}


def _not_its_own(step: PowerOff, devices: Sequence[Device], hypervisor: Hypervisor) -> DroverError:
    """What went wrong, after all that was switched off was switched on again."""
    off = _read_off(devices, hypervisor)
    for device in devices:
        hypervisor.power.switch_on(device)
    names = Names(tuple(each.name for each in devices))
    if off:
        return StepLostError(
            words(
                "{devices} reads off, and {host} still answers: it controls another machine, which "
                "was switched on again.",
                devices=names,
                host=step.host,
            ),
            words("Correct `[[hosts.fence]]` of {host}.", host=step.host),
        )
    return DroverError(
        words("{devices} did not switch {host} off.", devices=names, host=step.host),
        words("Check the controller."),
        code="not-off",
    )


def is_on(step: PowerOn, hypervisor: Hypervisor) -> Settled:
    """DONE when the host answers and its controllers are kept as its own."""
    mine = {each.device for each in hypervisor.power.bonds(step.host)}
    up = hypervisor.snapshot().host(step.host).up
    return Settled.DONE if up and mine >= set(step.devices) else Settled.NOT_YET


def switch_on(step: PowerOn, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Keep what the step before has shown, switch the host on and wait for it.

    Raises:
        DroverError: it does not answer in time.
    """
    devices = _devices(step, hypervisor)
    bonds = {each.device: each for each in hypervisor.power.bonds(step.host)}
    for device in devices:
        reading = hypervisor.power.read(device)
        known = bonds.get(device.name)
        by = known.by if known is not None and known.by is Binding.UUID else Binding.DRILL
        hypervisor.power.bind(Bound(step.host, device.name, by, reading.at, reading.identity))
    for device in devices:
        hypervisor.power.switch_on(device)
    waited = 0.0
    while not hypervisor.snapshot().host(step.host).up:
        if waited >= step.patience:
            raise DroverError(
                words(
                    "{host} does not answer {time} after it was switched on.",
                    host=step.host,
                    time=Duration(waited),
                ),
                words("Look at its console."),
                code="not-back",
            )
        progress.say(words("Waiting for {host} to start", host=step.host))
        progress.sleep(_POLL)
        waited += _POLL
    return {"back after": Duration(waited)}


def _devices(step: PowerOff | PowerOn, hypervisor: Hypervisor) -> tuple[Device, ...]:
    found = hypervisor.power.devices(step.host)
    mine = tuple(each for each in found if each.name in step.devices)
    if {each.name for each in mine} != set(step.devices):
        raise PowerError(
            words("The power controllers of {host} were configured anew.", host=step.host),
            words("Ask again."),
        )
    return mine


def _read_off(devices: Sequence[Device], hypervisor: Hypervisor) -> bool:
    return all(hypervisor.power.read(each).power is Power.OFF for each in devices)
