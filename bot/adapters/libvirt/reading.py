"""One host as it is now, from one short visit, and as it was last when it does not answer."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import libvirt

from bot.adapters.libvirt.connections import Connection, HostAddress, Line, Pending
from bot.adapters.libvirt.domain_xml import Definition
from bot.adapters.libvirt.events import Listening
from bot.adapters.libvirt.inventory import Definitions, Facts, autostarting, facts, huge_pages, saved
from bot.adapters.libvirt.refusals import said
from bot.adapters.libvirt.stats import Meter, Sample, free_memory, host_busy_ns, sweep
from bot.domain.cluster import Health, Host, Vm
from bot.domain.errors import HostUnreachableError
from bot.ports import Clock

_FACTS_OLDEST = 30.0
_DEFINITIONS_OLDEST = 120.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One host and its guests. ``definitions`` by UUID and ``facts`` are for looking deeper."""

    host: Host
    vms: tuple[Vm, ...] = ()
    definitions: dict[str, Definition] = field(default_factory=dict)
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class Marks:
    """UUIDs of the VMs that start with the host, and of those whose memory is saved."""

    starting: frozenset[str]
    saved: frozenset[str]


class HostReader:
    """Reads one host, over and over, and remembers what it must between two readings.

    Two lines lead to the host: ``look`` for sweeps (read-only where configured) and ``act`` for everything that
    waits for a guest or changes it, so that neither queues behind the other.
    """

    def __init__(self, address: HostAddress, *, clock: Clock, deadline: float) -> None:
        self.address = address
        self._clock = clock
        self._definitions = Definitions(_DEFINITIONS_OLDEST)
        self._facts: tuple[float, Facts] | None = None
        self._host_meter = Meter()
        self._meters: dict[str, Meter] = {}
        listening = Listening(self._definitions.changed, self._forget_facts)
        self._listening = listening
        self.look = Line(
            address.name,
            address.read_only_uri or address.uri,
            clock=clock,
            deadline=deadline,
            read_only=bool(address.read_only_uri),
            opened=self._opened,
            closing=listening.end,
        )
        self.act = Line(address.name, address.uri, clock=clock, deadline=deadline, threads=4)
        self.last = Reading(self._unknown())

    def begin(self, focus: Collection[str]) -> Pending[Reading]:
        """Start a reading; guests in ``focus`` (names or UUIDs), and then the host's facts, are read anew."""
        return self.look.send(lambda connection: self._read(connection, focus))

    def finish(self, pending: Pending[Reading], until: float) -> Reading:
        """The reading, or the last one with what kept the host from answering; it never raises for a host's sake.

        A host whose connection stands but which did not answer is STALE, one without a connection UNREACHABLE.
        """
        try:
            self.last = pending.wait(until)
        except HostUnreachableError as error:
            return self._as_last_seen(error.text)
        except libvirt.libvirtError as error:
            return self._as_last_seen(said(error))
        except ValueError as error:
            return self._as_last_seen(f"its answer makes no sense: {error}")
        return self.last

    def close(self) -> None:
        """Let go of both lines."""
        self.look.close()
        self.act.close()

    def _as_last_seen(self, problem: str) -> Reading:
        health = Health.STALE if self.look.connected else Health.UNREACHABLE
        return replace(self.last, host=replace(self.last.host, health=health, problem=problem.rstrip("."), cpu=None))

    def _read(self, connection: Connection, focus: Collection[str]) -> Reading:
        known = self._known_facts(connection, fresh=bool(focus))
        busy = host_busy_ns(connection)
        samples = sweep(connection)
        at = time.monotonic()
        marks = Marks(autostarting(connection), saved(connection))
        free = free_memory(connection)
        definitions: dict[str, Definition] = {}
        vms = []
        for sample in samples:
            fresh = sample.uuid in focus or sample.name in focus
            vm = self._vm(connection, sample, at, marks, definitions, fresh=fresh)
            if vm is not None:
                vms.append(vm)
        self._tidy(definitions)
        cpu = None if busy is None else self._host_meter.load(*busy)
        host = replace(self._host(known, free, cpu), huge_pages=huge_pages(connection, known))
        return Reading(host, tuple(vms), definitions, known)

    def _vm(
        self,
        connection: Connection,
        sample: Sample,
        at: float,
        marks: Marks,
        definitions: dict[str, Definition],
        *,
        fresh: bool,
    ) -> Vm | None:
        """The guest; None when it left the host during the reading."""
        try:
            definition, persistent, snapshots = self._definitions.read(connection, sample.uuid, fresh=fresh)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        definitions[sample.uuid] = definition
        return Vm(
            uuid=sample.uuid,
            name=sample.name,
            host=self.address.name,
            state=sample.state,
            vcpus=definition.vcpus,
            memory=definition.memory,
            memory_max=definition.memory_max,
            cpu=self._load(sample, at),
            persistent=persistent,
            autostart=sample.uuid in marks.starting,
            paused_by=sample.paused_by,
            scheduler=definition.scheduler,
            tags=definition.tags,
            detail=replace(definition.detail, snapshots=snapshots) if snapshots else definition.detail,
            saved=not sample.state.active and sample.uuid in marks.saved,
        )

    def _load(self, sample: Sample, at: float) -> float | None:
        if not sample.state.active or sample.cpu_ns is None:
            self._meters.pop(sample.uuid, None)
            return None
        meter = self._meters.get(sample.uuid)
        if meter is None:
            meter = self._meters[sample.uuid] = Meter()
        return meter.load(at, sample.cpu_ns)

    def _tidy(self, definitions: dict[str, Definition]) -> None:
        self._definitions.keep(definitions)
        for uuid in self._meters.keys() - definitions.keys():
            self._meters.pop(uuid, None)

    def _known_facts(self, connection: Connection, *, fresh: bool) -> Facts:
        known, now = self._facts, time.monotonic()
        if known is None or fresh or now - known[0] > _FACTS_OLDEST:
            known = self._facts = (now, facts(connection))
        return known[1]

    def _forget_facts(self) -> None:
        self._facts = None

    def _opened(self, connection: Connection) -> None:
        """A new connection: what happened while there was none is unknown."""
        self._definitions.forget()
        self._forget_facts()
        self._listening.begin(connection)

    def _host(self, known: Facts, free: int, cpu: float | None) -> Host:
        return replace(
            self._unknown(),
            health=Health.UP,
            seen_at=self._clock.now(),
            problem="",
            uuid=known.uuid,
            hostname=known.hostname,
            cpus=known.cpus,
            memory=known.memory,
            memory_free=free,
            cpu=cpu,
            cpu_model=known.cpu_model,
            arch=known.arch,
            hypervisor_version=known.hypervisor_version,
            libvirt_version=known.libvirt_version,
            machines=known.machines,
            bridges=known.bridges,
            networks=known.networks,
            pools=known.pools,
        )

    def _unknown(self) -> Host:
        address = self.address
        return Host(
            name=address.name,
            health=Health.UNREACHABLE,
            problem="never seen",
            reserve=address.reserve,
            tags=address.tags,
            migrate_address=urlsplit(address.migrate_data_uri).hostname or "",
        )
