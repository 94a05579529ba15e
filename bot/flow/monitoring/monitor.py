"""What the bot measures.

The newest sweep, the history, notes, and what it last showed of each incident.
"""

from __future__ import annotations

import collections
import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import structlog

from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.errors import StoreError
from bot.domain.metrics import (
    Happening,
    HostSample,
    Incident,
    Metric,
    Point,
    Pressure,
    Sweep,
    points,
    pool_entity,
)
from bot.flow.monitoring import change_notes
from bot.flow.monitoring.background import Gathering
from bot.flow.monitoring.history_writer import Recorder
from bot.flow.monitoring.incident_notes import all_incidents
from bot.flow.monitoring.pressure import Pressures
from bot.plugin_api import Alert, Measured, Memory
from bot.ports import Clock
from bot.ports.series import Notes, Past, Sampler, Series

log = structlog.get_logger()

REPORT = "report:"
_MOST_EVENTS = 10_000  # kept while nobody looks; a storm of more loses its oldest
LIVE = 4  # live answers at once; more are posted once and stand still


@dataclass
class Drawn:
    """What this process last showed of incidents, and the alerts it can draw them anew from."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    storms: dict[str, Card] = field(default_factory=dict)  # by the incidents' ``storm``


class Monitor:
    """Measures the cluster and keeps what was measured. Safe to share by threads.

    Args:
        sampler: asks the hosts.
        series: the history; its rollups are made here.
        notes: where incidents and what reports remember are kept.
        clock: the bot's.
        replica: this process's name, for the lease.
        past: a history that is kept elsewhere, such as a site's Prometheus; none is written here
            then.
        pressures: what the hosts' kernels tell of pressure; None: nobody is asked.
    """

    def __init__(
        self,
        sampler: Sampler,
        series: Series,
        notes: Notes,
        clock: Clock,
        *,
        replica: str = "drover-1",
        past: Past | None = None,
        pressures: Pressures | None = None,
    ) -> None:
        self.notes = notes
        self.replica = replica
        self.drawn = Drawn()
        self.due: dict[str, float] = {}
        # By watch: what it has not looked at yet
        self.untold: dict[str, collections.deque[Happening]] = {}
        self.gathering = Gathering()
        self.looking = threading.Lock()  # watches look one at a time
        # A live message keeps a thread as long as it lives: only so many at once
        self.live_places = threading.BoundedSemaphore(LIVE)
        self._sampler = sampler
        self._series = series
        self._clock = clock
        self._records = past is None
        self._past = past or series
        self._pressures = pressures
        self._corrections: dict[str, tuple[Pressure, int]] = {}
        self._recorder = Recorder(series)
        # Who asks while hosts are being read takes that reading, and makes no second one
        self._sweeping = threading.Lock()
        self._swept_at = float("-inf")
        self._sweep: Sweep | None = None
        # Taken one by one from the left: a thread that adds meanwhile loses nothing.
        self._happened: collections.deque[Happening] = collections.deque(maxlen=_MOST_EVENTS)

    def sweep(self, *, older_than: float = 0.0) -> Sweep:
        """Measure now, unless the newest sweep is younger than ``older_than`` seconds.

        It is then the answer.
        """
        with self._sweeping:
            if self._sweep is not None and time.monotonic() - self._swept_at < older_than:
                return self._sweep
            sweep = self._with_pressure(self._sampler.sweep())
            self._swept_at = time.monotonic()
            self._happened.extend(sweep.events)
            self._sweep = sweep
            if self._records:
                self._recorder.take(sweep.at, points(sweep))
            return sweep

    def _with_pressure(self, sweep: Sweep) -> Sweep:
        found = self._pressures.latest() if self._pressures is not None else {}
        hosts = (
            self._told_by_kernel(host, found.get(host.name, host.pressure)) for host in sweep.hosts
        )
        return replace(sweep, hosts=tuple(hosts))

    def _told_by_kernel(self, host: HostSample, pressure: Pressure | None) -> HostSample:
        """The host with its pressure, and its memory in use.

        As its kernel counts it, where that is told.

        That is read seldom: between two reads it is moved by as much as libvirt's count is.
        """
        if pressure is None or pressure.available is None or host.silent or not host.memory:
            return replace(host, pressure=pressure)
        known = self._corrections.get(host.name)
        if known is None or known[0] is not pressure:
            known = (pressure, host.memory - pressure.available - host.used)
            self._corrections[host.name] = known
        return replace(host, pressure=pressure, used=min(host.memory, max(0, host.used + known[1])))

    @property
    def newest(self) -> Sweep | None:
        """The newest sweep, whatever its age."""
        return self._sweep

    def keep_pools(self, seen: Snapshot) -> None:
        """Add the pools' use to the history; a snapshot knows them, a sweep does not."""
        if self._records:
            used = [
                (pool_entity(host.name, pool.name), float(pool.capacity - pool.free))
                for host in seen.hosts
                if host.up
                for pool in host.pools
                if pool.active
            ]
            points = tuple(Point(entity, {Metric.SPACE: space}) for entity, space in used)
            self._recorder.take(self._clock.now(), points)

    def write(self) -> None:
        """Write what waits and roll up.

        Called by the clock, apart from the sweeps: a busy database delays none.
        """
        if self._records:
            self._recorder.write(self._clock.now())

    def forget(self) -> None:
        """Drop history that is too old."""
        if self._records:
            self._series.forget(self._clock.now())

    def take_happenings(self) -> tuple[Happening, ...]:
        """Take what hosts told since this was last asked; each is told once."""
        found: list[Happening] = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._happened.popleft())
        return tuple(found)

    def tell(self, watches: Iterable[str]) -> None:
        """Keep what happened for each watch until it looks: they look at different times."""
        found = self.take_happenings()
        for name in watches:
            self.untold.setdefault(name, collections.deque(maxlen=_MOST_EVENTS)).extend(found)

    def measures(self) -> Measured:
        """What queries, watches and reports may look at. Without the database: the sweep alone."""
        losses = self._recorder.losses
        try:
            incidents, kept, changes = (
                all_incidents(self.notes),
                self._report_notes(),
                change_notes.all_changes(self.notes),
            )
        except StoreError as error:
            log.warning("incidents and reports cannot be read", error=str(error))
            return Measured(self._sweep, self._past, losses=replace(losses, why=str(error.text)))
        return Measured(self._sweep, self._past, incidents, losses, changes, kept)

    def close(self) -> None:
        """Write what waits, and let go of the hosts."""
        self.write()
        self._sampler.close()

    def _report_notes(self) -> Mapping[str, Memory]:
        texts = self.notes.notes(REPORT).items()
        return _Kept({key.removeprefix(REPORT): text for key, text in texts})


class _Kept(Mapping[str, Memory]):
    """What reports remembered, by name; read from its text when it is asked for, seldom."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __getitem__(self, name: str) -> Memory:
        found: Memory = json.loads(self._texts[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
