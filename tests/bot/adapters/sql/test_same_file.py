"""The database's file: for the bot's user alone, for one bot, and missed as soon as it is gone."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.private import read_private, write_private
from bot.adapters.sql.same_file import OnlyOne
from bot.adapters.sql.store import SqlStore
from bot.domain.errors import StoreError, StoreGoneError
from bot.domain.operation import Withdrawn
from bot.testing.clock import TickingClock
from tests.operations import CODEC, later, proposal, request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "drover.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SqlStore]:
    opened = SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock())
    yield opened
    opened.close()


def modes(file: Path) -> set[int]:
    return {stat.S_IMODE(each.stat().st_mode) for each in file.parent.glob(f"{file.name}*")}


def test_only_the_bots_user_reads_the_database(file: Path, store: SqlStore) -> None:
    store.accept(request())
    store.propose(proposal())
    assert len(list(file.parent.glob(f"{file.name}*"))) > 1
    assert modes(file) == {0o600}


def test_a_database_that_others_could_read_is_closed_to_them(file: Path) -> None:
    sqlite3.connect(file).close()
    file.touch()
    file.chmod(0o644)
    SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock()).close()
    assert modes(file) == {0o600}


def test_a_mode_for_a_group_is_kept(file: Path) -> None:
    file.touch()
    file.chmod(0o640)
    SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock()).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("replaced", [True, False])
def test_a_database_that_is_gone_is_missed_at_once(
    file: Path, store: SqlStore, *, replaced: bool
) -> None:
    operation = store.propose(proposal())
    if replaced:
        copy = file.with_suffix(".copy")
        shutil.copy(file, copy)
        copy.replace(file)
    else:
        file.unlink()
    what = "replaced" if replaced else "deleted"
    for act in (
        lambda: store.propose(proposal("two")),
        lambda: store.append(operation, Withdrawn(later(1), "UENG")),
        lambda: store.accept(request("another")),
        store.operations,
        store.mark_alive,
    ):
        with pytest.raises(StoreGoneError, match=f"was {what}.* while the bot runs"):
            act()
    assert file.exists() is replaced  # and no new one is made


def test_a_database_that_is_put_back_is_used_again(file: Path, store: SqlStore) -> None:
    away = file.with_suffix(".away")
    file.rename(away)
    with pytest.raises(StoreGoneError):
        store.mark_alive()
    away.rename(file)
    store.mark_alive()


@pytest.mark.process
def test_a_second_bot_on_the_same_file_is_refused_until_the_first_is_gone(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bot.adapters.sql.same_file import OnlyOne; "
        "held = OnlyOne(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(
            StoreError, match=rf"process {first.pid}\) already uses the database.*needs PostgreSQL"
        ):
            OnlyOne(file)
        first.kill()
        first.wait(60)
    OnlyOne(file).release()
    OnlyOne(file).release()


def test_a_small_file_is_replaced_whole_and_through_no_link(tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "health"
    victim.write_text("precious")
    file.symlink_to(victim)
    with pytest.raises(OSError, match="health"):
        read_private(file)
    write_private(file, "1")
    assert (victim.read_text(), file.read_text(), file.is_symlink()) == ("precious", "1", False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
