"""A plugin whose command moves several guests in one operation, for tests of steps side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from bot.domain.cluster import Snapshot
from bot.domain.plan import Blast, Objection, Plan, Risk
from bot.domain.steps import MigrateVm
from bot.hookspecs import hookimpl
from bot.plugin_api import Action, Rules, Settings


@dataclass(frozen=True, slots=True)
class Several:
    """``several web-1=host-b db-1=host-c``."""

    moves: tuple[str, ...]


@click.command("several")
@click.argument("moves", nargs=-1, required=True)
def _several(moves: tuple[str, ...]) -> Several:
    """Move several guests."""
    return Several(moves)


def _plan(intent: Several, seen: Snapshot, rules: Rules) -> Plan:
    steps = []
    for each in intent.moves:
        name, _, target = each.partition("=")
        vm = next(vm for vm in seen.vms if vm.name == name)
        steps.append(MigrateVm(vm.uuid, name, vm.host, target, vm.memory))
    hosts = tuple(sorted({host for step in steps for host in step.hosts}))
    return Plan(
        "Move several",
        tuple(steps),
        Risk.MEDIUM,
        Blast(vms=tuple(s.name for s in steps), hosts=hosts),
    )


def _still_good(intent: Several, plan: Plan, seen: Snapshot, rules: Rules) -> tuple[Objection, ...]:
    return ()


@hookimpl
def register_commands(settings: Settings) -> Sequence[Action]:
    return (
        Action(
            "several", "Move several guests", _several, Several, _plan, _still_good, (MigrateVm,)
        ),
    )
