"""From the evidence of one host to one verdict.

A pure function, in an order in which life beats silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.domain.power import Power
from plugins.failover.evidence import Evidence, Heard, Witness, kinds_asked


class Verdict(StrEnum):
    """What a host's silence means. Only GONE, DEAD and DARK may lead to a failover."""

    WELL = "well"  # it answers, nothing happened
    US = "us"  # it is the bot that sees nothing
    EXPECTED = "expected"  # maintenance, or people said so
    BACK = "back"  # it answers after a restart: its VMs are off
    DEAF = "deaf"  # its libvirt does not answer, a shell does
    REBORN = "reborn"  # deaf, and it has started anew: its VMs are off
    CUT_OFF = "cut-off"  # other hosts reach it, the bot does not
    ISOLATED = "isolated"  # nobody reaches it, its VMs or its writes are seen
    UNCLEAR = "unclear"  # some other sign of life
    WAITING = "waiting"  # silent, but not for long enough
    GONE = "gone"  # silent, and its own controller reads off
    DEAD = "dead"  # silent, it has power, and a controller of its own can take it
    DARK = "dark"  # silent, and no controller of its own answers

    @property
    def fenceable(self) -> bool:
        """Whether a failover may follow, by votes or by itself."""
        return self in {Verdict.GONE, Verdict.DEAD, Verdict.DARK}


class Cause(StrEnum):
    """Why a verdict is what it is."""

    NONE = ""
    HALF_SILENT = "half-silent"
    NO_ANCHOR = "no-anchor"
    JUST_STARTED = "just-started"
    STORM = "storm"
    ONE_KIND = "one-kind"
    OWN = "own"
    NOT_BOUND = "not-bound"
    NO_DEVICE = "no-device"
    NO_ANSWER = "no-answer"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with its cause; ``until``: when it may change by itself, None unknown."""

    verdict: Verdict
    cause: Cause = Cause.NONE
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds of silence before a host counts as dead.

    Also after the bot's start, and after it was the bot itself.

    ``sweeps``: how many sweeps in a row it must be silent, at least.
    """

    silence: float = 45.0
    sweeps: int = 3
    start: float = 300.0
    storm: float = 300.0


def judge(evidence: Evidence, patience: Patience) -> Judged:
    """What the silence of a host means.

    The first that holds: the bot's own blindness, what is expected, life, death.

    More life never leads nearer to a fence: each verdict that may lead to one is asked for only
    when no witness heard the host.
    """
    if evidence.word_of(Witness.LIBVIRT) is Heard.WELL:
        return Judged(Verdict.BACK if evidence.reborn else Verdict.WELL)
    blind = _blind(evidence, patience)
    if blind is not None:
        return blind
    if evidence.expected is not None:
        return Judged(Verdict.EXPECTED, until=evidence.expected.until)
    if evidence.alive:
        return Judged(_living(evidence))
    if (
        evidence.silent_for < patience.silence
        or evidence.sweeps < patience.sweeps
        or evidence.last_heard is None
    ):
        heard = evidence.last_heard or evidence.at
        return Judged(Verdict.WAITING, until=heard + timedelta(seconds=patience.silence))
    return _dead(evidence)


def _blind(evidence: Evidence, patience: Patience) -> Judged | None:
    """Whether it is this bot that sees nothing: then nothing is known of any host."""
    view = evidence.view
    started = view.started_at + timedelta(seconds=patience.start)
    if evidence.at < started:
        return Judged(Verdict.US, Cause.JUST_STARTED, started)
    if view.silent >= 2 and 2 * view.silent >= view.hosts:
        return Judged(Verdict.US, Cause.HALF_SILENT)
    if view.anchors and 2 * view.anchors_heard <= view.anchors:
        return Judged(Verdict.US, Cause.NO_ANCHOR)
    others_heard = view.hosts - view.silent
    majority = 2 * others_heard > view.hosts - 1
    if not majority and not (view.anchors and view.anchors_heard == view.anchors):
        return Judged(Verdict.US, Cause.NO_ANCHOR)
    if view.storm_at is not None and evidence.at < view.storm_at + timedelta(
        seconds=patience.storm
    ):
        return Judged(Verdict.US, Cause.STORM, view.storm_at + timedelta(seconds=patience.storm))
    return None


def _living(evidence: Evidence) -> Verdict:
    """What kind of life it is."""
    if evidence.word_of(Witness.SHELL) is Heard.WELL:
        return Verdict.REBORN if evidence.reborn else Verdict.DEAF
    if evidence.word_of(Witness.PEERS) is Heard.WELL:
        return Verdict.CUT_OFF
    if Heard.WELL in {evidence.word_of(Witness.VMS), evidence.word_of(Witness.STORAGE)}:
        return Verdict.ISOLATED
    return Verdict.UNCLEAR


def _dead(evidence: Evidence) -> Judged:
    """Which death it is, by what the host's own controllers read."""
    bound = evidence.powers(bound=True)
    if not evidence.power:
        return Judged(Verdict.DARK, Cause.NO_DEVICE)
    if not bound:
        return Judged(Verdict.DARK, Cause.NOT_BOUND)
    if Power.ON in bound:
        return Judged(Verdict.DEAD)
    if bound == {Power.OFF}:
        return Judged(Verdict.GONE)
    return Judged(Verdict.DARK, Cause.NO_ANSWER)


def automatic_objection(evidence: Evidence, judged: Judged) -> Cause | None:
    """Why a failover must not begin by itself, whatever the rules say.

    None when nothing stands against it.
    """
    if judged.verdict not in {Verdict.GONE, Verdict.DEAD}:
        return judged.cause or Cause.NO_ANSWER
    if evidence.own:
        return Cause.OWN
    if kinds_asked(evidence) < 2:
        return Cause.ONE_KIND
    return None
