"""The bot as a process of its own, for the demo and the e2e tests.

Between real hosts and a local workspace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tomli_w

from bot.domain.errors import DroverError
from lab import Lab
from lab.bmc import PASSWORD, USER, Bmcs
from lab.image import COMMAND_LINE, cloud_image
from lab.network import GUEST_BRIDGE
from lab.slack import Workspace
from lab.sshd import Door
from lab.storage import POOL

# The e2e tests have Slack's rate limits with minutes of 3 s, so that they do not wait for real ones
PACE = 20.0
ROOT = Path(__file__).parents[1]
POLICY: Mapping[str, Any] = {
    "rules": [{"name": "default", "votes": 1, "approvers": ["approver"], "expires": "1h"}]
}
ROLES: Mapping[str, Any] = {
    "engineer": {"users": ["U0ANA"], "may": ["*"]},
    "approver": {"users": ["U0BRUNO", "U0CARLA"], "may": ["*"]},
}


def config_for(lab: Lab, workspace: Workspace, directory: Path, **more: Any) -> dict[str, Any]:
    """A configuration for the lab's hosts and the local workspace.

    ``more`` replaces whole tables.
    """
    return {
        "replica": "drover-1",
        "slack": {
            "team": "T0LAB",
            "ops_channel": "C0OPS",
            "approvals_channel": "C0APPROVALS",
            "api_url": workspace.web_api,
            "requests_per_minute": 600,
            "pace": workspace.pace or 1000.0,
        },
        "database": {"url": f"sqlite:///{directory}/drover.sqlite"},
        "hosts": hosts_for(lab, {}),
        "roles": ROLES,
        "policy": POLICY,
        **more,
    }


def hosts_for(lab: Lab, doors: Mapping[str, Door]) -> list[dict[str, Any]]:
    """The tables ``[[hosts]]`` of a lab, with a shell where there is a door."""
    shells = {
        name: {
            "to": door.target,
            "key_file": str(door.key_file),
            "known_hosts": str(door.known_hosts),
            "proxy_command": door.proxy_command,
        }
        for name, door in doors.items()
    }
    return [
        {
            "name": h.name,
            "uri": h.uri,
            "migrate_uri": h.peer_uri,
            **({"ssh": shells[h.name]} if h.name in shells else {}),
        }
        for h in lab.hosts.values()
    ]


def with_power(
    hosts: Sequence[dict[str, Any]], served: Bmcs, directory: Path, deadline: float = 6.0
) -> list[dict[str, Any]]:
    """The tables ``[[hosts]]`` with the lab's power controllers.

    Each has ``deadline`` seconds to answer.
    """
    secret = directory / "bmc-password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)

    def fence(name: str) -> dict[str, Any]:
        options = {
            "url": served.url,
            "ca_file": str(served.certificate),
            "system": served.system(name),
            "username": USER,
        }
        return {
            "agent": "redfish",
            "name": f"bmc-{name}",
            "password_file": str(secret),
            "deadline": deadline,
            "options": options,
        }

    return [{**host, "fence": [fence(host["name"])]} for host in hosts]


def image_for(lab: Lab) -> dict[str, Any]:
    """The table ``[plugins.vm_lifecycle]`` of a lab.

    Its small cloud image, laid into every host's pool.
    """
    image = cloud_image()
    for host in lab.hosts.values():
        shutil.copy(image.disk, host.directory / "lib" / "images" / "tiny.qcow2")
    tiny = {
        "base": f"{POOL}/tiny.qcow2",
        "user": "drover",
        "least_memory": "100M",
        "least_disk": "32M",
        "kernel": str(image.kernel),
        "initrd": str(image.initrd),
        "cmdline": COMMAND_LINE,
    }
    return {
        "images": {"tiny": tiny},
        "default_image": "tiny",
        "default_cpus": 1,
        "default_memory": "112M",
        "default_disk": "48M",
        "pool": POOL,
        "network": GUEST_BRIDGE,
    }


class BotProcess:
    """``drover run`` as a child: started, killed and started again at will.

    Args:
        workspace: where its tokens come from.
        directory: holds its configuration, database and log.
        config: what to write as its configuration.
        environment: set on top of this process's own.
    """

    def __init__(
        self,
        workspace: Workspace,
        directory: Path,
        config: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._workspace = workspace
        self.config = directory / f"{config['replica']}.toml"
        self.log = directory / f"{config['replica']}.log"
        self.config.write_text(tomli_w.dumps(config), encoding="utf-8")
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What the bot's process sees: the tokens come from here, never from a file in the tree."""
        return {
            **os.environ,
            # What the caller's holds stays: a plugin that is one file is found there
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "PYTHONFAULTHANDLER": "1",
            "SLACK_BOT_TOKEN": self._workspace.bot_token,
            "SLACK_APP_TOKEN": self._workspace.app_token,
            "SLACK_SIGNING_SECRET": self._workspace.signing_secret,
            **self._environment,
        }

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout: float = 60.0, **environment: str) -> None:
        """Start it and wait until it says that it runs.

        Raises:
            DroverError: it ended instead; the text is the end of its log.
        """
        command = [sys.executable, "-m", "bot", "--config", str(self.config), "run"]
        with self.log.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**self.environment, **environment}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        while b"Drover is running." not in self._read_log(before):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise DroverError(
                    # no message: the lab's
                    "The bot did not start.",
                    self._read_log(before).decode(errors="replace")[-3000:],
                )
            time.sleep(0.02)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it as a crash would, and wait until it is gone."""
        if self.pid:
            os.kill(self.pid, number)
        self.wait(30)

    def wait(self, timeout: float) -> int | None:
        """Wait until it has ended by itself; its exit code."""
        return self._process.wait(timeout) if self._process else None

    def stop(self) -> None:
        """End it as an operator would.

        Raises:
            DroverError: it still ran half a minute later, and was killed; the text is where each of
                its threads stood.
        """
        if self.pid is None or self._process is None:
            return
        before = self.log.stat().st_size
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGABRT)  # which writes the threads' stacks into the log
            raise DroverError(
                # no message: the lab's
                "The bot did not end when it was told to.",
                self._read_log(before).decode(errors="replace")[-20000:],
            ) from None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another ``drover`` command with the same configuration."""
        argv = [sys.executable, "-m", "bot", "--config", str(self.config), *words]
        return subprocess.run(
            argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def _read_log(self, since: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(since)
            return log.read()
