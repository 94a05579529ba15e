"""A look at a host's storage: one odd object costs itself, and is told; a broken connection ends the look."""

from __future__ import annotations

import threading
from typing import Any

import libvirt
import pytest

from bot.adapters.libvirt.read import backing
from bot.adapters.libvirt.read.pool_refresh import Refreshes
from bot.adapters.libvirt.write import guests
from bot.domain.backing import Storage
from bot.domain.errors import HypervisorError
from tests.waiting import until

VOLUME = """<volume type='file'><name>{name}</name><capacity>1</capacity><physical>1</physical><target>
<path>/pool/{name}</path><timestamps><mtime>{at}</mtime><ctime>{at}</ctime></timestamps></target></volume>"""
POOL = "<pool type='dir'><name>pool</name><target><path>/pool</path></target></pool>"
VM = """<domain type='qemu'><name>vm</name><uuid>u-1</uuid><devices><disk type='file' device='disk'>
<driver type='qcow2'/><source file='/pool/a'/><target dev='vda'/></disk></devices></domain>"""


def error(code: int) -> libvirt.libvirtError:
    made = libvirt.libvirtError("no")
    made.err = (code, 0, "odd", 0, "", None, None, 0, 0)
    return made


class Handle:
    """A pool, volume or domain that answers with one text, or raises."""

    def __init__(self, text: Any, volumes: tuple[Any, ...] = ()) -> None:
        self.text, self.volumes = text, volumes

    def XMLDesc(self, _: int = 0) -> str:  # noqa: N802 - libvirt's name
        if isinstance(self.text, list):
            return str(self.text.pop(0) if len(self.text) > 1 else self.text[0])
        if isinstance(self.text, Exception):
            raise self.text
        return str(self.text)

    reads = 0

    def refresh(self, _: int) -> None:
        self.reads += 1

    def listAllVolumes(self, _: int) -> tuple[Any, ...]:  # noqa: N802
        return self.volumes

    def listAllSnapshots(self, _: int) -> tuple[Any, ...]:  # noqa: N802
        return ()

    def name(self) -> str:
        return "vm"

    def UUIDString(self) -> str:  # noqa: N802
        return "u-1"

    def isActive(self) -> int:  # noqa: N802
        return 0


class Connection:
    def __init__(
        self, pools: tuple[Handle, ...], domains: tuple[Handle, ...], *, alive: bool = True
    ) -> None:
        self.pools, self.domains, self.alive = pools, domains, alive

    def listAllStoragePools(self, _: int) -> tuple[Handle, ...]:  # noqa: N802
        return self.pools

    def listAllDomains(self, flags: int) -> tuple[Handle, ...]:  # noqa: N802
        return () if flags else self.domains

    def storageVolLookupByPath(self, _: str) -> None:  # noqa: N802
        raise error(libvirt.VIR_ERR_NO_STORAGE_VOL)

    def isAlive(self) -> int:  # noqa: N802
        return int(self.alive)


def volume(name: str, at: str = "1.1") -> str:
    return VOLUME.format(name=name, at=at)


@pytest.mark.parametrize("odd", [error(libvirt.VIR_ERR_INTERNAL_ERROR), "<no xml", "<volume"])
def test_one_odd_object_costs_itself_and_is_told(odd: Any) -> None:
    pool = Handle(POOL, (Handle(volume("a")), Handle(odd)))
    seen = backing.storage(Connection((pool, Handle(odd)), (Handle(odd), Handle(VM))), whole=True)
    assert [each.path for each in seen.images] == ["/pool/a"]
    assert ("vm", "/pool/a", "disk") in {(each.vm, each.path, each.device) for each in seen.uses}
    assert len(seen.unknown) == 3, seen.unknown


def test_a_file_with_an_images_data_is_known_where_a_definition_names_it() -> None:
    store = "<dataStore type='file'><format type='raw'/><source file='/pool/{}'/></dataStore>"
    base = f"<backingStore type='file'><source file='/pool/b'>{store.format('e')}</source></backingStore>"
    named = VM.replace(
        "<source file='/pool/a'/>", f"<source file='/pool/a'>{store.format('d')}</source>{base}"
    )
    pool = Handle(POOL, tuple(Handle(volume(name, f"{name}.1")) for name in "abde"))
    seen = backing.storage(Connection((pool,), (Handle(named),)), whole=True)
    assert {each.path: each.data for each in seen.images} == {
        "/pool/a": "/pool/d", "/pool/b": "/pool/e", "/pool/d": "", "/pool/e": ""
    }  # fmt: skip


def test_what_vanished_meanwhile_is_not_there() -> None:
    gone = error(libvirt.VIR_ERR_NO_STORAGE_VOL)
    seen = backing.storage(Connection((Handle(POOL, (Handle(gone),)),), ()), whole=True)
    assert (seen.images, seen.unknown) == ((), ())


def test_a_broken_connection_ends_the_look() -> None:
    pool = Handle(POOL, (Handle(error(libvirt.VIR_ERR_INTERNAL_ERROR)),))
    with pytest.raises(libvirt.libvirtError):
        backing.storage(Connection((pool,), (), alive=False), whole=True)


def test_an_image_that_changes_while_its_vm_is_off_is_told_as_written_to() -> None:
    written = Handle([volume("a", "1.1"), volume("a", "2.2")])
    (seen,) = backing.storage(
        Connection((Handle(POOL, (written,)),), (Handle(VM),)), whole=True
    ).images
    assert seen.busy
    (still,) = backing.storage(
        Connection((Handle(POOL, (Handle(volume("a")),)),), (Handle(VM),)), whole=True
    ).images
    assert not still.busy


def test_a_storage_that_never_answers_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(HypervisorError, match="too slow"):
        guests._in_time(never.wait, 0.05, "too slow")
    never.set()
    assert guests._in_time(lambda: 7, 5, "too slow") == 7
    with pytest.raises(KeyError):
        guests._in_time(lambda: dict[str, str]()["x"], 5, "too slow")


def test_a_quick_look_reads_a_slow_pool_no_more_often_than_others_do() -> None:
    pool, refreshes = Handle(POOL), Refreshes()
    connection = Connection((pool,), (Handle(VM),))
    gate = threading.Event()
    reader = threading.Thread(target=refreshes.refresh, args=("pool", gate.wait))
    reader.start()
    until(lambda: refreshes.reading("pool"), "the pool is being read")
    seen = backing.storage(connection, whole=False, refreshes=refreshes)
    assert (pool.reads, seen.unknown) == (0, ())
    gate.set()
    reader.join()
    backing.storage(connection, whole=True)
    assert pool.reads == 1, "a whole look is always fresh"


def looked(*definitions: str, pools: tuple[Handle, ...] = ()) -> Storage:
    handles = tuple(map(Handle, definitions))
    return backing.storage(Connection(pools, handles), whole=True, directories=False)


def test_paths_within_arguments_of_qemu_are_uses() -> None:
    namespace = "http://libvirt.org/schemas/domain/qemu/1.0"
    arguments = (
        "-drive",
        "file=/pool/a,,b.qcow2,if=virtio",
        "/pool/plain",
        '{"driver":"file","filename":"/pool/json","node-name":"n"}',
        "driver=qcow2,file.filename=/pool/blank c,node-name=m",
        "socket,path=/run/x.sock",
    )
    told = "".join(f"<qemu:arg value='{each}'/>" for each in arguments)
    made = (
        f"<domain xmlns:qemu='{namespace}'><name>vm</name><os><cmdline>root=/dev/vda1</cmdline></os>"
        f"<qemu:commandline>{told}</qemu:commandline></domain>"
    )
    assert {each.path for each in looked(made).uses} == {
        "/pool/a,b.qcow2",
        "/pool/plain",
        "/pool/json",
        "/pool/blank c",
        "/run/x.sock",
    }


def test_a_volume_in_two_pools_of_one_directory_has_both_names() -> None:
    again = POOL.replace("<name>pool<", "<name>a-pool<").replace("/pool<", "/./pool/<")
    twice = VOLUME.format(name="a", at="1").replace("/pool/a", "/./pool/a")
    pools = (
        Handle(POOL, (Handle(VOLUME.format(name="a", at="1")),)),
        Handle(again, (Handle(twice),)),
    )
    for order in (pools, pools[::-1]):
        (image,) = looked(pools=order).images
        assert image.place == "a-pool/a"
        assert image.places == {"a-pool/a", "pool/a"}


class Device(Handle):
    """A logical volume, found by any link to its device."""

    def storagePoolLookupByVolume(self) -> Device:  # noqa: N802
        return self

    def name(self) -> str:
        return "vg"


@pytest.mark.parametrize("path", ["/dev/dm-3", "/dev/disk/by-id/dm-uuid-LVM-x", "/dev/block/253:3"])
def test_a_device_is_the_volume_that_libvirt_finds_there(path: str) -> None:
    pool = "<pool type='logical'><name>vg</name><target><path>/dev/vg</path></target></pool>"
    volume = Device(
        "<volume type='block'><name>lv</name><target><path>/dev/vg/lv</path></target></volume>"
    )
    definition = (
        "<domain><name>vm</name><uuid>u-1</uuid><devices><disk type='block' device='disk'>"
        f"<driver type='raw'/><source dev='{path}'/></disk></devices></domain>"
    )
    connection = Connection((Handle(pool),), (Handle(definition),))
    connection.storageVolLookupByPath = lambda _: volume  # type: ignore[method-assign,assignment]
    found = backing.storage(connection, whole=True)
    assert {each.path for each in found.uses} == {"/dev/vg/lv"}
    assert [each.place for each in found.images] == ["vg/lv"]


@pytest.mark.parametrize("base", ["json:{", 'json:{"driver":"ssh","path":"/pool/a"}'])
def test_an_image_that_names_what_nobody_can_read_is_not_known_to_stand_on_nothing(
    base: str,
) -> None:
    odd = VOLUME.format(name="top", at="1").replace(
        "</volume>", f"<backingStore><path>{base}</path></backingStore></volume>"
    )
    found = looked(pools=(Handle(POOL, (Handle(odd),)),))
    assert "/pool/top: what it stands on cannot be read" in str(found.unknown[0])


def test_network_disks_are_used_by_the_name_that_all_servers_know_them_by() -> None:
    def vm(name: str, source: str) -> str:
        return (
            f"<domain><name>{name}</name><uuid>{name}</uuid><devices>"
            f"<disk type='network' device='disk'><driver type='raw'/>{source}</disk>"
            "</devices></domain>"
        )

    rbd = "<source protocol='rbd' name='vms/web@s'><host name='m1'/><host name='m2'/></source>"
    nbd = "<source protocol='nbd' name=''><host name='n1' port='10809'/></source>"
    uses = looked(vm("a", rbd), vm("b", nbd)).uses
    assert {each.path for each in uses} == {"rbd:vms/web", "nbd://n1:10809/"}
