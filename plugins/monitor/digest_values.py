"""The values of a digest: what changed, what may go wrong, what was done, with predictions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.domain.capacity import Loss
from bot.domain.cluster import Pool
from bot.domain.message import Message
from bot.domain.metrics import Change, Incident, SnapshotSeen
from bot.domain.operation import Operation
from bot.domain.plan import Spread
from plugins.monitor.backups import Overdue


@dataclass(frozen=True, slots=True)
class Changed:
    """Differences since the last digest, by name. ``moved``: name, from, to."""

    made: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    moved: tuple[tuple[str, str, str], ...] = ()
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str, str], ...] = ()  # name, state before, state now


@dataclass(frozen=True, slots=True)
class Filling:
    """A pool that is full or will be.

    ``days`` until then, with the prediction interval; None: not at this trend.
    """

    where: str
    pool: Pool
    days: float | None
    earliest: float | None = None
    latest: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A migration: predicted seconds (None: there was no prediction) and actual ones.

    Of a plan of several, which is predicted as a whole, all of them: seconds added up.

    ``pause`` and ``paused``: the same of its pause. ``held``: whether time, and pause, were within
    the range that was predicted; None: there was none.
    """

    operation: str
    vm: Message
    source: str
    target: str
    foretold: float | None
    took: float | None
    pause: float | None = None
    paused: float | None = None
    held: tuple[bool | None, bool | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Gain:
    """The imbalance before a plan, and the predicted and the measured one after it.

    ``measured`` None: not measured yet.
    """

    operation: str
    before: Spread
    foretold: Spread
    measured: Spread | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """Requests and decisions of the period; ``median``: seconds that people took to decide."""

    asked: int = 0
    approved: int = 0
    denied: int = 0
    expired: int = 0
    median: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """The allocated share of a host's memory: at the last digest (None: unknown) and now."""

    host: str
    before: float | None
    now: float


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything a digest says."""

    now: datetime
    since: datetime | None
    hosts_up: int
    hosts: int
    running: int
    vms: int
    changed: Changed
    losses: tuple[Loss, ...]
    hot: tuple[tuple[str, float], ...]
    idle: tuple[tuple[str, float], ...]
    idle_vms: tuple[str, ...]
    oversized: tuple[tuple[str, int, float], ...]  # name, vCPUs, 95th percentile of cores
    filling: tuple[Filling, ...]
    snapshots: tuple[SnapshotSeen, ...]
    backups: tuple[Overdue, ...]
    moves: tuple[Move, ...]
    gains: tuple[Gain, ...]
    decisions: Decisions
    failed: tuple[Operation, ...]
    incidents: tuple[Incident, ...]
    notes: tuple[Change, ...]  # what watches told of, such as changes in readiness
    picture: tuple[Picture, ...]

    @property
    def quiet(self) -> bool:
        """Whether nothing happened and nothing needs anybody."""
        return (
            self.changed == Changed()
            and self.hosts_up == self.hosts
            and self.decisions == Decisions()
            and not self.moves
            and not self.incidents
            and not self.notes
            and not any(loss.stranded for loss in self.losses)
            and not self.filling
        )
