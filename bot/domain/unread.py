"""Parts of a host that could not be read, and why."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.message import Message, Words, words

_NAMED = {
    "VM": words("VM {name}"),
    "block-job": words("the block job of disk {name}"),
    "checkpoint": words("checkpoint {name}"),
    "checkpoints": words("the checkpoints of VM {name}"),
    "definition": words("the definition of VM {name}"),
    "device": words("device {name}"),
    "disk-format": words("the format of disk {name}"),
    "interface": words("interface {name}"),
    "network": words("network {name}"),
    "pool": words("pool {name}"),
    "secret": words("secret {name}"),
    "snapshot": words("snapshot {name}"),
    "snapshots": words("the snapshots of VM {name}"),
}
_WHOLE = {
    "VM": words("all VMs"),
    "autostart": words("which VMs start with the host"),
    "capabilities": words("the capabilities of the host"),
    "checkpoint": words("all checkpoints"),
    "checkpoints": words("its checkpoints"),
    "cpu-load": words("the CPU load"),
    "cpus": words("the number of CPUs"),
    "definition": words("its definition"),
    "device": words("all devices"),
    "disk-bases": words("what its disks stand on"),
    "free-huge-pages": words("the free huge pages"),
    "free-memory": words("the free memory"),
    "host-name": words("the name of the host"),
    "huge-pages": words("the huge pages of the host"),
    "interface": words("all interfaces"),
    "job": words("its job"),
    "libvirt-version": words("the version of libvirt"),
    "live-definition": words("its live definition"),
    "memory": words("the memory size"),
    "network": words("all networks"),
    "persistent": words("whether its definition is stored"),
    "pool": words("all pools"),
    "qemu-version": words("the version of QEMU"),
    "saved-memory": words("which VMs have saved memory"),
    "secret": words("all secrets"),
    "snapshot": words("all snapshots"),
    "snapshot-count": words("the number of its snapshots"),
    "snapshot-numbers": words("the numbers of its snapshots"),
    "snapshots": words("its snapshots"),
    "stored-definition": words("its stored definition"),
}


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of a host that could not be read, and why.

    ``kind`` is a code of what it is (interface, network, pool, …); ``name`` '' stands for all of
    that kind.
    """

    kind: str
    name: str
    why: Message

    @property
    def what(self) -> Message:
        """What it is, such as ``pool fast`` or ``all pools``."""
        if not self.name:
            return _WHOLE.get(self.kind, self.kind)
        named = _NAMED.get(self.kind)
        if named is None:
            return f"{self.kind} {self.name}"
        return Words(named.template, {"name": self.name})

    @property
    def text(self) -> Words:
        """What it is and why, such as ``pool fast: permission denied``."""
        return words("{what}: {why}", what=self.what, why=self.why)
