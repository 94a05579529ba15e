"""A fresh Debian with systemd as its first process, in namespaces of its own: what runs there runs as on a machine.

It shares the machine's network and kernel. Nothing of it is left when it is closed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import Lab, LabHost, releases
from tests.waiting import until

# Its tree becomes the root of its mount namespace, for units with mount namespaces of their own
_BOOT = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
shift
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for each in null zero full random urandom tty; do
    touch dev/$each
    mount --bind /dev/$each dev/$each
done
ln -s /proc/self/fd dev/fd
mkdir -p dev/shm dev/pts old
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for each in "$@"; do
    mkdir -p ".${each#*:}"
    mount --bind "${each%%:*}" ".${each#*:}"
done
pivot_root . old
umount -l old
mount --make-rshared / # systemd's credentials are mounted in a namespace and seen in the others
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target
"""
CA = "/etc/machine.crt"
"""The machine's own authorities, in the tree."""


def lacking() -> str:
    """Why no such machine can be made here; '' when one can."""
    if missing := list(releases.missing()):
        return missing[0]
    if os.geteuid() != 0:
        return "only root can make a Debian tree"
    return "" if _cgroup2() else "no cgroup v2 tree is mounted that can be written to"


def _cgroup2() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4]
        if right.startswith("cgroup2 ") and os.access(mount, os.W_OK):
            return Path(mount)
    return None


class Booted:
    """A Debian of one release, made in ``tree`` and started; ``binds`` maps folders here to folders there."""

    def __init__(self, release: str, tree: Path, binds: dict[Path, str]) -> None:
        self.tree = tree
        self._binds = [f"{here}:{there}" for here, there in binds.items()]
        self._group = (_cgroup2() or Path()) / f"booted-{os.getpid()}-{release}"
        argv = ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv"]
        subprocess.run(
            [*argv, release, str(tree), releases.mirror() or ""],
            env={**os.environ, **_proxies()},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        for each in ("apt-daily", "apt-daily-upgrade"):  # they would hold apt's lock
            (tree / f"etc/systemd/system/{each}.timer").symlink_to("/dev/null")
        authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
        shutil.copy(authorities, f"{tree}{CA}")

    def __enter__(self) -> Self:
        self._group.mkdir()
        inside = ["unshare", "--fork", "--pid", "--mount", "--cgroup", "--uts", "--ipc", "--kill-child"]  # fmt: skip
        enter = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
        self._outer = subprocess.Popen(
            ["sh", "-c", enter, str(self._group), *inside, "sh", "-c", _BOOT, "sh", str(self.tree), *self._binds],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(self._up, "systemd has not started")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command there as root, in the folder /root/drover."""
        first = self._first()
        argv = ["nsenter", f"--target={first}", "--all", "sh", "-c", f"cd /root/drover && {command}"]  # fmt: skip
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_CERT": CA,
            **_proxies(),
        }
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if check:
            said = f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            assert done.returncode == 0, said
        return done

    def shown(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as ``systemctl show`` says them."""
        said = self.run(f"systemctl show {unit} -p {','.join(properties)}").stdout
        return dict(re.findall(r"^(\w+)=(.*)$", said, re.MULTILINE))

    def _end(self) -> None:
        self._outer.kill()  # its child, systemd, is killed with it, and so is what runs there
        self._outer.wait()
        until(self._gone, f"its processes in {self._group} have not ended")

    def _first(self) -> str:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        return children.read_text(encoding="utf-8").strip()

    def _up(self) -> bool:
        assert self._outer.poll() is None, "it ended at once"
        first = self._first()
        if not first or Path(f"/proc/{first}/comm").read_text(encoding="utf-8") != "systemd\n":
            return False
        return self.run("systemctl is-active basic.target", check=False).stdout == "active\n"

    def _gone(self) -> bool:
        for folder in sorted(_groups(self._group), reverse=True):
            try:
                folder.rmdir()
            except OSError:  # a process in it is still ending
                return False
        return True


def _groups(group: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(group):
        yield Path(folder)


def _proxies() -> dict[str, str]:
    return {name: proxy for name, proxy in releases._proxies().items() if proxy}


def open_to_user(lab: Lab, host: LabHost, user: int, group: int) -> None:
    """Let a user who is not root use a host's socket, and let the host know that user."""
    for folder in (host.socket.parent, host.directory, lab.directory):
        folder.chmod(0o755)
    host.socket.chmod(0o777)
    records = {"passwd": f"bot:x:{user}:{group}::/nonexistent:/bin/sh", "group": f"bot:x:{group}:"}
    for name, record in records.items():
        known = Path("/etc", name).read_text(encoding="utf-8")
        (host.directory / name).write_text(f"{known}{record}\n", encoding="utf-8")
        lab.run(host.name, "mount", "--bind", str(host.directory / name), f"/etc/{name}")
