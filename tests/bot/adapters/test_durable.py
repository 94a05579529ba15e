"""Durable work on DBOS: once each, one at a time per host, resumed after kill -9, quiet."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dbos import DBOS
from structlog.testing import capture_logs

from bot.adapters.durable import DurableWork
from bot.domain.errors import StoreError
from bot.domain.operation import Operation, open_operation
from bot.domain.steps import HoldHost, SetMaintenance
from bot.ports import Perform, Work
from tests.operations import move, planned, proposal
from tests.waiting import until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
Working = Callable[[Perform], DurableWork]


def operation(number: int, source: str = "host-a") -> Operation:
    return open_operation(f"op-{number}", proposal(plan=planned(move(source=source))))


class Done:
    """What was performed, to be waited for."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, operation_id: str) -> None:
        with self._changed:
            self.ids.append(operation_id)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ids) >= count, timeout=60), (
                f"only {self.ids}"
            )
            return list(self.ids)


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Working]:
    started: list[DurableWork] = []

    def start(perform: Perform) -> DurableWork:
        work = DurableWork(
            perform,
            database_url=f"sqlite:///{tmp_path}/work.sqlite",
            executor_id="replica-1",
            poll=0.05,
        )
        work.start()
        started.append(work)
        return work

    yield start
    for work in started:
        work.stop(wait=0)


def test_what_is_enqueued_is_performed_once(working: Working) -> None:
    done = Done()
    work: Work = working(done)
    for n in (1, 2, 1, 2, 1):
        work.enqueue(operation(n, f"host-{n}"))
    assert sorted(done.wait_for(2)) == ["op-1", "op-2"]
    work.enqueue(operation(1))  # performed already
    # The same partition: had op-1 been queued again, it would run before this
    work.enqueue(operation(3, "host-1"))
    assert Counter(done.wait_for(3)) == {"op-1": 1, "op-2": 1, "op-3": 1}


def test_when_nobody_is_at_work_the_queue_is_looked_at_seldom(
    tmp_path: Path,
) -> None:
    done = Done()
    work = DurableWork(
        done,
        database_url=f"sqlite:///{tmp_path}/work.sqlite",
        executor_id="replica-1",
        poll=0.05,
        rest=0.1,
        calm=0.2,
    )

    def pause() -> float:
        queue = DBOS.retrieve_queue("moves")
        assert queue is not None
        return queue.polling_interval_sec

    work.start()
    try:
        until(lambda: pause() == 0.1, lambda: repr(pause()))
        work.enqueue(operation(1))
        assert done.wait_for(1) == ["op-1"]
    finally:
        work.stop(wait=0)


def test_many_threads_enqueueing_one_operation_perform_it_once(working: Working) -> None:
    done = Done()
    work = working(done)
    threads = [threading.Thread(target=work.enqueue, args=(operation(1),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.wait_for(1)
    work.enqueue(operation(2))
    assert done.wait_for(2) == ["op-1", "op-2"]


def test_operations_of_one_host_wait_for_each_other_in_order(working: Working) -> None:
    done, under_way, most = Done(), [], []

    def perform(operation_id: str) -> None:
        under_way.append(operation_id)
        most.append(len(under_way))
        threading.Event().wait(0.02)  # long enough for a second one to begin, were it let
        under_way.remove(operation_id)
        done(operation_id)

    work = working(perform)
    for n in range(1, 6):
        work.enqueue(operation(n))
    assert done.wait_for(5) == [f"op-{n}" for n in range(1, 6)]
    assert max(most) == 1


def test_operations_of_different_hosts_run_side_by_side(working: Working) -> None:
    together = threading.Barrier(3)
    done = Done()

    def perform(operation_id: str) -> None:
        together.wait(timeout=60)  # passes only when all three are under way
        done(operation_id)

    work = working(perform)
    for n in range(1, 4):
        work.enqueue(operation(n, f"host-{n}"))
    assert sorted(done.wait_for(3)) == ["op-1", "op-2", "op-3"]


def test_the_failover_of_a_host_does_not_wait_behind_what_waits_for_that_host(
    working: Working,
) -> None:
    answers, done = threading.Event(), Done()

    def perform(operation_id: str) -> None:
        if operation_id == "op-1":
            assert answers.wait(60)  # a migration from a host that died
        done(operation_id)

    work = working(perform)
    work.enqueue(operation(1))
    failover = planned(HoldHost("host-a", on=True))
    work.enqueue(open_operation("op-2", proposal(plan=failover)))
    assert done.wait_for(1) == ["op-2"]
    answers.set()
    assert done.wait_for(2) == ["op-2", "op-1"]


def test_a_plan_without_hosts_is_performed_too(working: Working) -> None:
    class Nowhere(SetMaintenance):
        hosts = ()

    done = Done()
    work = working(done)
    work.enqueue(open_operation("op-1", proposal(plan=planned(Nowhere("host-a", on=True)))))
    assert done.wait_for(1) == ["op-1"]


def test_what_raises_is_logged_and_performed_anew_only_when_enqueued_again(
    working: Working,
) -> None:
    done, fail = Done(), [True]

    def perform(operation_id: str) -> None:
        done(operation_id)
        if operation_id == "op-1" and fail.pop():
            raise ValueError("unforeseen")

    with capture_logs() as logs:
        work = working(perform)
        work.enqueue(operation(1))
        work.enqueue(operation(2))
        # Op-2 waited for op-1: it was over, not tried for ever
        assert done.wait_for(2) == ["op-1", "op-2"]
    told = [entry for entry in logs if "performing failed" in entry["event"]]
    assert [entry["operation"] for entry in told] == ["op-1"]
    fail.append(False)
    work.enqueue(operation(1))
    assert done.wait_for(3)[2:] == ["op-1"]
    work.enqueue(operation(1))
    work.enqueue(operation(3))
    assert done.wait_for(4)[3:] == ["op-3"]


def test_stop_tells_what_is_left_and_the_next_start_takes_it_up(working: Working) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), Done()

    def slow(operation_id: str) -> None:
        begun.set()
        go_on.wait(60)

    with capture_logs() as logs:
        work = working(slow)
        work.enqueue(operation(1))
        assert begun.wait(60)
        assert work.stop(wait=0.01) == ("op-1",)
    assert any(entry["event"] == "left to the next start" for entry in logs)
    again = working(done)
    again.enqueue(operation(1))
    assert done.wait_for(1) == ["op-1"]
    go_on.set()


def test_what_is_performed_and_not_written_down_yet_is_left_too(
    tmp_path: Path, working: Working
) -> None:
    """Or its thread would try to write when the database may be gone, again and again."""
    done = Done()
    other = sqlite3.connect(tmp_path / "work.sqlite", isolation_level=None, check_same_thread=False)

    def perform(operation_id: str) -> None:
        other.execute("BEGIN IMMEDIATE")
        done(operation_id)

    with closing(other):
        work = working(perform)
        work.enqueue(operation(1))
        assert done.wait_for(1) == ["op-1"]
        assert work.stop(wait=0.2) == ("op-1",)


def test_what_the_engine_says_is_told_while_it_is_at_work_and_not_afterwards(
    working: Working,
) -> None:
    """A thread that waits for a lost database outlives it, and complains as long as it does."""
    work = working(Done())
    with capture_logs() as logs:
        logging.getLogger("dbos").warning("Database connection failed: at work")
        work.stop(wait=0)
        logging.getLogger("dbos").warning("Database connection failed: stopped")
    told = [each["event"] for each in logs if "Database connection failed" in each["event"]]
    assert told == ["Database connection failed: at work"]


def test_a_database_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    work = DurableWork(
        lambda _: None, database_url=f"sqlite:///{tmp_path}/none/work.sqlite", executor_id="r"
    )
    with pytest.raises(StoreError, match=r"No such file or directory.*Check that"):
        work.start()


def test_enqueueing_before_the_start_is_told(tmp_path: Path) -> None:
    work = DurableWork(
        lambda _: None, database_url=f"sqlite:///{tmp_path}/work.sqlite", executor_id="r"
    )
    with pytest.raises(StoreError, match="work queue"):
        work.enqueue(operation(1))


CHILD = """
import os, signal, sys, threading
from pathlib import Path
from bot.adapters.durable import DurableWork
from tests.bot.adapters.test_durable import operation

folder, role = Path(sys.argv[1]), sys.argv[2]
over = threading.Event()

def perform(operation_id):
    with (folder / "performed").open("a") as told:
        told.write(f"{role} {operation_id}\\n")
    if role == "first":
        os.kill(os.getpid(), signal.SIGKILL)
    if operation_id == "op-2":
        over.set()

work = DurableWork(perform, database_url=f"sqlite:///{folder}/work.sqlite", executor_id="replica-1", poll=0.05)
work.start()
if role == "first":
    work.enqueue(operation(1))
work.enqueue(operation(2))
if role == "second":
    work.enqueue(operation(1))
assert over.wait(3 if role == "third" else 30), "nothing resumed"
sys.exit(0 if work.stop() == () else 1)
"""


def child(folder: Path, role: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(folder), role],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


def test_what_kill_9_interrupted_is_resumed_exactly_once_and_quietly(tmp_path: Path) -> None:
    died = child(tmp_path, "first")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (tmp_path / "performed").read_text() == "first op-1\n"
    resumed = child(tmp_path, "second")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "performed").read_text().splitlines() == [
        "first op-1",
        "second op-1",
        "second op-2",
    ]
    assert (resumed.stdout, resumed.stderr) == ("", "")
    third = child(tmp_path, "third")  # nothing is left, and op-2 is not performed again
    assert "nothing resumed" in third.stderr
    assert len((tmp_path / "performed").read_text().splitlines()) == 3


class Harm:
    """Unpickled it makes a file: what any code could do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def in_database(tmp_path: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(tmp_path / "work.sqlite")) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize("serialization", ["py_pickle", None])
@pytest.mark.parametrize("column", ["inputs", "output", "error"])
def test_a_row_that_asks_to_be_unpickled_runs_no_code(
    working: Working, tmp_path: Path, serialization: str, column: str
) -> None:
    first = working(Done())
    first.enqueue(operation(1))
    first.stop(wait=5)
    harm = base64.b64encode(pickle.dumps(Harm(tmp_path / "ran"))).decode()
    harmful = f"UPDATE workflow_status SET serialization = ?, {column} = ?, status = 'PENDING'"  # noqa: S608
    in_database(tmp_path, harmful, serialization, harm)
    in_database(tmp_path, "UPDATE workflow_input SET inputs = ?", harm)
    in_database(
        tmp_path, "UPDATE operation_outputs SET serialization = ?, output = ?", serialization, harm
    )
    done = Done()
    work = working(done)
    work.enqueue(operation(2, "host-2"))  # and others go on
    assert "op-2" in done.wait_for(1)
    work.stop(wait=5)
    assert not (tmp_path / "ran").exists()


def test_the_serializer_itself_refuses_to_unpickle() -> None:
    from dbos import _serialization as dbos_serialization

    stored = base64.b64encode(pickle.dumps("harmless")).decode()
    for read in (dbos_serialization.deserialize_value, dbos_serialization.deserialize_args,
                 dbos_serialization.deserialize_exception):  # fmt: skip
        with pytest.raises(StoreError, match="pickled data"):
            read(stored, "py_pickle", dbos_serialization.DBOSPortableJSON)


TABLES = ("workflow_status", "operation_outputs", "queues", "dbos_migrations", "workflow_input")


@pytest.mark.parametrize("table", TABLES)
def test_a_dropped_table_of_the_queue_is_made_anew(
    working: Working, tmp_path: Path, table: str
) -> None:
    working(Done()).stop(wait=0)
    in_database(tmp_path, f"DROP TABLE {table}")
    done = Done()
    working(done).enqueue(operation(1))
    assert done.wait_for(1) == ["op-1"]
    assert list(tmp_path.glob("work.sqlite.damaged-*"))


@pytest.mark.parametrize(
    "content", [None, b"", b"garbage " * 5000, b"SQLite format 3\0" + b"\xff" * 8192]
)
def test_a_file_of_the_queue_that_is_gone_or_garbage_is_made_anew(
    working: Working, tmp_path: Path, content: bytes | None
) -> None:
    working(Done()).stop(wait=0)
    for each in tmp_path.glob("work.sqlite*"):
        each.unlink()
    if content is not None:
        (tmp_path / "work.sqlite").write_bytes(content)
    done = Done()
    working(done).enqueue(operation(1))
    assert done.wait_for(1) == ["op-1"]
    assert (tmp_path / "work.sqlite").stat().st_mode & 0o777 == 0o600
