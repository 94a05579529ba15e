"""From a snapshot, tags and placement rules to the solver's problem; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import numpy as np

from bot.domain import placement
from bot.domain.cluster import GIB, MIB, Host, Snapshot, Vm
from bot.domain.placement import APART, PIN, TOGETHER, Rule, pin_hosts
from bot.domain.plan import Objection
from plugins.balance.settings import BalanceSettings, Domains
from plugins.balance.solver.model import (
    Bools,
    Floats,
    Ints,
    Problem,
    SearchLimits,
    Solution,
    group_numbers,
)
from plugins.balance.solver.search import solve

T = TypeVar("T")

KEEP, RATIO = "balance", "vcpu-ratio"
"""Tags: ``balance=off``, and a host's vCPU ratio."""

IMMENSE = 1e9
"""Capacity (cores or GiB) beside which every load is nothing: leaves a resource out of J."""

ROUNDS = 8
"""So often only what a plan touches is asked about; after that every VM is."""

Moves = tuple[tuple[str, datetime], ...]
"""UUIDs of VMs and when each last moved (UTC)."""


class Fixed(StrEnum):
    """Why a VM may not move at all, whatever the target."""

    UNREADABLE = "not-readable"
    MOVING = "moving"
    PINNED = "pinned"
    OWN = "own"
    LEFT_OUT = "left-out"
    COOLDOWN = "cooldown"
    NOT_ASKED = "not-asked"
    HUGE_PAGES = "huge-pages"


class Only(StrEnum):
    """What a balance may be about: everything, one resource, or only what is plainly wrong."""

    ALL = "all"
    CPU = "cpu"
    MEMORY = "mem"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class BalanceCase:
    """A problem and what its indexes stand for, without hosts that do not answer and their VMs.

    ``asked``: VMs (by index) whose row of ``problem.allowed`` holds the placement rules' answers
    already.
    """

    snapshot: Snapshot
    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    problem: Problem
    rules: tuple[Rule, ...]
    asked: frozenset[int] = field(default=frozenset())

    def index(self, uuid: str, host: str = "") -> int | None:
        """The number of a VM (on ``host``, when given); None when it is not part of the problem."""
        found = (i for i, vm in enumerate(self.vms) if vm.uuid == uuid and host in ("", vm.host))
        return next(found, None)

    def host_index(self, name: str) -> int | None:
        """The number of a host; None when it is not part of the problem."""
        return next((i for i, host in enumerate(self.hosts) if host.name == name), None)

    def objection(self, vm: int, host: int) -> Objection | None:
        """What a plugin's placement rule has against a VM on a host."""
        found = placement.objections(self.snapshot, self.vms[vm], self.hosts[host].name, self.rules)
        return next(iter(found), None)

    def with_rules_asked(self, vms: Iterable[int]) -> BalanceCase:
        """The case with the rules' answers for these VMs and every host."""
        wanted = sorted(set(vms) - self.asked)
        allowed = self.problem.allowed
        rows = (
            np.ones((len(self.vms), len(self.hosts)), dtype=np.bool_)
            if allowed is None
            else allowed.copy()
        )
        for vm in wanted:
            rows[vm] &= [
                host.name == self.vms[vm].host or not self.objection(vm, i)
                for i, host in self._host_numbers()
            ]
        return replace(
            self, problem=replace(self.problem, allowed=rows), asked=self.asked | set(wanted)
        )

    def _host_numbers(self) -> Iterable[tuple[int, Host]]:
        return enumerate(self.hosts)


def case_of(
    snapshot: Snapshot,
    settings: BalanceSettings,
    rules: Iterable[Rule],
    *,
    recent: Moves = (),
    only: Only = Only.ALL,
    movable: Callable[[Vm], bool] | None = None,
    asked: bool = False,
) -> BalanceCase:
    """The problem of a snapshot, the rules not asked yet.

    Args:
        snapshot: the cluster; VMs without a measured load count as idle.
        settings: ratio, own VMs, cooldown.
        rules: everyone's; the core's own are left out, for the planner reckons health, maintenance
            and memory itself.
        recent: VMs that moved lately; they stay for the cooldown, counted back from
            ``snapshot.taken_at``.
        only: what the score is to be about.
        movable: VMs it is asked to move; all others stay. None: everyone.
        asked: a person asked for these very moves, whatever the tag ``balance`` says, and is to
            weigh what they put at risk: N+1, huge pages.
    """
    snapshot = snapshot.sound()
    hosts = tuple(host for host in snapshot.hosts if host.up and host.cpus > 0 and host.memory > 0)
    names = {host.name: number for number, host in enumerate(hosts)}
    vms = tuple(vm for vm in snapshot.vms if vm.state.active and vm.host in names)
    resting = _resting(snapshot.taken_at, settings, recent)
    everywhere, own = frozenset(host.name for host in snapshot.hosts), frozenset(settings.own_vm)
    why = _Why(everywhere, own, _moving(snapshot), resting, movable, asked)
    memory = _column(hosts, lambda host: host.memory / GIB)
    cores = _column(hosts, lambda host: float(host.cpus))
    problem = Problem(
        host_names=tuple(names),
        cores=np.full(len(hosts), IMMENSE) if only is Only.MEMORY else cores,
        memory=np.full(len(hosts), IMMENSE) if only is Only.CPU else memory,
        usable_memory=_column(hosts, lambda host: (host.usable - _coming(snapshot, host)) / GIB),
        vcpu_limit=_column(hosts, lambda host: _ratio(host, settings) * host.cpus),
        drained=np.array([host.maintenance or host.held for host in hosts], dtype=np.bool_),
        vm_names=tuple(f"{vm.name} {vm.uuid} {vm.host}" for vm in vms),
        vm_memory=_column(vms, lambda vm: vm.memory / GIB),
        vcpus=_column(vms, lambda vm: float(vm.vcpus)),
        cpu=_column(vms, _load),
        host=np.array([names[vm.host] for vm in vms], dtype=np.intp),
        anti_affinity=group_numbers([vm.tags.get(APART, "") for vm in vms]),
        affinity=group_numbers([vm.tags.get(TOGETHER, "") for vm in vms]),
        fixed=tuple(why.why_fixed(vm) for vm in vms),
        transfer=_column(vms, lambda vm: _cost(vm, settings)),
        allowed=_pins(hosts, vms, why.everywhere),
        domain=_zones(hosts, settings),
        domain_hard=settings.domains is Domains.HARD,
        n_plus_one=settings.keep_spare and not asked,
    )
    others = tuple(rule for rule in dict.fromkeys(rules) if rule not in placement.CORE_RULES)
    return BalanceCase(snapshot, hosts, vms, problem, others)


def best_plan(case: BalanceCase, limits: SearchLimits) -> tuple[BalanceCase, Solution]:
    """The best plan that every placement rule allows, and the case with the rules' answers.

    Rules are asked about what a plan would do, not about every VM on every host: a refused
    VM's whole row is then learned and the search begins again. Every round learns a row, so it
    ends; after ``ROUNDS`` all rows are learned.
    """
    for attempt in range(len(case.vms) + 1):
        result = solve(case.problem, limits)
        objected = {
            move.vm
            for move in result.moves
            if move.vm not in case.asked and case.objection(move.vm, move.target)
        }
        if not objected:
            return case, result
        case = case.with_rules_asked(range(len(case.vms)) if attempt >= ROUNDS else objected)
    # no message: a fault of this code
    raise AssertionError("every round asks about a guest that was not asked about")


def _column(things: Sequence[T], value: Callable[[T], float]) -> Floats:
    """The value of each thing, as an array."""
    return np.array([value(each) for each in things], dtype=np.float64)


def _resting(now: datetime, settings: BalanceSettings, recent: Moves) -> frozenset[str]:
    since = now - timedelta(minutes=settings.cooldown_minutes)
    return frozenset(uuid for uuid, moved in recent if moved > since)


@dataclass(frozen=True, slots=True)
class _Why:
    """What is needed to say why a VM stays."""

    everywhere: frozenset[str]
    own: frozenset[str]
    moving: frozenset[str]
    resting: frozenset[str]
    movable: Callable[[Vm], bool] | None
    asked: bool

    def why_fixed(self, vm: Vm) -> str:
        """'' when it may move; the first reason otherwise."""
        found = (reason for reason, holds in self._reasons(vm) if holds)
        return next(found, "")

    def _reasons(self, vm: Vm) -> Iterable[tuple[Fixed, bool]]:
        yield Fixed.UNREADABLE, bool(vm.problem)
        yield Fixed.MOVING, vm.uuid in self.moving
        yield Fixed.OWN, vm.name in self.own or vm.uuid in self.own
        yield Fixed.PINNED, PIN in vm.tags and not pin_hosts(vm, self.everywhere)
        yield Fixed.NOT_ASKED, self.movable is not None and not self.movable(vm)
        yield Fixed.LEFT_OUT, not self.asked and vm.tags.get(KEEP, "").lower() == "off"
        yield Fixed.COOLDOWN, vm.uuid in self.resting
        yield Fixed.HUGE_PAGES, not self.asked and vm.detail is not None and vm.detail.hugepages


def _moving(snapshot: Snapshot) -> frozenset[str]:
    """VMs under way, or active in two places at once."""
    seen: set[str] = set()
    twice: set[str] = set()
    for vm in snapshot.vms:
        if vm.state.active:
            (twice if vm.uuid in seen else seen).add(vm.uuid)
    return frozenset(twice | {move.vm_uuid for move in snapshot.inbound})


def _pins(hosts: Sequence[Host], vms: Sequence[Vm], everywhere: frozenset[str]) -> Bools | None:
    """Where each VM may be by its pin (V × H); None when nobody is pinned to named hosts."""
    allowed = np.ones((len(vms), len(hosts)), dtype=np.bool_)
    for number, vm in enumerate(vms):
        if wanted := PIN in vm.tags and pin_hosts(vm, everywhere):
            allowed[number] = [host.name in wanted for host in hosts]
    return None if allowed.all() else allowed


def _zones(hosts: Sequence[Host], settings: BalanceSettings) -> Ints | None:
    """Each host's failure domain by its tag; None when there are none, or they do not count."""
    named = [host.tags.get(settings.domain_tag, "") for host in hosts]
    return group_numbers(named) if any(named) and settings.domains is not Domains.OFF else None


def _coming(snapshot: Snapshot, host: Host) -> int:
    """Bytes promised to moves under way to a host."""
    return sum(move.memory for move in snapshot.inbound if move.target == host.name)


def _ratio(host: Host, settings: BalanceSettings) -> float:
    try:
        said = float(host.tags.get(RATIO, ""))
    except ValueError:  # no tag, or words: the setting stands
        return settings.vcpu_ratio
    return said if math.isfinite(said) and said > 0 else settings.vcpu_ratio


def _load(vm: Vm) -> float:
    """Cores in use; 0 when not measured, so that such a VM is not moved for its load."""
    return vm.cpu if vm.cpu is not None and math.isfinite(vm.cpu) and vm.cpu > 0 else 0.0


def _cost(vm: Vm, settings: BalanceSettings) -> float:
    """GiB to send: what is written meanwhile is sent again, at most four times the memory."""
    share = (vm.dirty_rate or 0.0) / (settings.assumed_mib_s * MIB)
    return vm.memory / GIB / max(0.25, 1.0 - share)
