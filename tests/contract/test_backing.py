"""What stands on what and who names it, as real hosts tell it: chains, spellings, links, snapshots, directories."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.backing import Backing, Storage
from tests.waiting import RealClock

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab

A, B = "host-a", "host-b"
POOL = "/var/lib/libvirt/images"
ELSEWHERE = "/var/lib/libvirt/elsewhere"


@dataclass
class Stage:
    """Hosts, and hands to make images and definitions on them behind the bot's back."""

    lab: Lab
    hypervisor: LibvirtHypervisor
    directory: Path

    def image(self, path: str, *, base: str = "", host: str = A, form: str = "qcow2") -> str:
        self.lab.run(host, "mkdir", "-p", path.rpartition("/")[0])
        on = ["-b", base, "-F", "qcow2"] if base else []
        size = [] if base else ["8M"]
        self.lab.run(host, "qemu-img", "create", "-q", "-f", form, *on, path, *size)
        return path

    def vm(self, name: str, disk: str, *, host: str = A, form: str = "qcow2") -> str:
        """Define a VM that is off with this ``<source …/>`` and what follows it."""
        identity = str(uuid.uuid4())
        kind = "volume" if "pool=" in disk else "file"
        xml = (
            f"<domain type='qemu'><name>{name}</name><uuid>{identity}</uuid><memory unit='MiB'>32</memory>"
            f"<os><type arch='x86_64'>hvm</type></os><devices><disk type='{kind}' device='disk'>"
            f"<driver name='qemu' type='{form}'/>{disk}<target dev='vda' bus='virtio'/></disk></devices></domain>"
        )
        path = self.directory / f"{name}.xml"
        path.write_text(xml)
        self.lab.virsh(host, "define", str(path))
        return identity

    def looked(self, *hosts: str) -> Backing:
        return Backing({each: self.storage(each) for each in hosts or (A,)})

    def storage(self, host: str = A) -> Storage:
        return self.hypervisor.storage(host)


@pytest.fixture(scope="module")
def hypervisor(lab: Lab) -> Iterator[LibvirtHypervisor]:
    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    made = LibvirtHypervisor(addresses, clock=RealClock(), deadline=10)
    yield made
    made.close()


@pytest.fixture
def stage(lab: Lab, hypervisor: LibvirtHypervisor, tmp_path: Path) -> Iterator[Stage]:
    yield Stage(lab, hypervisor, tmp_path)
    for host in (A, B):
        for name in lab.virsh(host, "list", "--all", "--name").split():
            if name.startswith("back-"):
                lab.virsh(host, "destroy", name, check=False)
                lab.virsh(host, "undefine", name, "--snapshots-metadata")
        lab.run(host, "sh", "-c", f"rm -rf {POOL}/back-* {ELSEWHERE}")


def holders(stage: Stage, backing: Backing, path: str, but: str = "") -> tuple[str, ...]:
    return tuple(map(str, backing.holders(A, path, but=but, going=(path,))))


def test_a_template_is_held_by_what_stands_on_it_whether_a_vm_uses_it_or_not(stage: Stage) -> None:
    golden = stage.image(f"{POOL}/back-golden.qcow2")
    stage.image(f"{POOL}/back-one.qcow2", base=golden)
    stage.image(f"{POOL}/back-two.qcow2", base=f"{POOL}/back-one.qcow2")
    stage.image(f"{POOL}/back-loose.qcow2", base=golden)
    mine = stage.vm("back-golden", f"<source file='{golden}'/>")
    stage.vm("back-two", f"<source file='{POOL}/back-two.qcow2'/>")
    assert holders(stage, stage.looked(), golden, mine) == (
        "back-two on host-a",
        "the volume local/back-loose.qcow2 on host-a",
    )
    assert holders(stage, stage.looked(), f"{POOL}/back-loose.qcow2") == ()


@pytest.mark.parametrize(
    "other",
    [
        f"<source file='{POOL}/back-db.qcow2'/>",
        "<source pool='local' volume='back-db.qcow2'/>",
        f"<source file='{POOL}/../images//back-db.qcow2'/>",
        f"<source file='{POOL}/back-symbolic.qcow2'/>",
        f"<source file='{POOL}/back-hard.qcow2'/>",
        f"<source file='{ELSEWHERE}/linked/back-db.qcow2'/>",
        f"<source file='{ELSEWHERE}/other.qcow2'/>",
    ],
)
def test_one_image_is_known_under_all_its_names(stage: Stage, other: str) -> None:
    disk = stage.image(f"{POOL}/back-db.qcow2")
    stage.lab.run(A, "ln", "-s", "back-db.qcow2", f"{POOL}/back-symbolic.qcow2")
    stage.lab.run(A, "ln", disk, f"{POOL}/back-hard.qcow2")
    stage.lab.run(A, "mkdir", "-p", ELSEWHERE)
    stage.lab.run(A, "ln", "-s", POOL, f"{ELSEWHERE}/linked")
    stage.lab.run(A, "ln", disk, f"{ELSEWHERE}/other.qcow2")
    old = stage.vm("back-old", f"<source file='{disk}'/>")
    stage.vm("back-new", other)
    assert "back-new on host-a" in holders(stage, stage.looked(), disk, old)


def test_a_clone_outside_of_every_pool_holds_its_template(stage: Stage) -> None:
    golden = stage.image(f"{POOL}/back-golden.qcow2")
    stage.image(f"{ELSEWHERE}/clone.qcow2", base=golden)
    stage.vm("back-clone", f"<source file='{ELSEWHERE}/clone.qcow2'/>")
    mine = stage.vm("back-golden", f"<source file='{golden}'/>")
    assert holders(stage, stage.looked(), golden, mine) == ("back-clone on host-a",)
    assert "drover-look" not in stage.lab.virsh(A, "pool-list", "--all")
    assert not stage.storage().unknown


def test_a_quick_look_makes_no_pool_and_still_finds_what_stands_in_pools(stage: Stage) -> None:
    golden = stage.image(f"{POOL}/back-golden.qcow2")
    stage.image(f"{POOL}/back-top.qcow2", base=golden)
    stage.image(f"{ELSEWHERE}/clone.qcow2", base=golden)
    stage.vm("back-top", f"<source file='{POOL}/back-top.qcow2'/>")
    stage.vm("back-clone", f"<source file='{ELSEWHERE}/clone.qcow2'/>")
    seen = stage.hypervisor.storage(A, whole=False, directories=False)
    standing = Backing({A: seen}).standing(A, golden, but="")
    assert [str(each) for each in standing] == ["back-top on host-a"]


def test_a_chain_that_the_definition_tells_holds_too(stage: Stage) -> None:
    golden = stage.image(f"{POOL}/back-golden.qcow2")
    told = f"<backingStore type='file'><format type='qcow2'/><source file='{golden}'/><backingStore/></backingStore>"
    stage.image(f"{POOL}/back-top.qcow2")
    stage.vm("back-told", f"<source file='{POOL}/back-top.qcow2'/>{told}")
    mine = stage.vm("back-golden", f"<source file='{golden}'/>")
    assert holders(stage, stage.looked(), golden, mine) == ("back-told on host-a",)


def test_the_base_of_an_external_snapshot_is_known_as_the_snapshots(stage: Stage) -> None:
    disk = stage.image(f"{POOL}/back-ext.qcow2")
    mine = stage.vm("back-ext", f"<source file='{disk}'/>")
    stage.lab.virsh(A, "snapshot-create-as", "back-ext", "s1", "--disk-only",
                    "--diskspec", f"vda,file={POOL}/back-ext.s1")  # fmt: skip
    backing = stage.looked()
    named = {(each.path, each.snapshot) for each in backing.uses(A, mine) if each.device == "disk"}
    assert named == {(f"{POOL}/back-ext.s1", ""), (disk, "s1")}
    assert [each.path for each in backing.beneath(A, f"{POOL}/back-ext.s1")] == [disk]
    assert holders(stage, backing, disk, mine) == ("the volume local/back-ext.s1 on host-a",)
    both = (disk, f"{POOL}/back-ext.s1")
    assert backing.holders(A, disk, but=mine, going=both) == ()


def test_what_cannot_be_read_is_told_as_unknown(stage: Stage) -> None:
    stage.lab.run(A, "mkdir", "-p", ELSEWHERE)
    stage.vm("back-gone", f"<source file='{ELSEWHERE}/gone.qcow2'/>")
    stage.vm("back-lost", f"<source file='{ELSEWHERE}/nowhere/gone.qcow2'/>")
    assert not stage.storage().unknown, "what is not there stands on nothing"
    stage.vm("back-device", "<source dev='/dev/nothing'/>".replace("dev=", "file="))
    assert any("/dev/nothing of back-device" in str(each) for each in stage.storage().unknown)


def test_files_of_one_name_on_two_hosts_are_two(stage: Stage) -> None:
    disk = stage.image(f"{POOL}/back-same.qcow2")
    stage.image(f"{POOL}/back-same.qcow2", host=B)
    mine = stage.vm("back-same", f"<source file='{disk}'/>")
    stage.vm("back-far", f"<source file='{disk}'/>", host=B)
    assert holders(stage, stage.looked(A, B), disk, mine) == ()


GOLDEN = f"{POOL}/back-golden.qcow2"
SPELLINGS = {
    "file": f"file:{GOLDEN}",
    "json": f'json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{GOLDEN}"}}}}',
    "flat json": f'json:{{"file.driver":"file","file.filename":"{GOLDEN}","driver":"qcow2"}}',
    "plain json": f'json:{{"driver":"file","filename":"{GOLDEN}"}}',
    "relative": "back-golden.qcow2",
    "relative and up": "../images/./back-golden.qcow2",
    "doubled": f"{POOL}/../images//back-golden.qcow2",
    "link": f"{POOL}/back-link.qcow2",
    "linked directory": f"{ELSEWHERE}/linked/back-golden.qcow2",
}


@pytest.mark.slow
def test_a_template_is_held_however_an_image_spells_what_it_stands_on(stage: Stage) -> None:
    golden = stage.image(GOLDEN)
    stage.lab.run(A, "mkdir", "-p", ELSEWHERE)
    stage.lab.run(A, "ln", "-s", "back-golden.qcow2", f"{POOL}/back-link.qcow2")
    stage.lab.run(A, "ln", "-s", POOL, f"{ELSEWHERE}/linked")
    mine = stage.vm("back-golden", f"<source file='{golden}'/>")
    assert holders(stage, stage.looked(), golden, mine) == ()
    for number, spelling in enumerate(SPELLINGS.values()):
        top = ("-b", spelling, "-F", "qcow2", f"{POOL}/back-top-{number}.qcow2", "8M")
        stage.lab.run(A, "qemu-img", "create", "-q", "-u", "-f", "qcow2", *top)
    assert holders(stage, stage.looked(), golden, mine) == tuple(
        f"the volume local/back-top-{number}.qcow2 on host-a" for number in range(len(SPELLINGS))
    )


@pytest.mark.slow
def test_an_argument_of_qemu_holds_the_image_that_it_names(stage: Stage) -> None:
    disk = stage.image(f"{POOL}/back-db.qcow2")
    mine = stage.vm("back-mine", f"<source file='{disk}'/>")
    path = stage.directory / "back-argument.xml"
    path.write_text(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>back-argument</name><memory unit='MiB'>32</memory>"
        "<os><type arch='x86_64'>hvm</type></os><qemu:commandline><qemu:arg value='-drive'/>"
        f"<qemu:arg value='if=virtio,file={disk}'/></qemu:commandline></domain>"
    )
    stage.lab.virsh(A, "define", str(path))
    assert holders(stage, stage.looked(), disk, mine) == ("back-argument on host-a",)


@pytest.mark.slow
def test_one_directory_under_two_pools_is_one_storage(stage: Stage) -> None:
    disk = stage.image(f"{POOL}/back-db.qcow2")
    stage.lab.run(A, "mkdir", "-p", ELSEWHERE)
    stage.lab.run(A, "ln", "-s", POOL, f"{ELSEWHERE}/linked")
    pools = {"back-zz": f"{POOL}/./", "back-aa": f"{ELSEWHERE}/linked"}
    try:
        for name, path in pools.items():
            stage.lab.virsh(A, "pool-create-as", name, "dir", "--target", path)
        mine = stage.vm("back-mine", f"<source file='{disk}'/>")
        stage.vm("back-other", "<source pool='back-aa' volume='back-db.qcow2'/>")
        backing = stage.looked()
        image = backing.image(A, disk)
        assert image is not None
        assert image.places == {"local/back-db.qcow2", "back-zz/back-db.qcow2"}
        assert holders(stage, backing, disk, mine) == ("back-other on host-a",)
    finally:
        for name in pools:
            stage.lab.virsh(A, "pool-destroy", name, check=False)


@pytest.mark.slow
def test_uefi_variables_go_with_the_last_vm_that_has_them(stage: Stage) -> None:
    """A renamed VM keeps its file, and the next one of its old name is given the same."""
    file = f"{POOL}/back-one_VARS.fd"
    stage.lab.run(A, "truncate", "--size=528K", file)
    for name in ("back-one", "back-two"):
        path = stage.directory / f"{name}.xml"
        path.write_text(
            f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>"
            "<os><type arch='x86_64' machine='q35'>hvm</type>"
            f"<loader readonly='yes' type='pflash'>{POOL}/back-code.fd</loader>"
            f"<nvram>{file}</nvram></os><features><acpi/></features></domain>"
        )
        stage.lab.virsh(A, "define", str(path))
    one, two = (stage.lab.virsh(A, "domuuid", each).strip() for each in ("back-one", "back-two"))
    assert holders(stage, stage.looked(), file, one) == ("back-two on host-a",)
    stage.hypervisor.undefine(A, one)
    assert stage.lab.run(A, "ls", file).strip() == file
    stage.hypervisor.undefine(A, two)
    assert stage.lab.run(A, "ls", POOL).split().count("back-one_VARS.fd") == 0
