"""How long a slash command takes from Slack's websocket to the ack, against Bolt's own floor in the same run.

Drover's listener verifies, reads, stores in SQLite and acks; the floor is a Bolt app that only
acks. Both run over real Socket Mode against local workspaces, every program in a process of its
own, and are asked turn by turn, so that what the machine does meanwhile hits both.

    ./drover bench ack [--commands 400]

Claim: at most twice the floor.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any, NoReturn, cast

from slack_bolt import Ack, App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from bench.goals import Goal, conclude
from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.listeners import LOOK_AFTER_SOCKET, Credentials, Listeners
from bot.adapters.slack.manifest import manifest
from bot.adapters.sql.store import SqlStore
from bot.domain.codec import Codec
from bot.ports import Request
from lab.slack import Person

BOT_TOKEN, APP_TOKEN = "xoxb-lab-drover", "xapp-1-lab-drover"
WARM_UP = 30
ROUND = 10
GOAL = 2.0  # times Bolt's floor
PATIENCE = 30.0


class WallClock:
    """The port ``Clock`` by the machine's."""

    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Nobody waits here."""
        raise NotImplementedError(seconds)


def floor(url: str) -> None:
    """An app that only acks, until it is ended."""
    app = App(client=api.client(BOT_TOKEN, url), process_before_response=True)

    @app.command("/kvm")
    def only_ack(ack: Ack) -> None:
        ack()

    client = WebClient(token=APP_TOKEN, base_url=url)
    handler = SocketModeHandler(app, APP_TOKEN, web_client=client, ping_interval=LOOK_AFTER_SOCKET)
    handler.connect()  # type: ignore[no-untyped-call] # bolt left it untyped
    signal.pause()


def drover(url: str) -> None:
    """Drover's listeners over Drover's store, until it is ended."""
    folder = Path(tempfile.mkdtemp())
    store = SqlStore(f"sqlite:///{folder / 'bench.sqlite'}", Codec((Request,)), clock=WallClock())
    chat = SlackChat(api.client(BOT_TOKEN, url))
    me = chat.identity()
    listeners = Listeners(
        Credentials(BOT_TOKEN, APP_TOKEN, api=url),
        team=me.team,
        bot_user=me.user,
        command="/kvm",
        accept=store.accept,
        choices=lambda _source, _typed: [],
        chat=chat,
        per_minute=0,
    )
    listeners.connect()
    signal.pause()


APPS = {"floor": floor, "drover": drover}


def started(stack: ExitStack, *arguments: str) -> None:
    """A Python program of its own, ended with the stack."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(process.wait)
    stack.callback(process.kill)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def workspace_with(stack: ExitStack, app: str) -> Person:
    """Somebody in a workspace of its own, in which this app answers."""
    port = free_port()
    described = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "manifest.json"
    described.write_text(json.dumps(manifest()), encoding="utf-8")
    started(
        stack, "-m", "lab.slack", "--no-page", "--port", str(port), "--manifest", str(described)
    )
    listening(port)
    started(stack, __file__, "--app", app, "--port", str(port))
    ana = Person(cast("Any", SimpleNamespace(port=port)), "U0ANA", "ana")
    deadline = time.monotonic() + PATIENCE
    while not ana.command("/kvm help").ok:
        if time.monotonic() > deadline:
            raise SystemExit(f"{app} did not come up within {PATIENCE:.0f} s")
        time.sleep(0.1)
    return ana


def listening(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def asked(person: Person, times: int) -> list[float]:
    """Milliseconds from the workspace's sending to the ack, for each of so many commands."""
    acks = [person.command("/kvm migrate web-1 host-b") for _ in range(times)]
    assert all(ack.ok and ack.payload is None for ack in acks), (
        "a command was not acked, or not stored"
    )
    return [ack.milliseconds for ack in acks]


def told(name: str, taken: list[float]) -> str:
    """One line of the result."""
    return f"{name:<42} median {median(taken):6.2f} ms   p95 {quantiles(taken, n=20)[-1]:6.2f} ms   n={len(taken)}"


def measured(commands: int) -> NoReturn:
    """Measure, print both and the ratio, and end."""
    with ExitStack() as stack:
        people = {name: workspace_with(stack, name) for name in APPS}
        for person in people.values():
            asked(person, WARM_UP)
        taken: dict[str, list[float]] = {name: [] for name in people}
        for _ in range(commands // ROUND):
            for name, person in people.items():
                taken[name] += asked(person, ROUND)
    ratio = median(taken["drover"]) / median(taken["floor"])
    print(told("Bolt's floor: a listener that only acks", taken["floor"]))
    print(told("Drover: verified, stored in SQLite, acked", taken["drover"]))
    conclude([Goal("an ack, of Bolt's floor", ratio, most=GOAL)])


def main() -> None:
    """The measurement, or one of the apps it measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", type=int, default=400)
    parser.add_argument("--app", choices=APPS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.app:
        APPS[options.app](f"http://127.0.0.1:{options.port}/api/")
    else:
        measured(options.commands)


if __name__ == "__main__":
    main()
