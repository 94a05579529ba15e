"""One suite for whoever makes guests: the fake that plugin authors use, and libvirt on the lab's real hosts."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.backing import Backing
from bot.domain.cluster import MIB, STARTING_UP, Pool, Sighting, VmState
from bot.domain.definition import Definition, Unchanged
from bot.domain.errors import VOLUME_BUSY, DroverError, HypervisorError
from bot.ports import Hypervisor
from bot.ports.guests import Blueprint, Copy, Found, GuestDisk, GuestNic, Seed, Volume
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

A = "host-a"
POOL = "local"
IMAGE = "tiny.qcow2"
NOBODY = "00000000-0000-4000-8000-000000000000"
SEED = Seed(
    '{\n "instance-id": "i-1",\n "local-hostname": "made"\n}',
    '#cloud-config\n{"users": [{\n"name": "ana"}]}\n',
)


class Stage(Protocol):
    """One host with a pool and a base image in it."""

    @property
    def hypervisor(self) -> Hypervisor: ...

    @property
    def boot(self) -> dict[str, str]:
        """Kernel, initrd and command line of guests that shall run."""
        ...


@dataclass
class FakeStage:
    hypervisor: FakeHypervisor
    boot: dict[str, str]


@dataclass
class LabStage:
    lab: Lab
    hypervisor: LibvirtHypervisor
    boot: dict[str, str]


def fake_stage() -> FakeStage:
    hypervisor = FakeHypervisor(draw_cluster("host-a 4cpu 4G\nhost-b 4cpu 4G"), TickingClock())
    hypervisor.change(
        A, pools=(Pool(POOL, "dir", "/var/lib/libvirt/images", active=True, autostart=True),)
    )
    hypervisor.volumes[A, POOL, IMAGE] = Volume(
        POOL, IMAGE, f"/var/lib/libvirt/images/{IMAGE}", 32 * MIB, MIB, "qcow2"
    )
    return FakeStage(hypervisor, {})


@pytest.fixture(scope="module")
def lab_stage(lab: Lab) -> Iterator[LabStage]:
    from lab.image import COMMAND_LINE, cloud_image

    image = cloud_image()
    for host in lab.hosts.values():
        shutil.copy(image.disk, host.directory / "lib" / "images" / IMAGE)
    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    hypervisor = LibvirtHypervisor(addresses, clock=RealClock(), deadline=10)
    boot = {"kernel": str(image.kernel), "initrd": str(image.initrd), "cmdline": COMMAND_LINE}
    yield LabStage(lab, hypervisor, boot)
    hypervisor.close()


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.lab)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "fake":
        yield fake_stage()
        return
    real: LabStage = request.getfixturevalue("lab_stage")
    yield real
    for vm in real.hypervisor.snapshot().vms:
        if vm.name.startswith("made-"):
            real.hypervisor.force_off(vm.host, vm.uuid)
            real.hypervisor.undefine(vm.host, vm.uuid)


_numbers = itertools.count(1)


def made(stage: Stage, *, running: bool = False, seed: str = "disk", **how: Any) -> Blueprint:
    """A guest from the base image with a seed, defined on host-a, and started on request."""
    name, identity = f"made-{next(_numbers)}", str(uuid.uuid4())
    base = stage.hypervisor.volume(A, POOL, IMAGE)
    assert base is not None
    stage.hypervisor.create_volume(A, POOL, f"{name}.qcow2", 48 * MIB, base=base)
    target, form = ("sda", "raw") if seed == "cdrom" else ("vdb", "qcow2")
    stage.hypervisor.upload_seed(A, POOL, f"{name}-seed", SEED)
    stage.hypervisor.upload_seed(A, POOL, f"{name}-seed", SEED, form=form)  # once more replaces it
    blueprint = Blueprint(
        identity, name, vcpus=1, vcpus_max=2, memory=112 * MIB,
        disks=(GuestDisk(POOL, f"{name}.qcow2", "vda"), GuestDisk(POOL, f"{name}-seed", target, form, seed)),
        nics=(GuestNic("bridge", "br0", f"52:54:00:{identity[:2]}:{identity[2:4]}:{identity[4:6]}"),),
        tags={"env": "dev", "note": "<&'\">"}, log_pool=POOL, os_id="http://debian.org/debian/12",
        **{**stage.boot, **how},
    )  # fmt: skip
    stage.hypervisor.define(A, blueprint)
    if running:
        stage.hypervisor.start(A, identity)
    return blueprint


def sighting(stage: Stage, blueprint: Blueprint) -> Sighting:
    return next(each for each in stage.hypervisor.sightings(blueprint.uuid) if each.host == A)


def state(stage: Stage, blueprint: Blueprint) -> VmState | None:
    return sighting(stage, blueprint).state


def now(stage: Stage, blueprint: Blueprint) -> Found:
    found = stage.hypervisor.find(A, blueprint.uuid)
    assert found is not None
    return found


def boots(stage: Stage, blueprint: Blueprint) -> str:
    return until(
        lambda: (
            "drover-guest" in (said := stage.hypervisor.console(A, blueprint.uuid, 50)) and said
        ),
        "it boots",
    )


# Volumes


def test_a_volume_is_made_on_top_of_another(stage: Stage) -> None:
    base = stage.hypervisor.volume(A, POOL, IMAGE)
    assert base is not None
    volume = stage.hypervisor.create_volume(A, POOL, "made-top.qcow2", 64 * MIB, base=base)
    assert (volume.pool, volume.name, volume.capacity) == (POOL, "made-top.qcow2", 64 * MIB)
    assert volume.path.endswith("/made-top.qcow2")
    assert volume.allocation < MIB
    assert stage.hypervisor.volume(A, POOL, "made-top.qcow2") == volume
    stage.hypervisor.delete_volume(A, POOL, "made-top.qcow2")
    stage.hypervisor.delete_volume(A, POOL, "made-top.qcow2")
    assert stage.hypervisor.volume(A, POOL, "made-top.qcow2") is None


def test_a_full_copy_stands_alone_and_may_be_larger(stage: Stage) -> None:
    base = stage.hypervisor.volume(A, POOL, IMAGE)
    stage.hypervisor.create_volume(A, POOL, "made-copy.qcow2", 64 * MIB, base=base, copy=True)
    copied = stage.hypervisor.volume(A, POOL, "made-copy.qcow2")
    assert copied is not None
    assert copied.capacity == 64 * MIB
    if isinstance(stage, LabStage):
        assert "backingStore" not in stage.lab.virsh(A, "vol-dumpxml", "made-copy.qcow2", POOL)
    stage.hypervisor.delete_volume(A, POOL, "made-copy.qcow2")


def test_a_volume_is_not_made_over_another(stage: Stage) -> None:
    with pytest.raises(HypervisorError) as caught:
        stage.hypervisor.create_volume(A, POOL, IMAGE, MIB)
    assert caught.value.advice
    with pytest.raises(HypervisorError):
        stage.hypervisor.create_volume(A, "no-such-pool", "x.qcow2", MIB)
    assert stage.hypervisor.volume(A, "no-such-pool", "x.qcow2") is None


@contextmanager
def copying(stage: Stage, volume: str) -> Iterator[None]:
    """Somebody else copies into a volume, and does not come to an end."""
    if isinstance(stage, FakeStage):
        stage.hypervisor.create_volume(A, POOL, volume, 32 * MIB)
        stage.hypervisor.busy_volumes.add((A, POOL, volume))
        yield
        stage.hypervisor.busy_volumes.clear()
        return
    assert isinstance(stage, LabStage)
    from lab.gates import closed_gate

    # libvirt itself opens a base and what that stands on; what is below is opened by qemu-img alone
    images, below = stage.lab.hosts[A].directory / "lib" / "images", ""
    for name in ("deep.qcow2", "middle.qcow2", "top.qcow2"):
        base = ["-F", "qcow2", "-b", below] if below else []
        qemu_img = ["qemu-img", "create", "-q", "-f", "qcow2", *base, str(images / name), "32M"]
        subprocess.run(qemu_img, check=True, cwd=images)
        below = name
    top = stage.hypervisor.volume(A, POOL, "top.qcow2")
    copy = partial(stage.hypervisor.create_volume, A, POOL, volume, 32 * MIB, base=top, copy=True)
    with ThreadPoolExecutor(1) as other:
        with closed_gate(images / "deep.qcow2"):
            copied = other.submit(copy)
            until(lambda: volume in stage.lab.virsh(A, "vol-list", POOL), "it is being copied")
            yield
        copied.result()


def test_a_volume_that_is_being_copied_is_busy_until_that_has_ended(stage: Stage) -> None:
    with copying(stage, "made-slow.qcow2"), pytest.raises(HypervisorError) as caught:
        stage.hypervisor.delete_volume(A, POOL, "made-slow.qcow2")
    assert caught.value.code == VOLUME_BUSY
    assert caught.value.advice
    stage.hypervisor.delete_volume(A, POOL, "made-slow.qcow2")
    assert stage.hypervisor.volume(A, POOL, "made-slow.qcow2") is None


# From nothing to a running guest


def test_a_guest_is_defined_as_drawn(stage: Stage) -> None:
    blueprint = made(stage)
    found = now(stage, blueprint)
    assert (found.name, found.vcpus, found.memory) == (blueprint.name, 1, 112 * MIB)
    assert dict(found.tags) == {"env": "dev", "note": "<&'\">"}
    assert [(each.target, each.device) for each in found.detail.disks] == [
        ("vda", "disk"),
        ("vdb", "disk"),
    ]
    assert all(each.cache == "none" for each in found.detail.disks)
    assert [(each.kind, each.source) for each in found.detail.nics] == [("bridge", "br0")]
    assert state(stage, blueprint) is VmState.SHUT_OFF
    assert stage.hypervisor.find(A, NOBODY) is None
    if isinstance(stage, LabStage):
        assert stage.lab.virsh(A, "domuuid", blueprint.name) == blueprint.uuid


def test_a_guest_boots_from_image_and_seed_and_is_shown(stage: Stage) -> None:
    blueprint = made(stage, running=True)
    stage.hypervisor.start(A, blueprint.uuid)  # once more changes nothing
    said = boots(stage, blueprint)
    if isinstance(stage, LabStage):
        assert {"image: tiny", "seed: /dev/vdb", "name: made", "user: ana"} <= set(
            said.splitlines()
        )
    assert state(stage, blueprint) is VmState.RUNNING
    assert stage.hypervisor.screenshot(A, blueprint.uuid).startswith(b"\x89PNG")
    sizes = {each.target: each.capacity for each in stage.hypervisor.disks(A, blueprint.uuid)}
    assert sizes["vda"] == 48 * MIB
    assert stage.hypervisor.console(A, blueprint.uuid, 1).count("\n") == 0
    assert stage.hypervisor.addresses(A, blueprint.uuid) == ()
    assert stage.hypervisor.file_systems(A, blueprint.uuid) == ()
    with pytest.raises(HypervisorError):
        stage.hypervisor.undefine(A, blueprint.uuid)
    with pytest.raises(HypervisorError):
        stage.hypervisor.rename(A, blueprint.uuid, "made-other")
    stage.hypervisor.shutdown(A, blueprint.uuid)
    until(lambda: state(stage, blueprint) is VmState.SHUT_OFF, "it shuts down when asked")
    stage.hypervisor.shutdown(A, blueprint.uuid)
    stage.hypervisor.force_off(A, blueprint.uuid)
    with pytest.raises(HypervisorError) as off:
        stage.hypervisor.screenshot(A, blueprint.uuid)
    assert str(off.value.text) == f"{blueprint.name} is off; a screenshot needs a running VM."
    assert str(off.value.advice) == f"Start it with `/kvm vm start {blueprint.name}`."


def test_a_second_guest_of_one_name_is_refused(stage: Stage) -> None:
    blueprint = made(stage)
    other = replace(blueprint, uuid=str(uuid.uuid4()))
    with pytest.raises(HypervisorError) as caught:
        stage.hypervisor.define(A, other)
    assert caught.value.advice
    assert stage.hypervisor.find(A, other.uuid) is None


def test_a_definition_without_its_volume_is_refused(stage: Stage) -> None:
    blueprint = Blueprint(
        str(uuid.uuid4()), "made-nothing", 1, 1, 112 * MIB, (GuestDisk(POOL, "nothing", "vda"),)
    )
    with pytest.raises(HypervisorError, match="nothing"):
        stage.hypervisor.define(A, blueprint)


def test_what_is_forgotten_leaves_its_disks(stage: Stage) -> None:
    blueprint = made(stage)
    stage.hypervisor.undefine(A, blueprint.uuid)
    stage.hypervisor.undefine(A, blueprint.uuid)
    assert stage.hypervisor.find(A, blueprint.uuid) is None
    assert stage.hypervisor.volume(A, POOL, f"{blueprint.name}.qcow2") is not None


def test_the_storage_tells_what_stands_on_what_and_for_whom(stage: Stage) -> None:
    blueprint = made(stage)
    for how in ({"whole": True}, {"whole": False}, {"whole": False, "directories": False}):
        backing = Backing({A: stage.hypervisor.storage(A, **how)})
        named = {each.target: each for each in backing.uses(A, blueprint.uuid) if each.device}
        assert set(named) == {"vda", "vdb"}
        top = backing.image(A, named["vda"].path)
        assert top is not None
        assert top.place == f"{POOL}/{blueprint.name}.qcow2"
        (base,) = backing.beneath(A, top.path)
        assert base.place == f"{POOL}/{IMAGE}"
        held = backing.holders(A, base.path, but="", going=(base.path,))
        assert f"{blueprint.name} on {A}" in map(str, held)
        standing = backing.standing(A, base.path, but="")
        assert f"{blueprint.name} on {A}" in map(str, standing)
        assert backing.holders(A, top.path, but=blueprint.uuid, going=(top.path,)) == ()
    assert stage.hypervisor.not_copyable(A, blueprint.uuid) == ()
    with pytest.raises(DroverError):
        stage.hypervisor.storage("host-x")
    with pytest.raises(DroverError):
        stage.hypervisor.not_copyable(A, NOBODY)


# Changes


def test_a_guest_that_is_off_changes_size_name_tags_and_mark(stage: Stage) -> None:
    blueprint = made(stage)
    assert stage.hypervisor.resize(A, blueprint.uuid, vcpus=3, memory=128 * MIB)
    stage.hypervisor.rename(A, blueprint.uuid, f"{blueprint.name}-b")
    stage.hypervisor.rename(A, blueprint.uuid, f"{blueprint.name}-b")
    stage.hypervisor.set_tags(A, blueprint.uuid, {"owner": "ann"})
    stage.hypervisor.leave_mark(A, blueprint.uuid, "first")
    stage.hypervisor.leave_mark(A, blueprint.uuid, "second")
    found = now(stage, blueprint)
    assert (found.vcpus_next, found.memory_next) == (3, 128 * MIB)
    assert (found.name, dict(found.tags), found.mark) == (
        f"{blueprint.name}-b",
        {"owner": "ann"},
        "second",
    )
    stage.hypervisor.set_tags(A, blueprint.uuid, {})
    stage.hypervisor.set_tags(A, blueprint.uuid, {})
    assert dict(now(stage, blueprint).tags) == {}
    assert stage.hypervisor.resize(A, blueprint.uuid, vcpus=1, memory=96 * MIB)
    assert (now(stage, blueprint).vcpus_next, now(stage, blueprint).memory_next) == (1, 96 * MIB)


def test_a_running_guest_grows_as_far_as_it_can_now(stage: Stage) -> None:
    blueprint = made(stage, running=True)
    boots(stage, blueprint)
    assert stage.hypervisor.resize(A, blueprint.uuid, vcpus=2, memory=112 * MIB)
    assert now(stage, blueprint).vcpus == 2
    assert not stage.hypervisor.resize(A, blueprint.uuid, vcpus=2, memory=160 * MIB)
    found = now(stage, blueprint)
    assert (found.vcpus_next, found.memory_next) == (2, 160 * MIB)
    assert found.memory <= 112 * MIB
    stage.hypervisor.set_tags(A, blueprint.uuid, {"env": "prod"})
    assert dict(now(stage, blueprint).tags) == {"env": "prod"}
    # Devices, while it runs.
    stage.hypervisor.create_volume(A, POOL, f"{blueprint.name}-more.qcow2", 8 * MIB)
    stage.hypervisor.attach_disk(
        A, blueprint.uuid, GuestDisk(POOL, f"{blueprint.name}-more.qcow2", "vdc")
    )
    stage.hypervisor.grow_disk(A, blueprint.uuid, "vdc", 16 * MIB)
    assert {each.target: each.capacity for each in stage.hypervisor.disks(A, blueprint.uuid)}[
        "vdc"
    ] == 16 * MIB
    with pytest.raises(HypervisorError):
        stage.hypervisor.grow_disk(A, blueprint.uuid, "vdc", 12 * MIB)
    sizes = {each.target: each.capacity for each in stage.hypervisor.disks(A, blueprint.uuid)}
    assert sizes["vdc"] == 16 * MIB, "QEMU would have cut it off"
    mac = "52:54:00:12:34:56"
    stage.hypervisor.attach_nic(A, blueprint.uuid, GuestNic("bridge", "br0", mac))
    assert mac in {each.mac for each in now(stage, blueprint).detail.nics}
    assert mac in {each.mac for each in now(stage, blueprint).detail_next.nics}

    def gone() -> bool:
        stage.hypervisor.detach_nic(A, blueprint.uuid, mac)
        found = now(stage, blueprint)
        return mac not in {each.mac for each in (*found.detail.nics, *found.detail_next.nics)}

    until(gone, "the guest lets go of the card")


def test_disks_of_a_guest_that_is_off_grow_too(stage: Stage) -> None:
    blueprint = made(stage)
    stage.hypervisor.grow_disk(A, blueprint.uuid, "vda", 64 * MIB)
    assert {each.target: each.capacity for each in stage.hypervisor.disks(A, blueprint.uuid)}[
        "vda"
    ] == 64 * MIB
    with pytest.raises(HypervisorError):
        stage.hypervisor.grow_disk(A, blueprint.uuid, "vda", 48 * MIB)


def test_a_medium_is_ejected(stage: Stage) -> None:
    blueprint = made(stage, seed="cdrom")
    assert any(
        each.device == "cdrom" and each.source for each in now(stage, blueprint).detail.disks
    )
    stage.hypervisor.eject(A, blueprint.uuid, "sda")
    stage.hypervisor.eject(A, blueprint.uuid, "sda")
    (drive,) = (each for each in now(stage, blueprint).detail.disks if each.device == "cdrom")
    assert not drive.source
    assert [each.target for each in stage.hypervisor.disks(A, blueprint.uuid)] == ["vda"]


def test_a_guest_is_defined_like_another(stage: Stage) -> None:
    source = made(stage, seed="cdrom")
    identity, mac = str(uuid.uuid4()), "52:54:00:0c:0c:0c"
    base = stage.hypervisor.volume(A, POOL, source.disks[0].volume)
    stage.hypervisor.create_volume(
        A, POOL, f"{source.name}-copy.qcow2", 48 * MIB, base=base, copy=True
    )
    disks = (GuestDisk(POOL, f"{source.name}-copy.qcow2", "vda"),)
    stage.hypervisor.define_copy(
        A, Copy(source.uuid, identity, f"{source.name}-copy", disks, (mac,), {"env": "qa"})
    )
    found = stage.hypervisor.find(A, identity)
    assert found is not None
    assert (found.name, found.vcpus, found.memory) == (f"{source.name}-copy", 1, 112 * MIB)
    assert dict(found.tags) == {"env": "qa"}
    assert [each.mac for each in found.detail.nics] == [mac]
    sources = {each.target: each.source for each in found.detail.disks}
    assert sources["vda"].endswith(f"/{source.name}-copy.qcow2")
    assert not sources["sda"], "a drive of the copy is empty"
    assert now(stage, source).detail.disks[0].source != sources["vda"]


def test_snapshots_are_taken_gone_back_to_and_removed(stage: Stage) -> None:
    blueprint = made(stage)
    stage.hypervisor.create_snapshot(A, blueprint.uuid, "before", "a <try>")
    stage.hypervisor.create_snapshot(A, blueprint.uuid, "after")
    with pytest.raises(HypervisorError):
        stage.hypervisor.create_snapshot(A, blueprint.uuid, "after")
    taken = {each.name: each for each in stage.hypervisor.snapshots(A, blueprint.uuid)}
    assert set(taken) == {"before", "after"}
    assert (taken["before"].description, taken["before"].state) == ("a <try>", "shutoff")
    assert (taken["before"].current, taken["after"].current) == (False, True)
    tags = dict(now(stage, blueprint).tags)
    stage.hypervisor.set_tags(A, blueprint.uuid, {"owner": "ana"})
    stage.hypervisor.revert_snapshot(A, blueprint.uuid, "before")
    assert [
        each.name for each in stage.hypervisor.snapshots(A, blueprint.uuid) if each.current
    ] == ["before"]
    assert dict(now(stage, blueprint).tags) == tags, "the definition goes back as well"
    with pytest.raises(HypervisorError):
        stage.hypervisor.revert_snapshot(A, blueprint.uuid, "never")
    for name in ("before", "before", "after"):
        stage.hypervisor.delete_snapshot(A, blueprint.uuid, name)
    assert stage.hypervisor.snapshots(A, blueprint.uuid) == ()


def save(stage: Stage, blueprint: Blueprint) -> None:
    """Save a running guest's memory, as its host's own tools do."""
    if isinstance(stage, LabStage):
        stage.lab.virsh(A, "managedsave", blueprint.name)
        return
    assert isinstance(stage.hypervisor, FakeHypervisor)
    vm = stage.hypervisor.snapshot().vm(blueprint.name)
    stage.hypervisor.put(replace(vm, state=VmState.SHUT_OFF, saved=True))


def test_saved_memory_is_gone_on_from_as_it_was_or_discarded(stage: Stage) -> None:
    blueprint = made(stage, running=True)
    boots(stage, blueprint)
    assert not now(stage, blueprint).saved
    save(stage, blueprint)
    assert now(stage, blueprint).saved
    assert stage.hypervisor.snapshot().vm(blueprint.name).saved
    stage.hypervisor.start(A, blueprint.uuid)
    assert state(stage, blueprint) is VmState.RUNNING
    assert not now(stage, blueprint).saved
    save(stage, blueprint)
    stage.hypervisor.discard_saved(A, blueprint.uuid)
    stage.hypervisor.discard_saved(A, blueprint.uuid)
    assert not now(stage, blueprint).saved
    assert not stage.hypervisor.snapshot().vm(blueprint.name).saved


@contextmanager
def taking_a_snapshot(stage: Stage, blueprint: Blueprint) -> Iterator[None]:
    """Somebody else takes the snapshot ``slow`` of it, and does not come to an end."""
    if isinstance(stage, FakeStage):
        stage.hypervisor.create_snapshot(A, blueprint.uuid, "slow")
        stage.hypervisor.jobs_of_others.add(blueprint.uuid)
        yield
        stage.hypervisor.jobs_of_others.clear()
        return
    assert isinstance(stage, LabStage)
    with ThreadPoolExecutor(1) as other:
        with stage.lab.guest_stopped(blueprint.name):
            taken = other.submit(stage.hypervisor.create_snapshot, A, blueprint.uuid, "slow")
            until(lambda: stage.hypervisor.snapshots(A, blueprint.uuid), "it is listed")
            yield
        taken.result()


def test_a_snapshot_that_is_being_taken_is_listed_and_shown_as_a_job(stage: Stage) -> None:
    blueprint = made(stage, running=True)
    assert not stage.hypervisor.has_job(A, blueprint.uuid)
    with taking_a_snapshot(stage, blueprint):
        assert [each.name for each in stage.hypervisor.snapshots(A, blueprint.uuid)] == ["slow"]
        assert stage.hypervisor.has_job(A, blueprint.uuid)
    assert not stage.hypervisor.has_job(A, blueprint.uuid)
    assert [each.current for each in stage.hypervisor.snapshots(A, blueprint.uuid)] == [True]
    stage.hypervisor.delete_snapshot(A, blueprint.uuid, "slow")
    stage.hypervisor.force_off(A, blueprint.uuid)
    assert not stage.hypervisor.has_job(A, blueprint.uuid)


def test_a_start_that_is_under_way_is_waited_for(stage: Stage) -> None:
    if not isinstance(stage, LabStage):
        return  # a start of the fake is over at once
    from lab.gates import closed_gate

    kernel = stage.lab.directory / "slow-kernel"
    shutil.copy(stage.boot["kernel"], kernel)
    blueprint = made(stage, kernel=str(kernel))
    with ThreadPoolExecutor(2) as others:
        with closed_gate(kernel):
            first = others.submit(stage.hypervisor.start, A, blueprint.uuid)
            until(lambda: sighting(stage, blueprint).paused_by == STARTING_UP, "it is starting")
            assert not sighting(stage, blueprint).is_up
            second = others.submit(stage.hypervisor.start, A, blueprint.uuid)
            assert not second.done()
        first.result()
        second.result()
    assert sighting(stage, blueprint).is_up
    assert state(stage, blueprint) is VmState.RUNNING


def test_a_look_in_depth_shows_snapshots_and_the_stored_size(stage: Stage) -> None:
    blueprint = made(stage, running=True)
    boots(stage, blueprint)
    stage.hypervisor.create_snapshot(A, blueprint.uuid, "first")
    stage.hypervisor.resize(A, blueprint.uuid, vcpus=1, memory=160 * MIB)
    vm = stage.hypervisor.snapshot((blueprint.name,)).vm(blueprint.name)
    assert vm.detail is not None
    assert vm.detail.snapshot_list is not None
    assert [(each.name, each.external) for each in vm.detail.snapshot_list] == [("first", False)]
    assert vm.stored is not None
    assert (vm.stored.vcpus, vm.stored.memory, vm.memory) == (1, 160 * MIB, 112 * MIB)
    stage.hypervisor.wake(A, blueprint.uuid)  # one that is awake stays so
    assert state(stage, blueprint) is VmState.RUNNING


def test_nobody_is_a_clear_error(stage: Stage) -> None:
    calls: list[Callable[[], object]] = [
        lambda: stage.hypervisor.start(A, NOBODY),
        lambda: stage.hypervisor.shutdown(A, NOBODY),
        lambda: stage.hypervisor.force_off(A, NOBODY),
        lambda: stage.hypervisor.resize(A, NOBODY, vcpus=1, memory=MIB),
        lambda: stage.hypervisor.rename(A, NOBODY, "x"),
        lambda: stage.hypervisor.set_tags(A, NOBODY, {}),
        lambda: stage.hypervisor.leave_mark(A, NOBODY, "x"),
        lambda: stage.hypervisor.snapshots(A, NOBODY),
        lambda: stage.hypervisor.create_snapshot(A, NOBODY, "x"),
        lambda: stage.hypervisor.disks(A, NOBODY),
        lambda: stage.hypervisor.addresses(A, NOBODY),
        lambda: stage.hypervisor.file_systems(A, NOBODY),
        lambda: stage.hypervisor.console(A, NOBODY, 5),
        lambda: stage.hypervisor.eject(A, NOBODY, "sda"),
        lambda: stage.hypervisor.attach_nic(
            A, NOBODY, GuestNic("bridge", "br0", "52:54:00:00:00:01")
        ),
    ]
    for call in calls:
        with pytest.raises(HypervisorError) as caught:
            call()
        assert caught.value.advice


def test_the_seed_is_an_iso_that_cloud_init_finds(tmp_path: Path) -> None:
    from bot.adapters.libvirt.write import seed_iso

    content = seed_iso.image(SEED)
    assert content[32808:32814].lower() == b"cidata"
    for part in (b'"local-hostname": "made"', b'"name": "ana"', "user-data".encode("utf-16-be")):
        assert part in content


# Definitions that are kept


def whole_definitions(stage: Stage, host: str) -> list[Definition]:
    return [each for each in stage.hypervisor.definitions(host) if isinstance(each, Definition)]


def test_of_a_definition_that_is_known_only_its_state_is_told(stage: Stage) -> None:
    blueprint = made(stage)
    kept = next(each for each in whole_definitions(stage, A) if each.uuid == blueprint.uuid)
    ask = partial(stage.hypervisor.definitions, A, {kept.sha, "another"})
    (same,) = [each for each in ask() if each.uuid == blueprint.uuid]
    assert isinstance(same, Unchanged)
    assert (same.host, same.sha, same.mark) == (A, kept.sha, kept.mark)
    stage.hypervisor.start(A, blueprint.uuid)
    (running,) = [each for each in ask() if each.uuid == blueprint.uuid]
    assert isinstance(running, Unchanged)
    assert running.state is VmState.RUNNING
    assert running.mark != kept.mark
    stage.hypervisor.set_tags(A, blueprint.uuid, {"env": "prod"})
    (other,) = [each for each in ask() if each.uuid == blueprint.uuid]
    assert isinstance(other, Definition)
    assert dict(other.tags) == {"env": "prod"}


def test_a_definition_is_read_without_secrets_and_defined_on_another_host(stage: Stage) -> None:
    blueprint = made(stage)
    kept = next(each for each in whole_definitions(stage, A) if each.uuid == blueprint.uuid)
    assert (kept.name, kept.host, kept.state, kept.vcpus, kept.memory) == (
        blueprint.name,
        A,
        VmState.SHUT_OFF,
        1,
        112 * MIB,
    )
    assert dict(kept.tags) == {"env": "dev", "note": "<&'\">"}
    assert kept.persistent
    assert not kept.password
    again = next(each for each in whole_definitions(stage, A) if each.uuid == blueprint.uuid)
    assert again.sha == kept.sha
    stage.hypervisor.set_autostart(A, blueprint.uuid, on=True)
    stage.hypervisor.undefine(A, blueprint.uuid)
    stage.hypervisor.define_kept("host-b", kept)
    stage.hypervisor.define_kept("host-b", kept)  # once more changes nothing
    there = next(each for each in whole_definitions(stage, "host-b") if each.uuid == blueprint.uuid)
    assert (there.name, there.memory, dict(there.tags), there.state) == (
        kept.name,
        kept.memory,
        dict(kept.tags),
        VmState.SHUT_OFF,
    )
    assert not stage.hypervisor.autostart("host-b", blueprint.uuid)
    stage.hypervisor.undefine("host-b", blueprint.uuid)


def test_a_running_vm_is_kept_as_its_next_start_is(stage: Stage) -> None:
    blueprint = made(stage, running=True)
    kept = next(each for each in whole_definitions(stage, A) if each.uuid == blueprint.uuid)
    assert kept.state is VmState.RUNNING
    assert {each.target for each in kept.detail.disks} == {"vda", "vdb"}


def test_a_screens_password_is_not_kept_and_its_next_screen_has_another(stage: Stage) -> None:
    if not isinstance(stage, LabStage):
        return  # the fake has no screens
    blueprint = made(stage)
    xml = stage.lab.virsh(A, "dumpxml", "--inactive", "--security-info", blueprint.name)
    locked = xml.replace("<devices>", "<devices><graphics type='vnc' port='-1' passwd='hush-me'/>")
    file = stage.lab.directory / "locked.xml"
    file.write_text(locked)
    stage.lab.virsh(A, "define", str(file))
    kept = next(each for each in whole_definitions(stage, A) if each.uuid == blueprint.uuid)
    assert kept.password
    assert "hush-me" not in kept.xml
    stage.hypervisor.define_kept("host-b", kept)
    there = stage.lab.virsh("host-b", "dumpxml", "--inactive", "--security-info", blueprint.name)
    assert "passwd=" in there
    assert "hush-me" not in there
    stage.hypervisor.undefine("host-b", blueprint.uuid)


@contextmanager
def locked(stage: Stage, blueprint: Blueprint) -> Iterator[None]:
    """Another process has its first disk open, with QEMU's own lock."""
    if isinstance(stage, FakeStage):
        stage.hypervisor.refuse("start", 'Failed to get "write" lock', code="disk-locked")
        yield
        return
    assert isinstance(stage, LabStage)
    disk = stage.lab.hosts[A].directory / "lib" / "images" / blueprint.disks[0].volume
    with subprocess.Popen(
        ["qemu-io", "-f", "raw", str(disk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.read(8) == b"qemu-io>"  # it is open
        yield
        other.stdin.close()


def test_a_start_that_finds_a_disk_locked_says_so_by_its_code(stage: Stage) -> None:
    blueprint = made(stage)
    with locked(stage, blueprint):
        with pytest.raises(HypervisorError) as refused:
            stage.hypervisor.start(A, blueprint.uuid)
        assert refused.value.code == "disk-locked"
        assert '"write" lock' in str(refused.value.text)
    stage.hypervisor.start(A, blueprint.uuid)
    assert state(stage, blueprint) is VmState.RUNNING
