"""Files that only the bot's own user may read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

OWNER_ONLY = 0o600


def make_private(path: Path) -> None:
    """Create a file with mode 0600 where there is none.

    Also take the rights of others from one that is there.

    A mode without rights for others, such as 0640, is an administrator's choice and is kept. SQLite
    gives the files beside a database (``-wal``, ``-shm``) the mode of the database.

    Raises:
        OSError: the file cannot be made.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
    for each in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
        _close_to_others(each)


def _close_to_others(path: Path) -> None:
    # A file of another user is that user's to close
    with suppress(FileNotFoundError, PermissionError):
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IRWXO:
            path.chmod(OWNER_ONLY)


def write_private(path: Path, text: str) -> None:
    """Replace a small file at one stroke.

    A reader sees the old text or the new one, and no link is followed.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, OWNER_ONLY)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def read_private(path: Path) -> str:
    """Return the text of a file, without following a link.

    Raises:
        OSError: there is none, or it is a link.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
        return file.read()
