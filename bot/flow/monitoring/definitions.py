"""Keeps the definitions of all VMs, so that they do not die with their hosts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.cluster import Snapshot, Vm
from bot.domain.definition import MaybeUnchanged, Unreadable
from bot.domain.errors import HypervisorError
from bot.flow.monitoring.variables import KeptVariables
from bot.ports import Clock, Hypervisor, Store

log = structlog.get_logger()

EVERY = timedelta(minutes=5)  # beside what libvirt announces, which may be lost
_NEVER = datetime.min.replace(tzinfo=UTC)
_AT_ONCE = 8  # hosts that are asked side by side
_LEAST, _TURNS = 20, 15  # of very many hosts a share is read at a time: their texts take memory


@dataclass(slots=True)
class KeptDefinitions:
    """Reads hosts' definitions into the store.

    All every five minutes, a host's at once when its VMs are others.

    Several replicas may do so; they keep the same.
    """

    hypervisor: Hypervisor
    store: Store
    clock: Clock
    _read_at: dict[str, datetime] = field(default_factory=dict)
    _marks: dict[str, Mark] = field(default_factory=dict)
    _known: dict[str, set[str]] = field(default_factory=dict)  # by host, as what they were kept
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
            otherwise = self.store.keep_definitions(
                tuple(each for found in told.values() for each in found), tuple(told)
            )
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="variables") as pool:
                list(pool.map(self._variables.keep, told, told.values()))
            for name, found in told.items():
                self._read_at[name], self._marks[name] = now, marks[name]
                read = [each for each in found if not isinstance(each, Unreadable)]
                self._known[name] = {each.sha for each in read if each.uuid not in otherwise}
                if len(self._known[name]) < len(read):
                    del self._read_at[name]  # what is kept otherwise is read whole next time
            return tuple(told)

    def _due(self, marks: Mapping[str, Mark], now: datetime) -> list[str]:
        """The hosts whose VMs are others, and some of those that were not read for long."""
        other = [name for name, mark in marks.items() if mark != self._marks.get(name)]
        read = {name: self._read_at.get(name, _NEVER) for name in marks}
        old = [name for name in marks if name not in other and now - read[name] >= EVERY]
        old.sort(key=lambda name: read[name])
        return other + old[: max(_LEAST, len(marks) // _TURNS)]

    def _definitions_of(self, host: str) -> tuple[MaybeUnchanged, ...] | None:
        try:
            found = self.hypervisor.definitions(host, self._known.get(host, ()))
        except HypervisorError as error:
            log.warning("definitions not read, will try again", host=host, error=str(error))
            return None
        for each in found:
            if isinstance(each, Unreadable):
                log.warning("definition not read", host=host, vm=each.name, error=str(each.why))
        return found


Mark = tuple[tuple[object, ...], ...]


def _mark(seen: Snapshot, host: str) -> Mark:
    """What of a host's VMs, when it changes, may come of another definition or of other VMs.

    What was read once and not again since is the same object, which makes comparing cheap.
    """
    return tuple(
        (
            vm.uuid,
            vm.name,
            vm.state,
            vm.paused_by,  # the end of a post-copy migration is seen by nothing else
            vm.vcpus,
            vm.memory,
            vm.persistent,
            vm.tags,
            _devices(vm),
        )
        for vm in seen.on(host)
    )


def _devices(vm: Vm) -> tuple[object, ...]:
    return (vm.detail.disks, vm.detail.nics, vm.detail.hostdevs) if vm.detail else ()
