"""The impure part about what is left of broken migrations.

It is ended, where nothing can complete it.
"""

from __future__ import annotations

from bot.domain.cluster import POSTCOPY_FAILED, POSTCOPY_INCOMING, POSTCOPY_SOURCE, Sighting
from bot.domain.errors import DroverError, StepLostError, StepSkippedError
from bot.domain.message import Message, words
from bot.domain.operation import Facts
from bot.domain.state_names import reason_text
from bot.plugin_api import Settled
from bot.ports import ClusterReader, Hypervisor, Progress
from plugins.failover.commands import chat
from plugins.failover.handler import await_word, check_cancel, may_have, rest_text
from plugins.failover.steps import ClearCorpse

_LOOKS = 2  # sightings are not taken at one instant: what moves on meanwhile shows in the next
_APART = 3.0  # seconds between two looks
_END = 10  # seconds that a VM whose end was ordered may still be seen


def is_cleared(step: ClearCorpse, hypervisor: ClusterReader) -> Settled:
    """DONE when nothing of it runs there."""
    return Settled.DONE if _is_gone(step, _look(step, hypervisor)) else Settled.NOT_YET


def clear(step: ClearCorpse, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """End what is left of it, when each look shows that nothing can bring its memory any more.

    Raises:
        StepLostError: the host that had its memory is not proven off any more.
        StepSkippedError: it is not what was seen any more, or another host may have its memory.
        DroverError: it does not end.
    """
    reason = ""
    for number in range(_LOOKS):
        if number:
            progress.sleep(_APART)
        if step.lost:
            await_word(step.lost, hypervisor, progress)
            check_cancel(step.lost, progress)
        seen = _look(step, hypervisor)
        if _is_gone(step, seen):
            return {}
        _check_dead(step, seen, hypervisor)
        reason = seen[step.host].paused_by
    hypervisor.force_off(step.host, step.uuid)
    for _ in range(_END):
        if is_cleared(step, hypervisor) is Settled.DONE:
            return {"was": reason_text(reason)}
        progress.sleep(1)
    raise DroverError(
        words("{vm} on {host} was forced off, and still runs.", vm=step.name, host=step.host),
        words("Look at it before anything is started."),
        code="not-ended",
    )


def _look(step: ClearCorpse, hypervisor: ClusterReader) -> dict[str, Sighting]:
    return {each.host: each for each in hypervisor.sightings(step.uuid)}


def _is_gone(step: ClearCorpse, seen: dict[str, Sighting]) -> bool:
    there = seen[step.host]
    return there.reachable and not _is_active(there)


def _is_active(seen: Sighting) -> bool:
    return seen.state is not None and seen.state.active


def _check_dead(step: ClearCorpse, seen: dict[str, Sighting], hypervisor: ClusterReader) -> None:
    """Refuse to end what may live: only a host that is proven off can never complete it.

    Raises:
        StepLostError: that host is not proven off.
        StepSkippedError: it is no half of a migration, or another host may have the other half.
    """
    if step.lost and not seen[step.lost].proven:
        raise StepLostError(
            words(
                "{vm} on {host} was not forced off: {lost} is not proven off any more.",
                vm=step.name,
                host=step.host,
                lost=step.lost,
            ),
            rest_text(step.lost),
        )
    if seen[step.host].paused_by not in _rests(step):
        raise _alive(
            step,
            words(
                "{vm} on {host} is not what is left of a broken migration any more.",
                vm=step.name,
                host=step.host,
            ),
        )
    for each in seen.values():
        if each.host in {step.host, step.lost}:
            continue
        if _is_active(each) or (not each.reachable and _may_have(step, each, hypervisor)):
            raise _alive(step, _other_half(step, each.host))


def _rests(step: ClearCorpse) -> set[str]:
    """What it may read as: as planned, or as what libvirt makes of that when it gives up."""
    if not step.lost:
        return {POSTCOPY_FAILED}
    if step.reason == POSTCOPY_SOURCE:
        return {POSTCOPY_FAILED, POSTCOPY_SOURCE}
    return {POSTCOPY_FAILED, POSTCOPY_INCOMING}


def _may_have(step: ClearCorpse, silent: Sighting, hypervisor: ClusterReader) -> bool:
    """Whether a host that does not answer may have the other half.

    A source has chosen its target behind the bot's back, perhaps: any host may be it.
    """
    return step.reason == POSTCOPY_SOURCE or may_have(step.uuid, silent, hypervisor)


def _other_half(step: ClearCorpse, other: str) -> Message:
    if step.reason == POSTCOPY_SOURCE:
        return words(
            "{vm} on {host} was not forced off: {other} may have the rest of it.",
            vm=step.name,
            host=step.host,
            other=other,
        )
    return words(
        "{vm} on {host} was not forced off: its memory may come from {other}.",
        vm=step.name,
        host=step.host,
        other=other,
    )


def _alive(step: ClearCorpse, text: Message) -> StepSkippedError:
    return StepSkippedError(
        text, words("Look at it: {command}.", command=chat("vm show {}", step.name))
    )
