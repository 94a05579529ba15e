"""The lab's wires: a switch in a namespace of its own, links to every host.

Also ways to cut and narrow them.
"""

import subprocess

from lab.errors import LabError
from lab.rooms import Room

SWITCH = "10.77.0.1"
"""The switch's own address on the management network; shared disks are served from it."""
GUEST_BRIDGE = "br0"
"""The bridge in each host that guests are attached to.

Its uplink is apart from the management network.
"""

# A locally administered address that nobody has: the bridge delivers to no one, as a dead path
# does.
_NOBODY = "02:00:00:00:00:01"


def address(index: int) -> str:
    """The management and migration address of the host with this number, from 0."""
    return f"10.77.0.{11 + index}"


def wire_switch(switch: Room) -> None:
    """Make the two networks, management (also migration) and guests, as bridges in the switch."""
    # A bridge without an address of its own takes the lowest of its ports: when that host lost its
    # power, the others' disks would wait until the old one is forgotten, most of a minute.
    _links(
        switch,
        "link set lo up\nlink add name mgmt address 02:77:00:00:00:01 type bridge\n"
        "link add name guests address 02:77:00:00:01:01 type bridge\n"
        f"addr add {SWITCH}/24 dev mgmt\nlink set mgmt up\nlink set guests up\n",
    )


def wire_host(switch: Room, host: Room, index: int) -> None:
    """Plug a host into both networks.

    ``eth0`` with its address, ``eth1`` as uplink of its guest bridge.
    """
    management, guests = _ports(host)
    # A machine that boots keeps its cards' addresses. With another one, what its peers send goes
    # nowhere until they have forgotten the old one, and a lost SYN is sent again ever more seldom.
    own = [f"02:77:00:00:{part:02x}:{11 + index:02x}" for part in range(2)]
    _links(
        switch,
        f"link add name {management} type veth peer name eth0 address {own[0]} netns {host.pid}\n"
        f"link add name {guests} type veth peer name eth1 address {own[1]} netns {host.pid}\n"
        f"link set {management} master mgmt up\nlink set {guests} master guests up\n",
    )
    _links(
        host,
        f"link set lo up\naddr add {address(index)}/24 dev eth0\nlink set eth0 up\n",
    )
    make_guest_bridge(host)


def make_guest_bridge(host: Room) -> None:
    """Make the bridge guests are attached to, with the second link as its uplink."""
    _links(
        host,
        f"link add name {GUEST_BRIDGE} type bridge\nlink set eth1 master {GUEST_BRIDGE} up\n"
        f"link set {GUEST_BRIDGE} up\n",
    )


def unwire(switch: Room, host: Room) -> None:
    """Forget the links of a host that is off; the kernel may not have got round to it yet."""
    for port in _ports(host):
        switch.run("ip", "link", "del", port, check=False)


def unplug(switch: Room, host: Room) -> None:
    """Take both of a host's links down at the switch, as when cables are pulled."""
    _links(switch, "".join(f"link set {port} down\n" for port in _ports(host)))


def plug(switch: Room, host: Room) -> None:
    """Bring a host's links up again."""
    _links(switch, "".join(f"link set {port} up\n" for port in _ports(host)))


def part(one: Room, other: str) -> None:
    """Lose everything a host sends to one address, silently."""
    _links(one, f"neigh replace {other} lladdr {_NOBODY} dev eth0 nud permanent\n")


def join(one: Room, other: str) -> None:
    """Undo ``part``; nothing happens where there was none."""
    if _NOBODY in one.run("ip", "neigh", "show", other, "dev", "eth0"):
        _links(one, f"neigh del {other} dev eth0\n")


def narrow(host: Room, mib_s: float | None) -> None:
    """Limit what a host sends on the management network to ``mib_s`` MiB/s.

    None lifts the limit.
    """
    if mib_s is None:
        host.run("tc", "qdisc", "del", "dev", "eth0", "root", check=False)
        return
    if mib_s <= 0:
        raise LabError(
            "A bandwidth is more than nothing MiB/s; to stop all traffic cut the network instead."
        )
    rate = f"{round(mib_s * 8 * 1024 * 1024)}bit"
    shape = ["tbf", "rate", rate, "burst", "256kb", "latency", "100ms"]
    host.run("tc", "qdisc", "replace", "dev", "eth0", "root", *shape)


def _ports(host: Room) -> tuple[str, str]:
    return f"m-{host.name}", f"g-{host.name}"


def _links(room: Room, batch: str) -> None:
    """Give ``ip`` a batch in a room's network, from outside.

    Process ids in it are the machine's.
    """
    argv = ["nsenter", f"--net=/proc/{room.pid}/ns/net", "ip", "-batch", "-"]
    done = subprocess.run(argv, input=batch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"The network of {room.name} could not be set up: {done.stderr.strip()}")
