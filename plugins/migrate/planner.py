"""Pure: the words of the commands, the plan and its test at the last moment, the answers of why and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import click

from bot.domain import placement
from bot.domain.card import Card
from bot.domain.cluster import MIB, Host, Nic, Seen, Snapshot, Vm, VmState, tags_of
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.operation import Operation
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Prediction, Reason, Refused, Risk
from bot.domain.steps import Carried, MigrateVm, Policy
from bot.domain.storage import local_disks
from plugins.migrate import cards
from plugins.migrate.cards import Verdict
from plugins.migrate.forecast import Forecast, forecast, patience
from plugins.migrate.preflight import Case, barriers, has, immovable, survey, verdict
from plugins.migrate.settings import MigrateSettings


@dataclass(frozen=True, slots=True)
class Migrate:
    """``migrate VM [to HOST] …``; ``to`` '' leaves the choice to the planner.

    ``bandwidth`` in MiB/s, 0: as set.
    """

    vm: str
    to: str = ""
    policy: Policy = Policy.SAFE
    copy_storage: bool = False
    bandwidth: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """``why VM`` and ``where VM``."""

    vm: str


def migrate_grammar() -> click.Command:
    """``migrate VM [to HOST] [--policy …] [--copy-storage] [--bandwidth …] [--reason …]`` → ``Migrate``."""
    return click.Command(
        "migrate",
        params=[
            click.Argument(["vm"], metavar="VM"),
            click.Argument(["to"], nargs=-1, metavar="[to HOST]"),
            click.Option(
                ["--policy"],
                type=click.Choice([each.value for each in Policy], case_sensitive=False),
                default=Policy.SAFE.value,
                show_default=True,
                help=cards.POLICY_HELP,
            ),
            click.Option(["--copy-storage"], is_flag=True, help=cards.COPY_HELP),
            click.Option(
                ["--bandwidth"],
                type=click.IntRange(0, 1_000_000),
                default=0,
                metavar="MiB/s",
                help=cards.BANDWIDTH_HELP,
            ),
            click.Option(["--reason"], default="", metavar="TEXT", help=cards.REASON_HELP),
        ],
        callback=_migrate,
        help=cards.MIGRATE_HELP,
        short_help=cards.MIGRATE,
        add_help_option=False,
    )


def about_grammar(name: str, summary: str) -> click.Command:
    """``why VM`` or ``where VM`` → ``About``."""
    return click.Command(
        name,
        params=[click.Argument(["vm"], metavar="VM")],
        callback=About,
        help=summary,
        add_help_option=False,
    )


def _migrate(  # noqa: PLR0917 - click calls by keyword
    vm: str,
    to: tuple[str, ...],
    policy: str,
    copy_storage: bool,  # noqa: FBT001 - click calls with the flag
    bandwidth: int,
    reason: str,
) -> Migrate:
    return Migrate(
        vm, _host_word(to), Policy(policy.lower()), copy_storage, bandwidth, reason.strip()
    )


def _host_word(said: tuple[str, ...]) -> str:
    """``host-b`` of ``host-b`` or ``to host-b``; '' of nothing."""
    rest = said[1:] if said and said[0].lower() == "to" else said
    if said and not rest:
        raise click.UsageError(cards.no_host_after_to())
    if len(rest) > 1:
        raise click.UsageError(cards.too_many_words(rest[1]))
    return rest[0] if rest else ""


def focus(intent: Migrate | About) -> tuple[str, ...]:
    """The guest is read in depth."""
    return (intent.vm,)


DIRTY_STEP = 2 * MIB
"""Bytes/s that one changed page stands for: QEMU samples 512 pages a GiB, over a second.

One alone may be chance.
"""

NAMED_HOSTS = 4  # hosts ruled out that a plan names; `where` shows all


def plan(
    settings: MigrateSettings, intent: Migrate, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """The move that ``intent`` asks for, or everything that stands against it at once."""
    rules = tuple(rules)
    found = _named(intent, snapshot)
    if isinstance(found, Refused):
        return found
    case = Case(snapshot, found, intent.copy_storage)
    if intent.to:
        against = _against(case, intent.to, rules)
        if against:
            return Refused(cards.refused_title(found.name, intent.to), against)
        reasons: tuple[Reason, ...] = (cards.asked_for(verdict(case, intent.to, ())),)
        return _plan(settings, intent, case, intent.to, reasons)
    return _best(settings, intent, case, rules)


def _named(intent: Migrate, snapshot: Snapshot) -> Vm | Refused:
    """The guest; both names are checked, so that both slips are told at once."""
    against: list[Objection] = []
    vm = None
    try:
        vm = snapshot.vm(intent.vm)
    except UnknownNameError as error:
        against.append(cards.unknown("unknown-vm", error))
    except AmbiguousNameError as error:
        against.append(cards.unknown("ambiguous-vm", error))
    try:
        if intent.to:
            snapshot.host(intent.to)
    except UnknownNameError as error:
        against.append(cards.unknown("unknown-host", error))
    if vm is None or against:
        return Refused(cards.refused_title(vm.name if vm else intent.vm, intent.to), tuple(against))
    return vm


def _against(case: Case, target: str, rules: Iterable[Rule]) -> tuple[Objection, ...]:
    """Everything, each once, the guest's own hindrances first."""
    return tuple(dict.fromkeys((*immovable(case), *barriers(case, target, rules))))


def _best(
    settings: MigrateSettings, intent: Migrate, case: Case, rules: tuple[Rule, ...]
) -> Plan | Refused:
    vm = case.vm
    stuck = immovable(case)
    places = survey(case, rules)
    legal = [each for each in places if each.legal]
    if stuck or not legal:
        none = (cards.no_other_host(vm),) if not places else ()
        hosts = (
            ()
            if stuck
            else tuple(dict.fromkeys(each for place in places for each in place.objections))
        )
        return Refused(cards.refused_title(vm.name), (*stuck, *none, *hosts))
    return _plan(settings, intent, case, legal[0].host, _reasons(places, legal))


def _reasons(places: Sequence[Verdict], legal: Sequence[Verdict]) -> tuple[Reason, ...]:
    """Why the first, what would be second, why not the others."""
    out = [each for each in places if not each.legal]
    reasons = [cards.chosen(legal[0], len(legal)), *(cards.runner_up(each) for each in legal[1:2])]
    reasons += [cards.ruled_out(each) for each in out[:NAMED_HOSTS]]
    return (
        *reasons,
        *((cards.others_out(len(out) - NAMED_HOSTS),) if len(out) > NAMED_HOSTS else ()),
    )


def _plan(
    settings: MigrateSettings, intent: Migrate, case: Case, target: str, reasons: tuple[Reason, ...]
) -> Plan:
    vm = case.vm
    told, prediction, patience_ends = _forecast(settings, case, intent)
    step = MigrateVm(
        uuid=vm.uuid, name=vm.name, source=vm.host, target=target, memory=vm.memory, policy=intent.policy,
        copy_storage=intent.copy_storage, bandwidth=intent.bandwidth or settings.bandwidth_mib_s,
        carried=carried(vm), reason=intent.reason,
    )  # fmt: skip
    risky = intent.policy is Policy.POSTCOPY or told.converges is False
    return Plan(
        title=cards.plan_title(vm, target),
        steps=(step,),
        risk=Risk.HIGH if risky else Risk.MEDIUM,
        blast=Blast((vm.name,), (vm.host, target), vm.memory, _to_copy(case)),
        prediction=prediction,
        reasons=reasons,
        warnings=tuple(_warnings(case, case.snapshot.host(target), intent, told, patience_ends)),
        bars=placement.bars(case.snapshot, [(vm, target)]),
        tags=tags_of((vm,)),
    )


def carried(vm: Vm) -> Carried:
    """What must be the same after the move."""
    return Carried(vm.autostart, vm.state is VmState.PAUSED, vm.persistent, vm.scheduler)


def _warnings(
    case: Case, target: Host, intent: Migrate, told: Forecast, ends: float
) -> Iterator[Reason]:
    vm = case.vm
    if told.converges is False:
        yield cards.no_convergence(vm, intent.policy, ends)
    if told.converges is None:
        yield cards.dirty_unknown(vm)
    if intent.policy is Policy.POSTCOPY:
        yield cards.postcopy_risk(vm)
    if not vm.persistent:
        yield cards.transient(vm)
    if case.detail.checkpoints:
        yield cards.checkpoints(vm)
    yield from _unchecked(case, target)


def _unchecked(case: Case, target: Host) -> Iterator[Reason]:
    """What no look from outside can tell; libvirt itself will refuse if it is wrong."""
    vm, detail = case.vm, case.detail
    if vm.detail is None:
        yield cards.not_read(vm)
    elif case.snapshot.cpu_fit(vm.uuid, target.name) is None:
        yield cards.cpu_unknown(vm, target)
    looked = case.snapshot.target_look(vm.uuid, target.name) is not None
    if unseen := [nic for nic in detail.nics if _unseen(case.source, target, nic, looked=looked)]:
        yield cards.network_unknown(vm, target, unseen)
    if detail.secrets and not looked:
        yield cards.secrets(vm, target)
    yield from _unseen_places(case, target, looked=looked)
    if detail.hugepages and target.huge_pages is None:  # else the placement rules count them
        yield cards.hugepages(vm, target)
    if detail.memory_locked:
        yield cards.memory_locked(vm)
    local = local_disks(case.source, detail)
    if local and not case.copy_storage and case.seen_on(target.name, local) == {Seen.SAME}:
        yield cards.taken_for_shared(target, local)
    if case.copy_storage and looked and Seen.UNKNOWN in case.seen_on(target.name, local):
        yield cards.not_looked_at(target, local)
    unsized = [disk for disk in local if disk.capacity is None]
    if case.copy_storage and unsized:
        yield cards.size_unknown(unsized)


def _unseen_places(case: Case, target: Host, *, looked: bool) -> Iterator[Reason]:
    """Folders and ports, which libvirt does not show of another host."""
    ties = case.detail.ties
    if ties.folders and not looked:
        yield cards.folders_unknown(case.vm, target, ties.folders)
    if ports := sorted({port for each in ties.listeners if each.fixed for port in each.ports}):
        yield cards.graphics_unknown(case.vm, target, ports)


def _unseen(source: Host, target: Host, nic: Nic, *, looked: bool) -> bool:
    """Neither host lists it (a bridge that libvirt cannot see), or it is of a kind that nobody lists."""
    if nic.kind in ("user", "ethernet", "null", "internal") or (looked and nic.kind == "direct"):
        return False
    there = has(target, nic)
    return there is None or (not there and not has(source, nic))


def _forecast(
    settings: MigrateSettings, case: Case, intent: Migrate, *, leeway: float = DIRTY_STEP
) -> tuple[Forecast, Prediction, float]:
    """The forecast of a case, how it is told, and when a hopeless one is given up.

    ``leeway``: bytes/s by which the dirty rate is taken to be lower than it was measured.
    """
    vm, limit = case.vm, intent.bandwidth or settings.bandwidth_mib_s
    rate = (limit or settings.assumed_mib_s) * MIB
    storage = _to_copy(case)
    waits = patience(settings, vm.memory + storage, limit)
    dirty = 0.0 if vm.state is VmState.PAUSED else vm.dirty_rate
    floor = settings.downtime_floor_ms / 1000
    sure = None if dirty is None else max(0.0, dirty - leeway)
    told = forecast(
        vm.memory, sure, rate, policy=intent.policy, waits=waits, floor=floor, storage=storage
    )
    basis = cards.basis(replace(vm, dirty_rate=dirty), rate, storage, assumed=not limit)
    down = None if told.downtime is None else round(told.downtime, 3)
    prediction = Prediction(round(told.seconds, 3), down, told.converges, basis)
    return told, prediction, storage / rate + waits.gives_up(vm.memory / rate)


def _to_copy(case: Case) -> int:
    """Bytes of storage that travel too."""
    if not case.copy_storage:
        return 0
    return sum(disk.capacity or 0 for disk in local_disks(case.source, case.detail))


def still_good(
    settings: MigrateSettings,
    intent: Migrate,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """What speaks against carrying ``planned`` out now.

    A chosen target must be legal, not still the best.
    """
    step = next(each for each in planned.steps if isinstance(each, MigrateVm))
    if not any(vm.uuid == step.uuid for vm in snapshot.vms):
        return (cards.gone(step),)
    vm = snapshot.vm(step.uuid)
    if vm.state.active and vm.host != step.source:
        return (cards.moved_meanwhile(step, vm),)
    case = Case(snapshot, vm, step.copy_storage)
    try:
        snapshot.host(step.target)
    except UnknownNameError as error:
        return (cards.unknown("unknown-host", error),)
    against = _against(case, step.target, rules)
    return against or tuple(_changes(settings, intent, planned, step, case))


def _changes(
    settings: MigrateSettings, intent: Migrate, planned: Plan, step: MigrateVm, case: Case
) -> Iterator[Objection]:
    """What is allowed, and yet is not what was approved."""
    vm = case.vm
    if vm.name != step.name:
        yield cards.renamed(step, vm)
    if vm.memory != step.memory:
        yield cards.memory_changed(step, vm)
    if carried(vm) != step.carried:
        yield cards.carried_changed(step, carried(vm))
    # A measurement's noise is no change
    told, _, _ = _forecast(settings, case, intent, leeway=2 * DIRTY_STEP)
    if told.converges is False and planned.risk is Risk.MEDIUM:
        yield cards.riskier(step, vm)


def why(
    about: About,
    snapshot: Snapshot,
    operations: Callable[[str], Sequence[Operation]],
    rules: Iterable[Rule],
) -> Card:
    """Why a guest is where it is; ``operations`` answers those that touched a UUID, newest first.

    Raises:
        UnknownNameError, AmbiguousNameError: no such guest, or several.
    """
    vm = snapshot.vm(about.vm)
    case = Case(snapshot, vm)
    stuck = immovable(case)
    return cards.why_card(vm, operations(vm.uuid), stuck, _answers(case, stuck, tuple(rules)))


def _answers(
    case: Case, stuck: tuple[Objection, ...], rules: tuple[Rule, ...]
) -> tuple[Verdict, ...]:
    """Every host with the whole truth: what keeps the VM where it is counts for each, and what copying allows too."""
    copied = replace(case, copy_storage=True)
    copies = not immovable(copied)
    found = tuple(
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


def where(about: About, snapshot: Snapshot, rules: Iterable[Rule]) -> Card:
    """Where a guest could go.

    Raises:
        UnknownNameError, AmbiguousNameError: no such guest, or several.
    """
    vm = snapshot.vm(about.vm)
    case = Case(snapshot, vm)
    stuck = immovable(case)
    return cards.where_card(vm, stuck, _answers(case, stuck, tuple(rules)))
