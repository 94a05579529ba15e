"""Pure: everything between a running VM and another host, before anybody votes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bot.domain import placement
from bot.domain.cluster import Host, Snapshot, Vm
from bot.domain.message import words
from bot.domain.placement import Rule
from bot.domain.plan import Objection
from plugins.migrate.case import MigrationCase
from plugins.migrate.source_checks import SOURCE_CHECKS
from plugins.migrate.target_checks import TARGET_CHECKS


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """One host as a place for a VM; without objections it may go there.

    ``before`` and ``after`` are its fullness, as a share of its memory (0..1).
    ``stuck``: something keeps the VM where it is, whatever the host. ``copying``: it may go there
    if its disks are copied, which is the only way.
    """

    host: str
    objections: tuple[Objection, ...]
    before: float = 0.0
    after: float = 0.0
    cpu: float | None = None
    stuck: bool = False
    copying: bool = False

    @property
    def possible(self) -> bool:
        """Whether nothing prevents it."""
        return not (self.objections or self.stuck)


def immovable(case: MigrationCase) -> tuple[Objection, ...]:
    """Everything that keeps the VM where it is."""
    return tuple(each for check in SOURCE_CHECKS for each in check(case))


def unfit(case: MigrationCase, target: Host) -> tuple[Objection, ...]:
    """Everything between the VM and ``target`` beside memory, health and other plugins' rules."""
    if not target.up:
        return ()  # the core's rule says it
    return tuple(each for check in TARGET_CHECKS for each in check(case, target))


def can_move(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:
    """Object to planning a running VM where it could not move, with its disks if they are copied.

    A placement rule for every plugin.
    """
    if not vm.state.active or vm.host == host:
        return None
    case = MigrationCase(snapshot, vm, vm.uuid in snapshot.copying)
    return next(iter((*immovable(case), *unfit(case, snapshot.host(host)))), None)


def barriers(case: MigrationCase, target: str, rules: Iterable[Rule]) -> tuple[Objection, ...]:
    """Everything against the VM on ``target``, each once, with the core's and plugins' rules."""
    vm = case.vm
    if target == vm.host:
        return (
            Objection(
                "same-host",
                words("{vm} is already on {host}.", vm=vm.name, host=vm.host),
                words("Name another host, or none to have the best one chosen."),
            ),
        )
    everyone = dict.fromkeys(
        (*placement.CORE_RULES, *(rule for rule in rules if rule is not can_move))
    )
    placed = placement.objections(case.snapshot, vm, target, everyone)
    return (*placed, *unfit(case, case.snapshot.host(target)))


def survey(case: MigrationCase, rules: Iterable[Rule]) -> tuple[HostVerdict, ...]:
    """Every host but its own as a place for the VM.

    Those that may take it come first, the best of them at the head; then the others by name.
    """
    rules = tuple(rules)
    names = sorted(host.name for host in case.snapshot.hosts if host.name != case.vm.host)
    found = {name: barriers(case, name, rules) for name in names}
    possible = sorted(
        (name for name in names if not found[name]),
        key=lambda name: placement.preference(case.snapshot, case.vm, name),
    )
    others = (name for name in names if found[name])
    return tuple(verdict(case, name, found[name]) for name in (*possible, *others))


def verdict(case: MigrationCase, name: str, objections: tuple[Objection, ...]) -> HostVerdict:
    """One host with its fullness before and after the VM would arrive."""
    host = case.snapshot.host(name)
    extra = 0 if name == case.vm.host else case.vm.memory
    before = placement.fullness(case.snapshot, host)
    after = placement.fullness(case.snapshot, host, extra)
    return HostVerdict(name, objections, before, after, placement.cpu_share(case.snapshot, host))
