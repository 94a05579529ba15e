"""The commands' grammars, what they look at, and the plan of `host maintenance`; pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from bot.domain.card import ChoiceField, Form
from bot.domain.cluster import Snapshot
from bot.domain.errors import MISSING, UnknownNameError, UsageError
from bot.domain.message import Message
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.steps import SetMaintenance
from plugins.host_check import cards


@dataclass(frozen=True, slots=True)
class HostCheck:
    """``host check [HOST…] [--verbose] [--page N]``; no host: all of them."""

    hosts: tuple[str, ...] = ()
    page: int = 1
    verbose: bool = False

    def line(self, page: int) -> str:
        """The command that shows a page of the same findings."""
        verbose = ["--verbose"] if self.verbose else []
        turn = ["--page", str(page)] if page > 1 else []
        return shlex.join(["host", "check", *self.hosts, *verbose, *turn])


@dataclass(frozen=True, slots=True)
class HostPair:
    """``host pair A B``: both directions; no host: every pair."""

    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostBaseline:
    """``host baseline [HOST…]``; no host: all that answer."""

    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostMaintenance:
    """``host maintenance HOST on|off``."""

    host: str
    on: bool
    reason: str = ""


def check_grammar() -> click.Command:
    """``host check [HOST…] [--all] [--verbose] [--page N]`` → ``HostCheck``."""

    # Click calls by keyword
    def intent_of(
        hosts: tuple[str, ...],
        everything: bool,  # noqa: FBT001
        verbose: bool,  # noqa: FBT001
        page: int,
    ) -> HostCheck:
        return HostCheck(() if everything else tuple(dict.fromkeys(hosts)), page, verbose)

    passed = click.Option(["--verbose"], is_flag=True, help=str(cards.VERBOSE_HELP))

    pages = click.Option(
        ["--page"],
        type=click.IntRange(1, 1000),
        default=1,
        metavar="N",
        help=str(cards.PAGE_HELP),
    )
    return click.Command(
        "check",
        params=[*_params(), passed, pages],
        callback=intent_of,
        help=str(cards.CHECK),
        add_help_option=False,
    )


def baseline_grammar() -> click.Command:
    """``host baseline [HOST…] [--all]`` → ``HostBaseline``."""
    return _hosts_grammar("baseline", cards.BASELINE, HostBaseline)


def pair_grammar() -> click.Command:
    """``host pair A B`` or ``host pair --all`` → ``HostPair``."""

    # Click calls by keyword
    def pair(hosts: tuple[str, ...], everything: bool) -> HostPair:  # noqa: FBT001
        chosen = () if everything else hosts
        if not everything and len(set(hosts)) < 2:
            raise UsageError(cards.NAME_TWO, code="" if chosen else MISSING)
        return HostPair(tuple(dict.fromkeys(chosen)))

    return click.Command(
        "pair", params=_params(), callback=pair, help=str(cards.PAIR), add_help_option=False
    )


def maintenance_grammar() -> click.Command:
    """``host maintenance HOST on|off [--reason TEXT]`` → ``HostMaintenance``."""

    def maintenance(host: str, switch: str, reason: str) -> HostMaintenance:
        return HostMaintenance(host, switch.lower() == "on", reason.strip())

    return click.Command(
        "maintenance",
        params=[
            click.Argument(["host"], metavar="HOST"),
            click.Argument(
                ["switch"], metavar="on|off", type=click.Choice(["on", "off"], case_sensitive=False)
            ),
            click.Option(["--reason"], default="", metavar="TEXT", help=str(cards.REASON_HELP)),
        ],
        callback=maintenance,
        help=str(cards.MAINTENANCE),
        add_help_option=False,
    )


def maintenance_form() -> Form:
    """Asked when ``host maintenance`` is typed bare."""
    switch = ChoiceField(
        "switch", cards.SWITCH_LABEL, (("on", cards.SWITCH_ON), ("off", cards.SWITCH_OFF))
    )
    host = ChoiceField("host", cards.HOST_LABEL, source="hosts")
    return Form(
        "host maintenance", cards.MAINTENANCE_TITLE, cards.MAINTENANCE_SUBMIT, (host, switch)
    )


def _params() -> list[click.Parameter]:
    return [
        click.Argument(["hosts"], nargs=-1, metavar="[HOST…]"),
        click.Option(["--all", "everything"], is_flag=True, help=str(cards.ALL_HELP)),
    ]


def _hosts_grammar(name: str, summary: Message, intent: type[HostBaseline]) -> click.Command:
    # As above
    def intent_of(hosts: tuple[str, ...], everything: bool) -> HostBaseline:  # noqa: FBT001
        return intent(() if everything else tuple(dict.fromkeys(hosts)))

    return click.Command(
        name, params=_params(), callback=intent_of, help=str(summary), add_help_option=False
    )


def hosts_asked(hosts: Iterable[str], snapshot: Snapshot) -> tuple[str, ...]:
    """The hosts asked for, or all.

    Raises:
        UnknownNameError: one of them is none.
        UsageError: there are no hosts.
    """
    names = tuple(snapshot.host(name).name for name in hosts) or tuple(
        host.name for host in snapshot.hosts
    )
    if not names:
        raise UsageError(cards.NO_HOSTS, cards.ADD_HOSTS)
    return names


# An Action's shape
def plan(
    intent: HostMaintenance,
    snapshot: Snapshot,
    rules: Iterable[Rule],  # noqa: ARG001
) -> Plan | Refused:
    """The one step, with what still runs there as a warning."""
    try:
        host = snapshot.host(intent.host)
    except UnknownNameError as error:
        return Refused(
            cards.maintenance_title(intent.host, on=intent.on),
            (Objection("unknown-host", error.text, error.advice),),
        )
    title = cards.maintenance_title(host.name, on=intent.on)
    if host.maintenance == intent.on:
        return Refused(title, (cards.no_change(host.name, on=intent.on),))
    return Plan(
        title=title,
        steps=(SetMaintenance(host.name, intent.on, intent.reason),),
        risk=Risk.LOW,
        blast=Blast(hosts=(host.name,)),
        reasons=(cards.consequence(host.name, on=intent.on),),
        warnings=tuple(_warnings(snapshot, host.name)) if intent.on else (),
    )


def _warnings(snapshot: Snapshot, host: str) -> Iterator[Reason]:
    """Yield who still runs on a host in maintenance, and that no other host is in service."""
    guests = [vm.name for vm in snapshot.on(host) if vm.state.active]
    if guests:
        yield cards.remaining_vms(host, guests, up=snapshot.host(host).up)
    if not any(each.up and not each.maintenance and each.name != host for each in snapshot.hosts):
        yield cards.last_host(host)


def recheck(
    intent: HostMaintenance,
    planned: Plan,  # noqa: ARG001
    snapshot: Snapshot,
    rules: Iterable[Rule],  # noqa: ARG001 - an Action's shape
) -> tuple[Objection, ...]:
    """It is not so already; who runs there by now does not matter, for nobody is moved."""
    now = plan(intent, snapshot, ())
    return now.objections if isinstance(now, Refused) else ()
