"""``quiet``: the VMs that use next to no CPU."""

from dataclasses import dataclass

import click

from bot.domain.card import Card, Section
from bot.domain.message import Names, nwords, words
from bot.plugin_api import Query, View


@dataclass(frozen=True)
class Quiet:
    """Ask for VMs that use fewer than ``below`` cores."""

    below: float


BELOW = words("Cores in use.")


@click.command("quiet")
@click.option("--below", default=0.05, show_default=True, help=str(BELOW))
def grammar(below: float) -> Quiet:
    """List idle VMs."""
    return Quiet(below)


def answer(intent: Quiet, seen: View) -> Card:
    """Name the VMs whose load is known and low."""
    idle = sorted(
        vm.name for vm in seen.snapshot.vms if vm.cpu is not None and vm.cpu < intent.below
    )
    title = nwords("{n} idle VM", "{n} idle VMs", n=len(idle))
    names = words("Idle: *{names}*", names=Names(tuple(idle), most=50))
    return Card(title, elements=(Section(names),) if idle else ())


quiet = Query("quiet", words("List idle VMs"), grammar, answer)
