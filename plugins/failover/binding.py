"""Pure: ``failover bind``.

How people say that a power controller belongs to a host where it names no machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from bot.domain.cluster import Snapshot
from bot.domain.message import Names, words
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.power import Power, Reading
from bot.plugin_api import Rules
from plugins.failover.intents import Bind
from plugins.failover.steps import BindDevice


def plan(
    intent: Bind,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Bind the controller, or why not."""
    host = snapshot.host(intent.host)
    title = words("Trust that {device} switches {host}", device=intent.device, host=host.name)
    if against := tuple(_objections(intent, host.uuid)):
        return Refused(title, against)
    return Plan(
        title,
        (BindDevice(host.name, intent.device),),
        Risk.HIGH,
        Blast(hosts=(host.name,)),
        warnings=(
            Reason(
                "bind",
                words(
                    "Approve only if you checked it yourself: a failover of {host} will switch off "
                    "what {device} controls.",
                    host=host.name,
                    device=intent.device,
                ),
            ),
        ),
    )


def _objections(intent: Bind, uuid: str) -> Iterable[Objection]:
    mine = _reading(intent)
    if mine is None:
        yield Objection(
            "no-such-device",
            words(
                "{host} has no power controller {device}.", host=intent.host, device=intent.device
            ),
            words(
                "It has: {devices}.", devices=Names(tuple(each.device for each in intent.readings))
            )
            if intent.readings
            else words("Add `[[hosts.fence]]` for it to the configuration."),
        )
        return
    if mine.power is Power.UNKNOWN:
        yield Objection(
            "no-answer",
            words("{device} does not answer: {why}.", device=mine.device, why=mine.problem or "?"),
        )
    if mine.identity and uuid and mine.identity.lower() != uuid.lower():
        yield Objection(
            "another-machine",
            words(
                "{device} controls another machine ({other}) than {host} ({uuid}).",
                device=mine.device,
                other=mine.identity,
                host=intent.host,
                uuid=uuid,
            ),
        )


def _reading(intent: Bind) -> Reading | None:
    return next((each for each in intent.readings if each.device == intent.device), None)
