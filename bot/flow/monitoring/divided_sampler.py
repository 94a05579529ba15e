"""Replicas that measure together.

Each host by one of them, and by another one when that one is gone.

Only what is measured for charts, tables and alerts is divided. Where VMs are, and whether a host
answers, each replica reads by itself: no decision about a VM rests on what another one saw.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.domain.codec import CodecError
from bot.domain.errors import StoreError
from bot.domain.metrics import Sweep
from bot.flow.monitoring.shared_samples import Part, from_text, parts_of, to_text
from bot.ports import Clock
from bot.ports.series import Lease, Leases, SelectiveSampler

log = structlog.get_logger()

_MISSED = 4  # sweeps without a word after which a lease is anybody's, and its sample too old


@dataclass(frozen=True, slots=True)
class _Taken:
    """What another replica measured, and when, by ``time.monotonic()``."""

    sample: float
    measured: float
    part: Part


@dataclass(slots=True)
class DividedSampler:
    """The port ``Sampler``, for one of several replicas.

    A host that is another's is not asked; what that one measured of it stands in the sweep, whose
    ``at`` is the moment of the oldest part. A host is measured here all the same when what there
    is of it is too old, says that it does not answer, or cannot be read.

    Args:
        sampler: asks the hosts.
        table: the leases.
        clock: the bot's.
        replica: this process's name.
        hosts: the names of all hosts, in the order of the configuration.
        every: seconds between sweeps.
    """

    sampler: SelectiveSampler
    table: Leases
    clock: Clock
    replica: str
    hosts: Sequence[str]
    every: float
    _taken: dict[str, _Taken] = field(default_factory=dict)

    def sweep(self) -> Sweep:
        """Measure one's own share, and take the others' from the database; see the port."""
        try:
            mine = self._share()
        except StoreError as error:
            log.warning("hosts are not divided among replicas", error=str(error))
            mine = None
        if mine is None:
            return self.sampler.sweep()
        began = time.monotonic()
        own = self.sampler.sweep(mine)
        found = self._exchange(own, mine, began)
        rest = [host for host in self.hosts if host not in mine and host not in found]
        return self._together(found, own, self.sampler.sweep(rest) if rest else None)

    def close(self) -> None:
        """Give one's hosts up, and let go of them; see the port."""
        try:
            self.table.release(self.hosts)
        except StoreError as error:  # another replica takes them when it is missed
            log.warning("leases not given up", error=str(error))
        self.sampler.close()

    def _share(self) -> frozenset[str] | None:
        """The hosts whose lease is this replica's; None: there is no other replica."""
        replicas = self.table.replicas() | {self.replica}
        if len(replicas) == 1:
            return None
        leases = self.table.leases()
        owners = {host: _owner(host, replicas) for host in self.hosts}
        held = {host for host in self.hosts if self._holds(leases.get(host))}
        wrong = {host for host in held if owners[host] != self.replica}
        self.table.release(wrong)
        free = {
            host: leases.get(host)
            for host in self.hosts
            if host not in held
            and self._is_free(leases.get(host), owners[host] == self.replica, replicas)
        }
        return frozenset(held - wrong) | self.table.claim(free)

    def _holds(self, lease: Lease | None) -> bool:
        return lease is not None and lease.replica == self.replica

    def _is_free(
        self,
        lease: Lease | None,
        is_own: bool,  # noqa: FBT001
        replicas: Collection[str],
    ) -> bool:
        """Whether a lease may be taken.

        One's own share at once, the rest when it is not looked after.
        """
        if lease is None:
            return is_own
        left = is_own and lease.replica not in replicas  # given up, or its replica is gone
        return left or lease.age > self._oldest

    @property
    def _oldest(self) -> float:
        return _MISSED * self.every

    def _exchange(self, own: Sweep, mine: Collection[str], began: float) -> Mapping[str, _Taken]:
        """Show the others what was measured; what they measured of the other hosts, if of use."""
        try:
            texts = {name: to_text(part, own.at) for name, part in parts_of(own).items()}
            self.table.keep(texts, time.monotonic() - began)
            self._read([host for host in self.hosts if host not in mine])
        except StoreError as error:
            log.warning("samples are not shared with other replicas", error=str(error))
        earliest = time.monotonic() - self._oldest
        return {
            host: taken
            for host, taken in self._taken.items()
            if host not in mine and taken.measured >= earliest and not taken.part.host.silent
        }

    def _read(self, hosts: Iterable[str]) -> None:
        """Read what is new of these hosts."""
        leases, moment, now = self.table.leases(), time.monotonic(), self.clock.now()
        new = {host: lease for host in hosts if self._is_new(host, lease := leases.get(host))}
        for host, text in self.table.samples(new).items():
            lease = new[host]
            if lease is None or lease.measured is None or lease.sample is None:
                continue
            try:
                part = from_text(text, now - timedelta(seconds=lease.measured))
            except (CodecError, LookupError, TypeError, ValueError) as error:
                log.warning("sample of another replica cannot be read", host=host, error=str(error))
                self._taken.pop(host, None)
                continue
            self._taken[host] = _Taken(lease.sample, moment - lease.measured, part)

    def _is_new(self, host: str, lease: Lease | None) -> bool:
        if lease is None or lease.measured is None or lease.measured > self._oldest:
            return False
        known = self._taken.get(host)
        return known is None or known.sample != lease.sample

    def _together(self, found: Mapping[str, _Taken], own: Sweep, rest: Sweep | None) -> Sweep:
        """One sweep of all parts, in the order of the hosts."""
        parts = dict(parts_of(own))
        parts.update(parts_of(rest) if rest is not None else {})
        moment, now = time.monotonic(), self.clock.now()
        moments = [now - timedelta(seconds=moment - each.measured) for each in found.values()]
        parts.update({host: taken.part for host, taken in found.items()})
        some = [parts[host] for host in self.hosts if host in parts]
        return Sweep(
            min([own.at, *moments]),
            tuple(each.host for each in some),
            tuple(vm for each in some for vm in each.vms),
            (*own.events, *(rest.events if rest is not None else ())),
            tuple(seen for each in some for seen in each.snapshots),
            tuple(seen for each in some for seen in each.checkpoints),
        )


def _owner(host: str, replicas: Iterable[str]) -> str:
    """The replica whose share a host is.

    The same for everybody, and few hosts change when one comes or goes.
    """
    return max(replicas, key=lambda replica: hashlib.blake2b(f"{replica}/{host}".encode()).digest())
