"""A cluster of real libvirt hosts on one machine.

Start, guests, faults, and an end that leaves nothing.
"""

import string
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from lab import boot, daemon, gauges, guests, machine, network, releases, remains, storage
from lab.daemon import LabHost
from lab.errors import LabError
from lab.faults import Faults
from lab.guests import Guest
from lab.rooms import Room

_BOOT_S = 120
_MOST_HOSTS = 9
_LEAST_MIB = 256
_NO_TAGS: Mapping[str, str] = {}
_ALL_OF_THIS_MACHINE: Mapping[str, str] = {}


class Lab(Faults):
    """Real libvirtd and QEMU hosts ``host-a``, ``host-b``… in namespaces of their own.

    For the time of a ``with``.

    Needs root. Nothing of it is seen on the machine's own network, and nothing is left after the
    block, however
    the block or the process ends: a janitor process cleans up even after kill -9. Raises LabError,
    whose text says what to do, where the machine lacks something.

    Each host reports ``memory_mib`` of memory, by default as much as the machine has, less what its
    own processes use, and its own CPU time over the machine's CPUs.

    A host named in ``release`` runs libvirt and QEMU of that Debian release, such as ``trixie``;
    the others those of the machine. The first time that takes minutes (``lab.releases``).
    """

    def __init__(
        self,
        hosts: int = 3,
        *,
        memory_mib: int | None = None,
        release: Mapping[str, str] = _ALL_OF_THIS_MACHINE,
    ) -> None:
        if not 1 <= hosts <= _MOST_HOSTS:
            raise LabError(f"A lab has 1 to {_MOST_HOSTS} hosts, not {hosts}.")
        if memory_mib is not None and memory_mib < _LEAST_MIB:
            raise LabError(f"A host has {_LEAST_MIB} MiB of memory at least, not {memory_mib}.")
        self._memory_mib = memory_mib
        self._names = [f"host-{letter}" for letter in string.ascii_lowercase[:hosts]]
        if unknown := sorted(set(release) - set(self._names)):
            raise LabError(f"The lab has no host {unknown[0]!r}, only {', '.join(self._names)}.")
        self._release = dict(release)
        self.hosts: dict[str, LabHost] = {}
        self._rooms: dict[str, Room] = {}
        self._guests: dict[str, Guest] = {}

    def __enter__(self) -> Self:
        machine.demand()
        remains.sweep()
        self._image = boot.image()
        self._domain_type = machine.domain_type()
        self._trees = {name: releases.tree(each) for name, each in self._release.items()}
        self.directory = remains.claim()
        self._janitor = _janitor(self.directory)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for name in self.hosts:
                self._keep_capabilities(name)
        finally:
            self._end()

    def guest(
        self,
        name: str,
        *,
        host: str = "host-a",
        memory_mib: int = 128,
        vcpus: int = 1,
        load: float = 0.0,
        dirty_mib_s: float = 0.0,
        disk: Literal["shared", "local"] | None = "shared",
        tags: Mapping[str, str] = _NO_TAGS,
        running: bool = True,
        autostart: bool = False,
        persistent: bool = True,
    ) -> Guest:
        """Make a guest and, if it is to run, wait until it says that it is up.

        Args:
            name: Letters, digits, ``-``, ``_`` and ``.``; new in this lab.
            host: Where it starts.
            memory_mib: Its memory, 96 MiB at least.
            vcpus: Its virtual CPUs.
            load: What it burns, in vCPUs of all its vCPUs together: 0.3 is 30 % of one as the host
                sees it.
            dirty_mib_s: How much memory it rewrites, in MiB/s, spread over ``memory_mib`` - 72 MiB.
            disk: On storage every host reaches, in the host's own pool, or none.
            tags: Written to its definition's metadata.
            running: Start it; a transient guest always runs.
            autostart: Start it with its host.
            persistent: Keep its definition when it stops.

        Raises LabError on a wish that cannot be met, and when the guest does not come up.
        """
        if name in self._guests:
            raise LabError(
                f"The lab has a guest {name} already; it is on {self._guests[name].where()}."
            )
        wish = guests.Wish(name, memory_mib, vcpus, load, dirty_mib_s, tags)
        guests.check(wish)
        self._host(host)
        serial = self.directory / "serial" / f"{name}.log"
        element = self._disk(name, host, disk)
        identity, definition = guests.domain_xml(
            wish, self._domain_type, self._image, element, serial
        )
        guest = Guest(name, identity, serial, self._rooms)
        self._guests[name] = guest
        self._define(
            host, guest, definition, persistent=persistent, running=running, autostart=autostart
        )
        if running or not persistent:
            self._await_boot(guest)
        return guest

    def where(self, name: str) -> list[str]:
        """The hosts where a QEMU process of this guest exists, found without libvirt.

        Two during a migration.
        """
        return [host for host, room in self._rooms.items() if guests.processes(room, name)]

    def virsh(self, host: str, *args: str, check: bool = True) -> str:
        """Run virsh against a host and answer what it printed.

        LabError if it fails and ``check`` is true.
        """
        return daemon.virsh(self._host(host), *args, check=check)

    def run(self, host: str, *argv: str, check: bool = True) -> str:
        """Run a program inside a host, to its end.

        It holds up other orders to this host meanwhile.
        """
        return self._room(host).run(*argv, check=check)

    def install_release(self, host: str, release: str) -> None:
        """Give a host another Debian release's programs at its next start.

        As an upgrade does: what runs goes on with the old ones. Raises LabError as a new lab does.
        """
        self._trees[self._host(host).name] = releases.tree(release)

    def is_on(self, host: str) -> bool:
        """Whether a host has power."""
        return self._room(host).alive

    def pid(self, host: str) -> int:
        """The first process of a host, seen from outside.

        The way into its namespaces, as by nsenter.
        """
        return self._room(host).pid

    def _start(self) -> None:
        (self.directory / "serial").mkdir()
        addresses = {name: network.address(index) for index, name in enumerate(self._names)}
        names = "127.0.0.1 localhost\n" + "".join(
            f"{at} {name}\n" for name, at in addresses.items()
        )
        for name in self._names:
            self.hosts[name] = daemon.prepare(name, addresses[name], self.directory / name, names)
        with ThreadPoolExecutor(len(self._names) + 1) as pool:
            switch = pool.submit(Room, "switch", self.directory, groups=False)
            rooms = {name: pool.submit(self._new_room, name) for name in self._names}
            self._switch = switch.result()
            network.wire_switch(self._switch)
            self._storage = storage.SharedStorage(self._switch, self.directory / "shared")
            self._gauges = gauges.Gauges(self._rooms, self.directory, self._memory_mib)
            self._rooms |= {name: room.result() for name, room in rooms.items()}
            list(pool.map(self._start_host, self._names))
        self._gauges.start()

    def _new_room(self, name: str) -> Room:
        return Room(name, self.directory, groups=True)

    def _start_host(self, name: str) -> None:
        if name in self._trees:
            self._rooms[name].run("mount", "--bind", str(self._trees[name] / "usr"), "/usr")
        network.wire_host(self._switch, self._rooms[name], self._names.index(name))
        daemon.furnish(self.hosts[name], self._rooms[name])
        self._gauges.furnish(name)
        daemon.start(self.hosts[name], self._rooms[name])
        self._keep_capabilities(name)

    def _keep_capabilities(self, name: str) -> None:
        if name not in self._trees:  # theirs are of another libvirt
            daemon.keep_capabilities(self.hosts[name])

    def _end(self) -> None:
        """Let the janitor do it, as after a death.

        Then look once more, in case the janitor was killed.
        """
        if hasattr(self, "_gauges"):
            self._gauges.stop()
        assert self._janitor.stdin  # noqa: S101 - it was opened as a pipe
        self._janitor.stdin.close()
        self._janitor.wait()
        remains.remove(self.directory)
        for room in [*self._rooms.values(), *([self._switch] if hasattr(self, "_switch") else [])]:
            room.end()

    def _disk(self, name: str, host: str, kind: Literal["shared", "local"] | None) -> str:
        if kind == "shared":
            return storage.shared_xml(self._storage.disk(name))
        if kind == "local":
            volume = f"{name}.qcow2"
            size = f"{storage.DISK_MIB}M"
            self.virsh(host, "vol-create-as", storage.POOL, volume, size, "--format", "qcow2")
            return storage.local_xml(volume)
        return ""

    def _define(
        self,
        host: str,
        guest: Guest,
        definition: str,
        *,
        persistent: bool,
        running: bool,
        autostart: bool,
    ) -> None:
        path = self.directory / "serial" / f"{guest.name}.xml"
        path.write_text(definition)
        if not persistent:
            self.virsh(host, "create", str(path))
            return
        self.virsh(host, "define", str(path))
        if autostart:
            self.virsh(host, "autostart", guest.name)
        if running:
            self.virsh(host, "start", guest.name)

    def _await_boot(self, guest: Guest) -> None:
        deadline = time.monotonic() + _BOOT_S
        while not guest.boots():
            if time.monotonic() > deadline or not guest.where():
                raise LabError(
                    f"Guest {guest.name} did not come up; its serial line: {guest.serial_log()!r}"
                )
            time.sleep(0.05)


def _janitor(directory: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", remains.__file__, str(directory)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
