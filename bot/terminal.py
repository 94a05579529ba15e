"""The commands of `drover` that talk to the running bot over its socket, for people and scripts.

Exit codes: 0 done, 1 no bot answers, 2 wrong usage, 3 refused, 4 denied, 5 failed, 6 timed out.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.live import Live

from bot import settings as configuration
from bot.adapters.language import Languages
from bot.adapters.terminal import client
from bot.adapters.terminal.client import NoBotError, RemoteError
from bot.adapters.terminal.render import card_of, for_people, for_programs
from bot.domain.errors import DroverError, SettingsError, UsageError
from bot.domain.message import Message, words
from bot.domain.units import seconds_of

CODES: Mapping[str, int] = {"done": 0, "refused": 3, "denied": 4, "failed": 5, "timed-out": 6}
NO_BOT = 1
REFUSED = 3
EVERY = 5.0  # seconds between two looks of --watch
USUAL = "/run/drover/drover.sock"
A_DAY = 86400
VOTE = re.compile(r"approve\s+(op-)?\d+\s*", re.IGNORECASE)

WAIT = words("Wait for the end of the operation, at most so long, such as 30m.")
JSON = words("Print JSON, for scripts.")
KEY = words("A name for this request: the same name again is the same request.")
WATCH = words("Show it again every 5 seconds, until Ctrl-C.")
SOCKET = words("The bot's socket (default: $DROVER_SOCKET, or `terminal.socket`).")
DO = words(
    "Do what COMMAND says, as in chat, through the running bot.\n\n"
    'For example `drover do "host drain host-a" --wait 1h`. The exit code is 0 when it is done, '
    "3 refused, 4 denied, 5 failed, 6 timed out, 1 when no bot answers."
)
GLASS = words(
    "Ask for fewer votes for a proposed operation while Slack does not answer.\n\n"
    "Only for people and commands of `[break_glass]`. Asks to type a sentence that names the "
    "plan. Everybody who may approve is told."
)
GLASS_REASON = words("Why: a sentence that everybody will read.")
SHORT: Mapping[str, Message] = {
    "approve": words("Approve an operation: shows the plan first, and asks."),
    "deny": words("Deny an operation, with a reason."),
    "withdraw": words("Withdraw an operation that you proposed."),
    "cancel": words("Cancel an operation."),
    "continue": words("Let an operation continue that waits for a person."),
    "retry": words("Propose an operation that ended once more."),
    "details": words("The whole plan of an operation."),
    "ops": words("The latest operations."),
    "approvals": words("What waits for your vote."),
    "hosts": words("Every host: state, VMs, memory, CPU."),
    "vms": words("All VMs, or those matching a name, a host or tag=value."),
    "top": words("What uses the most CPU and memory now."),
}
"""Commands of the chat that have a place of their own beside `drover do`."""


@dataclass
class Session:
    """One use of the socket: how to reach the bot, and how to show what it says."""

    path: Path
    as_json: bool = False
    token: str = ""
    console: Console = field(default_factory=Console)
    answers: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, show: Callable[[RenderableType], None], **params: Any) -> Any:
        """The result of a method; what it shows is shown, or kept for the JSON.

        Raises:
            DroverError: as ``client.call``.
        """
        locale = Languages().of_terminal().locale
        for said in client.call(self.path, method, params, token=self.token, locale=locale):
            if "result" in said:
                return said["result"]
            card = card_of(said["card"])
            if self.as_json:
                self.answers.append(for_programs(card))
            else:
                show(for_people(card))
        return {}

    def do(self, line: str, key: str = "") -> Any:
        """Do what a command says, and show the answer."""
        return self.call("do", self.console.print, line=line, **({"key": key} if key else {}))

    def follow(self, operation: str, seconds: float) -> Any:
        """Follow an operation to its end, its card drawn in place."""
        if self.as_json or not self.console.is_terminal:
            shown: list[RenderableType] = []
            self.answers = []
            found = self.call("follow", shown.append, operation=operation, timeout=seconds)
            if shown:
                self.console.print(shown[-1])
            return found
        with Live(console=self.console, refresh_per_second=4) as live:
            return self.call("follow", live.update, operation=operation, timeout=seconds)

    def watch(self, line: str) -> None:
        """Show a command's answer again and again, until Ctrl-C."""
        with Live(
            console=self.console, auto_refresh=False, screen=self.console.is_terminal
        ) as live:

            def show(drawn: RenderableType) -> None:
                live.update(drawn, refresh=True)

            while True:
                self.call("do", show, line=line)
                time.sleep(EVERY)

    def end(self, result: Any) -> int:
        """Print the JSON where that is wanted; the exit code."""
        if self.as_json:
            answers = self.answers[-1:] if result.get("operation") else self.answers
            click.echo(json.dumps({**result, "answers": answers}, indent=1, ensure_ascii=False))
        return CODES[result["outcome"]]


def run(session: Session, line: str, *, wait: str = "", key: str = "") -> int:
    """Do what a command says and, with ``wait``, follow what it proposed; the exit code."""
    seconds = min(seconds_of(wait), A_DAY) if wait else 0
    try:
        result = session.do(line, key)
        asked = VOTE.fullmatch(line) and result["outcome"] == "done" and not session.as_json
        if asked and sys.stdin.isatty():
            result = _confirm(session, result)
        operation = result.get("operation")
        if wait and operation and result["outcome"] == "done":
            result = session.follow(operation["id"], seconds)
    except (NoBotError, RemoteError) as error:
        return _fail(session, error)
    return session.end(result)


def _confirm(session: Session, result: Any) -> Any:
    """Ask a person whether they approve the plan that was just shown, and vote for exactly it."""
    operation = result["operation"]
    if operation is None or operation["state"] not in ("proposed", "running"):
        return result
    said = _translate(words("Approve exactly this plan?"))
    if not click.confirm(said, default=False):
        return {"outcome": "refused", "operation": operation}
    return session.do(f"approve {operation['id']} {operation['plan_hash']}")


def _fail(session: Session, error: DroverError) -> int:
    if session.as_json:
        said = {"code": error.code, "text": str(error.text), "advice": str(error.advice)}
        click.echo(json.dumps({"outcome": "error", "error": said}, indent=1, ensure_ascii=False))
    else:
        click.echo(f"drover: {_translate(error.text)} {_translate(error.advice)}".strip(), err=True)
    return NO_BOT if isinstance(error, NoBotError) else REFUSED


def _translate(message: Message) -> str:
    return str(Languages().of_terminal().translate(message))


def session_of(config: Path | None, socket: str, *, as_json: bool = False) -> Session:
    """How the bot is reached: by ``--socket``, the environment, or the configuration."""
    path = socket or os.environ.get("DROVER_SOCKET", "") or _configured_socket(config)
    return Session(Path(path), as_json, _token())


def _configured_socket(config: Path | None) -> str:
    """The socket of the configuration, where this user may read one."""
    try:
        return configuration.load(config).terminal.socket or USUAL
    except (SettingsError, OSError):
        if config is not None:
            raise
        return USUAL


def _token() -> str:
    file = os.environ.get("DROVER_TOKEN_FILE", "")
    if not file:
        return os.environ.get("DROVER_TOKEN", "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            words("{path} cannot be read: {reason}.", path=file, reason=str(error)),
            words("Set another file in `DROVER_TOKEN_FILE`."),
        ) from error


def _line(given: tuple[str, ...]) -> str:
    line = given[0] if len(given) == 1 else shlex.join(given)
    if not line.strip():
        raise UsageError(
            words("A command is missing."), words('Type for example `drover do "hosts"`.')
        )
    return line


def add_to(group: click.Group) -> None:
    """Add `do` and the short commands to the command line."""
    group.add_command(_command("do", DO, ""))
    for name, summary in SHORT.items():
        group.add_command(_command(name, summary, name))
    group.add_command(_break_glass)


@click.command("break-glass", help=str(GLASS))
@click.argument("operation")
@click.option("--reason", required=True, help=str(GLASS_REASON))
@click.option("--socket", default="", help=str(SOCKET))
@click.pass_obj
def _break_glass(config: Path | None, operation: str, reason: str, socket: str) -> None:
    session = session_of(config, socket)
    asked = {"operation": operation, "reason": reason}
    try:
        found = session.call("break-glass", session.console.print, **asked)
        if found["operation"]["state"] == "proposed" and sys.stdin.isatty():
            question = words("Type “{sentence}” to do it", sentence=found["sentence"])
            asked["confirm"] = click.prompt(_translate(question))
            found = session.call("break-glass", session.console.print, **asked)
    except (NoBotError, RemoteError) as error:
        sys.exit(_fail(session, error))
    sys.exit(session.end(found))


def _command(name: str, summary: Message, prefix: str) -> click.Command:
    @click.command(name, help=str(summary), context_settings={"ignore_unknown_options": True})
    @click.argument("given", metavar="COMMAND…" if not prefix else "[ARGS]…", nargs=-1,
                    required=not prefix, type=click.UNPROCESSED)  # fmt: skip
    @click.option("--json", "as_json", is_flag=True, help=str(JSON))
    @click.option("--wait", metavar="DURATION", default="", help=str(WAIT))
    @click.option("--watch", is_flag=True, help=str(WATCH))
    @click.option("--key", default="", help=str(KEY))
    @click.option("--socket", default="", help=str(SOCKET))
    @click.pass_obj
    def command(
        config: Path | None,
        given: tuple[str, ...],
        wait: str,
        key: str,
        socket: str,
        *,
        as_json: bool,
        watch: bool,
    ) -> None:
        session = session_of(config, socket, as_json=as_json)
        line = " ".join(filter(None, (prefix, _line(given) if given or not prefix else "")))
        if not watch:
            sys.exit(run(session, line, wait=wait, key=key))
        try:
            session.watch(line)
        except KeyboardInterrupt:
            sys.exit(0)
        except (NoBotError, RemoteError) as error:
            sys.exit(_fail(session, error))

    return command
