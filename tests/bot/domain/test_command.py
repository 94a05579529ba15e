"""Commands that people are told to type: a name in them is never more than a name."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.words import command, virsh_name
from bot.testing import draw_cluster, uuid_of

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
) | st.sampled_from(
    ["a b", "a'b", 'a"b', "$(id)", "a;id", "a\nb", "-rf", "--all", "`id`", "a|b", "*", "~", "{}"]
)


@given(names, names)
def test_a_shell_reads_each_name_as_one_word(first: str, second: str) -> None:
    words = shlex.split(command("virsh attach {} {} --live", first, second))
    assert words[0] == "virsh"
    assert [each for each in words[2:] if each not in ("--live", "--")] == [
        each for each in (first, second) if each not in ("--live", "--")
    ]
    if first.startswith("-") or second.startswith("-"):
        assert words == ["virsh", "attach", "--live", "--", first, second], (
            "options end before the names"
        )


@given(names)
def test_a_value_stays_with_its_option(value: str) -> None:
    assert shlex.split(command("vm reboot {} --reason={}", "web-1", value)) == [
        "vm",
        "reboot",
        "web-1",
        f"--reason={value}",
    ]


@pytest.mark.parametrize(
    ("template", "given_names", "line"),
    [
        ("vm start {}", ["web-1"], "vm start web-1"),
        ("vm start {}", ["web 1"], "vm start 'web 1'"),
        ("vm start {} --reason={}", ["-x", "a b"], "vm start '--reason=a b' -- -x"),
        ("virsh domstate {}", ["a;touch x"], "virsh domstate 'a;touch x'"),
    ],
)
def test_as_people_read_it(template: str, given_names: list[str], line: str) -> None:
    assert command(template, *given_names) == line


@pytest.mark.parametrize("name", ["12", "007", "+5", " 5", uuid_of("other"), "f" * 36])
def test_a_vm_whose_name_virsh_reads_as_an_id_or_a_uuid_is_named_by_its_own_uuid(name: str) -> None:
    vm = replace(draw_cluster("host-a 8cpu 16G | web 1G").vm("web"), name=name)
    assert virsh_name(vm) == vm.uuid


@pytest.mark.parametrize("name", ["web-1", "0x10", "1e3", "12a", "-5", "1.5", "50%", "٣"])
def test_other_names_are_shown_as_they_are(name: str) -> None:
    vm = replace(draw_cluster("host-a 8cpu 16G | web 1G").vm("web"), name=name)
    assert virsh_name(vm) == name
