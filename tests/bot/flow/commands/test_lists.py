"""Lists that people work from: filters, order, pages, menus in the rows, and files."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.language import Languages
from bot.domain.card import Button, Buttons, Card, Listing, Menu, Section, Table
from bot.domain.cluster import VmState
from bot.domain.message import Words, words
from bot.domain.operation import State
from bot.domain.pages import Page
from bot.domain.state_names import OPERATION_STATES
from bot.flow.commands import dispatcher, list_files
from bot.flow.commands.buttons import Lane
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text

CLUSTER = """
host-a 16cpu 64G load 4 | web-1 4G 2cpu load 0.5 [env=prod] | web-2 8G 2cpu load 1 [env=dev]
host-b 16cpu 64G load 1 | app-1 2G load 0.2 [env=prod,tier=front] | off-1 1G off
host-c 16cpu 64G
"""
PLUGINS = ("migrate", "vm_lifecycle", "monitor")


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, CLUSTER, plugins=PLUGINS)
    yield made
    made.store.close()


def rows(card: Card | None) -> list[Section]:
    assert card is not None
    return [each for each in card.elements if isinstance(each, Section)]


def names(card: Card | None) -> list[str]:
    return [str(row.line.args["vm"]) for row in rows(card) if isinstance(row.line, Words)]


def put(bot: Bot, known: str, **changes: object) -> None:
    bot.hypervisor.put(replace(bot.hypervisor.snapshot().vm(known), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("vms", ["app-1", "off-1", "web-1", "web-2"]),
        ("vms web", ["web-1", "web-2"]),
        ("vms WEB", ["web-1", "web-2"]),
        ("vms 'web*'", ["web-1", "web-2"]),
        ("vms '*-1'", ["app-1", "off-1", "web-1"]),
        ("vms host-b", ["app-1", "off-1"]),
        ("vms --host host-b", ["app-1", "off-1"]),
        ("vms host=host-b state=running", ["app-1"]),
        ("vms --state off", ["off-1"]),
        ("vms state=stopped", ["off-1"]),
        ("vms state=running", ["app-1", "web-1", "web-2"]),
        ("vms env=prod", ["app-1", "web-1"]),
        ("vms env=prod web", ["web-1"]),
        ("vms --tag env=d*", ["web-2"]),
        ("vms --tag tier", ["app-1"]),
        ("vms name=web-1", ["web-1"]),
        ("vms --sort memory", ["web-2", "web-1", "app-1", "off-1"]),
        ("vms --sort cpu web", ["web-2", "web-1"]),
        ("vms --sort host --state running", ["web-1", "web-2", "app-1"]),
    ],
)
def test_filters_narrow_and_sort_orders(bot: Bot, line: str, found: list[str]) -> None:
    assert names(bot.types(line)) == found


def test_a_state_that_is_none_and_nothing_found_say_what_is_possible(bot: Bot) -> None:
    assert "`deleted`" in text(bot.types("vms state=gone"))
    nothing = text(bot.types("vms xyz"))
    assert "Nothing matches “xyz”." in nothing
    assert "`state=off`" in nothing
    assert "Did you mean" not in nothing


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("vms paused", "/kvm vms state=paused"),
        ("vms Stopped host=host-a", "/kvm vms state=stopped host=host-a"),
        ("vms sort=memory", "/kvm vms --sort memory"),
        ("vms crashed sort=CPU", "/kvm vms state=crashed --sort cpu"),
    ],
)
def test_a_bare_state_and_an_order_among_the_filters_are_understood(
    bot: Bot, line: str, meant: str
) -> None:
    assert f"Did you mean `{meant}`?" in text(bot.types(line))


def test_the_vms_of_a_host_that_there_is_not_name_the_one_that_is_meant(bot: Bot) -> None:
    for line in ("vms host=host-d", "vms --host host-d"):
        assert "There is no host “host-d”. Did you mean" in text(bot.types(line)).replace(
            "', '", " "
        )
    assert "No VMs." in text(bot.types("vms host=host-c"))
    assert "No VMs." in text(bot.types("vms 'host=other-*'"))


def test_operations_are_found_by_their_id_and_nobody_by_a_name_that_slack_did_not_resolve(
    bot: Bot,
) -> None:
    bot.types("migrate web-1 to host-b")
    bot.types("migrate app-1 to host-c")
    found = text(bot.types("ops op-1"))
    assert "Move web-1" in found
    assert "Move app-1" not in found
    unknown = text(bot.types("ops @ana"))
    assert "Slack did not say who “@ana” is." in unknown
    assert "`/kvm ops @U0123ABCD`" in unknown
    assert "op-1" in text(bot.types("audit host-b"))
    assert "has nothing about “host-d”" in text(bot.types("audit host-d"))


@pytest.mark.parametrize("word", ["mine", "Running", "failed", "scheduled"])
def test_a_word_that_is_an_option_of_ops_is_understood(bot: Bot, word: str) -> None:
    assert f"Did you mean `/kvm ops --{word.lower()}`?" in text(bot.types(f"ops {word}"))


def test_a_paused_vm_is_not_counted_as_running(bot: Bot) -> None:
    put(bot, "web-1", state=VmState.PAUSED)
    assert "1 VM, 0 running" in text(bot.types("vms state=paused"))
    assert "2 running" in text(bot.types("vms"))


def test_a_host_that_does_not_answer_shows_the_vms_that_were_last_seen_there(bot: Bot) -> None:
    bot.hypervisor.down("host-a", "no route to host")
    shown = text(bot.types("show host host-a"))
    assert "2 VMs last seen there" in shown
    assert "web-1" in shown
    assert "0 VMs" not in shown


def test_the_vms_of_a_host_are_shown_before_anything_is_measured(bot: Bot) -> None:
    """No monitor sweeps for this bot."""
    shown = text(bot.types("show host host-a"))
    assert "host-a: up, 2 VMs" in shown
    assert "web-1" in shown


def test_states_are_words_of_the_readers_language(bot: Bot) -> None:
    portuguese = Languages("pt_BR", bot.services.catalog.translations).default
    vm = bot.hypervisor.snapshot().vm("web-1")
    bot.hypervisor.create_snapshot(vm.host, vm.uuid, "before")
    listed = bot.types("vm snapshot list web-1")
    assert listed is not None
    assert "em execução" in text(portuguese.translate(listed))
    assert "Not running: live migration does not apply." in text(bot.types("vm show off-1"))
    failed = words("{id} is {state}", id="op-1", state=OPERATION_STATES[State.FAILED])
    assert str(portuguese.translate(failed)) == "op-1: falhou"


def test_why_names_the_owner_and_not_an_id(bot: Bot) -> None:
    assert "Person(" not in repr(bot.types("why web-2"))
    put(bot, "web-1", tags={"owner": "UANA"})
    assert "Person(" in repr(bot.types("why web-1"))


def test_a_deleted_vm_says_so_without_the_tags_of_drover(bot: Bot) -> None:
    put(bot, "off-1", tags={"drover.deleted": "2026-11-29T15:00:56+00:00", "env": "dev"})
    shown = text(bot.types("vms state=deleted"))
    assert "deleted, purged" in shown
    assert "29 Nov" in shown or "2026-11-29" in shown
    assert "drover.deleted" not in shown
    assert "env=dev" in shown
    assert "No VMs." in text(bot.types("vms state=off"))


@pytest.mark.parametrize(
    "until", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon"]
)
def test_a_tag_that_holds_no_moment_is_shown_as_it_is(bot: Bot, until: str) -> None:
    vm = bot.hypervisor.snapshot().vm("off-1")
    bot.hypervisor.set_tags(vm.host, vm.uuid, {"drover.deleted": until, "expires": until})
    shown = text(bot.types("vms"))
    assert f"deleted, purged {until}" in shown
    assert "web-1" in shown


def menu(card: Card | None, name: str) -> dict[str, str]:
    row = rows(card)[names(card).index(name)]
    assert isinstance(row.button, Menu)
    return {str(each.text): each.value for each in row.button.choices}


def test_each_row_has_what_can_be_done_in_its_state(bot: Bot) -> None:
    assert menu(bot.types("vms"), "web-1") == {
        "Show": "vm show web-1",
        "Migrate…": "migrate web-1 …",
        "Shut down…": "vm shutdown web-1 …",
        "Take a snapshot…": "vm snapshot create web-1 …",
        "Console": "vm console web-1",
    }
    assert list(menu(bot.types("vms"), "off-1")) == [
        "Show", "Start…", "Take a snapshot…", "Clone…", "Delete…",
    ]  # fmt: skip
    put(bot, "web-2", state=VmState.PAUSED)
    assert list(menu(bot.types("vms"), "web-2")) == ["Show", "Resume…", "Power off at once…"]


def test_a_row_of_who_may_only_look_offers_only_that(tmp_path: Path) -> None:
    from tests.bot.flow.small_bot import POLICY

    policy = replace(POLICY, everyone=("vms", "vm show"))
    bot = small_bot(tmp_path, CLUSTER, plugins=PLUGINS, policy=policy)
    assert list(menu(bot.types("vms", by="UNOBODY"), "web-1")) == ["Show"]
    bot.store.close()


def chooses(bot: Bot, value: str, by: str = "UANA") -> Card | None:
    return bot.clicks("row", value, by, key=f"key-{value}-{by}")


def test_a_choice_shows_or_opens_its_dialog_with_the_vm_filled_in(bot: Bot) -> None:
    assert "web-1" in text(chooses(bot, "vm show web-1"))
    assert chooses(bot, "migrate web-1 …") is None
    form = bot.chat.forms["key-migrate web-1 …-UANA"]
    assert (form.action, form.fields[0].name, form.fields[0].initial) == (
        "cmd:migrate", "vm", "web-1",
    )  # fmt: skip
    assert bot.store.operations() == ()
    click = Request(
        "k", "click", "UANA", bot.clock.now(), "COPS", action="row", value="migrate x …"
    )
    assert dispatcher.lane_of(bot.services, click) is Lane.DIALOG
    shown = replace(click, value="vm show x")
    assert dispatcher.lane_of(bot.services, shown) is Lane.WORK
    assert "You may not use" in text(chooses(bot, "vm shutdown web-1 …", "UNOBODY"))


def test_a_name_that_is_no_word_stays_one(bot: Bot) -> None:
    put(bot, "web-1", name="a b;rm -rf", uuid="00000000-0000-4000-8000-000000000001")
    (show,) = [value for value in menu(bot.types("vms"), "a b;rm -rf").values() if "show" in value]
    assert shlex.split(show) == ["vm", "show", "a b;rm -rf"]
    assert "a b;rm -rf" in text(chooses(bot, show))


def turns(card: Card | None) -> dict[str, str]:
    assert card is not None
    (row,) = [each for each in card.elements if isinstance(each, Buttons)]
    return {str(b.text): b.value for b in row.buttons if isinstance(b, Button)}


def many(tmp_path: Path, count: int) -> Bot:
    vms = " | ".join(f"vm-{number:03} 64M" for number in range(count))
    return small_bot(tmp_path, f"host-a 64cpu 512G | {vms}", plugins=PLUGINS)


def test_vms_come_in_pages_and_each_page_is_reached(tmp_path: Path) -> None:
    bot = many(tmp_path, 45)
    first = bot.types("vms vm-")
    assert turns(first) == {
        "Next": "vms vm- --page 2", "CSV": "vms vm- --csv", "JSON": "vms vm- --json",
    }  # fmt: skip
    assert "1–20 of 45" in text(first)
    last = bot.clicks("page", "vms vm- --page 3", "UANA")
    assert names(last) == [f"vm-{number:03}" for number in range(40, 45)]
    assert list(turns(last)) == ["Previous", "CSV", "JSON"]
    assert names(bot.types("vms --page 9")) == names(last)
    bot.store.close()


def test_a_page_takes_the_place_of_the_one_before(bot: Bot) -> None:
    click = Request(
        "k", "click", "UANA", bot.clock.now(), "COPS",
        action="page", value="vms --page 1", answer_to="https://slack/1",
    )  # fmt: skip
    bot.store.accept(click)
    dispatcher.handle(bot.services, click)
    assert bot.chat.replaced == ["https://slack/1"]


@pytest.mark.parametrize(
    ("whole", "number", "shown"),
    [(0, 1, (0, 0, 1)), (20, 1, (0, 20, 1)), (21, 2, (20, 21, 2)), (45, 7, (40, 45, 3))],
)
def test_pages_lose_no_row(whole: int, number: int, shown: tuple[int, int, int]) -> None:
    page = Page(whole, number, 20)
    assert (page.first, page.last, page.count) == shown


def test_operations_come_in_pages_by_person_vm_and_host(bot: Bot) -> None:
    for number in range(33):
        bot.types("migrate web-1 to host-b", by="UANA" if number % 2 else "UEVA")
        bot.types(f"withdraw op-{number + 1}", by="UANA" if number % 2 else "UEVA")
    first = bot.types("ops")
    assert turns(first)["Older"] == "ops --page 2"
    assert "33 operations, 0 open" in text(first)
    assert "1–30 of 33" in text(first)
    older = bot.clicks("page", "ops --page 2", "UANA")
    assert "op-1" in text(older)
    assert "31–33 of 33" in text(older)
    assert turns(older)["Newer"] == "ops"
    assert "17 operations" in text(bot.types("ops @UEVA"))
    assert "16 operations" in text(bot.types("ops --mine"))
    assert "1–30 of 33" in text(bot.types("ops web-1"))
    assert "33 operations" in text(bot.types("ops host-b"))
    assert "No operations" in text(bot.types("ops web-2"))


def test_the_audit_trail_comes_in_pages(bot: Bot) -> None:
    for number in range(50):
        bot.types("migrate web-1 to host-b")
        bot.types(f"withdraw op-{number + 1}")
    first = bot.types("audit web-1 --since 7d")
    assert turns(first)["Older"] == "audit web-1 --since 7d --page 2"
    assert "1–95 of 100" in text(first)
    older = bot.clicks("page", "audit web-1 --since 7d --page 2", "UANA")
    assert "96–100 of 100" in text(older)


def test_a_trail_is_newest_first_also_within_one_moment_and_of_one_operation(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    sentences = [str(row[-1]) for row in _table(bot.types("audit --since 7d")).rows]
    voted = next(n for n, each in enumerate(sentences) if each.startswith("approved the plan"))
    approved = next(n for n, each in enumerate(sentences) if each.startswith("approved: every"))
    assert approved < voted
    alone = [str(row[-1]) for row in _table(bot.types("audit op-1")).rows]
    assert alone[-1].startswith("proposed")
    assert alone.index(sentences[approved]) < alone.index(sentences[voted])


def _table(card: Card | None) -> Table:
    assert card is not None
    return next(each for each in card.elements if isinstance(each, Table))


def test_a_vm_is_shown_with_what_can_be_done_with_it(bot: Bot) -> None:
    shown = bot.types("vm show web-1")
    assert shown is not None
    (row,) = [each for each in shown.elements if isinstance(each, Buttons)]
    assert {str(each.text): each.value for each in row.buttons} == {
        "Migrate…": "migrate web-1 …",
        "Shut down…": "vm shutdown web-1 …",
        "Take a snapshot…": "vm snapshot create web-1 …",
        "Console": "vm console web-1",
    }


def test_many_hosts_come_in_pages(tmp_path: Path) -> None:
    cluster = "\n".join(f"host-{number:02} 8cpu 16G load 1" for number in range(40))
    bot = small_bot(tmp_path, cluster, plugins=PLUGINS)
    first = bot.types("hosts")
    assert len(_table(first).rows) == 30
    assert turns(first)["Next"] == "hosts --page 2"
    assert [str(row[0]) for row in _table(bot.types("hosts --page 2")).rows] == [
        f"host-{number:02}" for number in range(30, 40)
    ]
    bot.store.close()


def test_a_file_of_the_status_has_every_host(tmp_path: Path) -> None:
    cluster = "\n".join(f"host-{number:02} 8cpu 16G load 1" for number in range(40))
    bot = small_bot(tmp_path, cluster, plugins=PLUGINS)
    assert len(_table(bot.types("status")).rows) == 20
    bot.types("status --csv")
    ((_, _, content),) = bot.chat.files
    assert len(content.splitlines()) == 41
    bot.store.close()


def test_snapshots_come_in_pages_with_what_can_be_done_with_each(bot: Bot) -> None:
    vm = bot.hypervisor.snapshot().vm("web-1")
    for number in range(22):
        bot.hypervisor.create_snapshot(vm.host, vm.uuid, f"night {number:02}")
    first = bot.types("vm snapshot list web-1")
    assert turns(first)["Next"] == "vm snapshot list web-1 --page 2"
    menus = [each.button for each in rows(first) if isinstance(each.button, Menu)]
    assert len(menus) == 20
    values = {str(each.text): each.value for each in menus[0].choices}
    assert values["Delete…"] == "vm snapshot delete web-1 'night 00' …"
    bot.clicks("row", values["Revert…"], "UANA", key="trigger")
    filled = {each.name: each for each in bot.chat.forms["trigger"].fields}
    assert (filled["vm"].initial, filled["snapshot"].initial) == ("web-1", "night 00")
    whole = first and first.export
    assert isinstance(whole, Table)
    assert len(whole.rows) == 22


@pytest.mark.parametrize("form", ["csv", "json"])
def test_any_list_is_sent_as_a_file_with_all_its_rows(tmp_path: Path, form: str) -> None:
    bot = many(tmp_path, 45)
    said = bot.types(f"vms vm- --{form}")
    ((user, name, content),) = bot.chat.files
    assert (user, name.split("-")[:2], name.endswith(form)) == ("UANA", ["drover", "vms"], True)
    found = (
        json.loads(content)
        if form == "json"
        else list(csv.DictReader(content.decode().splitlines()))
    )
    assert [each["VM"] for each in found] == [f"vm-{number:03}" for number in range(45)]
    assert found[0]["State"] == "running"
    assert "45 rows" in text(said)
    bot.store.close()


def test_text_to_copy_has_a_button_that_sends_it_as_a_file(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, CLUSTER, plugins=("host_check",))
    card = bot.types("host baseline")
    assert card is not None
    (shown,) = [str(each.text) for each in card.elements if isinstance(each, Listing)]
    (button,) = [
        each
        for row in card.elements
        if isinstance(row, Buttons)
        for each in row.buttons
        if isinstance(each, Button)
    ]
    said = bot.clicks("run", button.value, "UANA")
    ((user, name, content),) = bot.chat.files
    assert (user, name.startswith("drover-host-baseline-"), name.endswith(".txt")) == (
        "UANA",
        True,
        True,
    )
    assert content.decode() == shown
    assert shown.startswith("<cpu")
    assert "direct messages" in text(said)
    assert "no text to copy" in text(bot.types("hosts --txt"))
    bot.store.close()


@pytest.mark.parametrize("line", ["hosts", "ops", "audit", "vms", "status"])
def test_every_query_with_a_table_makes_a_file(bot: Bot, line: str) -> None:
    bot.types("migrate web-1 to host-b")
    bot.types(f"{line} --json")
    ((_, name, content),) = bot.chat.files
    assert name.startswith(f"drover-{line}-")
    assert json.loads(content)


def test_a_file_of_what_is_no_list_and_of_what_one_may_not_see_is_refused(bot: Bot) -> None:
    assert "There is no option" in text(bot.types("migrate web-1 --csv"))
    assert "You may not use" in text(bot.types("vms --csv", by="UNOBODY"))
    assert bot.chat.files == []


def test_no_cell_is_computed_by_a_spreadsheet() -> None:
    computed = ("=cmd()", "+1", "@x", "-2+3", "-cmd|' /C calc'!A0", "\n=1", "＝1", "＠SUM(A1)")
    harmless = ("-5", "-1.5 GiB", "-3 %", "a,b\nc", "web-1", "–")
    table = Table((words("VM"),), tuple((each,) for each in (*computed, *harmless)))
    shown = list(csv.reader(io.StringIO(list_files.content(table, "csv").decode(), newline="")))
    assert shown == [["VM"], *([f"'{each}"] for each in computed), *([each] for each in harmless)]
    assert json.loads(list_files.content(table, "json"))[0] == {"VM": "=cmd()"}


def picked_of(card: Card | None) -> list[str]:
    """The lines that a list below a table types."""
    assert card is not None
    menus = [each.button for each in card.elements if isinstance(each, Section)]
    return [
        each.value
        for menu in menus
        if isinstance(menu, Menu) and menu.hint
        for each in menu.choices
    ]


def test_a_host_and_an_operation_of_a_table_can_be_chosen(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    assert picked_of(bot.types("ops")) == ["details op-1"]
    assert picked_of(bot.types("audit")) == ["audit op-1"]
    chosen = bot.clicks("row", "details op-1", "UANA")
    assert "plan hash" in text(chosen)


def test_each_host_of_the_page_can_be_chosen_by_who_may_look_at_one(bot: Bot) -> None:
    lines = ["show host host-a", "show host host-b", "show host host-c"]
    assert picked_of(bot.types("hosts")) == lines
    shown = bot.clicks("row", lines[0], "UANA")
    assert shown is not None
    assert "host-a: up" in text(shown)
    policy = replace(bot.services.policy, grants={"engineer": ("hosts",)})
    bot.services = replace(bot.services, policy=policy)
    assert picked_of(bot.types("hosts")) == []
