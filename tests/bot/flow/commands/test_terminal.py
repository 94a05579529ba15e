"""What people type in a terminal is asked for, voted on and told as what they do in chat."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.terminal.client import RemoteError
from bot.domain.errors import ChatError
from bot.domain.operation import State
from bot.domain.plan import Risk
from bot.domain.policy import Policy, Rule
from bot.flow.context import Role
from bot.testing.chat import FakeChat
from tests.bot.flow.small_bot import POLICY, ROLES
from tests.bot.flow.terminals import AtTerminal, at_terminal
from tests.waiting import until

DRAIN = "migrate web-1 to host-b"
TWO = Policy(
    grants=POLICY.grants,
    everyone=POLICY.everyone,
    rules=(Rule("all", votes=2, expires=600, risks=tuple(Risk)), Rule("default", votes=2)),
)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[AtTerminal]:
    with at_terminal(tmp_path) as made:
        yield made


def test_a_query_is_answered_in_the_terminal_alone(here: AtTerminal) -> None:
    assert here.do("ana", "hosts") == {"outcome": "done", "operation": None}
    assert "host-a" in json.dumps(here.shown)
    assert here.bot.chat.whispers == []
    assert here.bot.store.pending_requests() == ()


def test_what_is_proposed_in_the_terminal_is_voted_on_in_chat_and_the_other_way_round(
    here: AtTerminal,
) -> None:
    found = here.do("ana", DRAIN)
    assert found["outcome"] == "done"
    assert found["operation"]["state"] == "proposed"
    assert here.bot.operation().origin.by == "UANA"
    here.bot.clicks("op.approve", here.bot.value(), "UBRUNO")
    assert here.bot.operation().state is State.APPROVED
    here.bot.types("migrate db-1 to host-b")
    digest = here.bot.operation(2).plan.digest
    assert here.do("bruno", f"approve op-2 {digest}")["outcome"] == "done"
    assert here.bot.operation(2).state is State.APPROVED


def test_one_person_is_one_person_on_both_surfaces(tmp_path: Path) -> None:
    with at_terminal(tmp_path, policy=TWO) as here:
        here.bot.types(DRAIN)
        digest = here.bot.operation().plan.digest
        assert here.do("ana", f"approve op-1 {digest}")["outcome"] == "refused"
        here.bot.clicks("op.approve", here.bot.value(), "UBRUNO")
        assert here.do("bruno", f"approve op-1 {digest}")["outcome"] == "refused"
        assert len(here.bot.operation().votes) == 1
        assert here.do("carla", f"approve op-1 {digest}")["outcome"] == "done"
        assert here.bot.operation().state is State.APPROVED


def test_two_surfaces_that_vote_in_the_same_moment_are_two_votes_of_one_each(
    tmp_path: Path,
) -> None:
    with at_terminal(tmp_path, policy=TWO) as here:
        here.bot.types(DRAIN)
        digest, value = here.bot.operation().plan.digest, here.bot.value()
        together = threading.Barrier(3)

        def click(person: str) -> None:
            together.wait(60)
            here.bot.clicks("op.approve", value, person)

        threads = [threading.Thread(target=click, args=(who,)) for who in ("UBRUNO", "UCARLA")]
        for each in threads:
            each.start()
        together.wait(60)
        for name in ("bruno", "carla"):
            here.do(name, f"approve op-1 {digest}")
        for each in threads:
            each.join(60)
        operation = here.bot.operation()
        assert sorted(vote.by for vote in operation.votes) == ["UBRUNO", "UCARLA"]
        assert operation.state is State.APPROVED


def test_a_refusal_is_told_as_one(here: AtTerminal) -> None:
    for line in ("migrate nobody to host-b", "no such command", "approve op-9 12345678", "migrate"):
        assert here.do("ana", line) == {"outcome": "refused", "operation": None}
        assert here.shown


def test_a_script_asks_with_its_role_and_has_no_vote(here: AtTerminal) -> None:
    found = here.do("nightly", DRAIN)
    assert found["operation"]["requested_by"] == "script:nightly"
    assert here.bot.operation().origin.via == "script"
    here.bot.types("migrate db-1 to host-b")
    digest = here.bot.operation(2).plan.digest
    assert here.do("nightly", f"approve op-2 {digest}")["outcome"] == "refused"
    assert "no vote" in json.dumps(here.shown)
    assert here.do("other", DRAIN)["outcome"] == "refused"


def test_the_same_key_is_the_same_request(here: AtTerminal) -> None:
    first = here.do("nightly", DRAIN, key="run-7")
    second = here.do("nightly", DRAIN, key="run-7")
    assert second["operation"]["id"] == first["operation"]["id"] == "op-1"
    assert "op-1" in json.dumps(here.shown)
    assert len(here.bot.store.operations()) == 1


def test_people_with_roles_by_id_need_no_chat_that_tells_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = {**ROLES, "approver": Role(ROLES["approver"].users, frozenset({"sre"}))}
    with at_terminal(tmp_path, policy=TWO, roles=roles) as here:

        def unknown(chat: FakeChat, user: str) -> frozenset[str]:
            raise ChatError("Slack does not tell the user groups now.")

        monkeypatch.setattr(FakeChat, "groups_of", unknown)
        found = here.do("ana", DRAIN)
        digest = found["operation"]["plan_hash"]
        for name in ("bruno", "carla"):
            assert here.do(name, f"approve op-1 {digest}")["outcome"] == "done"
        assert here.do("nightly", f"approve op-1 {digest}")["outcome"] == "refused"
        until(lambda: here.bot.work.ids)
        here.bot.works()
        assert here.bot.operation().state is State.DONE


def test_an_operation_is_followed_to_its_end(here: AtTerminal) -> None:
    here.do("ana", DRAIN)
    results: list[object] = []
    thread = threading.Thread(
        target=lambda: results.append(here.call("ana", "follow", operation="op-1"))
    )
    thread.start()
    here.bot.clicks("op.approve", here.bot.value(), "UBRUNO")
    until(lambda: here.bot.work.ids)
    here.bot.works()
    thread.join(60)
    assert results[0]["outcome"] == "done"  # type: ignore[index]
    states = [each["data"]["state"] for each in here.shown]
    assert states[-1] == "done"


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [("deny op-1 not now", "denied"), ("", "timed-out")],
)
def test_how_it_ended_is_told_to_scripts(here: AtTerminal, ends: str, outcome: str) -> None:
    here.do("ana", DRAIN)
    if ends:
        assert here.do("bruno", ends)["outcome"] == "done"
    found = here.call("ana", "follow", operation="op-1", timeout=0 if not ends else 20)
    assert found["outcome"] == outcome


def test_a_caller_that_dies_while_it_waits_costs_nothing_and_its_request_is_carried_out(
    here: AtTerminal,
) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(here.path))
        call = {"v": 1, "method": "do", "params": {"line": DRAIN}, "token": "as:ana"}
        link.sendall(json.dumps(call).encode() + b"\n")
    until(here.bot.store.operations)
    until(lambda: here.server._open.total() == 0)
    until(lambda: here.bot.store.pending_requests() == ())
    assert here.bot.services.answers._waiting == {}
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(here.path))
        call = {"v": 1, "method": "follow", "params": {"operation": "op-1"}, "token": "as:ana"}
        link.sendall(json.dumps(call).encode() + b"\n")
        assert link.recv(1)
    until(lambda: here.server._open.total() == 0)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("do", {}),
        ("do", {"line": " "}),
        ("do", {"line": 3}),
        ("do", {"line": "x" * 5000}),
        ("follow", {"operation": "op-1", "timeout": -1}),
        ("follow", {"operation": "op-1", "timeout": True}),
        ("follow", {"operation": "op-1", "timeout": 1e9}),
        ("follow", {"operation": "op-99"}),
    ],
)
def test_params_that_make_no_sense_are_refused(
    here: AtTerminal, method: str, params: dict[str, object]
) -> None:
    with pytest.raises(RemoteError):
        here.call("ana", method, **params)


def test_what_a_person_may_not_is_in_the_audit_trail_from_the_terminal_as_well(
    here: AtTerminal,
) -> None:
    here.bot.types(DRAIN)
    before = here.bot.store.head()
    assert here.do("ana", f"approve op-1 {here.bot.operation().plan.digest}")["outcome"] == (
        "refused"
    )
    assert here.bot.store.head() != before
