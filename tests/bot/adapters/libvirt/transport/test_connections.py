"""Connections that hang, break and come back, and threads that are lost to them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import libvirt
import pytest

from bot.adapters.libvirt.transport.connections import HostConnection, quiet_ssh
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
    assert asked.connected
    asked.close()
    assert not asked.connected


def test_one_connection_serves_all_questions_of_a_thread() -> None:
    asked = line("test:///default", threads=1)
    assert len({asked.ask(id) for _ in range(5)}) == 1
    asked.close()


def test_no_connection_is_ever_used_by_two_threads() -> None:
    asked, meeting = line("test:///default", threads=3), threading.Barrier(3)
    used: set[tuple[int, int]] = set()

    def question(connection: object) -> None:
        used.add((id(connection), threading.get_ident()))
        meeting.wait(PATIENCE)

    for _ in range(4):
        for sent in [asked.send(question) for _ in range(3)]:
            sent.wait(time.monotonic() + PATIENCE)
    assert (
        len(used)
        == len({connection for connection, _ in used})
        == len({thread for _, thread in used})
        == 3
    )
    asked.close()
    assert not asked.connected


def test_a_refusal_comes_back_as_it_is() -> None:
    asked = line("test:///default")
    with pytest.raises(libvirt.libvirtError) as caught:
        asked.ask(lambda connection: connection.lookupByName("nobody"))
    assert caught.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
    assert asked.connected
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
    assert not asked.connected
    asked.close()


def test_a_host_that_never_answers_costs_a_deadline_and_then_nothing(mute: str) -> None:
    asked = line(mute, deadline=0.2, threads=2)
    for _ in range(2):
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
    assert workers.stuck(0) is None
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
    assert workers.stuck(0) is None
    held.append(workers.submit(lambda _: release.wait(PATIENCE)))
    assert until(lambda: workers.stuck(0), "both are stuck")
    assert workers.stuck(PATIENCE) is None
    release.set()
    assert all(each.result(PATIENCE) for each in held)
    assert workers.submit(lambda _: "again").result(PATIENCE) == "again"
    assert workers.end(lambda _: None, PATIENCE)
