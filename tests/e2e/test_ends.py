"""Nothing is lost on real hosts: deletions asked for in chat, approved, and seen with virsh and qemu-img."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.domain.operation import State
from tests.bot.flow.small_bot import text
from tests.e2e.test_vm_lifecycle import Bot

if TYPE_CHECKING:
    from lab import Guest, Lab

pytestmark = pytest.mark.lab

A, B = "host-a", "host-b"
POOL = "/var/lib/libvirt/images"


@pytest.fixture
def bot(lab: Lab, tmp_path: Path) -> Iterator[Bot]:
    made = Bot(lab, tmp_path)
    yield made
    for host in (A, B):
        for name in lab.virsh(host, "list", "--all", "--name").split():
            if name.startswith("end-"):
                lab.virsh(host, "destroy", name, check=False)
                lab.virsh(host, "undefine", name, "--snapshots-metadata", check=False)
        lab.run(host, "sh", "-c", f"rm -f {POOL}/end-*")
    made.hypervisor.close()
    made.store.close()


def image(bot: Bot, path: str, base: str = "", host: str = A) -> str:
    on = ["-b", base, "-F", "qcow2"] if base else []
    bot.lab.run(
        host, "qemu-img", "create", "-q", "-f", "qcow2", *on, path, *([] if base else ["8M"])
    )
    return path


def define(
    bot: Bot, tmp_path: Path, name: str, source: str, *, host: str = A, identity: str = ""
) -> str:
    """A VM that is off and has one disk, with this ``<source …/>``."""
    identity = identity or str(uuid.uuid4())
    kind = "volume" if "pool=" in source else "network" if "protocol=" in source else "file"
    form = "raw" if kind == "network" else "qcow2"
    path = tmp_path / f"{name}-{host}.xml"
    path.write_text(
        f"<domain type='qemu'><name>{name}</name><uuid>{identity}</uuid><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='{kind}' device='disk'>"
        f"<driver name='qemu' type='{form}'/>{source}<target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    bot.virsh(host, "define", str(path))
    return identity


def there(bot: Bot, path: str) -> bool:
    return bot.lab.run(A, "sh", "-c", f"test -e {path} && echo there || true").strip() == "there"


def compat(bot: Bot, path: str, host: str = A) -> str:
    told = json.loads(bot.lab.run(host, "qemu-img", "info", "-U", "--output=json", path))
    return str(told["format-specific"]["data"]["compat"])


# What exists only while it runs


@pytest.fixture
def passing(lab: Lab) -> Guest:
    return lab.guest("end-trans", host=A, persistent=False, disk=None)


def test_a_transient_vm_is_ended_only_by_agreement(bot: Bot, passing: Guest) -> None:
    for line in ("vm shutdown end-trans", "vm force-off end-trans", "vm reboot end-trans"):
        told = text(bot.says(line))
        assert "transient" in told
        assert not bot.store.operations(limit=1), line
    assert bot.virsh(A, "domstate", "end-trans") == "running"
    assert "virsh reboot end-trans" in text(bot.says("vm reboot end-trans"))
    bot.done("vm force-off end-trans --lose-definition")
    assert "end-trans" not in bot.virsh(A, "list", "--all", "--name").split()


# Whose an image is


def test_a_disk_with_seed_in_its_name_is_neither_removed_nor_replaced(
    bot: Bot, tmp_path: Path
) -> None:
    disk = image(bot, f"{POOL}/end-cassandra-seed.qcow2")
    bot.lab.run(A, "qemu-io", "-c", "write -P 0x5a 0 64k", disk)
    define(bot, tmp_path, "end-cassandra-seed", f"<source file='{disk}'/>")
    bot.done("vm clone end-cassandra-seed end-copy")
    copy = bot.virsh(A, "domblklist", "end-copy").split()[-1]
    assert "Pattern verification failed" not in bot.lab.run(
        A, "qemu-io", "-c", "read -P 0x5a 0 64k", copy
    )
    assert compat(bot, copy) == "1.1"
    bot.done("vm delete end-cassandra-seed --keep-disks --now")
    assert there(bot, disk)
    assert "end-cassandra-seed" not in bot.virsh(A, "list", "--all", "--name").split()


def test_a_template_stays_while_clones_stand_on_it(bot: Bot, tmp_path: Path) -> None:
    golden = image(bot, f"{POOL}/end-golden.qcow2")
    for name in ("end-on", "end-off"):
        define(
            bot, tmp_path, name, f"<source file='{image(bot, f'{POOL}/{name}.qcow2', golden)}'/>"
        )
    define(bot, tmp_path, "end-golden", f"<source file='{golden}'/>")
    bot.virsh(A, "start", "end-on")
    told = text(bot.says("vm delete end-golden --remove-disks --now"))
    assert "end-off on host-a, end-on on host-a" in told
    assert "is the base image of end-off on host-a, end-on on host-a" in text(
        bot.says("vm start end-golden")
    )
    assert not bot.store.operations(limit=1)
    assert there(bot, golden)
    bot.virsh(A, "destroy", "end-on")
    for name in ("end-on", "end-off"):
        bot.done(f"vm delete {name} --remove-disks --now")
        assert not there(bot, f"{POOL}/{name}.qcow2")
    bot.done("vm delete end-golden --remove-disks --now")
    assert not there(bot, golden)


def test_a_clone_made_after_the_vote_still_starts(bot: Bot, tmp_path: Path) -> None:
    """What stands on the disk between the vote and the deed stops the deed."""
    golden = image(bot, f"{POOL}/end-golden.qcow2")
    mine = define(bot, tmp_path, "end-golden", f"<source file='{golden}'/>")
    bot.done("vm delete end-golden --remove-disks")
    bot.says("vm purge end-golden")
    (operation,) = bot.store.operations(limit=1)
    define(
        bot,
        tmp_path,
        "end-late",
        f"<source file='{image(bot, f'{POOL}/end-late.qcow2', golden)}'/>",
    )
    ended = bot.approves(operation)
    assert ended.state is State.STALE
    assert "end-late on host-a" in " ".join(str(each.text) for each in ended.objections)
    bot.virsh(A, "start", "end-late")
    assert bot.virsh(A, "domuuid", "end-golden") == mine


def test_one_volume_named_in_two_ways_stays(bot: Bot, tmp_path: Path) -> None:
    disk = image(bot, f"{POOL}/end-db.qcow2")
    define(bot, tmp_path, "end-old", f"<source file='{disk}'/>")
    bot.virsh(A, "pool-refresh", "local")
    define(bot, tmp_path, "end-new", "<source pool='local' volume='end-db.qcow2'/>")
    assert "end-new on host-a" in text(bot.says("vm delete end-old --remove-disks --now"))
    bot.done("vm delete end-old --keep-disks --now")
    bot.virsh(A, "start", "end-new")
    assert there(bot, disk)


@pytest.mark.slow
def test_a_disk_that_a_running_vm_writes_to_is_left_alone_under_every_name(
    bot: Bot, tmp_path: Path
) -> None:
    disk = image(bot, f"{POOL}/end-db.qcow2")
    bot.lab.run(A, "ln", "-s", "end-db.qcow2", f"{POOL}/end-link.qcow2")
    define(bot, tmp_path, "end-db", f"<source file='{disk}'/>")
    twin = define(bot, tmp_path, "end-twin", f"<source file='{POOL}/end-link.qcow2'/>")
    bot.virsh(A, "start", "end-twin")
    for line in ("start end-db", "snapshot create end-db s1", "disk grow end-db vda 1G",
                 "clone end-db end-copy"):  # fmt: skip
        told = text(bot.says(f"vm {line}"))
        assert "A running VM uses local/end-db.qcow2 of end-db: end-twin on host-a." in told, line
    bot.virsh(A, "destroy", twin)
    bot.done("vm snapshot create end-db s1")
    bot.done("vm start end-db")


def test_of_an_external_snapshots_chain_all_that_is_own_goes(bot: Bot, tmp_path: Path) -> None:
    template = image(bot, f"{POOL}/end-template.qcow2")
    disk = image(bot, f"{POOL}/end-ext.qcow2", template)
    define(bot, tmp_path, "end-ext", f"<source file='{disk}'/>")
    bot.virsh(
        A,
        "snapshot-create-as",
        "end-ext",
        "s1",
        "--disk-only",
        "--diskspec",
        f"vda,file={POOL}/end-ext.s1",
    )
    bot.says("vm delete end-ext --remove-disks --now")
    (operation,) = bot.store.operations(limit=1)
    told = {each.code: str(each.text) for each in operation.plan.warnings}
    assert "local/end-ext.s1, local/end-ext.qcow2" in told["no-grace"]
    assert "local/end-template.qcow2 (a base image that was not the VM's own disk)" in told["kept"]
    assert bot.approves(operation).state is State.DONE
    assert [there(bot, each) for each in (f"{POOL}/end-ext.s1", disk, template)] == [
        False,
        False,
        True,
    ]


def test_new_disks_keep_bitmaps(bot: Bot) -> None:
    bot.done("vm create end-new --host host-a --off")
    bot.done("vm disk add end-new 1G")
    bot.done("vm clone end-new end-again")
    for name in ("end-new", "end-again"):
        disks = [
            line.split()[-1]
            for line in bot.virsh(A, "domblklist", name).splitlines()
            if "/" in line
        ]
        assert len(disks) == 3
        assert {compat(bot, each) for each in disks} == {"1.1"}
        bot.done(f"vm delete {name} --remove-disks --now")
        assert [each for each in disks if there(bot, each)] == []


def test_with_its_disks_the_variables_of_its_firmware_are_kept(bot: Bot, tmp_path: Path) -> None:
    loader = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>"
    firmware = loader + "<nvram>{path}</nvram></os><features><acpi/></features>"
    for option, stays in (("--keep-disks", True), ("--remove-disks", False)):
        name, variables = f"end-uefi-{int(stays)}", f"{POOL}/end-{int(stays)}_VARS.fd"
        bot.lab.run(A, "truncate", "-s", "64K", variables)
        disk = image(bot, f"{POOL}/{name}.qcow2")
        define(bot, tmp_path, name, f"<source file='{disk}'/>")
        path = tmp_path / f"{name}.xml"
        described = bot.virsh(A, "dumpxml", name).replace("</os>", firmware.format(path=variables))
        path.write_text(described.replace("<boot dev='hd'/>", ""))
        bot.virsh(A, "define", str(path))
        bot.done(f"vm delete {name} {option} --now")
        assert [there(bot, variables), there(bot, disk)] == [stays, stays]


def test_a_new_disk_is_never_a_former_one(bot: Bot, tmp_path: Path) -> None:
    disk = image(bot, f"{POOL}/end-plug.qcow2")
    identity = define(bot, tmp_path, "end-plug", f"<source file='{disk}'/>")
    former = image(bot, f"{POOL}/end-plug-{identity[:8]}-vdb.qcow2")
    bot.lab.run(A, "qemu-io", "-c", "write -P 0x5a 0 64k", former)
    bot.done("vm disk add end-plug 1G")
    disks = bot.virsh(A, "domblklist", "end-plug")
    assert former not in disks
    assert f"end-plug-{identity[:8]}-vdc.qcow2" in disks
    assert "failed" not in bot.lab.run(A, "qemu-io", "-c", "read -P 0x5a 0 64k", former)


# What may run elsewhere


def test_the_disk_of_a_vm_that_may_run_on_a_silent_host_stays(
    bot: Bot, lab: Lab, tmp_path: Path
) -> None:
    identity = str(uuid.uuid4())
    disk = image(bot, f"{POOL}/end-ha.qcow2")
    define(bot, tmp_path, "end-ha", f"<source file='{disk}'/>", identity=identity)
    image(bot, disk, host=B)
    define(bot, tmp_path, "end-ha", f"<source file='{disk}'/>", host=B, identity=identity)
    bot.virsh(B, "start", "end-ha")
    assert "is running" in text(bot.says("vm delete end-ha --remove-disks --now"))
    (tmp_path / "fresh").mkdir()
    lab.freeze(B)
    try:
        fresh = Bot(lab, tmp_path / "fresh", deadline=3)
        for line in (
            "vm delete end-ha --remove-disks --now",
            "vm delete end-ha --keep-disks",
            "vm clone end-ha end-x",
        ):
            assert "host-b has not answered since the bot started" in text(fresh.says(line)), line
        assert not fresh.store.operations(limit=1)
        fresh.hypervisor.close()
        fresh.store.close()
        assert there(bot, disk)
    finally:
        lab.thaw(B)


# Clones


def test_a_clone_of_a_managed_platforms_vm_runs_beside_it_and_shares_nothing(
    bot: Bot, tmp_path: Path
) -> None:
    disk = image(bot, f"{POOL}/end-ovirt.qcow2")
    identity, path = str(uuid.uuid4()), tmp_path / "ovirt.xml"
    path.write_text(
        f"<domain type='qemu'><name>end-ovirt</name><uuid>{identity}</uuid><memory unit='MiB'>64</memory>"
        f"<sysinfo type='smbios'><system><entry name='uuid'>{identity}</entry><entry name='serial'>{identity}</entry>"
        "</system></sysinfo><os><type arch='x86_64' machine='q35'>hvm</type><smbios mode='sysinfo'/></os><devices>"
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>"
        "<target dev='vda' bus='virtio'/><serial>one</serial></disk>"
        f"<serial type='file'><source path='{POOL}/end-ovirt.log'/></serial>"
        f"<channel type='unix'><source mode='bind' path='{POOL}/end-ovirt.sock'/>"
        "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        "<graphics type='vnc' port='5955' autoport='no' passwd='geheim'/></devices></domain>"
    )
    bot.virsh(A, "define", str(path))
    bot.done("vm clone end-ovirt end-twin")
    for name in ("end-ovirt", "end-twin"):
        bot.virsh(A, "start", name)
    first, second = (
        bot.virsh(A, "dumpxml", "--security-info", name) for name in ("end-ovirt", "end-twin")
    )
    assert identity not in second
    for own in ("end-ovirt.log", "end-ovirt.sock", "<serial>one</serial>", "port='5955'"):
        assert own in first
        assert own not in second, own
    assert "passwd='geheim'" in second, "its screen is not open to all"


def test_what_cannot_be_cloned_is_told_before_a_disk_is_copied(bot: Bot, tmp_path: Path) -> None:
    disk = image(bot, f"{POOL}/end-port.qcow2")
    define(bot, tmp_path, "end-port", f"<source file='{disk}'/>")
    bot.virsh(A, "attach-device", "end-port", "--config", "--file", str(serial(tmp_path)))
    assert "listens on port 4555" in text(bot.says("vm clone end-port end-twin"))
    assert not bot.store.operations(limit=1)
    assert "end-twin" not in bot.lab.run(A, "ls", POOL)


def serial(tmp_path: Path) -> Path:
    path = tmp_path / "serial.xml"
    path.write_text(
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/></serial>"
    )
    return path
