"""QEMU's machine types: which of them all hosts know, and which hosts lack that of a VM; pure.

A VM keeps the version of its machine type for life. It can run where QEMU knows this version:
newer QEMU knows older ones for years, older QEMU none that came after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.domain.cluster import Host, Snapshot, Vm

_FAMILIES = {"pc": "pc-i440fx", "q35": "pc-q35"}
"""Aliases that are not called as their versions are. Those of other architectures are, such as
``virt`` and ``virt-9.2``."""
_VERSION = re.compile(r"(?:rhel)?(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Bound:
    """A VM whose machine type some hosts lack."""

    vm: Vm
    machine: str
    lacking: tuple[str, ...]


def newest_common(wanted: str, hosts: Iterable[Host]) -> str:
    """The newest version of a machine type that all hosts know.

    Hosts that told of no machine types do not count. What is wanted is returned as it is when it is
    a version already, or when no version of it is known to all of them.
    """
    known = [host.machines for host in hosts if host.machines]
    if not known:
        return wanted
    return newest(wanted, frozenset.intersection(*known)) or wanted


def newest(wanted: str, known: Iterable[str]) -> str:
    """The newest version of a machine type among those known; '' when there is none."""
    family = _FAMILIES.get(wanted, wanted)
    found = {name: version for name in known if (version := _version(name, family))}
    return max(found, key=lambda name: (found[name], name), default="")


def _version(name: str, family: str) -> tuple[int, ...]:
    """``(9, 2)`` of ``pc-q35-9.2``; () for another family, and for what has no number."""
    if not name.startswith(f"{family}-"):
        return ()
    found = _VERSION.fullmatch(name.removeprefix(f"{family}-"))
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def bound_vms(snapshot: Snapshot) -> Iterator[Bound]:
    """Every VM with a machine type that some host of its architecture lacks, by name.

    A host of another QEMU lacks it: an older one, or one so new that it dropped it.
    """
    for vm in sorted(snapshot.vms, key=lambda each: (each.name, each.host)):
        machine = vm.detail.machine if vm.detail else ""
        home = snapshot.host(vm.host)
        if not machine or machine not in home.machines:
            continue  # its own host was not read since it changed: nothing is known for sure
        lacking = tuple(
            host.name
            for host in snapshot.hosts
            if host.machines and host.arch == home.arch and machine not in host.machines
        )
        if lacking:
            yield Bound(vm, machine, lacking)
