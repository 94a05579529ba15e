"""Keys of hosts as OpenSSH keeps them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bot.adapters.ssh import known_hosts
from bot.domain.errors import HypervisorError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(known_hosts, "home", lambda: tmp_path / ".ssh")
    return tmp_path / ".ssh"


@pytest.mark.process
def test_a_key_is_made_once_and_its_fingerprint_is_that_of_ssh_keygen(home: Path) -> None:
    public = known_hosts.public_key()
    assert public == known_hosts.public_key()
    argv = ["ssh-keygen", "-l", "-f", str(home / "id_ed25519.pub")]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1]
    kind, key = public.split()
    assert (kind, known_hosts.fingerprint(key)) == ("ssh-ed25519", shown)
    assert home.stat().st_mode & 0o077 == 0


@pytest.mark.process
@pytest.mark.parametrize(("port", "other"), [(22, 2222), (2222, 22)])
def test_a_host_is_known_once_its_key_is_trusted(port: int, other: int) -> None:
    line = f"{known_hosts._place('host-a', port)} {known_hosts.public_key()}"
    assert not known_hosts.is_known("host-a", port)
    known_hosts.trust(known_hosts.HostKey(line, "ssh-ed25519", ""))
    assert known_hosts.is_known("host-a", port)
    assert not known_hosts.is_known("host-a", other)


@pytest.mark.process
def test_where_no_server_answers_is_told() -> None:
    with pytest.raises(HypervisorError) as told:
        known_hosts.offered_key("127.0.0.1", 9)
    assert told.value.code == "no-ssh-server"
