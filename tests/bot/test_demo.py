"""The demo's ends and its tour; the whole of it is played by ``tests/e2e/test_demo.py``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bot import tour
from bot.adapters.slack import blocks
from bot.demo import BALANCE, GUESTS
from bot.factories import load_catalog
from bot.flow.commands.parse import parse
from bot.settings import DroverSettings
from tests.bot.flow.small_bot import small_bot, text

ROOT = Path(__file__).parents[2]
INTERRUPTED = """
import os, signal, time
from bot.demo import ended_by_signals
try:
    with ended_by_signals():
        print("ready", flush=True)
        signal.pause()
except KeyboardInterrupt:
    print("tidied", flush=True)
"""
TWICE = """
import os, signal
from bot.demo import ended_by_signals
with ended_by_signals():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        print("tidied", flush=True)
"""


def _in_the_background(code: str) -> subprocess.Popen[str]:
    """As a script's shell starts it with ``&``: with SIGINT ignored."""
    return subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_ends_it_tidily_however_it_was_started(number: signal.Signals) -> None:
    with _in_the_background(INTERRUPTED) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=60)[0] == "tidied\n"
    assert process.returncode == 0


@pytest.mark.process
def test_a_second_signal_does_not_break_the_tidying_off() -> None:
    with _in_the_background(TWICE) as process:
        assert process.communicate(timeout=60)[0] == "tidied\n"
    assert process.returncode == 0


@pytest.mark.parametrize("moved_to", ["host-a", "host-c"])
def test_at_the_end_of_the_transcript_balance_has_moves(tmp_path: Path, moved_to: str) -> None:
    """Wherever the failover started web-1: two busy VMs are on host-a, and host-b is empty."""
    on: dict[str, list[str]] = {"host-a": [], "host-b": [], "host-c": []}
    for name, wish in GUESTS.items():
        host = moved_to if name == "web-1" else "host-c" if name == "mail-1" else wish["host"]
        on[host].append(f"{name} 112M 1cpu load {wish.get('load', 0.01)}")
    cluster = "\n".join(f"{host} 2cpu 4G | {' | '.join(vms)}" if vms else f"{host} 2cpu 4G"
                        for host, vms in on.items())  # fmt: skip
    bot = small_bot(tmp_path, cluster, plugins=("migrate", "balance"), tables={"balance": BALANCE})
    assert "Balance the cluster with" in text(bot.types("balance"))


@pytest.mark.parametrize("command", [command for _, command in tour.STEPS])
def test_every_step_of_the_tour_types_a_command_that_there_is(command: str) -> None:
    found = parse(load_catalog(DroverSettings()), "/kvm", command)
    assert not found.help
    assert command.startswith(found.command.name)


def test_the_tour_is_a_message_that_slack_takes() -> None:
    assert blocks.render(tour.card())
