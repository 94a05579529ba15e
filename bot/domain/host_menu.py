"""What can be done with a host in its state, as buttons that type it or open its dialog."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from bot.domain.card import Button
from bot.domain.cluster import Host
from bot.domain.message import Words, words
from bot.domain.pages import MORE, ROW

SHOW, STATUS = "show host", "failover status"


def host_buttons(host: Host, allowed: Collection[str]) -> tuple[Button, ...]:
    """The buttons of one host, as far as the commands behind them are allowed."""
    name = shlex.quote(host.name)
    return tuple(
        Button(text, ROW, " ".join((command, *([] if command == STATUS else [name]), *rest)))
        for text, command, rest in _choices(host)
        if command in allowed
    )


def _choices(host: Host) -> Sequence[tuple[Words, str, tuple[str, ...]]]:
    """Label, command, and what follows the host's name; MORE where a dialog asks for the rest."""
    if not host.up:
        return (
            (words("Readiness for a failover"), STATUS, ()),
            (words("What a failover would do"), "failover drill", ()),
        )
    check = (words("Check it"), "host check", ())
    if host.maintenance:
        return ((words("Undrain…"), "host undrain", (MORE,)), check)
    return (
        (words("Drain…"), "host drain", (MORE,)),
        (words("Maintenance…"), "host maintenance", ("on", MORE)),
        check,
    )
