"""One migration of one guest with something going wrong in it, and what must be true in the end whatever it was."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import Guest
from lab.slack.shown import Message
from tests.e2e.play import Play, holds, other_host, runs_once
from tests.waiting import until


@dataclass
class Scene:
    """A guest at home, a host to move it to, and a bot that is asked to."""

    play: Play
    guest: Guest
    database: Path
    home: str = ""
    target: str = ""
    asked: int = 0
    message: Message = field(init=False)

    def __post_init__(self) -> None:
        (self.home,) = self.play.lab.where(self.guest.name)
        self.target = self.target or other_host(self.play.lab, self.guest)
        self.before = {each.ts for each in self.play.operations_shown()}

    @property
    def operation(self) -> str:
        """The operation's id, as its message says."""
        found = re.search(r"\bop-\d+", self.message.plain())
        assert found, self.message.plain()
        return found.group()

    def asks(self, options: str = "") -> None:
        """Ana asks for the move."""
        self.play.asks(f"migrate {self.guest.name} to {self.target} {options}".strip())

    def proposed(self, options: str = "") -> None:
        """Ana asks, and the proposal is there."""
        self.asks(options)
        self.sees_the_proposal()

    def sees_the_proposal(self) -> None:
        def new(each: Message) -> bool:
            return each.ts not in self.before and holds(each, "Approve?", self.guest.name)

        self.message = self.play.workspace.wait_message("#approvals", new, 60)

    def approved(self, by: str = "bruno") -> None:
        self.play.approves(by, self.message)

    def in_the_middle(self, bandwidth: int = 8) -> None:
        """The move is proposed, approved and under way, slowly."""
        self.proposed(f"--bandwidth {bandwidth}")
        self.approved()
        self.play.ended("left", self.message)

    def ends(self, how: str, timeout: float = 150) -> None:
        """The same message says so in the end."""
        self.play.ended(f"{how}:", self.message, timeout)

    def moved(self) -> None:
        """Done, once, and told once everywhere."""
        self.ends("Done")
        runs_once(self.play.lab, self.guest, self.target)
        self.told_once("Done:")

    def stayed(self, how: str) -> None:
        """Not moved; how it ended is told, and the guest runs on."""
        self.ends(how)
        until(lambda: self.play.lab.where(self.guest.name) == [self.home], "it is not at home")
        runs_once(self.play.lab, self.guest, self.home)
        self.told_once(f"{how}:")

    def told_once(self, end: str) -> None:
        """One message, one word of the end in its thread, one to the requester; one end in the trail."""
        # The id, which may be a link, and the sign of the state
        ends = re.compile(rf"\b{self.operation}>?\* \S+ {re.escape(end)}")

        def tells(each: Message) -> bool:
            return ends.search(each.plain()) is not None

        self.play.workspace.wait_message("@ana", tells)
        # A failed post is tried again later.
        until(lambda: bool(self.in_thread(tells)), "its thread does not tell the end")
        assert len(self.in_thread(tells)) == 1, self.in_thread(tells)
        assert sum(tells(each) for each in self.play.workspace.messages("@ana")) == 1
        assert [each.ts for each in self.play.operations_shown() if each.ts not in self.before] == [
            self.message.ts
        ]
        once = [kind for kind in self.kinds() if kind != "Noted"]
        assert len(once) == len(set(once)), once

    def in_thread(self, tells: Callable[[Message], bool]) -> list[Message]:
        """What of the message's thread is such."""
        thread = self.play.workspace.messages("#approvals", thread=self.message.ts)
        return [
            each for each in thread if tells(each) and each.thread_ts and each.ts != self.message.ts
        ]

    def kinds(self) -> list[str]:
        """The kinds of the operation's events, as stored."""
        number = int(self.operation.removeprefix("op-"))
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "SELECT kind FROM events WHERE operation = ? ORDER BY seq", (number,)
            )
            return [row[0] for row in rows]

    @contextmanager
    def clock_jumped(self, hours: float) -> Iterator[None]:
        """The bot's clock is wrong by so much; see ``tests.e2e.jumping``."""
        jump = self.play.bot.log.with_name("jump")
        jump.write_text(f"{hours * 3600}", encoding="utf-8")
        try:
            yield
        finally:
            jump.unlink()

    @contextmanager
    def database_locked(self) -> Iterator[None]:
        """Another program locks the database."""
        with closing(
            sqlite3.connect(self.database, isolation_level=None, timeout=60)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """Not a byte is left where the database lies, nor in the file of its log."""
        with closing(sqlite3.connect(self.database, timeout=60)) as connection:
            # Room that an earlier checkpoint left in the log would take the next writes.
            until(
                lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0,
                "the log of the database was never emptied",
            )
        filler = self.database.parent / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue
        try:
            yield
        finally:
            filler.unlink()

    def logged(self, words: str, since: int = 0, timeout: float = 60) -> None:
        """Wait until the bot's log holds the words: proof that the fault was felt."""
        until(
            lambda: words in self.play.bot.log.read_text(errors="replace")[since:],
            f"never logged {words}",
            timeout,
        )

    def log_end(self) -> int:
        return len(self.play.bot.log.read_text(errors="replace"))

    def answered(self) -> None:
        """The bot still answers: whatever happened is over."""
        self.play.asks(f"audit {self.operation}")
        self.play.told("ana", self.operation, "Audit trail intact")
