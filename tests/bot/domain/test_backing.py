"""Who stands on what: laws that hold for any chains, under any names."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.backing import Backing, Image, ImageUse, Storage, image_name, plain
from bot.domain.message import Message

NAMES = [f"/p/{letter}" for letter in "abcdefg"]


@st.composite
def forests(draw: st.DrawFn) -> dict[str, str]:
    """For each image the one it stands on, '' for none; chains of any length and breadth."""
    return {name: draw(st.sampled_from(["", *NAMES[:index]])) for index, name in enumerate(NAMES)}


def images(chains: dict[str, str]) -> tuple[Image, ...]:
    return tuple(Image(path, "p", path[3:], base, f"stamp {path}") for path, base in chains.items())


def below(chains: dict[str, str], path: str) -> set[str]:
    found = {path}
    while path := chains.get(path, ""):
        found.add(path)
    return found


def said(messages: Iterable[Message]) -> tuple[str, ...]:
    return tuple(map(str, messages))


@given(forests(), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_an_image_is_held_by_exactly_those_whose_chain_has_it(
    chains: dict[str, str], used: str, asked: str
) -> None:
    use = ImageUse("u-1", "vm", used, "disk")
    backing = Backing({"h": Storage(images(chains), (use,))})
    held = said(backing.holders("h", asked, but="u-2", going=(asked,)))
    assert ("vm on h" in held) == (asked in below(chains, used))
    loose = [name for name in NAMES if name != asked and asked in below(chains, name)]
    assert bool(held) == (bool(loose) or used == asked)


def test_a_file_with_an_images_data_is_needed_by_whoever_needs_the_image() -> None:
    images = (
        Image("/p/top", "p", "top", "/p/base", data="/p/top-data"),
        Image("/p/base", "p", "base", data="/p/base-data"),
        *(Image(f"/p/{name}", "p", name) for name in ("top-data", "base-data")),
    )
    uses = (ImageUse("u-1", "vm", "/p/top", "disk"), ImageUse("u-2", "raw", "/p/base-data", "disk"))
    backing = Backing({"h": Storage(images, uses)})
    assert [each.path for each in backing.beneath("h", "/p/top")] == [
        "/p/top-data", "/p/base", "/p/base-data"
    ]  # fmt: skip
    assert said(backing.holders("h", "/p/base-data", but="u-2", going=("/p/base-data",))) == (
        "vm on h",
    )
    assert said(backing.standing("h", "/p/base-data", but="u-2")) == ("vm on h",)
    assert (
        said(backing.holders("h", "/p/top-data", but="u-1", going=("/p/top", "/p/top-data"))) == ()
    )


@given(forests(), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_a_link_is_as_good_as_the_name_itself(
    chains: dict[str, str], used: str, asked: str
) -> None:
    link = Image("/q/link", "q", "link", "", f"stamp {used}")
    here, there = (
        Storage(images(chains)),
        Storage((link,), (ImageUse("u-1", "vm", "/q/link", "disk"),)),
    )
    held = said(Backing({"h": here, "g": there}).holders("h", asked, but="u-2", going=NAMES))
    assert ("vm on g" in held) == (asked in below(chains, used))


@given(forests(), st.sampled_from(NAMES))
def test_what_goes_together_holds_nothing(chains: dict[str, str], asked: str) -> None:
    mine = tuple(ImageUse("u-1", "vm", path, "disk") for path in NAMES)
    backing = Backing({"h": Storage(images(chains), mine)})
    assert backing.holders("h", asked, but="u-1", going=NAMES) == ()


def test_a_circle_of_images_ends() -> None:
    backing = Backing({"h": Storage((Image("/a", base="/b"), Image("/b", base="/a")))})
    assert [each.path for each in backing.beneath("h", "/a")] == ["/b"]
    assert said(backing.holders("h", "/a", but="u", going=("/a",))) == ("the volume /b on h",)


def test_paths_have_one_spelling() -> None:
    assert plain("/a//b/../c") == "/a/c"
    assert plain("//a/b") == "/a/b"
    assert plain("/dev/mapper/vg--0-lv--1") == "/dev/vg-0/lv-1"
    assert plain("rbd:pool/../image") == "rbd:pool/../image"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rbd://mon-1:6789,mon-2/vms/web", "rbd:vms/web"),
        ("rbd://mon-2,mon-1/vms/web@clean", "rbd:vms/web"),
        ("rbd:///vms/web", "rbd:vms/web"),
        ("gluster://g/volume/web", "gluster:volume/web"),
        ("iscsi://san:3260/iqn.x:web", "iscsi:iqn.x:web/0"),
        ("iscsi://10.0.0.9/iqn.x:web/0", "iscsi:iqn.x:web/0"),
        ("iscsi://san/iqn.x:web/1", "iscsi:iqn.x:web/1"),
        ("nbd://one:10809/", "nbd://one:10809/"),
        ("nbd:///run/two.sock/disk", "nbd:///run/two.sock/disk"),
        ("/pool/../pool//a", "/pool/a"),
        ("pool/a", "pool/a"),
    ],
)
def test_a_network_image_has_one_name_whichever_server_tells_it(source: str, name: str) -> None:
    assert image_name(source) == name


def test_one_device_is_the_same_on_all_hosts_that_name_it() -> None:
    here = Storage((Image("/dev/vg/web", "vg", "web"),), ())
    there = Storage((), (ImageUse("u-1", "far", "/dev/mapper/vg-web", "disk"),))
    backing = Backing({"h": here, "g": there})
    assert said(backing.holders("h", "/dev/vg/web", but="u-2", going=())) == ("far on g",)


def test_volumes_made_at_one_moment_for_different_vms_are_different_files() -> None:
    first, second = "11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000"
    paths = {first: "/p/web-11111111.qcow2", second: "/p/web-22222222.qcow2"}
    made = tuple(Image(path, "p", path[3:], "", "one moment") for path in paths.values())
    uses = tuple(ImageUse(uuid, f"vm-{uuid[:1]}", path, "disk") for uuid, path in paths.items())
    twins = Backing({"h": Storage(made, uses)})
    assert twins.holders("h", paths[first], but=first, going=(paths[first],)) == ()
    link = Image("/q/link", "q", "link", "", "one moment")
    linked = ImageUse("u-3", "vm-3", "/q/link", "disk")
    doubtful = Backing({"h": Storage((*made, link), (*uses, linked))})
    held = doubtful.holders("h", paths[first], but=first, going=(paths[first],))
    assert "vm-3 on h" in said(held)


def test_a_volume_that_two_pools_hold_is_one() -> None:
    image = Image("/p/a", "p", "a", also=("q/a",))
    there = Image("/mnt/a", "q", "a")
    far = Storage((there,), (ImageUse("u-1", "far", "/mnt/a", "disk"),))
    backing = Backing({"h": Storage((image,)), "g": far}, {("h", "q"), ("g", "q")})
    assert said(backing.holders("h", "/p/a", but="u-2", going=("/p/a",))) == ("far on g",)
