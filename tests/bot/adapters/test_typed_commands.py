"""Advice names commands as its reader types them."""

from __future__ import annotations

import pytest

from bot.adapters.language import Languages
from bot.adapters.typed_commands import at_terminal
from bot.domain.card import Card, Section
from bot.domain.message import Code, Names, Words, words

SAID = words(
    "See `/kvm vms`, {why} or {all}; `{slash} ops` and `virsh list` stay. {more}",
    why=Code("/kvm balance why web-1"),
    all=Names((Code("/vm hosts"), Code("virsh dominfo web-1"))),
    slash="/vm",
    more=words("Or `/kvm`."),
)


def read(languages: Languages, said: Words, *, terminal: bool = False) -> str:
    language = languages.at_terminal("en") if terminal else languages.of("en")
    card = language.translate(Card(said, said, (Section(said),)))
    (section,) = card.elements
    assert isinstance(section, Section)
    assert str(card.text) == str(section.line)
    return str(card.text)


def test_without_another_slash_command_a_message_stays_what_it_is() -> None:
    assert Languages().of("en").translate(SAID) is SAID


def test_a_configured_slash_command_stands_in_all_advice() -> None:
    assert read(Languages(slash="/vm"), SAID) == (
        "See `/vm vms`, `/vm balance why web-1` or `/vm hosts`, `virsh dominfo web-1`; "
        "`/vm ops` and `virsh list` stay. Or `/vm`."
    )


def test_at_the_terminal_the_same_is_typed_with_drover_do() -> None:
    assert read(Languages(slash="/vm"), SAID, terminal=True) == (
        'See `drover do "vms"`, `drover do "balance why web-1"` or `drover do "hosts"`, '
        '`virsh dominfo web-1`; `drover do "ops"` and `virsh list` stay. Or `drover`.'
    )


def test_a_translation_is_retyped_too() -> None:
    said = words("`/kvm hosts` lists them.")
    shown = str(Languages("pt_BR", slash="/vm").of("pt_BR").translate(said))
    assert "`/vm hosts`" in shown
    assert "/kvm" not in shown


@pytest.mark.parametrize(
    ("rest", "typed"),
    [
        ("vms", 'drover do "vms"'),
        ("vm tag 'my vm' x=1", "drover do \"vm tag 'my vm' x=1\""),
        ('vm create web-1 --reason "a b"', "drover do 'vm create web-1 --reason \"a b\"'"),
        ("vm show $x", "drover do 'vm show $x'"),
    ],
)
def test_a_shell_reads_at_the_terminal_what_was_meant(rest: str, typed: str) -> None:
    assert at_terminal(rest) == typed
