"""A directory that several hosts see, on real hosts: moved plainly, never copied onto itself, its data whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import MIB, Seen, VmState
from bot.domain.errors import HypervisorError
from bot.domain.plan import Plan, Refused
from bot.domain.steps import MigrateVm
from bot.domain.storage import Declared
from plugins.migrate import planner
from plugins.migrate.grammar import Migrate
from plugins.migrate.settings import MigrateSettings
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Guest, Lab

pytestmark = pytest.mark.lab
A, B, C = "host-a", "host-b", "host-c"
NUMBERS = count(1)
DECLARED = (Declared("common"),)
TICKS = 4096  # bytes at a disk's beginning that the lab's VMs write to, once a second
WHOLE = b"all of it" * 8 * (4 * MIB // 72)
WHOLE += bytes(4 * MIB - len(WHOLE))


@pytest.fixture
def common(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A directory that host-a and host-b see at one path, as a pool of kind dir; host-c has another one there."""
    folder = Path("/srv") / f"drover-{tmp_path.name}"
    for each in ("seen", "c"):
        (tmp_path / each).mkdir()
    for host, inside in ((A, "seen"), (B, "seen"), (C, "c")):
        lab.run(host, "mkdir", "-p", str(folder))
        lab.run(host, "mount", "--bind", str(tmp_path / inside), str(folder))
        lab.virsh(host, "pool-create-as", "common", "dir", "--target", str(folder))
    yield folder
    for host in (A, B, C):
        lab.virsh(host, "pool-destroy", "common", check=False)
        lab.run(host, "umount", str(folder), check=False)
    shutil.rmtree(folder, ignore_errors=True)


Make = Callable[..., LibvirtHypervisor]


@pytest.fixture
def connect(lab: Lab) -> Iterator[Make]:
    made: list[LibvirtHypervisor] = []

    def connected(storage: tuple[Declared, ...] = ()) -> LibvirtHypervisor:
        hosts = [
            HostAddress(each.name, each.uri, each.peer_uri, storage=storage)
            for each in lab.hosts.values()
        ]
        made.append(
            LibvirtHypervisor(hosts, clock=RealClock(), deadline=10.0, measure_dirty_rate=False)
        )
        return made[-1]

    yield connected
    for each in made:
        each.close()


@pytest.fixture
def guest(lab: Lab, common: Path, tmp_path: Path) -> Iterator[Guest]:
    """A running VM on host-a, with its disk in the common directory."""
    made = lab.guest(f"common-{next(NUMBERS)}", host=A, disk=None, running=False)
    lab.virsh(A, "vol-create-as", "common", f"{made.name}.raw", "4M", "--format", "raw")
    disk = (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{common}/{made.name}.raw'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    written = tmp_path / "common.xml"
    written.write_text(
        lab.virsh(A, "dumpxml", made.name).replace("</devices>", f"{disk}</devices>")
    )
    lab.virsh(A, "define", str(written))
    (tmp_path / "seen" / f"{made.name}.raw").write_bytes(WHOLE)
    lab.virsh(A, "start", made.name)
    until(made.boots, "it boots")
    yield made
    for host in (A, B, C):
        lab.virsh(host, "destroy", made.name, check=False)
        lab.virsh(host, "undefine", made.name, check=False)


def whole(image: Path) -> bool:
    """Whether an image holds what was written before the move, and what the VM wrote."""
    found = image.read_bytes()
    return found[TICKS:] == WHOLE[TICKS:] and found[:TICKS].startswith(b"tick ")


def planned(
    hypervisor: LibvirtHypervisor, guest: Guest, target: str = B, *, copy: bool = False
) -> Plan | Refused:
    seen = hypervisor.snapshot({guest.name})
    return planner.plan(MigrateSettings(), Migrate(guest.name, target, copy_storage=copy), seen, ())


def codes(answer: Plan | Refused) -> list[str]:
    return [each.code for each in answer.objections] if isinstance(answer, Refused) else []


def step(guest: Guest, target: str = B, *, copy: bool = False) -> MigrateVm:
    return MigrateVm(guest.uuid, guest.name, A, target, 128 * MIB, copy_storage=copy)


def test_the_same_file_is_known_moved_plainly_and_never_copied_onto_itself(
    lab: Lab, connect: Make, guest: Guest, tmp_path: Path
) -> None:
    hypervisor = connect()
    look = hypervisor.snapshot({guest.name}).target_look(guest.uuid, B)
    assert look
    assert [each.seen for each in look.disks] == [Seen.SAME]
    assert codes(planned(hypervisor, guest, copy=True)) == ["same-file"]
    with pytest.raises(
        HypervisorError, match=rf"host-b already has common/{guest.name}\.raw"
    ) as caught:
        hypervisor.migrate(step(guest, copy=True))
    assert "shared = true" in str(caught.value.advice)
    plan = planned(hypervisor, guest)
    assert isinstance(plan, Plan)
    assert "taken-for-shared" in [each.code for each in plan.warnings]
    hypervisor.migrate(step(guest))
    assert [each.state for each in hypervisor.sightings(guest.uuid)] == [
        None,
        VmState.RUNNING,
        None,
    ]
    assert [each.name for each in (tmp_path / "seen").iterdir()] == [f"{guest.name}.raw"], (
        "no file of ours is left"
    )
    assert "drover-probe" not in lab.virsh(A, "vol-list", "common") + lab.virsh(
        B, "vol-list", "common"
    )
    assert whole(tmp_path / "seen" / f"{guest.name}.raw")


def test_declared_shared_it_moves_plainly_and_its_data_is_whole(
    connect: Make, guest: Guest, tmp_path: Path
) -> None:
    hypervisor = connect(DECLARED)
    plan = planned(hypervisor, guest)
    assert isinstance(plan, Plan)
    assert "taken-for-shared" not in [each.code for each in plan.warnings]
    assert codes(planned(hypervisor, guest, copy=True)) == ["nothing-to-copy"]
    hypervisor.migrate(step(guest))
    assert [each.state for each in hypervisor.sightings(guest.uuid)] == [
        None,
        VmState.RUNNING,
        None,
    ]
    assert guest.boots() == 1
    assert whole(tmp_path / "seen" / f"{guest.name}.raw")


def test_another_file_of_that_name_is_never_copied_over(
    connect: Make, guest: Guest, tmp_path: Path
) -> None:
    hypervisor = connect()
    (tmp_path / "c" / f"{guest.name}.raw").write_bytes(b"other")
    assert codes(planned(hypervisor, guest, C, copy=True)) == ["file-there"]
    with pytest.raises(HypervisorError, match="host-c already has"):
        hypervisor.migrate(step(guest, C, copy=True))
    with pytest.raises(HypervisorError, match="without shared storage") as caught:
        hypervisor.migrate(step(guest, C))
    assert "`[[pools]]` with `shared = true`" in str(caught.value.advice)
    assert (tmp_path / "c" / f"{guest.name}.raw").read_bytes() == b"other"


def test_where_there_is_nothing_it_is_copied_and_what_is_left_is_known(
    connect: Make, guest: Guest, tmp_path: Path
) -> None:
    hypervisor = connect()
    plain = planned(hypervisor, guest, C)
    assert codes(plain) == ["local-disk"]
    assert isinstance(planned(hypervisor, guest, C, copy=True), Plan)
    moved = step(guest, C, copy=True)
    assert hypervisor.copied_volumes(moved, C) == ()
    hypervisor.migrate(moved)
    assert [each.name for each in hypervisor.copied_volumes(moved, A)] == [f"{guest.name}.raw"], (
        "left on the source"
    )
    assert whole(tmp_path / "c" / f"{guest.name}.raw")
