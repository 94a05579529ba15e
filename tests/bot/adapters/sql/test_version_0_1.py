"""A database that version 0.1 wrote (commit 1264282): every operation reads, and what was voted on stays voted on.

``version_0_1.sql`` is the dump of a small bot's database after fifteen commands of four plugins;
``version_0_1.json`` holds each operation's state, version, title and plan's digest as that version
showed them, and the head of the chain.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import catalog
from bot.adapters.sql.store import SqlStore
from bot.audit import json_lines
from bot.domain.cluster import Scheduler
from bot.domain.codec import LATER
from bot.domain.operation import Ask, Noted, Proposed, State, VotedFor
from bot.domain.plan import Blast, HostBar, Plan, Prediction, Reason
from bot.domain.steps import Carried, MigrateVm, SetMaintenance, WaitForPerson
from bot.flow.commands.queries import Core
from bot.flow.operations import operation_cards
from bot.testing import TickingClock

HERE = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((HERE / "version_0_1.json").read_text(encoding="utf-8"))
OPERATIONS = sorted(name for name in EXPECTED if name.startswith("op-"))
NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    file = tmp_path / "drover.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript((HERE / "version_0_1.sql").read_text(encoding="utf-8"))
    connection.close()
    loaded = catalog.load(("migrate", "balance", "host_check", "vm_lifecycle"), extra=(Core(),))
    opened = SqlStore(f"sqlite:///{file}", loaded.codec(), clock=TickingClock())
    yield opened
    opened.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_reads_with_the_digest_that_it_had(store: SqlStore, name: str) -> None:
    expected, read = EXPECTED[name], store.operation(name)
    shown = {
        "state": str(read.state),
        "digest": read.plan.digest,
        "version": read.version,
        "title": str(read.plan.title),
    }
    assert shown == expected
    assert operation_cards.operation_card(read)
    assert operation_cards.details_card(read, NOW)


@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if EXPECTED[name]["state"] == "proposed"]
)
def test_an_open_proposal_can_still_be_voted_on_by_what_was_seen(
    store: SqlStore, name: str
) -> None:
    before = store.operation(name)
    after = store.append(before, VotedFor(NOW, "UCARLA", EXPECTED[name]["digest"]))
    assert len(after.votes) == len(before.votes) + 1
    assert store.operation(name) == after


def test_the_chain_of_the_audit_trail_goes_on_unbroken(store: SqlStore) -> None:
    assert list(store.head()) == EXPECTED["head"]
    store.append(store.operation("op-2"), Noted(NOW, "drover", "after the upgrade"))
    assert store.broken_link() == ""


def test_an_export_names_the_digests_that_were_signed(store: SqlStore) -> None:
    links = [json.loads(line) for line in json_lines(store.trail(0))]
    proposed = {
        link["operation"]: link["plan"] for link in links if link["kind"] == Proposed.__name__
    }
    assert proposed == {name: EXPECTED[name]["digest"] for name in OPERATIONS}


def test_what_was_stored_as_text_is_shown_as_that_text(store: SqlStore) -> None:
    failed = store.operation("op-13")
    assert (failed.state, failed.outcome, failed.advice) == (
        State.FAILED,
        "It is still there.",
        "Look at it.",
    )
    assert (failed.notes, failed.asked) == (
        ("the first look found nothing",),
        frozenset({Ask.CANCEL}),
    )
    assert failed.remedies[0].command == "vm force-off db-1"
    assert str(operation_cards.facts_text(store.operation("op-15").ended[1])) == (
        "118 MiB sent, 3 passes, pause 101 ms, 4.2 seconds"
    )


STORED_IN_PLANS: dict[str, list[str]] = json.loads(
    (HERE / "version_0_1_fields.json").read_text(encoding="utf-8")
)


def test_a_field_that_a_stored_step_got_since_is_declared_later() -> None:
    """Else every open proposal with such a step would lose the digest that was voted on."""
    loaded = catalog.load(("migrate", "balance", "host_check", "vm_lifecycle"), extra=(Core(),))
    known = {
        each.__name__: each
        for each in (
            Plan,
            Reason,
            Blast,
            Prediction,
            HostBar,
            Carried,
            Scheduler,
            MigrateVm,
            SetMaintenance,
            WaitForPerson,
            *loaded.handlers,
        )
    }
    wrong = {
        f"{name}.{field.name}"
        for name, fields in STORED_IN_PLANS.items()
        if name in known
        for field in dataclasses.fields(known[name])
        if field.name not in fields and not field.metadata.get(LATER)
    }
    assert not wrong, "declare it with bot.domain.codec.later"
    assert STORED_IN_PLANS.keys() <= known.keys(), "an open proposal of version 0.1 may hold it"
