"""systemd: what the bot tells it over a real socket, and the unit that comes along."""

from __future__ import annotations

import ctypes
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters import service_manager
from bot.adapters.slack.manifest import manifest
from bot.stage import POLICY, ROLES, BotProcess
from lab.slack import Workspace

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "config" / "systemd" / "drover.service"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket, as systemd makes one for a unit of Type=notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def heard(manager: socket.socket, wanted: str) -> list[str]:
    """What is told until and with ``wanted``."""
    told: list[str] = []
    while wanted not in told:
        told += manager.recv(4096).decode().splitlines()
    return told


def test_states_are_told_to_a_path_and_to_an_abstract_name(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    service_manager.notify("READY=1", "STATUS=up")
    assert manager.recv(4096) == b"READY=1\nSTATUS=up"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind(f"\0{tmp_path}")
        abstract.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path}")
        service_manager.notify(service_manager.ALIVE)
        assert abstract.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_without_a_manager_the_bot_goes_on(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    service_manager.notify(service_manager.READY)


@pytest.fixture
def running(manager: socket.socket, tmp_path: Path) -> Iterator[BotProcess]:
    """A bot that a service manager has started."""
    with Workspace(manifest=manifest(), pace=20.0) as workspace:
        config = {
            "replica": "drover-1",
            "slack": {
                "ops_channel": "C0OPS",
                "approvals_channel": "C0APPROVALS",
                "api_url": workspace.web_api,
            },
            "database": {"url": f"sqlite:///{tmp_path}/drover.sqlite"},
            "hosts": [{"name": "host-a", "uri": f"qemu:///system?socket={tmp_path}/none"}],
            "roles": ROLES,
            "policy": POLICY,
        }
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with BotProcess(workspace, tmp_path, config, environment) as started:
            yield started


@pytest.mark.process
def test_a_bot_says_that_it_is_ready_alive_and_stopping(
    manager: socket.socket, running: BotProcess
) -> None:
    assert set(heard(manager, "READY=1")) <= {"WATCHDOG=1", "READY=1"}
    heard(manager, "WATCHDOG=1")
    running.stop()
    heard(manager, "STOPPING=1")


@pytest.mark.process
def test_a_signal_that_the_system_gives_to_another_thread_ends_the_bot(
    manager: socket.socket, running: BotProcess
) -> None:
    heard(manager, "READY=1")
    threads = {int(each.name) for each in Path(f"/proc/{running.pid}/task").iterdir()}
    other = max(threads - {running.pid})
    assert ctypes.CDLL(None).tgkill(running.pid, other, signal.SIGTERM) == 0
    heard(manager, "STOPPING=1")
    assert running.wait(60) == 0


def keys(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_signals_that_are_not_to_end_the_bot_do_not() -> None:
    from bot.__main__ import _end_of

    woken, wakes = socket.socketpair()
    with woken, wakes:
        wakes.send(bytes((signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM)))
        assert _end_of(woken) == bytes((signal.SIGTERM,))
        wakes.send(b"\0")
        assert _end_of(woken) == b"\0"


def test_the_unit_waits_for_ready_watches_and_keeps_secrets_out_of_the_environment() -> None:
    found = keys(UNIT.read_text(encoding="utf-8"))
    assert (found["Type"], found["Restart"]) == (["notify"], ["always"])
    assert int(found["WatchdogSec"][0]) > 60
    credentials = {each.partition(":")[0] for each in found["LoadCredential"]}
    files = {each for each in found["Environment"] if "_FILE=" in each}
    assert files == {
        "SLACK_BOT_TOKEN_FILE=%d/slack-bot-token",
        "SLACK_APP_TOKEN_FILE=%d/slack-app-token",
    }
    assert credentials == {"slack-bot-token", "slack-app-token"}
    assert not any("TOKEN=" in each for each in found["Environment"])


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not there")
def test_systemd_takes_the_unit_and_calls_it_safe(tmp_path: Path) -> None:
    """By `verify`, with a program that is there; exposure at most 2.0 of 10."""
    unit = UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/drover", sys.executable)
    file = tmp_path / "drover.service"
    file.write_text(unit, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    mine = [line for line in done.stderr.splitlines() if "drover" in line]
    assert (done.returncode, mine) == (0, [])
    argv = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--threshold=20",
        "--no-pager",
        str(file),
    ]
    judged = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-500:] + judged.stderr


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not there")
def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, file in (
        ("systemd-sysusers", "sysusers.conf"),
        ("systemd-tmpfiles", "tmpfiles.conf"),
    ):
        action = ["--create"] if program == "systemd-tmpfiles" else []
        argv = [program, *action, f"--root={tmp_path}", str(ROOT / "config" / "systemd" / file)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "drover:" in (tmp_path / "etc/passwd").read_text(encoding="utf-8")
    made = {
        each: (tmp_path / each).stat().st_mode & 0o777 for each in ("etc/drover", "var/lib/drover")
    }
    assert made == {"etc/drover": 0o750, "var/lib/drover": 0o700}
