"""libvirt's errors in our words."""

from __future__ import annotations

import libvirt
import pytest

from bot.adapters.libvirt.refusals import refusal, said


class Told:
    """A ``libvirtError`` with a code and a text."""

    def __init__(self, code: int, text: str) -> None:
        self._code = code
        self._text = text

    def get_error_code(self) -> int:
        return self._code

    def get_error_message(self) -> str:
        return self._text

    def __str__(self) -> str:
        return self._text


# Texts as libvirt 9.0 writes them.
@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        ("OPERATION_ABORTED", "operation aborted: migration out job: canceled by client", "cancelled"),
        ("MIGRATE_UNSAFE", "Unsafe migration: Migration without shared storage is unsafe", "--copy-storage"),
        ("MIGRATE_PERSIST_FAILED", "domain migrated but could not be defined", "did move"),
        ("CPU_INCOMPATIBLE", "the CPU is incompatible with host CPU: lacks avx2", "CPU model"),
        ("OPERATION_INVALID", "Requested operation is not valid: cannot abort migration in post-copy mode", "finished"),
        ("OPERATION_FAILED", "operation failed: unable to connect to 'host-b:16509': Connection refused", "49152"),
        ("INTERNAL_ERROR", "unable to connect to server at 'host-b:49152': No route to host", "49152"),
        ("INTERNAL_ERROR", "client socket is closed", "between the two hosts"),
        ("INTERNAL_ERROR", "internal error: unable to execute QEMU command 'object-add': Unable to access credentials",
         "/etc/pki/qemu"),
        ("OPERATION_FAILED", "operation failed: job 'migration out' failed: The certificate hasn't got a known issuer",
         "/etc/pki/qemu"),
        ("AUTH_FAILED", "authentication failed: Failed to verify peer's certificate", "Credentials"),
        ("SYSTEM_ERROR", "Cannot recv data: Permission denied (publickey): Connection reset by peer", "Credentials"),
        ("OPERATION_FAILED", "operation failed: domain 'web-1' already exists with uuid c7a5", "name or UUID"),
        ("OPERATION_TIMEOUT", "cannot acquire state change lock (held by x)", "Another job"),
        ("INTERNAL_ERROR", "internal error: Attempt to migrate guest to the same host host-a (localhost)", "host_uuid"),
        ("OPERATION_INVALID", "Requested operation is not valid: cannot migrate domain with 2 snapshots", "snapshots"),
        ("SYSTEM_ERROR", "Cannot access storage file '/srv/x.qcow2': No such file or directory", "shared storage"),
        ("ERROR", "Cannot get interface MTU on 'br0': No such device", "bridge"),
        ("CONFIG_UNSUPPORTED", "Emulator does not support machine type 'pc-q35-8.0'", "QEMU"),
        ("NO_DOMAIN", "Domain not found: no domain with matching uuid", "ask again"),
        ("NO_SUPPORT", "this function is not supported by the connection driver", "update it"),
        ("INTERNAL_ERROR", "internal error: something new", "log"),
    ],
)  # fmt: skip
def test_each_error_says_what_to_do(code: str, text: str, advice: str) -> None:
    error = refusal(Told(getattr(libvirt, f"VIR_ERR_{code}", 1), text), "web-1 did not move")
    assert error.text.startswith("web-1 did not move: ")
    assert advice in error.advice


def test_the_vendors_text_is_kept_without_its_prefixes() -> None:
    assert (
        said(Told(1, "internal error: Requested operation is not valid: the disk is on fire.")) == "the disk is on fire"
    )
    assert said(Told(1, "internal error:")) == "internal error:"


def test_a_real_error_is_understood() -> None:
    connection = libvirt.open("test:///default")
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.lookupByName("nobody")
    error = refusal(caught.value, "nobody cannot be paused")
    assert error.text.startswith("nobody cannot be paused: ")
    assert "ask again" in error.advice
    connection.close()
