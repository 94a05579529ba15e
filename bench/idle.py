"""How long the bot takes to start and how much memory it holds when idle, against the least a Bolt app can need.

Both programs are real processes in Socket Mode against the local workspace; the floor is a Bolt app
that only acks. The bot has SQLite, its plugins and a configured host that does not answer (nothing
of the lab is needed). Start-up is from ``exec`` to the first answered socket; memory is the
resident set after ten quiet seconds.

    ./drover bench idle [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import tomli_w

from bench.goals import Goal, conclude
from bot.stage import POLICY, ROLES
from lab.slack import Command, Workspace

GOALS = {"start until connected": 10.0, "idle memory": 5.0}  # times a Bolt app that only acks

ROOT = Path(__file__).parents[1]
QUIET = 10.0  # seconds
FLOOR = """
import os, signal
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
client = WebClient(token=os.environ["BOT"], base_url=os.environ["API"])
app = App(client=client, process_before_response=True)
app.command("/kvm")(lambda ack: ack())
web = WebClient(token=os.environ["APP"], base_url=os.environ["API"])
SocketModeHandler(app, os.environ["APP"], web_client=web).connect()
signal.pause()
"""


def measured(
    workspace: Workspace, command: Sequence[str], environment: dict[str, str]
) -> tuple[float, float]:
    """Seconds until connected, and MiB resident after a quiet while; the process is ended."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        workspace.wait_connected(60)
        started = time.monotonic() - began
        time.sleep(QUIET)
        return started, resident(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        workspace.wait_for(lambda: None, 1)


def resident(pid: int) -> float:
    """MiB, from proc(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def one_run(directory: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """The floor's and the bot's figures."""
    with Workspace(commands=(Command("/kvm", "x", "help"),)) as space:
        tokens = {"BOT": space.bot_token, "APP": space.app_token, "API": space.web_api}
        floor = measured(space, [sys.executable, "-c", FLOOR], tokens)
    with Workspace(commands=(Command("/kvm", "x", "help"),)) as space:
        config = directory / "drover.toml"
        config.write_text(tomli_w.dumps({
            "slack": {"team": "T0LAB", "approvals_channel": "C0APPROVALS", "api_url": space.web_api},
            "database": {"url": f"sqlite:///{directory}/drover.sqlite"},
            "hosts": [{"name": "host-a", "uri": f"qemu:///system?socket={directory}/none"}],
            "roles": ROLES,
            "policy": POLICY,
        }))  # fmt: skip
        secrets = {"SLACK_BOT_TOKEN": space.bot_token, "SLACK_APP_TOKEN": space.app_token}
        bot = measured(
            space, [sys.executable, "-m", "bot", "--config", str(config), "run"], secrets
        )
    return floor, bot


def main() -> None:
    """Print both, and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    runs = []
    for _ in range(parser.parse_args().runs):
        with tempfile.TemporaryDirectory() as directory:
            runs.append(one_run(Path(directory)))
    floors, bots = zip(*runs, strict=True)
    goals = []
    for index, (what, unit) in enumerate((("start until connected", "s"), ("idle memory", "MiB"))):
        low, ours = median(each[index] for each in floors), median(each[index] for each in bots)
        print(
            f"{what:22}  Bolt alone {low:7.2f} {unit}   Drover {ours:7.2f} {unit}   ratio {ours / low:.2f}"
        )
        goals.append(Goal(f"{what}, of Bolt alone", ours / low, most=GOALS[what]))
    conclude(goals)


if __name__ == "__main__":
    main()
