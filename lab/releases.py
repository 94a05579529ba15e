"""Hosts of another Debian release: its programs in a tree, made once and kept in the user's cache.

A lab host sees the tree's ``/usr`` in place of the machine's. What changes with the release is user
space: libvirt, QEMU and the C library; the kernel stays the machine's own.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import packages
from lab.errors import LabError

PACKAGES = (
    "libvirt-daemon-system",
    "qemu-system-x86",
    "qemu-utils",
    "iproute2",
    "busybox-static",
    "openssh-server",
    "libvirt-clients",
)
"""What a host of another release has beside the smallest Debian."""

_NEXT = {"bullseye": "bookworm", "bookworm": "trixie"}
_NAME = re.compile(r"[a-z]+")
_STAMP = "drover-tree"
_MAKE_S = 1500
# Debian's way to keep a package from starting its services: "forbidden".
_POLICY = "#!/bin/sh\nexit 101\n"


def missing() -> Iterator[str]:
    """What keeps a tree from being made here, a sentence each; needs no network."""
    if shutil.which("debootstrap") is None:
        yield "debootstrap is missing: apt-get install --no-install-recommends debootstrap"
    elif mirror() is None:
        yield (
            "apt's sources name no archive of Debian, so no other release can be had from it: "
            "add one to /etc/apt/sources.list."
        )


def next_release() -> str:
    """The release after this machine's own; ``sid``, the newest of all, where that is not known."""
    return _NEXT.get(_codename(), "sid")


def check(release: str) -> None:
    """Raise LabError on what cannot name a release."""
    if not _NAME.fullmatch(release):
        raise LabError(f"{release!r} cannot name a release of Debian, such as 'trixie'.")


def tree(release: str) -> Path:
    """Where a release's tree is; made now if the cache has none, which takes minutes.

    Labs that want the same one at the same time wait for the first. A tree that was made of other
    packages is made anew.

    Raises LabError, with the tool's own last words, when it cannot be made.
    """
    check(release)
    home = _cache() / release
    if _is_made(home, release):
        return home
    with _one_at_a_time(release):
        if not _is_made(home, release):
            _make(release, home)
    return home


def mirror() -> str | None:
    """The archive of Debian that this machine's own packages come from; None if apt names none."""
    if shutil.which("apt-get") is None:
        return None
    wanted = ("$(REPO_URI)", "$(ORIGIN)", "$(RELEASE)")
    argv = ["apt-get", "indextargets", "--format", "\t".join(wanted), "Created-By: Packages"]
    rows = [line.split("\t") for line in packages.run(argv, "/").splitlines()]
    own = _codename()
    # Before the first `apt-get update` nothing tells an origin.
    found = [row[0] for row in rows if row[1] in {"Debian", ""} and row[2] in {own, "stable"}]
    return found[0] if found else None


def _codename() -> str:
    told = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", told, re.MULTILINE)
    return found[1] if found else ""


def _cache() -> Path:
    return packages.cache() / "releases"


def _is_made(home: Path, release: str) -> bool:
    stamp = home / _STAMP
    return stamp.exists() and stamp.read_text() == _recipe(release)


def _recipe(release: str) -> str:
    """Changes with what a tree is made of."""
    return hashlib.sha256(" ".join((release, *PACKAGES)).encode()).hexdigest()


@contextmanager
def _one_at_a_time(release: str) -> Iterator[None]:
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(release: str, home: Path) -> None:
    """Make a tree beside its place, and move it there when it is whole."""
    if lacks := list(missing()):
        raise LabError(f"A host of {release} cannot be made here.\n" + "\n".join(lacks))
    for left in _cache().glob(f".{release}-*"):
        shutil.rmtree(left)  # of one that was broken off; the lock says that nobody makes it now
    staged = Path(tempfile.mkdtemp(prefix=f".{release}-", dir=_cache()))
    staged.chmod(0o755)
    try:
        _run(release, ["debootstrap", "--variant=minbase", release, str(staged), mirror() or ""])
        _install(release, staged)
        (staged / _STAMP).write_text(_recipe(release))
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    if home.exists():
        shutil.rmtree(home)
    staged.rename(home)


def _install(release: str, staged: Path) -> None:
    policy = staged / "usr/sbin/policy-rc.d"
    policy.write_text(_POLICY)
    policy.chmod(0o755)
    # Its own mounts and processes end with it, so nothing of the tree stays in use.
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    inside += [f"--mount-proc={staged}/proc", "chroot", str(staged)]
    quiet = ["-q", "-y", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"]
    # A copy of the archive may lag behind, and debootstrap does not look at dates either
    _run(release, [*inside, "apt-get", "-q", "-o", "Acquire::Check-Valid-Until=false", "update"])
    _run(release, [*inside, "apt-get", *quiet, "install", *PACKAGES])
    _run(release, [*inside, "apt-get", "clean"])
    policy.unlink()


def _run(release: str, argv: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    environment |= {name: proxy for name, proxy in _proxies().items() if proxy}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_MAKE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(_failure(release, argv, f"not done in {_MAKE_S} s")) from error
    if done.returncode:
        raise LabError(_failure(release, argv, done.stdout.strip()[-1000:]))


def _failure(release: str, argv: list[str], said: str) -> str:
    program = next(each for each in ("debootstrap", "apt-get") if each in argv)
    return (
        f"The tree of {release} could not be made from {mirror()}: {program} said:\n{said}\n"
        f"Check that this archive has {release} and answers (`apt-get update`), then try again; "
        "what was begun has been removed."
    )


def _proxies() -> dict[str, str]:
    """The proxies apt goes through: debootstrap does not read its settings."""
    asked = ["http_proxy", "Acquire::http::Proxy", "https_proxy", "Acquire::https::Proxy"]
    told = packages.run(["apt-config", "shell", *asked], "/")
    return dict(re.findall(r"^(https?_proxy)='(.*)'$", told, re.MULTILINE))
