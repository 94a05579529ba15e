"""The audit trail in chat and on the command line: who, what, when; found, exported and verified; tampering named."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot import audit
from bot.__main__ import drover
from bot.adapters.sql.chain import ChainedEvent, digest
from bot.domain.errors import DroverError
from tests.bot.flow.small_bot import Bot, small_bot, text

DAY = 86400


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    """Two operations: one of web-1, done two days ago; one of app-1, denied today."""
    made = small_bot(tmp_path)
    made.types("migrate web-1 to host-b")
    made.clicks("op.approve", made.value(1), "UBRUNO")
    made.works()
    made.clock.turn(2 * DAY)
    made.types("migrate app-1 to host-c")
    made.answers("op.deny", made.value(2), "UCARLA", why="-not today, =SUM(A1)")
    yield made
    made.store.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of the bot's database, for the command line."""
    file = tmp_path / "drover.toml"
    file.write_text(f'[database]\nurl = "sqlite:///{tmp_path}/drover.sqlite"\n', encoding="utf-8")
    return file


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(drover, ["--config", str(config), *words], catch_exceptions=True)


def test_of_an_operation_everything(bot: Bot) -> None:
    told = text(bot.types("audit op-1"))
    for part in (
        "UANA",
        "UBRUNO",
        "step 1 ended",
        bot.operation(1).plan.digest,
        "Audit trail intact",
    ):
        assert part in told


def test_of_a_guest_what_touched_it_and_nothing_else(bot: Bot) -> None:
    told = text(bot.types("audit web-1"))
    assert "op-1" in told
    assert "op-2" not in told


@pytest.mark.parametrize("person", ["UCARLA", "@UCARLA", "<@UCARLA>", "<@UCARLA|carla>"])
def test_of_a_person_what_they_did_themselves(bot: Bot, person: str) -> None:
    told = text(bot.types(f"audit '{person}'"))
    assert "not today" in told
    assert "UANA" not in told
    assert "op-1" not in told


def test_a_name_that_slack_does_not_resolve_is_answered_with_what_works(bot: Bot) -> None:
    assert "Choose the name from the list" in text(bot.types("audit @carla"))


def test_of_all_the_last_day_unless_more_is_asked(bot: Bot) -> None:
    assert "op-1" not in text(bot.types("audit"))
    assert "op-1" in text(bot.types("audit --since 3d"))
    assert "has nothing about" in text(bot.types("audit web-1 --since 1h"))
    assert "has nothing about" in text(bot.types("audit web-9"))
    assert "not a duration" in text(bot.types("audit --since soon"))


def test_tampering_is_named_in_chat_and_on_the_command_line(
    bot: Bot, config: Path, tmp_path: Path
) -> None:
    assert "is intact: " in run(config, "audit", "verify").output
    with closing(sqlite3.connect(tmp_path / "drover.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE events SET data = replace(data, 'UBRUNO', 'UMALLORY') WHERE kind = 'VotedFor'"
        )
    assert "Event 2 (VotedFor of op-1, by UBRUNO" in text(bot.types("audit op-2"))
    for group in ("audit", "db"):
        found = run(config, group, "verify")
        assert found.exit_code != 0
        assert isinstance(found.exception, DroverError)
        assert "Event 2 (VotedFor of op-1, by UBRUNO" in str(found.exception)


def test_an_export_as_json_lines_is_whole_and_can_be_verified_without_drover(
    bot: Bot, config: Path
) -> None:
    lines = [json.loads(line) for line in run(config, "audit", "export").output.splitlines()]
    assert len(lines) == bot.store.head()[0]
    previous = ""
    for position, line in enumerate(lines, 1):
        canonical = json.dumps(
            line["data"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        number = int(line["operation"].removeprefix("op-"))
        assert line["hash"] == digest(previous, position, number, line["seq"], canonical)
        previous = line["hash"]
    assert previous == bot.store.head()[1]
    assert {lines[0]["plan"], lines[1]["plan"]} == {bot.operation(1).plan.digest}


def test_an_export_goes_on_where_the_last_one_ended(bot: Bot, config: Path) -> None:
    whole = run(config, "audit", "export").output.splitlines()
    assert run(config, "audit", "export", "--after", "3").output.splitlines() == whole[3:]


def test_an_export_as_csv_has_the_same_and_no_cell_that_a_spreadsheet_would_run(
    bot: Bot, config: Path
) -> None:
    rows = list(
        csv.DictReader(run(config, "audit", "export", "--format", "csv").output.splitlines())
    )
    lines = [json.loads(line) for line in run(config, "audit", "export").output.splitlines()]
    assert [json.loads(row["data"]) for row in rows] == [line["data"] for line in lines]
    assert [row["hash"] for row in rows] == [line["hash"] for line in lines]
    mine = ChainedEvent(1, 1, 1, "2026-01-05", "=1+1", "Noted", '{"is":"Noted"}', "", "")
    assert "'=1+1" in list(audit.csv_lines([mine]))[1]
