"""Debian packages of which the lab needs a file or a program.

Fetched and unpacked, but never installed.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError


def unpacked(name: str, packages: tuple[str, ...], program: str) -> Path:
    """Where the packages lie unpacked, kept in the user's cache.

    Fetched now if ``program`` (a path in it) is missing.

    Raises LabError, with apt's own words, when they cannot be had.
    """
    home = cache() / name
    if not (home / program).exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with fetched(packages) as there:
            shutil.copytree(there, home, dirs_exist_ok=True, symlinks=True)
    return home


def libraries(home: Path) -> str:
    """The directories with the libraries of unpacked packages, as LD_LIBRARY_PATH takes them."""
    return ":".join(
        str(path) for place in ("lib", "usr/lib") for path in (home / place).glob("*-linux-gnu")
    )


def cache() -> Path:
    """What all labs of this user share."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(root, "drover")


def run(argv: list[str], directory: str) -> str:
    """What an apt command printed, run in a directory.

    LabError with its own words when it fails.
    """
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(
            f"{argv[-1]} could not be fetched: {' '.join(argv)} said: {done.stderr.strip()}\n"
            "Run apt-get update and try again."
        )
    return done.stdout


@contextmanager
def fetched(packages: tuple[str, ...]) -> Iterator[Path]:
    """The packages, downloaded and unpacked side by side into a directory.

    That is gone afterwards.
    """
    # apt's download user must be able to write there, so not in a private cache.
    with tempfile.TemporaryDirectory(prefix="drover-packages-") as scratch:
        os.chmod(scratch, 0o777)  # noqa: PTH101, S103
        run(["apt-get", "-q", "download", *packages], scratch)
        for package in Path(scratch).glob("*.deb"):
            run(["dpkg-deb", "--extract", str(package), f"{scratch}/unpacked"], scratch)
        yield Path(scratch, "unpacked")
