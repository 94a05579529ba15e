"""libvirt's errors as ours: what libvirt reported, a code, and what to do about it.

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
from typing import TypeAlias

import libvirt

from bot.domain.errors import VM_GONE, HypervisorError
from bot.domain.message import Code, Message, Value, Words, words
from bot.domain.steps import MigrateVm
from bot.domain.words import command, virsh_name

VendorError: TypeAlias = libvirt.libvirtError
"""A ``libvirt.libvirtError``; the vendor publishes no types."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Advice for errors of one kind.

    ``code``: of our error. ``codes``, ``domains``, ``errnos`` of libvirt's: empty means any.
    ``phrase``: a regular expression that the message must contain. ``move``: for a migration, where
    ``advice`` may have the holes of ``_about``; otherwise for all else.
    """

    code: str
    advice: Words
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
                or re.search(self.phrase, _without_names(error), re.MULTILINE) is not None
            )
        )


_QUOTED = re.compile(r"'[^'\n]*[ /][^'\n]*'")


def _without_names(error: VendorError) -> str:
    """The message without what it quotes, such as names and paths: people may call a VM anything.

    Single words stay: they are libvirt's own.
    """
    return _QUOTED.sub("'…'", str(error.get_error_message() or error))


def _entries(
    code: str,
    *codes: int,
    advice: Words | None = None,
    moving: Words | None = None,
    domains: tuple[int, ...] = (),
    errnos: tuple[int, ...] = (),
    phrase: str = "",
) -> Iterator[Entry]:
    """Yield entries for migrations and for all else.

    With ``moving`` alone, for migrations only; with ``advice`` alone, the same advice for both.
    """
    where = frozenset(codes), frozenset(domains), frozenset(errnos), phrase
    if (on_move := moving or advice) is not None:
        yield Entry(code, on_move, *where, move=True)
    if advice is not None:
        yield Entry(code, advice, *where)


_REACH = words(
    "{source} could not connect to libvirt on {target}. Check `migrate_uri` of {target}, name "
    "resolution on {source}, and the port (16514 TLS, 22 SSH, 16509 TCP; 49152-49215 for memory)."
)
_BROKE = words(
    "The connection between {source} and {target} broke. Check the network, then see which host "
    "the VM is on: {where}."
)
_TAKEN = words("{target} already has a VM with this name or UUID. Compare the two VMs first.")
_SAME = words("libvirt takes {source} and {target} for the same host. {pair} shows what to set.")
_LOCALHOST = words(
    "libvirt on {target} gives a host name that resolves to localhost. Set `migrate_data_uri` of "
    "{target} in the configuration, or correct its host name."
)
_KEYS = words(
    "Credentials were refused. Check keys and certificates, also those between {source} and "
    "{target}."
)
_QEMU_TLS = words(
    "The QEMU certificates in /etc/pki/qemu of the two hosts do not match. See {pair}."
)
_SPACE = words(
    "The file system of the file that libvirt names has no space left. Free space there, or choose "
    "another place."
)
_ACCESS = words(
    "libvirt has no permission for the file that it names. Check its owner, its mode, and AppArmor "
    "or SELinux on that host."
)
_MEMORY = words(
    "The host could not give the VM its memory. Choose another host, or check what uses memory "
    "there."
)
_JOB = words("Another job runs on the VM. Wait until it ends, or cancel it.")
_LOCKED = words(
    "Something else has a disk of the VM open, or its lock outlived it: see which host uses the "
    "disk. Drover breaks no lock."
)
_GONE = words("The VM moved or was removed meanwhile: ask again.")
_CPU = words(
    "{target} lacks CPU features that {vm} uses. Choose another host, or set a lower CPU model "
    "before its next start."
)
_CANNOT = words("libvirt or QEMU on that host does not support this for this VM.")
_SNAPSHOTS = words(
    "libvirt cannot migrate a VM that has snapshots. Leave it on {source}, or check "
    "which snapshots you still need: {snapshots}."
)

_LOCKSPACE = (libvirt.VIR_ERR_RESOURCE_BUSY, libvirt.VIR_ERR_SYSTEM_ERROR)

# Codes that carry whatever went wrong inside libvirt or QEMU; for these the phrases are.
_VAGUE = (
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_OPERATION_FAILED,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
)
_CONNECTIONS = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
_UNREACHED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)

_BY_CODE: tuple[Entry, ...] = (
    *_entries(
        "cancelled",
        libvirt.VIR_ERR_OPERATION_ABORTED,
        advice=words("It was cancelled."),
        moving=words("It was cancelled. {vm} should still run on {source}."),
    ),
    *_entries(
        "unsafe-storage",
        libvirt.VIR_ERR_MIGRATE_UNSAFE,
        moving=words(
            "libvirt on {source} does not know the file system of its disks as shared. If it is "
            "shared, declare it in the configuration: `[[pools]]` with `shared = true`. If not, "
            "see {where}."
        ),
    ),
    *_entries(
        "not-stored-on-target",
        libvirt.VIR_ERR_MIGRATE_PERSIST_FAILED,
        moving=words(
            "{vm} did move. Only its definition could not be stored on {target}. Store it before "
            "that host restarts: run {dump} there, then `virsh define` with its output."
        ),
    ),
    *_entries(
        "finished-with-error",
        libvirt.VIR_ERR_MIGRATE_FINISH_OK,
        moving=words("{vm} is on {target}. Check its state there."),
    ),
    *_entries(
        "cpu-incompatible",
        libvirt.VIR_ERR_CPU_INCOMPATIBLE,
        advice=words(
            "The CPU of this host lacks features that the VM needs. Start it on another host, or "
            "set a lower CPU model."
        ),
        moving=_CPU,
    ),
    *_entries(
        "credentials",
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_ACCESS_DENIED,
        advice=words("Credentials were refused. Check the keys or certificates."),
        moving=_KEYS,
    ),
    *_entries(
        "no-secret",
        libvirt.VIR_ERR_NO_SECRET,
        advice=words(
            "The host has no secret with the UUID that a disk names. Define it there "
            "(`virsh secret-define`)."
        ),
        moving=words(
            "{target} has no secret with the UUID that a disk of {vm} names. Define the same one "
            "there (`virsh secret-define`, `virsh secret-set-value`)."
        ),
    ),
    *_entries(
        "no-pool",
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        advice=words("The host has no such pool. See `/kvm show host`."),
        moving=words("{target} lacks a storage pool that {vm} uses. Define and start it there."),
    ),
    *_entries(
        "no-volume",
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        advice=words("The host has no such volume: it was removed, or never existed."),
        moving=words("{target} lacks a volume that {vm} uses. See {where}."),
    ),
    *_entries(
        "volume-exists",
        libvirt.VIR_ERR_STORAGE_VOL_EXIST,
        advice=words("A volume with this name already exists. Nothing was overwritten."),
    ),
    *_entries(
        "no-network",
        libvirt.VIR_ERR_NO_NETWORK,
        advice=words("The host has no such network, or it is not started."),
        moving=words("{target} lacks a network that {vm} uses. Define and start it there."),
    ),
    *_entries(
        "no-snapshot",
        libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT,
        advice=words("The VM has no such snapshot. `/kvm vm snapshot list` shows its snapshots."),
    ),
    *_entries(
        "revert-risky",
        libvirt.VIR_ERR_SNAPSHOT_REVERT_RISKY,
        advice=words(
            "libvirt does not revert the VM to that snapshot while it runs, for it would have to "
            "end it. Shut the VM down, then ask again."
        ),
        phrase="must respawn ",  # no message
    ),
    *_entries(
        "name-taken",
        libvirt.VIR_ERR_DOM_EXIST,
        advice=words(
            "The host already has a VM with this name or UUID. Compare the two VMs first."
        ),
        moving=_TAKEN,
    ),
    *_entries(VM_GONE, libvirt.VIR_ERR_NO_DOMAIN, advice=_GONE),
    *_entries("busy", libvirt.VIR_ERR_OPERATION_TIMEOUT, advice=_JOB),
    *_entries(
        "no-agent",
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        advice=words(
            "The guest agent in the VM does not answer. Check that qemu-guest-agent runs there."
        ),
    ),
    *_entries(
        "read-only",
        libvirt.VIR_ERR_OPERATION_DENIED,
        advice=words("The connection is read-only. Check `uri` of the host."),
    ),
    *_entries("target-unreachable", moving=_REACH, domains=_CONNECTIONS, errnos=_UNREACHED),
    *_entries("connection-broke", moving=_BROKE, domains=_CONNECTIONS),
)

_SYSTEM = libvirt.VIR_ERR_SYSTEM_ERROR
_BY_ERRNO: tuple[Entry, ...] = (
    *_entries("no-space", _SYSTEM, advice=_SPACE, errnos=(errno.ENOSPC, errno.EDQUOT)),
    *_entries("no-permission", _SYSTEM, advice=_ACCESS, errnos=(errno.EACCES, errno.EPERM)),
    *_entries("no-memory", _SYSTEM, advice=_MEMORY, errnos=(errno.ENOMEM,)),
    *_entries(
        "no-network-device",
        _SYSTEM,
        advice=words("The host has no such network device. Create it there."),
        moving=words(
            "{target} has no such network device. Create it there, or choose another host."
        ),
        errnos=(errno.ENODEV,),
    ),
    *_entries(
        "no-file",
        _SYSTEM,
        advice=words("The host lacks the file or folder that libvirt names."),
        moving=words(
            "{target} lacks the file or folder that libvirt names. Put it there, or choose another "
            "host."
        ),
        errnos=(errno.ENOENT,),
    ),
)

# One code for many failures: whole phrases, from the sources of libvirt 9-11 and QEMU 7-9.
# no message: each phrase is what libvirt or QEMU prints
_PHRASES = {
    "unreached": r"[Ff]ailed to connect to remote libvirt URI |unable to connect to server at '",
    "broke": r"Lost connection to destination host|client socket is closed",
    # No message
    # no message: what libvirt or QEMU prints
    "localhost": "hostname on destination resolved to localhost, but migration requires",
    "same": "Attempt to migrate guest to the same host ",  # no message
    "taken": (
        r"domain '.*' (already exists|is already defined) with uuid |domain is already active as '"
    ),  # no message
    "snapshots": r"cannot migrate domain with \d+ snapshots",  # no message
    "cpu": (
        r"guest CPU doesn't match specification: (missing|extra) features: |"
        r"guest and host CPU are not compatible: "
    ),  # no message
    "migration-ports": "Unable to find an unused port in range 'migration'",  # no message
    "ports": "Unable to find an unused port in range '",  # no message
    "userfaultfd": "userfaultfd not available: ",  # no message
    "address": (
        r"Failed to (bind socket|find an available port): "
        r"(Cannot assign requested address|Address already in use)"
    ),  # no message
    "space": r": No space left on device\s*$",  # no message
    "memory": "cannot set up guest memory '|unable to map backing store for guest RAM",
    "certificates": (
        r"QEMU command 'object-add': Unable to access credentials|"
        r"job '.*' failed: .*[Cc]ertificate"
    ),  # no message
    "postcopy": "cannot abort migration in post-copy mode",  # no message
    "job": "another migration job is already running for domain|domain has active block job",
    # QEMU's file locks; virtlockd; sanlock
    "lock": (
        r'Failed to get "(write|consistent read)" lock|Failed to get shared "\w+" lock|'
        r"Lockspace resource '.*' is locked|Failed to acquire lock"
    ),  # no message
    "machine": "Emulator '?.*'? ?does not support machine type '",  # no message
    "cgroup": "cgroup CPU controller is not mounted",  # no message
}

_BY_PHRASE: tuple[Entry, ...] = (
    *_entries("target-unreachable", *_VAGUE, moving=_REACH, phrase=_PHRASES["unreached"]),
    *_entries("connection-broke", *_VAGUE, moving=_BROKE, phrase=_PHRASES["broke"]),
    *_entries("localhost", *_VAGUE, moving=_LOCALHOST, phrase=_PHRASES["localhost"]),
    *_entries("same-host", *_VAGUE, moving=_SAME, phrase=_PHRASES["same"]),
    *_entries("name-taken", *_VAGUE, moving=_TAKEN, phrase=_PHRASES["taken"]),
    *_entries("has-snapshots", *_VAGUE, moving=_SNAPSHOTS, phrase=_PHRASES["snapshots"]),
    *_entries("cpu-incompatible", *_VAGUE, moving=_CPU, phrase=_PHRASES["cpu"]),
    *_entries(
        "no-port",
        *_VAGUE,
        moving=words(
            "All migration ports on {target} are in use (`migration_port_min` and "
            "`migration_port_max` in its qemu.conf). Wait until fewer migrations run there."
        ),
        phrase=_PHRASES["migration-ports"],
    ),
    *_entries(
        "no-port",
        *_VAGUE,
        advice=words("All ports of that range on the host are in use (see its qemu.conf)."),
        phrase=_PHRASES["ports"],
    ),
    *_entries(
        "no-userfaultfd",
        *_VAGUE,
        moving=words(
            "The kernel of {target} does not let QEMU use userfaultfd, which post-copy needs. "
            "Allow it there (`sysctl vm.unprivileged_userfaultfd=1`), or use `--policy fast`."
        ),
        phrase=_PHRASES["userfaultfd"],
    ),
    *_entries(
        "no-address",
        *_VAGUE,
        moving=words(
            "{vm} listens on an address or port that is not available on {target}. Let it listen "
            "on 0.0.0.0 with `autoport`, or choose another host."
        ),
        phrase=_PHRASES["address"],
    ),
    *_entries("no-space", *_VAGUE, advice=_SPACE, phrase=_PHRASES["space"]),
    *_entries("no-memory", *_VAGUE, advice=_MEMORY, phrase=_PHRASES["memory"]),
    *_entries("qemu-certificates", *_VAGUE, moving=_QEMU_TLS, phrase=_PHRASES["certificates"]),
    *_entries(
        "in-postcopy",
        *_VAGUE,
        advice=words(
            "A post-copy migration cannot be cancelled. Check the network between the two hosts, "
            "so that it can finish."
        ),
        phrase=_PHRASES["postcopy"],
    ),
    *_entries("busy", *_VAGUE, advice=_JOB, phrase=_PHRASES["job"]),
    *_entries("disk-locked", *_VAGUE, *_LOCKSPACE, advice=_LOCKED, phrase=_PHRASES["lock"]),
    *_entries(
        "no-machine-type",
        *_VAGUE,
        moving=words(
            "QEMU on {target} does not know the machine type of {vm}. Install the same or a newer "
            "version there."
        ),
        phrase=_PHRASES["machine"],
    ),
    *_entries(
        "no-cgroup",
        *_VAGUE,
        advice=words("The host has no CPU control group for its VMs. Check cgroups there."),
        phrase=_PHRASES["cgroup"],
    ),
    *_entries(
        "not-supported",
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        advice=_CANNOT,
    ),
)

ENTRIES = (*_BY_CODE, *_BY_ERRNO, *_BY_PHRASE)
"""Read from the first on; the first that fits is used."""
OTHERWISE = words("Check the libvirt log of the host.")
OTHERWISE_MOVING = words("Check the libvirt logs of {source} and {target}.")

_NOISE = re.compile(
    r"^(?:(?:internal error|operation failed|Requested operation is not valid|unsupported "
    r"configuration"
    r"|argument unsupported|Operation not supported): ?)+",
    re.IGNORECASE,
)


def report_text(error: VendorError) -> str:
    """What libvirt reported, without its prefix words and final stop."""
    text = str(error.get_error_message() or error).strip()
    return (_NOISE.sub("", text) or text).rstrip(".")


def advice(error: VendorError, move: MigrateVm | None = None) -> Message:
    """Return what to do about an error; ``move``: the migration that it kept from succeeding."""
    return _matching(error, move).advice


def refusal(error: VendorError, what: Message, move: MigrateVm | None = None) -> HypervisorError:
    """Our error for libvirt's; ``what`` could not be done, as in “web-1 cannot move to host-b”."""
    entry = _matching(error, move)
    text = words("{what}: {reason}.", what=what, reason=report_text(error))
    return HypervisorError(text, entry.advice, code=entry.code, why=report_text(error))


def _matching(error: VendorError, move: MigrateVm | None) -> Entry:
    """The first entry that fits, its advice about ``move``."""
    if move is None:
        other = Entry(HypervisorError.code, OTHERWISE)
        return next((each for each in ENTRIES if each.fits(error, move=False)), other)
    other = Entry(HypervisorError.code, OTHERWISE_MOVING)
    found = next((each for each in ENTRIES if each.fits(error, move=True)), other)
    return Entry(found.code, _about(found.advice, move))


def _about(template: Words, move: MigrateVm) -> Words:
    """Fill the holes that an advice has: names, and commands with the names quoted."""
    holes: dict[str, Value] = {
        "vm": move.name,
        "source": move.source,
        "target": move.target,
        "where": Code(command("/kvm where {}", move.name)),
        "snapshots": Code(command("/kvm vm snapshot list {}", move.name)),
        "pair": Code(command("/kvm host pair {} {}", move.source, move.target)),
        "dump": Code(command("virsh dumpxml {}", virsh_name(move))),
    }
    used = {name: value for name, value in holes.items() if f"{{{name}}}" in template.template}
    return Words(template.template, used)
