"""libvirt's errors in our words: what it said, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import libvirt

from bot.domain.errors import HypervisorError

VendorError = Any
"""A ``libvirt.libvirtError``; the vendor publishes no types."""


@dataclass(frozen=True, slots=True)
class _Advice:
    """What to do about errors of these codes (none: any) whose message matches."""

    codes: frozenset[int]
    message: str
    advice: str


def _on(*codes: int, message: str = "", advice: str) -> _Advice:
    return _Advice(frozenset(codes), message, advice)


# Read top down; the first that fits is used. Codes: libvirt's virErrorNumber; messages: as libvirt 9 writes them.
_ADVICE: tuple[_Advice, ...] = (
    _on(libvirt.VIR_ERR_OPERATION_ABORTED, advice="It was cancelled; the guest should still run where it was."),
    _on(libvirt.VIR_ERR_MIGRATE_UNSAFE, advice="Its disks are not safe to share this way: set cache='none' or "
        "use --copy-storage."),
    _on(libvirt.VIR_ERR_MIGRATE_PERSIST_FAILED, advice="The guest did move; only its definition could not be stored "
        "there. Define it on the target before that host restarts."),
    _on(libvirt.VIR_ERR_MIGRATE_FINISH_OK, advice="The guest is on the target; look at its state there."),
    _on(libvirt.VIR_ERR_CPU_INCOMPATIBLE, advice="Choose a host with the same or newer CPUs, or give the guest a "
        "lower CPU model at its next start."),
    _on(message=r"in post-?copy|post-?copy (mode|phase|migration)", advice="A post-copy migration can only be "
        "finished; look at the network between the two hosts."),
    _on(message=r"unable to connect to (server|libvirtd)|Unable to connect|Failed to connect|Connection refused|"
        r"No route to host|unable to resolve|Name or service not known|Temporary failure in name resolution",
        advice="The source host's daemon could not reach the target: check its address, name resolution, libvirtd's "
        "port (16514 TLS, 22 SSH, 16509 TCP) and 49152-49215 for the memory."),
    _on(message=r"object-add.*(credentials|certificate)|migration out.*certificate", advice="QEMU's own "
        "certificates, in /etc/pki/qemu of both hosts, do not fit: see `host check` and `host pair`."),
    _on(libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_ACCESS_DENIED, advice="Credentials were refused: check the keys or certificates, those of "
        "the source host's daemon too."),
    _on(message=r"[Aa]uthentication|certificate|Permission denied|Host key", advice="Credentials were refused: check "
        "the keys or certificates, those of the source host's daemon too."),
    _on(message=r"client socket is closed|keepalive|End of file|Connection reset|timed out", advice="The connection "
        "between the two hosts broke: check the network between them, then look for the guest on both."),
    _on(libvirt.VIR_ERR_DOM_EXIST, message=r"already (exists|active|defined)", advice="Another guest there has this "
        "name or UUID; look at both before anything else."),
    _on(message=r"already (exists|active)|domain is already (active|running)", advice="Another guest there has this "
        "name or UUID; look at both before anything else."),
    _on(message=r"job .*(active|running|in progress)|another migration|state change lock|not in migration",
        advice="Another job holds the guest; wait for its end or cancel it."),
    _on(message=r"identical host UUID|localhost", advice="The two hosts look like one to libvirt: give each its own "
        "host_uuid and a name that does not resolve to localhost."),
    _on(message=r"snapshot", advice="Delete the snapshots or move the guest while it is off."),
    _on(message=r"Cannot access storage|No such file or directory|could not open|[Ss]torage.*not found|no storage",
        advice="The target does not see the guest's disks at the same path: use shared storage, or --copy-storage "
        "with a pool at that path."),
    _on(message=r"Cannot get interface MTU|[Nn]etwork .*not (found|active)|no network|bridge",
        advice="The target lacks the guest's bridge or network: create and start it there."),
    _on(message=r"[Uu]nsupported machine type|machine type|emulator", advice="The target's QEMU lacks what the guest "
        "needs: install the same or a newer version there."),
    _on(message=r"[Cc]annot allocate memory|[Cc]annot set up guest memory|[Oo]ut of memory", advice="The target has "
        "too little free memory: choose another host."),
    _on(message=r"cgroup", advice="The host has no CPU control group for its guests: check cgroups there."),
    _on(libvirt.VIR_ERR_NO_DOMAIN, advice="It moved or was removed meanwhile: ask again."),
    _on(libvirt.VIR_ERR_OPERATION_TIMEOUT, advice="Another job holds the guest; wait for its end or cancel it."),
    _on(libvirt.VIR_ERR_OPERATION_DENIED, advice="The connection is read-only: check the host's uri."),
    _on(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        advice="This host's libvirt or QEMU cannot do it: update it or choose another way."),
)  # fmt: skip
_OTHERWISE = "Look at the host's libvirtd log for more."

_NOISE = re.compile(r"^(?:(?:internal error|operation failed|Requested operation is not valid|unsupported configuration"
                    r"|argument unsupported|Operation not supported): ?)+", re.IGNORECASE)  # fmt: skip


def said(error: VendorError) -> str:
    """What libvirt said, without its prefix words and final stop."""
    text = str(error.get_error_message() or error).strip()
    return (_NOISE.sub("", text) or text).rstrip(".")


def advice(error: VendorError) -> str:
    """What to do about an error."""
    code, text = error.get_error_code(), str(error)
    for entry in _ADVICE:
        if (not entry.codes or code in entry.codes) and re.search(entry.message, text):
            return entry.advice
    return _OTHERWISE


def refusal(error: VendorError, what: str) -> HypervisorError:
    """Our error for libvirt's; ``what`` could not be done, as in “web-1 cannot move to host-b”."""
    return HypervisorError(f"{what}: {said(error)}.", advice(error))
