"""Keeps the definitions of all VMs, so that they do not die with their hosts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from bot.domain.cluster import Snapshot, Vm
from bot.domain.definition import Definition
from bot.domain.errors import HypervisorError
from bot.flow.monitoring.variables import KeptVariables
from bot.ports import Clock, Hypervisor, Store

log = structlog.get_logger()

EVERY = timedelta(minutes=5)
_AT_ONCE = 8  # hosts that are asked side by side
_LEAST, _TURNS = 20, 15  # of very many hosts a share is read at a time: their texts take memory


@dataclass(slots=True)
class KeptDefinitions:
    """Reads hosts' definitions into the store: all every five minutes, a host's at once when its VMs are others.

    Several replicas may do so; they keep the same.
    """

    hypervisor: Hypervisor
    store: Store
    clock: Clock
    _read_at: dict[str, datetime] = field(default_factory=dict)
    _marks: dict[str, frozenset[tuple[object, ...]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _variables: KeptVariables = field(init=False)

    def __post_init__(self) -> None:
        """Copy UEFI variables with the definitions that name their files."""
        self._variables = KeptVariables(self.hypervisor, self.store, self.clock)

    def keep(self, seen: Snapshot | None) -> tuple[str, ...]:
        """Read the hosts whose turn it is; their names.

        One that fails is logged and asked again next time.
        """
        if seen is None:
            return ()
        with self._lock:
            now = self.clock.now()
            marks = {host.name: _mark(seen, host.name) for host in seen.hosts if host.up}
            due = self._due(marks, now)
            if not due:
                return ()
            with ThreadPoolExecutor(
                min(len(due), _AT_ONCE), thread_name_prefix="definitions"
            ) as pool:
                answers = dict(zip(due, pool.map(self._definitions_of, due), strict=True))
            told = {name: found for name, found in answers.items() if found is not None}
            self.store.keep_definitions(
                tuple(each for found in told.values() for each in found), tuple(told)
            )
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="variables") as pool:
                list(pool.map(self._variables.keep, told, told.values()))
            for name in told:
                self._read_at[name], self._marks[name] = now, marks[name]
            return tuple(told)

    def _due(self, marks: Mapping[str, frozenset[tuple[object, ...]]], now: datetime) -> list[str]:
        """The hosts whose VMs are others, and some of those that were not read for long."""
        other = [name for name, mark in marks.items() if mark != self._marks.get(name)]
        old = [name for name in marks if name not in other and now - self._read_at[name] >= EVERY]
        old.sort(key=lambda name: self._read_at[name])
        return other + old[: max(_LEAST, len(marks) // _TURNS)]

    def _definitions_of(self, host: str) -> tuple[Definition, ...] | None:
        try:
            return self.hypervisor.definitions(host)
        except HypervisorError as error:
            log.warning("definitions not read, will try again", host=host, error=str(error))
            return None


def _mark(seen: Snapshot, host: str) -> frozenset[tuple[object, ...]]:
    """What of a host's VMs, when it changes, may come of another definition or of other VMs."""
    return frozenset(
        (
            vm.uuid,
            vm.name,
            vm.state,
            vm.vcpus,
            vm.memory,
            vm.persistent,
            *sorted(vm.tags.items()),
            *_devices(vm),
        )
        for vm in seen.on(host)
    )


def _devices(vm: Vm) -> tuple[object, ...]:
    return (vm.detail.disks, vm.detail.nics, vm.detail.hostdevs) if vm.detail else ()
