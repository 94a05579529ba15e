"""The impure part of start at boot.

Takes it over, gives it back, and starts VMs of a host that has started anew.
"""

from __future__ import annotations

from bot.domain.errors import StepLostError
from bot.domain.message import words
from bot.domain.operation import Facts
from bot.plugin_api import Settled
from bot.ports import Hypervisor, Progress
from plugins.failover.boot import ON, TAG
from plugins.failover.handler import may_have, silent_error
from plugins.failover.steps import OwnAutostart, StartAgain


def is_owned(step: OwnAutostart, hypervisor: Hypervisor) -> Settled:
    """DONE when the tag and libvirt's own mark are as wanted."""
    found = hypervisor.find(step.host, step.uuid)
    if found is None:
        return Settled.NOT_YET
    tagged = found.tags.get(TAG) == ON
    libvirts = hypervisor.autostart(step.host, step.uuid)
    return Settled.DONE if tagged is step.on and libvirts is not step.on else Settled.NOT_YET


def own(step: OwnAutostart, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Set the tag before libvirt's mark is cleared.

    Torn apart between the two, somebody still starts it.

    Raises:
        StepLostError: it is not there any more.
    """
    found = hypervisor.find(step.host, step.uuid)
    if found is None:
        raise StepLostError(
            words("{vm} is not on {host} any more.", vm=step.name, host=step.host),
            words("Ask again."),
        )
    tags = {key: value for key, value in found.tags.items() if key != TAG}
    if step.on:
        hypervisor.set_tags(step.host, step.uuid, {**tags, TAG: ON})
        hypervisor.set_autostart(step.host, step.uuid, on=False)
    else:
        hypervisor.set_autostart(step.host, step.uuid, on=True)
        hypervisor.set_tags(step.host, step.uuid, tags)
    return {}


def is_up(step: StartAgain, hypervisor: Hypervisor) -> Settled:
    """DONE when it runs, wherever."""
    started = any(each.is_up for each in hypervisor.sightings(step.uuid))
    return Settled.DONE if started else Settled.NOT_YET


def start(step: StartAgain, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Start it, if every other host says that it does not run there.

    Raises:
        StepLostError: a host does not answer, so it may run there.
    """
    for seen in hypervisor.sightings(step.uuid):
        elsewhere = seen.host != step.host and not seen.reachable
        if elsewhere and may_have(step.uuid, seen, hypervisor):
            raise silent_error(step.name, seen.host)
    hypervisor.start(step.host, step.uuid)
    return {}
