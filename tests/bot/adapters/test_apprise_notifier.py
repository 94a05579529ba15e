"""Mail to a real SMTP server, and a webhook to a real receiver, through apprise."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from bot.adapters.apprise_notifier import AppriseNotifier
from bot.adapters.language import Languages
from bot.domain.card import Card, Section, words
from bot.domain.errors import NotifierError, SettingsError
from bot.domain.metrics import AlertSeverity

SECRET = "s3cret-passw0rd"
CARD = Card(
    "host-b does not answer",
    words("{host} does not answer", host="host-b"),
    (Section(words("*3 VMs* were last seen there, with <b>names</b> like {vm}.", vm="<script>&")),),
)


class Mailbox:
    """What the SMTP server received; ``refuse``: it takes nothing."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refuse:
            return "451 not now"
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield box, port
    finally:
        server.stop()


class Receiver(ThreadingHTTPServer):
    """A webhook receiver that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.bodies: list[Any] = []
        self.answer = 200


class _Keep(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def mail_url(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?from=drover@example.org&to=on-call@example.org&mode=insecure"


def notifier(url: str, locale: str = "en") -> AppriseNotifier:
    return AppriseNotifier("on-call", url, Languages(locale))


def test_a_mail_arrives_with_its_title_as_subject_and_nothing_as_markup(
    mailbox: tuple[Mailbox, int],
) -> None:
    box, port = mailbox
    notifier(mail_url(port)).send(CARD, AlertSeverity.CRITICAL)
    (mail,) = box.mails
    assert "host-b does not answer" in str(mail["Subject"])
    assert "on-call@example.org" in str(mail["To"])
    assert mail.get_content_type() == "text/plain"
    assert "3 VMs were last seen there, with <b>names</b> like <script>&." in mail.get_content()


def test_a_title_of_many_lines_adds_no_header(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    strange = Card("x", "down\r\nBcc: everybody@example.org\r\n\r\nbody", (Section("x"),))
    notifier(mail_url(port)).send(strange, AlertSeverity.WARNING)
    (mail,) = box.mails
    assert mail["Bcc"] is None
    assert "everybody" in str(mail["Subject"])


def test_a_mail_that_is_refused_is_an_error_without_the_address(
    mailbox: tuple[Mailbox, int],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    box, port = mailbox
    box.refuse = True
    caplog.set_level(logging.DEBUG)
    url = mail_url(port).replace("mailto://", f"mailto://ana:{SECRET}@")
    with pytest.raises(NotifierError) as told:
        notifier(url).send(CARD, AlertSeverity.CRITICAL)
    out, err = capfd.readouterr()
    for said in (
        str(told.value.text),
        str(told.value.advice),
        repr(told.value),
        caplog.text,
        out,
        err,
    ):
        assert SECRET not in said
    assert "on-call" in str(told.value.text)


def test_nobody_listening_is_an_error(mailbox: tuple[Mailbox, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NotifierError):
        notifier(f"json://127.0.0.1:{port}/").send(CARD, None)


def test_a_webhook_gets_title_text_and_kind(receiver: Receiver) -> None:
    way = notifier(f"json://user:{SECRET}@127.0.0.1:{receiver.server_port}/hook")
    way.send(CARD, AlertSeverity.CRITICAL)
    way.send(Card("host-b answers again"), None)
    first, second = receiver.bodies
    assert first["title"] == "host-b does not answer"
    assert "<b>names</b>" in first["message"]
    assert (first["type"], second["type"]) == ("failure", "success")


def test_a_webhook_that_answers_with_an_error_took_nothing(receiver: Receiver) -> None:
    receiver.answer = 503
    with pytest.raises(NotifierError):
        notifier(f"json://127.0.0.1:{receiver.server_port}/").send(CARD, None)


def test_the_message_is_in_the_language_of_the_channels(receiver: Receiver) -> None:
    card = Card(words("Resolved: {title}", title="x"))
    notifier(f"json://127.0.0.1:{receiver.server_port}/", "pt_BR").send(card, None)
    assert receiver.bodies[0]["title"] == "Resolvido: x"


@pytest.mark.parametrize("url", ["", f"nothing://{SECRET}@host", f"mailto:{SECRET}", SECRET])
def test_an_address_that_is_not_understood_is_told_without_it(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SettingsError) as told:
        notifier(url)
    assert SECRET not in f"{told.value.text} {told.value.advice} {caplog.text}"


def test_addresses_in_the_configuration_file_are_refused_and_not_repeated(tmp_path: Path) -> None:
    from bot import settings

    file = tmp_path / "drover.toml"
    file.write_text(f'[[tell]]\nname = "on-call"\nurls = ["mailto://ana:{SECRET}@host"]\n')
    with pytest.raises(SettingsError) as told:
        settings.load(file)
    assert "urls_file" in str(told.value.text)
    assert SECRET not in f"{told.value.text} {told.value.advice}"
