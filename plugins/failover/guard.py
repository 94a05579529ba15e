"""The guard, a hook of libvirt on hosts.

By it a host that has started anew starts no protected VM before Drover admits it.

Drover's own rules bind Drover alone. On a host that comes back from the dead, people, scripts and
``libvirt-guests`` can start the old copy of a VM that runs elsewhere by now; the hook refuses that
on the host itself, where the bot may reach nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bot.domain.card import Card, Context, Element, Listing, Section
from bot.domain.cluster import Host, Snapshot
from bot.domain.errors import DroverError
from bot.domain.message import words
from bot.plugin_api import View
from bot.ports import Shell
from plugins.failover.boot import ON, TAG
from plugins.failover.commands import chat, shell
from plugins.failover.intents import PROTECT, READMIT, Guard
from plugins.failover.sight import Sight

HOOK = "/etc/libvirt/hooks/qemu.d/drover"
"""Read by libvirt since 6.5, beside a hook that the site has already."""
ADMITTED = "/run/drover-admitted"
"""Holds the boot id of the host at which Drover admitted it; gone with the power."""
_AT_ONCE = 16  # hosts at once; each takes a shell and a thread
_DEADLINE = 5.0  # seconds

SCRIPT = f"""\
#!/bin/sh
# Drover's guard. A VM that Drover starts with its host (the tag {TAG}={ON}) does not start,
# resume or arrive here after this host has started anew, until Drover admits the host: it may run
# elsewhere. Where that cannot be told it does not start; every other VM does.
[ "$2" = prepare ] || exit 0
PATH=/usr/sbin:/usr/bin:/sbin:/bin
definition=$(cat)
case $definition in
    *'key="{TAG}" value="{ON}"'* | *"key='{TAG}' value='{ON}'"*) ;;
    *) exit 0 ;;
esac
boot=$(cat /proc/sys/kernel/random/boot_id)
[ -n "$boot" ] && [ "$boot" = "$(cat {ADMITTED} 2>/dev/null)" ] && exit 0
echo "Drover's guard: this host has started anew and is not admitted, so $1 may run elsewhere." \\
    "Drover admits it within a minute; one on hold by: {READMIT} HOST." \\
    "Without Drover, after looking at all other hosts:" \\
    "cp /proc/sys/kernel/random/boot_id {ADMITTED}" >&2
exit 1
"""

# The boot that Drover has seen, and no later one: it may have died meanwhile.
_ADMIT = f"""
[ -e {HOOK} ] || exit 0
[ "$(cat /proc/sys/kernel/random/boot_id)" = "$1" ] || exit 1
as_root() {{
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}}
echo "$1" | as_root tee {ADMITTED}.new >/dev/null && as_root mv -f {ADMITTED}.new {ADMITTED}
"""


def admit(sight: Sight, snapshot: Snapshot, hypervisor: Shell, *, anew: Sequence[str] = ()) -> None:
    """Let the guards of hosts know it, once for each of their boots.

    Those of hosts that answer and are not on hold.

    ``anew``: hosts that are told again.
    """
    due = [
        host
        for host in snapshot.hosts
        if host.up
        and not host.held
        and (boot := sight.boots.get(host.name, ""))
        and (sight.admitted.get(host.name) != boot or host.name in anew)
    ]
    if due:
        with ThreadPoolExecutor(min(_AT_ONCE, len(due)), thread_name_prefix="guard") as pool:
            list(pool.map(lambda host: _admit(sight, host, hypervisor), due))


def _admit(sight: Sight, host: Host, hypervisor: Shell) -> None:
    boot = sight.boots[host.name]
    argv = ["sh", "-c", _ADMIT, "sh", boot]
    try:
        told = hypervisor.run(host.name, argv, deadline=_DEADLINE)
    except DroverError:
        return  # the next look tries again
    if told is None or not told.code:
        sight.admitted[host.name] = boot


def show(about: Guard, view: View) -> Card:  # noqa: ARG001 - the shape of an answer
    """The hook, how it is put on a host, and what it does not do."""
    said = words(
        "The guard is a hook of libvirt that you may put on each host. After the host has started "
        "anew, it refuses the start of every VM that Drover starts with it (tag "
        "`failover.autostart=on`, set by {protect}), until Drover admits the host: by itself "
        "where the host is not on hold, else by {readmit}.",
        protect=chat(PROTECT),
        readmit=chat(f"{READMIT} HOST"),
    )
    steps = words(
        "As root on each host: write it to {hook}, {mode}, {admit} for the boot that is running, "
        "and restart libvirt's daemon once, so that it finds the hook (VMs run on). {check} tells "
        "whether it works.",
        hook=shell(HOOK),
        mode=shell(f"chmod 755 {HOOK}"),
        admit=shell(f"cp /proc/sys/kernel/random/boot_id {ADMITTED}"),
        check=chat("host check HOST"),
    )
    limits = words(
        "It needs libvirt 6.5, and SSH to the host as root or with sudo. It does not hinder a host "
        "that was only frozen or cut off, for that has not started anew, nor QEMU without libvirt, "
        "nor VMs without the tag. While Drover is down, a host that has started anew starts no "
        "protected VM; whoever has looked at all other hosts may admit it by hand with the command "
        "above."
    )
    elements: tuple[Element, ...] = (
        Section(said),
        Listing(SCRIPT.strip()),
        Section(steps),
        Context((limits,)),
    )
    return Card(said, words("Guard"), elements)
