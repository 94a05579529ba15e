"""A real PostgreSQL from Debian's package: started in a directory of the test's own, on loopback, and stopped after."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Where Debian keeps the servers; newest last.
_VERSIONS = sorted(
    Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server.

    Its directory is not under pytest's, whose parents only the tests' user may enter.
    """

    bin: Path
    data: Path
    port: int

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{secrets.token_hex(6)}"
        url = f"postgresql://drover@127.0.0.1:{self.port}"
        _as_server(
            [str(self.bin / "psql"), "-qX", f"{url}/postgres", "-c", f"CREATE DATABASE {name}"]
        )
        return f"{url}/{name}"

    def run(self, *words: str) -> None:
        """pg_ctl with these words."""
        # -w waits until it answers; its own log file keeps the pipe free, which would else never
        # close.
        _as_server(
            [str(self.bin / "pg_ctl"), "-D", str(self.data), "-w", "-l", f"{self.data}/log", *words]
        )


def missing() -> str:
    """Why no server can be started here; '' when one can."""
    return "" if _VERSIONS else "PostgreSQL's server is not installed: apt-get install postgresql"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server with the user ``drover``, without disk syncs (nothing here outlives the test)."""
    directory = Path(tempfile.mkdtemp(prefix="drover-pg-"))
    user = _server_user()
    if user:
        shutil.chown(directory, user)
    server = Postgres(_VERSIONS[-1].parent, directory / "data", _free_port())
    try:
        initdb = [
            str(_VERSIONS[-1]),
            "-D",
            str(server.data),
            "-U",
            "drover",
            "-A",
            "trust",
            "-N",
            "--no-instructions",
        ]
        _as_server([*initdb, "-E", "UTF8", "--locale=C.UTF-8"])
        listening = f"-p {server.port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60"
        server.run("-o", listening, "start")
        try:
            yield server
        finally:
            server.run("-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory)


BOUNCER = Path("/usr/sbin/pgbouncer")


@contextmanager
def bouncing(server: Postgres, mode: str, *, size: int = 3) -> Iterator[int]:
    """A PgBouncer before a server, with few connections to share; the port it listens on.

    Args:
        server: which one.
        mode: ``session`` or ``transaction``.
        size: sessions of the server for each database.
    """
    directory = Path(tempfile.mkdtemp(prefix="drover-pgb-"))
    port = _free_port()
    user = _server_user()
    (directory / "bouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=drover\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n"
        f"max_client_conn = 200\nunix_socket_dir =\nlogfile = {directory}/log\n"
    )
    if user:
        shutil.chown(directory, user)
    process = subprocess.Popen(
        [BOUNCER, "-q", directory / "bouncer.ini"],
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _listening(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(directory)


def _listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PgBouncer did not start: {process.poll()}")
        time.sleep(0.05)


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root; its package makes a user for it."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("postgres").pw_name


def _as_server(words: list[str]) -> None:
    done = subprocess.run(
        words, user=_server_user(), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
