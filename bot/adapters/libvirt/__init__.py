"""KVM hosts through libvirt; the only place that imports it."""

from bot.adapters.libvirt.hypervisor import LibvirtHypervisor
from bot.adapters.libvirt.transport.connections import HostAddress

__all__ = ["HostAddress", "LibvirtHypervisor"]
