"""A libvirt network with DHCP inside a lab host.

Libvirt's own, by dnsmasq, in the host's namespaces.
"""

import shutil

from lab import packages
from lab.hosts import Lab

NETWORK = "lan"
"""Its name, which guests' cards are plugged into."""
_PACKAGES = (
    "dnsmasq-base",
    "libnftables1",
    "libjansson4",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libmnl0",
    "libnftnl11",
    "libxtables12",
    "libidn2-0",
    "libdbus-1-3",
    "libhogweed6",
    "libnettle8",
)
# Mode "open" writes no firewall rules: nothing but dnsmasq is wanted of it.
_XML = f"""
<network><name>{NETWORK}</name><forward mode='open'/><bridge name='virbr7' stp='off' delay='0'/>
<ip address='10.79.0.1' netmask='255.255.255.0'>
<dhcp><range start='10.79.0.100' end='10.79.0.199'/></dhcp></ip></network>
"""


def serve(lab: Lab, host: str) -> None:
    """Start the network; it ends with ``close``, or with the host.

    Guests on it get 10.79.0.100 to 199.

    dnsmasq is the installed one, or else Debian's, unpacked but not installed.

    Raises LabError when it cannot be had or does not start.
    """
    if shutil.which("dnsmasq") is None:
        _lend(lab, host)
    definition = lab.hosts[host].directory / "lan.xml"
    definition.write_text(_XML)
    lab.virsh(host, "net-create", str(definition))


def close(lab: Lab, host: str) -> None:
    """End the network."""
    lab.virsh(host, "net-destroy", NETWORK)


def _lend(lab: Lab, host: str) -> None:
    """Put a dnsmasq where the host's libvirtd looks for programs."""
    home = packages.unpacked("dnsmasq", _PACKAGES, "usr/sbin/dnsmasq")
    start = (
        f'#!/bin/sh\nLD_LIBRARY_PATH={packages.libraries(home)} exec {home}/usr/sbin/dnsmasq "$@"\n'
    )
    script = lab.hosts[host].directory / "dnsmasq"
    script.write_text(start)
    script.chmod(0o755)
    lab.run(host, "mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/usr/local/sbin")
    lab.run(host, "ln", "-s", str(script), "/usr/local/sbin/dnsmasq")
