"""Every button that a card shows is in the table, and asks for the permission that the table names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bot.domain import pages
from bot.flow.commands import command, decisions, dispatcher, form_pages
from bot.flow.commands.buttons import ACTIONS, Permission
from bot.flow.operations import operation_cards
from tests.bot.flow.small_bot import Bot, small_bot
from tests.source import ROOT, calls, name_of

CONSTANTS = {
    "PICK": operation_cards.PICK,
    "GO_ON": operation_cards.GO_ON,
    "PAGE": pages.PAGE,
    "ROW": pages.ROW,
    "FORM": form_pages.FORM,  # named by the core for each command
    "MOVE": operation_cards.MOVE,
}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=("migrate",))
    yield made
    made.store.close()


@cache
def shown_actions() -> set[str]:
    """The ids of all buttons and dialogs that the source makes; a new way to write one fails here."""
    found = set()
    for path, call in calls("Button", "Form"):
        if path.is_relative_to(ROOT / "bot" / "adapters"):
            continue  # Slack's own buttons are dataclasses of another library
        plugins_own = name_of(call) == "Form" and path.is_relative_to(ROOT / "plugins")
        # The core names a command's dialog after the command
        found |= set() if plugins_own else {_id_of(each) for each in _action_of(call)}
    return found


def _action_of(call: ast.Call) -> list[ast.expr]:
    place = {"Button": 1, "Form": 0}[name_of(call)]
    named = [each.value for each in call.keywords if each.arg == "action"]
    return named or [call.args[place]]


def _id_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return CONSTANTS[node.id]
    assert isinstance(node, ast.Constant), ast.unparse(node)
    return str(node.value)


def test_every_button_that_a_card_shows_is_in_the_table() -> None:
    assert shown_actions() <= ACTIONS.keys() | command.ACTIONS.keys()


def test_every_action_in_the_table_is_shown_by_a_card() -> None:
    known = ACTIONS.keys() | command.ACTIONS.keys()
    assert known - shown_actions() == set()


def test_a_button_of_another_version_is_answered(bot: Bot) -> None:
    assert dispatcher.find("op.explode") is None
    card = bot.clicks("op.explode", "op-1:x", "UANA")
    assert card is not None
    assert "op.explode" in str(card.text)


@pytest.mark.parametrize("state", ["proposed", "approved", "done"])
@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("op.")])
def test_without_a_role_no_button_changes_anything(bot: Bot, action: str, state: str) -> None:
    bot.types("migrate web-1 to host-b")
    if state != "proposed":
        bot.clicks("op.approve", bot.value(), "UBRUNO")
    if state == "done":
        bot.works()
    before = bot.store.operations()
    assert bot.clicks(action, bot.value(), "UNOBODY") is not None
    bot.answers(action, bot.value(), "UNOBODY", why="no")
    assert bot.store.operations() == before
    assert not bot.chat.forms


@pytest.mark.parametrize(
    "action", [each for each, found in ACTIONS.items() if found.permission is Permission.APPROVER]
)
def test_the_requester_never_decides_alone(bot: Bot, action: str) -> None:
    bot.types("migrate web-1 to host-b")
    before = bot.operation()
    bot.clicks(action, bot.value(), "UANA")
    bot.answers(action, bot.value(), "UANA", why="no")
    assert bot.operation() == before


def test_every_decision_presses_a_button_of_the_table() -> None:
    assert {each.button for each in decisions.DECISIONS} <= ACTIONS.keys()


@pytest.mark.parametrize("state", ["proposed", "approved", "done"])
@pytest.mark.parametrize("name", [each.name for each in decisions.DECISIONS])
def test_without_a_role_no_command_decides_anything(bot: Bot, name: str, state: str) -> None:
    bot.types("migrate web-1 to host-b")
    if state != "proposed":
        bot.clicks("op.approve", bot.value(), "UBRUNO")
    if state == "done":
        bot.works()
    before = bot.store.operations()
    rest = {"approve": f"op-1 {bot.operation().plan.digest}", "deny": "op-1 no", "again": ""}
    assert bot.types(f"{name} {rest.get(name, 'op-1')}", "UNOBODY") is not None
    assert bot.store.operations() == before
    assert not bot.chat.forms


@pytest.mark.parametrize("line", ["approve op-1 {digest}", "deny op-1 no"])
def test_the_requester_does_not_decide_alone_by_typing(bot: Bot, line: str) -> None:
    bot.types("migrate web-1 to host-b")
    before = bot.operation()
    bot.types(line.format(digest=before.plan.digest), "UANA")
    assert bot.operation() == before
