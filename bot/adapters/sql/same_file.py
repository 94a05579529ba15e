"""Notices that the file of a SQLite database was deleted or replaced while it is open.

Also keeps a second bot away.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from bot.adapters.private import OWNER_ONLY, make_private
from bot.domain.errors import StoreError, StoreGoneError
from bot.domain.message import words


class SameFile:
    """A file as it was when it was opened.

    What is written to one that is gone is lost without a word.

    Args:
        path: of the database; it is made, for the bot's user alone, when there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(OSError):  # opening it says what is wrong
            make_private(path)
        self._identity = self._now()

    def check(self) -> None:
        """Compare with the file that is there now.

        Raises:
            StoreGoneError: it was deleted, or is another one.
        """
        found = self._now()
        if self._identity is None:
            self._identity = found
        elif found != self._identity:
            text = (
                words(
                    "The database file {path} was deleted while the bot runs. Nothing "
                    "is stored now.",
                    path=str(self._path),
                )
                if found is None
                else words(
                    "The database file {path} was replaced while the bot runs. Nothing "
                    "is stored now.",
                    path=str(self._path),
                )
            )
            raise StoreGoneError(
                text,
                words(
                    "Stop the bot, put the file back or restore the last backup, and "
                    "start it again."
                ),
            )

    def _now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class OnlyOne:
    """The right to be the one bot on a SQLite file.

    Held until ``release`` or the end of the process.

    Args:
        path: of the database; the lock lies beside it.

    Raises:
        StoreError: another bot has it.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(f"{path.name}.lock")
        try:
            self._handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, OWNER_ONLY)
        except OSError as error:
            raise StoreError(
                words(
                    "The lock {lock} cannot be created: {reason}.",
                    lock=str(lock),
                    reason=str(error.strerror),
                ),
                words("Give the user of the bot write permission for the folder of the database."),
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = os.pread(self._handle, 20, 0).decode(errors="replace").strip()
            os.close(self._handle)
            raise StoreError(
                words(
                    "Another bot (process {pid}) already uses the database {path}.",
                    pid=other or "?",
                    path=str(path),
                ),
                words("Stop it first. More than one bot at a time needs PostgreSQL."),
            ) from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another bot have it."""
        with suppress(OSError):
            os.close(self._handle)
