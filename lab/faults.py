"""Faults on demand: what a lab's hosts, wires and guests can be made to suffer.

Also how each is healed.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

from lab import daemon, guests, network, remains
from lab.daemon import LabHost
from lab.errors import LabError
from lab.rooms import Room

_PATIENCE_S = 20


class Faults:
    """The part of a lab that breaks things. Every method raises LabError on an unknown host."""

    hosts: dict[str, LabHost]
    _rooms: dict[str, Room]
    _switch: Room

    def kill_libvirtd(self, host: str, sig: int = signal.SIGKILL) -> None:
        """Send a signal to a host's libvirtd and wait until it is gone; its guests run on."""
        pid = self._host(host).libvirtd_pid
        if pid is None:
            raise LabError(f"{host} has no libvirtd to kill: start_libvirtd({host!r}) starts one.")
        os.kill(pid, sig)
        _await(lambda: self._host(host).libvirtd_pid is None, f"libvirtd of {host} is still there")

    def start_libvirtd(self, host: str) -> None:
        """Start a host's libvirtd again and wait until it answers."""
        if self._host(host).libvirtd_pid is not None:
            raise LabError(f"{host} has a libvirtd already.")
        daemon.start(self._host(host), self._room(host))

    def cut_network(self, host: str) -> None:
        """Pull a host's cables, management and guests.

        The unix socket of its ``uri`` still answers.
        """
        network.unplug(self._switch, self._room(host))

    def heal_network(self, host: str) -> None:
        """Plug a host's cables in again."""
        network.plug(self._switch, self._room(host))

    def cut_between(self, one: str, other: str) -> None:
        """Lose everything two hosts send each other, so no migration between them gets on.

        Others are reached.
        """
        network.part(self._room(one), self._host(other).address)
        network.part(self._room(other), self._host(one).address)

    def heal_between(self, one: str, other: str) -> None:
        """Let two hosts hear each other again."""
        network.join(self._room(one), self._host(other).address)
        network.join(self._room(other), self._host(one).address)

    def limit_bandwidth(self, host: str, mib_s: float | None) -> None:
        """Limit what a host sends to ``mib_s`` MiB/s, so that migrations from it last.

        None lifts the limit.
        """
        network.narrow(self._room(host), mib_s)

    def remove_bridge(self, host: str) -> None:
        """Take away the bridge guests are attached to."""
        self._room(host).run("ip", "link", "del", network.GUEST_BRIDGE)

    def restore_bridge(self, host: str) -> None:
        """Put the guests' bridge back."""
        network.make_guest_bridge(self._room(host))

    def freeze(self, host: str) -> None:
        """Stop a host's libvirtd and guests where they are.

        Connections to it open and then nothing answers.
        """
        self._signal_all(host, signal.SIGSTOP)

    def thaw(self, host: str) -> None:
        """Let a frozen host go on."""
        self._signal_all(host, signal.SIGCONT)

    def kill_guest(self, name: str) -> None:
        """Kill a guest's QEMU process wherever it runs, as the kernel does when memory ends."""
        found = [pid for room in self._rooms.values() for pid in guests.processes(room, name)]
        if not found:
            raise LabError(f"Guest {name} runs on no host, so there is nothing to kill.")
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _await(
            lambda: not any(guests.processes(room, name) for room in self._rooms.values()),
            f"guest {name} is still there",
        )

    @contextlib.contextmanager
    def guest_stopped(self, name: str) -> Iterator[None]:
        """Stop a guest's QEMU process where it is: it answers its libvirtd again afterwards."""
        found = [pid for room in self._rooms.values() for pid in guests.processes(room, name)]
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def power_off(self, host: str) -> None:
        """End a host at once, libvirtd and guests and all; its definitions and disks stay."""
        self._room(host).end()
        remains.remove_groups(self._room(host).groups)
        daemon.forget_run(self._host(host))

    def power_on(self, host: str) -> None:
        """Start a host that was powered off.

        Guests set to autostart start with it, others stay off.
        """
        if self._room(host).alive:
            raise LabError(f"{host} is on already.")
        network.unwire(self._switch, self._room(host))
        self._rooms[host] = self._new_room(host)
        self._start_host(host)

    def _new_room(self, name: str) -> Room:
        raise NotImplementedError

    def _start_host(self, name: str) -> None:
        raise NotImplementedError

    def _signal_all(self, host: str, number: int) -> None:
        for pid in self._room(host).pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _host(self, name: str) -> LabHost:
        try:
            return self.hosts[name]
        except KeyError:
            raise LabError(f"The lab has no host {name!r}, only {', '.join(self.hosts)}.") from None

    def _room(self, name: str) -> Room:
        return self._rooms[self._host(name).name]


def _await(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise LabError(f"After {_PATIENCE_S} s {otherwise}.")
        time.sleep(0.01)
