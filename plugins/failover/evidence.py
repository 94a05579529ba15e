"""What is known of a host that does not answer: who was asked, who heard it, and how long ago."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from bot.domain.codec import later
from bot.domain.message import Message
from bot.domain.power import Power, Reading


class Witness(StrEnum):
    """Who can hear a host.

    Each is asked by another way, so that one broken path does not silence all.
    """

    LIBVIRT = "libvirt"  # the bot's connection to its libvirt
    SHELL = "shell"  # the bot's SSH to it
    PEERS = "peers"  # other hosts ping it and connect to it
    VMS = "vms"  # its VMs answer on the network, asked from another host
    STORAGE = "storage"  # what it writes is seen from another host


class Heard(StrEnum):
    """What a witness says.

    LIFE: a sign of life that is no health: a ping, a refused connection. WELL: it does its work: a
    shell, a VM that answers, a disk that is written. SILENT: asked, and nothing heard. UNASKED: it
    could not be asked; no word at all.
    """

    WELL = "well"
    LIFE = "life"
    SILENT = "silent"
    UNASKED = "unasked"

    @property
    def alive(self) -> bool:
        """Whether it is a sign of life of any kind."""
        return self in {Heard.WELL, Heard.LIFE}


@dataclass(frozen=True, slots=True)
class Statement:
    """What one witness said, when; ``detail`` for people, such as ``2 of 2 pings lost``.

    ``heard``, ``asked``: of how many that were asked how many heard it: peers, VMs.
    """

    witness: Witness
    said: Heard
    at: datetime
    detail: Message = ""
    heard: int = 0
    asked: int = 0


@dataclass(frozen=True, slots=True)
class OwnView:
    """How well this bot sees: without it the silence of a host says nothing of the host.

    ``hosts``, ``silent``: all configured hosts, and how many of them are silent, this one counted.
    ``anchors``: places apart from the hosts, such as the gateway, that were asked;
    ``anchors_heard``: how many answered.
    ``started_at``: of this bot. ``storm_at``: when it last was the bot itself that saw nothing;
    None: never.
    """

    hosts: int
    silent: int
    started_at: datetime
    anchors: int = 0
    anchors_heard: int = 0
    storm_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """Why silence is expected, and until when; ``until`` None: until somebody says otherwise."""

    why: str  # a code: maintenance, rolling, quiet
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known of one host at one moment.

    ``last_heard``: the last sign of life of any kind. ``sweeps``: how many sweeps in a row it was
    silent.
    ``boots``: the boot ids before its silence and now, '' not known. ``power``: one reading of each
    controller, newest.
    ``bound``: the controllers shown to be this host's; ``refuted``: those that read OFF before
    while it ran on. ``before``: what they read last while it answered. ``own``: VMs that the bot or
    its database runs in, which ran there.
    """

    host: str
    at: datetime
    last_heard: datetime | None
    sweeps: int
    statements: tuple[Statement, ...]
    power: tuple[Reading, ...]
    view: OwnView
    bound: frozenset[str] = frozenset()
    expected: Expected | None = None
    boots: tuple[str, str] = ("", "")
    refuted: frozenset[str] = later(frozenset())
    before: tuple[Reading, ...] = later(())
    own: tuple[str, ...] = later(())

    def by(self, witness: Witness) -> Statement | None:
        """What this witness said; None: it is not among those that could be asked."""
        return next((each for each in self.statements if each.witness is witness), None)

    def word_of(self, witness: Witness) -> Heard:
        """What this witness said; UNASKED when there is none."""
        found = self.by(witness)
        return found.said if found else Heard.UNASKED

    @property
    def silent_for(self) -> float:
        """Seconds since the last sign of life; 0 when none is known, for then nothing is known."""
        return max(0.0, (self.at - self.last_heard).total_seconds()) if self.last_heard else 0.0

    @property
    def alive(self) -> bool:
        """Whether any witness heard it."""
        return any(each.said.alive for each in self.statements)

    @property
    def answering(self) -> frozenset[Witness]:
        """Who was asked and gave a word."""
        return frozenset(each.witness for each in self.statements if each.said is not Heard.UNASKED)

    @property
    def reborn(self) -> bool:
        """Whether the host has started anew since it fell silent."""
        before, now = self.boots
        return bool(before and now) and before != now

    def powers(self, *, bound: bool) -> frozenset[Power]:
        """What its controllers read; ``bound``: those shown to be this host's alone."""
        return frozenset(
            each.power for each in self.power if not bound or each.device in self.bound
        )

    def with_statements(self, more: Iterable[Statement]) -> Evidence:
        """The same with these words in place of the same witnesses' older ones."""
        new = {each.witness: each for each in more}
        kept = tuple(each for each in self.statements if each.witness not in new)
        return replace(self, statements=(*kept, *new.values()))


INDEPENDENT = (
    frozenset({Witness.LIBVIRT, Witness.SHELL}),
    frozenset({Witness.PEERS, Witness.VMS, Witness.STORAGE}),
)
"""Kinds of witnesses that share no path: the bot's own network, and the other hosts'."""


def kinds_asked(evidence: Evidence) -> int:
    """How many independent kinds of witnesses gave a word."""
    return sum(bool(kind & evidence.answering) for kind in INDEPENDENT)
