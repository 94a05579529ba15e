"""What people can ask for, and the words they ask with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from bot.domain.definition import Definition
from bot.domain.message import words
from plugins.failover.evidence import Evidence

FAILOVER, READMIT = "host failover", "host readmit"
FAILOVER_SUMMARY = words("Switch a dead host off, prove it, and start its VMs on other hosts.")
READMIT_SUMMARY = words("Admit a host again that failed, without the old copies of its VMs.")
_SKIP = words("A VM to leave off; may be given several times.")
_ONLY = words("Start this VM only; may be given several times.")
_REASON = words("Why, for approvers and the audit.")


@dataclass(frozen=True, slots=True)
class Failover:
    """``host failover``. ``kept``: definitions of the host's VMs; ``evidence``: of its death."""

    host: str
    skip: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    reason: str = ""
    kept: tuple[Definition, ...] = ()
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Readmit:
    """``host readmit``. ``left``: VMs that the host still has defined, each with whether its memory is saved there."""

    host: str
    reason: str = ""
    left: tuple[tuple[str, str, bool], ...] = ()


def failover_grammar() -> click.Command:
    """``host failover HOST [--skip VM]… [--only VM]…`` → ``Failover``."""

    def made(host: str, skip: tuple[str, ...], only: tuple[str, ...], reason: str) -> Failover:
        return Failover(host, skip, only, reason)

    return _command(
        FAILOVER,
        str(FAILOVER_SUMMARY),
        made,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--skip"], multiple=True, metavar="VM", help=str(_SKIP)),
        click.Option(["--only"], multiple=True, metavar="VM", help=str(_ONLY)),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def readmit_grammar() -> click.Command:
    """``host readmit HOST`` → ``Readmit``."""
    return _command(
        READMIT,
        str(READMIT_SUMMARY),
        Readmit,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def _command(name: str, summary: str, callback: Any, *params: click.Parameter) -> click.Command:
    return click.Command(
        name,
        params=list(params),
        callback=callback,
        help=summary,
        short_help=summary,
        add_help_option=False,
    )
