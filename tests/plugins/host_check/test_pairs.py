"""What stands between two hosts, cell by cell, and the matrix that shows it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.domain.cluster import GIB, Pool, VmDetail
from bot.domain.message import Message
from bot.domain.readiness import CommandResult, CpuOrder, HostFacts, PairFacts, Severity
from bot.domain.unread import Unread
from bot.testing import draw_cluster
from bot.testing.readiness import facts_of
from plugins.host_check import cards, matrix, pairs
from plugins.host_check.findings import PairReport, PairResult, Seen, SeenPair
from plugins.host_check.settings import HostCheckSettings

LOCAL = Pool("local", "dir", "/srv", active=True, autostart=True, capacity=100 * GIB, free=50 * GIB)
NFS = Pool(
    "nfs",
    "netfs",
    "/shared",
    active=True,
    autostart=True,
    capacity=100 * GIB,
    free=50 * GIB,
    shared=True,
)
SETTINGS = HostCheckSettings()
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOON, LATER = "Jun  6 00:00:00 2026", "Jan  5 00:00:00 2027"
CERTIFICATES = """\
file /etc/pki/qemu/ca-cert.pem
notAfter=Jan  5 00:00:00 2027 GMT
file /etc/pki/qemu/server-cert.pem
notAfter=Jan  5 00:00:00 2027 GMT
/etc/pki/qemu/server-cert.pem: OK
file /etc/pki/qemu/client-cert.pem
notAfter=Jan  5 00:00:00 2027 GMT
/etc/pki/qemu/client-cert.pem: OK"""


def facts(name: str, **different: Any) -> HostFacts:
    known = facts_of(draw_cluster(f"{name} 8cpu 64G").host(name))
    return replace(known, **{"pools": (LOCAL, NFS), "uuid": name, "hostname": name, **different})


def seen(  # noqa: PLR0917 - all that can be different
    here: dict[str, Any] | None = None,
    there: dict[str, Any] | None = None,
    pair: dict[str, Any] | None = None,
    clocks: tuple[float | None, float | None] = (0.0, 0.1),
    nics: tuple[tuple[str, str], ...] = (("bridge", "br0"),),
    certificates: tuple[str, str] = (CERTIFICATES, CERTIFICATES),
    **answers: CommandResult,
) -> SeenPair:
    told = {
        "credentials": CommandResult(0, "Compiled against library: libvirt 9.0.0"),
        "resolves": CommandResult(0, "10.0.0.2 STREAM host-b"),
        "port": CommandResult(1, "sh: connect: Connection refused"),
        **answers,
    }
    ways = PairFacts(
        "host-a", "host-b", CpuOrder.IDENTICAL, "", "qemu+tls://host-b/system", migrate_tls=True
    )
    ours, theirs = ({"certificates": CommandResult(0, text)} for text in certificates)
    one = Seen("host-a", facts("host-a", **(here or {})), clock=clocks[0], answers=ours)
    other = Seen("host-b", facts("host-b", **(there or {})), clock=clocks[1], answers=theirs)
    return SeenPair(one, other, replace(ways, **(pair or {})), answers=told, nics=nics)


SESSION = "warning : virNetTLSContextCheckCertificate:1086 : Certificate check failed"
REFUSED = "error: failed to connect to the hypervisor\nerror: authentication failed: Failed to verify peer's certificate"
UNKNOWN_ISSUER = f"{SESSION} Certificate failed validation: The certificate hasn't got a known issuer.\n{REFUSED}"
OTHER_NAME = f"{SESSION} Certificate [session] owner does not match the hostname host-b\n{REFUSED}"

CASES: list[tuple[str, dict[str, Any], str, Severity, str, str]] = [
    # what, how the pair is different, the cell, its severity, words of the evidence, words of the
    # fix
    ("CPU", {"pair": {"cpu": CpuOrder.INCOMPATIBLE, "cpu_why": "avx512f is missing"}}, "CPU", Severity.FAIL, "avx512f",
     "host baseline"),
    ("more CPU there", {"pair": {"cpu": CpuOrder.SUPERSET}}, "CPU", Severity.PASS, "may not come back", ""),
    ("machines", {"there": {"machines": frozenset({"pc"})}}, "machine types", Severity.WARN, "q35",
     "On host-b: apt-get"),
    ("firewall", {"port": CommandResult(124, "")}, "migration ports", Severity.FAIL, "host-b does not answer on 49152",
     "tcp dport 49152-49215 accept"),
    ("a listener is there", {"port": CommandResult(0, "")}, "migration ports", Severity.PASS, "answers", ""),
    ("no route", {"port": CommandResult(1, "sh: connect: No route to host")}, "migration ports", Severity.FAIL,
     "No route", "route from host-a"),
    ("one name", {"there": {"hostname": "host-a"}}, "names", Severity.FAIL, "both call themselves",
     "On host-b: hostnamectl set-hostname host-b"),
    ("localhost", {"there": {"hostname": "localhost"}}, "names", Severity.FAIL, "localhost", "hostnamectl"),
    ("unresolved", {"resolves": CommandResult(2, "")}, "names", Severity.FAIL, "cannot resolve", "/etc/hosts"),
    ("itself", {"resolves": CommandResult(0, "127.0.1.1 STREAM host-b")}, "names", Severity.FAIL, "itself",
     "/etc/hosts"),
    ("address of the config", {"there": {"hostname": "localhost"}, "pair": {"migrate_data_uri": "tcp://10.0.0.9"}},
     "names", Severity.PASS, "10.0.0.9", ""),
    ("one UUID", {"there": {"uuid": "host-a"}}, "UUIDs", Severity.FAIL, "one host", "uuidgen"),
    ("a share is missing", {"there": {"pools": (LOCAL,)}}, "storage", Severity.FAIL, "lacks the shared nfs",
     "virsh pool-start nfs"),
    ("a share is off", {"there": {"pools": (LOCAL, replace(NFS, active=False))}}, "storage", Severity.FAIL, "nfs",
     "virsh pool-start nfs"),
    ("another path", {"there": {"pools": (NFS, replace(LOCAL, path="/other"))}}, "storage", Severity.WARN, "/srv",
     "virsh pool-define-as local dir --target=/srv"),
    ("no bridge", {"there": {"bridges": frozenset()}}, "bridges", Severity.FAIL, "bridge br0",
     "ip link add br0 type bridge"),
    ("no driver for bridges", {"there": {"bridges": frozenset(), "unread": (Unread("interface", "", "no driver"),)}},
     "bridges", Severity.UNKNOWN, "no driver", ""),
    ("no capabilities", {"there": {"machines": frozenset(), "unread": (Unread("capabilities", "", "error 1"),)}},
     "machine types", Severity.UNKNOWN, "error 1", ""),
    ("no UUIDs", {"here": {"uuid": ""}, "there": {"uuid": "", "unread": (Unread("capabilities", "", "error 1"),)}},
     "UUIDs", Severity.UNKNOWN, "error 1", ""),
    ("a share unread", {"there": {"pools": (LOCAL,), "unread": (Unread("pool", "nfs", "error 1"),)}}, "storage",
     Severity.UNKNOWN, "error 1", ""),
    ("a local pool unread", {"there": {"pools": (NFS,), "unread": (Unread("pool", "local", "error 1"),)}}, "storage",
     Severity.UNKNOWN, "error 1", ""),
    ("networks unread", {"nics": (("network", "lan"),), "there": {"unread": (Unread("network", "", "error 1"),)}},
     "bridges", Severity.UNKNOWN, "error 1", ""),
    ("no version", {"there": {"hypervisor_version": 0, "unread": (Unread("qemu-version", "", "error 1"),)}},
     "versions", Severity.UNKNOWN, "error 1", ""),
    ("no network", {"nics": (("network", "lan"),)}, "bridges", Severity.FAIL, "network lan", "virsh net-start lan"),
    ("an idle bridge", {"there": {"bridges": frozenset()}, "nics": ()}, "bridges", Severity.WARN, "no VM", "br0"),
    ("older QEMU", {"there": {"hypervisor_version": 6_000_000}}, "versions", Severity.WARN, "7.2.0 → 6.0.0",
     "--only-upgrade"),
    ("other kind", {"there": {"arch": "aarch64"}}, "versions", Severity.FAIL, "aarch64", "architectures"),
    ("clocks", {"clocks": (0.0, 2.0)}, "clocks", Severity.WARN, "2.0 s apart", "chronyc makestep"),
    ("clocks far", {"clocks": (0.0, -20.0)}, "clocks", Severity.FAIL, "20 s apart", "chronyc makestep"),
    ("clock unseen", {"clocks": (0.0, None)}, "clocks", Severity.UNKNOWN, "no SSH", ""),
    ("refused", {"credentials": CommandResult(1, "error: failed to connect\nerror: authentication failed")},
     "credentials", Severity.FAIL, "authentication failed", "clientcert.pem"),
    ("another authority", {"credentials": CommandResult(1, UNKNOWN_ISSUER)}, "credentials", Severity.FAIL,
     "known issuer: authentication failed", "On host-a: /etc/pki/CA/cacert.pem must hold"),
    ("another name", {"credentials": CommandResult(1, OTHER_NAME)}, "credentials", Severity.FAIL,
     "does not match the hostname host-b", "subjectAltName=DNS:host-b"),
    ("own ended", {"credentials": CommandResult(1, "error: The client certificate /etc/pki/libvirt/clientcert.pem has "
     "expired")}, "credentials", Severity.FAIL, "has expired", "On host-a: renew /etc/pki/libvirt/clientcert.pem"),
    ("no listener", {"credentials": CommandResult(1, "error: unable to connect to server at 'host-b:16514': Connection "
     "refused")}, "credentials", Severity.FAIL, "16514", "host check host-b"),
    ("in the clear", {"pair": {"migrate_tls": False}}, "encryption", Severity.WARN, "in the clear",
     "migrate_tls = true"),
    ("no certificates", {"certificates": (CERTIFICATES, "")}, "encryption", Severity.FAIL,
     "QEMU of host-b lacks ca-cert.pem, server-cert.pem", "On host-b: put ca-cert.pem, server-cert.pem"),
    ("source's ended", {"certificates": (CERTIFICATES.replace("2027", "2026"), CERTIFICATES)}, "encryption",
     Severity.FAIL, "ca-cert.pem of host-a ended on 2026-01-05", "On host-a: renew /etc/pki/qemu/ca-cert.pem"),
    ("target's ends", {"certificates": (CERTIFICATES, CERTIFICATES.replace(LATER, SOON))}, "encryption", Severity.WARN,
     "host-b ends in 5 days", "On host-b: renew"),
    ("a stranger's", {"certificates": (CERTIFICATES, CERTIFICATES.replace("server-cert.pem: OK",
     "server-cert.pem: verification failed"))}, "encryption", Severity.FAIL, "not of the authority", "On host-b"),
    ("refused by ssh", {"credentials": CommandResult(1, "Permission denied"), "pair": {"migrate_uri":
     "qemu+ssh://root@host-b/system"}}, "credentials", Severity.FAIL, "denied", "ssh-copy-id root@host-b"),
    ("silent", {"credentials": CommandResult(124, "")}, "credentials", Severity.FAIL, "does not answer", "firewall"),
    ("no virsh", {"credentials": CommandResult(127, "")}, "credentials", Severity.UNKNOWN, "virsh", "libvirt-clients"),
]  # fmt: skip


def shown(message: Message) -> str:
    """In English, without the marks of code."""
    return str(message).replace("`", "")


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_cell_names_what_is_wrong_and_what_to_type(
    case: tuple[str, dict[str, Any], str, Severity, str, str],
) -> None:
    _, different, cell, severity, evidence, fix = case
    found = {each.name: each for each in pairs.report(seen(**different), SETTINGS, NOW).findings}
    assert found[cell].severity is severity
    assert evidence in shown(found[cell].evidence)
    assert fix in shown(found[cell].fix)
    if severity is Severity.FAIL:
        assert found[cell].fix


def test_a_good_pair_is_green_in_every_cell() -> None:
    report = pairs.report(seen(), SETTINGS, NOW)
    assert {each.severity for each in report.findings} == {Severity.PASS}
    assert [each.name for each in report.findings] == [name for name, _ in pairs.RULES]


def test_a_machine_type_that_a_guest_uses_is_red() -> None:
    vm = draw_cluster("host-a 8cpu 64G | web-1 1G").vm("web-1")
    looked = seen(there={"machines": frozenset({"pc"})})
    with_guest = replace(
        looked, source=replace(looked.source, guests=(replace(vm, detail=VmDetail(machine="q35")),))
    )
    found = {each.name: each for each in pairs.report(with_guest, SETTINGS, NOW).findings}[
        "machine types"
    ]
    assert (found.severity, "q35" in shown(found.evidence)) == (Severity.FAIL, True)


def test_a_secret_that_is_missing_is_red_when_a_guest_has_encrypted_disks() -> None:
    vm = draw_cluster("host-a 8cpu 64G | web-1 1G").vm("web-1")
    looked = seen(here={"secrets": ("5ec0e7",)})
    assert pairs.report(looked, SETTINGS, NOW).worst is Severity.PASS
    with_guest = replace(
        looked, source=replace(looked.source, guests=(replace(vm, detail=VmDetail(secrets=True)),))
    )
    found = {each.name: each for each in pairs.report(with_guest, SETTINGS, NOW).findings}[
        "storage"
    ]
    assert found.severity is Severity.FAIL
    assert "5ec0e7" in shown(found.evidence)
    assert "secret-define" in shown(found.fix)


def test_a_silent_side_makes_every_cell_unknown_with_its_reason() -> None:
    looked = replace(seen(), target=Seen("host-b", trouble="host-b cannot be reached"))
    report = pairs.report(looked, SETTINGS, NOW)
    assert {(each.severity, each.evidence) for each in report.findings} == {
        (Severity.UNKNOWN, "host-b cannot be reached")
    }


def reports(count: int) -> tuple[PairReport, ...]:
    bad = pairs.report(seen(port=CommandResult(124, "")), SETTINGS, NOW)
    names = [f"host-{index}" for index in range(count)]
    return tuple(replace(bad, source=a, target=b) for a, b in itertools.permutations(names, 2))


@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_picture_is_a_png_of_a_size_that_chat_takes(count: int) -> None:
    png = matrix.draw_matrix(reports(count))
    assert png.startswith(b"\x89PNG\r\n")
    assert len(png) < 1 << 20


def test_every_cell_says_its_verdict_in_words_too() -> None:
    (report,) = reports(2)[:1]
    assert matrix.cell_text(report) == "FAIL\nmigration ports"
    told = str(cards.matrix_text((report,)))
    assert "host-0 → host-1: FAIL (migration ports)" in told
    alike = reports(3)
    good = replace(alike[0], findings=())
    assert str(cards.matrix_text(alike)).endswith(". every direction: FAIL (migration ports).")
    mixed = str(cards.matrix_text((good, *alike[1:])))
    assert ". host-0 → host-1: PASS; host-0 → host-2, host-1 → host-0, " in mixed
    assert mixed.count("migration ports") == 1


def test_the_same_finding_of_many_directions_is_one_row() -> None:
    card = cards.pair_card(PairResult(reports(3)), matrix.draw_matrix(reports(3)))
    table = card.elements[-1]
    assert str(card.text) == "6 directions: 6 FAIL"
    assert len(table.rows) == 1  # type: ignore[union-attr]
