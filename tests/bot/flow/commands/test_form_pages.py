"""Dialogs of two pages: which VMs of a host cannot be moved live, why, and what becomes of each."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bot.adapters.slack import payloads
from bot.adapters.slack.forms import modal
from bot.domain.card import Button, Buttons, Card, Form, ManyField, Section
from bot.domain.cluster import GIB, Disk, Pool, Snapshot, VmState
from bot.domain.operation import State
from bot.domain.steps import MigrateVm
from bot.domain.vm_steps import PowerVm
from bot.flow.commands import dispatcher, form_pages, forms
from bot.flow.commands.buttons import Lane
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text

PLUGINS = ("migrate", "balance", "vm_lifecycle")
CLUSTER = """
host-a  16cpu 64G reserve 2G | web-1 4G | db-1 8G | db-2 8G | still-1 1G paused
host-b  16cpu 64G reserve 2G | app-1 2G
host-c  16cpu 64G reserve 2G
"""
LOCAL = ("db-1", "db-2", "still-1")


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, CLUSTER, PLUGINS)
    pool = Pool(
        "images", "dir", "/srv", active=True, autostart=True, capacity=900 * GIB, free=500 * GIB
    )
    for host in ("host-a", "host-b", "host-c"):
        made.hypervisor.change(host, pools=(pool,))
    for name in LOCAL:
        vm = made.hypervisor.snapshot().vm(name)
        assert vm.detail is not None
        disk = Disk("vda", "file", f"/srv/{name}.qcow2", capacity=40 * GIB)
        made.hypervisor.put(replace(vm, detail=replace(vm.detail, disks=(disk,))))
    yield made
    made.store.close()


def opened(bot: Bot, trigger: str) -> Form:
    return bot.chat.forms[trigger]


def types(bot: Bot, line: str) -> Form:
    request = Request("typed", "command", "UANA", bot.clock.now(), "COPS", line, trigger="typed")
    bot.store.accept(request)
    dispatcher.handle(bot.services, request)
    return opened(bot, "typed")


def submits(
    bot: Bot, form: Form, answers: Mapping[str, str], key: str = "submitted"
) -> tuple[Card | None, Form | None]:
    """What a dialog's answers bring: a card, or the next page."""
    request = Request(
        key, "form", "UANA", bot.clock.now(), "COPS", value=form.hidden, action=form.action,
        answers=tuple(answers.items()), trigger=key,
    )  # fmt: skip
    assert forms.problems(bot.services.catalog, "/kvm", request) == {}
    bot.store.accept(request)
    before = len(bot.chat.whispers)
    next_page = dispatcher.lane_of(bot.services, request) is Lane.DIALOG
    dispatcher.handle(bot.services, request)
    said = [each.card for each in bot.chat.whispers[before:]]
    assert next_page == (key in bot.chat.forms)
    return (said[-1] if said else None), bot.chat.forms.get(key)


def fields(form: Form | None) -> dict[str, ManyField]:
    assert form is not None
    return {each.name: each for each in form.fields if isinstance(each, ManyField)}


def told(form: Form | None) -> str:
    assert form is not None
    return "\n".join(str(each.line) for each in form.intro if isinstance(each, Section))


def test_the_host_first_and_then_each_vm_with_its_reason(bot: Bot) -> None:
    first = types(bot, "host drain")
    assert [each.name for each in first.fields] == ["host"]
    assert str(first.submit) == "Next"
    _, second = submits(bot, first, {"host": "host-a"})
    assert "3 VMs cannot be moved live" in told(second)
    why = "It cannot move to host-b, host-c: db-1 has disks that only host-a has"
    assert f"db-1 stays on host-a. {why}" in told(second)
    asked = fields(second)
    assert [name for name, _ in asked["copy_vm"].options] == ["db-1", "db-2", "still-1"]
    assert next(str(label) for _, label in asked["copy_vm"].options) == "db-1: 40 GiB to copy"
    # A paused VM does not hear a shutdown
    assert [name for name, _ in asked["shutdown_vm"].options] == ["db-1", "db-2"]
    assert second is not None
    assert "host" not in {each.name for each in second.fields}
    assert str(second.submit) == "Plan"


def test_where_the_look_in_depth_takes_too_long_no_size_is_told(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_pages, "PATIENCE", 0.5)
    asked, enough, plain = Event(), Event(), bot.hypervisor.snapshot

    def slow(focus: Collection[str] = (), chosen: Any = None) -> Snapshot:
        if chosen is not None:
            asked.set()
            enough.wait()
        return plain(focus, chosen)

    monkeypatch.setattr(bot.hypervisor, "snapshot", slow)
    try:
        _, second = submits(bot, types(bot, "host drain"), {"host": "host-a"})
    finally:
        enough.set()
    assert asked.is_set()
    assert [str(label) for _, label in fields(second)["copy_vm"].options] == list(LOCAL)


def test_what_is_ticked_for_each_vm_is_planned(bot: Bot) -> None:
    _, second = submits(bot, types(bot, "host drain"), {"host": "host-a"})
    assert second is not None
    ticked = {"copy_vm": "db-1", "shutdown_vm": "db-2", "reason": "new fans", "at": ""}
    card, _ = submits(bot, second, ticked, "planned")
    assert "is proposed" in text(card)
    steps = {
        step.name: step
        for step in bot.operation().plan.steps
        if isinstance(step, MigrateVm | PowerVm)
    }
    moved = {name for name, step in steps.items() if isinstance(step, MigrateVm)}
    assert moved == {"web-1", "db-1"}
    assert isinstance(steps["db-2"], PowerVm)
    assert "still-1 stays on host-a" in text(bot.shown())


def test_one_vm_in_both_lists_is_told_at_the_second(bot: Bot) -> None:
    _, second = submits(bot, types(bot, "host drain"), {"host": "host-a"})
    assert second is not None
    request = Request(
        "k", "form", "UANA", bot.clock.now(), value=second.hidden, action=second.action,
        answers=(("copy_vm", "db-1 db-2"), ("shutdown_vm", "db-2"), ("reason", ""), ("at", "")),
    )  # fmt: skip
    found = forms.problems(bot.services.catalog, "/kvm", request)
    assert {name: str(why) for name, why in found.items()} == {
        "shutdown_vm": "db-2: either copied or shut down, not both."
    }


def test_a_host_whose_vms_can_all_move_says_so_and_asks_no_more(bot: Bot) -> None:
    _, second = submits(bot, types(bot, "host drain"), {"host": "host-b"})
    assert "Every VM there can be moved live." in told(second)
    assert fields(second) == {}
    assert second is not None
    card, _ = submits(bot, second, {"reason": "", "at": ""}, "planned")
    assert "is proposed: Drain host-b" in text(card)


def change_button(card: Card | None) -> Button:
    assert card is not None
    rows = [each for each in card.elements if isinstance(each, Buttons)]
    (button,) = [each for row in rows for each in row.buttons if isinstance(each, Button)]
    return button


def test_a_typed_drain_that_leaves_vms_offers_the_choice_and_is_then_replaced(bot: Bot) -> None:
    button = change_button(bot.types("host drain host-a --reason 'new fans'"))
    assert str(button.text) == "Choose for each VM…"
    bot.clicks(button.action, button.value, "UANA", key="click")
    second = opened(bot, "click")
    assert set(fields(second)) == {"copy_vm", "shutdown_vm"}
    card, _ = submits(
        bot, second, {"copy_vm": "db-1", "shutdown_vm": "db-2", "reason": "new fans"}, "planned"
    )
    assert "op-2" in text(card)
    assert bot.operation(1).state is State.WITHDRAWN
    assert bot.operation(2).origin.reason == "new fans"


def test_a_rolling_maintenance_that_is_refused_offers_the_choice(bot: Bot) -> None:
    button = change_button(bot.types("host rolling host-a"))
    bot.clicks(button.action, button.value, "UANA", key="click")
    second = opened(bot, "click")
    assert [name for name, _ in fields(second)["shutdown_vm"].options] == ["db-1", "db-2"]
    ticked = {"copy_vm": "db-1 still-1", "shutdown_vm": "db-2", "run": "", "reason": ""}
    card, _ = submits(bot, second, ticked, "planned")
    assert "is proposed: Rolling maintenance of host-a" in text(card)


def test_where_everything_can_move_nothing_is_offered(bot: Bot) -> None:
    assert not any(
        isinstance(each, Buttons) for each in (bot.types("host drain host-b") or Card("")).elements
    )


def test_when_the_hosts_are_slow_the_lists_of_all_vms_are_shown(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_pages, "PATIENCE", 0.0)
    _, second = submits(bot, types(bot, "host drain"), {"host": "host-a"})
    assert {name: each.source for name, each in fields(second).items() if each.source} == {
        "copy_vm": "vms",
        "shutdown_vm": "vms",
    }


def test_names_come_back_from_boxes_and_lists_whatever_they_hold() -> None:
    names = ("odd, one", "it's", "plain")
    for options in (names, (*names, *(f"vm-{number}" for number in range(20)))):
        field = ManyField("copy_vm", "Copy", tuple((n, n) for n in options), names=True)
        (block,) = modal(Form("cmd:x", "T", "Go", (field,)))["blocks"]
        element = block["element"]
        chosen = [each for each in element["options"] if each["value"] in names]
        given = {"type": element["type"], "selected_options": chosen}
        view = {"state": {"values": {block["block_id"]: {element["action_id"]: given}}}}
        ((_, answer),) = payloads.answers(view)
        assert shlex.split(answer) == list(names)


def test_a_name_that_no_choice_carries_is_told_and_not_offered(bot: Bot) -> None:
    long = "v" * 200
    vm = bot.hypervisor.snapshot().vm("db-1")
    assert vm.detail is not None
    bot.hypervisor.put(replace(vm, name=long, uuid="9" * 36, state=VmState.RUNNING))
    _, second = submits(bot, types(bot, "host drain"), {"host": "host-a"})
    assert long in told(second)
    assert long not in [name for name, _ in fields(second)["copy_vm"].options]
    assert second is not None
    assert len(modal(second)["blocks"]) <= 100
