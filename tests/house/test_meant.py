"""Every command has an example that works, and what people type instead of a command is understood or listed, never guessed."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.catalog import Catalog, load
from bot.domain import suggest
from bot.domain.errors import UsageError
from bot.flow.commands.parse import parse
from bot.flow.commands.queries import Core

PLUGINS = ("migrate", "balance", "vm_lifecycle", "host_check", "monitor", "failover")


@cache
def catalog() -> Catalog:
    return load(PLUGINS, {}, extra=(Core(),))


@pytest.mark.parametrize("name", catalog().commands)
def test_every_command_has_an_example_that_is_that_command(name: str) -> None:
    command = catalog().commands[name]
    assert command.example.startswith(name)
    found = parse(catalog(), "/kvm", command.example)
    assert (found.command.name, found.help) == (name, "")


def test_another_word_for_a_command_is_none_of_a_command() -> None:
    others = {also for each in catalog().commands.values() for also in each.also}
    assert others & set(catalog().commands) == set()


def suggested(typed: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse(catalog(), "/kvm", typed)
    assert caught.value.code == "no-such-command"
    found = catalog().suggestions(typed.split(), "")
    assert all(f"`/kvm {str(each).strip('`')}`" in str(caught.value.advice) for each in found.items)
    return [str(each).strip("`") for each in found.items]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("list", ["hosts", "vms"]),
        ("list hosts", ["hosts"]),
        ("host list", ["hosts"]),
        ("show", ["show host", "vm show"]),
        ("show vm web-1", ["vm show web-1"]),
        ("info web-1", ["show host web-1", "vm show web-1"]),
        ("info op-3", ["details op-3"]),
        ("stop web-1", ["vm shutdown web-1"]),
        ("stop vm web-1", ["vm shutdown web-1"]),
        ("vm stop web-1", ["vm shutdown web-1"]),
        ("stop op-3", ["cancel op-3"]),
        ("kill web-1", ["vm force-off web-1"]),
        ("kill op-3", ["cancel op-3"]),
        ("abort op-3", ["cancel op-3"]),
        ("move web-1 to host-b", ["migrate web-1 to host-b"]),
        ("restart web-1", ["vm reboot web-1"]),
        ("vm move web-1 host-b", ["migrate web-1 host-b"]),
        ("vm migrate web-1", ["migrate web-1"]),
        ("silence host-a", ["host quiet host-a"]),
        # Nothing is done to an operation as if it were a VM
        ("rollback op-1", []),
        ("restart op-1", []),
        ("logs op-1", ["audit op-1"]),
        ("drain host-c", ["host drain host-c"]),
        ("create snapshot web-1 x", ["vm snapshot create web-1 x"]),
        ("snapshot create web-1 x", ["vm snapshot create web-1 x"]),
        ("grow disk web-1 vda 3G", ["vm disk grow web-1 vda 3G"]),
        ("aprove op-1", ["approve op-1"]),
        ("cancle op-1", ["cancel op-1"]),
        ("host chekc", ["host check"]),
        ("lsit", ["hosts", "vms"]),
        # Names with blanks stay one word
        ("start 'web 1'", None),
        # Too little alike: nothing is better than a wrong word
        ("dance", []),
        ("tpo", []),
        ("xyzzy", []),
        ("foo bar", []),
    ],
)
def test_what_people_type_is_understood_by_its_meaning(typed: str, lines: list[str] | None) -> None:
    if lines is None:
        with pytest.raises(UsageError, match="vm start 'web 1'"):
            parse(catalog(), "/kvm", typed)
    else:
        assert suggested(typed) == lines


LETTERS = st.text("abcdeilmnorstuv-", min_size=1, max_size=8)


@given(st.lists(LETTERS, min_size=1, max_size=3))
def test_a_suggestion_shares_its_letters_with_what_was_typed_or_means_it(typed: list[str]) -> None:
    """Whatever is typed: by spelling at most two letters of a word differ, else it is a known other word."""
    known = {name: each.also for name, each in catalog().commands.items()}
    others = {also for each in known.values() for also in each}
    for name, rest in suggest.guesses(typed, known):
        used = typed[: len(typed) - len(rest)]
        assert 0 < len(used) <= 4
        near = [
            suggest._distance(one, word) <= 2
            for one, word in zip(used, name.split()[-len(used) :], strict=False)
        ]
        also = [any(suggest._distance(word, one) <= 2 for one in others) for word in used]
        assert all(near) or all(also) or " ".join(used) in others or set(used) & set(name.split())


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_the_distance_is_one_of_letters(one: str, other: str) -> None:
    found = suggest._distance(one, other)
    assert found == suggest._distance(other, one)
    assert (found == 0) is (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))
    missing = Counter(one) - Counter(other)
    assert found >= missing.total() - max(0, len(one) - len(other))


def test_a_swap_is_one_slip() -> None:
    assert suggest._distance("aprovel", "aproevl") == 1
    assert suggest._distance("cancle", "cancel") == 1
    assert suggest._distance("abc", "ca") == 3
