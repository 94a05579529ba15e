"""What a set-up is told, checked, and written as a configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.domain.errors import UsageError
from bot.domain.message import Code, words

USER = "drover"
"""The bot's user on hosts, where none is given."""
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?")
_SSH = re.compile(r"((?P<user>[a-z_][a-z0-9_-]*)@)?(?P<address>[^@\s:/]+)(:(?P<port>\d{1,5}))?")
_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,}")
_PERSON = re.compile(r"[UW][A-Z0-9]{2,}")
_GROUP = re.compile(r"S[A-Z0-9]{2,}|[a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Host:
    """A host: ``ssh`` is ``user@address`` or ``user@address:port``; '' where it is not used."""

    name: str
    uri: str
    ssh: str = ""

    @property
    def address(self) -> str:
        """Its name or address for other hosts; '' for one on this machine."""
        return urlsplit(self.uri).hostname or ""

    @property
    def port(self) -> int:
        """Where its sshd listens."""
        return urlsplit(self.uri).port or 22

    @property
    def user(self) -> str:
        """The bot's user there; '' without SSH."""
        return self.ssh.partition("@")[0] if self.ssh else ""


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that a configuration needs. ``key_file`` '' is the user's usual SSH key."""

    hosts: tuple[Host, ...]
    approvals_channel: str
    ops_channel: str
    engineers: tuple[str, ...]
    approvers: tuple[str, ...]
    key_file: str = ""
    zone: str = "UTC"
    locale: str = "en"


def host(text: str, key_file: str = "") -> Host:
    """A host as a person writes it: ``host-a``, ``drover@host-a:22``, ``NAME=`` either, or a URI.

    Raises:
        UsageError: it is none of these.
    """
    name, equals, place = text.strip().partition("=") if not _is_uri(text) else ("", "", text)
    place = place if equals or not name else name
    if _is_uri(place):
        name = name or (urlsplit(place).hostname or "")
        _check_name(name, text)
        return Host(name, place)
    found = _SSH.fullmatch(place)
    if found is None:
        raise _no_host(text)
    name = name if equals else found["address"]
    _check_name(name, text)
    port = f":{found['port']}" if found["port"] else ""
    to = f"{found['user'] or USER}@{found['address']}{port}"
    key = f"&keyfile={key_file}" if key_file else ""
    return Host(name, f"qemu+ssh://{to}/system?no_tty=1{key}", to)


def _is_uri(text: str) -> bool:
    return re.match(r"\s*[a-z]+(\+[a-z]+)?://", text) is not None


def _check_name(name: str, text: str) -> None:
    if not _NAME.fullmatch(name):
        raise _no_host(text)


def _no_host(text: str) -> UsageError:
    return UsageError(
        words("“{text}” is not a host.", text=text.strip()),
        words("Write `host-a`, `drover@host-a:22`, `host-a=10.0.0.1` or `host-a=qemu+tls://…`."),
    )


def channel(text: str) -> str:
    """A channel's id.

    Raises:
        UsageError: it is none.
    """
    if not _CHANNEL.fullmatch(text.strip()):
        raise UsageError(
            words("“{text}” is not the id of a channel.", text=text.strip()),
            words("It begins with C: in Slack, channel details, at the very bottom."),
        )
    return text.strip()


def person(text: str) -> str:
    """A person's id, or a user group's id or handle.

    Raises:
        UsageError: it is none.
    """
    given = text.strip().removeprefix("@")
    if not (_PERSON.fullmatch(given) or _GROUP.fullmatch(given)):
        raise UsageError(
            words("“{text}” is not the id of a person or a user group.", text=text.strip()),
            words("A person's id begins with U: in Slack, profile, ⋮, {item}.", item=Code(COPY_ID)),
        )
    return given


COPY_ID = "Copy member ID"


def configuration(answers: Answers) -> str:
    """The TOML file."""
    return "\n".join(
        [
            _HEAD,
            f"zone = {_text(answers.zone)}",
            f"locale = {_text(answers.locale)}",
            "",
            "[slack]",
            f"approvals_channel = {_text(answers.approvals_channel)}",
            f"ops_channel = {_text(answers.ops_channel)}",
            "",
            *(line for each in answers.hosts for line in _host_lines(each, answers)),
            *_role("engineer", answers.engineers),
            *_role("approver", answers.approvers),
            _POLICY,
        ]
    )


# no message: a comment in the file
_HEAD = """\
# Written by `drover init`. Every key, with its default, is in config/drover.example.toml.
# Secrets are not here: SLACK_BOT_TOKEN and SLACK_APP_TOKEN, or …_FILE naming a file with each."""
_POLICY = """\
# The first rule whose conditions all hold decides. The requester's own vote never counts.
[[policy.rules]]
name = "default"
votes = 1
approvers = ["approver"]
"""


def _host_lines(each: Host, answers: Answers) -> list[str]:
    lines = ["[[hosts]]", f"name = {_text(each.name)}", f"uri = {_text(each.uri)}"]
    if each.address:
        between = f"qemu+tls://{each.address}/system"
        lines.append(f"migrate_uri = {_text(between)} # how the other hosts reach it")
        lines.append("migrate_tls = true # encrypt the memory of VMs on its way")
    if each.ssh and answers.key_file:
        lines.append(f"ssh = {{ to = {_text(each.ssh)}, key_file = {_text(answers.key_file)} }}")
    elif each.ssh:
        lines.append(f"ssh = {_text(each.ssh)}")
    return [*lines, ""]


def _role(name: str, who: Sequence[str]) -> list[str]:
    people = [each for each in who if _PERSON.fullmatch(each)]
    groups = [each for each in who if not _PERSON.fullmatch(each)]
    lines = [f"[roles.{name}]"]
    lines += [f"users = {_text(people)}"] if people else []
    lines += [f"groups = {_text(groups)}"] if groups else []
    return [*lines, 'may = ["*"]', ""]


def _text(value: object) -> str:
    """As TOML: its strings and arrays of strings are JSON's."""
    return json.dumps(value, ensure_ascii=False)
