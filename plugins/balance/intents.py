"""Requests of this plugin, and the grammars that read them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from bot.domain.cluster import Scheduler
from bot.domain.codec import later
from bot.domain.errors import MISSING, UsageError
from bot.domain.message import Message, words
from bot.domain.past_moves import PastMove
from bot.domain.units import size
from bot.plugin_api import Instead, MetricName, Picked
from plugins.balance import cards
from plugins.balance.from_snapshot import Moves, Only

MOST_STEPS = 100_000  # `1-999999999` must not become as many numbers
SIM_NAME, WHY_NAME = "balance sim", "balance why"

Wish = tuple[str, str]
"""A VM's UUID and the host it is to go to."""

Restore = tuple[tuple[str, Scheduler], ...]
"""UUIDs of VMs and the CPU parameters to give them back."""


@dataclass(frozen=True, slots=True)
class Balance:
    """``balance …``; ``max_moves`` and ``min_gain`` (of each move) 0: configured value.

    ``skip``: VMs that are to stay. ``wanted``: moves picked of another plan, and ``unwanted``
    the rest of it. ``past``, here and below: what moves took before, for predictions.
    """

    max_moves: int = 0
    min_gain: float = 0.0
    only: Only = Only.ALL
    reason: str = ""
    recent: Moves = ()
    skip: tuple[str, ...] = ()
    wanted: tuple[Wish, ...] = ()
    unwanted: tuple[Wish, ...] = ()
    past: tuple[PastMove, ...] = later(())


@dataclass(frozen=True, slots=True)
class Simulate:
    """``balance sim …``.

    ``without``: hosts as if gone; ``cpus`` and ``memory`` (bytes): as if there were one more.
    """

    wish: Balance
    without: tuple[str, ...] = ()
    cpus: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class About:
    """``balance why VM``."""

    vm: str


@dataclass(frozen=True, slots=True)
class Ways:
    """What may be done with VMs that cannot be moved live as they are.

    ``copy``: their local disks are copied; ``off``: they are shut down. Of all that need it, or
    (``copy_vms``, ``off_vms``) of these by name.
    """

    copy: bool = False
    off: bool = False
    copy_vms: tuple[str, ...] = ()
    off_vms: tuple[str, ...] = ()

    def copies(self, vm: str) -> bool:
        """Whether the disks of this VM may be copied."""
        return vm in self.copy_vms or (self.copy and vm not in self.off_vms)

    def ends(self, vm: str) -> bool:
        """Whether this VM may be shut down."""
        return self.off or vm in self.off_vms


LIVE_ONLY = Ways()


@dataclass(frozen=True, slots=True)
class Drain:
    """``host drain HOST [--copy-storage] [--shutdown] [--copy-vm VM]… [--shutdown-vm VM]…``."""

    host: str
    reason: str = ""
    ways: Ways = later(LIVE_ONLY)
    past: tuple[PastMove, ...] = later(())


@dataclass(frozen=True, slots=True)
class Undrain:
    """``host undrain HOST``.

    ``home``: UUIDs of the VMs that its last drain moved away, ``off`` of those that it shut down;
    see ``drain.with_vms_away``.
    """

    host: str
    home: tuple[str, ...] = ()
    reason: str = ""
    off: tuple[str, ...] = later(())
    past: tuple[PastMove, ...] = later(())


@dataclass(frozen=True, slots=True)
class Rolling:
    """``host rolling --all|HOST… [--run COMMAND [--reboots]]``. ``hosts`` empty: all."""

    hosts: tuple[str, ...]
    command: str = ""
    reboots: bool = False
    reason: str = ""
    ways: Ways = later(LIVE_ONLY)
    past: tuple[PastMove, ...] = later(())


@dataclass(frozen=True, slots=True)
class Shares:
    """``balance shares HOST [--undo]``.

    ``restore``: UUIDs and what they were, see ``shares.with_previous``.
    """

    host: str
    undo: bool = False
    reason: str = ""
    restore: Restore = ()


@dataclass(frozen=True, slots=True)
class Cap:
    """``vm limit VM --cpu 150%|none``; ``percent`` of one core over all vCPUs, 0: none."""

    vm: str
    percent: float
    reason: str = ""


def balance_grammar() -> click.Command:
    """Read ``balance [--dry-run] [--max-moves N] [--min-gain G] [--only …] [--skip VM]…``.

    With ``--dry-run`` it is ``balance sim``, with ``--explain VM`` it is ``balance why``: neither
    needs approval. ``--pick 1,3-5`` takes moves of an open proposal.
    """
    looks = [
        click.Option(["--pick"], metavar="1,3-5", callback=_numbers, help=str(cards.PICK_HELP)),
        click.Option(["--dry-run"], is_flag=True, help=str(cards.DRY_HELP)),
        click.Option(["--explain"], default="", metavar="VM", help=str(cards.EXPLAIN_HELP)),
    ]
    return _command(
        "balance",
        cards.BALANCE,
        _balance,
        [*_knobs(), _reason(), *looks],
        help_text=cards.BALANCE_HELP,
    )


def simulate_grammar() -> click.Command:
    """``balance sim [--without HOST]… [--add cpus=32,memory=256G] …`` → ``Simulate``."""
    size = click.Option(
        ["--add"],
        metavar="cpus=N,memory=SIZE",
        callback=_size_of_host,
        help=str(cards.ADD_HELP),
    )
    return _command("sim", cards.SIM, _simulate, [
        click.Option(["--without"], multiple=True, metavar="HOST", help=str(cards.WITHOUT_HELP)),
        size,
        *_knobs(),
    ])  # fmt: skip


def why_grammar() -> click.Command:
    """``balance why VM`` → ``About``."""
    return _command("why", cards.WHY, About, [click.Argument(["vm"], metavar="VM")])


def drain_grammar() -> click.Command:
    """``host drain HOST [--copy-storage] [--shutdown] …`` → ``Drain``."""
    params = [click.Argument(["host"], metavar="HOST"), *_ways(), _reason()]
    return _command("drain", cards.DRAIN, _drain, params, help_text=cards.DRAIN_HELP)


def _drain(host: str, reason: str, **ways: Any) -> Drain:
    return Drain(host, reason.strip(), _ways_of(**ways))


def _ways() -> list[click.Parameter]:
    return [
        click.Option(["--copy-storage"], is_flag=True, help=str(cards.COPY_HELP)),
        click.Option(["--shutdown"], is_flag=True, help=str(cards.OFF_HELP)),
        click.Option(["--copy-vm"], multiple=True, metavar="VM", help=str(cards.COPY_VM_HELP)),
        click.Option(["--shutdown-vm"], multiple=True, metavar="VM", help=str(cards.OFF_VM_HELP)),
    ]


def _ways_of(
    *, copy_storage: bool, shutdown: bool, copy_vm: tuple[str, ...], shutdown_vm: tuple[str, ...]
) -> Ways:
    if both := sorted(set(copy_vm) & set(shutdown_vm)):
        text = words("{vms}: either copied or shut down, not both.", vms=cards.names_of(both))
        raise UsageError(text, code="both-ways", field="shutdown_vm")
    return Ways(copy_storage, shutdown, tuple(copy_vm), tuple(shutdown_vm))


def undrain_grammar() -> click.Command:
    """``host undrain HOST [--reason …]`` → ``Undrain``."""
    return _command(
        "undrain", cards.UNDRAIN, Undrain, [click.Argument(["host"], metavar="HOST"), _reason()]
    )


def rolling_grammar() -> click.Command:
    """``host rolling --all|HOST… [--run COMMAND [--reboots]] [--reason …]`` → ``Rolling``."""
    params = [
        click.Argument(["hosts"], metavar="[HOST…]", nargs=-1),
        click.Option(["--all", "every"], is_flag=True, help=str(cards.ALL_HELP)),
        click.Option(["--run"], default="", metavar="COMMAND", help=str(cards.RUN_HELP)),
        click.Option(["--reboots"], is_flag=True, help=str(cards.REBOOTS_HELP)),
        *_ways(),
        _reason(),
    ]
    return _command("rolling", cards.ROLLING, _rolling, params, help_text=cards.ROLLING_HELP)


def _rolling(
    hosts: tuple[str, ...], run: str, reason: str, *, every: bool, reboots: bool, **ways: Any
) -> Rolling:
    if every == bool(hosts):
        if every:
            raise UsageError(words("Name hosts or write `--all`, not both."))
        raise UsageError(words("Name hosts, or write `--all`."), code=MISSING)
    if reboots and not run.strip():
        raise UsageError(words("`--reboots` describes the command of `--run`; give one."))
    named = tuple(dict.fromkeys(hosts))
    return Rolling(named, run.strip(), reboots, reason.strip(), _ways_of(**ways))


def shares_grammar() -> click.Command:
    """``balance shares HOST [--undo] [--reason …]`` → ``Shares``."""
    undo = click.Option(["--undo"], is_flag=True, help=str(cards.UNDO_HELP))
    params = [click.Argument(["host"], metavar="HOST"), undo, _reason()]
    return _command("shares", cards.SHARES, Shares, params, help_text=cards.SHARES_HELP)


def limit_grammar() -> click.Command:
    """``vm limit VM --cpu 150%|none [--reason …]`` → ``Cap``."""
    cpu = click.Option(
        ["--cpu"], required=True, metavar="150%|none", callback=_percent, help=str(cards.CPU_HELP)
    )
    return _command(
        "limit", cards.LIMIT, _cap, [click.Argument(["vm"], metavar="VM"), cpu, _reason()]
    )


_LEAST_BARE = 10.0  # percent; up to that a bare number may as well be cores


def percent(said: str) -> float | None:
    """150.0 of ``150%`` or ``150``, 0 of ``none``; None when it is neither.

    Also None of a small number without a sign: ``1.5`` is cores to most who write it, and 1.5% of
    one core would stop the VM.
    """
    if said.strip().lower() == "none":
        return 0.0
    try:
        value = float(said.strip().removesuffix("%"))
    except ValueError:
        return None
    least = 0.0 if said.strip().endswith("%") else _LEAST_BARE
    return value if math.isfinite(value) and value > least else None


def _percent(_context: click.Context, _option: click.Parameter, said: str) -> float:
    found = percent(said)
    if found is None:
        raise UsageError(
            words(
                "“{text}” is not a CPU limit; write for example `--cpu 150%` (one and a half "
                "cores) or `--cpu none`.",
                text=said,
            )
        )
    return found


def _cap(vm: str, cpu: float, reason: str) -> Cap:
    return Cap(vm, cpu, reason)


def _command(
    name: str,
    summary: Message,
    intent: Callable[..., object],
    params: Sequence[click.Parameter],
    *,
    help_text: Message = "",
) -> click.Command:
    return click.Command(
        name,
        params=list(params),
        callback=intent,
        help=str(help_text or summary),
        short_help=str(summary),
        add_help_option=False,
    )


_ONLY = {Only.MEMORY: "memory"}
"""What is typed where it is stored otherwise."""


def _knobs() -> list[click.Parameter]:
    kinds = MetricName([_ONLY.get(each, each.value) for each in Only])
    return [
        click.Option(
            ["--max-moves"],
            type=click.IntRange(0, 100_000),
            default=0,
            metavar="N",
            help=str(cards.MAX_HELP),
        ),
        click.Option(
            ["--min-gain"],
            type=click.FloatRange(0, 10),
            default=0.0,
            metavar="G",
            help=str(cards.GAIN_HELP),
        ),
        click.Option(["--only"], type=kinds, default=Only.ALL.value, help=str(cards.ONLY_HELP)),
        click.Option(["--skip"], multiple=True, metavar="VM", help=str(cards.SKIP_HELP)),
    ]


def _reason() -> click.Option:
    return click.Option(["--reason"], default="", metavar="TEXT", help=str(cards.REASON_HELP))


def _balance(
    *, dry_run: bool, explain: str, pick: Picked | None, **knobs: Any
) -> Balance | Instead | Picked:
    if explain:
        return Instead(WHY_NAME, About(explain))
    wish = _wish(**knobs)
    if pick is None:
        return Instead(SIM_NAME, Simulate(wish)) if dry_run else wish
    if wish != Balance() or dry_run:
        raise UsageError(
            words("Use `--pick` without other options; the rest comes from the original proposal.")
        )
    return pick


def _simulate(without: tuple[str, ...], add: tuple[int, int], **knobs: Any) -> Simulate:
    return Simulate(_wish(**knobs), without, *add)


def _wish(
    max_moves: int, min_gain: float, only: str, skip: tuple[str, ...], reason: str = ""
) -> Balance:
    kind = next((each for each, name in _ONLY.items() if name == only), None) or Only(only)
    return Balance(max_moves, min_gain, kind, reason.strip(), skip=skip)


def _numbers(_context: click.Context, _option: click.Parameter, said: str | None) -> Picked | None:
    """Steps of ``1,3-5`` or, of a named proposal, of ``op-17:1,3-5``; None for no option."""
    if said is None:
        return None
    found = re.fullmatch(r"(?:(op-\d+):)?(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)", said.replace(" ", ""))
    if found is None:
        raise UsageError(
            words(
                "“{text}” names no moves; write for example `--pick 1,3-5` or "
                "`--pick op-17:1,3-5`.",
                text=said,
            )
        )
    ends = [part.partition("-") for part in found[2].split(",")]
    spans = [(int(first), min(int(last or first), MOST_STEPS)) for first, _, last in ends]
    return Picked(
        tuple(number for first, last in spans for number in range(first, last + 1)), found[1] or ""
    )


def _size_of_host(
    _context: click.Context,
    _option: click.Parameter,
    said: str | None,
) -> tuple[int, int]:
    """CPUs and bytes of ``cpus=32,memory=256G``; (0, 0) when nothing was said."""
    if not said:
        return 0, 0
    parts = dict(part.partition("=")[::2] for part in said.replace(" ", "").split(","))
    try:
        cpus, memory = int(parts.pop("cpus")), size(parts.pop("memory"), "G")
    except (KeyError, ValueError) as error:
        raise _bad_host(said) from error
    if parts or cpus <= 0 or memory <= 0:
        raise _bad_host(said)
    return cpus, memory


def _bad_host(said: str) -> UsageError:
    return UsageError(
        words(
            "“{text}” is not the size of a host; write for example `--add cpus=32,memory=256G`.",
            text=said,
        )
    )
