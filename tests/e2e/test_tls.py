"""The transports of real clusters, on real hosts: libvirt over SSH and TLS, encrypted moves, certificates judged."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.ssh.address import SshAddress
from bot.adapters.ssh.hosts import SshHosts
from bot.domain.cluster import Health
from bot.domain.errors import HypervisorError
from bot.domain.message import Code, Words
from bot.domain.readiness import Finding, Severity
from bot.domain.steps import MigrateVm
from bot.factories import SystemClock
from bot.stage import PACE
from lab import Guest, Lab, tls
from lab.slack import Command, Workspace
from lab.sshd import Door, serve
from lab.tls import Authority
from plugins.host_check import handler, pairs
from plugins.host_check.planner import HostCheck, HostPair
from plugins.host_check.settings import HostCheckSettings
from tests.e2e.play import play, runs_once

pytestmark = pytest.mark.lab

SETTINGS = HostCheckSettings()
A, B = "host-a", "host-b"
ROOT = Path(__file__).parents[2]
# What a bot whose machine is in the hosts' network does; the tests' own process is not in it.
READ = """
import sys
from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.factories import SystemClock
hosts = LibvirtHypervisor([HostAddress("there", sys.argv[1], "")], clock=SystemClock(), deadline=20)
seen = hosts.snapshot()
print(seen.hosts[0].health, seen.hosts[0].hostname, *sorted(vm.uuid for vm in seen.vms))
hosts.close()
"""


@pytest.fixture(scope="module")
def authority(lab: Lab) -> Authority:
    return tls.serve(lab)


@pytest.fixture(scope="module")
def doors(lab: Lab) -> dict[str, Door]:
    return {host: serve(lab, host) for host in (A, B)}


@pytest.fixture(scope="module")
def traveller(lab: Lab) -> Guest:
    return lab.guest("tls-1", host=A)


@pytest.fixture(scope="module")
def hosts(lab: Lab, authority: Authority, doors: dict[str, Door]) -> Iterator[LibvirtHypervisor]:
    """Read over SSH, and migrated between by TLS."""
    addresses = [
        HostAddress(name, door.uri, tls.uri(lab.hosts[name]), migrate_tls=True)
        for name, door in doors.items()
    ]
    shells = {name: SshAddress(door.address, door.user, 22, str(door.key_file), str(door.known_hosts),
                               door.proxy_command) for name, door in doors.items()}  # fmt: skip
    made = LibvirtHypervisor(addresses, clock=SystemClock(), deadline=20, shells=SshHosts(shells))
    yield made
    made.close()


def checked(hosts: LibvirtHypervisor, host: str) -> dict[str, Finding]:
    (report,) = handler.check(SETTINGS, HostCheck((host,)), hosts.snapshot(), hosts).reports
    return {each.name: each for each in report.findings}


def across(hosts: LibvirtHypervisor, source: str, target: str) -> dict[str, Finding]:
    found = handler.pair(SETTINGS, HostPair((source, target)), hosts.snapshot(), hosts).reports
    report = next(each for each in found if (each.source, each.target) == (source, target))
    return {each.name: each for each in report.findings}


def test_a_host_is_read_and_a_guest_moves_encrypted(
    lab: Lab, hosts: LibvirtHypervisor, traveller: Guest
) -> None:
    """Over SSH the bot sees what virsh sees; the daemons reach each other by TLS; QEMU does without it only if told."""
    seen = hosts.snapshot()
    assert [host.health for host in seen.hosts] == [Health.UP, Health.UP]
    assert {vm.uuid for vm in seen.on(A)} == set(lab.virsh(A, "list", "--all", "--uuid").split())
    move = MigrateVm(traveller.uuid, traveller.name, A, B, seen.vm(traveller.name).memory)
    keys = tls.pki(lab.hosts[B]) / "qemu"
    keys.rename(keys.with_name("away"))
    try:
        with pytest.raises(HypervisorError, match="credentials") as caught:
            hosts.migrate(move)
    finally:
        keys.with_name("away").rename(keys)
    assert "/etc/pki/qemu" in str(caught.value.advice)
    runs_once(lab, traveller, A)
    hosts.migrate(move)
    runs_once(lab, traveller, B)


@pytest.mark.slow
def test_a_bot_that_reaches_its_hosts_over_ssh_moves_a_guest_encrypted_from_chat(
    lab: Lab, authority: Authority, doors: dict[str, Door], traveller: Guest, tmp_path: Path
) -> None:
    (home,) = lab.where(traveller.name)
    other = B if home == A else A
    tables = [
        {
            "name": name,
            "uri": door.uri,
            "migrate_uri": tls.uri(lab.hosts[name]),
            "migrate_tls": True,
        }
        for name, door in doors.items()
    ]
    with Workspace(commands=(Command("/kvm", "Run the cluster", "help"),), pace=PACE) as workspace:
        made = play(lab, workspace, tmp_path, hosts=tables)
        with made.bot:
            workspace.wait_connected()
            made.asks(f"migrate {traveller.name} to {other}")
            proposal = made.proposal(traveller.name)
            made.approves("bruno", proposal)
            made.ended("Done:", proposal)
            runs_once(lab, traveller, other)
            made.asks(f"vm show {traveller.name}")
            made.told("ana", traveller.name, other, f"It can be migrated to {home}")


def test_a_host_is_read_over_tls_by_who_has_a_certificate_and_by_nobody_else(
    lab: Lab, authority: Authority
) -> None:
    read = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", READ)
    health, hostname, *guests = lab.run(A, *read, tls.uri(lab.hosts[B])).split()
    assert (health, hostname) == ("up", B)
    assert set(guests) == set(lab.virsh(B, "list", "--all", "--uuid").split())
    other = Authority(lab.directory / "stranger", "another CA")
    strange = lab.hosts[A].directory / "strange"
    other.issue(replace(lab.hosts[A], directory=strange))
    mine = strange / "pki" / "libvirt"
    shutil.copy(authority.certificate, mine / "cacert.pem")
    shutil.copy(mine / "private" / "clientkey.pem", mine)
    assert lab.run(A, *read, f"{tls.uri(lab.hosts[B])}?pkipath={mine}").split()[0] == "unreachable"


def test_a_key_that_is_not_known_is_refused_over_ssh(
    lab: Lab, doors: dict[str, Door], tmp_path: Path
) -> None:
    client = tmp_path / "ssh"
    client.write_text(doors[A].client.read_text().replace(str(doors[A].known_hosts), "/dev/null"))
    client.chmod(0o700)
    uri = doors[A].uri.replace(str(doors[A].client), str(client))
    hosts = LibvirtHypervisor([HostAddress(A, uri, "")], clock=SystemClock(), deadline=20)
    try:
        (host,) = hosts.snapshot().hosts
    finally:
        hosts.close()
    assert host.health is Health.UNREACHABLE
    assert "Host key verification failed" in str(host.problem)


def test_with_certificates_every_cell_is_green_and_their_ends_are_foretold(
    lab: Lab, hosts: LibvirtHypervisor, authority: Authority
) -> None:
    assert {name: each.severity for name, each in across(hosts, A, B).items()} == dict.fromkeys(
        (name for name, _ in pairs.RULES), Severity.PASS
    )
    authority.issue(lab.hosts[B], days=5)
    soon = checked(hosts, B)["certificate /etc/pki/libvirt/servercert.pem"]
    authority.issue(lab.hosts[B])
    assert (soon.severity, "in 5 days" in str(soon.evidence)) == (Severity.WARN, True)
    fix = soon.fix
    assert isinstance(fix, Words)
    command = fix.args["command"]
    assert isinstance(command, Code)
    lab.run(B, "sh", "-c", command.command)
    assert checked(hosts, B)[soon.name].severity is Severity.PASS


@pytest.mark.slow
def test_a_certificate_that_has_ended_is_red_for_its_host_and_in_its_cell(
    lab: Lab, hosts: LibvirtHypervisor, authority: Authority
) -> None:
    authority.issue(lab.hosts[B], days=-1)
    try:
        own, ended = checked(hosts, B), across(hosts, A, B)["encryption"]
    finally:
        authority.issue(lab.hosts[B])
    assert own["certificate /etc/pki/libvirt/servercert.pem"].severity is Severity.FAIL
    assert ended.severity is Severity.FAIL
    assert "/etc/pki/qemu/server-cert.pem of host-b ended" in str(ended.evidence)
    assert across(hosts, A, B)["encryption"].severity is Severity.PASS


@pytest.mark.slow
def test_another_authority_is_red_in_its_cell_and_the_fix_names_the_file(
    lab: Lab, hosts: LibvirtHypervisor, authority: Authority
) -> None:
    other = Authority(lab.directory / "other", "another CA")
    other.issue(lab.hosts[A])
    try:
        found, own = across(hosts, A, B), checked(hosts, A)
        back = across(hosts, B, A)["credentials"]
        authority.trusted_by(lab.hosts[A])
        half = across(hosts, A, B)["credentials"]
        strange = checked(hosts, A)["certificate /etc/pki/libvirt/servercert.pem"]
    finally:
        authority.issue(lab.hosts[A])
    refused = found["credentials"]
    assert (refused.severity, "known issuer" in str(refused.evidence)) == (Severity.FAIL, True)
    assert str(refused.fix) == (
        "On host-a: `/etc/pki/CA/cacert.pem` must hold the authority that signed the certificate of host-b."
    )
    assert own["certificate /etc/pki/libvirt/servercert.pem"].severity is Severity.PASS, (
        "it is good in itself"
    )
    assert back.severity is Severity.PASS, (
        "the daemon of host-a goes on with the certificate that it has read"
    )
    assert (half.severity, "clientcert.pem" in str(half.fix)) == (Severity.FAIL, True)
    assert (strange.severity, "not signed by" in str(strange.evidence)) == (Severity.FAIL, True)
    assert across(hosts, A, B)["credentials"].severity is Severity.PASS
