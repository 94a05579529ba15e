"""One suite for every ``Readiness``: the fake for plugin authors, and libvirt with a real sshd on the lab's hosts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.ssh.address import SshAddress
from bot.adapters.ssh.hosts import SshHosts
from bot.domain.errors import HypervisorError, UnknownNameError
from bot.domain.readiness import CommandResult, CpuOrder
from bot.ports import Hypervisor
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from tests.waiting import RealClock

if TYPE_CHECKING:
    from lab import Lab
    from lab.sshd import Door

A, B, C = "host-a", "host-b", "host-c"
GUEST = "ready-1"


def shell(argv: Sequence[str]) -> CommandResult:
    """A fake host's shell is this machine's; it waits for nothing that sleeps."""
    if argv[0] == "sleep":
        raise HypervisorError("It did not end in time.")
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False)
    return CommandResult(done.returncode, done.stdout, done.stderr)


def fake() -> FakeHypervisor:
    lines = f"{A} 4cpu 4G | {GUEST} 128M\n{B} 4cpu 4G\n{C} 4cpu 4G"
    made = FakeHypervisor(draw_cluster(lines), TickingClock())
    made.give_shell(A, shell)
    return made


def ssh(door: Door) -> SshAddress:
    return SshAddress(
        door.address, door.user, 22, str(door.key_file), str(door.known_hosts), door.proxy_command
    )


def real(lab: Lab, shells: SshHosts) -> LibvirtHypervisor:
    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    return LibvirtHypervisor(addresses, clock=RealClock(), deadline=10, shells=shells)


@pytest.fixture(scope="module", params=["fake", pytest.param("libvirt", marks=pytest.mark.lab)])
def hosts(request: pytest.FixtureRequest) -> Iterator[Hypervisor]:
    if request.param == "fake":
        yield fake()
        return
    from lab.sshd import serve

    lab: Lab = request.getfixturevalue("lab")
    lab.guest(GUEST, host=A)
    made = real(lab, SshHosts({A: ssh(serve(lab, A))}))
    yield made
    made.close()
    lab.virsh(A, "destroy", GUEST)
    lab.virsh(A, "undefine", GUEST)


def test_a_host_tells_what_it_is(hosts: Hypervisor) -> None:
    facts, seen = hosts.host_facts(A), hosts.snapshot().host(A)
    assert (facts.host, facts.uuid, facts.hostname) == (A, seen.uuid, seen.hostname or A)
    assert (facts.libvirt_version, facts.hypervisor_version) == (
        seen.libvirt_version,
        seen.hypervisor_version,
    )
    assert facts.machines == seen.machines
    assert facts.bridges == seen.bridges
    assert "qemu" in facts.virt_types
    assert "tcp" in facts.transports


def test_a_name_that_is_no_host_is_refused_with_the_nearest(hosts: Hypervisor) -> None:
    for ask in (lambda: hosts.host_facts("host-aa"), lambda: hosts.run("host-aa", ["true"])):
        with pytest.raises(UnknownNameError, match="host-aa"):
            ask()


def test_equal_hosts_fit_each_other_and_the_way_there_is_told(hosts: Hypervisor) -> None:
    pair = hosts.pair_facts(A, B)
    assert (pair.source, pair.target, pair.cpu) == (A, B, CpuOrder.IDENTICAL)
    assert B in pair.migrate_uri


def test_the_baseline_names_a_model_and_every_running_guest(hosts: Hypervisor) -> None:
    found = hosts.cpu_baseline([C, A, B])
    assert found.hosts == (A, B, C)
    assert found.model
    assert found.model in found.xml
    mine = next(each for each in found.guests if each.name == GUEST)
    assert (mine.host, mine.beyond, mine.problem) == (A, (), "")


def test_no_host_has_no_baseline(hosts: Hypervisor) -> None:
    with pytest.raises(HypervisorError):
        hosts.cpu_baseline([])


def test_a_program_answers_with_its_code_and_both_outputs(hosts: Hypervisor) -> None:
    told = hosts.run(A, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert told is not None
    assert (told.code, told.out, told.err, told.ok) == (3, "out\n", "err\n", False)


def test_arguments_arrive_as_they_are(hosts: Hypervisor) -> None:
    words = ["a b", "$(id)", "'", '"; exit 9 #', "", "ü*"]
    told = hosts.run(A, ["printf", "%s\\n", *words])
    assert told is not None
    assert told.out.split("\n")[:-1] == words


def test_a_long_answer_arrives_whole(hosts: Hypervisor) -> None:
    told = hosts.run(A, ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"])
    assert told is not None
    assert told.out == "x" * 3_000_000


def test_a_program_that_does_not_end_is_given_up_and_the_next_one_works(hosts: Hypervisor) -> None:
    with pytest.raises(HypervisorError, match="did not end"):
        hosts.run(A, ["sleep", "60"], deadline=0.5)
    told = hosts.run(A, ["echo", "again"])
    assert told is not None
    assert told.out == "again\n"


def test_a_host_without_ssh_says_so_by_none(hosts: Hypervisor) -> None:
    assert hosts.run(B, ["true"]) is None


@pytest.mark.lab
def test_an_unknown_host_key_a_wrong_login_and_no_server_are_refused_with_advice(lab: Lab) -> None:
    from lab.sshd import serve

    good = ssh(serve(lab, A))
    wrong = {
        "not found in known_hosts": replace(good, known_hosts="/dev/null"),
        "uthentication": replace(good, user="stranger"),
        "No SSH connection to host-a": replace(good, port=23),
    }
    for text, address in wrong.items():
        shells = SshHosts({A: address})
        try:
            with pytest.raises(HypervisorError, match=text) as caught:
                shells.run(A, ["true"], 10)
            assert caught.value.advice
        finally:
            shells.close()


@pytest.mark.lab
def test_a_connection_that_broke_is_made_anew(lab: Lab) -> None:
    from lab.sshd import serve

    shells = SshHosts({A: ssh(serve(lab, A))})
    try:
        assert shells.run(A, ["true"], 10)
        with pytest.raises(HypervisorError, match="broke"):
            # In place of the login shell, so that its parent is the server's own process.
            shells.run(A, ["exec", "sh", "-c", "kill -9 $PPID"], 10)
        told = shells.run(A, ["echo", "back"], 10)
        assert told is not None
        assert told.out == "back\n"
    finally:
        shells.close()
