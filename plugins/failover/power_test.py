"""Pure: ``failover drill HOST --real``.

How an empty host is switched off and on to show whose its controllers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.domain.cluster import Host, Snapshot
from bot.domain.message import Names, words
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.power import Power, Reading
from bot.plugin_api import Rules
from plugins.failover.commands import chat
from plugins.failover.intents import PowerTest
from plugins.failover.settings import FailoverSettings
from plugins.failover.steps import PowerOff, PowerOn

_BOOT = 900.0  # seconds that a host may take to start and to answer


def plan(
    settings: FailoverSettings,
    intent: PowerTest,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Off, silent, on, back; or why not."""
    host = snapshot.host(intent.host)
    title = words("Test the power controllers of {host}", host=host.name)
    if against := tuple(_objections(intent, host, snapshot)):
        return Refused(title, against)
    level = min(each.level for each in intent.readings)
    devices = tuple(each.device for each in intent.readings if each.level == level)
    return Plan(
        title,
        (
            PowerOff(host.name, level, devices, settings.fence_patience),
            PowerOn(host.name, level, devices, _BOOT),
        ),
        Risk.HIGH,
        Blast(hosts=(host.name,)),
        warnings=tuple(_warnings(host, intent.readings)),
    )


def _objections(intent: PowerTest, host: Host, snapshot: Snapshot) -> Iterator[Objection]:
    if not host.up:
        yield Objection("silent", words("{host} does not answer.", host=host.name))
    if not host.maintenance:
        yield Objection(
            "not-in-maintenance",
            words("{host} is not in maintenance: a VM could come meanwhile.", host=host.name),
            words("First: {command}.", command=chat("host maintenance {} on", host.name)),
        )
    running = tuple(vm.name for vm in snapshot.on(host.name) if vm.state.active)
    if running:
        yield Objection(
            "not-empty",
            words("VMs run on {host}: {names}.", host=host.name, names=Names(running, most=10)),
            words("First: {command}.", command=chat("host drain {}", host.name)),
        )
    if not intent.readings:
        yield Objection(
            "no-device",
            words("{host} has no power controller.", host=host.name),
            words("Add `[[hosts.fence]]` for it to the configuration."),
        )
    yield from _wrong(host, intent.readings)


def _wrong(host: Host, readings: Iterable[Reading]) -> Iterator[Objection]:
    for each in readings:
        if each.power is not Power.ON:
            yield Objection(
                "not-on",
                words(
                    "{device} does not read that {host} is on.", device=each.device, host=host.name
                ),
                words("Fix that first: {command}.", command=chat("host check {}", host.name)),
            )
        elif each.identity and host.uuid and each.identity.lower() != host.uuid.lower():
            yield Objection(
                "another-machine",
                words(
                    "{device} controls another machine ({other}) than {host} ({uuid}).",
                    device=each.device,
                    other=each.identity,
                    host=host.name,
                    uuid=host.uuid,
                ),
            )


def _warnings(host: Host, readings: Iterable[Reading]) -> Iterator[Reason]:
    yield Reason(
        "off",
        words(
            "{host} loses its power as by pulling the plug, and is switched on again.",
            host=host.name,
        ),
    )
    if nameless := tuple(each.device for each in readings if not each.identity):
        yield Reason(
            "nameless",
            words(
                "{devices} names no machine: if it is another one's, that one is switched off. It "
                "is switched on again when {host} still answers.",
                devices=Names(nameless),
                host=host.name,
            ),
        )
