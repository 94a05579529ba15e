"""A real OpenSSH server inside a lab host.

With keys of its own, reached from outside by a proxy command.
"""

import shlex
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab import packages
from lab.errors import LabError
from lab.hosts import Lab

PORT = 22
_PACKAGES = ("openssh-server", "libwrap0")
_START_S = 20
# The server drops its rights to this user; the machine need not have it.
_USER = "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin"


@dataclass(frozen=True, slots=True)
class Door:
    """How to log in to one lab host.

    As ``user`` with ``key_file``, through ``proxy_command`` (``%h``, ``%p``).
    """

    host: str
    user: str
    address: str
    key_file: Path
    known_hosts: Path
    proxy_command: str

    @property
    def target(self) -> str:
        """``user@address``."""
        return f"{self.user}@{self.address}"

    @property
    def client(self) -> Path:
        """An ssh that goes through the proxy and knows this host's key alone.

        Whatever the user's own settings are.
        """
        return self.key_file.with_name("ssh")

    @property
    def uri(self) -> str:
        """How a libvirt client on the machine connects through this door.

        It may ask for a password.
        """
        return f"qemu+ssh://{self.target}/system?keyfile={self.key_file}&command={self.client}"


def serve(lab: Lab, host: str) -> Door:
    """Start sshd in a host of the lab, unless it runs already, and wait until it answers.

    It ends with the host; called again after the host was powered on, it starts with the same keys.

    The program is the installed one, or else Debian's, downloaded and unpacked but not installed,
    so that the machine itself gets no server.

    Raises:
        LabError: the program cannot be had, or it does not answer.
    """
    directory = lab.directory / host / "ssh"
    address = lab.hosts[host].address
    proxy = directory / "proxy"
    door = Door(
        host,
        "root",
        address,
        directory / "login_key",
        directory / "known_hosts",
        f"sh {proxy} %h %p",
    )
    if not directory.exists():
        _furnish(door, directory)
    # The first process of a host is another one after each start
    now = f"exec {proxy_command(lab, host)}\n".replace("%h", '"$1"').replace("%p", '"$2"')
    if proxy.exists() and proxy.read_text() == now:
        return door
    proxy.write_text(now)
    program, libraries = _program(lab, host)
    lab.run(host, "mount", "--bind", str(directory / "passwd"), "/etc/passwd")
    lab.run(host, "mkdir", "-p", "/run/sshd")
    # In the background of a shell: as a child of process 1 with a session of its own it takes
    # itself for a daemon already and does not fork.
    start = (
        f"LD_LIBRARY_PATH={libraries} {program} -D -f {directory}/sshd_config -E {directory}/log &"
    )
    lab.run(host, "sh", "-c", start)
    _await_banner(lab, host)
    return door


def _furnish(door: Door, directory: Path) -> None:
    """Its keys and its configuration."""
    directory.mkdir()
    for name in ("host_key", "login_key"):
        _generate(directory / name)
    (directory / "passwd").write_text(_passwd())
    (directory / "sshd_config").write_text(_config(directory, door.address))
    key = (directory / "host_key.pub").read_text().split()[:2]
    door.known_hosts.write_text(f"{door.address} {' '.join(key)}\n")
    door.client.write_text(_client(door))
    door.client.chmod(0o700)


def proxy_command(lab: Lab, host: str) -> str:
    """A shell command whose standard input and output are a connection from.

    Inside the lab's network.
    """
    return f"nsenter --net=/proc/{lab.pid(host)}/ns/net busybox nc %h %p"


def _await_banner(lab: Lab, host: str) -> None:
    command = (
        proxy_command(lab, host).replace("%h", lab.hosts[host].address).replace("%p", str(PORT))
    )
    deadline = time.monotonic() + _START_S
    while not _greets(command.split()):
        if time.monotonic() > deadline:
            log = lab.directory / host / "ssh" / "log"
            raise LabError(
                f"sshd of {host} did not answer in {_START_S} s: "
                f"{log.read_text() if log.exists() else ''}"
            )
        time.sleep(0.05)


def _greets(argv: list[str]) -> bool:
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        subprocess.Popen(
            argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
        ) as process,
    ):
        theirs.close()
        ours.settimeout(2)
        try:
            return ours.recv(4) == b"SSH-"
        except OSError:
            return False
        finally:
            process.kill()


def _generate(path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        raise LabError("ssh-keygen is missing: apt-get install openssh-client")
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"No key could be made: {done.stderr.strip()}")


def _config(directory: Path, address: str) -> str:
    return f"""\
ListenAddress {address}
Port {PORT}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/login_key.pub
PidFile {directory}/pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
"""


def _client(door: Door) -> str:
    options = [
        f"UserKnownHostsFile={door.known_hosts}",
        "StrictHostKeyChecking=yes",
        f"ProxyCommand={door.proxy_command}",
    ]
    given = " ".join(f"-o {shlex.quote(each)}" for each in options)
    return f'#!/bin/sh\nexec ssh -F none {given} "$@"\n'


def _passwd() -> str:
    """The machine's users with plain ``sh``, and the server's own.

    Bash would read root's start-up files at each command: what they run may be slow, or wait for a
    lock that a killed lab left behind.
    """
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    kept = [":".join([*user[:-1], "/bin/sh"]) for user in users if user[0] != "sshd"]
    return "\n".join([*kept, _USER, ""])


def _program(lab: Lab, host: str) -> tuple[Path, str]:
    """Sshd as a host sees it, and the directories with libraries that only it needs.

    One of another release has its own, which the libraries there fit.
    """
    seen = lab.run(host, "sh", "-c", "PATH=$PATH:/usr/sbin command -v sshd", check=False).strip()
    if seen:
        return Path(seen), ""
    home = packages.unpacked("sshd", _PACKAGES, "usr/sbin/sshd")
    return home / "usr/sbin/sshd", packages.libraries(home)
