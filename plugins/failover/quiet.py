"""Pure: ``host quiet``, a silence that people expect.

The operation itself is what is kept of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain.cluster import Snapshot
from bot.domain.message import Duration, words
from bot.domain.operation import Operation, State
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.plugin_api import Rules
from plugins.failover.commands import chat
from plugins.failover.evidence import Evidence, Expected
from plugins.failover.intents import QUIET, Quiet
from plugins.failover.steps import ExpectSilence

RECENT = 200  # operations among which it is looked for
WHY = "quiet"
_MOST = 86400.0  # seconds


def plan(
    intent: Quiet,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Expect it for a time that begins when the operation is done, or not any more."""
    host = snapshot.host(intent.host)
    title = (
        words(
            "Expect {host} to be unreachable for {time}",
            host=host.name,
            time=Duration(intent.seconds),
        )
        if intent.seconds
        else words("Expect {host} to be reachable again", host=host.name)
    )
    if intent.seconds > _MOST:
        return Refused(
            title,
            (
                Objection(
                    "too-long",
                    words("A host may be expected to be unreachable for 24 hours at most."),
                    words(
                        "For longer, use {command}.",
                        command=chat("host maintenance {} on", host.name),
                    ),
                ),
            ),
        )
    until = snapshot.taken_at + timedelta(seconds=intent.seconds)
    return Plan(
        title,
        (ExpectSilence(host.name, until, over=not intent.seconds, seconds=intent.seconds),),
        Risk.MEDIUM,
        Blast(hosts=(host.name,)),
        reasons=(
            Reason(
                "no-failover",
                words(
                    "No failover of {host} is proposed or begun in the {time} after this is done.",
                    host=host.name,
                    time=Duration(intent.seconds),
                ),
            ),
        )
        if intent.seconds
        else (),
    )


def until(operations: Iterable[Operation], host: str) -> datetime | None:
    """Until when a host's silence is expected, by the newest operation that said so.

    Args:
        operations: newest first.
        host: its name.
    """
    for each in operations:
        if each.action != QUIET or each.state is not State.DONE:
            continue
        for step in each.plan.steps:
            if isinstance(step, ExpectSilence) and step.host == host:
                lasts = timedelta(seconds=step.seconds)
                return each.changed_at + lasts if step.seconds else step.until
    return None


def expect(evidence: Evidence, quiet: datetime | None) -> Evidence:
    """The evidence with that people expect the silence, unless that is over."""
    if quiet is None or quiet <= evidence.at or evidence.expected is not None:
        return evidence
    return replace(evidence, expected=Expected(WHY, quiet))
