"""`drover do` and its short forms as they are typed: what is shown, and the exit codes that scripts read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from bot import terminal
from bot.adapters.terminal.render import for_people, for_programs, style
from bot.domain.card import (
    Bar,
    Button,
    Card,
    Chart,
    Checklist,
    Listing,
    Mark,
    Menu,
    Section,
    Table,
)
from bot.domain.message import Code, Person, words
from tests.bot.flow.terminals import AtTerminal, at_terminal
from tests.waiting import until

DRAIN = "migrate web-1 to host-b"


@click.group()
@click.pass_context
def drover(context: click.Context) -> None:
    """As in `__main__`, without a configuration."""
    context.obj = None


terminal.add_to(drover)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[AtTerminal]:
    with at_terminal(tmp_path) as made:
        yield made


def types(here: AtTerminal, name: str, *arguments: str) -> Result:
    env = {"DROVER_SOCKET": str(here.path), "DROVER_TOKEN": f"as:{name}", "COLUMNS": "120"}
    return CliRunner().invoke(drover, list(arguments), env=env)


def test_a_query_is_drawn_as_a_table(here: AtTerminal) -> None:
    done = types(here, "ana", "hosts")
    assert done.exit_code == 0, done.output
    assert "host-a" in done.output
    assert "host-c" in done.output


def test_a_script_reads_json_and_exit_codes(here: AtTerminal) -> None:
    done = types(here, "nightly", "do", DRAIN, "--json")
    said = json.loads(done.output)
    assert (done.exit_code, said["outcome"]) == (0, "done")
    assert said["operation"]["id"] == "op-1"
    assert said["answers"][0]["text"]
    done = types(here, "nightly", "do", "--json", "migrate", "nobody", "to", "host-b")
    assert (done.exit_code, json.loads(done.output)["outcome"]) == (3, "refused")
    tables = json.loads(types(here, "nightly", "do", "hosts", "--json").output)["answers"][0]
    assert tables["tables"][0]["rows"][0][0] == "host-a"


def test_without_a_bot_the_exit_code_is_1(tmp_path: Path) -> None:
    done = CliRunner().invoke(drover, ["hosts", "--socket", str(tmp_path / "s")])
    assert done.exit_code == 1
    assert "No bot answers" in done.output
    done = CliRunner().invoke(drover, ["hosts", "--json", "--socket", str(tmp_path / "s")])
    assert (done.exit_code, json.loads(done.output)["error"]["code"]) == (1, "no-bot")


@pytest.mark.parametrize(("ending", "code"), [("deny", 4), ("done", 0), ("timeout", 6)])
def test_wait_ends_with_how_the_operation_ended(here: AtTerminal, ending: str, code: int) -> None:
    results: list[Result] = []
    wait = "1s" if ending == "timeout" else "60s"
    thread = threading.Thread(
        target=lambda: results.append(types(here, "nightly", "do", DRAIN, "--wait", wait, "--json"))
    )
    thread.start()
    until(here.bot.store.operations)
    if ending == "deny":
        here.do("bruno", "deny op-1 not now")
    elif ending == "done":
        here.do("bruno", f"approve op-1 {here.bot.operation().plan.digest}")
        until(lambda: here.bot.work.ids)
        here.bot.works()
    thread.join(60)
    assert results[0].exit_code == code, results[0].output


def test_an_approval_without_a_hash_shows_the_plan_and_votes_only_after_a_yes(
    here: AtTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.bot.types(DRAIN)
    assert types(here, "bruno", "approve", "op-1").exit_code == 0
    assert here.bot.operation().votes == ()
    session = terminal.Session(here.path, token="as:bruno")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in (False, True):
        monkeypatch.setattr(click, "confirm", lambda *_, answer=answer, **__: answer)
        assert terminal.run(session, "approve op-1") == (0 if answer else 3)
        assert len(here.bot.operation().votes) == int(answer)


def test_names_neither_format_nor_order_the_terminal_about() -> None:
    evil = "\x1b[2J[red]web[/red]\x07\u202e"
    card = Card(
        text="x",
        title=words("*{vm}* of {who}", vm=evil, who=Person("UANA", "@ana")),
        elements=(
            Section(words("{vm} `{vm}` {c}", vm=evil, c=Code(evil))),
            Table((evil, "n"), ((evil, "1"), (evil,)), frozenset({1})),
            Checklist(evil, ((Mark.DONE, evil),)),
            Listing(evil),
            Bar(float("nan"), evil),
            Chart(evil, "bar", ("a",), ((evil, (1.0, 2.0)),), "GiB", evil),
        ),
    )
    console = Console(width=100, force_terminal=False, record=True)
    with console.capture() as captured:
        console.print(for_people(card))
    shown = captured.get()
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]web[/red]" in shown
    assert "\x1b" not in json.dumps(for_programs(card), ensure_ascii=False)
    assert str(style(words("*{a}* b", a="x"))) == "x b"


def test_a_menu_is_no_part_of_what_a_terminal_shows() -> None:
    menu = Menu((Button("op-1", "row", "details op-1"),), words("Choose an operation…"))
    chosen = Section(words("One operation in full:"), menu)
    row = Section(words("web-1"), Menu((Button("Show", "run", "vm show web-1"),)))
    console = Console(width=100, record=True)
    with console.capture() as captured:
        console.print(for_people(Card(text="VMs", elements=(row, chosen))))
    assert "web-1" in captured.get()
    assert "One operation" not in captured.get()
