"""A plan: ordered steps with reasons, what they put at risk and what is foretold.

Or why there is none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from bot.domain import codec
from bot.domain.codec import later
from bot.domain.message import Message, Words, words
from bot.domain.steps import Step


class Risk(StrEnum):
    """How much a mistake would cost, for the policy.

    Reads nothing, undoable, disturbs a guest, destroys data.
    """

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding for or against something: a fixed ``code`` for machines, ``text`` for people."""

    code: str
    text: Message


@dataclass(frozen=True, slots=True)
class Objection:
    """Why something must not be done, and what to do about it."""

    code: str
    text: Message
    remedy: Message = ""


@dataclass(frozen=True, slots=True)
class Blast:
    """What a plan can touch: guests by name, hosts, bytes of memory and storage to move."""

    vms: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    memory: int = 0
    storage: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is foretold, in seconds; ``converges`` None: not measured. ``basis`` says from what.

    ``least`` and ``most``, ``shortest`` and ``longest``: the range of the two, learned from what
    was done before; None: nothing was learned.
    """

    seconds: float | None = None
    downtime: float | None = None
    converges: bool | None = None
    basis: Message = ""
    least: float | None = later(None)
    most: float | None = later(None)
    shortest: float | None = later(None)
    longest: float | None = later(None)


@dataclass(frozen=True, slots=True)
class HostBar:
    """One bar of the before/after picture.

    Memory promised and CPU busy, as shares of the host (0..1).
    """

    host: str
    memory_before: float
    memory_after: float
    cpu_before: float | None = None
    cpu_after: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How even hosts are loaded.

    The planner's score, and the CPU shares (0..1) of the busiest and the idlest host.
    """

    unevenness: float
    busiest: float
    idlest: float


class Edit(StrEnum):
    """What becomes of a part of a definition, by the sign that a diff shows."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "-"


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """One line of a diff: ``part`` (such as memory) of ``subject`` (a VM), before and after."""

    edit: Edit
    part: Message
    after: Message = ""
    before: Message = ""
    subject: str = ""


@dataclass(frozen=True)  # without slots: the digest is computed once and kept beside the fields
class Plan:
    """What would be done, in order. The digest of it is what approvers sign.

    ``tags`` are those of the guests touched, ``key=value``, for the policy. ``changes``: what it
    makes of definitions. ``outlook``: what will be true of the cluster afterwards, such as N+1,
    whatever plugin found it.
    """

    title: Message
    steps: tuple[Step, ...]
    risk: Risk
    blast: Blast = Blast()
    prediction: Prediction = Prediction()
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    bars: tuple[HostBar, ...] = ()
    tags: tuple[str, ...] = ()
    changes: tuple[DefinitionChange, ...] = later(())
    outlook: tuple[Reason, ...] = later(())

    @cached_property
    def digest(self) -> str:
        """What approvers sign; see ``digest_of``."""
        return digest_of(codec.data(self))


def digest_of(stored: object) -> str:
    """SHA-256 of a plan's canonical JSON without its wording, first 16 hex digits.

    Against mix-ups, not forgery.

    Of a message its arguments are covered and its template is not, so that a plan stays approved
    when its sentences are worded anew. A plan stored before there were messages has none: its
    digest is the one that it always had.
    """
    return hashlib.sha256(codec.canonical(_without_wording(stored)).encode()).hexdigest()[:16]


def _without_wording(stored: object) -> object:
    if isinstance(stored, list):
        return [_without_wording(each) for each in stored]
    if not isinstance(stored, dict):
        return stored
    left = {"template", "many"} if stored.get(codec.TAG) == Words.__name__ else ()
    return {name: _without_wording(each) for name, each in stored.items() if name not in left}


@dataclass(frozen=True, slots=True)
class Refused:
    """No plan: everything that stands against it at once, so that one reading is enough.

    Attributes:
        title: the title of the plan that there is none of, or a whole sentence that says so.
        objections: why, each with what to do.
        sentence: the title is such a sentence, as "Cannot move web-1 to host-b:".
    """

    title: Message
    objections: tuple[Objection, ...]
    sentence: bool = False

    @property
    def heading(self) -> Message:
        """What is read first. A plan's title alone would read as if it were done."""
        return self.title if self.sentence else words("Not proposed: {title}", title=self.title)
