"""Slack is out of reach: a drain that two people approve in the terminal ends on real hosts, and all is told once afterwards."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from bot.adapters.terminal import client
from lab import Guest, Lab
from lab.slack import Workspace
from tests.e2e.play import Play, play
from tests.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be several people"),
]

# Another user cannot read the tests' own Python
PYTHON = "/usr/bin/python3"
CALL = """
import json, socket, sys
link = socket.socket(socket.AF_UNIX); link.settimeout(60); link.connect(sys.argv[1])
call = {"v": 1, "method": "do", "params": {"line": sys.argv[2]}}
link.sendall(json.dumps(call).encode() + bytes([10]))
print([line for line in link.makefile()][-1])
"""
PEOPLE = {
    "ana": {"slack": "U0ANA", "users": ["root"]},
    "bruno": {"slack": "U0BRUNO", "users": ["nobody"]},
    "carla": {"slack": "U0CARLA", "users": ["daemon"]},
}
POLICY = {
    "rules": [{"name": "two", "votes": 2, "approvers": ["approver"], "expires": "1h"}],
}


class Wire:
    """A way to the workspace that can be cut: nobody listens until it is mended."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._to = (parts.hostname or "127.0.0.1", parts.port or 80)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}{parts.path}"
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def mend(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._serve, self._listener)
        return self

    def cut(self) -> None:
        if self._listener is None:
            return
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        for thread in self._threads:
            thread.join(60)

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._start(self._carry, near)

    def _carry(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._to) as far:
            self._open += [near, far]
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()
            self._open = [each for each in self._open if each not in (near, far)]

    def _start(self, target: Callable[[socket.socket], None], link: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=(link,), daemon=True))
        self._threads[-1].start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Terminals:
    """Three people at terminals of the bot's machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def types(self, who: str, line: str) -> dict[str, Any]:
        """What the bot answers to a person, by the user that the kernel sees."""
        if who == "ana":
            return client.result(self.path, "do", {"line": line})
        user = PEOPLE[who]["users"][0]
        done = subprocess.run(
            [PYTHON, "-I", "-c", CALL, str(self.path), line],
            user=user,
            group="nogroup",
            extra_groups=[],
            capture_output=True,
            text=True,
            check=True,
            timeout=90,
        )
        found: dict[str, Any] = json.loads(done.stdout)["result"]
        return found


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="drover-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def staged(
    lab: Lab, workspace: Workspace, directory: Path, folder: Path, wire: Wire
) -> tuple[Play, Terminals]:
    path = folder / "s"
    made = play(
        lab,
        workspace,
        directory,
        plugins={"enabled": ["migrate", "balance", "tests.e2e.jumping"]},
        policy=POLICY,
        people=PEOPLE,
        terminal={"socket": str(path), "group": "nogroup"},
        slack={
            "team": "T0LAB",
            "ops_channel": "C0OPS",
            "approvals_channel": "C0APPROVALS",
            "api_url": wire.address,
            "requests_per_minute": 600,
            "pace": workspace.pace or 1000.0,
        },
    )
    return made, Terminals(path)


def drained_by_two(here: Terminals, host: str) -> str:
    """A drain that ana asks for and bruno and carla approve; its id when it is done."""
    found = here.types("ana", f"host drain {host}")
    operation = found["operation"]
    name, digest = operation["id"], operation["plan_hash"]
    assert here.types("ana", f"approve {name} {digest}")["outcome"] == "refused"
    for who in ("bruno", "carla"):
        assert here.types(who, f"approve {name} {digest}")["outcome"] == "done"
    end = client.result(here.path, "follow", {"operation": name, "timeout": 240})
    assert end["outcome"] == "done", end
    return str(name)


def told_once(stage: Play, name: str) -> None:
    """One message with the end; in its thread two votes, then the end; one word to who asked."""
    end = stage.message("#approvals", name, "Done", timeout=120)
    assert len([each for each in stage.operations_shown() if name in each.plain()]) == 1

    def thread() -> list[str]:
        found = stage.workspace.messages("#approvals", thread=end.ts)
        return [each.plain() for each in found if each.ts != end.ts]

    def votes_then_end() -> bool:
        kinds = [
            "vote" if "vote" in each else "end"
            for each in thread()
            if "vote" in each or "Done" in each
        ]
        return kinds == ["vote", "vote", "end"]

    until(votes_then_end, lambda: str(thread()), 120)
    until(lambda: sum(name in each.plain() and "Done" in each.plain()
                      for each in stage.workspace.messages("@ana")) == 1, "she is told once", 120)  # fmt: skip


def ticks(directory: Path) -> None:
    """Wait until the bot has done twice what it does every few seconds."""
    (file,) = directory.glob("*.health")
    for _ in range(2):
        before = file.read_text(encoding="utf-8")
        until(lambda: file.read_text(encoding="utf-8") != before, "the bot ticks")  # noqa: B023


@pytest.mark.parametrize(
    "when", ["from the start", "in the middle", "back after an hour", "refusing"]
)
def test_a_drain_approved_in_the_terminal_ends_and_is_told_once_when_slack_is_back(
    lab: Lab, workspace: Workspace, tmp_path: Path, folder: Path, mover: Guest, *, when: str
) -> None:
    wire = Wire(workspace.web_api)
    stage, here = staged(lab, workspace, tmp_path, folder, wire)
    (home,) = lab.where("mover")
    if when != "from the start":
        wire.mend()
    stage.bot.start()
    try:
        if when in {"in the middle", "back after an hour"}:
            workspace.wait_connected()
            wire.cut()
            workspace.fault.disconnect(abrupt=True)
        elif when == "refusing":
            workspace.wait_connected()
            for method in ("chat.postMessage", "chat.update", "conversations.history"):
                workspace.fault.rate_limit(method, times=100_000, retry_after=600)
        name = drained_by_two(here, home)
        assert lab.where("mover") != [home]
        assert not stage.operations_shown()
        if when == "refusing":
            # The bot believes a Retry-After of ten minutes; the next process has not heard it
            workspace.fault._api.clear()
            stage.bot.stop()
            stage.bot.start()
        else:
            if when == "back after an hour":
                stage.bot.log.with_name("jump").write_text("3600", encoding="utf-8")
                ticks(tmp_path)
            wire.mend()
        told_once(stage, name)
        undrain = here.types("ana", f"host undrain {home}")["operation"]
        for who in ("bruno", "carla"):
            here.types(who, f"approve {undrain['id']} {undrain['plan_hash']}")
        follow = {"operation": undrain["id"], "timeout": 240}
        assert client.result(here.path, "follow", follow)["outcome"] == "done"
    finally:
        stage.bot.stop()
        wire.cut()
