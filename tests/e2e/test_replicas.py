"""Two bots on one PostgreSQL and two Socket Mode connections: what a killed one began, the other finishes, once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.stage import BotProcess, config_for
from lab import Guest, Lab
from lab.slack import Workspace
from lab.slack.shown import Message
from tests import postgres
from tests.e2e.play import HOSTS, Play, other_host, runs_once

pytestmark = pytest.mark.lab

TAKEN_OVER = 30  # seconds, as promised


@dataclass
class Pair:
    """Two replicas, not started; what people do is the same whichever answers."""

    play: Play
    other: BotProcess


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


@pytest.fixture
def pair(
    lab: Lab, workspace: Workspace, server: postgres.Postgres, tmp_path: Path
) -> Iterator[Pair]:
    url = server.database()
    bots = []
    with ExitStack() as stack:
        for name in ("drover-1", "drover-2"):
            config = config_for(
                lab, workspace, tmp_path, replica=name, database={"url": url},
                plugins={"enabled": ["migrate", "tests.e2e.dawdling"]},
            )  # fmt: skip
            bots.append(
                BotProcess(workspace, tmp_path, config, {"DIE_MARK": str(tmp_path / "died")})
            )
            stack.callback(bots[-1].stop)
        for host in HOSTS:
            stack.callback(lab.limit_bandwidth, host, None)
        yield Pair(Play(lab, workspace, bots[0]), bots[1])


def both_run(pair: Pair) -> None:
    pair.play.bot.start()
    pair.other.start()
    pair.play.workspace.wait_connected(sockets=2)


def under_way_at_the_first(pair: Pair, mover: Guest) -> tuple[str, Message]:
    """A slow migration that one replica has begun before the other started; where to, and its message."""
    play = pair.play
    (home,) = play.lab.where("mover")
    target = other_host(play.lab, mover)
    play.lab.limit_bandwidth(home, 4)  # why not by an option: narrow_wire
    play.bot.start()
    play.workspace.wait_connected()
    play.asks(f"migrate mover to {target}")
    proposal = play.proposal("mover")
    play.approves("bruno", proposal)
    play.ended("left", proposal)
    pair.other.start()
    play.workspace.wait_connected(sockets=2)
    return target, proposal


def test_a_migration_of_a_killed_replica_is_seen_through_by_the_other(
    pair: Pair, mover: Guest
) -> None:
    play = pair.play
    target, proposal = under_way_at_the_first(pair, mover)
    play.bot.kill()
    killed = time.monotonic()
    play.workspace.wait_for(
        lambda: b"taken over" in pair.other.log.read_bytes() or None, TAKEN_OVER
    )
    assert time.monotonic() - killed < TAKEN_OVER, "nobody took it over"
    play.ended("Done:", proposal)
    runs_once(play.lab, mover, target)
    assert len(play.operations_shown()) == 1
    trail = pair.other.command("db", "verify")
    assert "is intact" in trail.stdout, trail.stderr
    play.asks("audit op-1")
    play.told("ana", "op-1", "Audit trail intact")


@pytest.mark.slow
def test_a_frozen_replica_that_wakes_up_gives_way_to_its_successor(
    pair: Pair, mover: Guest
) -> None:
    play = pair.play
    target, proposal = under_way_at_the_first(pair, mover)
    frozen = play.bot.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    play.workspace.wait_for(
        lambda: b"taken over" in pair.other.log.read_bytes() or None, TAKEN_OVER
    )
    os.kill(frozen, signal.SIGCONT)
    assert play.bot.wait(TAKEN_OVER) == 3
    assert b"another process took over from this one" in play.bot.log.read_bytes()
    play.ended("Done:", proposal)
    runs_once(play.lab, mover, target)
    trail = pair.other.command("audit", "export").stdout
    assert [trail.count(f'"kind": "{kind}"') for kind in ("StepEnded", "Finished")] == [1, 1]


def test_a_request_that_a_replica_died_of_is_answered_by_the_other_once(pair: Pair) -> None:
    both_run(pair)
    play = pair.play
    play.asks("die")
    play.told("ana", "Somebody else lives", timeout=TAKEN_OVER)
    assert (play.bot.pid is None) is not (pair.other.pid is None)
    answers = [
        each
        for each in play.workspace.messages("#ops", seen_by="ana")
        if "else lives" in each.plain()
    ]
    assert len(answers) == 1


def test_clicks_delivered_to_both_replicas_count_once(pair: Pair, mover: Guest) -> None:
    both_run(pair)
    play = pair.play
    target = other_host(play.lab, mover)
    play.asks(f"migrate mover to {target}")
    proposal = play.proposal("mover")
    play.workspace.fault.duplicate_next(2)  # each click on both sockets at once
    play.approves("bruno", proposal)
    play.approves("carla", proposal)
    play.told("carla", "op-1")
    play.ended("Done:", proposal)
    runs_once(play.lab, mover, target)
    assert len(play.operations_shown()) == 1
