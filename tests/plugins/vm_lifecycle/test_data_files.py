"""A disk whose data lie in a file of their own: it goes with the disk, unless somebody needs it."""

from __future__ import annotations

from bot.domain.backing import Image, ImageUse, Looked, Storage
from bot.testing import draw_cluster
from plugins.vm_lifecycle.fates import StorageView, fates
from plugins.vm_lifecycle.settings import VmLifecycleSettings

SEEN = draw_cluster("host-a 8cpu 16G | web-1 1G off | web-2 1G off")
IMAGES = (
    Image("/p/top", "p", "top", "/p/base", data="/p/top-data"),
    Image("/p/base", "p", "base", data="/p/base-data"),
    Image("/p/top-data", "p", "top-data"),
    Image("/p/base-data", "p", "base-data"),
)


def kept(*more: ImageUse) -> dict[str, str]:
    vm = SEEN.vm("web-1")
    uses = (ImageUse(vm.uuid, vm.name, "/p/top", "disk"), *more)
    looked = Looked({"host-a": Storage(IMAGES, uses)})
    scene = StorageView.of(VmLifecycleSettings(), SEEN, looked)
    return {each.path: each.stays for each in fates(vm, scene)}


def test_the_file_with_a_disks_data_goes_with_the_disk_and_that_of_a_base_stays() -> None:
    assert kept() == {
        "/p/top": "",
        "/p/top-data": "",
        "/p/base": "beneath",
        "/p/base-data": "beneath",
    }


def test_the_file_with_a_disks_data_stays_where_another_vm_has_it() -> None:
    other = SEEN.vm("web-2")
    assert kept(ImageUse(other.uuid, other.name, "/p/top-data", "disk"))["/p/top-data"] == "needed"
