"""What a lab leaves on the machine: who owns it, and how it is removed however its owner ended.

Run as a program (``remains.py DIRECTORY``) it is a lab's janitor: it waits until the owner's end of
its standard input closes, which happens at every kind of death, and then removes everything.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path("/var/lib/drover-lab")
"""Short on purpose: a unix socket's path must stay under 108 bytes."""

_OWNER = "owner.json"
_PATIENCE_S = 20.0


def claim() -> Path:
    """Make a directory of its own for a lab of this process.

    ``ROOT/<id>``, with its owner written down.
    """
    with _locked():
        ROOT.mkdir(mode=0o711, exist_ok=True)
        while True:
            directory = ROOT / secrets.token_hex(2)
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o711)
                break
        owner = {"pid": os.getpid(), "started": started(os.getpid()), "boot": _boot_id()}
        (directory / _OWNER).write_text(json.dumps(owner))
    return directory


def sweep() -> list[Path]:
    """Remove the labs whose owners are dead and answer their directories.

    Living owners' labs stay.
    """
    with _locked():
        dead = [path for path in sorted(ROOT.glob("*")) if path.is_dir() and not _owner_lives(path)]
    for directory in dead:
        remove(directory)
    return dead


def remove(directory: Path) -> None:
    """End a lab's processes and remove its groups and files; nothing happens where nothing is left.

    With a host's first process dead the kernel ends every other process in its PID namespace;
    namespaces, mounts, bridges and links have no name outside and vanish with them.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while _kill(directory) and time.monotonic() < deadline:
        time.sleep(0.01)
    remove_groups(_groups(directory))
    shutil.rmtree(directory, ignore_errors=True)
    with _locked(), contextlib.suppress(OSError):
        ROOT.rmdir()  # refused while another lab has its directory there


def remove_groups(groups: Iterable[Path]) -> None:
    """Remove cgroups and those below them.

    The kernel refuses while a dying process is still in one.
    """
    deadline = time.monotonic() + _PATIENCE_S
    for group in groups:
        while group.is_dir() and time.monotonic() < deadline:
            for path, _directories, _files in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
            time.sleep(0.002)


def started(pid: int) -> str | None:
    """When a process began, in clock ticks since boot (proc(5), field 22).

    None if there is none or it is dead.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One process at a time; the lock is on the directory above.

    So that not even a lock file is left behind.
    """
    above = os.open(ROOT.parent, os.O_RDONLY)
    try:
        fcntl.flock(above, fcntl.LOCK_EX)
        yield
    finally:
        os.close(above)


def _owner_lives(directory: Path) -> bool:
    try:
        owner = json.loads((directory / _OWNER).read_text())
    except (OSError, ValueError):
        return False
    return bool(owner["boot"] == _boot_id() and owner["started"] == started(owner["pid"]))


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _kill(directory: Path) -> bool:
    """Kill the holders of a lab's namespaces; whether there were any."""
    found = False
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(directory).encode() in words and any(
                word.endswith(b"/inside.py") for word in words
            ):
                os.kill(int(entry.name), signal.SIGKILL)
                found = True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _groups(directory: Path) -> set[Path]:
    found: set[Path] = set()
    for record in directory.glob("*.cgroups.json"):
        found |= {Path(path) for path in json.loads(record.read_text())}
    return found


def main(directory: str) -> None:
    """Wait for the owner's end, then remove."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    remove(Path(directory))


if __name__ == "__main__":
    main(sys.argv[1])
