"""The database's file under a real bot process: one bot for it, private, and missed when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.play import Play

pytestmark = pytest.mark.lab


def test_a_second_bot_is_refused_and_the_file_is_missed_when_it_is_gone(
    stage: Play, tmp_path: Path
) -> None:
    assert stage.bot.command("health").returncode == 0
    again = stage.bot.command("run")
    assert again.returncode == 2
    assert f"process {stage.bot.pid}) already uses the database" in again.stderr
    file = tmp_path / "drover.sqlite"
    assert {each.stat().st_mode & 0o077 for each in tmp_path.glob("drover.sqlite*")} == {0}
    away = tmp_path / "away.sqlite"
    file.rename(away)
    stage.message("#ops", "was deleted while the bot runs")
    assert not file.exists()
    away.rename(file)
    stage.asks("hosts")
    stage.told("ana", "3 of 3 hosts up")
    assert "is intact" in stage.bot.command("audit", "verify").stdout
