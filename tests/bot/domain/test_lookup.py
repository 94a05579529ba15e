"""A VM or host by the name that a person typed, or that their phone made of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from bot.domain.cluster import tags_of
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.message import words
from bot.domain.owner import has_tag
from bot.domain.plan import Plan, Risk
from bot.domain.policy import Rule
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


def test_a_name_is_found_however_its_accents_are_encoded_and_two_alike_are_told_apart() -> None:
    whole, parts = "caf\u00e9", "cafe\u0301"
    one = replace(SEEN, vms=(replace(SEEN.vms[0], name=parts), *SEEN.vms[1:]))
    assert one.vm(whole).uuid == one.vm(f"*{whole}*").uuid == SEEN.vms[0].uuid
    assert one.uuids_for([whole]) == {SEEN.vms[0].uuid}
    both = replace(one, vms=(*one.vms[:2], replace(SEEN.vms[2], name=whole)))
    assert [both.vm(each).name for each in (whole, parts)] == [whole, parts]
    # The same letter in three ways, none of which is what was typed
    names = ("vm-o\u0323\u0302", "vm-\u00f4\u0323", "vm-\u1ecd\u0302")
    alike = [replace(vm, name=name) for vm, name in zip(SEEN.vms, names, strict=True)]
    with pytest.raises(AmbiguousNameError) as caught:
        replace(SEEN, vms=tuple(alike)).vm("vm-\u1ed9")
    assert all(vm.uuid in str(caught.value.advice) for vm in alike)
    hosts = tuple(replace(host, name=f"{host.name}-{parts}") for host in SEEN.hosts)
    assert replace(SEEN, hosts=hosts).host(f"host-b-{whole}") == hosts[1]


def test_a_tag_is_the_same_however_its_accents_are_encoded() -> None:
    vm = replace(SEEN.vms[0], tags=MappingProxyType({"e\u0301quipe": "caf\u00e9"}))
    assert has_tag(vm, "\u00e9quipe", "cafe\u0301")
    assert not has_tag(vm, "equipe", "cafe")
    rule = Rule("r", tags=("\u00e9quipe=c*\u00e9",))
    plan = Plan(words("t"), (), Risk.LOW, tags=tags_of((vm,)))
    assert rule.holds("vm start", plan, SEEN.taken_at)


def test_a_host_in_marks_is_found_and_capitals_are_corrected() -> None:
    assert SEEN.host("`host-a`").name == "host-a"
    with pytest.raises(UnknownNameError) as caught:
        SEEN.vm("WEB-1")
    assert "“web-1”" in str(caught.value.advice)
