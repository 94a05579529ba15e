"""What each rule says of a host, and that what it says to type is right."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.domain.cluster import GIB, Pool, Vm, VmState
from bot.domain.message import Message
from bot.domain.readiness import CommandResult, Finding, HostFacts, Net, Severity
from bot.domain.unread import Unread
from bot.testing import draw_cluster
from bot.testing.readiness import facts_of
from plugins.host_check import probes, rules
from plugins.host_check.findings import Seen
from plugins.host_check.settings import HostCheckSettings

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LENS = 'str_entry "auth_tcp" | bool_entry "listen_tcp" | bool_entry "listen_tls" | str_entry "unix_sock_rw_perms" | '
LENS += 'str_entry "auth_unix_rw" | str_entry "lock_manager" | str_entry "security_driver"'
POOL = Pool("local", "dir", "/srv", active=True, autostart=True, capacity=100 * GIB, free=50 * GIB)
GOOD: dict[str, str | CommandResult] = {
    "user": "root",
    "os": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.0",
    "flags": "vmx",
    "devices": "/dev/kvm\n/dev/vhost-net\n/dev/net/tun",
    "validate": "  QEMU: Checking for hardware virtualization   : PASS",
    "accelerator": CommandResult(probes.RAN, ""),
    "nested": "Y",
    "cgroup-mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
    "cgroup-controllers": "cpuset cpu io memory",
    "iommu-tables": "/sys/firmware/acpi/tables/DMAR",
    "deb": "\n".join(f"installed {name} 1.0" for name in probes.DEB_PACKAGES),
    "rpm": CommandResult(127, "rpm: not found"),
    "processes": "/usr/sbin/libvirtd --timeout 120",
    "units": "libvirtd.service active\nlibvirtd.socket active\nlibvirtd-tls.socket active",
    "listening": "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 30 *:16514 *:*",
    "conf:libvirtd.conf": "# nothing",
    "conf:virtqemud.conf": CommandResult(66, ""),
    "conf:virtproxyd.conf": CommandResult(66, ""),
    "conf:qemu.conf": 'lock_manager = "lockd"',
    "lens:libvirtd.conf": LENS,
    "lens:qemu.conf": LENS,
    "socket": "666",
    "libvirt-group": "libvirt:x:110:",
    "timedatectl": "NTP=yes\nNTPSynchronized=yes",
    "ksm": "0",
    "meminfo": "HugePages_Total: 0\nHugePages_Free: 0",
    "overcommit": "0",
    "certificates": "file /etc/pki/libvirt/servercert.pem\nsubject=CN\nnotAfter=Jan  5 00:00:00 2027 GMT",
    "openssl": "/usr/bin/openssl",
    "own-address": "10.0.0.1 STREAM host-a",
}


def host(facts: dict[str, Any] | None = None, guests: tuple[Vm, ...] = (), **answers: Any) -> Seen:
    told = {
        **GOOD,
        **{name.replace("__", ":").replace("_", "-"): text for name, text in answers.items()},
    }
    told = {name.replace(":libvirtd-conf", ":libvirtd.conf").replace(":qemu-conf", ":qemu.conf"): text
            for name, text in told.items()}  # fmt: skip
    results = {
        name: each if isinstance(each, CommandResult) else CommandResult(0, each)
        for name, each in told.items()
    }
    drawing = draw_cluster("host-a 8cpu 64G").host("host-a")
    known = replace(facts_of(drawing), **{"pools": (POOL,), **(facts or {})})
    return Seen(
        "host-a", known, answers=results, no_shell="", clock=0.01, reserve=GIB, guests=guests
    )


def found(seen: Seen) -> dict[str, Finding]:
    return {each.name: each for each in rules.report(seen, HostCheckSettings(), NOW).findings}


def test_nothing_is_said_against_a_good_host() -> None:
    bad = {name: each for name, each in found(host()).items() if each.severity is not Severity.PASS}
    assert not bad


def test_every_check_has_a_name_of_its_own() -> None:
    names = [each.name for each in rules.report(host(), HostCheckSettings(), NOW).findings]
    assert len(names) == len(set(names))


TLS_SOCKET = "systemctl disable --now libvirtd-tcp.socket && systemctl enable --now libvirtd-tls.socket && systemctl start"
TCP = "LISTEN 0 30 0.0.0.0:16509 0.0.0.0:*"
NONE = 'auth_tcp = "none"'
MODULAR = {"processes": "/usr/sbin/virtqemud", "units": "virtqemud.socket active"}
DAEMONS = ("virtqemud", "virtinterfaced", "virtnetworkd", "virtnodedevd", "virtnwfilterd", "virtsecretd",
           "virtstoraged", "virtproxyd", "virtlogd")  # fmt: skip
WHOLE = "\n".join(f"{each}.socket active" for each in DAEMONS)
FLAT = "/usr/sbin/libvirtd --listen"

CASES: list[tuple[str, dict[str, Any], str, Severity, str, str]] = [
    # what, how the host is different, the check, its severity, words of the evidence, words of the
    # fix
    ("no flag", {"flags": ""}, "accelerator", Severity.FAIL, "neither vmx nor svm", "firmware"),
    ("a guest hangs", {"accelerator": CommandResult(124, "")}, "accelerator", Severity.FAIL, "hangs", "firmware"),
    ("no QEMU", {"accelerator": CommandResult(127, "")}, "accelerator", Severity.FAIL, "no QEMU", "qemu-system-x86"),
    ("no rights", {"accelerator": CommandResult(1, "Could not access KVM kernel module: Permission denied")},
     "accelerator", Severity.UNKNOWN, "not allowed", "usermod -aG kvm"),
    ("no module", {"accelerator": CommandResult(1, "failed to initialize kvm: No such file")}, "accelerator",
     Severity.FAIL, "No such file", "modprobe kvm_intel"),
    ("a warning of the validator", {"validate": "  QEMU: Checking if device /dev/vhost-net exists : WARN (Load it)"},
     "validate: device /dev/vhost-net exists", Severity.WARN, "Load it", "modprobe vhost_net"),
    ("no validator", {"validate": CommandResult(127, "not found"), "devices": "/dev/kvm"},
     "validate: device /dev/net/tun exists", Severity.FAIL, "without it", "modprobe tun"),
    ("no validator, told", {"validate": CommandResult(127, "not found")}, "virt-host-validate", Severity.UNKNOWN, "",
     "libvirt-clients"),
    ("plain TCP", {"listening": TCP, "conf__libvirtd_conf": NONE}, "plain TCP", Severity.FAIL, "0.0.0.0:16509",
     TLS_SOCKET),
    ("TCP, modular", {**MODULAR, "listening": TCP}, "plain TCP", Severity.WARN, "16509", "virtproxyd-tls.socket"),
    ("TCP with --listen", {"processes": FLAT, "units": "", "listening": TCP, "conf__libvirtd_conf": NONE}, "plain TCP",
     Severity.FAIL, "root for all", "listen_tcp = 0"),
    ("TCP at home", {"listening": "LISTEN 0 30 127.0.0.1:16509 0.0.0.0:*", "conf__libvirtd_conf": NONE}, "plain TCP",
     Severity.WARN, "127.0.0.1", TLS_SOCKET),
    ("listen_tcp under systemd", {"conf__libvirtd_conf": "listen_tcp = 1"}, "listen settings", Severity.WARN,
     "not honoured: systemd", "libvirtd-tls.socket"),
    ("listen_tcp without --listen", {"processes": "/usr/sbin/libvirtd", "units": "", "conf__libvirtd_conf":
     "listen_tcp = 1"}, "listen settings", Severity.WARN, "without --listen", "libvirtd-tls.socket"),
    ("listen_tcp with --listen", {"processes": FLAT, "units": "", "conf__libvirtd_conf": "listen_tcp = 1"},
     "listen settings", Severity.PASS, "is honoured", ""),
    ("both kinds of daemons", {"units": "libvirtd.socket active\nvirtqemud.socket active"}, "daemon mode",
     Severity.WARN, "side by side", "systemctl disable --now libvirtd.service"),
    ("modular", MODULAR, "daemon mode", Severity.PASS, "modular daemons, socket-activated", ""),
    ("modular, one alone", MODULAR, "modular daemons", Severity.WARN, "virtinterfaced, virtnetworkd, virtnodedevd",
     "systemctl enable --now virtinterfaced.socket virtnetworkd.socket"),
    ("modular, all", {**MODULAR, "units": WHOLE}, "modular daemons", Severity.PASS, "all are listened for", ""),
    ("modular, no proxy", {**MODULAR, "units": WHOLE.replace("virtproxyd.socket active", "virtproxyd.socket failed")},
     "modular daemons", Severity.WARN, "nothing listens for virtproxyd:", "systemctl enable --now virtproxyd.socket"),
    ("modular, started by hand", {"processes": "\n".join(f"/usr/sbin/{each}" for each in DAEMONS), "units": ""},
     "modular daemons", Severity.PASS, "all are listened for", ""),
    ("no daemon", {"processes": "init", "units": ""}, "daemon mode", Severity.FAIL, "neither", "libvirtd.socket"),
    ("a file nobody reads", {**MODULAR, "conf__libvirtd_conf": "listen_tls = 0"}, "keys of libvirtd.conf",
     Severity.WARN, "do not read", "virtqemud.conf"),
    ("keys of the guide", {"conf__qemu_conf": "live_migration = 1\nmax_client_connections = 5"}, "keys of qemu.conf",
     Severity.WARN, "live_migration, max_client_connections", "sed -i -E"),
    ("unreadable", {"conf__qemu_conf": CommandResult(1, "Permission denied")}, "keys of qemu.conf", Severity.UNKNOWN,
     "cannot read", "sudo"),
    ("members", {"libvirt_group": "libvirt:x:1:ann,bob"}, "who may connect", Severity.WARN, "ann, bob",
     "gpasswd -d ann"),
    ("members beside the bot", {"libvirt_group": "libvirt:x:1:drover,bob", "user": "drover"}, "who may connect",
     Severity.WARN, "has bob:", "gpasswd -d bob"),
    ("open socket", {"conf__libvirtd_conf": 'auth_unix_rw = "none"', "socket": "666"}, "who may connect",
     Severity.FAIL, "666", "polkit"),
    ("no locks", {"conf__qemu_conf": "# nothing"}, "lock manager", Severity.WARN, "two hosts", "virtlockd.socket"),
    ("confinement off", {"facts": {"security": ("dac",)}, "conf__qemu_conf": 'security_driver = "none"'},
     "guest confinement", Severity.WARN, "AppArmor", "Remove security_driver"),
    ("a package lacks", {"deb": CommandResult(1, "installed libvirt-clients 1\ninstalled libvirt-daemon-system 1")},
     "packages", Severity.FAIL, "qemu-system-x86", "apt-get install --no-install-recommends qemu-system-x86"),
    ("other distribution", {"deb": CommandResult(127, ""), "rpm": CommandResult(1, "installed qemu-kvm 1")}, "packages",
     Severity.FAIL, "libvirt-daemon-kvm, libvirt-client", "dnf install libvirt-daemon-kvm libvirt-client"),
    ("certificate ended", {"certificates": "file /c.pem\nnotAfter=Jan  1 00:00:00 2026 GMT"}, "certificate /c.pem",
     Severity.FAIL, "ended on 2026-01-01", "server-update-tls libvirtd"),
    ("certificate ends", {"certificates": "file /c.pem\nnotAfter=Jan 15 00:00:00 2026 GMT"}, "certificate /c.pem",
     Severity.WARN, "in 10 days", "Renew /c.pem"),
    ("a stranger's certificate", {"certificates": "file /c.pem\nnotAfter=Jan  1 00:00:00 2027 GMT\nerror /c.pem: "
     "verification failed"}, "certificate /c.pem", Severity.FAIL, "not signed by the authority", "Renew /c.pem"),
    ("no openssl", {"certificates": "file /c.pem", "openssl": ""}, "certificate /c.pem", Severity.UNKNOWN, "no openssl",
     "apt-get install openssl"),
    ("pool off", {"facts": {"pools": (replace(POOL, active=False),)}}, "pool local", Severity.WARN, "not running",
     "virsh pool-start local"),
    ("pool full", {"facts": {"pools": (replace(POOL, free=GIB),)}}, "pool local", Severity.FAIL, "1%",
     "vol-list local"),
    ("pool by hand", {"facts": {"pools": (replace(POOL, autostart=False),)}}, "pool local", Severity.WARN, "at boot",
     "virsh pool-autostart local"),
    ("no pool", {"facts": {"pools": ()}}, "storage pools", Severity.WARN, "none", "virsh pool-define-as default"),
    ("pool transient", {"facts": {"pools": (replace(POOL, autostart=False, persistent=False),)}}, "pool local", Severity.WARN,
     "gone after a restart", "virsh pool-dumpxml local > pool.xml && virsh pool-define pool.xml && virsh pool-autostart local"),
    ("network transient", {"facts": {"networks": (Net("lan", active=True, autostart=False, persistent=False),)}}, "network lan",
     Severity.WARN, "gone after a restart", "virsh net-define net.xml && virsh net-autostart lan"),
    ("network off", {"facts": {"networks": (Net("lan", active=False, autostart=True),)}}, "network lan", Severity.WARN,
     "not running", "virsh net-start lan"),
    ("network by hand", {"facts": {"networks": (Net("lan", active=True, autostart=False),)}}, "network lan",
     Severity.WARN, "at boot", "virsh net-autostart lan"),
    ("nothing to plug into", {"facts": {"networks": (), "bridges": frozenset()}}, "bridges", Severity.WARN, "nothing",
     "virsh net-define"),
    ("localhost", {"facts": {"hostname": "localhost.localdomain"}}, "host name", Severity.FAIL, "localhost",
     "hostnamectl set-hostname host-a"),
    ("loopback name", {"own_address": "127.0.1.1 STREAM host-a"}, "host name", Severity.WARN, "127.0.1.1",
     "/etc/hosts"),
    ("old QEMU", {"facts": {"hypervisor_version": 2_001_000}}, "versions", Severity.WARN, "QEMU 2.1.0", "full-upgrade"),
    ("clock free", {"timedatectl": "NTP=no\nNTPSynchronized=no"}, "time sync", Severity.FAIL, "no time service", "chrony"),
    ("strict memory", {"overcommit": "2"}, "vm.overcommit_memory", Severity.WARN, "refuse", "overcommit_memory=0"),
    ("IOMMU untold", {"facts": {"iommu": None}}, "IOMMU", Severity.UNKNOWN, "does not tell", ""),
]  # fmt: skip


def shown(message: Message) -> str:
    """In English, without the marks of code."""
    return str(message).replace("`", "")


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_what_is_wrong_is_found_with_its_evidence_and_fix(
    case: tuple[str, dict[str, Any], str, Severity, str, str],
) -> None:
    _, different, name, severity, evidence, fix = case
    said = found(host(**different))[name]
    assert said.severity is severity
    assert evidence in shown(said.evidence)
    assert fix in shown(said.fix)
    assert said.fix or severity in {Severity.PASS, Severity.UNKNOWN}


def test_memory_allocated_beyond_the_hosts_own_warns() -> None:
    big = Vm("u", "big-1", "host-a", VmState.RUNNING, 2, 70 * GIB)
    assert found(host(guests=(big,)))["memory allocated"].severity is Severity.WARN
    assert (
        found(host(guests=(replace(big, state=VmState.SHUT_OFF),)))["memory allocated"].severity
        is Severity.PASS
    )


@pytest.mark.parametrize(
    ("ahead", "severity"), [(0.1, Severity.PASS), (-2, Severity.WARN), (60, Severity.FAIL)]
)
def test_a_clock_that_is_off(ahead: float, severity: Severity) -> None:
    assert found(replace(host(), clock=ahead))["clock"].severity is severity


def test_what_a_slow_answer_cannot_tell_is_no_fault_of_the_clock() -> None:
    slow = replace(host(), clock=2.0, clock_error=1.9)
    assert found(slow)["clock"].severity is Severity.PASS
    assert found(replace(slow, clock_error=0.1))["clock"].severity is Severity.WARN


def test_without_a_shell_nothing_is_guessed() -> None:
    facts = host().facts
    said = found(Seen("host-a", facts))
    assert said["SSH"].severity is Severity.UNKNOWN
    assert said["accelerator"].severity is Severity.UNKNOWN
    assert shown(said["plain TCP"].evidence) == "cannot tell: no SSH"
    assert {each.severity for each in said.values()} <= {Severity.PASS, Severity.UNKNOWN}


def test_without_kvm_at_libvirt_the_accelerator_fails_even_without_a_shell() -> None:
    said = found(Seen("host-a", HostFacts("host-a", virt_types=frozenset({"qemu"}))))
    assert said["accelerator"].severity is Severity.FAIL


def test_a_host_that_tells_nothing_is_one_failure_and_not_thirty() -> None:
    said = found(Seen("host-a", trouble="host-a cannot be reached: no route"))
    assert said["libvirt"].severity is Severity.FAIL
    assert "no route" in shown(said["libvirt"].evidence)
    assert len(said) == 2


def test_no_fix_repeats_what_guides_get_wrong() -> None:
    wrong = re.compile(
        r"kvm-ok|apt-get install[^&]*qemu-kvm|enable libvirtd\b(?!-|\.)|usermod -aG libvirt\b|--live-migrate|virsh top"
    )
    for _, different, *_ in CASES:
        for each in found(host(**different)).values():
            assert not wrong.search(shown(each.fix)), each


def test_remarks_after_values_hide_nothing() -> None:
    """As libvirt reads it: connected over TCP without a password."""
    tcp = "LISTEN 0 30 0.0.0.0:16509 0.0.0.0:*"
    conf = '# here\nlisten_tcp = 1  # on\nauth_tcp = "none" # default: SASL\n'
    said = found(
        host(listening=tcp, conf__libvirtd_conf=conf, units="", processes="/usr/sbin/libvirtd")
    )
    assert said["plain TCP"].severity is Severity.FAIL
    assert "root for all who reach it" in shown(said["plain TCP"].evidence)
    assert "Change line 2 of /etc/libvirt/libvirtd.conf: listen_tcp = 0." in shown(
        said["plain TCP"].fix
    )
    assert "Add to /etc/libvirt/libvirtd.conf: listen_tls = 1." in shown(said["plain TCP"].fix)
    assert said["listen settings"].severity is Severity.WARN, "it was started without --listen"
    locked = found(host(conf__qemu_conf='lock_manager = "lockd" # two hosts'))["lock manager"]
    assert (locked.severity, shown(locked.evidence)) == (Severity.PASS, "lockd")


def test_a_fix_never_adds_a_second_line_of_a_key() -> None:
    """Of two lines libvirt takes the first: an added one would change nothing."""
    stands = found(host(conf__qemu_conf='# one\n  lock_manager = "nop" # none\n'))["lock manager"]
    assert shown(stands.fix).startswith(
        'Change line 2 of /etc/libvirt/qemu.conf: lock_manager = "lockd".'
    )
    lacks = found(host(conf__qemu_conf="# nothing"))["lock manager"]
    assert shown(lacks.fix).startswith('Add to /etc/libvirt/qemu.conf: lock_manager = "lockd".')


def test_a_file_that_libvirt_refuses_is_told_with_its_line() -> None:
    said = found(host(conf__libvirtd_conf="listen_tls = 1\nauth_tcp = none\n"))[
        "keys of libvirtd.conf"
    ]
    assert said.severity is Severity.FAIL
    assert "line 2" in shown(said.evidence)


def test_what_libvirt_could_not_tell_is_warned_of_by_name() -> None:
    unread = (Unread("interface", "br0", "no such device"), Unread("pool", "", "no virtstoraged"))
    said = found(host({"unread": unread}))
    assert (said["reading interface br0"].severity, said["reading interface br0"].evidence) == (
        Severity.WARN, "no such device",
    )  # fmt: skip
    assert shown(said["reading interface br0"].fix) == "virsh iface-dumpxml br0"
    modular = host(
        {"unread": unread}, processes="/usr/sbin/virtqemud", units="virtqemud.socket active"
    )
    assert (
        shown(found(modular)["reading pool all"].fix)
        == "systemctl enable --now virtstoraged.socket"
    )


@pytest.mark.parametrize(
    ("kind", "cell", "lost"),
    [
        ("capabilities", "guest confinement", {"security": ()}),
        ("capabilities", "huge pages", {"huge_pages": {}}),
        ("host-name", "host name", {"hostname": ""}),
        ("qemu-version", "versions", {"hypervisor_version": 0}),
    ],
)
def test_what_could_not_be_read_is_not_held_to_be_missing(
    kind: str, cell: str, lost: dict[str, Any]
) -> None:
    said = found(host({**lost, "unread": (Unread(kind, "", "error 1"),)}))[cell]
    assert (said.severity, shown(said.evidence)) == (Severity.UNKNOWN, "error 1")


def test_no_pool_is_advised_where_the_pools_could_not_be_read() -> None:
    unread = (Unread("pool", "", "error 1"), Unread("network", "", "error 1"))
    said = found(host({"pools": (), "networks": (), "bridges": frozenset(), "unread": unread}))
    assert not {"storage pools", "bridges"} & said.keys()


def test_a_monolithic_libvirtd_needs_no_daemons_beside_it() -> None:
    assert "modular daemons" not in found(host())


def test_every_daemon_that_is_wanted_is_asked_about() -> None:
    for daemon in DAEMONS:
        assert {f"{daemon}.socket", f"{daemon}.service"} <= {*probes.UNITS}


def test_a_driver_that_newer_debian_has_in_a_package_of_its_own_is_named() -> None:
    unread = (Unread("interface", "", "no driver"),)
    new = found(host({"unread": unread, "libvirt_version": 11_003_000, "bridges": frozenset()}))
    said = shown(new["reading interface all"].fix)
    assert said == "apt-get install libvirt-daemon-driver-interface && systemctl restart libvirtd"
    assert "bridges" not in new
    old = found(host({"unread": unread, "libvirt_version": 9_000_000}))
    assert shown(old["reading interface all"].fix) == ""


def test_a_vm_that_cannot_be_read_is_warned_of() -> None:
    odd = replace(
        draw_cluster("host-a 8cpu 64G | web 1G").vm("web"), problem="its definition: error 1"
    )
    assert found(host(guests=(odd,)))["reading VM web"].evidence == "its definition: error 1"
