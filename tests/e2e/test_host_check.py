"""Readiness on real hosts: typed in chat and in the terminal, against what virt-host-validate and virsh say there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.ssh.address import SshAddress
from bot.adapters.ssh.hosts import SshHosts
from bot.domain.errors import UnknownNameError
from bot.domain.message import Code, Words
from bot.domain.readiness import Finding, Severity
from bot.factories import SystemClock
from bot.stage import PACE, hosts_for
from lab import Guest, Lab
from lab.slack import Command, Workspace
from lab.sshd import Door, serve
from plugins.host_check import handler, pairs, rules_virtualization
from plugins.host_check.planner import HostBaseline, HostCheck, HostPair
from plugins.host_check.readings import validate_rows
from plugins.host_check.settings import HostCheckSettings
from tests.e2e.play import Play, holds, other_host, play
from tests.waiting import until

pytestmark = pytest.mark.lab

SETTINGS = HostCheckSettings()
A, B, C = "host-a", "host-b", "host-c"
WITH_SSH = (A, B)  # host-c has none, on purpose


@pytest.fixture(scope="module")
def doors(lab: Lab) -> dict[str, Door]:
    return {host: serve(lab, host) for host in WITH_SSH}


@pytest.fixture(scope="module")
def hosts(lab: Lab, doors: dict[str, Door]) -> Iterator[LibvirtHypervisor]:
    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    shells = {name: SshAddress(door.address, door.user, 22, str(door.key_file), str(door.known_hosts),
                               door.proxy_command) for name, door in doors.items()}  # fmt: skip
    made = LibvirtHypervisor(addresses, clock=SystemClock(), deadline=10, shells=SshHosts(shells))
    yield made
    made.close()


@pytest.fixture(scope="module")
def stage(
    lab: Lab, doors: dict[str, Door], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Play]:
    """A started bot that has the plugin, and SSH to two of the three hosts."""
    with Workspace(commands=(Command("/kvm", "Run the cluster", "help"),), pace=PACE) as workspace:
        made = play(
            lab,
            workspace,
            tmp_path_factory.mktemp("bot"),
            hosts=hosts_for(lab, doors),
            plugins={
                "enabled": ["migrate", "host_check", "monitor"],
                "host_check": {"ageing_minutes": 0.05, "clock_hold": 0},
            },
            monitor={"every": 2},
            limits={"host_deadline": 5.0},
        )
        with made.bot:
            workspace.wait_connected()
            yield made


def command_in(finding: Finding) -> str:
    """The command that mends it."""
    assert isinstance(finding.fix, Words)
    code = finding.fix.args["command"]
    assert isinstance(code, Code)
    return code.command


def checked(hosts: LibvirtHypervisor, host: str) -> dict[str, Finding]:
    (report,) = handler.check(SETTINGS, HostCheck((host,)), hosts.snapshot(), hosts).reports
    return {each.name: each for each in report.findings}


def across(hosts: LibvirtHypervisor, source: str, target: str) -> dict[str, Finding]:
    found = handler.pair(SETTINGS, HostPair((source, target)), hosts.snapshot(), hosts).reports
    report = next(each for each in found if (each.source, each.target) == (source, target))
    return {each.name: each for each in report.findings}


def test_every_row_of_virt_host_validate_is_told_with_its_own_severity(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    said = validate_rows(lab.run(A, "virt-host-validate", "qemu", check=False))
    assert len(said) > 8
    found = checked(hosts, A)
    told = {
        name.removeprefix("validate: "): each.severity
        for name, each in found.items()
        if "validate: " in name
    }
    assert told == {
        row.removeprefix("for ").removeprefix("if "): severity
        for row, (severity, _) in said.items()
    }
    for name, finding in found.items():
        if name.startswith("validate: ") and finding.severity is not Severity.PASS:
            assert finding.fix, name


def test_where_both_look_our_own_eyes_agree_with_virt_host_validate(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    said = validate_rows(lab.run(A, "virt-host-validate", "qemu", check=False))
    own = rules_virtualization.own_rows(handler.look(SETTINGS, A, hosts.snapshot(), hosts))
    both = own.keys() & said.keys()
    assert len(both) >= 9
    assert {row: own[row] for row in both} == {row: said[row][0] for row in both}


def test_the_accelerator_is_judged_by_the_flag_and_by_running_it(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    hardware = validate_rows(lab.run(A, "virt-host-validate", "qemu", check=False))[
        "for hardware virtualization"
    ][0]
    found = checked(hosts, A)["accelerator"]
    assert found.severity is hardware
    assert found.fix or hardware is Severity.PASS


def test_plain_tcp_is_red_and_the_mode_is_probed(lab: Lab, hosts: LibvirtHypervisor) -> None:
    found = checked(hosts, A)
    assert found["plain TCP"].severity is Severity.FAIL
    assert f"{lab.hosts[A].address}:16509" in str(found["plain TCP"].evidence)
    assert str(found["daemon mode"].evidence) == "monolithic libvirtd, started with --listen"
    assert found["listen settings"].severity is Severity.PASS


def test_keys_that_do_not_exist_are_named_and_the_fix_removes_them(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    assert checked(hosts, A)["keys of qemu.conf"].severity is Severity.PASS
    lab.run(
        A,
        "sh",
        "-c",
        "printf 'live_migration = 1\\n max_client_connections=5\\n' >> /etc/libvirt/qemu.conf",
    )
    found = checked(hosts, A)["keys of qemu.conf"]
    assert found.severity is Severity.WARN
    assert "live_migration, max_client_connections" in str(found.evidence)
    lab.run(A, "sh", "-c", command_in(found))
    assert checked(hosts, A)["keys of qemu.conf"].severity is Severity.PASS


def test_pools_and_networks_are_as_virsh_says_and_their_fixes_work(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    lab.virsh(A, "pool-autostart", "local", "--disable")
    found = checked(hosts, A)["pool local"]
    assert (found.severity, str(found.fix)) == (Severity.WARN, "`virsh pool-autostart local`")
    lab.virsh(A, *command_in(found).split()[1:])
    assert "yes" in lab.virsh(A, "pool-list")
    lab.virsh(A, "pool-destroy", "local")
    found = checked(hosts, A)["pool local"]
    assert (found.severity, str(found.fix)) == (Severity.WARN, "`virsh pool-start local`")
    lab.virsh(A, *command_in(found).split()[1:])
    assert checked(hosts, A)["pool local"].severity is Severity.PASS


def test_without_ssh_it_says_what_it_cannot_tell_and_tells_the_rest(
    hosts: LibvirtHypervisor,
) -> None:
    found = checked(hosts, C)
    assert found["pool local"].severity is Severity.PASS
    assert found["versions"].severity is Severity.PASS
    for name in (
        "virt-host-validate",
        "plain TCP",
        "daemon mode",
        "keys of qemu.conf",
        "lock manager",
        "time sync",
    ):
        assert (found[name].severity, str(found[name].evidence)) == (
            Severity.UNKNOWN,
            "cannot tell: no SSH",
        )


def test_a_host_whose_libvirtd_is_dead_fails_and_holds_up_nobody(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    lab.kill_libvirtd(B)
    try:
        reports = handler.check(SETTINGS, HostCheck(()), hosts.snapshot(), hosts).reports
    finally:
        lab.start_libvirtd(B)
    until(lambda: hosts.snapshot().host(B).up, "it is asked again, after a pause")
    found = {report.host: {each.name: each for each in report.findings} for report in reports}
    assert found[B]["libvirt"].severity is Severity.FAIL
    assert found[B]["daemon mode"].severity is Severity.FAIL
    assert found[A]["libvirt"].severity is Severity.PASS


def test_two_good_hosts_are_green_each_way_but_for_what_they_send_in_the_clear(
    hosts: LibvirtHypervisor,
) -> None:
    for one, other in ((A, B), (B, A)):
        found = across(hosts, one, other)
        assert tuple(found) == tuple(name for name, _ in pairs.RULES)
        assert found.pop("encryption").severity is Severity.WARN
        assert {each.severity for each in found.values()} == {Severity.PASS}, found


def test_a_cut_way_makes_ports_and_credentials_red_in_the_right_cell(
    lab: Lab, hosts: LibvirtHypervisor
) -> None:
    lab.cut_between(A, B)
    try:
        found = across(hosts, A, B)
    finally:
        lab.heal_between(A, B)
    assert {name for name, each in found.items() if each.severity is Severity.FAIL} == {
        "migration ports",
        "credentials",
    }
    assert "49152" in str(found["migration ports"].evidence)
    assert "49152-49215" in str(found["migration ports"].fix)


def test_a_missing_bridge_and_a_wrong_name_are_red(lab: Lab, hosts: LibvirtHypervisor) -> None:
    lab.guest("plugged", host=A, running=False)
    lab.remove_bridge(B)
    lab.run(A, "sh", "-c", f"sed 's/.* {B}/127.0.1.1 {B}/' /etc/hosts > /etc/libvirt/wrong-hosts")
    try:
        lab.run(A, "mount", "--bind", "/etc/libvirt/wrong-hosts", "/etc/hosts")
        found = across(hosts, A, B)
    finally:
        lab.run(A, "umount", "/etc/hosts")
        lab.restore_bridge(B)
        lab.virsh(A, "undefine", "plugged")
    assert found["bridges"].severity is Severity.FAIL
    assert "br0" in str(found["bridges"].evidence)
    assert found["names"].severity is Severity.FAIL
    assert "127.0.1.1" in str(found["names"].evidence)


def test_the_baseline_is_made_of_all_hosts(hosts: LibvirtHypervisor) -> None:
    found = handler.baseline(HostBaseline(), hosts.snapshot(), hosts).baseline
    assert found is not None
    assert found.hosts == (A, B, C)
    assert found.model
    assert found.xml.startswith("<cpu")


def test_a_name_that_is_none_is_answered_with_the_nearest(hosts: LibvirtHypervisor) -> None:
    with pytest.raises(UnknownNameError, match="host-d") as caught:
        handler.check(SETTINGS, HostCheck(("host-d",)), hosts.snapshot(), hosts)
    assert "host-" in str(caught.value.advice)


def test_in_chat_and_in_the_terminal(stage: Play) -> None:
    stage.asks("host check host-a")
    stage.told("ana", "host-a", "plain TCP", "16509", "accelerator")
    stage.asks("host check --all")
    stage.told("ana", "3 hosts", "host-c")
    stage.asks("host pair host-a host-b")
    stage.told("ana", "2 directions: 2 WARN", "in the clear", "migrate_tls")
    stage.asks("host pair --all")
    stage.told("ana", "6 directions", "every direction: WARN (encryption)")
    stage.asks("host baseline")
    stage.told("ana", "Baseline of host-a, host-b, host-c")
    stage.asks("host pair host-a")
    stage.told("ana", "Name at least two hosts")
    done = stage.bot.command("check", "--json")
    told = {each["what"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert (told["host-a plain TCP"]["severity"], told["host-a plain TCP"]["ok"]) == ("FAIL", False)
    assert told["host-a plain TCP"]["fix"]
    assert (told["host-c plain TCP"]["severity"], told["host-c plain TCP"]["ok"]) == (
        "UNKNOWN",
        True,
    )


def test_a_clock_that_drifts_is_told_and_over_when_it_is_right(stage: Play) -> None:
    late = "#!/bin/sh\nexec /etc/libvirt/true-date -d '+90 seconds' \"$@\"\n"
    (stage.lab.directory / A / "late-date").write_text(late)
    stage.lab.run(A, "cp", "/usr/bin/date", "/etc/libvirt/true-date")
    stage.lab.run(
        A,
        "install",
        "-m",
        "755",
        str(stage.lab.directory / A / "late-date"),
        "/etc/libvirt/late-date",
    )
    stage.lab.run(A, "mount", "--bind", "/etc/libvirt/late-date", "/usr/bin/date")
    try:
        alert = stage.message("#ops", "The clock of host-a is off", "ahead of the bot's")
    finally:
        stage.lab.run(A, "umount", "/usr/bin/date")
    stage.workspace.wait_message(
        "#ops", lambda each: each.ts == alert.ts and holds(each, "Resolved:"), 60
    )


def test_pressure_is_told_of_hosts_with_a_shell(stage: Play) -> None:
    shares = re.compile(r"cpu \d+%, memory \d+%, i/o \d+%")

    def told() -> bool:
        stage.asks("show host host-a")
        shown = stage.workspace.messages("#ops", seen_by="ana")
        return any(
            holds(each, "host-a: up") and shares.search(each.plain().lower()) for each in shown
        )

    until(told, "its pressure is never told")
    stage.asks("show host host-c")
    stage.told("ana", "host-c: up", "needs SSH")


def test_maintenance_is_asked_for_approved_and_respected(stage: Play, mover: Guest) -> None:
    (home,) = stage.lab.where(mover.name)
    other = other_host(stage.lab, mover)
    stage.asks(f"host maintenance {other} on")
    proposal = stage.proposal(f"Put {other} into maintenance")
    stage.approves("bruno", proposal)
    stage.ended("Done:", proposal)
    stage.asks(f"migrate mover to {other}")
    stage.told("ana", f"{other} is in maintenance")
    stage.asks(f"host maintenance {other} on")
    stage.told("ana", "in maintenance already")
    stage.asks(f"host maintenance {home} on")
    assert "mover" in stage.proposal(f"Put {home} into maintenance").plain()
    stage.asks(f"host maintenance {other} off")
    back = stage.proposal(f"Take {other} out of maintenance")
    stage.approves("bruno", back)
    stage.ended("Done:", back)
