"""Lines of chat as commands: what was quoted, and what was typed into a dialog, arrives to the letter."""

from __future__ import annotations

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot import catalog
from bot.domain.errors import UsageError
from bot.flow.commands.parse import as_typed, options, parse
from bot.flow.commands.queries import Core
from bot.plugin_api import Action

TABLE = {"images": {"tiny": {"base": "pool/tiny.qcow2"}}, "pool": "pool", "network": "br0"}
CATALOG = catalog.load(("vm_lifecycle",), {"vm_lifecycle": TABLE})
FREE_TEXT = (
    "name",
    "image",
    "size",
    "network",
    "host",
    "user",
    "address",
    "gateway",
    "user_data",
    "reason",
)


@given(st.dictionaries(st.sampled_from(FREE_TEXT), st.text(), max_size=5), st.text(min_size=1))
@example({"reason": "it’s for Bob’s team"}, "web-1")
@example({"user_data": "#cloud-config\nmotd: ‘hi’ “world” — say —hi"}, "web-1")
@example({"reason": "--help", "user": "-h"}, "--help")
def test_what_is_typed_into_a_dialog_arrives_unchanged(answers: dict[str, str], name: str) -> None:
    answers = {**answers, "name": name if name.strip() else "web-1"}
    command = CATALOG.commands["vm create"]
    assert isinstance(command, Action)
    found = parse(CATALOG, "/kvm", f"vm create {as_typed(command.grammar, answers)}")
    assert found.intent is not None, "no help was asked for"
    assert {key: getattr(found.intent, key) for key in FREE_TEXT} == {
        key: answers.get(key, "").strip() for key in FREE_TEXT
    }


@pytest.mark.parametrize("command", ["vm create", "vm delete"])
def test_an_option_of_a_dialog_is_one_word_of_the_line(command: str) -> None:
    grammar = CATALOG.commands[command].grammar
    option = next(
        each for each in grammar.params if isinstance(each, click.Option) and each.name == "reason"
    )
    assert as_typed(grammar, {option.name or "": "a b"}) == "'--reason=a b'"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("vm start web-1 —reason “it’s hot”", "it’s hot"),
        ("vm start `web-1` --reason „so“", "so"),
        ("`vm start web-1 --reason x`", "x"),
    ],
)
def test_a_line_typed_on_a_phone_is_understood(line: str, reason: str) -> None:
    intent = parse(CATALOG, "/kvm", line).intent
    assert (intent.vm, intent.reason) == ("web-1", reason)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("hosts --page 0", "`--page` must be a whole number from 1 to 100000."),
        ("hosts --page many", "`--page` must be a whole number from 1 to 100000."),
        ("chart web-1 humidity", "`METRIC` must be cpu, wait, memory, disk, net or space."),
        ("digest often", "Write now or preview."),
        ("ajuda", "There is no command “ajuda”."),
    ],
)
def test_a_slip_says_what_is_possible_without_brackets(line: str, told: str) -> None:
    loaded = catalog.load(("monitor",), {}, extra=(Core(),))
    with pytest.raises(UsageError) as caught:
        parse(loaded, "/kvm", line)
    assert str(caught.value.text) == told
    if line == "ajuda":
        assert "/kvm help" in str(caught.value.advice)


@pytest.mark.parametrize(
    ("line", "told", "advice"),
    [
        ("hosts host-a", "Unexpected word “host-a”.", "Usage: `/kvm hosts [OPTIONS]`"),
        (
            "migrate web-1 to host-b for repair",
            "Unexpected word “for”.",
            'Put a reason of several words in quotes: `--reason "for repair"`. Usage: `/kvm',
        ),
        ("vm start web-1 web-2", "Unexpected word “web-2”.", "Usage: `/kvm vm start"),
        (
            "migrate web-1 to host-b --at sat 22:00",
            "Unexpected word “22:00”.",
            'Put several words of an option in quotes: `--at "sat 22:00"`. Usage: `/kvm migrate',
        ),
        (
            "host undrain host-a --reason new rack",
            "Unexpected word “rack”.",
            'Put several words of an option in quotes: `--reason "new rack"`. Usage: `/kvm host',
        ),
        (
            "migrate web-1 at tomorrow 6:30",
            "Unexpected word “tomorrow”.",
            "Write the time with an option: `--at 'tomorrow 6:30'`. Usage: `/kvm migrate",
        ),
        (
            "migrate web-1 to host-b em 2 horas",
            "Unexpected word “em”.",
            "Write the time with an option: `--in '2 horas'`. Usage: `/kvm migrate",
        ),
        (
            "migrate web-1 to host-b in hall 3",
            "Unexpected word “in”.",
            "Usage: `/kvm migrate",
        ),
        (
            "migrate web-1 to host-b at once",
            "Unexpected word “at”.",
            'Put a reason of several words in quotes: `--reason "at once"`. Usage: ',
        ),
        (
            "chart web-1 cpu 7d",
            "Unexpected word “7d”.",
            "Write it with an option: `--since 7d`. Usage: `/kvm chart",
        ),
        (
            "vm resize web-1 8G",
            "Unexpected word “8G”.",
            "Write it with an option: `--memory 8G`. Usage: `/kvm vm resize",
        ),
        (
            "vm limit web-1 150%",
            "`--cpu` is missing.",
            "Write it with an option: `--cpu 150%`. Usage: `/kvm vm limit",
        ),
        ("vm limit web-1", "`--cpu` is missing.", "Usage: `/kvm vm limit"),
        ("vm disk grow web-1 vda +10G", "Write the whole new size, without “+”.", "Usage: "),
        ("fits --memory lots", "“lots” is not a size; write for example 512M, 4G or 1.5T.", ""),
        ("migrate web-1 host-b tonight", "Unexpected word “tonight”.", "Usage: `/kvm migrate"),
        (
            "migrate web-1 from host-a to host-b",
            "Unexpected word “host-a”.",
            "Leave out `from host-a`. Usage: `/kvm migrate",
        ),
        (
            "migrate web-1 and web-2 to host-b",
            "Unexpected word “web-2”.",
            "Ask for one at a time. Usage: `/kvm migrate",
        ),
        ("vm start web-1 e web-2", "Unexpected word “e”.", "Ask for one at a time. Usage: "),
        ("migrate web-1 --at", "`--at` needs a value behind it.", "Usage: `/kvm migrate"),
        ("migrate web-1 --copy-storage=yes", "`--copy-storage` takes no value.", "Usage: "),
        (
            "migrate web-1 --copystorage",
            "There is no option `--copystorage`. Did you mean `--copy-storage`?",
            "Usage: ",
        ),
        # Not near enough to be meant
        ("vm create web-9 --ttl 7d", "There is no option `--ttl`.", "Usage: "),
        ("vm clone web-1 web-9 --host a", "There is no option `--host`.", "Usage: "),
        (
            "vm delete web-1 --keep",
            "There is no option `--keep`. Did you mean `--keep-disks`?",
            "Usage: ",
        ),
        ("vm create web-9 --tags a=b", "There is no option `--tags`. Did you mean `--tag`?", ""),
        (
            "vm create web-9 --cpus 0",
            "`--cpus` must be a whole number from 1 to 512.",
            "Usage: ",
        ),
        ("vm resize web-1 --cpus 0", "`--cpus` must be a whole number from 1 to 512.", "Usage: "),
        (
            "host rolling --all host-a",
            "Name hosts or write `--all`, not both.",
            "Usage: `/kvm host rolling [OPTIONS] [HOST…]`",
        ),
        ("migrate web-1 para", "“para” which host? Leave it out to have the best", "Usage: "),
    ],
)
def test_a_word_too_many_or_too_few_says_what_to_type(line: str, told: str, advice: str) -> None:
    loaded = catalog.load(
        ("migrate", "balance", "vm_lifecycle", "monitor"),
        {"vm_lifecycle": TABLE},
        extra=(Core(),),
    )
    with pytest.raises(UsageError) as caught:
        parse(loaded, "/kvm", line)
    assert str(caught.value.text).startswith(told)
    assert str(caught.value.advice).startswith(advice)


@pytest.mark.parametrize("word", ["to", "TO", "para", ""])
def test_the_host_may_stand_behind_a_word_of_either_language(word: str) -> None:
    loaded = catalog.load(("migrate",), {}, extra=(Core(),))
    assert parse(loaded, "/kvm", f"migrate web-1 {word} host-b").intent.to == "host-b"


def test_the_help_of_a_number_names_its_least_and_its_most() -> None:
    loaded = catalog.load(("migrate", "balance"), {}, extra=(Core(),))
    meanings = dict(options(loaded.commands["balance"]))
    assert str(meanings["--min-gain G"]).endswith("From 0 to 10.")
    assert str(dict(options(loaded.commands["hosts"]))["--page N"]).endswith("From 1 to 100000.")


def test_flags_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        parse(CATALOG, "/kvm", "vm delete web-1 --remove-disks --keep-disks")
    assert "exclude each other" in str(caught.value.text)
    assert parse(CATALOG, "/kvm", "vm delete web-1 --keep-disks").intent.remove_disks is False


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("desligar web-1", "Did you mean `/kvm vm shutdown web-1`?"),
        ("vm excluir web-1", "Did you mean `/kvm vm delete web-1`?"),
        ("failover", "Did you mean `/kvm host failover`? See `/kvm help failover`."),
    ],
)
def test_another_language_and_a_group_lead_to_the_command(line: str, advice: str) -> None:
    loaded = catalog.load(
        ("failover", "vm_lifecycle", "migrate"), {"vm_lifecycle": TABLE}, extra=(Core(),)
    )
    with pytest.raises(UsageError) as caught:
        parse(loaded, "/kvm", line)
    assert str(caught.value.advice).startswith(advice)
    if line == "failover":
        assert "needs a subcommand: bind, drill" in str(caught.value.text)
