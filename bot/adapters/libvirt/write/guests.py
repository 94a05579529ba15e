"""The ports of single VMs and volumes on real hosts.

Guests made, changed and looked at one by one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

import libvirt

from bot.adapters.libvirt.read import backing, kept_definitions, vm_queries
from bot.adapters.libvirt.read.host_reader import HostReader
from bot.adapters.libvirt.transport.connections import Connection, open_connection
from bot.adapters.libvirt.transport.errors import refusal
from bot.adapters.libvirt.transport.parts import NONSENSE, nonsense
from bot.adapters.libvirt.write import domain_build, seed_iso, vm_commands, volumes
from bot.domain.backing import Storage
from bot.domain.definition import Definition, MaybeUnchanged
from bot.domain.errors import HostUnreachableError, HypervisorError
from bot.domain.message import Duration, Message, words
from bot.ports import Clock
from bot.ports.guests import (
    Address,
    Blueprint,
    Copy,
    DiskUse,
    FileSystem,
    Found,
    GuestDisk,
    GuestNic,
    GuestSnapshot,
    Seed,
    Volume,
)

T = TypeVar("T")

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

_CONSOLE_WIDTH = 400  # bytes a line is reckoned with when a log's tail is fetched


# Seconds for all volumes of a host; a share whose server is away answers never
_STORAGE_PATIENCE = 180.0


class LibvirtGuests:
    """The part of ``LibvirtHypervisor`` that works on single guests.

    What may take long (copies, uploads, starts, snapshots) goes over a connection of its own, so
    that it holds up nobody; a host that falls silent breaks it by its keepalive.
    """

    _clock: Clock

    def _reader(self, host: str) -> HostReader:
        raise NotImplementedError

    def _on(self, host: str, uuid: str, call: Callable[[Domain], T], what: Message) -> T:
        raise NotImplementedError

    def _ask(self, host: str, question: Callable[[Connection], T], what: Message) -> T:
        raise NotImplementedError

    # Volumes

    def volume(self, host: str, pool: str, name: str) -> Volume | None:
        """A volume; see the port."""
        refreshes, what = (
            self._reader(host).refreshes,
            words("The volumes of {host} could not be read", host=host),
        )
        return self._in_pool(host, pool, lambda it: volumes.find(it, pool, name, refreshes), what)

    def create_volume(
        self,
        host: str,
        pool: str,
        name: str,
        capacity: int,
        *,
        base: Volume | None = None,
        copy: bool = False,
    ) -> Volume:
        """Make a volume; see the port."""
        with self._at_length(
            host,
            words("{pool}/{name} could not be created on {host}", pool=pool, name=name, host=host),
        ) as connection:
            return volumes.make(connection, pool, name, capacity, base, copy)

    def storage(self, host: str, *, whole: bool = True, directories: bool = True) -> Storage:
        """Its images and who names them; see the port."""
        what = words("The storage of {host} could not be read", host=host)
        if not whole:
            refreshes = self._reader(host).refreshes
            quick = partial(
                backing.storage, whole=False, directories=directories, refreshes=refreshes
            )
            return self._ask(host, quick, what)

        def look() -> Storage:
            with self._at_length(host, what) as connection:
                return backing.storage(connection, whole=True, directories=directories)

        return _in_time(
            look,
            _STORAGE_PATIENCE,
            words("{what} within {time}.", what=what, time=Duration(_STORAGE_PATIENCE)),
        )

    def upload_seed(
        self, host: str, pool: str, name: str, seed: Seed, *, form: str = "raw"
    ) -> Volume:
        """Put a seed into a pool; see the port."""
        content = seed_iso.image(seed)
        with self._at_length(
            host,
            words(
                "The cloud-init seed {pool}/{name} could not be written on {host}",
                pool=pool,
                name=name,
                host=host,
            ),
        ) as connection:
            refreshes = self._reader(host).refreshes
            return volumes.upload(connection, pool, name, content, form=form, refreshes=refreshes)

    def delete_volume(self, host: str, pool: str, name: str) -> None:
        """Remove a volume; see the port."""
        refreshes, what = (
            self._reader(host).refreshes,
            words("{pool}/{name} could not be deleted on {host}", pool=pool, name=name, host=host),
        )
        self._in_pool(host, pool, lambda it: volumes.delete(it, pool, name, refreshes), what)

    # Definitions and power

    def define(self, host: str, blueprint: Blueprint) -> None:
        """Store a definition; see the port."""
        self._ask(
            host,
            lambda it: vm_commands.define(it, blueprint),
            words("{vm} could not be defined on {host}", vm=blueprint.name, host=host),
        )

    def define_copy(self, host: str, copy: Copy) -> None:
        """Store a definition like another one; see the port."""
        self._ask(
            host,
            lambda it: vm_commands.define_copy(it, copy),
            words("{vm} could not be defined on {host}", vm=copy.name, host=host),
        )

    def definitions(self, host: str, known: Collection[str] = ()) -> tuple[MaybeUnchanged, ...]:
        """The definitions of all its VMs; see the port.

        They are asked for a few at a time: who else asks the host meanwhile waits for no more
        than that, and no connection is opened for it.
        """
        what = words("The definitions on {host} could not be read", host=host)
        readout = kept_definitions.Readout(host, self._clock.now(), frozenset(known))
        while not self._ask(host, readout.go_on, what):
            pass  # every turn reads at least one of those that are left
        return tuple(readout.found.values())

    def define_kept(self, host: str, kept: Definition, *, reset_nvram: bool = False) -> None:
        """Store a definition that was read before; see the port."""
        self._ask(
            host,
            lambda it: kept_definitions.define(it, kept, reset_nvram=reset_nvram),
            words("{vm} could not be defined on {host}", vm=kept.name, host=host),
        )

    def not_copyable(self, host: str, uuid: str) -> tuple[Message, ...]:
        """What a copy cannot have as well; see the port."""
        return self._ask(
            host,
            lambda it: vm_commands.not_copyable(it, uuid),
            words("The definition could not be read"),
        )

    def undefine(self, host: str, uuid: str, *, keep_state: bool = False) -> None:
        """Forget a guest; see the port."""
        self._ask(
            host,
            lambda it: vm_commands.undefine(it, uuid, keep_state=keep_state),
            words("The VM could not be undefined"),
        )

    def find(self, host: str, uuid: str) -> Found | None:
        """The guest now; see the port."""
        return self._ask(
            host,
            lambda it: vm_queries.find(it, uuid),
            words("The VM could not be read from {host}", host=host),
        )

    def start(self, host: str, uuid: str) -> None:
        """Start a guest; see the port."""
        self._slowly(host, uuid, vm_commands.start, words("The VM did not start"))

    def shutdown(self, host: str, uuid: str) -> None:
        """Ask a guest to shut down; see the port."""
        self._on(host, uuid, vm_commands.shutdown, words("The VM could not be shut down"))

    def force_off(self, host: str, uuid: str) -> None:
        """Pull the plug; see the port."""
        self._slowly(host, uuid, vm_commands.force_off, words("The VM could not be powered off"))

    def wake(self, host: str, uuid: str) -> None:
        """Wake a guest that sleeps; see the port."""
        self._on(host, uuid, vm_commands.wake, words("The VM could not be woken"))

    def discard_saved(self, host: str, uuid: str) -> None:
        """Remove a guest's saved memory; see the port."""
        self._on(
            host, uuid, vm_commands.discard_saved, words("The saved memory could not be deleted")
        )

    def resize(self, host: str, uuid: str, *, vcpus: int, memory: int) -> bool:
        """Give it vCPUs and memory; see the port."""
        return self._on(
            host,
            uuid,
            lambda it: vm_commands.resize(it, vcpus, memory),
            words("The VM could not be resized"),
        )

    def rename(self, host: str, uuid: str, name: str) -> None:
        """Rename a guest that is off; see the port."""
        self._on(
            host,
            uuid,
            lambda it: vm_commands.rename(it, name),
            words("The VM could not be renamed"),
        )

    def set_tags(self, host: str, uuid: str, tags: Mapping[str, str]) -> None:
        """Replace its tags; see the port."""
        self._on(
            host,
            uuid,
            lambda it: vm_commands.set_tags(it, tags),
            words("The tags could not be set"),
        )

    def leave_mark(self, host: str, uuid: str, mark: str) -> None:
        """Leave a word in its definition; see the port."""
        self._on(
            host,
            uuid,
            lambda it: vm_commands.leave_mark(it, mark),
            words("The definition could not be changed"),
        )

    # Snapshots

    def snapshots(self, host: str, uuid: str) -> tuple[GuestSnapshot, ...]:
        """Its snapshots; see the port."""
        return self._on(host, uuid, vm_queries.snapshots, words("The snapshots could not be read"))

    def has_job(self, host: str, uuid: str) -> bool:
        """Whether something long is under way; see the port."""
        what = words("It could not be read what the VM is doing")
        return self._on(host, uuid, vm_queries.has_job, what)

    def create_snapshot(self, host: str, uuid: str, name: str, description: str = "") -> None:
        """Take a snapshot; see the port."""
        xml = domain_build.snapshot(name, description)
        self._slowly(
            host,
            uuid,
            lambda it: it.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE),
            words("Snapshot {name} could not be created", name=name),
        )

    def revert_snapshot(self, host: str, uuid: str, name: str) -> None:
        """Go back to a snapshot; see the port."""
        self._slowly(host, uuid, lambda it: it.revertToSnapshot(it.snapshotLookupByName(name)),
                     words("Revert to snapshot {name} failed", name=name))  # fmt: skip

    def delete_snapshot(self, host: str, uuid: str, name: str) -> None:
        """Remove a snapshot; see the port."""
        self._slowly(
            host,
            uuid,
            lambda it: vm_commands.delete_snapshot(it, name),
            words("Snapshot {name} could not be deleted", name=name),
        )

    # Devices

    def attach_disk(self, host: str, uuid: str, disk: GuestDisk) -> None:
        """Plug a volume in; see the port."""
        self._ask(
            host,
            lambda it: vm_commands.attach_disk(it, uuid, disk),
            words("Disk {target} could not be attached", target=disk.target),
        )

    def grow_disk(self, host: str, uuid: str, target: str, capacity: int) -> None:
        """Make a disk larger; see the port."""
        what = words("Disk {target} could not be resized", target=target)
        with self._at_length(host, what) as connection:
            vm_commands.grow_disk(connection, connection.lookupByUUIDString(uuid), target, capacity)

    def attach_nic(self, host: str, uuid: str, nic: GuestNic) -> None:
        """Plug a network card in; see the port."""
        element = domain_build.text(domain_build.nic(nic))
        self._on(
            host,
            uuid,
            lambda it: it.attachDeviceFlags(element, vm_commands.affected_flags(it)),
            words("The NIC could not be attached"),
        )

    def detach_nic(self, host: str, uuid: str, mac: str) -> None:
        """Take a network card out; see the port."""
        self._on(
            host,
            uuid,
            lambda it: vm_commands.detach_nic(it, mac),
            words("The NIC {mac} could not be detached", mac=mac),
        )

    def eject(self, host: str, uuid: str, target: str) -> None:
        """Take a medium out; see the port."""
        self._on(
            host,
            uuid,
            lambda it: vm_commands.eject(it, target),
            words("{target} could not be ejected", target=target),
        )

    # Looks

    def disks(self, host: str, uuid: str) -> tuple[DiskUse, ...]:
        """Its disks' sizes; see the port."""
        return self._on(host, uuid, vm_queries.disks, words("The disks could not be read"))

    def addresses(self, host: str, uuid: str) -> tuple[Address, ...]:
        """Its addresses; see the port."""
        return self._on(
            host, uuid, vm_queries.addresses, words("The IP addresses could not be read")
        )

    def file_systems(self, host: str, uuid: str) -> tuple[FileSystem, ...]:
        """Its file systems by its agent; see the port."""
        return self._on(
            host, uuid, vm_queries.file_systems, words("The file systems could not be read")
        )

    def screenshot(self, host: str, uuid: str) -> bytes:
        """Its screen as PNG; see the port."""
        with self._at_length(host, words("No screenshot could be taken")) as connection:
            return vm_queries.screenshot(connection, connection.lookupByUUIDString(uuid))

    def console(self, host: str, uuid: str, lines: int) -> str:
        """The last lines of its serial line; see the port."""
        what = words("The serial console cannot be read")
        with self._at_length(host, what) as connection:
            path = vm_queries.serial_log(connection.lookupByUUIDString(uuid))
            written = volumes.tail(connection, path, lines * _CONSOLE_WIDTH) if path else None
        if written is None:
            raise HypervisorError(
                words("{what}: it is not logged to a file in a storage pool.", what=what),
                words(
                    "VMs made with `/kvm vm create` are. For others, add `<log file=…/>` to "
                    "`<serial>`, with a path in a pool's directory."
                ),
            )
        return "\n".join(written.decode(errors="replace").replace("\r", "").splitlines()[-lines:])

    def _in_pool(
        self, host: str, pool: str, question: Callable[[Connection], T], what: Message
    ) -> T:
        """The answer to a question about a pool.

        One that is being read is told as slow, not its host as silent.

        A read that outlasts the deadline goes on: the question is put again when it is done.
        """
        try:
            return self._ask(host, question, what)
        except HostUnreachableError as error:
            reader = self._reader(host)
            if reader.refreshes.reading(pool):
                raise reader.refreshes.slow(pool) from error
            if reader.last.host.up and reader.look.is_connected:
                raise HostUnreachableError(
                    words(
                        "{host} answers, but its pool {pool} does not: libvirt is "
                        "refreshing it, or its storage is slow.",
                        host=host,
                        pool=pool,
                    ),
                    words("Drover asks again. Very many files or slow storage make a pool slow."),
                ) from error
            raise

    def _slowly(
        self, host: str, uuid: str, call: Callable[[Domain], object], what: Message
    ) -> None:
        with self._at_length(host, what) as connection:
            call(connection.lookupByUUIDString(uuid))

    @contextmanager
    def _at_length(self, host: str, what: Message) -> Iterator[Connection]:
        """A connection of its own for what may take longer than a host has for an answer."""
        reader = self._reader(host)
        connection = reader.act.ask(lambda _: open_connection(reader.address.uri))
        try:
            yield connection
        except libvirt.libvirtError as error:
            raise refusal(error, what) from error
        except NONSENSE as error:
            raise nonsense(error, what) from error
        finally:
            vm_queries.hang_up(connection)


def _in_time(work: Callable[[], T], seconds: float, otherwise: Message) -> T:
    """What ``work`` answers, if it does within ``seconds``.

    It goes on behind our back until its host lets go of it.

    Raises:
        HypervisorError: it did not.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            answers.put((None, error))

    threading.Thread(target=run, name="storage", daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise HypervisorError(
            otherwise,
            words("Check its storage pools with `virsh pool-list --details` on that host."),
        ) from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]
