"""An operation with a time begins once: by one of two replicas, after a restart, whatever their clocks show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.operation import Began, State
from tests import postgres
from tests.bot.flow.operations.scheduled_replica import made
from tests.bot.flow.small_bot import Bot
from tests.waiting import until

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


def _proposed(folder: Path, url: str, seconds: int) -> Bot:
    """A move that is approved, and due in so many seconds."""
    bot = made(folder, url, "people")
    bot.types(f"migrate web-1 host-b --in {seconds}s")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    assert bot.operation().state is State.APPROVED
    return bot


def _replica(folder: Path, url: str, name: str, behind: float = 0.0) -> subprocess.Popen[bytes]:
    module = "tests.bot.flow.operations.scheduled_replica"
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(folder), url, name, str(behind)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )


def _ready(folder: Path, name: str) -> None:
    until((folder / f"{name}.ready").exists, lambda: (folder / f"{name}.log").read_text()[-3000:])


def _must_have_begun_once(folder: Path, bot: Bot) -> None:
    until(lambda: bot.operation().state.over, lambda: repr(bot.operation().state))
    operation = bot.operation()
    assert operation.state is State.DONE, operation.outcome
    began = [each.at for each in bot.store.events("op-1") if isinstance(each, Began)]
    assert operation.slot is not None
    assert len(began) == 1
    assert operation.slot.holds(began[0])
    assert len((folder / "moves").read_text().splitlines()) == 1


def test_killed_before_its_time_the_next_start_begins_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/drover.sqlite"
    bot = _proposed(tmp_path, url, 8)
    first = _replica(tmp_path, url, "first")
    _ready(tmp_path, "first")
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    assert bot.operation().state is State.APPROVED
    second = _replica(tmp_path, url, "second")
    try:
        _must_have_begun_once(tmp_path, bot)
        assert second.wait(60) == 0
    finally:
        second.kill()
        second.wait(60)
        bot.store.close()


def test_of_two_replicas_whose_clocks_differ_one_begins_it(
    server: postgres.Postgres, tmp_path: Path
) -> None:
    url = server.database()
    bot = _proposed(tmp_path, url, 8)
    both = [_replica(tmp_path, url, "one"), _replica(tmp_path, url, "two", behind=2.0)]
    try:
        _must_have_begun_once(tmp_path, bot)
        assert [each.wait(60) for each in both] == [0, 0]
    finally:
        for each in both:
            each.kill()
            each.wait(60)
        bot.store.close()


def test_while_no_bot_ran_its_time_passed_and_it_is_told(tmp_path: Path) -> None:
    """A restart after the grace: nothing begins, and the requester reads it."""
    url = f"sqlite:///{tmp_path}/drover.sqlite"
    bot = _proposed(tmp_path, url, 1)
    start = datetime.now(UTC)
    late = _replica(tmp_path, url, "late", behind=-3600.0)  # an hour later
    try:
        until(lambda: bot.operation().state.over, (tmp_path / "late.log").read_text)
        assert bot.operation().state is State.STALE
        assert [each.code for each in bot.operation().objections] == ["time-missed"]
        assert not (tmp_path / "moves").exists()
        assert bot.operation().changed_at > start + timedelta(minutes=50)
        assert late.wait(60) == 0
    finally:
        late.kill()
        late.wait(60)
        bot.store.close()
