"""A VM or host by the name that a person typed, or that their phone made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.testing import draw_cluster

SEEN = draw_cluster("host-a 8cpu 16G | web-1 1G | web-2 1G | web-3 1G\nhost-b 8cpu 16G")
NAMES = ("Bob’s VM", "say “hi”", "web 1")
NAMED = replace(
    SEEN, vms=tuple(replace(vm, name=name) for vm, name in zip(SEEN.vms, NAMES, strict=True))
)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Bob’s VM", "Bob’s VM"),
        ("Bob's VM", "Bob’s VM"),
        ('say "hi"', "say “hi”"),
        ("web\u00a01", "web 1"),
        ("web\u30001", "web 1"),
        ("*web 1*", "web 1"),
        ("`web 1`", "web 1"),
    ],
)
def test_a_vm_is_found_by_what_autocorrection_made_of_its_name(typed: str, name: str) -> None:
    assert NAMED.vm(typed).name == name


def test_a_uuid_is_its_own_vms_even_where_another_vm_has_it_for_a_name() -> None:
    first, second, third = SEEN.vms
    named = replace(SEEN, vms=(replace(first, name=second.uuid), second, third))
    assert named.vm(second.uuid) == second
    assert named.vm(first.uuid).name == second.uuid


def test_an_exact_name_wins_and_two_alike_are_not_guessed_between() -> None:
    both = replace(
        NAMED, vms=(*NAMED.vms, replace(NAMED.vms[0], uuid=SEEN.vms[0].uuid[::-1], name="Bob's VM"))
    )
    assert both.vm("Bob's VM").name == "Bob's VM"
    assert both.vm("Bob’s VM").name == "Bob’s VM"
    with pytest.raises(AmbiguousNameError):
        both.vm("Bob‘s VM")


def test_a_host_in_marks_is_found_and_capitals_are_corrected() -> None:
    assert SEEN.host("`host-a`").name == "host-a"
    with pytest.raises(UnknownNameError) as caught:
        SEEN.vm("WEB-1")
    assert "“web-1”" in str(caught.value.advice)
