"""Pure: the answers of ``why`` and ``where``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.operation import Operation
from bot.domain.placement import Rule
from bot.domain.plan import Objection
from plugins.migrate import cards
from plugins.migrate.case import MigrationCase
from plugins.migrate.grammar import About
from plugins.migrate.preflight import HostVerdict, barriers, immovable, survey, verdict


def why(
    about: About,
    snapshot: Snapshot,
    operations: Callable[[str], Sequence[Operation]],
    rules: Iterable[Rule],
) -> Card:
    """Why a VM is where it is; ``operations`` answers those that touched a UUID, newest first.

    Raises:
        UnknownNameError, AmbiguousNameError: no such VM, or several.
    """
    vm = snapshot.vm(about.vm)
    case = MigrationCase(snapshot, vm)
    stuck = immovable(case)
    return cards.why_card(vm, operations(vm.uuid), stuck, _answers(case, stuck, tuple(rules)))


def where(about: About, snapshot: Snapshot, rules: Iterable[Rule]) -> Card:
    """Where a VM could move.

    Raises:
        UnknownNameError, AmbiguousNameError: no such VM, or several.
    """
    vm = snapshot.vm(about.vm)
    case = MigrationCase(snapshot, vm)
    stuck = immovable(case)
    return cards.where_card(vm, stuck, _answers(case, stuck, tuple(rules)))


def _answers(
    case: MigrationCase, stuck: tuple[Objection, ...], rules: tuple[Rule, ...]
) -> tuple[HostVerdict, ...]:
    """Every host with all that holds for it.

    What keeps the VM where it is counts for each, and so does what copying would allow.
    """
    copied = replace(case, copy_storage=True)
    copies = not immovable(copied)
    found = (
        replace(
            each,
            stuck=bool(stuck),
            copying=copies
            and bool(stuck or each.objections)
            and not barriers(copied, each.host, rules),
        )
        for each in survey(case, rules)
    )
    return (*found, verdict(case, case.vm.host, ()))
