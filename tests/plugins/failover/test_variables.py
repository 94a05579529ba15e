"""UEFI variables: copied from a VM's host while it lives, and laid onto the host where it starts again."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.powers import ProvenPowers
from bot.adapters.sql.store import SqlStore
from bot.adapters.ssh.address import SshAddress
from bot.adapters.ssh.hosts import SshHosts
from bot.catalog import core_codec
from bot.domain.cluster import Pool, VmDetail, VmState
from bot.domain.definition import Definition, Variables, sha_of
from bot.domain.errors import HypervisorError
from bot.domain.operation import State, StepSkipped
from bot.domain.readiness import CommandResult
from bot.flow.monitoring.definitions import EVERY, KeptDefinitions
from bot.flow.monitoring.variables import KeptVariables
from bot.testing.power import FakePower
from plugins.failover import variables
from plugins.failover.steps import RestartVm
from tests.plugins.failover.test_failover import Room, room_in
from tests.waiting import RealClock

if TYPE_CHECKING:
    from lab import Lab

CLUSTER = """
host-a  16cpu 64G reserve 2G | db-1 8G
host-b  16cpu 64G reserve 2G | app-1 2G
"""
PATH = "/var/lib/libvirt/qemu/nvram/db-1_VARS.fd"
BYTES = b"".join(hashlib.sha256(n.to_bytes(2)).digest() for n in range(2000)) + bytes(
    480_000
)  # as OVMF's: mostly empty


def shell_at(room: Room, host: str, root: Path) -> Callable[[Sequence[str]], CommandResult]:
    """A real shell on this machine, in which the file of variables lies below ``root``."""

    def run(argv: Sequence[str]) -> CommandResult:
        if not room.bot.hypervisor.snapshot().host(host).up:
            raise HypervisorError("timed out")
        words = [str(root) + each if each == PATH else each for each in argv]
        if words[0] != "sh":
            return CommandResult(127, "")
        made = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        return CommandResult(made.returncode, made.stdout, made.stderr)

    return run


def file_on(root: Path) -> Path:
    return root / PATH.lstrip("/")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path, CLUSTER)
    hypervisor = made.bot.hypervisor
    vm = hypervisor.snapshot().vm("db-1")
    assert vm.detail is not None
    hypervisor.put(replace(vm, detail=replace(vm.detail, nvram=PATH)))
    for host in ("host-a", "host-b"):
        root = tmp_path / host
        file_on(root).parent.mkdir(parents=True)
        hypervisor.give_shell(host, shell_at(made, host, root))
    file_on(tmp_path / "host-a").write_bytes(BYTES)
    yield made
    made.bot.store.close()


def keeps(room: Room) -> KeptDefinitions:
    made = KeptDefinitions(room.bot.hypervisor, room.bot.store, room.bot.clock)
    made.keep(room.bot.hypervisor.snapshot())
    return made


def test_g19_a_vm_with_uefi_starts_elsewhere_with_its_own_variables(
    room: Room, tmp_path: Path
) -> None:
    keeps(room)
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert not {each.code for each in room.bot.operation().plan.warnings} & {"nvram", "stays-off"}
    assert room.works() is State.DONE, room.why()
    assert room.runs("db-1") == ["host-b"]
    there = file_on(tmp_path / "host-b")
    assert there.read_bytes() == BYTES
    assert there.stat().st_mode & 0o777 == 0o600
    assert list(there.parent.iterdir()) == [there]


def test_what_has_changed_is_copied_again_and_what_has_not_is_not(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keeps(room)
    uuid = room.bot.hypervisor.snapshot().vm("db-1").uuid
    first = room.bot.store.variables(uuid)
    assert first is not None
    written: list[Collection[Variables]] = []
    keep = room.bot.store.keep_variables

    def note(copies: Collection[Variables]) -> None:
        written.append(copies)
        keep(copies)

    monkeypatch.setattr(room.bot.store, "keep_variables", note)
    room.bot.clock.turn(EVERY.total_seconds())
    made.keep(room.bot.hypervisor.snapshot())
    assert written == []
    file_on(tmp_path / "host-a").write_bytes(BYTES + b"more")
    room.bot.clock.turn(EVERY.total_seconds())
    made.keep(room.bot.hypervisor.snapshot())
    second = room.bot.store.variables(uuid)
    assert second is not None
    assert second.data != first.data
    assert second.at > first.at


def test_the_file_that_another_host_still_has_of_a_vm_is_not_taken_for_its_own(
    room: Room, tmp_path: Path
) -> None:
    keeps(room)
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    file_on(tmp_path / "host-b").write_bytes(b"old")
    room.bot.hypervisor.define_kept("host-b", room.bot.store.definitions(uuid=vm.uuid)[0])
    before = room.bot.store.variables(vm.uuid)
    room.bot.clock.turn(EVERY.total_seconds())
    keeps(room)
    after = room.bot.store.variables(vm.uuid)
    assert before is not None
    assert after is not None
    assert after.data == before.data


def test_variables_on_a_share_are_left_as_they_are(room: Room, tmp_path: Path) -> None:
    hypervisor, folder = room.bot.hypervisor, PATH.rpartition("/")[0]
    for host in ("host-a", "host-b"):
        share = Pool("nvram", "netfs", folder, active=True, autostart=True, shared=True)
        pools = (*hypervisor.snapshot().host(host).pools, share)
        hypervisor.change(host, pools=pools)
    keeps(room)
    file_on(tmp_path / "host-b").write_bytes(b"newer")
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert room.works() is State.DONE, room.why()
    assert room.runs("db-1") == ["host-b"]
    assert file_on(tmp_path / "host-b").read_bytes() == b"newer"


def test_without_a_copy_variables_on_a_share_keep_no_vm_off(room: Room) -> None:
    hypervisor, folder = room.bot.hypervisor, PATH.rpartition("/")[0]
    for host in ("host-a", "host-b"):
        hypervisor._shell_of.clear()
        share = Pool("nvram", "netfs", folder, active=True, autostart=True, shared=True)
        pools = (*hypervisor.snapshot().host(host).pools, share)
        hypervisor.change(host, pools=pools)
    keeps(room)
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    plan = room.bot.operation().plan
    assert not {each.code for each in plan.warnings} & {"nvram", "stays-off"}
    assert [each.reset_nvram for each in plan.steps if isinstance(each, RestartVm)] == [False]
    assert room.works() is State.DONE, room.why()


@pytest.mark.parametrize("why", ["no shell", "no permission"])
def test_without_a_copy_it_stays_off_as_before(room: Room, tmp_path: Path, why: str) -> None:
    if why == "no shell":
        room.bot.hypervisor._shell_of.clear()
    else:
        file_on(tmp_path / "host-a").unlink()
    keeps(room)
    room.dies()
    room.bot.clock.turn(60)
    assert "no copy is kept" in room.asks()


def test_a_target_that_cannot_take_them_starts_nothing_and_says_why(room: Room) -> None:
    keeps(room)
    room.bot.hypervisor.give_shell(
        "host-b", lambda _: CommandResult(1, "", "No space left on device")
    )
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.works()
    assert room.runs("db-1") == []
    (why,) = [each.why for each in room.bot.store.events("op-1") if isinstance(each, StepSkipped)]
    assert "could not be written on host-b: No space left on device" in str(why.text)


@pytest.mark.lab
def test_on_real_hosts_they_go_over_ssh_both_ways(lab: Lab, tmp_path: Path) -> None:
    """As long as OVMF's and with as little that repeats; no VM with UEFI runs in the lab."""
    from lab.sshd import serve

    doors = {name: serve(lab, name) for name in ("host-a", "host-b")}
    shells = SshHosts(
        {
            name: SshAddress(
                door.address,
                door.user,
                22,
                str(door.key_file),
                str(door.known_hosts),
                door.proxy_command,
            )
            for name, door in doors.items()
        }
    )
    clock = RealClock()
    store = SqlStore(f"sqlite:///{tmp_path}/drover.sqlite", core_codec(), clock=clock)
    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    powers = ProvenPowers(FakePower(clock), store, clock)
    hypervisor = LibvirtHypervisor(
        addresses, clock=clock, deadline=10, shells=shells, powers=powers
    )
    folder = PATH.rpartition("/")[0]
    fill = f"mkdir -p {folder}; (head -c 150000 /dev/urandom; head -c 390000 /dev/zero) > {PATH}"
    try:
        hypervisor.run("host-a", ["sh", "-c", fill])
        now = clock.now()
        kept = Definition(
            "u-1", "db-1", "host-a", "<domain/>", sha_of("<domain/>"), now, now,
            VmState.RUNNING, 1, 1 << 30, VmDetail(nvram=PATH),
        )  # fmt: skip
        store.keep_definitions([kept], ["host-a"])
        KeptVariables(hypervisor, store, clock).keep("host-a", [kept])
        variables.restore("host-b", kept, hypervisor)
        sums = [hypervisor.run(host, ["sha256sum", PATH]) for host in ("host-a", "host-b")]
        assert sums[0] is not None
        assert sums[1] is not None
        assert sums[0].code == sums[1].code == 0
        assert sums[0].out == sums[1].out
    finally:
        for host in doors:
            hypervisor.run(host, ["rm", "-f", PATH])
        hypervisor.close()
        store.close()
