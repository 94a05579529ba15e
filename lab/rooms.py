"""Namespaces held open by one process each, and orders given to that process."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lab import cgroups
from lab.errors import LabError

_INSIDE = Path(__file__).with_name("inside.py")
_JOIN = (
    'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
)
_UNSHARE = [
    "unshare",
    "--fork",
    "--kill-child",
    "--pid",
    "--mount-proc",
    "--net",
    "--uts",
    "--cgroup",
]


class Room:
    """Private PID, network, mount, UTS and cgroup namespaces.

    They end with the process that holds them.
    """

    def __init__(self, name: str, directory: Path, *, groups: bool) -> None:
        self.name = name
        self._directory = directory
        self._lock = threading.Lock()
        with (directory / f"{name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._entry(groups=groups), *_UNSHARE, *self._inside()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._hear()
        self.pid = _child_of(self._process.pid)
        """Process id of the first process, as seen from outside."""
        self.groups = (
            cgroups.settle(directory, name, [self._process.pid, self.pid]) if groups else []
        )
        """The room's own control groups."""
        self._namespace = _namespace(self.pid)

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a program inside to its end and answer its output.

        LabError if it fails and ``check`` is true.
        """
        told = self._order({"argv": list(argv)})
        if check and told["code"]:
            raise LabError(f"In {self.name}, {' '.join(argv)} failed: {str(told['err']).strip()}")
        return str(told["out"])

    def spawn(self, argv: Sequence[str], log: Path) -> None:
        """Start a program inside and leave it running; what it says goes to the end of ``log``."""
        self._order({"argv": list(argv), "log": str(log)})

    def pids(self, program: str | None = None) -> list[int]:
        """Process ids, seen from outside, of what runs inside, or of one program of it."""
        mine = self._namespace
        found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        inside = [pid for pid in found if mine and _namespace(pid) == mine and pid != self.pid]
        return [pid for pid in inside if program in {None, _program(pid)}]

    @property
    def alive(self) -> bool:
        """Whether its first process still runs; while it does, its process id is its own."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill the first process, and with it everything inside; wait until all of it is gone."""
        self._namespace = None
        if self.alive:
            # Not its parent, which then reaps it; the kernel ends the rest of the namespace before
            # it is gone.
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _entry(self, *, groups: bool) -> list[str]:
        if not groups:
            return []
        lab = f"drover-lab-{self._directory.name}"
        if cgroups.under_systemd():
            return cgroups.scope(lab, self.name)
        joined = [str(path) for path in cgroups.make(self._directory, lab, self.name)]
        return ["sh", "-c", _JOIN, "sh", *joined, "--"]

    def _inside(self) -> list[str]:
        return [sys.executable, "-I", "-S", str(_INSIDE), str(self._directory), self.name]

    def _order(self, order: dict[str, object]) -> dict[str, object]:
        with self._lock:
            assert self._process.stdin  # noqa: S101 - it was opened as a pipe
            try:
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError) as error:
                raise LabError(f"{self.name} is off: power it on first.") from error
            told = self._hear()
        if "error" in told:
            raise LabError(f"In {self.name}: {told['error']}")
        return told

    def _hear(self) -> dict[str, object]:
        assert self._process.stdout  # noqa: S101 - it was opened as a pipe
        line = self._process.stdout.readline()
        if not line:
            said = (self._directory / f"{self.name}.log").read_text(errors="replace").strip()
            raise LabError(f"{self.name} ended unexpectedly: {said or 'it said nothing'}")
        answer: dict[str, object] = json.loads(line)
        return answer


def _child_of(parent: int) -> int:
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and _parent(int(path.name)) == parent:
            return int(path.name)
    raise LabError(
        "A lab host's first process is gone already; see the log in the lab's directory."
    )


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
