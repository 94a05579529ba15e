"""How long a slash command takes from Slack's websocket to the ack, against Bolt's own floor in the same run.

Drover's listener verifies, reads, stores in SQLite and acks; the floor is a Bolt app that only acks. Both run over
real Socket Mode against the local workspace, turn by turn, so that what the machine does meanwhile hits both.

    python bench/ack.py [--commands 400]

Claim: at most twice the floor.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

from bot.adapters.sql.store import SqlStore
from slack_bolt import Ack, App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from bot.adapters.slack import web
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.listeners import LOOK_AFTER_SOCKET, Credentials, Listeners
from bot.adapters.slack.manifest import manifest
from bot.domain.codec import Codec
from bot.ports import Request
from lab.slack import Person, Workspace

WARM_UP = 30
ROUND = 10
GOAL = 2.0


class WallClock:
    """The port ``Clock`` by the machine's."""

    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Nobody waits here."""
        raise NotImplementedError(seconds)


def floor(stack: ExitStack) -> Person:
    """Somebody in a workspace whose app only acks."""
    workspace = stack.enter_context(Workspace(manifest=manifest()))
    app = App(client=web.client(workspace.bot_token, workspace.web_api), process_before_response=True)

    @app.command("/kvm")
    def only_ack(ack: Ack) -> None:
        ack()

    client = WebClient(token=workspace.app_token, base_url=workspace.web_api)
    handler = SocketModeHandler(app, workspace.app_token, web_client=client, ping_interval=LOOK_AFTER_SOCKET)
    handler.connect()  # type: ignore[no-untyped-call] # bolt left it untyped
    stack.callback(handler.close)
    workspace.wait_connected()
    return workspace.person("ana")


def drover(stack: ExitStack, accept: Callable[[Request], bool]) -> Person:
    """Somebody in a workspace with Drover's listeners."""
    workspace = stack.enter_context(Workspace(manifest=manifest()))
    chat = SlackChat(web.client(workspace.bot_token, workspace.web_api))
    stack.callback(chat.close)
    me = chat.identity()
    listeners = Listeners(
        Credentials(workspace.bot_token, workspace.app_token, api=workspace.web_api),
        team=me.team,
        bot_user=me.user,
        command="/kvm",
        accept=accept,
        wake=lambda: None,
        choices=lambda _source, _typed: [],
        chat=chat,
        per_minute=0,
    )
    listeners.connect()
    stack.callback(listeners.close)
    workspace.wait_connected()
    return workspace.person("ana")


def asked(person: Person, times: int) -> list[float]:
    """Milliseconds from the workspace's sending to the ack, for each of so many commands."""
    acks = [person.command("/kvm migrate web-1 host-b") for _ in range(times)]
    assert all(ack.ok and ack.payload is None for ack in acks), "a command was not acked"
    return [ack.milliseconds for ack in acks]


def told(name: str, taken: list[float]) -> str:
    """One line of the result."""
    return f"{name:<42} median {median(taken):6.2f} ms   p95 {quantiles(taken, n=20)[-1]:6.2f} ms   n={len(taken)}"


def main() -> None:
    """Measure and print both and the ratio."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--commands", type=int, default=400)
    commands = options.parse_args().commands
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = SqlStore(f"sqlite:///{folder / 'bench.sqlite'}", Codec((Request,)), clock=WallClock())
        stack.callback(store.close)
        people = {"floor": floor(stack), "drover": drover(stack, store.accept)}
        for person in people.values():
            asked(person, WARM_UP)
        taken: dict[str, list[float]] = {name: [] for name in people}
        for _ in range(commands // ROUND):
            for name, person in people.items():
                taken[name] += asked(person, ROUND)
        stored = len(store.unhandled())
    assert stored == WARM_UP + len(taken["drover"]), f"{stored} stored"
    ratio = median(taken["drover"]) / median(taken["floor"])
    print(told("Bolt's floor: a listener that only acks", taken["floor"]))
    print(told("Drover: verified, stored in SQLite, acked", taken["drover"]))
    print(f"ratio {ratio:.2f} (goal: at most {GOAL:.0f})")


if __name__ == "__main__":
    main()
