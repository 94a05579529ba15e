"""The first process of a lab host.

Runs what it is told on standard input, reaps, and ends with its owner.

It is process 1 of its own PID namespace. Its standard input is a pipe from the lab's owner, so when
the owner dies in any way the pipe closes, this process ends, and the kernel ends everything else in
the namespace. It is started by file name with the bare interpreter and imports the standard library
only.
"""

import json
import os
import signal
import sys
import time
from types import FrameType

_exits: dict[int, int] = {}


def _reap(_signal: int, _frame: FrameType | None) -> None:
    # libvirt takes a QEMU that nobody reaped for one that will not die.
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _exits[pid] = os.waitstatus_to_exitcode(status)


def _start(argv: list[str], out: int, err: int) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, err, 2),
    ]
    return os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True)


def _run(argv: list[str]) -> dict[str, object]:
    """Run to the end; daemons may stay behind, so output goes to memory files and not to pipes."""
    out, err = os.memfd_create("out"), os.memfd_create("err")
    _exits.clear()
    try:
        pid = _start(argv, out, err)
        while pid not in _exits:
            time.sleep(0.002)
        texts = [
            os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace") for fd in (out, err)
        ]
    finally:
        os.close(out)
        os.close(err)
    return {"code": _exits[pid], "out": texts[0], "err": texts[1]}


def _spawn(argv: list[str], log: str) -> dict[str, object]:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return {"pid": _start(argv, fd, fd)}
    finally:
        os.close(fd)


def _answer(order: dict[str, list[str] | str]) -> dict[str, object]:
    argv = order["argv"]
    if not isinstance(argv, list):
        return {"error": f"argv is a list, not {argv!r}"}
    try:
        log = order.get("log")
        return _spawn(argv, log) if isinstance(log, str) else _run(argv)
    except OSError as error:
        return {"error": f"{argv[0]}: {error.strerror}"}


def main() -> None:
    """Answer one JSON order a line until the owner's end of the pipe closes."""
    signal.signal(signal.SIGCHLD, _reap)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
