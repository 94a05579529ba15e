"""The balancing problem as arrays, the limits of a plan, and the plan: values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

NO_GROUP = -1
"""The group number of a VM that belongs to no affinity or anti-affinity group."""
ROUNDING = 1e-9
"""By how much a sum, of GiB or of J, may differ only because it was added up in another order."""


class Cause(StrEnum):
    """Why a move is made; every move has exactly one."""

    MAINTENANCE = "maintenance"
    AFFINITY = "affinity"
    DOMAIN = "domain"
    HOST_AT_RISK = "host_at_risk"
    CPU = "cpu"
    MEMORY = "memory"


class WhyNot(StrEnum):
    """Why a VM is not moved to one host; WORTHWHILE: only the plan's limits are against it."""

    HERE = "here"
    FIXED = "fixed"
    DRAINED = "drained"
    NOT_ALLOWED = "not_allowed"
    MEMORY = "memory"
    VCPUS = "vcpus"
    ANTI_AFFINITY = "anti_affinity"
    DOMAIN = "domain"
    HELD_TOGETHER = "held_together"
    CALM = "calm"
    SPARE = "spare"
    TOO_LITTLE_GAIN = "too_little_gain"
    WORTHWHILE = "worthwhile"


class BadProblem(ValueError):  # noqa: N818  # house style: errors are named for what is wrong
    """The arrays of a problem do not fit together; the text names the array."""


HOST_ARRAYS = ("cores", "memory", "usable_memory", "vcpu_limit", "drained")
VM_ARRAYS = ("vm_memory", "vcpus", "cpu", "host", "anti_affinity", "affinity", "fixed", "transfer")


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A cluster to balance: H hosts, V VMs, all arrays in one order of the caller's choice.

    Hosts:
        `cores` (float, > 0) and `memory` (GiB, > 0): what loads are divided by in the score.
        `usable_memory` (GiB): memory less the reserve and anything else that VMs may not use.
        `vcpu_limit`: most vCPUs, usually ratio × cores.
        `drained`: takes no VM and should lose its own.
        `domain` (or None): the failure domain, NO_GROUP for none. A domain holds no more of an
        anti-affinity group than its even share, rounded up; unless `domain_hard`, more where a VM
        must leave its host.
    VMs:
        `vm_memory` (GiB), `vcpus`, `cpu` (measured load in cores), `host` (index).
        `anti_affinity` and `affinity`: the group, NO_GROUP for none.
        `fixed`: why the VM may not move, "" if it may.
        `transfer` (GiB): what a move sends, what is written meanwhile included.
        `allowed` (V × H, or None when every VM may live anywhere).
    `n_plus_one`: no move may put one more host, or one more GiB, at the risk of a loss, unless it
    removes a fault.
    """

    host_names: tuple[str, ...]
    cores: Floats
    memory: Floats
    usable_memory: Floats
    vcpu_limit: Floats
    drained: Bools
    vm_names: tuple[str, ...]
    vm_memory: Floats
    vcpus: Floats
    cpu: Floats
    host: Ints
    anti_affinity: Ints
    affinity: Ints
    fixed: tuple[str, ...]
    transfer: Floats
    allowed: Bools | None = None
    domain: Ints | None = None
    domain_hard: bool = True
    n_plus_one: bool = False

    def __post_init__(self) -> None:
        """Refuse arrays of the wrong length, impossible sizes and unknown hosts (BadProblem)."""
        hosts, vms = len(self.host_names), len(self.vm_names)
        for name in HOST_ARRAYS:
            _check_length(name, len(getattr(self, name)), hosts, "host")
        for name in VM_ARRAYS:
            _check_length(name, len(getattr(self, name)), vms, "VM")
        if self.allowed is not None and self.allowed.shape != (vms, hosts):
            raise BadProblem(
                # no message: for who builds the problem
                f"allowed has the shape {self.allowed.shape}; give VMs × hosts, {(vms, hosts)}"
            )
        if self.domain is not None:
            _check_length("domain", len(self.domain), hosts, "host")
        for name in ("cores", "memory", "vm_memory", "vcpus", "cpu", "transfer"):
            _check_size(name, getattr(self, name), above_zero=name in HOST_ARRAYS)
        if vms and not (self.host.min() >= 0 and self.host.max() < hosts):
            raise BadProblem(
                # no message: for who builds the problem
                f"host must index one of the {hosts} hosts; a VM names a host that is not listed"
            )
        if len(set(self.host_names)) < hosts or len(set(self.vm_names)) < vms:
            raise BadProblem(
                # no message: for who builds the problem
                "two hosts or two VMs share a name; names must be unique, so give each its own"
            )

    @property
    def serving(self) -> int:
        """How many hosts are in service; 1 at least, to divide by."""
        return max(1, int((~self.drained).sum()))

    def place(self, host: Ints) -> Self:
        """Return the same problem with every VM on the host that `host` (length V) names."""
        return replace(self, host=host.copy())

    def reorder(self, hosts: Ints, vms: Ints) -> Self:
        """Return the same problem with hosts and VMs listed in the given orders (permutations)."""
        back = np.empty_like(hosts)
        back[hosts] = np.arange(len(hosts))
        return replace(
            self,
            host_names=tuple(self.host_names[i] for i in hosts),
            cores=self.cores[hosts],
            memory=self.memory[hosts],
            usable_memory=self.usable_memory[hosts],
            vcpu_limit=self.vcpu_limit[hosts],
            drained=self.drained[hosts],
            vm_names=tuple(self.vm_names[i] for i in vms),
            vm_memory=self.vm_memory[vms],
            vcpus=self.vcpus[vms],
            cpu=self.cpu[vms],
            host=back[self.host[vms]],
            anti_affinity=_renumber(self.anti_affinity[vms]),
            affinity=_renumber(self.affinity[vms]),
            fixed=tuple(self.fixed[i] for i in vms),
            transfer=self.transfer[vms],
            allowed=None if self.allowed is None else self.allowed[np.ix_(vms, hosts)],
            domain=None if self.domain is None else _renumber(self.domain[hosts]),
        )


def _check_length(name: str, got: int, wanted: int, what: str) -> None:
    if got != wanted:
        # no message: for who builds the problem
        raise BadProblem(f"{name} has {got} entries; give one per {what}, {wanted}")


def _check_size(name: str, values: Floats, *, above_zero: bool) -> None:
    if not np.all(np.isfinite(values) & (values >= 0)) or (above_zero and not np.all(values > 0)):
        # no message: for who builds the problem
        least = "above 0 for every host" if above_zero else "at least 0 for every VM"
        raise BadProblem(
            # no message: for who builds the problem
            f"{name} must be finite and {least}; measure again, or leave out what has none"
        )


def _renumber(groups: Ints) -> Ints:
    """Number groups by first appearance, so that the caller's numbering cannot show in the plan."""
    seen: dict[int, int] = {NO_GROUP: NO_GROUP}
    for group in groups.tolist():
        seen.setdefault(group, len(seen) - 1)
    return np.array([seen[group] for group in groups.tolist()], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What a plan may cost and what it must bring.

    `per_move` is the one knob between few moves and evenness: a move must lower J by at least
    per_move / hosts (so the same value means the same on 5 and on 300 hosts); 0.1 is thrifty, 0.01
    thorough. `per_gib` is what a transferred GiB costs, as a share of a move. `band`: at or below
    this J nothing is moved for balance. `goal`: J that is even enough; fewer moves are preferred to
    going below it. `max_moves` and `max_gib` (GiB) are hard. `effort` is how often, at 300 VMs, the
    placement is shaken to find a better one. `seconds` only stops a search that has run away:
    results do not depend on it unless `Result.cut_short`.
    """

    max_moves: int | None = None
    max_gib: float | None = None
    goal: float | None = None
    per_move: float = 0.03
    per_gib: float = 0.02
    band: float = 0.05
    effort: int = 100
    seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse prices at which a search would never end, and negative limits (ValueError)."""
        if self.per_move <= 0:
            raise ValueError(
                # no message: for who sets the limits
                "per_move must be above 0: a move that gains nothing is never worth making"
            )
        for name in ("max_moves", "max_gib", "goal", "per_gib", "band", "effort"):
            if (value := getattr(self, name)) is not None and value < 0:
                # no message: for who sets the limits
                raise ValueError(f"{name} is {value}; give 0 or more")

    def least_gain(self, problem: Problem) -> float:
        """By how much J a move must fall to be worth making."""
        return self.per_move / problem.serving


@dataclass(frozen=True, slots=True)
class Move:
    """One live migration, by index into the problem; `gain` is the fall of the score by it."""

    vm: int
    source: int
    target: int
    cause: Cause
    gain: float


@dataclass(frozen=True, slots=True)
class Score:
    """Imbalance of a cluster: standard deviations over hosts in service, and counts of faults."""

    cpu: float
    memory: float
    stranded: int = 0
    collisions: int = 0
    separated: int = 0
    overfull: int = 0
    crowded: int = 0

    @property
    def balance(self) -> float:
        """J: the two standard deviations added."""
        return self.cpu + self.memory

    @property
    def faults(self) -> float:
        """The penalty for stranded VMs (20 each) and for broken rules and reserves (2 each)."""
        return 20.0 * self.stranded + 2.0 * (
            self.collisions + self.separated + self.overfull + self.crowded
        )

    @property
    def total(self) -> float:
        """The number that a plan may never raise."""
        return self.balance + self.faults


@dataclass(frozen=True, slots=True)
class Solution:
    """An ordered plan, each move possible in its turn, its scores, and the VMs that are stuck.

    `capped` says that a limit on moves, GiB or the goal stood in the way; `cut_short` that time
    did.
    """

    moves: tuple[Move, ...]
    before: Score
    after: Score
    gib: float = 0.0
    stuck: tuple[int, ...] = field(default=())
    capped: bool = False
    cut_short: bool = False


def group_numbers(names: Sequence[str | None]) -> Ints:
    """A number for each name, equal names alike; ``NO_GROUP`` where there is none."""
    known: dict[str, int] = {}
    return np.array(
        [known.setdefault(name, len(known)) if name else NO_GROUP for name in names], dtype=np.intp
    )
