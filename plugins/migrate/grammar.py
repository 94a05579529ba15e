"""Pure: what people type for ``migrate``, ``where`` and ``why``."""

from __future__ import annotations

from dataclasses import dataclass

import click

from bot.domain.codec import later
from bot.domain.errors import UNEXPECTED, UsageError, word_too_many
from bot.domain.message import Message, words
from bot.domain.past_moves import PastMove
from bot.domain.steps import MigrationPolicy

MIGRATE = words("Move a running VM to another host without stopping it.")
_MIGRATE_HELP = words(
    "Move a running VM to another host without stopping it.\n\nWithout HOST the best host is "
    "chosen, and the plan says why. Nothing runs before another person approves it."
)
_POLICY_HELP = words(
    "What to do if the VM writes memory faster than the network can copy it. safe: give up, the VM "
    "stays where it runs. fast: throttle the VM, and pause it at the end if needed. postcopy: move "
    "it first and copy its memory afterwards; a network failure then kills the VM."
)
_COPY_HELP = words(
    "Copy its local disks too, over the network. The target needs a pool at the same path."
)
_BANDWIDTH_HELP = words("Limit in MiB/s. 0 = no limit but the configured one.")
_REASON_HELP = words(
    'Why, for the approvers and the audit trail. Put several words in quotes: --reason "disk swap".'
)
_TO = ("to", "para")  # and what people write who read Portuguese
WHY = words("Show why a VM is on its host: what moved it, and what prevents other hosts.")
WHERE = words("Show where a VM can move, and for each other host what prevents it.")


@dataclass(frozen=True, slots=True)
class Migrate:
    """``migrate VM [to HOST] …``; ``to`` '' leaves the choice to the planner.

    ``bandwidth`` in MiB/s, 0: as configured. ``past``: what moves took before, for predictions.
    """

    vm: str
    to: str = ""
    policy: MigrationPolicy = MigrationPolicy.SAFE
    copy_storage: bool = False
    bandwidth: int = 0
    reason: str = ""
    past: tuple[PastMove, ...] = later(())


@dataclass(frozen=True, slots=True)
class About:
    """``why VM`` and ``where VM``."""

    vm: str


def migrate_grammar() -> click.Command:
    """``migrate VM [to HOST] [OPTIONS]`` → ``Migrate``."""
    return click.Command(
        "migrate",
        params=[
            click.Argument(["vm"], metavar="VM"),
            click.Argument(["to"], nargs=-1, metavar="[to HOST]"),
            click.Option(
                ["--policy"],
                type=click.Choice([each.value for each in MigrationPolicy], case_sensitive=False),
                default=MigrationPolicy.SAFE.value,
                show_default=True,
                help=str(_POLICY_HELP),
            ),
            click.Option(["--copy-storage"], is_flag=True, help=str(_COPY_HELP)),
            click.Option(
                ["--bandwidth"],
                type=click.IntRange(0, 1_000_000),
                default=0,
                metavar="MiB/s",
                help=str(_BANDWIDTH_HELP),
            ),
            click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON_HELP)),
        ],
        callback=_migrate,
        help=str(_MIGRATE_HELP),
        short_help=str(MIGRATE),
        add_help_option=False,
    )


def about_grammar(name: str, summary: Message) -> click.Command:
    """``why VM`` or ``where VM`` → ``About``."""
    return click.Command(
        name,
        params=[click.Argument(["vm"], metavar="VM")],
        callback=About,
        help=str(summary),
        add_help_option=False,
    )


def focus(intent: Migrate | About) -> tuple[str, ...]:
    """The VM that is read in depth."""
    return (intent.vm,)


def _migrate(  # noqa: PLR0917 - click calls by keyword
    vm: str,
    to: tuple[str, ...],
    policy: str,
    copy_storage: bool,  # noqa: FBT001 - click calls with the flag
    bandwidth: int,
    reason: str,
) -> Migrate:
    return Migrate(
        vm, _host_word(to), MigrationPolicy(policy.lower()), copy_storage, bandwidth, reason.strip()
    )


def _host_word(given: tuple[str, ...]) -> str:
    """``host-b`` of ``host-b`` or ``to host-b``; '' of nothing."""
    rest = given[1:] if given and given[0].lower() in _TO else given
    if given and not rest:
        raise UsageError(
            words("“{word}” which host? Leave it out to have the best host chosen.", word=given[0])
        )
    if len(rest) > 1:
        raise UsageError(word_too_many(rest[1]), code=UNEXPECTED)
    return rest[0] if rest else ""
