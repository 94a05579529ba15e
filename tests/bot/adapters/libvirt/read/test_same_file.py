"""Whether two hosts show one file, by what libvirt tells of it on each."""

from __future__ import annotations

import pytest

from bot.adapters.libvirt.read.same_file import Memory, compare
from bot.domain.backing import Image
from bot.domain.cluster import Disk, DiskThere, Seen

DISK = Disk("vda", "file", "/srv/a.raw")


def image(mtime: str, ctime: str, size: str = "100") -> Image:
    return Image("/srv/a.raw", stamp=f"{mtime} {ctime} {size} {size}")


@pytest.mark.parametrize(
    ("before", "there", "after", "seen"),
    [
        (image("5.1", "5.1"), image("5.1", "5.1"), image("5.1", "5.1"), Seen.SAME),
        (image("5.1", "5.1"), image("5.7", "5.7"), image("6.2", "6.2"), Seen.SAME),
        (image("5.1", "5.1"), image("5.1", "9.0"), image("5.1", "5.1"), Seen.OTHER),
        (image("5.1", "5.1"), image("4.0", "4.0"), image("6.2", "6.2"), Seen.OTHER),
        (image("5.1", "5.1"), None, image("5.1", "5.1"), Seen.ABSENT),
        (image("5.1", "5.1"), image("5.1", "5.1", "99"), image("5.1", "5.1"), Seen.OTHER),
        (None, image("5.1", "5.1"), None, Seen.OTHER),
        (image("5.1", "5.1"), Image("/srv/a.raw", "pool", "a"), image("5.1", "5.1"), Seen.OTHER),
    ],
)
def test_the_same_file_shows_the_same_moments_or_those_in_between(
    before: Image | None, there: Image | None, after: Image | None, seen: Seen
) -> None:
    assert compare({"vda": before}, {"vda": there}, {"vda": after}) == (DiskThere("vda", seen),)


def test_a_host_that_does_not_answer_in_time_shows_nothing() -> None:
    assert compare({"vda": image("1", "1")}, None, None) == (DiskThere("vda", Seen.UNKNOWN),)


def test_a_look_is_remembered_for_the_same_disks_but_never_what_could_not_be_seen() -> None:
    memory = Memory()
    memory.keep("u", "host-b", (DISK,), (DiskThere("vda", Seen.ABSENT),))
    memory.keep("u", "host-c", (DISK,), (DiskThere("vda", Seen.UNKNOWN),))
    assert memory.recall("u", "host-b", (DISK,)) == (DiskThere("vda", Seen.ABSENT),)
    assert memory.recall("u", "host-c", (DISK,)) is None
    assert memory.recall("u", "host-b", (Disk("vda", "file", "/srv/b.raw"),)) is None
