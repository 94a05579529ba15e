"""Answers stand where the question was: a thread, a channel without the bot, a direct message, a dialog, the home tab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.adapters.slack.manifest import manifest
from bot.domain.card import Card
from lab.slack import Person, Workspace
from lab.slack.shown import Message
from tests.bot.listening_bot import PACE, ListeningBot
from tests.waiting import until

pytestmark = pytest.mark.process

GENERAL, OPS = "#general", "#ops"


class Site(ListeningBot):
    """One that answers Ana."""

    @property
    def ana(self) -> Person:
        return self.workspace.person("ana")

    def told(self, channel: str, word: str) -> Message:
        """The message that only Ana sees there, once it is there."""
        found = until(
            lambda: [each for each in self.ana.ephemerals(channel) if word in each.plain()],
            lambda: str([each.plain() for each in self.ana.ephemerals(channel)]),
            20,
        )
        return found[-1]

    def direct(self) -> list[Message]:
        return self.workspace.messages("@ana")

    def home(self, word: str) -> str:
        return until(
            lambda: (
                self.ana.home is not None
                and word in self.ana.home.plain()
                and self.ana.home.plain()
            )
        )

    def home_is_another(self, version: str) -> bool:
        return self.ana.home is not None and self.ana.home.raw["hash"] != version


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Workspace(manifest=manifest(), pace=PACE) as workspace:
        made = Site(workspace, tmp_path, ("migrate", "vm_lifecycle", "monitor"))
        yield made
        made.close()


def test_a_mention_in_a_thread_is_answered_in_that_thread(site: Site) -> None:
    parent = site.chat.post("C0OPS", Card("op-1"))
    site.ana.say("@drover where web-1", OPS, thread_ts=parent.ts)
    assert site.told(OPS, "host-b").thread_ts == parent.ts
    site.ana.say("@drover migrate web-9", OPS, thread_ts=parent.ts)
    assert site.told(OPS, "web-9").thread_ts == parent.ts
    assert site.direct() == []


def test_a_command_in_a_channel_without_the_bot_is_answered_there(site: Site) -> None:
    site.ana.command("/kvm hosts", GENERAL)
    assert any(block["type"] == "table" for block in site.told(GENERAL, "host-a").blocks)
    site.ana.command("/kvm migrate web-1 to host-b", GENERAL)
    site.told(GENERAL, "is proposed")
    assert site.direct() == []


def test_a_dialog_answers_where_it_was_opened_also_without_the_bot(site: Site) -> None:
    site.ana.command("/kvm vm create", GENERAL)
    view = site.ana.wait_view()
    assert site.ana.submit(view, {"name": "web-1"}).ok
    site.told(GENERAL, "web-1")
    assert site.direct() == []


def test_a_direct_message_is_answered_by_one_that_stays(site: Site) -> None:
    site.ana.say("hosts", "@drover")
    until(lambda: [each for each in site.direct() if "host-a" in each.plain()])
    assert site.ana.ephemerals("@ana") == []


def test_a_direct_message_in_a_thread_is_answered_there(site: Site) -> None:
    site.chat.tell("U0ANA", Card("op-1 is done"))
    (first,) = site.direct()
    site.ana.say("hosts", "@drover", thread_ts=first.ts)
    (answer,) = until(lambda: [each for each in site.direct() if "host-a" in each.plain()])
    assert answer.thread_ts == first.ts


def test_every_button_on_the_home_tab_shows_its_answer_there(site: Site) -> None:
    site.ana.command("/kvm help", OPS)
    site.ana.open_home()
    site.home("My VMs")
    home = site.ana.home
    assert home is not None
    assert {value for _, _, value in home.buttons()} >= {"status", "alerts", "approvals"}
    for _, action, value in home.buttons():
        now = site.ana.home
        assert now is not None
        site.ana.click(now, action, value=value)
        until(partial(site.home_is_another, now.raw["hash"]))
        shown = site.home("The answer to your last click")
        assert shown.index("last click") < shown.index("My VMs")
    site.ana.open_home()
    until(lambda: site.ana.home and "last click" not in site.ana.home.plain())
    assert site.direct() == []


def test_a_vote_on_the_home_tab_says_there_what_it_did(site: Site) -> None:
    site.ana.command("/kvm migrate web-1 to host-b", OPS)
    bruno = site.workspace.person("bruno")
    until(site.bot.store.operations)
    bruno.open_home()
    home = until(lambda: bruno.home if bruno.home and bruno.home.buttons() else None)
    bruno.click(home, "op.approve")
    until(lambda: bruno.home and "You approved it." in bruno.home.plain())


def test_a_dialog_tells_all_that_is_wrong_at_its_fields_and_stays_open(site: Site) -> None:
    site.ana.command("/kvm vm create", OPS)
    view = site.ana.wait_view()
    refused = site.ana.submit(view, {"name": " ", "cpus": "lots", "memory": "big"})
    assert refused.errors == {
        "name": "Please write something here.",
        "cpus": "Use a whole number from 1 to 512.",
        "memory": "“big” is not a size; use for example 512M or 4G.",
    }
    assert site.ana.view is not None
    assert site.ana.submit(view, {"name": "web-1", "cpus": "2", "memory": "4G"}).ok


def test_a_refusal_is_changed_in_the_same_dialog(site: Site) -> None:
    site.ana.command("/kvm vm create", OPS)
    assert site.ana.submit(site.ana.wait_view(), {"name": "web-1", "reason": "more load"}).ok
    refused = site.told(OPS, "web-1")
    (change,) = [action for _, action, _ in refused.buttons()]
    site.ana.click(refused, change)
    again = site.ana.wait_view()
    given = {
        block["block_id"]: block["element"].get("initial_value")
        for block in again.blocks
        if block["type"] == "input"
    }
    assert (given["name"], given["reason"]) == ("web-1", "more load")


def test_a_command_without_its_arguments_opens_pickers_that_work(site: Site) -> None:
    site.ana.command("/kvm migrate", OPS)
    view = site.ana.wait_view(title="migrate")
    assert site.ana.options(view, "source:vms", "web") == [("web", "web")]
    assert site.ana.submit(view, {"vm": "web-1", "to": "host-b"}).ok
    site.told(OPS, "is proposed")
    assert site.bot.operation().origin.command == "/kvm migrate web-1 host-b"


def test_a_row_of_a_list_has_a_menu_and_a_list_makes_a_file(site: Site) -> None:
    site.ana.command("/kvm vms", OPS)
    listed = site.told(OPS, "web-1")
    menus = [
        block["accessory"] for block in listed.blocks if block.get("accessory", {}).get("options")
    ]
    assert {each["type"] for each in menus} == {"overflow"}
    site.ana.select(listed, "row", "migrate app-1 …")
    assert site.ana.wait_view(title="migrate")
    site.ana.close_view()
    site.ana.click(listed, "run", value="vms --csv")
    site.told(OPS, "is in your direct messages")
    (file,) = until(lambda: [each for found in site.direct() for each in found.files])
    assert file["name"].endswith(".csv")


def test_a_page_replaces_the_one_before_in_the_same_message(site: Site) -> None:
    for number in range(20):
        vm = site.bot.hypervisor.snapshot().vm("web-1")
        uuid = f"00000000-0000-4000-8000-{number:012}"
        site.bot.hypervisor.put(replace(vm, name=f"vm-{number:02}", uuid=uuid))
    site.ana.command("/kvm vms", OPS)
    first = site.told(OPS, "1–20 of 24")
    site.ana.click(first, "page", value="vms --page 2")
    site.told(OPS, "21–24 of 24")
    assert len(site.ana.ephemerals(OPS)) == 1
