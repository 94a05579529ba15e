"""libvirt's errors in our words: what it said, and what to do about it.

Advice goes by the error's code, domain and errno, and by whether a migration or something else was
asked for. Only where libvirt gives many failures one code is its message looked at, and then for a
whole phrase of libvirt's or QEMU's own source, under the codes that carry it. What fits nothing
gets no guess.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import libvirt

from bot.domain.errors import HypervisorError
from bot.domain.steps import MigrateVm
from bot.domain.words import fill_advice

VendorError = Any
"""A ``libvirt.libvirtError``; the vendor publishes no types."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Advice for errors of one kind.

    ``codes``, ``domains``, ``errnos``: empty means any. ``phrase``: a regular expression that the
    message must contain.
    ``move``: for a migration, where ``advice`` may name {vm}, {source} and {target}; otherwise for
    all else.
    """

    advice: str
    codes: frozenset[int] = frozenset()
    domains: frozenset[int] = frozenset()
    errnos: frozenset[int] = frozenset()
    phrase: str = ""
    move: bool = False

    def fits(self, error: VendorError, *, move: bool) -> bool:
        """Tell whether this advice is for ``error``."""
        return (
            self.move is move
            and (not self.codes or error.get_error_code() in self.codes)
            and (not self.domains or error.get_error_domain() in self.domains)
            and (not self.errnos or error.get_int1() in self.errnos)
            and (
                not self.phrase
                or re.search(self.phrase, str(error.get_error_message() or error)) is not None
            )
        )


def _all(advice: str, *codes: int, domains: tuple[int, ...] = (), errnos: tuple[int, ...] = (), phrase: str = "",
         moving: str = "") -> Iterator[Entry]:  # fmt: skip
    """Give an entry for everything but a migration, and one for a migration (``moving``, or the same advice)."""
    where = frozenset(codes), frozenset(domains), frozenset(errnos), phrase
    yield Entry(moving or advice, *where, move=True)
    if advice:
        yield Entry(advice, *where)


def _on_move(advice: str, *codes: int, **where: Any) -> Iterator[Entry]:
    return _all("", *codes, moving=advice, **where)


_REACH = (
    "{source} could not reach the libvirt of {target}: check `migrate_uri` of {target}, name resolution on {source}, "
    "and the port (16514 TLS, 22 SSH, 16509 TCP; 49152-49215 for the memory)."
)
_BROKE = "The connection between {source} and {target} broke: check the network, then see on which host it is: `where {vm}`."
_TAKEN = "{target} already has a VM with this name or UUID: compare both before anything else."
_SAME = "libvirt takes {source} and {target} for one host: `host pair {source} {target}` shows what to set."
_LOCALHOST = (
    "The libvirt of {target} gives a name for itself that means localhost: set `migrate_data_uri` of {target} in the "
    "configuration, or correct its host name."
)
_KEYS = "Credentials were refused: check keys and certificates, those between {source} and {target} too."
_QEMU_TLS = "QEMU's own certificates, in /etc/pki/qemu of both hosts, do not fit: see `host pair {source} {target}`."
_SPACE = "The file system that holds what libvirt names has no space left: make room there, or choose another place."
_ACCESS = "libvirt was not permitted to use what it names: check its owner, its mode, and AppArmor or SELinux there."
_MEMORY = "The host could not give the VM its memory: choose another host, or look at what uses memory there."
_JOB = "Another job holds the VM: wait for its end, or cancel it."
_GONE = "It moved or was removed meanwhile: ask again."
_CPU = "{target} lacks CPU features that {vm} uses: choose another host, or lower its CPU model at its next start."
_CANNOT = "The libvirt or QEMU there does not support this for this VM."
_SNAPSHOTS = (
    "libvirt does not move a VM that has snapshots. Leave it on {source}, or see which ones are still needed: "
    "`vm snapshot list {vm}`."
)

# Codes that carry whatever went wrong inside libvirt or QEMU; for these the phrases are.
_VAGUE = (
    libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
)  # fmt: skip
_CONNECTIONS = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
_UNREACHED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)

# Read top down; the first that fits is used. Phrases are from the sources of libvirt 9-11 and QEMU
# 7-9.
ENTRIES: tuple[Entry, ...] = (
    *_all("It was cancelled.", libvirt.VIR_ERR_OPERATION_ABORTED,
          moving="It was cancelled; {vm} should still run on {source}."),
    *_on_move("libvirt on {source} does not know the file system of its disks as one that hosts share. If it is "
              "shared, declare it in the configuration: `[[pools]]` with `shared = true`. If not, see `where {vm}`.",
              libvirt.VIR_ERR_MIGRATE_UNSAFE),
    *_on_move("{vm} did move; only its definition could not be stored on {target}. Store it before that host restarts: "
              "`virsh dumpxml {vm}` there, and `virsh define` what it prints.", libvirt.VIR_ERR_MIGRATE_PERSIST_FAILED),
    *_on_move("{vm} is on {target}; look at its state there.", libvirt.VIR_ERR_MIGRATE_FINISH_OK),
    *_on_move(_CPU, libvirt.VIR_ERR_CPU_INCOMPATIBLE),
    *_all("The CPU of this host lacks features that the VM needs: start it on another one, or lower its CPU model.",
          libvirt.VIR_ERR_CPU_INCOMPATIBLE),
    *_all("Credentials were refused: check the keys or certificates.", libvirt.VIR_ERR_AUTH_FAILED,
          libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_AUTH_UNAVAILABLE, libvirt.VIR_ERR_ACCESS_DENIED,
          moving=_KEYS),
    *_on_move("{target} has no secret with the UUID that a disk of {vm} names: define the same one there (`virsh "
              "secret-define`, `virsh secret-set-value`).", libvirt.VIR_ERR_NO_SECRET),
    *_all("The host has no secret with the UUID that a disk names: define it there (`virsh secret-define`).",
          libvirt.VIR_ERR_NO_SECRET),
    *_all("The host has no such pool: see `show host`.", libvirt.VIR_ERR_NO_STORAGE_POOL,
          moving="{target} lacks a storage pool that {vm} uses: define and start it there."),
    *_all("The host has no such volume: it was removed meanwhile, or never was there.", libvirt.VIR_ERR_NO_STORAGE_VOL,
          moving="{target} lacks a volume that {vm} uses: see `where {vm}`."),
    *_all("A volume with this name is there already: nothing was overwritten.", libvirt.VIR_ERR_STORAGE_VOL_EXIST),
    *_all("The host has no such network, or it is not started.", libvirt.VIR_ERR_NO_NETWORK,
          moving="{target} lacks a network that {vm} uses: define and start it there."),
    *_all("The VM has no such snapshot: `vm snapshot list` shows those that it has.",
          libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT),
    *_all(_TAKEN.replace("{target}", "The host"), libvirt.VIR_ERR_DOM_EXIST, moving=_TAKEN),
    *_all(_GONE, libvirt.VIR_ERR_NO_DOMAIN),
    *_all(_JOB, libvirt.VIR_ERR_OPERATION_TIMEOUT),
    *_all("The guest agent inside the VM does not answer: is qemu-guest-agent running there?",
          libvirt.VIR_ERR_AGENT_UNRESPONSIVE),
    *_all("The connection is read-only: check the host's uri.", libvirt.VIR_ERR_OPERATION_DENIED),
    *_on_move(_REACH, domains=_CONNECTIONS, errnos=_UNREACHED),
    *_on_move(_BROKE, domains=_CONNECTIONS),
    *_all(_SPACE, libvirt.VIR_ERR_SYSTEM_ERROR, errnos=(errno.ENOSPC, errno.EDQUOT)),
    *_all(_ACCESS, libvirt.VIR_ERR_SYSTEM_ERROR, errnos=(errno.EACCES, errno.EPERM)),
    *_all(_MEMORY, libvirt.VIR_ERR_SYSTEM_ERROR, errnos=(errno.ENOMEM,)),
    *_all("The host has no such network device: create it there.", libvirt.VIR_ERR_SYSTEM_ERROR, errnos=(errno.ENODEV,),
          moving="{target} has no such network device: create it there, or choose another host."),
    *_all("The host lacks the file or folder that libvirt names.", libvirt.VIR_ERR_SYSTEM_ERROR, errnos=(errno.ENOENT,),
          moving="{target} lacks the file or folder that libvirt names: put it there, or choose another host."),
    # One code for many failures: whole phrases.
    *_on_move(_REACH, *_VAGUE, phrase=r"[Ff]ailed to connect to remote libvirt URI |unable to connect to server at '"),
    *_on_move(_BROKE, *_VAGUE, phrase=r"Lost connection to destination host|client socket is closed"),
    *_on_move(_LOCALHOST, *_VAGUE, phrase=r"hostname on destination resolved to localhost, but migration requires"),
    *_on_move(_SAME, *_VAGUE, phrase=r"Attempt to migrate guest to the same host "),
    *_on_move(_TAKEN, *_VAGUE, phrase=r"domain '.*' (already exists|is already defined) with uuid |"
                                      r"domain is already active as '"),
    *_on_move(_SNAPSHOTS, *_VAGUE, phrase=r"cannot migrate domain with \d+ snapshots"),
    *_on_move(_CPU, *_VAGUE, phrase=r"guest CPU doesn't match specification: (missing|extra) features: |"
                                    r"guest and host CPU are not compatible: "),
    *_on_move("All ports for migrations on {target} are in use (`migration_port_min` and `_max` in its qemu.conf): "
              "wait until fewer migrations run there.", *_VAGUE,
              phrase=r"Unable to find an unused port in range 'migration'"),
    *_all("All ports of that range on the host are in use (see its qemu.conf).", *_VAGUE,
          phrase=r"Unable to find an unused port in range '"),
    *_on_move("The kernel of {target} does not let QEMU use userfaultfd, which post-copy needs: allow it there "
              "(`sysctl vm.unprivileged_userfaultfd=1`), or use `--policy fast`.", *_VAGUE,
              phrase=r"userfaultfd not available: "),
    *_on_move("An address or port that {vm} listens on cannot be had on {target}: let it listen on 0.0.0.0 with "
              "`autoport`, or choose another host.", *_VAGUE,
              phrase=r"Failed to (bind socket|find an available port): (Cannot assign requested address|Address "
                     r"already in use)"),
    *_all(_SPACE, *_VAGUE, phrase=r": No space left on device"),
    *_all(_MEMORY, *_VAGUE, phrase=r"cannot set up guest memory '|unable to map backing store for guest RAM"),
    *_on_move(_QEMU_TLS, *_VAGUE, phrase=r"QEMU command 'object-add': Unable to access credentials|"
                                         r"job 'migration out' failed: .*[Cc]ertificate"),
    *_all("A post-copy migration can only be finished: look at the network between the two hosts.", *_VAGUE,
          phrase=r"cannot abort migration in post-copy mode"),
    *_all(_JOB, *_VAGUE, phrase=r"another migration job is already running for domain|domain has active block job"),
    *_on_move("QEMU on {target} does not know the machine type of {vm}: install the same or a newer version there.",
              *_VAGUE, phrase=r"Emulator '?.*'? ?does not support machine type '"),
    *_all("The host has no CPU control group for its VMs: check cgroups there.", *_VAGUE,
          phrase=r"cgroup CPU controller is not mounted"),
    *_all(_CANNOT, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
          libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED),
)  # fmt: skip
OTHERWISE = "Look at the host's libvirt log for more."
OTHERWISE_MOVING = "Look at the libvirt logs of {source} and {target} for more."

_NOISE = re.compile(
    r"^(?:(?:internal error|operation failed|Requested operation is not valid|unsupported configuration"
    r"|argument unsupported|Operation not supported): ?)+",
    re.IGNORECASE,
)


def said(error: VendorError) -> str:
    """What libvirt said, without its prefix words and final stop."""
    text = str(error.get_error_message() or error).strip()
    return (_NOISE.sub("", text) or text).rstrip(".")


def advice(error: VendorError, move: MigrateVm | None = None) -> str:
    """Return what to do about an error; ``move``: the migration that it kept from succeeding."""
    moving = move is not None
    found = next((each.advice for each in ENTRIES if each.fits(error, move=moving)), "")
    if move is None:
        return found or OTHERWISE
    return fill_advice(
        found or OTHERWISE_MOVING, vm=move.name, source=move.source, target=move.target
    )


def refusal(error: VendorError, what: str, move: MigrateVm | None = None) -> HypervisorError:
    """Our error for libvirt's; ``what`` could not be done, as in “web-1 cannot move to host-b”."""
    return HypervisorError(f"{what}: {said(error)}.", advice(error, move))
