"""libvirt's errors in our words."""

from __future__ import annotations

import errno
import re
import shlex

import libvirt
import pytest

from bot.adapters.libvirt.transport.errors import (
    ENTRIES,
    OTHERWISE,
    OTHERWISE_MOVING,
    refusal,
    report_text,
)
from bot.domain.cluster import MIB
from bot.domain.message import Message, words
from bot.domain.steps import MigrateVm

MOVE = MigrateVm("u-1", "web 1;$(id)", "host-a", "host-b", 128 * MIB)


class Told:
    """A ``libvirtError`` with a code, a domain, an errno and a text."""

    def __init__(
        self, code: int, text: str, domain: int = libvirt.VIR_FROM_QEMU, number: int = 0
    ) -> None:
        self._code, self._text, self._domain, self._number = code, text, domain, number

    def get_error_code(self) -> int:
        return self._code

    def get_error_domain(self) -> int:
        return self._domain

    def get_int1(self) -> int:
        return self._number

    def get_error_message(self) -> str:
        return self._text

    def __str__(self) -> str:
        return self._text


# Texts as libvirt 9.0 and QEMU 7.2 write them, of moves that they refused or that failed.
@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        ("OPERATION_ABORTED", "operation aborted: migration out job: canceled by client", "cancelled"),
        ("SNAPSHOT_REVERT_RISKY", "revert requires force: must respawn guest to start inactive snapshot",
         "Shut the VM down, then ask again"),
        ("MIGRATE_UNSAFE", "Unsafe migration: Migration without shared storage is unsafe", "shared = true"),
        ("MIGRATE_PERSIST_FAILED", "domain migrated but could not be defined", "did move"),
        ("CPU_INCOMPATIBLE", "the CPU is incompatible with host CPU: lacks avx2", "CPU model"),
        ("OPERATION_FAILED", "guest CPU doesn't match specification: missing features: pku", "CPU model"),
        ("OPERATION_INVALID", "Requested operation is not valid: cannot abort migration in post-copy mode", "so that it can finish"),
        ("OPERATION_FAILED", "Failed to connect to remote libvirt URI qemu+tcp://host-b/system: no", "49152"),
        ("INTERNAL_ERROR", "internal error: client socket is closed", "between host-a and host-b"),
        ("INTERNAL_ERROR", "internal error: unable to execute QEMU command 'object-add': Unable to access credentials",
         "/etc/pki/qemu"),
        ("OPERATION_FAILED", "operation failed: job 'migration out' failed: The certificate hasn't got a known issuer",
         "/etc/pki/qemu"),
        ("AUTH_FAILED", "authentication failed: Failed to verify peer's certificate", "Credentials"),
        ("OPERATION_FAILED", "operation failed: domain 'web-1' already exists with uuid c7a5", "name or UUID"),
        ("OPERATION_TIMEOUT", "cannot acquire state change lock (held by x)", "Another job"),
        ("INTERNAL_ERROR", "Attempt to migrate guest to the same host 1-2-3", "host pair host-a host-b"),
        ("INTERNAL_ERROR", "hostname on destination resolved to localhost, but migration requires an FQDN", "data_uri"),
        ("OPERATION_INVALID", "Requested operation is not valid: cannot migrate domain with 2 snapshots",
         "vm snapshot list"),
        ("CONFIG_UNSUPPORTED", "unsupported configuration: Emulator '/usr/bin/qemu' does not support machine type 'x'",
         "newer version"),
        ("NO_DOMAIN", "Domain not found: no domain with matching uuid", "ask again"),
        ("NO_SUPPORT", "this function is not supported by the connection driver", "not support"),
        ("INTERNAL_ERROR", 'internal error: process exited while connecting to monitor: Failed to get "write" lock',
         "breaks no lock"),
        ("RESOURCE_BUSY", "resource busy: Lockspace resource '/srv/x' is locked", "breaks no lock"),
        ("NO_SECRET", "Secret not found: no secret with matching uuid '0a81'", "secret-define"),
        ("INTERNAL_ERROR", "internal error: Unable to find an unused port in range 'migration' (49152-49215)",
         "All migration ports"),
        ("INTERNAL_ERROR", "userfaultfd not available: Operation not permitted", "userfaultfd"),
        ("INTERNAL_ERROR", "-vnc 10.77.0.11:0: Failed to bind socket: Cannot assign requested address", "autoport"),
        ("INTERNAL_ERROR", "-vnc 0:55: Failed to find an available port: Address already in use", "listens on"),
        ("INTERNAL_ERROR", "internal error: unable to execute QEMU command 'x': /srv/x: No space left on device",
         "no space left"),
    ],
)  # fmt: skip
def test_each_failed_move_says_what_to_do(code: str, text: str, advice: str) -> None:
    error = refusal(Told(getattr(libvirt, f"VIR_ERR_{code}"), text), "web-1 did not move", MOVE)
    assert str(error.text).startswith("web-1 did not move: ")
    assert advice in str(error.advice)


@pytest.mark.parametrize(
    ("number", "domain", "text", "moving", "otherwise"),
    [
        (errno.ENOENT, libvirt.VIR_FROM_QEMU, "Cannot check QEMU binary /opt/qemu: No such file or directory",
         "host-b lacks the file", "The host lacks the file"),
        (errno.ENOENT, libvirt.VIR_FROM_QEMU, "Unable to bind to UNIX socket path '/x/s': No such file or directory",
         "host-b lacks the file", "The host lacks the file"),
        (errno.ENOENT, libvirt.VIR_FROM_STORAGE, "Cannot access storage file '/srv/x': No such file or directory",
         "host-b lacks the file", "The host lacks the file"),
        (errno.ENOSPC, libvirt.VIR_FROM_STORAGE, "cannot extend file '/srv/x': No space left on device",
         "no space left", "no space left"),
        (errno.ENODEV, 0, "Cannot get interface MTU on 'br9': No such device", "network device", "network device"),
        (errno.EACCES, libvirt.VIR_FROM_SECURITY, "unable to open /srv/x: Permission denied", "AppArmor", "AppArmor"),
        (errno.ECONNREFUSED, libvirt.VIR_FROM_RPC, "unable to connect to server at 'host-b:49152': Connection refused",
         "49152", OTHERWISE),
        (errno.ECONNRESET, libvirt.VIR_FROM_RPC, "Cannot recv data: Connection reset by peer", "broke", OTHERWISE),
    ],
)  # fmt: skip
def test_system_errors_are_told_apart_by_errno_and_domain(
    number: int, domain: int, text: str, moving: str, otherwise: Message
) -> None:
    error = Told(libvirt.VIR_ERR_SYSTEM_ERROR, text, domain, number)
    assert moving in str(refusal(error, "x", MOVE).advice)
    assert str(otherwise) in str(refusal(error, "x").advice)


@pytest.mark.parametrize(
    "text",
    [
        "operation failed: revert to external snapshot not supported yet",
        "internal error: something new about a snapshot, a bridge and an emulator",
        "unsupported configuration: internal snapshots of a VM with pflash based firmware are not supported",
        "Requested operation is not valid: no network named localhost",
        "internal error: could not open the certificate of the storage pool",
    ],
)
def test_a_word_in_a_text_chooses_no_advice(text: str) -> None:
    error = Told(libvirt.VIR_ERR_OPERATION_FAILED, text)
    assert refusal(error, "It failed").advice == OTHERWISE
    assert refusal(error, "It failed", MOVE).advice == words(
        OTHERWISE_MOVING.template, source="host-a", target="host-b"
    )


NAMES = (
    "snapshot",
    "No space left on device",
    "/pool/x: No space left on device",
    'Failed to get "write" lock',
    "cannot migrate domain with 2 snapshots",
    "another migration job is already running for domain",
    "guest and host CPU are not compatible: x",
    "userfaultfd not available: x",
    "client socket is closed",
    "cannot set up guest memory ",
    "Domain not found/pflash/lock",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "operation failed: cannot open '{}'",
        "internal error: process exited while connecting to monitor: Could not open '{}': bad magic",
        "unsupported configuration: volume '{}' of pool '{}' is odd",
    ],
)
def test_what_a_vm_a_pool_or_a_path_is_called_chooses_no_advice(text: str, name: str) -> None:
    error = Told(libvirt.VIR_ERR_INTERNAL_ERROR, text.format(name, name))
    assert refusal(error, "It failed").advice == OTHERWISE
    assert str(refusal(error, "It failed", MOVE).advice).startswith("Check the libvirt logs")


DESTROYS = re.compile(
    r"\b(delete|remove|undefine|destroy|purge|erase|wipe|force|discard|reset)\w*\b", re.IGNORECASE
)
MAY_SAY_IT = {
    "The VM moved or was removed meanwhile: ask again.": "tells what happened, and asks for nothing to be removed",
    "The host has no such volume: it was removed, or never existed.": "tells what happened",
}


def test_no_advice_asks_to_destroy_anything() -> None:
    said_it = {str(entry.advice) for entry in ENTRIES if DESTROYS.search(str(entry.advice))}
    assert said_it == MAY_SAY_IT.keys()


def test_names_in_commands_of_advice_are_quoted() -> None:
    for entry in ENTRIES:
        code = next(iter(entry.codes), libvirt.VIR_ERR_INTERNAL_ERROR)
        if entry.phrase or not entry.move:
            continue
        number, domain = (
            next(iter(entry.errnos), 0),
            next(iter(entry.domains), libvirt.VIR_FROM_QEMU),
        )
        for line in re.findall(
            r"`([^`]*)`", str(refusal(Told(code, "no", domain, number), "x", MOVE).advice)
        ):
            assert "$(id)" not in line or "web 1;$(id)" in shlex.split(line), line


def test_the_vendors_text_is_kept_without_its_prefixes() -> None:
    assert (
        report_text(
            Told(1, "internal error: Requested operation is not valid: the disk is on fire.")
        )
        == "the disk is on fire"
    )
    assert report_text(Told(1, "internal error:")) == "internal error:"


def test_a_real_error_is_understood() -> None:
    connection = libvirt.open("test:///default")
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.lookupByName("nobody")
    error = refusal(caught.value, "nobody cannot be paused")
    assert str(error.text).startswith("nobody cannot be paused: ")
    assert "ask again" in str(error.advice)
    assert error.code == "vm-gone"
    connection.close()


def test_every_kind_of_error_has_a_code_and_its_advice_leaves_no_hole_open() -> None:
    for entry in ENTRIES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", entry.code), entry.code
    for entry in ENTRIES:
        if entry.phrase or not entry.move:
            continue
        error = Told(
            next(iter(entry.codes), libvirt.VIR_ERR_INTERNAL_ERROR),
            "no",
            next(iter(entry.domains), libvirt.VIR_FROM_QEMU),
            next(iter(entry.errnos), 0),
        )
        assert "{" not in str(refusal(error, "x", MOVE).advice)
