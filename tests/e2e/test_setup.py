"""`drover init` as a newcomer has it: three hosts with sshd, its commands run as they stand, a VM moved by chat."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.setup import answers, host_commands
from lab import Lab, LabHost, sshd
from tests.e2e.play import runs_once
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAMES = ("host-a", "host-b", "host-c")
# A host's own /etc and /home: what its administrator does is done to no other machine
OWN = """
set -e
mkdir -p "$1/up" "$1/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/up,workdir=$1/work" /etc
mount --bind "$2/etc" /etc/libvirt
mount --bind "$2/hosts" /etc/hosts
mount -t tmpfs -o mode=755 tmpfs /home
rm -rf /etc/pki
mkdir -p /run/sshd
getent group libvirt >/dev/null || groupadd --system libvirt
getent passwd sshd >/dev/null || echo "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin" >> /etc/passwd
"""
# A machine beside them, with keys of its own
DESK = """
set -e
mount --make-rprivate /
mount --bind "$1/ssh" /root/.ssh
mount --bind "$1/hosts" /etc/hosts
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=3) as made:
        for host in made.hosts.values():
            furnish(made, host)
        yield made


def furnish(lab: Lab, host: LabHost) -> None:
    """A host as Debian leaves it: its socket is for the group libvirt, and sshd runs."""
    folder = host.directory / "own"
    folder.mkdir()
    lab.run(host.name, "sh", "-c", OWN, "sh", str(folder), str(host.directory))
    change(lab, host, 'unix_sock_rw_perms = "0700"', 'unix_sock_group = "libvirt"\nunix_sock_rw_perms = "0770"')  # fmt: skip
    sshd._generate(folder / "host_key")
    (folder / "sshd_config").write_text(f"HostKey {folder}/host_key\nUsePAM no\nUseDNS no\n")
    program, libraries = sshd._program(lab, host.name)
    start = f"LD_LIBRARY_PATH={libraries} {program} -D -f {folder}/sshd_config -E {folder}/log &"
    lab.run(host.name, "sh", "-c", start)
    sshd._await_banner(lab, host.name)


def change(lab: Lab, host: LabHost, before: str, after: str) -> None:
    """Change libvirtd's settings and start it anew."""
    settings = host.directory / "etc" / "libvirtd.conf"
    assert before in settings.read_text()
    settings.write_text(settings.read_text().replace(before, after))
    lab.kill_libvirtd(host.name, signal.SIGTERM)
    lab.start_libvirtd(host.name)


class Desk:
    """The machine of the bot: in the hosts' network, with an empty ~/.ssh."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self._net = f"--net=/proc/{lab._switch.pid}/ns/net"
        (folder / "ssh").mkdir(mode=0o700)
        names = (lab.hosts["host-a"].directory / "hosts").read_text()
        (folder / "hosts").write_text(names)
        Path("/root/.ssh").mkdir(mode=0o700, exist_ok=True)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program there, in its folder."""
        whole = [
            "nsenter",
            self._net,
            "unshare",
            "--mount",
            "sh",
            "-c",
            DESK,
            "sh",
            str(self.folder),
            *argv,
        ]
        return subprocess.run(
            whole, cwd=self.folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
            capture_output=True, text=True, check=False, timeout=240, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def drover(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "bot", *words)


def test_what_init_prints_is_enough_for_a_vm_moved_by_chat(lab: Lab, tmp_path: Path) -> None:
    desk = Desk(lab, tmp_path)
    options = [
        *(word for name in NAMES for word in ("--host", name)),
        *("--approvals-channel", "C0APPROVALS", "--ops-channel", "C0OPS"),
        *("--engineer", "U0ANA", "--approver", "U0BRUNO", "--approver", "U0CARLA"),
    ]
    first = desk.drover("init", *options, "--trust-host-keys")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "it does not answer" in first.stdout, "the hosts do not know the bot yet"
    public = (tmp_path / "ssh" / "id_ed25519.pub").read_text()
    for name in NAMES:
        key = (lab.hosts[name].directory / "own" / "host_key.pub").read_text().split()[1]
        assert key in (tmp_path / "ssh" / "known_hosts").read_text()

    user = host_commands.user_commands("drover", " ".join(public.split()[:2]))
    certificates = host_commands.certificate_commands([answers.host(name) for name in NAMES])
    assert user in first.stdout
    assert certificates in first.stdout
    assert host_commands.UNPACK in first.stdout
    made = desk.run("sh", "-ec", certificates)
    assert made.returncode == 0, made.stderr
    for name in NAMES:
        lab.run(name, "sh", "-ec", user)
        lab.run(
            name, "usermod", "--password", "*", "drover"
        )  # without PAM sshd takes `!` for locked
        unpack = host_commands.UNPACK.replace("NAME.tar", str(tmp_path / f"{name}.tar"))
        lab.run(name, "sh", "-ec", unpack)
        change(lab, lab.hosts[name], "listen_tls = 0", "listen_tls = 1")  # no systemd in a lab host

    checked = desk.drover("check", "--verbose")
    for name in NAMES:
        assert f"PASS    host {name}: 0 VMs" in checked.stdout, checked.stdout
    mover = lab.guest("mover", host="host-a")
    config = tmp_path / "config" / "drover.toml"
    moved = desk.run(
        sys.executable, str(ROOT / "tests/e2e/newcomer.py"), str(config), "mover", "host-b"
    )
    assert moved.returncode == 0, moved.stdout[-6000:] + moved.stderr[-3000:]
    until(lambda: lab.where("mover") == ["host-b"], "it is not there")
    runs_once(lab, mover, "host-b")
    again = desk.drover("init", *options)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
