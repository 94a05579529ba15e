"""Keys of hosts and the bot's own, by OpenSSH's programs: what `ssh` itself will go by."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import HypervisorError
from bot.domain.message import words

_SECONDS = 15  # ssh-keyscan itself gives up a connection after 5 s
_BEST = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "ssh-rsa")


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's key as `known_hosts` writes it: ``line``; its ``kind`` and its ``fingerprint``."""

    line: str
    kind: str
    fingerprint: str


def home() -> Path:
    """The folder of this user's keys, as `ssh` finds it: by the list of users, not by ``$HOME``."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh"


def is_known(address: str, port: int) -> bool:
    """Whether this user's `known_hosts` has a key of the host."""
    file = home() / "known_hosts"
    return file.exists() and _run("ssh-keygen", "-F", _place(address, port), "-f", str(file)) != ""


def offered_key(address: str, port: int) -> HostKey:
    """The key that a host shows now. It proves nothing before a person has compared it.

    Raises:
        HypervisorError: no SSH server answers there.
    """
    said = _run("ssh-keyscan", "-T", "5", "-p", str(port), address)
    lines = [line.split() for line in said.splitlines() if not line.startswith("#")]
    keys = {line[1]: line for line in lines if len(line) == 3}
    kind = next((each for each in _BEST if each in keys), "")
    if not kind:
        raise HypervisorError(
            words("No SSH server answers at {address}, port {port}.", address=address, port=port),
            words("Check the address, that sshd runs there, and the firewall."),
            code="no-ssh-server",
        )
    found = keys[kind]
    return HostKey(" ".join([_place(address, port), *found[1:]]), kind, fingerprint(found[2]))


def fingerprint(key: str) -> str:
    """What `ssh-keygen -l` prints of a key in base64."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def trust(key: HostKey) -> None:
    """Add a host's key to this user's `known_hosts`."""
    file = _folder() / "known_hosts"
    with file.open("a", encoding="utf-8") as known:
        known.write(f"{key.line}\n")


def public_key(key_file: str = "") -> str:
    """This user's public key; made first where there is none. ``key_file`` '' is the usual one.

    Raises:
        HypervisorError: it cannot be made.
    """
    usual = [home() / f"id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
    wanted = [Path(key_file).expanduser()] if key_file else usual
    file = next((each for each in wanted if each.exists()), wanted[0])
    if not file.exists():
        if not key_file:
            _folder()
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drover", "-f", str(file))
    public = file.with_name(f"{file.name}.pub")
    if not public.exists():
        raise HypervisorError(
            words("The SSH key {file} cannot be made or read.", file=str(file)),
            words("Make it with `ssh-keygen`, as the user of the bot."),
            code="no-ssh-key",
        )
    return " ".join(public.read_text(encoding="utf-8").split()[:2])


def _folder() -> Path:
    folder = home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _place(address: str, port: int) -> str:
    return address if port == 22 else f"[{address}]:{port}"


def _run(*argv: str) -> str:
    """What a program printed; '' when it fails.

    Raises:
        HypervisorError: the program is not there.
    """
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise HypervisorError(
            words("The program {program} is missing.", program=argv[0]),
            words("Install it: `apt-get install openssh-client`."),
            code="no-ssh-client",
        ) from error
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""
