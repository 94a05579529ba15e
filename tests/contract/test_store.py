"""One contract for every store: SQLite and a real PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from bot.adapters.sql import chain, models
from bot.adapters.sql.store import SqlStore
from bot.catalog import core_codec
from bot.domain import codec
from bot.domain.cluster import GIB, Disk, VmDetail, VmState
from bot.domain.codec import Unknown
from bot.domain.definition import (
    Definition,
    MaybeUnchanged,
    Unchanged,
    Unreadable,
    Variables,
    sha_of,
)
from bot.domain.errors import (
    ConflictError,
    FencedError,
    IllegalEventError,
    StoreError,
    UnknownNameError,
)
from bot.domain.message import words
from bot.domain.operation import (
    Approved,
    Ask,
    Asked,
    Attempted,
    Began,
    Denied,
    Finished,
    Noted,
    Operation,
    Replanned,
    State,
    StepBegan,
    StepEnded,
    UnknownEvent,
    VotedFor,
    Withdrawn,
    open_operation,
    replay,
)
from bot.domain.power import Binding, Bound, Hold, LastSeen, Power, Proof, ProofKind, Reading
from bot.domain.steps import SetMaintenance
from bot.ports import MessageRef, Store
from bot.testing.clock import TickingClock
from tests import postgres
from tests.bot.flow.small_bot import empty_database
from tests.operations import CODEC, START, later, move, planned, proposal, request

Reopen = Callable[[], SqlStore]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        file = tmp_path / "drover.sqlite"
        file.write_bytes(empty_database())
        return f"sqlite:///{file}"
    server: postgres.Postgres = request.getfixturevalue("server")
    return server.database()


@pytest.fixture
def reopen(url: str) -> Iterator[Reopen]:
    """Opens the same database once more, as another process or a restarted one would."""
    opened: list[SqlStore] = []

    def open_() -> SqlStore:
        opened.append(SqlStore(url, CODEC, clock=TickingClock()))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Reopen) -> SqlStore:
    return reopen()


def approved(store: Store, key: str = "request-1") -> Operation:
    operation = store.propose(proposal(key))
    return store.append(
        operation, VotedFor(later(1), "UAPP", operation.plan.digest), Approved(later(1), "UAPP")
    )


def begun(store: Store, key: str) -> Operation:
    return store.append(approved(store, key), Began(later(2), "drover"))


def finished(store: Store, key: str = "request-1") -> Operation:
    operation = store.append(begun(store, key), StepBegan(later(2), "drover", 0))
    ended = StepEnded(
        later(9), "drover", 0, {"seconds": 7.5, "rounds": 3, "converged": True, "phase": "done"}
    )
    return store.append(operation, ended, Finished(later(9), "drover"))


def test_it_is_a_store(store: SqlStore) -> None:
    as_port: Store = store
    assert as_port.operations() == ()


# requests


def test_a_request_is_kept_until_it_is_handled(store: SqlStore, reopen: Reopen) -> None:
    assert store.accept(request("a"))
    assert store.accept(request("b", "vms"))
    assert reopen().pending_requests() == (request("a"), request("b", "vms"))
    store.mark_handled("a")
    assert store.pending_requests() == (request("b", "vms"),)


def test_a_duplicate_request_is_known_even_after_it_was_handled(
    store: SqlStore, reopen: Reopen
) -> None:
    assert store.accept(request("a"))
    assert not store.accept(request("a"))
    store.mark_handled("a")
    assert not reopen().accept(request("a"))
    assert store.pending_requests() == ()


def test_a_request_that_cannot_be_stored_keeps_no_other_out(
    store: SqlStore, reopen: Reopen
) -> None:
    with pytest.raises((UnicodeEncodeError, StoreError)):
        store.accept(request("a", "vms \ud800"))
    assert reopen().accept(request("b"))
    assert store.accept(request("c"))


def test_requests_come_back_in_the_order_they_came_even_when_the_clock_went_back(url: str) -> None:
    clock = TickingClock()
    store = SqlStore(url, CODEC, clock=clock)
    for key in "cab":
        store.accept(request(key))
        clock.turn(-3600)
    assert [each.key for each in store.pending_requests()] == ["c", "a", "b"]
    store.close()


def test_a_dead_replicas_requests_are_taken_over_by_one_in_order_and_the_livings_stay_theirs(
    url: str,
) -> None:
    dead, one, other = (
        SqlStore(url, CODEC, clock=TickingClock(), replica=name)
        for name in ("dead", "one", "other")
    )
    for store, key in ((dead, "c"), (one, "mine"), (dead, "a"), (dead, "done"), (dead, "b")):
        store.accept(request(key))
    dead.mark_handled("done")
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: (one, other)[number % 2].take_over("dead"), range(8)))
    assert [[each.key for each in found] for found in taken if found] == [["c", "a", "b"]]
    assert "mine" in [each.key for each in one.take_over("one")]
    assert [each.key for each in other.take_over()] == ["c", "mine", "a", "b"]
    for store in (dead, one, other):
        store.close()


def test_a_handled_request_is_forgotten_after_a_month_but_an_open_one_never(
    url: str, reopen: Reopen
) -> None:
    clock = TickingClock()
    store = SqlStore(url, CODEC, clock=clock)
    store.accept(request("open"))
    store.accept(request("answered"))
    store.mark_handled("answered")
    store.close()
    clock.turn(31 * 86400)
    store = SqlStore(url, CODEC, clock=clock)
    assert store.accept(request("answered"))
    assert not store.accept(request("open"))
    store.close()


def test_of_many_deliveries_at_once_one_is_accepted(reopen: Reopen) -> None:
    stores = [reopen(), reopen()]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: stores[n % 2].accept(request("same")), range(40)))
    assert Counter(taken) == {True: 1, False: 39}


# operations


def test_a_proposal_becomes_an_operation_that_reads_back_equal(
    store: SqlStore, reopen: Reopen
) -> None:
    event = proposal(plan=planned(move(), SetMaintenance("host-a", on=True)))
    operation = store.propose(event)
    assert operation == open_operation("op-1", event)
    assert reopen().operation("op-1") == operation
    assert operation.plan.digest == event.plan.digest
    assert store.events("op-1") == (event,)


def test_operations_are_numbered_from_one_and_a_repeated_origin_finds_its_own(
    store: SqlStore,
) -> None:
    first, second = store.propose(proposal("a")), store.propose(proposal("b"))
    assert (first.id, second.id) == ("op-1", "op-2")
    denied = store.append(first, Denied(later(1), "UAPP", "not today"))
    assert store.propose(proposal("a")) == denied
    assert len(store.operations()) == 2


def test_proposals_without_an_origin_key_are_all_different(store: SqlStore) -> None:
    assert [store.propose(proposal("")).id for _ in range(3)] == ["op-1", "op-2", "op-3"]


def test_many_proposers_at_once_get_one_number_each(reopen: Reopen) -> None:
    stores = [reopen(), reopen()]
    with ThreadPoolExecutor(6) as pool:
        keys = [f"k{n % 15}" for n in range(30)]
        ids = list(
            pool.map(
                lambda pair: stores[pair[0] % 2].propose(proposal(pair[1])).id, enumerate(keys)
            )
        )
    assert len(set(ids)) == 15
    assert dict(zip(keys, ids, strict=True)) == {key: ids[keys.index(key)] for key in keys}
    assert stores[0].broken_link() == ""


def test_events_are_kept_in_order_and_lead_to_the_same_operation(
    store: SqlStore, reopen: Reopen
) -> None:
    operation = finished(store)
    assert operation.state is State.DONE
    again = reopen()
    assert again.operation("op-1") == operation
    assert replay("op-1", again.events("op-1")) == operation
    assert operation.version == len(again.events("op-1")) == 7


def test_an_unknown_operation_is_named(store: SqlStore) -> None:
    for wrong in ("op-9", "op-x", "web-1", "op-99999999999999999999", "op-٣"):
        with pytest.raises(UnknownNameError, match="operation"):
            store.operation(wrong)
    with pytest.raises(UnknownNameError):
        store.events("op-9")
    with pytest.raises(UnknownNameError):
        store.append(open_operation("op-9", proposal()), Denied(later(1), "UAPP", "why"))


def test_a_stale_version_is_a_conflict_and_stores_nothing(store: SqlStore) -> None:
    operation = store.propose(proposal())
    store.append(operation, Noted(later(1), "UENG", "first"))
    with pytest.raises(ConflictError):
        store.append(operation, Denied(later(2), "UAPP", "late"))
    assert [type(each).__name__ for each in store.events("op-1")] == ["Proposed", "Noted"]
    assert store.operation("op-1").state is State.PROPOSED


def test_an_illegal_event_stores_nothing_not_even_the_legal_ones_before_it(store: SqlStore) -> None:
    operation = store.propose(proposal())
    vote = VotedFor(later(1), "UAPP", operation.plan.digest)
    with pytest.raises(IllegalEventError):
        store.append(operation, vote, Finished(later(2), "drover"))
    assert store.operation("op-1") == operation


def test_appending_nothing_changes_nothing(store: SqlStore) -> None:
    operation = store.propose(proposal())
    assert store.append(operation) == operation
    assert len(store.events("op-1")) == 1


def test_of_many_at_once_one_wins_each_round(reopen: Reopen) -> None:
    stores = [reopen(), reopen(), reopen()]
    operation = stores[0].propose(proposal())
    ready = threading.Barrier(6)

    def decide(n: int) -> str:
        ready.wait(timeout=60)
        try:
            stores[n % 3].append(operation, Denied(later(1), f"U{n}", "no"))
        except ConflictError:
            return "conflict"
        return f"U{n}"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(decide, range(6)))
    winner = [each for each in answers if each != "conflict"]
    assert len(winner) == 1
    assert stores[0].operation("op-1").decided_by == winner[0]
    assert len(stores[0].events("op-1")) == 2
    assert stores[0].broken_link() == ""


def test_writers_on_different_operations_lose_nothing(reopen: Reopen) -> None:
    stores = [reopen(), reopen()]
    operations = [stores[0].propose(proposal(f"k{n}")) for n in range(4)]

    def note(n: int) -> None:
        operation = operations[n]
        for turn in range(10):
            operation = stores[n % 2].append(
                operation, Noted(later(turn), "drover", f"note {turn}")
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(4)))
    for operation in operations:
        assert stores[0].operation(operation.id).notes == tuple(
            f"note {turn}" for turn in range(10)
        )
    assert stores[0].broken_link() == ""


def test_operations_are_listed_newest_first_by_state_and_requester(store: SqlStore) -> None:
    finished(store, "a")
    approved(store, "b")
    store.propose(proposal("c", by="UOTHER"))
    assert [each.id for each in store.operations()] == ["op-3", "op-2", "op-1"]
    assert [each.id for each in store.operations(limit=1)] == ["op-3"]
    assert [each.id for each in store.operations(states=(State.APPROVED, State.DONE))] == [
        "op-2",
        "op-1",
    ]
    assert [each.id for each in store.operations(by="UOTHER")] == ["op-3"]
    assert store.operations(states=(State.DONE,), by="UOTHER") == ()


def test_operations_are_counted_by_state_and_requester(store: SqlStore) -> None:
    assert store.count_operations() == 0
    finished(store, "a")
    approved(store, "b")
    store.propose(proposal("c", by="UOTHER"))
    assert store.count_operations() == 3
    assert store.count_operations(states=(State.APPROVED, State.DONE)) == 2
    assert store.count_operations(by="UOTHER") == 1
    assert store.count_operations(states=(State.DONE,), by="UOTHER") == 0


def test_operations_touching_a_guest_are_found(store: SqlStore) -> None:
    store.propose(proposal("a", plan=planned(move("web-1"), move("db-1"))))
    store.propose(proposal("b", plan=planned(move("db-1"), move("db-1", "host-b", "host-c"))))
    store.propose(proposal("c", plan=planned(SetMaintenance("host-a", on=True))))
    assert [each.id for each in store.touching("uuid-of-db-1")] == ["op-2", "op-1"]
    assert [each.id for each in store.touching("uuid-of-db-1", limit=1)] == ["op-2"]
    assert store.touching("uuid-of-nobody") == ()


def test_guests_of_a_rest_that_was_planned_anew_are_found_too(store: SqlStore) -> None:
    running = store.append(approved(store), Began(later(2), "drover"))
    store.append(running, Replanned(later(3), "drover", (move("new-1"), move("web-1")), "because"))
    assert [each.id for each in store.touching("uuid-of-new-1")] == ["op-1"]
    assert [each.id for each in store.touching("uuid-of-web-1")] == ["op-1"]


def test_asks_are_kept(store: SqlStore) -> None:
    operation = store.append(
        approved(store), Began(later(2), "drover"), Asked(later(3), "UENG", Ask.CANCEL)
    )
    assert store.operation("op-1").asked == operation.asked == frozenset({Ask.CANCEL})


# the small things


def test_copies_are_remembered_once_each(store: SqlStore) -> None:
    store.propose(proposal())
    refs = (MessageRef("CAPP", "1.1"), MessageRef("COPS", "2.2"))
    for ref in (*refs, refs[0]):
        store.keep_copy("op-1", ref)
    assert store.copies("op-1") == refs
    assert store.copies("op-2") == ()


def test_a_copy_of_nothing_is_refused(store: SqlStore) -> None:
    with pytest.raises(StoreError):
        store.keep_copy("op-7", MessageRef("CAPP", "1.1"))


def test_maintenance_is_set_and_ended(store: SqlStore, reopen: Reopen) -> None:
    for host in ("host-a", "host-b", "host-a"):
        store.set_maintenance(host, on=True)
    assert reopen().maintenance() == {"host-a", "host-b"}
    store.set_maintenance("host-a", on=False)
    store.set_maintenance("host-z", on=False)
    assert store.maintenance() == {"host-b"}


def test_a_hold_is_kept_with_its_proof_until_it_is_lifted(store: SqlStore, reopen: Reopen) -> None:
    hold = Hold("host-a", later(0), words("{host} is silent", host="host-a"), "op-7")
    store.put_hold(hold)
    assert reopen().holds() == (hold,)
    reading = Reading("host-a", "bmc-a", 1, Power.OFF, later(3), "uuid-a")
    proof = Proof("host-a", ProofKind.DEVICE, later(9), 1, ("bmc-a",), (reading,), ("libvirt",))
    store.put_hold(replace(hold, proof=proof))
    assert reopen().holds() == (replace(hold, proof=proof),)
    store.lift_hold("host-a")
    store.lift_hold("host-a")
    assert reopen().holds() == ()


def test_whose_a_controller_is_is_kept_and_can_be_taken_back(
    store: SqlStore, reopen: Reopen
) -> None:
    bound = Bound("host-a", "bmc-a", Binding.UUID, later(0), "uuid-a")
    store.put_bond(bound)
    assert reopen().bonds() == (bound,)
    store.put_bond(replace(bound, by=Binding.NONE))
    assert [each.by for each in reopen().bonds()] == [Binding.NONE]


def test_what_was_last_read_of_a_host_is_kept_in_place_of_older(
    store: SqlStore, reopen: Reopen
) -> None:
    assert store.last_seen("host-a") is None
    reading = Reading("host-a", "bmc-a", 1, Power.ON, later(3), "uuid-a")
    first = LastSeen("host-a", later(3), "boot-1", (reading,))
    store.put_last_seen([first, LastSeen("host-b", later(3))])
    store.put_last_seen([])
    assert reopen().last_seen("host-a") == first
    second = replace(first, at=later(63), boot="boot-2", readings=())
    store.put_last_seen([second])
    assert reopen().last_seen("host-a") == second
    assert reopen().last_seen("host-b") == LastSeen("host-b", later(3))


def test_a_copy_of_uefi_variables_is_kept_in_place_of_the_one_before(
    store: SqlStore, reopen: Reopen
) -> None:
    uefi = VmDetail(nvram="/var/lib/libvirt/qemu/nvram/vm-u-1_VARS.fd")
    store.keep_definitions([kept(detail=uefi), kept("u-2")], ["host-a"])
    assert store.variables("u-1") is None
    assert [each.nvram for each in store.definitions()] == [False, False]
    store.keep_variables([Variables("u-1", later(0), "1-540672", "H4sI")])
    second = Variables("u-1", later(9), "2-540672", "H4sJ")
    store.keep_variables([second])
    store.keep_variables([])
    assert reopen().variables("u-1") == second
    assert {each.uuid: each.nvram for each in store.definitions()} == {"u-1": True, "u-2": False}
    store.keep_definitions([kept(detail=uefi, xml="<two/>")], ["host-a"])
    assert [each.nvram for each in store.definitions(uuid="u-1")] == [True, True]


def kept(
    uuid: str = "u-1", host: str = "host-a", xml: str = "<one/>", **different: Any
) -> Definition:
    known = Definition(
        uuid, f"vm-{uuid}", host, xml, sha_of(xml), later(0), later(0), VmState.RUNNING, 2, GIB,
        VmDetail(disks=(Disk("vda", "file", "/srv/one.qcow2"),)), {"owner": "ana"},
    )  # fmt: skip
    return replace(known, **different)


def test_a_definition_reads_back_equal_and_the_newest_five_versions_stay(
    store: SqlStore, reopen: Reopen
) -> None:
    versions = [kept(xml=f"<v{number}/>", taken_at=later(number)) for number in range(7)]
    for each in versions:
        store.keep_definitions([each], ["host-a"])
        store.keep_definitions([each], ["host-a"])  # once more is no new version
    assert reopen().definitions(uuid="u-1") == tuple(reversed(versions[2:]))
    assert store.definitions(host="host-a") == (versions[-1],)
    assert store.definitions(host="host-b") == ()


def test_a_vm_that_moved_is_kept_at_its_host_and_one_that_is_gone_at_none(store: SqlStore) -> None:
    store.keep_definitions([kept(), kept("u-2")], ["host-a", "host-b"])
    store.keep_definitions(
        [kept(host="host-b", seen_at=later(9), taken_at=later(9))], ["host-a", "host-b"]
    )
    (moved,) = store.definitions(host="host-b")
    assert (moved.taken_at, moved.seen_at) == (later(0), later(9))
    assert store.definitions(host="host-a") == ()
    assert {each.uuid: each.host for each in store.definitions()} == {"u-1": "host-b", "u-2": ""}


def test_what_a_silent_host_had_stays_its_own(store: SqlStore) -> None:
    store.keep_definitions([kept(), kept("u-2")], ["host-a", "host-b"])
    store.keep_definitions([kept(host="host-b", state=VmState.SHUT_OFF)], ["host-b"])
    assert {each.uuid: each.host for each in store.definitions()} == {
        "u-1": "host-a",
        "u-2": "host-a",
    }
    store.keep_definitions([kept(host="host-b")], ["host-b"])  # it runs there: it has moved
    assert {each.uuid: each.host for each in store.definitions()} == {
        "u-1": "host-b",
        "u-2": "host-a",
    }


def unchanged(known: Definition, **different: Any) -> Unchanged:
    same = Unchanged(known.uuid, known.host, known.sha, known.seen_at, known.state)
    return replace(same, **different)


def test_of_an_unchanged_definition_only_the_time_it_was_seen_is_kept(
    store: SqlStore, reopen: Reopen
) -> None:
    first, other = kept(), kept("u-2")
    store.keep_definitions([first, other], ["host-a"])
    same = [unchanged(first, seen_at=later(60)), unchanged(other, seen_at=later(60))]
    assert store.keep_definitions(same, ["host-a"]) == frozenset()
    assert reopen().definitions(host="host-a") == (
        replace(first, seen_at=later(60)),
        replace(other, seen_at=later(60)),
    )
    last = replace(first, seen_at=later(90))
    assert store.keep_definitions([last, unchanged(other, seen_at=later(90))], ["host-a"]) == set()
    assert store.definitions(uuid="u-1") == (last,)
    assert store.keep_definitions([unchanged(first)], ["host-a"]) == frozenset()
    assert {each.uuid: each.host for each in store.definitions()} == {"u-1": "host-a", "u-2": ""}


def test_what_is_kept_of_a_vm_whose_definition_could_not_be_read_stays(store: SqlStore) -> None:
    store.keep_definitions([kept(), kept("u-2"), kept("u-3")], ["host-a"])
    odd = [Unreadable(uuid, "odd", "host-a", "error 1") for uuid in ("u-1", "u-9")]
    assert store.keep_definitions([*odd, kept("u-2", seen_at=later(9))], ["host-a"]) == frozenset()
    assert {each.uuid: (each.host, each.seen_at) for each in store.definitions()} == {
        "u-1": ("host-a", later(0)),
        "u-2": ("host-a", later(9)),
        "u-3": ("", later(0)),
    }


@pytest.mark.parametrize(
    "different",
    [
        {"host": "host-b"},
        {"sha": "another"},
        {"uuid": "u-9"},
    ],
)
def test_what_is_not_kept_so_is_not_taken_for_unchanged(
    store: SqlStore, different: dict[str, Any]
) -> None:
    first = kept()
    store.keep_definitions([first], ["host-a"])
    told = unchanged(first, seen_at=later(60), **different)
    assert store.keep_definitions([told], []) == {told.uuid}
    assert store.definitions() == (first,)


def test_an_unchanged_definition_is_one_of_several_copies(store: SqlStore) -> None:
    first = kept()
    store.keep_definitions([first], ["host-a"])
    off = kept(host="host-b", xml="<other/>", state=VmState.SHUT_OFF, seen_at=later(60))
    told: list[MaybeUnchanged] = [unchanged(first, seen_at=later(60)), off]
    assert store.keep_definitions(told, ["host-a", "host-b"]) == frozenset()
    assert store.definitions() == (replace(first, seen_at=later(60)),)
    moved: list[MaybeUnchanged] = [
        unchanged(first, state=VmState.SHUT_OFF),
        replace(off, state=VmState.RUNNING),
    ]
    assert store.keep_definitions(moved, ["host-a", "host-b"]) == frozenset()
    assert store.definitions(host="host-b") == (moved[1],)


def test_of_an_unchanged_definition_the_state_and_the_password_are_kept_at_once(
    store: SqlStore,
) -> None:
    first = kept()
    store.keep_definitions([first], ["host-a"])
    different: dict[str, Any] = {
        "state": VmState.SHUT_OFF, "persistent": False, "password": True, "seen_at": later(60),
    }  # fmt: skip
    assert store.keep_definitions([unchanged(first, **different)], ["host-a"]) == frozenset()
    assert store.definitions(uuid="u-1") == (replace(first, **different),)


def test_a_definition_of_before_the_marks_is_known_by_what_is_kept(store: SqlStore) -> None:
    first = kept()
    store.keep_definitions([first], ["host-a"])
    with store._engine.begin() as connection:
        connection.execute(sa.update(models.definitions).values(mark=None))
    again = unchanged(first, seen_at=later(60))
    assert store.keep_definitions([again], ["host-a"]) == frozenset()
    assert store.definitions(uuid="u-1") == (replace(first, seen_at=later(60)),)


def test_thousands_of_definitions_are_kept_a_little_at_a_time(store: SqlStore) -> None:
    """No transaction holds the lock for long: with 6000 VMs a request was not stored meanwhile."""
    written = [0]

    def count(_: object, __: object, statement: str, given: Any, ___: object, many: bool) -> None:  # noqa: FBT001
        if statement.startswith(("INSERT INTO definitions", "UPDATE definitions")):
            written[-1] += len(given) if many else 1

    sa.event.listen(store._engine, "after_cursor_execute", count)
    sa.event.listen(store._engine, "commit", lambda _: written.append(0))
    many = [kept(f"u-{number}", seen_at=later(1)) for number in range(250)]
    store.keep_definitions(many, ["host-a"])
    assert sum(written) == 250
    assert max(written) <= 100
    store.keep_definitions(many, ["host-a"])
    assert sum(written) == 250, "what reads as before is not written again"
    assert len(store.definitions(host="host-a")) == 250


def test_a_key_is_claimed_once_by_whoever_is_first(reopen: Reopen) -> None:
    stores = [reopen(), reopen()]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda n: stores[n % 2].claim("digest:2026-01-05T09:00"), range(12))
        )
    assert Counter(answers) == {True: 1, False: 11}
    assert stores[0].claim("digest:2026-01-06T09:00")


def test_heartbeats_are_counted_per_replica(store: SqlStore, reopen: Reopen) -> None:
    other = reopen()
    store.enter("a")
    other.enter("b")
    store.beat()
    assert reopen().beats() == {"a": 2, "b": 1}
    other.forget("a")
    assert other.beats() == {"a": 2, "b": 1}
    assert other.fence("a", 2)
    other.forget("a")
    assert other.beats() == {"b": 1}


def test_who_has_beaten_or_entered_meanwhile_is_not_taken_for_dead(reopen: Reopen) -> None:
    slow, living = reopen(), reopen()
    slow.enter("a")
    seen = living.beats()["a"]
    slow.beat()
    assert not living.fence("a", seen)
    assert slow.propose(proposal("one")).id == "op-1"
    assert living.fence("a", seen + 1)
    anew = reopen()
    anew.enter("a")
    living.forget("a")
    anew.beat()
    assert anew.propose(proposal("two")).id == "op-2"


def test_nothing_of_a_replica_taken_for_dead_is_stored_any_more(reopen: Reopen) -> None:
    frozen, living = reopen(), reopen()
    frozen.enter("a")
    living.enter("b")
    operation = frozen.propose(proposal("one"))
    assert living.fence("a", 1)
    for late in (
        lambda: frozen.append(operation, Noted(later(1), "drover", "late")),
        lambda: frozen.propose(proposal("two")),
        frozen.beat,
    ):
        with pytest.raises(FencedError, match="did not report for too long"):
            late()
    living.forget("a")
    with pytest.raises(FencedError):
        frozen.beat()
    assert (
        living.append(living.operation("op-1"), Noted(later(1), "drover", "in time")).version == 2
    )
    assert [each.id for each in living.operations()] == ["op-1"]
    frozen.enter("a")
    assert frozen.append(frozen.operation("op-1"), Noted(later(2), "drover", "anew")).version == 3
    assert living.beats() == {"a": 1, "b": 1}


def test_who_enters_under_a_name_fences_off_who_was_it_before(reopen: Reopen) -> None:
    before, now = reopen(), reopen()
    before.enter("a")
    now.enter("a")
    with pytest.raises(FencedError):
        before.propose(proposal())
    assert now.propose(proposal()).id == "op-1"


def test_a_decision_about_several_operations_holds_only_while_nothing_happens(
    reopen: Reopen,
) -> None:
    """Two replicas see a host free at the same moment; one of them begins."""
    stores = [reopen(), reopen()]
    running = [begun(stores[0], key) for key in ("one", "two")]
    seen = [store.head()[0] for store in stores]
    stores[0].append(running[0], StepBegan(later(9), "drover", 0), since=seen[0])
    with pytest.raises(ConflictError):
        stores[1].append(running[1], StepBegan(later(9), "drover", 0), since=seen[1])
    assert stores[1].operation(running[1].id).under_way == frozenset()
    again = stores[1].append(
        running[1], StepBegan(later(9), "drover", 0), since=stores[1].head()[0]
    )
    assert again.under_way == {0}


def test_of_many_replicas_that_decide_at_once_one_begins(reopen: Reopen) -> None:
    stores = [reopen() for _ in range(4)]
    running = [begun(stores[0], str(number)) for number in range(4)]
    ready = threading.Barrier(4)

    def begin(number: int) -> bool:
        position, _ = stores[number].head()
        ready.wait(timeout=60)
        try:
            stores[number].append(running[number], StepBegan(later(9), "drover", 0), since=position)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(begin, range(4))) == [False, False, False, True]
    assert stores[0].broken_link() == ""


# the trail


def test_the_trail_tells_every_event_with_its_hash(store: SqlStore) -> None:
    finished(store, "a")
    store.propose(proposal("b"))
    trail = list(store.trail())
    assert [link.position for link in trail] == list(range(1, 9))
    assert (trail[-1].operation, trail[-1].kind) == (2, "Proposed")
    assert store.head() == (8, trail[-1].hash)
    assert [link.position for link in store.trail(after=6)] == [7, 8]
    assert CODEC.loads(trail[0].data) == proposal("a")


def test_a_long_trail_is_read_whole(store: SqlStore) -> None:
    operation = store.propose(proposal())
    store.append(operation, *(Noted(later(n), "drover", str(n)) for n in range(1200)))
    assert [link.seq for link in store.trail()] == list(range(1, 1202))
    assert store.broken_link() == ""


def execute(url: str, *statements: str) -> None:
    """What somebody with the database's password, or its file, could do.

    Foreign keys do not stop them.
    """
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        return
    with psycopg.connect(url) as session:
        session.execute("SET session_replication_role = replica")
        for statement in statements:
            session.execute(statement)


TAMPERINGS = {
    "a vote put into another's mouth": (
        ["UPDATE events SET data = replace(data, 'UAPP', 'UENG') WHERE position = 2"],
        "Event 2 (VotedFor of op-1, by UAPP",
        "was changed after it was stored",
    ),
    "only the label changed": (
        ["UPDATE events SET \"by\" = 'UINNOCENT' WHERE position = 2"],
        "Event 2",
        "labelled wrongly: it holds VotedFor by UAPP",
    ),
    "an event in the middle deleted": (
        ["DELETE FROM events WHERE position = 4"],
        "Event 4 is missing",
        "the next one stored is 5",
    ),
    "the first event deleted": (
        ["DELETE FROM events WHERE position = 1"],
        "Event 1 is missing",
        "stored is 2",
    ),
    "two events exchanged": (
        [
            "UPDATE events SET position = 900 WHERE position = 2",
            "UPDATE events SET position = 2 WHERE position = 3",
            "UPDATE events SET position = 3 WHERE position = 900",
        ],
        "Event 2 (Approved of op-1",
        "was changed",
    ),
    "moved to another operation": (
        ["UPDATE events SET operation = 2, seq = 9 WHERE position = 3"],
        "Event 3",
        "was changed",
    ),
    "the end cut off": (["DELETE FROM events WHERE position >= 7"], "ends at event 6", "cut off"),
    "the end cut off, and the head told so": (
        [
            "DELETE FROM events WHERE position >= 8",
            "UPDATE head SET position = 7, hash = (SELECT hash FROM events WHERE position = 7)",
        ],
        "The events of op-2 are not a possible history",
        "no operation op-2",
    ),
    "the last event cut off, and the head told so": (
        [
            "DELETE FROM events WHERE position = 9",
            "UPDATE head SET position = 8, hash = (SELECT hash FROM events WHERE position = 8)",
        ],
        "op-2 is listed as proposed by UENG after 2 events",
        "after 1",
    ),
    "an event slipped in behind the end": (
        [
            'INSERT INTO events SELECT 10, 2, 9, at, "by", kind, data, previous, hash FROM events WHERE position = 9',
        ],
        "Event 10",
        "inserted after the end",
    ),
    "the head removed": (["DELETE FROM head"], "head of the chain is missing", ""),
    "a denied operation listed as approved": (
        ["UPDATE operations SET state = 'approved' WHERE number = 2"],
        "op-2 is listed as approved",
        "say proposed by UENG",
    ),
    "an operation's row removed": (
        ["DELETE FROM operations WHERE number = 2"],
        "op-2 has events but",
        "",
    ),
}


def test_refused_attempts_are_in_the_chain_and_no_operation(store: SqlStore, url: str) -> None:
    attempts = [Attempted(later(n), f"UGIL{n % 2}", f"/kvm {n}", "", "no") for n in range(1, 4)]
    store.keep_attempt(attempts[0])
    operation = store.propose(proposal("a"))
    for each in attempts[1:]:
        store.keep_attempt(each)
    assert operation.id == "op-1"
    assert [each.id for each in store.operations()] == ["op-1"]
    assert store.attempts() == tuple(reversed(attempts))
    assert store.attempts(by="UGIL1") == (attempts[2], attempts[0])
    assert store.attempts(since=later(3)) == (attempts[2],)
    assert store.attempts(limit=1) == (attempts[2],)
    assert store.broken_link() == ""
    with pytest.raises(UnknownNameError):
        store.operation("op-0")
    execute(url, "UPDATE events SET data = replace(data, '/kvm 1', '/kvm 9') WHERE position = 1")
    assert "Event 1" in str(store.broken_link())


@pytest.mark.parametrize("how", TAMPERINGS)
def test_tampering_is_found_and_named(store: SqlStore, how: str, url: str) -> None:
    finished(store, "a")
    store.append(store.propose(proposal("b")), Noted(later(1), "UENG", "hm"))
    assert store.broken_link() == ""
    statements, named, said = TAMPERINGS[how]
    execute(url, *statements)
    fault = str(store.broken_link())
    assert named in fault
    assert said in fault


def test_a_look_at_what_is_new_reads_nothing_that_held_before(
    store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(store, "a")
    assert store.broken_link(whole=False) == ""
    held, _ = store.head()
    store.append(store.propose(proposal("b")), Noted(later(1), "UENG", "hm"))
    read: list[int] = []
    digest = chain.digest

    def looked(*link: Any) -> str:
        read.append(link[1])
        return digest(*link)

    monkeypatch.setattr(chain, "digest", looked)
    assert store.broken_link(whole=False) == ""
    assert read == [held + 1, held + 2]
    read.clear()
    assert store.broken_link() == ""
    assert read == list(range(1, held + 3))


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_tampered_with_before_the_last_look_is_found_by_the_whole_one(
    store: SqlStore, how: str, url: str
) -> None:
    finished(store, "a")
    store.append(store.propose(proposal("b")), Noted(later(1), "UENG", "hm"))
    assert store.broken_link(whole=False) == ""
    statements, named, _ = TAMPERINGS[how]
    execute(url, *statements)
    assert named in str(store.broken_link())


def test_a_trail_cut_off_or_rewritten_since_the_last_look_is_found_at_once(
    store: SqlStore, url: str
) -> None:
    finished(store, "a")
    store.append(store.propose(proposal("b")), Noted(later(1), "UENG", "hm"))
    assert store.broken_link(whole=False) == ""
    execute(
        url,
        "DELETE FROM events WHERE position = 9",
        "UPDATE head SET position = 8, hash = (SELECT hash FROM events WHERE position = 8)",
        "UPDATE operations SET version = 1 WHERE number = 2",
    )
    assert "Event 9 was verified before" in str(store.broken_link(whole=False))


def test_tampering_with_what_is_new_is_found_by_a_look_at_what_is_new(
    store: SqlStore, url: str
) -> None:
    finished(store, "a")
    assert store.broken_link(whole=False) == ""
    store.append(store.propose(proposal("b")), Noted(later(1), "UENG", "hm"))
    execute(url, "UPDATE events SET \"by\" = 'UEVIL' WHERE position = 9")
    assert "Event 9" in str(store.broken_link(whole=False))
    assert "Event 9" in str(
        store.broken_link(whole=False)
    )  # what does not hold is not taken for proven


def test_a_chain_rewritten_from_a_point_on_is_caught_by_its_content(
    store: SqlStore, url: str
) -> None:
    """Whoever recomputes every hash can still not store a history that cannot have happened."""
    operation = store.propose(proposal())
    store.append(
        operation, VotedFor(later(1), "UAPP", operation.plan.digest), Approved(later(1), "UAPP")
    )
    previous = ""
    for link in store.trail():
        data = link.data.replace('"by":"UAPP"', '"by":"UENG"')
        found = chain.digest(previous, link.position, link.operation, link.seq, data)
        by = link.by.replace("UAPP", "UENG")
        execute(
            url,
            f"UPDATE events SET data='{data}', previous='{previous}', hash='{found}', \"by\"='{by}'"  # noqa: S608
            f" WHERE position={link.position}",
            f"UPDATE head SET hash='{found}'",  # noqa: S608
        )
        previous = found
    assert str(store.broken_link()) == (
        "The events of op-1 are not a possible history: The requester never counts as an approver."
    )


# opening


def test_replicas_may_start_together_on_an_empty_database(url: str) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()  # it has tables already
    ready = threading.Barrier(4)

    def start(_: int) -> str:
        ready.wait(timeout=60)
        store = SqlStore(url, CODEC, clock=TickingClock())
        try:
            return str(store.broken_link())
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [""] * 4


def test_a_database_of_a_newer_drover_is_refused(store: SqlStore, url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999.*newer Drover"):
        SqlStore(url, CODEC, clock=TickingClock())


@pytest.fixture
def core(store: SqlStore, url: str) -> Iterator[SqlStore]:
    """The same database as a bot without any plugin opens it."""
    opened = SqlStore(url, core_codec(), clock=TickingClock())
    yield opened
    opened.close()


def test_an_operation_whose_plugin_is_not_loaded_is_kept_as_it_is(
    store: SqlStore, core: SqlStore
) -> None:
    whole = store.propose(proposal())
    kept = core.operation("op-1")
    assert isinstance(kept.intent, Unknown)
    assert (kept.state, kept.version, kept.plan.digest) == (
        whole.state,
        whole.version,
        whole.plan.digest,
    )
    after = core.append(
        kept, VotedFor(later(1), "UAPP", kept.plan.digest), Denied(later(2), "UAPP", "no")
    )
    assert after.state is State.DENIED
    assert store.operation("op-1").state is State.DENIED
    assert core.broken_link() == store.broken_link() == ""


def change_event(url: str, position: int, **values: Any) -> None:
    """Rewrite an event as another version of Drover would have written it, hashes and all."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        rows = [
            dict(row)
            for row in connection.execute(
                sa.select(models.events).order_by(models.events.c.position)
            ).mappings()
        ]
        previous = ""
        for row in rows:
            if row["position"] == position:
                row["data"] = json.dumps(json.loads(row["data"]) | values)
                row["kind"] = values.get("is", row["kind"])
            row["previous"] = previous
            row["hash"] = previous = chain.digest(
                previous, row["position"], row["operation"], row["seq"], row["data"]
            )
            connection.execute(
                sa.update(models.events)
                .where(models.events.c.position == row["position"])
                .values(**row)
            )
        connection.execute(sa.update(models.head).values(hash=previous))
    engine.dispose()


TITLE = codec.data(words("Move {vm}", vm="web-1"))
NEWER: Mapping[str, tuple[int, dict[str, Any]]] = {
    "an event of a newer version": (2, {"is": "PraisedFor"}),
    "a field of a newer version": (2, {"weight": 2}),
    "a field of a newer version in the proposal": (1, {"urgency": "high"}),
    "a plan of a newer version": (
        1,
        {"plan": {"is": "Plan", "title": "Move web-1", "steps": [], "colour": "red"}},
    ),
    "a title of a newer version": (
        1,
        {"plan": {"is": "Plan", "title": {"is": "Chorus", "of": 3}, "steps": []}},
    ),
    "a title that is a message": (
        1,
        {"plan": {"is": "Plan", "title": codec.data(words("Move {vm}", vm="web-1")), "x": 1}},
    ),
    "a risk of a newer version": (
        1,
        {"plan": {"is": "Plan", "title": "Move web-1", "steps": [], "risk": "cosmic"}},
    ),
    "no event at all": (2, {"is": "Origin"}),
}


@pytest.mark.parametrize("what", NEWER)
def test_what_a_newer_version_wrote_is_shown_and_left_alone(
    store: SqlStore, url: str, what: str
) -> None:
    operation = store.propose(proposal())
    store.append(operation, VotedFor(later(1), "UAPP", operation.plan.digest))
    store.propose(proposal("request-2"))
    position, values = NEWER[what]
    change_event(url, position, **values)
    odd, other = store.operation("op-1"), store.operation("op-2")
    assert odd.unreadable
    assert not other.unreadable
    assert (odd.state, odd.version, odd.origin.by) == (State.PROPOSED, 2, "UENG")
    wanted = (
        "An operation of another version" if what == "a title of a newer version" else "Move web-1"
    )
    assert str(odd.plan.title).startswith(wanted)
    assert [each.id for each in store.operations()] == ["op-2", "op-1"]
    assert [type(each) is UnknownEvent for each in store.events("op-1")] == [
        place == position for place in (1, 2)
    ]
    with pytest.raises(IllegalEventError, match="left alone"):
        store.append(odd, Withdrawn(later(2), "UENG"))
    assert store.append(other, Withdrawn(later(2), "UENG")).state is State.WITHDRAWN
    assert store.broken_link() == ""


def test_a_request_that_cannot_be_read_stops_no_other(store: SqlStore, url: str) -> None:
    store.accept(request("one"))
    store.accept(request("two"))
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        strange = json.dumps({"is": "Request", "key": "one", "mood": "good"})
        connection.execute(
            sa.update(models.requests).where(models.requests.c.key == "one").values(data=strange)
        )
    engine.dispose()
    assert [each.key for each in store.take_over()] == ["two"]


def test_when_a_bot_was_last_at_work_is_kept(store: SqlStore) -> None:
    assert store.last_alive() is None
    store.mark_alive()
    store.mark_alive()
    assert store.last_alive() == START


def test_a_plan_with_whole_numbers_keeps_its_digest(store: SqlStore) -> None:
    """JSON knows one kind of number; 9 must not come back as 9.0, or votes on the plan would be refused."""
    event = proposal(plan=replace(planned(), prediction=replace(planned().prediction, seconds=9)))
    assert (
        store.propose(event).plan.digest == store.operation("op-1").plan.digest == event.plan.digest
    )
