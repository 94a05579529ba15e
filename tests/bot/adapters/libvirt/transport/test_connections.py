"""Connections that hang, break and come back, and threads that are lost to them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import pytest

from bot.adapters.libvirt.transport import connections, shared_threads
from bot.adapters.libvirt.transport.connections import HostConnection, Wires, quiet_ssh
from bot.adapters.libvirt.transport.shared_threads import SharedThreads
from bot.adapters.workers import Workers
from bot.domain.errors import HostUnreachableError
from bot.testing import TickingClock
from tests.waiting import PATIENCE, until


@pytest.fixture
def mute() -> Iterator[str]:
    """The URI of a daemon that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"qemu+tcp://127.0.0.1:{server.getsockname()[1]}/system"


def line(uri: str, deadline: float = PATIENCE, threads: int = 2) -> HostConnection:
    return HostConnection("host-a", uri, clock=TickingClock(), deadline=deadline, threads=threads)


def test_an_answer_comes_back() -> None:
    asked = line("test:///default")
    assert asked.ask(lambda connection: connection.getType()) == "TEST"
    assert asked.is_connected
    asked.close()
    assert not asked.is_connected


def test_one_connection_serves_all_questions_of_a_thread() -> None:
    asked = line("test:///default", threads=1)
    assert len({asked.ask(id) for _ in range(5)}) == 1
    asked.close()


def test_no_connection_is_ever_used_by_two_threads_at_once() -> None:
    asked, meeting = line("test:///default", threads=3), threading.Barrier(3)
    used: list[set[int]] = []

    def question(connection: object) -> None:
        used[-1].add(id(connection))
        meeting.wait(PATIENCE)

    for _ in range(4):
        used.append(set())
        for sent in [asked.send(question) for _ in range(3)]:
            sent.wait(time.monotonic() + PATIENCE)
    assert [len(each) for each in used] == [3] * 4
    assert len(set.union(*used)) == 3
    asked.close()
    assert not asked.is_connected


@pytest.fixture
def shared() -> Iterator[Callable[..., HostConnection]]:
    """Makes kinds of questions that share the connections to one host."""
    wires, made = Wires("host-a", "test:///default", SharedThreads("test")), list[HostConnection]()

    def kind(**how: Any) -> HostConnection:
        made.append(
            HostConnection(
                "host-a", "", clock=TickingClock(), deadline=PATIENCE, wires=wires, **how
            )
        )
        return made[-1]

    yield kind
    for each in made:
        each.close()
    assert not wires.is_connected


def test_kinds_of_questions_share_a_connection_that_answers(
    shared: Callable[..., HostConnection],
) -> None:
    kinds = [shared(), shared(), shared(threads=4)]
    assert len({each.ask(id) for _ in range(5) for each in kinds}) == 1


def test_a_kind_that_hangs_delays_no_other_and_holds_one_connection(
    shared: Callable[..., HostConnection],
) -> None:
    slow, quick, release = shared(), shared(), threading.Event()
    held = slow.send(lambda connection: (id(connection), release.wait(PATIENCE)))
    behind = slow.send(id)
    others = {quick.ask(id) for _ in range(3)}
    assert len(others) == 1
    assert not behind.has_answer(time.monotonic())
    release.set()
    first, _ = held.wait(time.monotonic() + PATIENCE)
    assert first not in others
    assert behind.wait(time.monotonic() + PATIENCE) in {first, *others}


def test_a_second_connection_is_not_used_while_the_first_answers_soon(
    shared: Callable[..., HostConnection],
) -> None:
    """Two questions meet at each sweep: it would never be unused for long enough to be closed."""
    slow, quick, calm = shared(), shared(), shared(patience=PATIENCE)
    first, release = slow.ask(id), threading.Event()
    held = slow.send(lambda _: release.wait(PATIENCE))
    assert quick.ask(id) != first, "while the first is held there is a second one"
    release.set()
    held.wait(time.monotonic() + PATIENCE)
    met, over = threading.Event(), threading.Event()

    def hold(_: object) -> bool:
        met.set()
        return over.wait(PATIENCE)

    slow.send(hold)
    assert met.wait(PATIENCE)
    waits = calm.send(id)
    assert not waits.has_answer(time.monotonic())
    over.set()
    assert waits.wait(time.monotonic() + PATIENCE) == first


def test_while_the_first_connection_is_opening_no_second_is_tried(
    shared: Callable[..., HostConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ssh when all hosts come back at once; it may take longer than a question has patience."""
    tries: list[int] = []
    release, begun = threading.Event(), threading.Event()
    how = connections.open_connection

    def slowly(uri: str, *, read_only: bool = False) -> object:
        tries.append(len(tries))
        begun.set()
        assert release.wait(PATIENCE)
        return how(uri, read_only=read_only)

    monkeypatch.setattr(connections, "open_connection", slowly)
    monkeypatch.setattr(connections, "_OPENING", PATIENCE)
    kinds = [shared(patience=0.01), shared(patience=0.01)]
    looks = [threading.Event() for _ in range(3)]
    wires = kinds[0]._wires
    look_again = wires._look_again

    def looked() -> None:
        look_again()
        next(each for each in [*looks, threading.Event()] if not each.is_set()).set()

    monkeypatch.setattr(wires, "_look_again", looked)
    sent = [each.send(id) for each in kinds]
    assert begun.wait(PATIENCE)
    assert all(each.wait(PATIENCE) for each in looks), "it was looked whether another is needed"
    assert tries == [0]
    release.set()
    assert len({each.wait(time.monotonic() + PATIENCE) for each in sent}) == 1


def test_a_connection_that_has_been_opening_for_long_is_not_waited_for(
    shared: Callable[..., HostConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that drops everything holds it for minutes; meanwhile the host may be back."""
    release, first = threading.Event(), threading.Event()
    how = connections.open_connection

    def hang_once(uri: str, *, read_only: bool = False) -> object:
        if not first.is_set():
            first.set()
            release.wait(PATIENCE)
        return how(uri, read_only=read_only)

    monkeypatch.setattr(connections, "open_connection", hang_once)
    monkeypatch.setattr(connections, "_OPENING", 0.05)
    hangs = shared().send(id)
    assert first.wait(PATIENCE)
    assert shared(patience=0.01).ask(id)
    release.set()
    assert hangs.wait(time.monotonic() + PATIENCE)


def test_at_a_host_that_is_silent_no_third_connection_is_tried(
    shared: Callable[..., HostConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 hosts behind a switch that drops everything, each ssh more is 300 processes more."""
    tries: list[int] = []
    release = threading.Event()
    how = connections.open_connection

    def open_first_only(uri: str, *, read_only: bool = False) -> object:
        tries.append(len(tries))
        if len(tries) > 1:
            release.wait(PATIENCE)
        return how(uri, read_only=read_only)

    monkeypatch.setattr(connections, "open_connection", open_first_only)
    monkeypatch.setattr(connections, "_OPENING", 0.01)
    kinds = [shared(patience=0.01) for _ in range(4)]
    looks: list[int] = []
    wires = kinds[0]._wires
    look_again = wires._look_again

    def looked() -> None:
        look_again()
        looks.append(len(tries))

    monkeypatch.setattr(wires, "_look_again", looked)
    hangs = kinds[0].send(lambda _: release.wait(PATIENCE))
    others = [each.send(id) for each in kinds[1:]]
    assert until(lambda: looks.count(2) > 5 or None, "it is looked again while two hang")
    assert tries == [0, 1]
    monkeypatch.setattr(kinds[3], "_deadline", 0.01)
    with pytest.raises(HostUnreachableError, match="has not answered since"):
        kinds[3].ask(id)
    release.set()
    assert hangs.wait(time.monotonic() + PATIENCE)
    assert all(each.wait(time.monotonic() + PATIENCE) for each in others)


def test_a_connection_is_closed_also_when_what_comes_before_fails() -> None:
    """As events' end on a broken connection does; its ssh would be left for ever."""
    seen: list[Any] = []

    def fail(connection: Any) -> None:
        seen.append(connection)
        raise libvirt.libvirtError("the connection broke")

    asked = HostConnection(
        "host-a", "test:///default", clock=TickingClock(), deadline=PATIENCE, closing=fail
    )
    asked.ask(id)
    asked.close()
    assert until(lambda: (seen and seen[0]._o is None) or None, "it is closed")


def test_what_is_closed_first_leaves_the_connection_to_the_others(
    shared: Callable[..., HostConnection],
) -> None:
    left, stays = shared(), shared()
    before = left.ask(id)
    left.close()
    assert stays.ask(id) == before
    with pytest.raises(HostUnreachableError):
        left.ask(id)


def test_a_connection_that_was_needed_for_a_moment_is_closed_again(
    shared: Callable[..., HostConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_UNUSED", 0.05)
    slow, quick, release = shared(), shared(), threading.Event()
    held = slow.send(lambda _: release.wait(PATIENCE))
    second = quick.ask(lambda connection: connection)
    release.set()
    held.wait(time.monotonic() + PATIENCE)
    assert until(lambda: second._o is None or None, "the second connection is closed")
    assert quick.is_connected


def test_hosts_that_hang_take_no_place_of_the_others() -> None:
    threads, release = SharedThreads("test", size=4, grace=0.05), threading.Event()

    def host(name: str) -> HostConnection:
        return HostConnection(
            name,
            "",
            clock=TickingClock(),
            deadline=PATIENCE,
            wires=Wires(name, "test:///default", threads),
        )

    silent = [host(f"silent-{number}") for number in range(12)]
    held = [each.send(lambda _: release.wait(PATIENCE)) for each in silent]
    well = [host(f"well-{number}") for number in range(12)]
    assert [each.ask(lambda connection: connection.getType()) for each in well] == ["TEST"] * 12
    assert not any(each.has_answer(time.monotonic()) for each in held)
    release.set()
    assert all(each.wait(time.monotonic() + PATIENCE) for each in held)
    for each in (*silent, *well):
        each.close()


def test_no_more_threads_work_at_once_than_there_may_be() -> None:
    threads, lock = SharedThreads("test", size=3, grace=PATIENCE), threading.Lock()
    at_once, most, done = 0, 0, threading.Semaphore(0)

    def call() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.002)
        with lock:
            at_once -= 1
        done.release()

    for _ in range(30):
        threads.put(call)
    assert all(done.acquire(timeout=PATIENCE) for _ in range(30))
    assert most <= 3


def test_threads_that_nobody_needs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_threads, "_UNUSED", 0.01)
    threads, done = SharedThreads("unneeded"), threading.Semaphore(0)

    def mine() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("unneeded-")]

    for _ in range(2):  # they come back when they are needed
        threads.later(0.01, done.release)
        threads.put(done.release)
        assert all(done.acquire(timeout=PATIENCE) for _ in range(2))
        assert until(lambda: mine() == [] or None, "all threads have ended")


def test_a_refusal_comes_back_as_it_is() -> None:
    asked = line("test:///default")
    with pytest.raises(libvirt.libvirtError) as caught:
        asked.ask(lambda connection: connection.lookupByName("nobody"))
    assert caught.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
    assert asked.is_connected
    asked.close()


def test_no_connection_is_told_and_not_tried_again_at_once() -> None:
    asked = line("qemu+unix:///system?socket=/nonexistent/libvirt-sock")
    with pytest.raises(
        HostUnreachableError, match="host-a cannot be reached: Failed to connect socket"
    ) as first:
        asked.ask(lambda connection: connection.getType())
    assert first.value.advice
    with pytest.raises(HostUnreachableError, match="Failed to connect socket") as second:
        asked.ask(lambda connection: connection.getType())
    assert second.value.__cause__ is None, "the second answer came without trying"
    assert not asked.is_connected
    asked.close()


def test_a_host_that_never_answers_costs_a_deadline_and_then_nothing(mute: str) -> None:
    asked = line(mute, deadline=0.2, threads=2)
    with pytest.raises(HostUnreachableError, match=r"did not answer within 200 ms"):
        asked.ask(lambda connection: connection.getType())
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with pytest.raises(HostUnreachableError) as caught:
            asked.ask(lambda connection: connection.getType())
        if "has not answered since" in str(caught.value.text):
            break
    assert "has not answered since 2026-01-05 0" in str(caught.value.text)
    asked.close()


def test_a_question_that_nobody_waits_for_is_not_put() -> None:
    asked = line("test:///default", deadline=0.2, threads=1)
    release, put = threading.Event(), []
    held = asked.send(lambda _: release.wait(PATIENCE))
    with pytest.raises(HostUnreachableError):
        asked.ask(lambda _: put.append("late"))
    release.set()
    assert held.wait(time.monotonic() + PATIENCE)
    assert asked.ask(lambda _: "now", deadline=PATIENCE) == "now"
    assert put == []
    asked.close()


def test_each_new_connection_is_made_ready() -> None:
    ready: list[object] = []
    left: list[object] = []
    asked = HostConnection("host-a", "test:///default", clock=TickingClock(), deadline=PATIENCE,
                 opened=ready.append, closing=left.append)  # fmt: skip
    assert asked.ask(lambda connection: connection is ready[0])
    asked.close()
    assert left == ready
    assert len(ready) == 1


def test_questions_over_ssh_never_ask_back() -> None:
    assert quiet_ssh("qemu+ssh://root@host-b/system") == "qemu+ssh://root@host-b/system?no_tty=1"
    keyed = quiet_ssh("qemu+ssh://host-b/system?keyfile=/etc/drover/key")
    assert keyed == "qemu+ssh://host-b/system?keyfile=/etc/drover/key&no_tty=1"
    for same in (
        "qemu+ssh://host-b/system?no_tty=0",
        "qemu:///system?socket=/run/x",
        "qemu+tls://host-b/system",
    ):
        assert quiet_ssh(same) == same


def test_workers_answer_and_raise() -> None:
    workers = Workers("test", 2)
    assert workers.submit(lambda _: 42).result(PATIENCE) == 42
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda _: 1 // 0).result(PATIENCE)
    assert workers.longest_call(0) is None
    assert workers.end(lambda _: None, PATIENCE)


def test_workers_make_a_last_call_each_and_a_stuck_one_is_not_waited_for() -> None:
    workers, release = Workers("test", 2), threading.Event()
    ended: list[int] = []
    free = [workers.submit(lambda number: number) for _ in range(2)]
    assert {each.result(PATIENCE) for each in free} <= {0, 1}
    stuck = workers.submit(lambda _: release.wait(PATIENCE))
    assert not workers.end(ended.append, 0.1)
    release.set()
    assert stuck.result(PATIENCE)
    assert workers.end(ended.append, PATIENCE)
    assert sorted(ended) == list(range(len(ended)))
    assert ended


def test_workers_are_stuck_only_when_all_are() -> None:
    workers, release = Workers("test", 2), threading.Event()
    held = [workers.submit(lambda _: release.wait(PATIENCE))]
    assert workers.longest_call(0) is None
    held.append(workers.submit(lambda _: release.wait(PATIENCE)))
    assert until(lambda: workers.longest_call(0), "both are stuck")
    assert workers.longest_call(PATIENCE) is None
    release.set()
    assert all(each.result(PATIENCE) for each in held)
    assert workers.submit(lambda _: "again").result(PATIENCE) == "again"
    assert workers.end(lambda _: None, PATIENCE)
