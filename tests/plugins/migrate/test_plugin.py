"""What the plugin declares, what of it is stored, and what ``why`` tells of the past."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from bot import catalog
from bot.domain import codec
from bot.domain.card import Card, Table
from bot.domain.cluster import Snapshot
from bot.domain.errors import CatalogError, UnknownNameError
from bot.domain.operation import (
    Approved,
    Began,
    Finished,
    Operation,
    Origin,
    Proposed,
    StepBegan,
    StepEnded,
    advance,
    open_operation,
)
from bot.domain.plan import Plan
from bot.domain.policy import Ruling
from bot.domain.steps import MigrateVm, MigrationPolicy, OnVm
from bot.plugin_api import Action, Asker, History, Query, View
from bot.testing import draw_cluster, uuid_of
from plugins.migrate.grammar import About, Migrate

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SEEN = draw_cluster(
    "host-a 8cpu 16G | web-1 1G dirty 1M [env=prod]\nhost-b 8cpu 16G\nhost-c 8cpu 16G maintenance",
    taken_at=NOW,
)
AFTER = draw_cluster(
    "host-a 8cpu 16G\nhost-b 8cpu 16G | web-1 1G [env=prod]\nhost-c 8cpu 16G maintenance",
    taken_at=NOW,
)
INTENT = Migrate("web-1", "host-b", MigrationPolicy.FAST, bandwidth=50, reason="disk swap")


def loaded() -> catalog.Catalog:
    return catalog.load(["migrate"])


def planned() -> Plan:
    plan = loaded().action("migrate").plan(INTENT, SEEN, loaded().rules)
    assert isinstance(plan, Plan)
    return plan


def proposed() -> Proposed:
    origin = Origin("U1", "C1", "/kvm migrate web-1 host-b", "k-1", INTENT.reason)
    return Proposed(
        NOW,
        "U1",
        "migrate",
        INTENT,
        planned(),
        Ruling(0, (), 60, "none"),
        origin,
        NOW + timedelta(hours=1),
    )


def done() -> Operation:
    operation = open_operation("op-7", proposed())
    for event in (
        Approved(NOW, "U2"),
        Began(NOW, "drover"),
        StepBegan(NOW, "drover", 0),
        StepEnded(NOW, "drover", 0),
        Finished(NOW, "drover"),
    ):
        operation = advance(operation, event)
    return operation


class Past:
    """The part of the store that a query may read."""

    def __init__(self, *operations: Operation) -> None:
        self.operations_of = {uuid_of("web-1"): operations}

    def touching(self, vm_uuid: str, limit: int = 20) -> tuple[Operation, ...]:
        return self.operations_of.get(vm_uuid, ())[:limit]


def answer(name: str, vm: str, past: Past, snapshot: Snapshot = AFTER) -> Card:
    query = loaded().commands[name]
    assert isinstance(query, Query)
    return query.answer(
        About(vm),
        View(snapshot, cast("History", past), loaded().rules, Asker("U1", frozenset(), "en", NOW)),
    )


def text_of(card: Card) -> str:
    return " ".join(str(getattr(each, "line", "")) for each in card.elements)


def tables(card: Card) -> list[Table]:
    return [each for each in card.elements if isinstance(each, Table)]


def test_it_declares_its_commands_and_handles_its_step() -> None:
    assert set(loaded().commands) == {"migrate", "where", "why"}
    assert isinstance(loaded().commands["migrate"], Action)
    assert set(loaded().handlers) == {MigrateVm}


def test_its_settings_are_checked_at_start() -> None:
    catalog.load(["migrate"], {"migrate": {"bandwidth_mib_s": 20, "stall_seconds": 30}})
    for wrong in ({"bandwith": 20}, {"seconds_per_gib": 0}, {"bandwidth_mib_s": -1}):
        with pytest.raises(CatalogError):
            catalog.load(["migrate"], {"migrate": wrong})


def test_the_settings_reach_the_plan() -> None:
    slow = catalog.load(["migrate"], {"migrate": {"bandwidth_mib_s": 5}})
    plan = slow.action("migrate").plan(Migrate("web-1", "host-b"), SEEN, slow.rules)
    assert isinstance(plan, Plan)
    (step,) = plan.steps
    assert isinstance(step, MigrateVm)
    assert step.bandwidth == 5


def test_intent_and_plan_can_be_stored_and_read_back() -> None:
    event = proposed()
    assert loaded().codec().loads(codec.text(event)) == event


def test_the_plan_still_holds_when_it_is_read_back() -> None:
    event = loaded().codec().loads(codec.text(proposed()))
    assert (
        loaded().action("migrate").still_good(event.intent, event.plan, SEEN, loaded().rules) == ()
    )


def test_why_names_the_operation_that_brought_it_there() -> None:
    card = answer("why", "web-1", Past(done()))
    text = text_of(card)
    assert "op-7 moved it from host-a" in text
    assert "Reason: disk swap" in text
    assert "env=prod" in text
    (hosts,) = tables(card)  # of two in a message Slack shows one
    assert "op-7" in text
    assert "requested by" in text
    assert [(row[0], str(row[1])) for row in hosts.rows] == [
        ("host-a", "can take it"),
        ("host-c", "host-c is in maintenance."),
        ("host-b", "it is here"),
    ]


def test_why_does_not_claim_a_move_that_somebody_else_made() -> None:
    assert "Later it was moved outside Drover" in text_of(
        answer("why", "web-1", Past(done()), SEEN)
    )


def test_why_of_a_vm_that_drover_never_moved() -> None:
    not_begun = open_operation("op-8", proposed())
    assert "Drover has not migrated it" in text_of(answer("why", "web-1", Past(not_begun)))


def test_why_of_a_vm_that_was_started_here_by_another_operation_names_that() -> None:
    """Such as a failover."""
    migrated = done()
    started = replace(
        migrated,
        plan=replace(
            migrated.plan,
            title="Start 1 VM of host-a on other hosts",
            steps=(OnVm(uuid_of("web-1"), "web-1", "host-b"),),
        ),
    )
    text = text_of(answer("why", "web-1", Past(started)))
    assert "Drover has not migrated it." in text
    assert "Last operation on it here: op-7, Start 1 VM of host-a on other hosts." in text


@pytest.mark.parametrize("name", ["why", "where"])
def test_an_unknown_vm_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        answer(name, "web-2", Past())
    assert "web-1" in str(error.value.advice)
