"""Dialogs made from grammars: pickers for what is missing, and the same intent as a typed line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from bot.adapters.language import Languages
from bot.domain.card import (
    Button,
    Buttons,
    ChoiceField,
    Form,
    ManyField,
    Section,
    TextField,
    said_elsewhere,
)
from bot.domain.cluster import Disk, Nic, Snapshot, VmDetail, VmSnapshot
from bot.domain.message import Words
from bot.domain.words import split_words
from bot.flow.commands import command, dispatcher, form_pages, forms
from bot.flow.commands.autocomplete import Inventory
from bot.flow.commands.buttons import Lane
from bot.flow.commands.parse import as_typed, parse
from bot.plugin_api import Action, Decision, Query
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text

TABLE = {"images": {"debian": {"base": "pool/debian.qcow2"}}, "network": "br0"}
PLUGINS = ("migrate", "vm_lifecycle", "balance", "monitor", "failover", "host_check")


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=PLUGINS, tables={"vm_lifecycle": TABLE})
    yield made
    made.store.close()


def opens(bot: Bot, line: str, by: str = "UANA") -> Form | None:
    """The dialog that a slash command opens; it has a trigger, other than a mention."""
    request = Request(
        f"key-{next(bot.numbers)}", "command", by, bot.clock.now(), "COPS", line, trigger=line
    )
    bot.store.accept(request)
    dispatcher.handle(bot.services, request)
    return bot.chat.forms.get(line)


def fields(form: Form | None) -> dict[str, TextField | ChoiceField | ManyField]:
    assert form is not None, "no dialog was opened"
    return {each.name: each for each in form.fields}


def chosen(field: object) -> tuple[str, list[str]]:
    """The live list or the options of a picker."""
    assert isinstance(field, ChoiceField)
    return field.source, [value for value, _ in field.options]


def test_migrate_alone_opens_pickers_for_the_vm_and_the_host(bot: Bot) -> None:
    found = fields(opens(bot, "migrate"))
    assert chosen(found["vm"]) == ("vms", [])
    assert chosen(found["to"]) == ("hosts", [])
    assert isinstance(found["copy_storage"], ManyField)


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        ("where", {"vm": "vms"}),
        ("vm start", {"vm": "vms"}),
        ("vm show", {"vm": "vms"}),
        ("show host", {"host": "hosts"}),
        ("host drain", {"host": "hosts"}),
        ("host maintenance", {"host": "hosts"}),
        ("vm nic add", {"vm": "vms", "what": "networks"}),
        ("vm create", {"host": "hosts", "network": "networks"}),
        ("failover drill", {"host": "hosts"}),
    ],
)
def test_what_is_missing_is_picked_from_a_list(
    bot: Bot, line: str, sources: dict[str, str]
) -> None:
    found = fields(opens(bot, line))
    assert {name: chosen(found[name])[0] for name in sources} == sources


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        ("host rolling", {"hosts": "hosts"}),
        ("host pair", {"hosts": "hosts"}),
        ("host failover", {"skip": "vms", "only": "vms"}),
    ],
)
def test_what_may_be_given_several_times_is_picked_from_a_list(
    bot: Bot, line: str, sources: dict[str, str]
) -> None:
    found = fields(opens(bot, line))
    several = {name: each for name, each in found.items() if isinstance(each, ManyField)}
    assert {name: several[name].source for name in sources} == sources
    labels = [str(each.label) for each in found.values()]
    assert len(set(labels)) == len(labels), "each says what it is for"


def test_what_was_typed_stands_in_the_dialog(bot: Bot) -> None:
    found = fields(opens(bot, "vm disk add web-1 --reason 'more logs'"))
    vm, reason = found["vm"], found["reason"]
    assert isinstance(vm, ChoiceField)
    assert isinstance(reason, TextField)
    assert (vm.initial, reason.initial) == ("web-1", "more logs")
    assert found["capacity"].required  # type: ignore[union-attr]


def in_depth(bot: Bot) -> None:
    vm = bot.hypervisor.snapshot().vm("web-1")
    detail = VmDetail(
        disks=(Disk("vda", "file", "/srv/web-1.qcow2"),),
        nics=(Nic("network", "br0", "52:54:00:aa:bb:cc"),),
        snapshot_list=(VmSnapshot("before-upgrade"), VmSnapshot("old")),
    )
    bot.hypervisor.put(replace(vm, detail=detail))


@pytest.mark.parametrize(
    ("line", "field", "options"),
    [
        ("vm snapshot revert web-1", "snapshot", ["before-upgrade", "old"]),
        ("vm snapshot delete web-1", "snapshot", ["before-upgrade", "old"]),
        ("vm disk grow web-1", "target", ["vda"]),
        ("vm nic remove web-1", "what", ["52:54:00:aa:bb:cc"]),
    ],
)
def test_what_a_vm_has_is_picked_from_its_own_list(
    bot: Bot, line: str, field: str, options: list[str]
) -> None:
    in_depth(bot)
    assert chosen(fields(opens(bot, line))[field])[1] == options


def test_without_the_vm_it_is_asked_for_first_and_then_what_it_has(bot: Bot) -> None:
    in_depth(bot)
    first = opens(bot, "vm snapshot revert")
    assert list(fields(first)) == ["vm"]
    answered = Request(
        "k2", "form", "UANA", bot.clock.now(), "COPS",
        action="cmd:vm snapshot revert", answers=(("vm", "web-1"),), trigger="second",
    )  # fmt: skip
    assert forms.problems(bot.services.catalog, "/kvm", answered) == {}
    assert dispatcher.lane_of(bot.services, answered) is Lane.DIALOG
    bot.store.accept(answered)
    dispatcher.handle(bot.services, answered)
    second = fields(bot.chat.forms["second"])
    assert chosen(second["snapshot"])[1] == ["before-upgrade", "old"]
    assert second["vm"].initial == "web-1"


def test_a_mention_has_no_trigger_and_is_told_what_to_type(bot: Bot) -> None:
    assert "Usage: `/kvm migrate" in text(bot.types("migrate"))
    assert not bot.chat.forms


def test_who_may_not_is_told_so_and_not_what_is_missing(bot: Bot) -> None:
    assert opens(bot, "vm create", by="UNOBODY") is None
    assert "You may not use `vm create`" in text(bot.chat.cards_for("UNOBODY")[-1])
    bot.types("migrate", by="UNOBODY")
    assert "You may not use `migrate`" in text(bot.chat.cards_for("UNOBODY")[-1])


def problems(bot: Bot, line: str, **answers: str) -> dict[str, str]:
    request = Request(
        "k", "form", "UANA", bot.clock.now(), action=f"cmd:{line}",
        answers=tuple(answers.items()),
    )  # fmt: skip
    found = forms.problems(bot.services.catalog, "/kvm", request)
    return {name: str(said) for name, said in found.items()}


def test_all_that_is_wrong_is_told_at_once_at_its_fields_without_options(bot: Bot) -> None:
    found = problems(
        bot, "vm create", name="web-2", cpus="lots", memory="big", count="0", tags="x", network=""
    )
    assert found == {
        "cpus": "Use a whole number from 1 to 512.",
        "memory": "“big” is not a size; use for example 512M or 4G.",
        "count": "Use a whole number from 1 to 1000.",
        "tags": "“x” is not a tag; use for example env=dev.",
    }


def test_answers_that_only_lack_one_of_several_are_told_where_to_fill_in(bot: Bot) -> None:
    assert problems(bot, "vm resize", vm="web-1", cpus="", memory="", reason="") == {
        "cpus": "Fill in this field or another one."
    }
    assert problems(bot, "vm resize", vm="web-1", cpus="2", memory="", reason="") == {}


def test_a_dialog_of_which_nothing_was_chosen_says_where(bot: Bot) -> None:
    form = opens(bot, "host rolling")
    assert form is not None
    nothing = {each.name: "" for each in form.fields}
    assert problems(bot, "host rolling", **nothing) == {
        "hosts": "Fill in this field or another one."
    }
    assert problems(bot, "host rolling", **{**nothing, "hosts": "host-a host-b"}) == {}


def test_personal_settings_are_wrong_at_their_fields(bot: Bot) -> None:
    answers = {"dms": "alerts", "quiet": "late", "zone": "Mars", "language": "auto"}
    request = Request(
        "k", "form", "UANA", bot.clock.now(), action="me.edit", answers=tuple(answers.items())
    )
    found = {name: str(why) for name, why in command.problems(bot.services, request).items()}
    assert found == {
        "quiet": "“late” are no quiet hours; write for example 22:00-07:00, or off.",
        "zone": "“Mars” is not a time zone; write for example Europe/Lisbon.",
    }


def test_other_dialogs_have_no_problems(bot: Bot) -> None:
    request = Request(
        "k", "form", "UANA", bot.clock.now(), action="op.deny", answers=(("why", ""),)
    )
    assert forms.problems(bot.services.catalog, "/kvm", request) == {}


def test_a_refusal_can_be_changed_with_everything_that_was_typed(bot: Bot) -> None:
    answers = {"name": "web-1", "image": "debian", "cpus": "2", "reason": "it’s for “Bob”"}
    request = Request(
        "k", "form", "UANA", bot.clock.now(), "COPS",
        action="cmd:vm create", answers=tuple(answers.items()),
    )  # fmt: skip
    bot.store.accept(request)
    dispatcher.handle(bot.services, request)
    said = bot.chat.cards_for("UANA")[-1]
    assert "web-1" in text(said)
    (row,) = [each for each in said.elements if isinstance(each, Buttons)]
    (change,) = [each for each in row.buttons if isinstance(each, Button)]
    assert change.action == "cmd:vm create"
    bot.clicks(change.action, change.value, "UANA", key="click")
    again = fields(bot.chat.forms["click"])
    assert {name: again[name].initial for name in answers} == answers


def test_what_is_proposed_needs_no_change(bot: Bot) -> None:
    said = bot.answers("cmd:migrate", "", "UANA", vm="web-1", to="host-b")
    assert "is proposed" in text(said)
    assert "Change" not in text(said)


def lines() -> list[str]:
    return [
        "migrate web-1 to host-b",
        "migrate web-1 host-b --copy-storage --policy fast --bandwidth 10 --reason 'a b'",
        "vm delete web-1 --keep-disks",
        "vm delete web-1 --remove-disks --now",
        "vm tag web-1 env=prod 'note=a b'",
        "vm resize web-1 --cpus 2 --memory 4G",
        "vm snapshot create web-1 before --description 'a b'",
        "vm force-off web-1 --lose-definition",
        "vm start --tag env=prod",
        "vm autostart web-1 on",
        "vm nic remove web-1 52:54:00:aa:bb:cc",
        "host drain host-b --reason x",
        "chart web-1 --metric memory",
        "host rolling host-a 'host b' --copy-vm web-1 --copy-vm 'odd, one' --shutdown-vm web-2",
        "host check host-a host-b --verbose",
        "host failover host-b --skip web-1 --skip web-2 --dry-run",
        "vm create web-9 --network br0 --tag env=dev --tag 'note=a b'",
        "balance --skip web-1 --skip web-2 --max-moves 3",
    ]


def as_answer(field: ManyField) -> str:
    """What the chat sends of the choices that stand in a field."""
    return shlex.join(field.initial) if field.as_words else ",".join(field.initial)


@pytest.mark.parametrize("line", lines())
def test_a_dialog_gives_the_intent_that_was_typed(bot: Bot, line: str) -> None:
    """What a line says is filled into the dialog of its command, and the dialog's answers say the same again."""
    catalog = bot.services.catalog
    typed = parse(catalog, "/kvm", line)
    found, rest = catalog.find(split_words(line))
    assert not isinstance(found, Decision)
    known = forms.prefill(found, rest)
    form = forms.form_of(bot.services, forms.Wanted(found, known))
    answers = dict(form_pages.read_answers(form.hidden)) | {
        each.name: as_answer(each) if isinstance(each, ManyField) else each.initial
        for each in form.fields
    }
    again = parse(catalog, "/kvm", f"{found.name} {as_typed(found.grammar, answers)}")
    assert again.intent == typed.intent


def test_networks_are_picked_from_those_of_the_hosts(bot: Bot) -> None:
    host = bot.hypervisor.snapshot().host("host-a")
    inventory = Inventory(bot.hypervisor)
    inventory.sweep()
    there = {
        name for each in bot.hypervisor.snapshot().hosts for name in (*each.networks, *each.bridges)
    }
    assert host.name in dict(inventory.choices("hosts", "host-"))
    assert {value for value, _ in inventory.choices("networks", "")} == there
    assert inventory.choices("vms", "WEB") == [("web-1", "web-1")]


@pytest.mark.parametrize(
    ("most", "looks"), [(2, ["whole", "glance", "whole", "glance"]), (100, ["whole"] * 4)]
)
def test_of_very_many_vms_every_second_look_is_a_glance(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, most: int, looks: list[str]
) -> None:
    made: list[str] = []
    monkeypatch.setattr("bot.flow.commands.autocomplete.MANY_VMS", most)
    snapshot = bot.hypervisor.snapshot

    def note(look: str) -> Snapshot:
        made.append(look)
        return snapshot()

    monkeypatch.setattr(bot.hypervisor, "snapshot", lambda: note("whole"))
    monkeypatch.setattr(bot.hypervisor, "glance", lambda: note("glance"))
    inventory = Inventory(bot.hypervisor)
    for _ in range(4):
        inventory.sweep()
    assert made == looks
    assert inventory.choices("vms", "WEB") == [("web-1", "web-1")]


def test_a_dialog_tells_nothing_about_options_and_cuts_no_text(bot: Bot) -> None:
    found = fields(opens(bot, "migrate"))
    reason, copies = found["reason"], found["copy_storage"]
    assert isinstance(reason, TextField)
    assert isinstance(copies, ManyField)
    assert str(reason.hint) == "For the approvers and the audit trail."
    assert [str(each) for _, each in copies.options] == ["Yes"]


def hints_of(form: Form) -> list[str]:
    """All that a dialog says beside its fields' values."""
    shown = [form.title, form.submit, *(str(each.label) for each in form.fields)]
    shown += [str(each.hint) for each in form.fields if isinstance(each, TextField)]
    options = [each.options for each in form.fields if not isinstance(each, TextField)]
    shown += [str(each.line) for each in form.intro if isinstance(each, Section)]
    return [str(each) for each in (*shown, *(label for some in options for _, label in some))]


def test_no_dialog_names_an_option(bot: Bot) -> None:
    """Who fills in a dialog never typed an option."""
    commands = [
        each
        for each in bot.services.catalog.commands.values()
        if not isinstance(each, Decision) and each.name != "policy"
    ]
    typed = {
        (each.name, text)
        for each in commands
        for known in ({}, {"vm": "web-1", "host": "host-a", "hosts": "host-a"})
        for text in hints_of(forms.form_of(bot.services, forms.Wanted(each, known)))
        if "--" in text
    }
    assert typed == set()


def all_commands(bot: Bot) -> list[Query | Action]:
    return [
        each for each in bot.services.catalog.commands.values() if isinstance(each, Query | Action)
    ]


def test_every_field_has_a_name_in_each_language_and_none_has_it_twice(bot: Bot) -> None:
    portuguese = Languages("pt_BR", bot.services.catalog.translations).default
    known = {"vm": "web-1", "host": "host-a", "hosts": "host-a"}
    for asked in all_commands(bot):
        if asked.name == "me":
            continue  # its dialog is its own, see personal_settings
        form = forms.form_of(bot.services, forms.Wanted(asked, known))
        named = [each.name for each in form.fields if isinstance(each.label, Words)]
        assert named == [each.name for each in form.fields], asked.name
        shown = [str(each.label) for each in portuguese.translate(form).fields]
        assert len(set(shown)) == len(shown), asked.name


def test_every_help_is_translated(bot: Bot) -> None:
    portuguese = Languages("pt_BR", bot.services.catalog.translations).default
    english = {
        (found.name, told)
        for found in bot.services.catalog.commands.values()
        for each in (found.grammar, *found.grammar.params)
        if (told := getattr(each, "help", ""))
        if str(portuguese.translate(said_elsewhere(told))) == told
    }
    assert english == set()


def test_every_option_says_what_it_does(bot: Bot) -> None:
    silent = {
        (found.name, each.name)
        for found in bot.services.catalog.commands.values()
        for each in found.grammar.params
        if isinstance(each, click.Option) and not each.help
    }
    assert silent == set()
