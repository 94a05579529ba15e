"""Where disks lie, and who else can see them."""

from __future__ import annotations

import pytest

from bot.domain.cluster import Disk, Health, Host, Pool, VmDetail
from bot.domain.storage import Declared, copied_disks, declare, declared_shared, is_shared, pool_of

POOLS = (
    Pool("vms", "dir", "/var/lib/libvirt/images", active=True, autostart=True),
    Pool("nfs", "netfs", "/var/lib/libvirt/images/nfs", active=True, autostart=True, shared=True),
    Pool("ceph", "rbd", "", active=True, autostart=True, shared=True),
)


HOST = Host("host-a", Health.UP, pools=POOLS)


@pytest.mark.parametrize(
    ("disk", "copied"),
    [
        (Disk("vda", "file", "/var/lib/libvirt/images/web-1.qcow2"), True),
        (Disk("vda", "file", "/srv/elsewhere.qcow2"), True),
        (Disk("vda", "volume", "vms/web-1.qcow2"), True),
        (Disk("vda", "file", "/var/lib/libvirt/images/nfs/web-1.qcow2"), False),
        (Disk("vda", "volume", "nfs/web-1.qcow2"), False),
        (Disk("vda", "volume", "ceph/web-1"), False),
        (Disk("vda", "network", "nbd://host/web-1"), False),
        (Disk("vda", "block", "/dev/mapper/san-lun"), False),
        (Disk("vda", "file", "/dev/mapper/san-lun"), False),
        (Disk("vda", "file", "//dev/./vg/data"), False),
        (Disk("vda", "file", "/var/lib/libvirt/images/nfs/../web-1.qcow2"), True),
        (Disk("vda", "file", "/var/lib//libvirt/./images/nfs/web-1.qcow2"), False),
        (Disk("vda", "file", "/srv/quorum.img", shareable=True), False),
        (Disk("vda", "file", "/srv/seed.img", readonly=True), False),
        (Disk("sda", "file", "/srv/debian.iso", device="cdrom"), False),
        (Disk("vda", "file", ""), False),
    ],
)
def test_only_what_one_host_has_is_copied(disk: Disk, *, copied: bool) -> None:
    assert copied_disks(HOST, VmDetail(disks=(disk,))) == ((disk,) if copied else ())


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/san/db", True),
        ("//san/./db", True),
        ("/san/../local/db", False),
        ("/dev/mapper/san-db", True),
        ("/dev/san/db", True),
        ("/dev/mapper/vg-db", True),
        ("/dev/vg/db", True),
        ("/dev/other/db", False),
    ],
)
def test_a_declared_path_covers_every_spelling_of_what_lies_there(
    path: str, *, shared: bool
) -> None:
    patterns = ("/san/", "/dev/mapper/san-*", "/dev/san", "/dev/vg/*")
    host = Host("host-a", Health.UP, shared_paths=patterns)
    assert declared_shared(host, Disk("vda", "block", path)) is shared


IQN = "iqn.2020-01.example:vms"
BY_PATH = f"/dev/disk/by-path/ip-10.0.0.9:3260-iscsi-{IQN}-lun-1"
SAN = Host(
    "host-a",
    Health.UP,
    pools=(
        Pool(
            "san",
            "iscsi",
            "/dev/disk/by-path",
            active=True,
            autostart=True,
            shared=True,
            source=IQN,
        ),
        Pool("vg", "logical", "/dev/vg", active=True, autostart=True),
        Pool("fc", "scsi", "/dev/disk/by-path", active=True, autostart=True),
        Pool("mp", "mpath", "/dev/mapper", active=True, autostart=True),
        Pool("images", "dir", "/srv/images", active=True, autostart=True),
        Pool("nfs", "netfs", "/srv/nfs", active=True, autostart=True, shared=True),
    ),
)


@pytest.mark.parametrize(
    ("disk", "declared", "shared"),
    [
        (Disk("vda", "block", BY_PATH), [], True),
        (Disk("vda", "block", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"), [], False),
        (Disk("vda", "block", BY_PATH.replace(IQN, "iqn.2020-01.example:other")), [], False),
        (Disk("vda", "volume", "fc/unit:0:0:1"), [], False),
        (Disk("vda", "volume", "fc/unit:0:0:1"), [Declared("fc")], True),
        (Disk("vda", "block", "/dev/vg/web-1"), [], False),
        (Disk("vda", "block", "/dev/vg/web-1"), [Declared("vg")], True),
        (Disk("vda", "block", "/dev/mapper/mpatha"), [Declared("mp")], True),
        (Disk("vda", "block", "/dev/mapper/vg-root"), [Declared("mp")], False),
        (Disk("vda", "block", "/dev/drbd0"), [Declared(path="/dev/drbd*")], True),
        (Disk("vda", "block", "/dev/drbd/by-res/web/0"), [Declared(path="/dev/drbd")], True),
        (Disk("vda", "block", "/dev/drbdother"), [Declared(path="/dev/drbd")], False),
        (Disk("vda", "file", "/srv/images/web-1.qcow2"), [], False),
        (Disk("vda", "file", "/srv/images/web-1.qcow2"), [Declared("images")], True),
        (
            Disk("vda", "file", "/srv/images/web-1.qcow2"),
            [Declared("images", hosts=frozenset({"host-b"}))],
            False,
        ),
        (Disk("vda", "file", "/mnt/ceph/web-1.raw"), [Declared(path="/mnt/ceph/")], True),
        # Each host finds another server there
        (Disk("vda", "network", "nbd://localhost:10809/web"), [], False),
        (Disk("vda", "network", "nbd://127.0.0.1/web"), [], False),
        (Disk("vda", "network", "nbd:///run/nbd.sock/web"), [], False),
        (Disk("vda", "network", "iscsi://[::1]:3260/iqn.2020-01.a:b/1"), [], False),
        (Disk("vda", "network", "nbd://storage/web"), [], True),
        (Disk("vda", "network", "gluster://localhost/vms/web"), [], True),
        (Disk("vda", "network", "rbd:///vms/web"), [], True),
        (
            Disk("vda", "network", "nbd://localhost:10809/web"),
            [Declared(path="nbd://localhost:10809")],
            True,
        ),
        (Disk("vda", "network", "nbd:///run/nbd.sock/web"), [Declared(path="nbd:///run/*")], True),
        (Disk("vda", "file", "/srv/nfs/web-1.raw"), [], True),
        (Disk("vda", "file", "/srv/nfs/web-1.raw"), [Declared("nfs", shared=False)], False),
    ],
)
def test_shared_is_what_the_kind_shows_or_what_is_declared(
    disk: Disk, declared: list[Declared], *, shared: bool
) -> None:
    host = declare(SAN, declared)
    assert is_shared(host, disk) is shared
    assert declared_shared(host, disk) is (shared and bool(declared))


def test_a_device_in_everybodys_folder_is_in_no_pool_but_its_own() -> None:
    assert pool_of(SAN, Disk("vda", "block", "/dev/disk/by-path/virtio-pci-1")) is None
