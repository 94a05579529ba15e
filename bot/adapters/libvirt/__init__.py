"""KVM hosts through libvirt; the only place that imports it."""

from bot.adapters.libvirt.connections import HostAddress
from bot.adapters.libvirt.hypervisor import LibvirtHypervisor

__all__ = ["HostAddress", "LibvirtHypervisor"]
