"""Several replicas: silence judged by one's own stopwatch, and a killed replica's operations taken over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.adapters.replicas import Pulse, Silence
from bot.domain.errors import FencedError, StoreError
from tests import postgres
from tests.waiting import until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]


def test_a_replica_whose_count_stands_still_is_silent_after_a_while() -> None:
    silence = Silence(after=15)
    for now in (0, 3, 6, 9, 12):
        assert silence.of({"a": now, "b": 1}, now) == ()
    assert silence.of({"a": 14, "b": 1}, now=14) == ()
    assert silence.of({"a": 14, "b": 1}, now=15) == ("b",)
    for now in (18, 21, 24, 27):
        assert silence.of({"a": 14, "b": 1}, now) == ("b",)
    assert silence.of({"a": 14, "b": 1}, now=29) == ("a", "b")


def test_who_could_not_look_for_long_calls_nobody_silent() -> None:
    """The database was gone for everybody, or this process was frozen: both sides would else fence each other off."""
    silence = Silence(after=15)
    for now in (0, 3, 6):
        assert silence.of({"b": now}, now) == ()
    assert silence.of({"b": 6}, now=40) == ()
    assert silence.of({"b": 6}, now=43) == ()
    assert [silence.of({"b": 6}, now) for now in (46, 49, 52, 55)] == [(), (), (), ("b",)]


def test_one_more_beat_ends_the_silence_even_when_the_count_began_anew() -> None:
    silence = Silence(after=15)
    for now in (0, 5, 10):
        silence.of({"b": 900}, now)
    assert silence.of({"b": 900}, now=15) == ("b",)
    assert silence.of({"b": 1}, now=16) == ()


def test_nobody_is_silent_at_first_sight_however_old_the_count() -> None:
    assert Silence(after=15).of({"long-dead": 7}, now=1e9) == ()


def test_who_is_forgotten_is_a_stranger_again() -> None:
    silence = Silence(after=15)
    silence.of({"b": 1}, now=0)
    assert silence.of({}, now=20) == ()
    assert silence.of({"b": 1}, now=21) == ()


class Counted:
    """Heartbeats in memory; the database may fail."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.fenced: list[str] = []
        self.me = ""
        self.failing = False

    def enter(self, name: str) -> None:
        self.me = name
        self.counts[name] = self.counts.get(name, 0) + 1

    def beat(self) -> None:
        if self.failing:
            self.failing = False
            raise StoreError("The database failed.")
        if self.me in self.fenced:
            raise FencedError("Taken for dead.")
        self.counts[self.me] += 1

    def fence(self, name: str, beats: int) -> bool:
        if self.counts[name] != beats:
            return False
        self.fenced.append(name)
        return True

    def beats(self) -> Mapping[str, int]:
        return dict(self.counts)

    def forget(self, name: str) -> None:
        del self.counts[name]


@pytest.fixture
def pulsing() -> Iterator[Callable[[Pulse], Pulse]]:
    started: list[Pulse] = []

    def start(pulse: Pulse) -> Pulse:
        pulse.start()
        started.append(pulse)
        return pulse

    yield start
    for pulse in started:
        pulse.stop()


def test_a_silent_replica_is_taken_over_and_forgotten_and_the_living_are_not(
    pulsing: Callable[[Pulse], Pulse],
) -> None:
    store, taken = Counted(), threading.Event()
    names: list[str] = []

    def take_over(name: str) -> None:
        names.append(name)
        taken.set()

    store.counts["dead"] = 40
    pulsing(Pulse("me", store, take_over, every=0.01, dead_after=0.5))
    assert taken.wait(60)
    assert names == ["dead"]
    assert store.fenced == ["dead"]
    until(lambda: set(store.counts) == {"me"})


def test_a_replica_that_is_fenced_off_says_so_and_beats_no_more(
    pulsing: Callable[[Pulse], Pulse],
) -> None:
    store, told = Counted(), threading.Event()
    with capture_logs() as logs:
        pulsing(
            Pulse("me", store, lambda name: None, every=0.01, dead_after=60, on_fenced=told.set)
        )
        store.fenced.append("me")
        assert told.wait(60)
    assert "fenced off" in {entry["event"] for entry in logs}


def test_a_failing_database_or_take_over_does_not_stop_the_heart(
    pulsing: Callable[[Pulse], Pulse],
) -> None:
    store = Counted()
    store.counts["dead"] = 1

    def take_over(name: str) -> None:
        raise ValueError(name)

    with capture_logs() as logs:
        pulsing(Pulse("me", store, take_over, every=0.01, dead_after=0.5))
        store.failing = True
        until(lambda: {"no heartbeat", "heartbeat failed"} <= {entry["event"] for entry in logs})
        beats = store.counts["me"]
        until(lambda: store.counts["me"] > beats)


REPLICA = """
import os, sys, threading, time
from pathlib import Path
from bot.adapters.durable import DurableWork
from bot.adapters.sql.store import SqlStore
from bot.testing.clock import TickingClock
from tests.bot.adapters.test_durable import operation
from tests.operations import CODEC

url, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])

def tell(line):
    with (folder / "told").open("a") as told:
        told.write(line + "\\n")

def perform(operation_id):
    tell(f"{name} began {operation_id}")
    while not (folder / "go-on").exists():
        time.sleep(0.02)
    tell(f"{name} ended {operation_id}")

store = SqlStore(url, CODEC, clock=TickingClock())
def fenced():
    tell(f"{name} was fenced off")
    os._exit(3)

work = DurableWork(
    perform, database_url=url, executor_id=name, replicas=store, poll=0.1, beat_every=0.3, dead_after=2,
    on_fenced=fenced,
)
work.start()
tell(f"{name} started")
for number in sys.argv[4:]:
    work.enqueue(operation(int(number), f"host-{number}"))
sys.stdin.read()
left = work.stop()
store.close()
sys.exit(len(left))
"""


class Replicas:
    """Bot processes without chat, on one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str, *operations: int) -> None:
        words = [
            sys.executable,
            "-c",
            REPLICA,
            self._url,
            name,
            str(self._folder),
            *map(str, operations),
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.running[name] = subprocess.Popen(
            words, cwd=ROOT, env=env, stdin=subprocess.PIPE, text=True
        )
        self.told(f"{name} started")

    def told(self, line: str) -> list[str]:
        """What they have written, once ``line`` is among it."""
        until(lambda: line in self.lines(), lambda: f"“{line}” is told, only {self.lines()}")
        return self.lines()

    def count(self, word: str) -> int:
        """How many of the lines that they have written contain ``word``."""
        return sum(word in line for line in self.lines())

    def lines(self) -> list[str]:
        """What they have written."""
        told = self._folder / "told"
        return told.read_text().splitlines() if told.exists() else []

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def freeze(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> int:
        """Let it wake up, and wait until it ends by itself; its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGCONT)
        code = process.wait(timeout=60)
        process.communicate()
        return code

    def go_on(self) -> None:
        (self._folder / "go-on").touch()

    def end(self) -> dict[str, int]:
        """Ask each to stop; the number of operations each left undone."""
        for process in self.running.values():
            assert process.stdin is not None
            process.stdin.close()
        return {name: process.wait(timeout=60) for name, process in self.running.items()}


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


@pytest.fixture
def replicas(server: postgres.Postgres, tmp_path: Path) -> Iterator[Replicas]:
    made = Replicas(server.database(), tmp_path)
    yield made
    for name in tuple(made.running):
        made.kill(name)


def test_a_killed_replicas_operations_are_taken_over_once_each(replicas: Replicas) -> None:
    replicas.start("first", 1, 2)
    replicas.told("first began op-1")
    replicas.told("first began op-2")
    replicas.start("second")
    replicas.start("third")
    replicas.kill("first")
    # Whichever of the two living picks one up: twice begun in all, once by the dead.
    until(
        lambda: replicas.count("began") == 4,
        lambda: f"the living have begun both: {replicas.lines()}",
    )
    replicas.go_on()
    until(lambda: replicas.count("ended") >= 2, lambda: f"both have ended: {replicas.lines()}")
    assert replicas.end() == {"second": 0, "third": 0}
    lines = replicas.lines()
    for operation in ("op-1", "op-2"):
        assert sum(line.endswith(f"began {operation}") for line in lines) == 2
        assert sum(line.endswith(f"ended {operation}") for line in lines) == 1


def test_replicas_share_the_queue_and_perform_each_operation_once(replicas: Replicas) -> None:
    replicas.go_on()
    replicas.start("first", 1, 2, 3, 4)
    replicas.start("second", 1, 2, 3, 4, 5, 6)
    until(lambda: replicas.count("ended") >= 6, lambda: f"all have ended: {replicas.lines()}")
    assert replicas.end() == {"first": 0, "second": 0}
    ended = sorted(line.split()[-1] for line in replicas.lines() if "ended" in line)
    assert ended == [f"op-{n}" for n in range(1, 7)]


def test_a_frozen_replica_that_wakes_up_ends_and_leaves_its_work_to_its_successor(
    replicas: Replicas,
) -> None:
    replicas.start("first", 1)
    replicas.told("first began op-1")
    replicas.start("second")
    replicas.freeze("first")
    replicas.told("second began op-1")
    assert replicas.thaw("first") == 3
    replicas.go_on()
    replicas.told("second ended op-1")
    assert replicas.end() == {"second": 0}
    assert "first ended op-1" not in replicas.told("first was fenced off")
