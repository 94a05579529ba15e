"""Which directions between many hosts stand for all of them; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, permutations

from plugins.host_check.findings import Seen

WHOLE = 12
"""Up to so many hosts every direction is tried."""

Groups = tuple[tuple[str, ...], ...]
"""Names of hosts that are equal in all that libvirt tells and a migration depends on."""


def groups_of(hosts: Sequence[Seen]) -> Groups:
    """The hosts by what decides whether VMs can move between them; the largest group first."""
    found: dict[object, list[str]] = {}
    for seen in hosts:
        found.setdefault(_sign(seen), []).append(seen.host)
    return tuple(sorted((tuple(each) for each in found.values()), key=lambda each: -len(each)))


def directions(names: Sequence[str], groups: Groups) -> tuple[tuple[str, str], ...]:
    """The directions to try, by source and target.

    Of few hosts all. Of many each host's to the next one of its group, so that every host is once a
    source and once a target, and one between each two of the larger groups; smaller ones to the
    largest and back. That grows as the number of hosts, not as its square.
    """
    if len(names) <= WHOLE:
        return tuple(permutations(names, 2))
    rings = [way for group in groups if len(group) > 1 for way in pairwise((*group, group[0]))]
    larger, smaller = groups[: math.isqrt(len(names))], groups[math.isqrt(len(names)) :]
    across = [*permutations(larger, 2)]
    for group in smaller:
        across += [(larger[0], group), (group, larger[0])]
    return tuple(dict.fromkeys([*rings, *((one[0], other[-1]) for one, other in across)]))


def _sign(seen: Seen) -> object:
    """What is equal for hosts of one group; a host that does not answer is alone."""
    facts = seen.facts
    if facts is None:
        return seen.host
    pools = frozenset(
        (each.name, each.kind, each.path, each.shared) for each in facts.pools if each.active
    )
    nics = frozenset(
        (nic.kind, nic.source) for vm in seen.guests if vm.detail for nic in vm.detail.nics
    )
    return (
        facts.arch,
        facts.cpu_model,
        facts.cpu,
        facts.hypervisor_version,
        facts.libvirt_version,
        facts.machines,
        facts.bridges,
        frozenset(each.name for each in facts.networks if each.active),
        frozenset(facts.secrets),
        pools,
        nics,
    )
