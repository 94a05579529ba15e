"""The set-up as a conversation in the terminal: what options do not say is asked for."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from bot import check
from bot import settings as configuration
from bot.adapters.ssh import known_hosts
from bot.domain.errors import DroverError, SettingsError, UsageError
from bot.domain.message import Code, Message, nwords, words
from bot.factories import app_manifest
from bot.setup import answers, host_commands

T = TypeVar("T")
Say = Callable[[Message], str]
"""Writes a message in the terminal's language."""
MANIFEST = "slack-manifest.json"
LAUNCHER = Path(__file__).parents[2] / "drover"
"""A checkout's; there is none in a wheel."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the options say; what is empty is asked for."""

    hosts: tuple[str, ...] = ()
    approvals_channel: str = ""
    ops_channel: str = ""
    engineers: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    key_file: str = ""
    zone: str = "UTC"
    locale: str = "en"
    trust_host_keys: bool = False
    force: bool = False


class Setup:
    """One run of `drover init`.

    Args:
        given: by options.
        file: where the configuration is written.
        say: writes a message in the terminal's language.
    """

    def __init__(self, given: Given, file: Path, say: Say) -> None:
        self._given = given
        self._file = file
        self._say = say
        self._asks = sys.stdin.isatty()

    def run(self) -> bool:
        """Ask, write, try; whether nothing failed.

        Raises:
            DroverError: something is missing and nobody can be asked, or nothing can be written.
        """
        if self._file.exists() and not self._given.force:
            raise SettingsError(
                words("{file} exists already.", file=str(self._file)),
                words("Edit it, name another with {option}, or add `--force`.", option=Code(PATH)),
                code="config-exists",
            )
        public = known_hosts.public_key(self._given.key_file)
        found = self._answers()
        self._write(found)
        self._show_host_commands(found, public)
        self._ready(words("Press Enter when the hosts are ready."))
        for host in found.hosts:
            self._trust(host)
        fine = self._try(found)
        while not fine and self._asks and self._yes(words("Try the connections again?")):
            fine = self._try(found)
        self._show_next()
        return fine

    def _answers(self) -> answers.Answers:
        given = self._given
        key = given.key_file
        return answers.Answers(
            hosts=self._several(
                given.hosts,
                "--host",
                words("Host (`NAME`, `USER@NAME` or `NAME=URI`; empty when that was the last)"),
                lambda text: answers.host(text, key),
            ),
            approvals_channel=self._one(
                given.approvals_channel,
                "--approvals-channel",
                words("Id of the channel for proposals (C…)"),
                answers.channel,
            ),
            ops_channel=self._one(
                given.ops_channel,
                "--ops-channel",
                words("Id of the channel for alerts and digests (C…)"),
                answers.channel,
            ),
            engineers=self._several(
                given.engineers,
                "--engineer",
                words("Who may ask: id of a person (U…) or of a user group (empty: the last)"),
                answers.person,
            ),
            approvers=self._several(
                given.approvers,
                "--approver",
                words("Who may approve: id of a person or of a user group (empty: the last)"),
                answers.person,
            ),
            key_file=key,
            zone=given.zone,
            locale=given.locale,
        )

    def _one(self, given: str, option: str, question: Message, read: Callable[[str], T]) -> T:
        if given:
            return read(given)
        while True:
            try:
                return read(self._ask(option, question))
            except UsageError as error:
                self._tell(error.text)
                self._tell(error.advice)

    def _several(
        self, given: Sequence[str], option: str, question: Message, read: Callable[[str], T]
    ) -> tuple[T, ...]:
        if given:
            return tuple(map(read, given))
        found: list[T] = []
        while True:
            text = self._ask(option, question)
            if not text and found:
                return tuple(found)
            if not text:
                self._tell(words("At least one is needed."))
            try:
                found += [read(each) for each in text.replace(",", " ").split()]
            except UsageError as error:
                self._tell(error.text)
                self._tell(error.advice)

    def _ask(self, option: str, question: Message) -> str:
        if not self._asks:
            raise UsageError(
                words("{option} is missing, and nobody is there to be asked.", option=Code(option)),
                words("Give it, or start `drover init` in a terminal."),
            )
        answer = click.prompt(self._say(question), default="", show_default=False)
        return str(answer).strip()

    def _yes(self, question: Message) -> bool:
        return click.confirm(self._say(question), default=True)

    def _ready(self, what: Message) -> None:
        if self._asks:
            click.prompt(self._say(what), default="", show_default=False, prompt_suffix=" ")

    def _tell(self, message: Message) -> None:
        click.echo(self._say(message))

    def _head(self, message: Message) -> None:
        click.echo()
        click.secho(self._say(message), bold=True)

    def _write(self, found: answers.Answers) -> None:
        _write_new(self._file, answers.configuration(found), force=self._given.force)
        self._settings = configuration.load(self._file)
        manifest = json.dumps(app_manifest(self._settings), ensure_ascii=False)
        _write_new(self._file.with_name(MANIFEST), f"{manifest}\n", force=True)
        self._head(words("The configuration is in {file}.", file=str(self._file)))

    def _show_host_commands(self, found: answers.Answers, public: str) -> None:
        for user in dict.fromkeys(each.user for each in found.hosts if each.ssh):
            names = tuple(each.name for each in found.hosts if each.user == user)
            self._head(words("As root on {hosts}: a user for the bot, with its key", hosts=names))
            click.echo(host_commands.user_commands(user, public))
        if not any(each.address for each in found.hosts):
            return
        self._head(words("On this machine, in an empty folder: certificates for migrations"))
        click.echo(host_commands.certificate_commands(found.hosts))
        self._head(words("As root on each host, with its own NAME.tar of these"))
        click.echo(host_commands.UNPACK)
        click.echo(host_commands.LISTEN)

    def _trust(self, host: answers.Host) -> None:
        """Show the key of a host that is new, and keep it when a person says that it is right."""
        if not host.ssh or known_hosts.is_known(host.address, host.port):
            return
        try:
            key = known_hosts.offered_key(host.address, host.port)
        except DroverError as error:
            self._tell(error.text)
            self._tell(error.advice)
            return
        self._head(
            words(
                "{host} shows the {kind} key {fingerprint}",
                host=host.name,
                kind=key.kind,
                fingerprint=key.fingerprint,
            )
        )
        self._tell(words("Compare it with what {command} prints there.", command=Code(COMPARE)))
        if self._given.trust_host_keys or (self._asks and self._yes(words("Is it the same?"))):
            known_hosts.trust(key)
            return
        self._tell(words("{host} is not trusted, so it cannot be reached.", host=host.name))

    def _try(self, found: answers.Answers) -> bool:
        """Try each connection, and run `host check` on what answers."""
        self._head(
            nwords(
                "Trying the connection to {n} host",
                "Trying the connections to {n} hosts",
                n=len(found.hosts),
            )
        )
        findings = [*check.offline(self._settings), *check.online(self._settings)]
        click.echo(check.report(findings, say=self._say))
        return all(each.ok for each in findings)

    def _show_next(self) -> None:
        manifest = self._file.with_name(MANIFEST)
        self._head(words("Slack: paste this as the manifest of a new app (api.slack.com/apps)"))
        click.echo(manifest.read_text(encoding="utf-8").strip())
        self._tell(words("It is in {file} too.", file=str(manifest)))
        self._head(words("Then"))
        self._tell(words("1. Install the app, and invite it to both channels: `/invite @Drover`."))
        self._tell(
            words(
                "2. Give its tokens: {bot} (xoxb-…) and {app} (xapp-…), or files named by {file}.",
                bot=Code("SLACK_BOT_TOKEN"),
                app=Code("SLACK_APP_TOKEN"),
                file=Code("SLACK_…_TOKEN_FILE"),
            )
        )
        start = _command(self._file)
        self._tell(words("3. Check all: {command}", command=Code(f"{start} check")))
        self._tell(words("4. Start: {command}", command=Code(f"{start} run")))


PATH = "--config FILE"
COMPARE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"


def _command(file: Path) -> str:
    """Return how this program is called with this configuration: in a checkout by its launcher."""
    name = os.path.relpath(LAUNCHER) if LAUNCHER.is_file() else ""
    program = (name if "/" in name else f"./{name}") if name else "drover"
    usual = str(file) == os.environ.get("DROVER_CONFIG", configuration.DEFAULT_FILE)
    return program if usual else shlex.join([program, "--config", str(file)])


def _write_new(file: Path, text: str, *, force: bool) -> None:
    """Write a file that only its user and group read."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(file, flags, 0o640), "w", encoding="utf-8") as written:
            written.write(text)
    except OSError as error:
        raise SettingsError(
            words(
                "{file} cannot be written: {reason}.", file=str(file), reason=str(error.strerror)
            ),
            words("Name a file where you may write: {option}.", option=Code(PATH)),
        ) from error
