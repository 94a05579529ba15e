"""Drover behind a real PgBouncer: in transaction mode each transaction has another session of the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from bot.adapters.durable import DurableWork
from bot.adapters.sql.series import SqlSeries
from bot.adapters.sql.store import SqlStore
from bot.domain.errors import ConflictError, StoreError
from bot.domain.operation import Noted, open_operation
from bot.testing.clock import TickingClock
from tests import postgres
from tests.operations import CODEC, later, proposal, request

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not postgres.BOUNCER.exists(),
        reason="PgBouncer is not installed: apt-get install pgbouncer",
    ),
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "-"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["session", "transaction"])
def url(request: pytest.FixtureRequest, server: postgres.Postgres) -> Iterator[str]:
    size = 3 if request.param == "transaction" else 40
    with postgres.bouncing(server, request.param, size=size) as port:
        yield server.database().replace(f":{server.port}/", f":{port}/")


def test_many_threads_store_as_without_it(url: str) -> None:
    store = SqlStore(url, CODEC, clock=TickingClock())
    series = SqlSeries(url)
    operation = store.propose(proposal())

    def work(number: int) -> None:
        for turn in range(8):
            assert store.accept(request(f"{number}-{turn}"))
            while True:
                try:
                    store.append(
                        store.operation(operation.id), Noted(later(1), "drover", f"{number}-{turn}")
                    )
                except ConflictError:
                    continue
                break
            store.mark_handled(f"{number}-{turn}")
            series.put_note(f"{number}-{turn}", "text", 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store.operation(operation.id).notes) == 64
    assert store.pending_requests() == ()
    assert store.broken_link() == ""
    series.close()
    store.close()


def test_somebody_elses_lock_is_waited_for_no_longer_than_is_set(url: str) -> None:
    store = SqlStore(url, CODEC, clock=TickingClock(), patience=0.3)
    with psycopg.connect(url, prepare_threshold=None) as other:
        other.execute("SELECT * FROM head FOR UPDATE")
        with pytest.raises(StoreError, match=r"check `pg_locks`"):
            store.propose(proposal())
        other.rollback()
    assert store.propose(proposal()).id == "op-1"
    with psycopg.connect(url, prepare_threshold=None) as other:  # and the limits are nobody else's
        assert other.execute("SHOW lock_timeout").fetchone() == ("0",)
    store.close()


def test_operations_are_performed_as_without_it(url: str) -> None:
    performed, changed = [], threading.Condition()

    def perform(operation_id: str) -> None:
        with changed:
            performed.append(operation_id)
            changed.notify_all()

    store = SqlStore(url, CODEC, clock=TickingClock())
    for replica in ("one", "two"):  # the second finds the tables made
        work = DurableWork(
            perform, database_url=url, executor_id=replica, replicas=store, poll=0.05
        )
        work.start()
        for number in range(5):
            work.enqueue(
                open_operation(
                    f"op-{replica}{number}".replace("one", "1").replace("two", "2"), proposal()
                )
            )
        with changed:
            count = 5 if replica == "one" else 10
            assert changed.wait_for(lambda: len(performed) >= count, 60), performed  # noqa: B023 - waited for here
        work.stop(wait=5)
    assert len(set(performed)) == len(performed) == 10
    store.close()


@pytest.mark.parametrize(("change", "advice"), [
    (("/t", "/none_t"), "as the README shows|Check that PostgreSQL runs"),
    (("drover@", "stranger@"), "Check"),
])  # fmt: skip
def test_what_the_server_refuses_at_the_connection_is_told(
    server: postgres.Postgres, change: tuple[str, str], advice: str
) -> None:
    with pytest.raises(StoreError, match=advice) as caught:
        SqlStore(server.database().replace(*change), CODEC, clock=TickingClock())
    assert "Another program" not in str(caught.value)


def test_a_dropped_table_of_the_queue_is_made_anew(server: postgres.Postgres) -> None:
    url, performed, changed = server.database(), [], threading.Condition()

    def perform(operation_id: str) -> None:
        with changed:
            performed.append(operation_id)
            changed.notify_all()

    first = DurableWork(perform, database_url=url, executor_id="one")
    first.start()
    first.stop(wait=0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE dbos.workflow_status CASCADE")
    work = DurableWork(perform, database_url=url, executor_id="one", poll=0.05)
    work.start()
    work.enqueue(open_operation("op-1", proposal()))
    with changed:
        assert changed.wait_for(lambda: performed == ["op-1"], 60)
    work.stop(wait=5)
    with psycopg.connect(url) as connection:
        kept = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'dbos_damaged_%'"
        ).fetchall()
    assert len(kept) == 1
