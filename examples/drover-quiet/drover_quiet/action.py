"""``rest``: put a host into maintenance."""

from dataclasses import dataclass

import click

from bot.domain.cluster import Snapshot
from bot.domain.message import words
from bot.domain.plan import Blast, Objection, Plan, Refused, Risk
from bot.domain.steps import SetMaintenance
from bot.plugin_api import Action


@dataclass(frozen=True)
class Rest:
    """Put ``host`` into maintenance."""

    host: str


@click.command("rest")
@click.argument("host")
def grammar(host: str) -> Rest:
    """Put a host into maintenance."""
    return Rest(host)


def plan(intent: Rest, seen: Snapshot, rules: object) -> Plan | Refused:
    """Plan one step, or refuse; an unknown host raises an error with the nearest name."""
    host = seen.host(intent.host)
    title = words("Put {host} into maintenance", host=host.name)
    if host.maintenance:
        return Refused(title, (_already(host.name),))
    step = SetMaintenance(host.name, on=True)
    return Plan(title, (step,), Risk.LOW, Blast(hosts=(host.name,)))


def still_good(intent: Rest, plan: Plan, seen: Snapshot, rules: object) -> tuple[Objection, ...]:
    """Object when the host is in maintenance by now."""
    host = seen.host(intent.host)
    return (_already(host.name),) if host.maintenance else ()


def _already(host: str) -> Objection:
    return Objection("already", words("{host} is already in maintenance.", host=host))


rest = Action(
    "rest",
    words("Put a host into maintenance"),
    grammar,
    Rest,
    plan,
    still_good,
    emits=(SetMaintenance,),
)
