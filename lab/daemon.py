"""One host's libvirtd: its private directories, its settings, and its start."""

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups, packages, storage
from lab.errors import LabError
from lab.rooms import Room

_PRIVATE = {
    "run": "/run/libvirt",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
_CAPABILITIES = Path("cache", "qemu", "capabilities")
_CAPABILITIES_S = 24 * 3600.0
_START_S = 60
_ANSWER_S = 300


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host of the lab; ``uri`` reaches its libvirtd from outside.

    ``address`` only from inside the lab.
    """

    name: str
    address: str
    uuid: str
    directory: Path

    @property
    def socket(self) -> Path:
        """The read-write unix socket of its libvirtd."""
        return self.directory / "run" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """How a libvirt client on the machine connects."""
        return f"qemu:///system?socket={self.socket}"

    @property
    def peer_uri(self) -> str:
        """How another host's libvirtd connects.

        What a peer-to-peer migration is given as destination.
        """
        return f"qemu+tcp://{self.name}/system"

    @property
    def libvirtd_pid(self) -> int | None:
        """Process id of its libvirtd, seen from outside; None while there is none."""
        settings = str(self.directory / "etc" / "libvirtd.conf").encode()
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and settings in _words(path):
                return int(path.name)
        return None


def prepare(name: str, address: str, directory: Path, names: str) -> LabHost:
    """Write a new host's directories and settings; ``names`` is what its /etc/hosts says."""
    host = LabHost(name, address, str(uuid.uuid4()), directory)
    for part in _PRIVATE:
        (directory / part).mkdir(parents=True)
    (directory / "lib" / "images").mkdir()
    (directory / "hosts").write_text(names)
    (directory / "etc" / "libvirtd.conf").write_text(_libvirtd_conf(host))
    (directory / "etc" / "qemu.conf").write_text(_QEMU_CONF)
    storage.write_pool(directory / "etc")
    (directory / _CAPABILITIES).mkdir(parents=True)
    for each in _kept_capabilities().glob("*.xml"):
        shutil.copy2(each, directory / _CAPABILITIES)
    return host


def keep_capabilities(host: LabHost) -> None:
    """Keep what a host's libvirtd found out about QEMU, for new hosts.

    It starts each emulator several times for it, which takes seconds. libvirt itself judges whether
    a file still holds: by the times of both programs, the kernel and the CPU. A file is kept for a
    day: emulators of former checkouts have one too.
    """
    kept = _kept_capabilities()
    kept.mkdir(parents=True, exist_ok=True)
    for found in (host.directory / _CAPABILITIES).glob("*.xml"):
        if not _is_older(kept / found.name, found):
            continue
        with tempfile.NamedTemporaryFile(dir=kept, delete=False) as new:
            shutil.copy2(found, new.name)
        Path(new.name).replace(kept / found.name)  # other labs may read it at this moment
    for each in kept.iterdir():
        with suppress(FileNotFoundError):  # another lab removed or named it
            if time.time() - each.stat().st_mtime > _CAPABILITIES_S:
                each.unlink()


def _is_older(kept: Path, found: Path) -> bool:
    return not kept.exists() or kept.stat().st_mtime < found.stat().st_mtime


def _kept_capabilities() -> Path:
    return packages.cache() / "capabilities"


def furnish(host: LabHost, room: Room) -> None:
    """Give a host's namespaces its name.

    Its own directories and its own /sys with its control groups.
    """
    lines = ["set -e", f"hostname {host.name}", "mount -t tmpfs -o mode=755 tmpfs /run"]
    # The machine's D-Bus and systemd sockets are hidden with /run: libvirtd would register guests
    # with them.
    for part, target in _PRIVATE.items():
        lines += [f"mkdir -p {target}", f"mount --bind {host.directory}/{part} {target}"]
    lines += [f"mount --bind {host.directory}/hosts /etc/hosts"]
    # A new one with each start, as a machine's own; all hosts would share the real one
    (host.directory / "boot_id").write_text(f"{uuid.uuid4()}\n")
    lines += [f"mount --bind {host.directory}/boot_id /proc/sys/kernel/random/boot_id"]
    room.run("sh", "-c", "\n".join([*lines, cgroups.mounts()]))


def forget_run(host: LabHost) -> None:
    """Empty a host's /run, which does not outlive a power cut.

    Libvirt keeps there which guests were running.
    """
    shutil.rmtree(host.directory / "run")
    (host.directory / "run").mkdir()


def start(host: LabHost, room: Room) -> None:
    """Start libvirtd, which must not run yet, and wait until it answers.

    One that ends before is started again, as systemd does with a host's (Restart=on-failure): what
    its predecessor began may still hold its port for a moment.
    """
    log = host.directory / "log" / "libvirtd.err"
    settings = str(host.directory / "etc" / "libvirtd.conf")
    argv = [shutil.which("libvirtd") or "libvirtd", "--listen", "--config", settings]
    room.spawn(argv, log)
    deadline = time.monotonic() + _START_S
    # Not its socket alone: one that was just killed may still be taking a last connection
    while (refusal := _refusal(host)) is not None:
        if time.monotonic() > deadline:
            raise LabError(
                f"libvirtd of {host.name} did not answer in {_START_S} s: {refusal} "
                f"The log of its libvirtd: {_last_words(host)}"
            )
        time.sleep(0.02)
        if host.libvirtd_pid is None:
            room.spawn(argv, log)


def _refusal(host: LabHost) -> str | None:
    """Why a host's libvirtd does not answer; None: it does."""
    if not _answers(host.socket):
        return "Nothing listens."
    try:
        virsh(host, "capabilities")
    except LabError as error:
        return str(error)
    return None


def virsh(host: LabHost, *args: str, check: bool = True) -> str:
    """Run virsh against a host and answer what it printed.

    Or with ``check`` raise LabError when it fails.

    Raises LabError in any case when there is no answer for minutes.
    """
    argv = ["virsh", "--quiet", "--connect", host.uri, *args]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"virsh {' '.join(args)} on {host.name}: no answer in {_ANSWER_S} s; is it frozen?"
        ) from error
    if check and done.returncode:
        raise LabError(f"virsh {' '.join(args)} on {host.name} failed: {done.stderr.strip()}")
    return (done.stdout if done.returncode == 0 else done.stdout + done.stderr).strip()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def _last_words(host: LabHost) -> str:
    logs = [host.directory / "log" / name for name in ("libvirtd.err", "libvirtd.log")]
    told = "\n".join(log.read_text(errors="replace") for log in logs if log.exists())
    return told.strip()[-2000:] or "it said nothing"


def _words(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _libvirtd_conf(host: LabHost) -> str:
    return f"""\
host_uuid = "{host.uuid}"
# Plain TCP without a password is root for everyone who reaches it: only the lab's own namespaces.
listen_tls = 0
listen_tcp = 1
listen_addr = "{host.address}"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""


_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
namespaces = []
# "logd" would want a virtlogd in each host.
stdio_handler = "file"
# A cut wire shall be noticed in seconds; the defaults take half a minute.
keepalive_interval = 2
keepalive_count = 4
"""
