"""What was measured, now and in the past.

The sampler, the history, and small notes that outlive a restart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.metrics import Bucket, Metric, Point, Sweep


class Sampler(Protocol):
    """Measures all hosts at once."""

    def sweep(self) -> Sweep:
        """One bulk question to each host, side by side, each under a deadline.

        It never raises for a host's sake.

        A host that does not answer is in the sweep with its problem and its last numbers, without
        delaying others.
        """
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class SelectiveSampler(Sampler, Protocol):
    """Measures all hosts, or some of them."""

    def sweep(self, hosts: Collection[str] | None = None) -> Sweep:
        """As ``Sampler`` does.

        Args:
            hosts: these alone are asked, and are in the sweep; what hosts tell by themselves is
                told of all. None: all hosts.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """Which replica measures a host. Ages in seconds, by the database's clock.

    ``replica``: '' when it was given up. ``age``: since it was taken or last used.
    ``measured``: the age of what is kept of the host; None: nothing is. ``mark`` tells this lease
    from a later one, ``sample`` what is kept from what is kept later.
    """

    replica: str
    age: float
    measured: float | None
    mark: float
    sample: float | None


class Leases(Protocol):
    """Replicas divide the measuring of hosts. Every method may raise ``StoreError``."""

    def replicas(self) -> frozenset[str]:
        """The names of the replicas that count as alive."""
        ...

    def leases(self) -> Mapping[str, Lease]:
        """Every lease, by host."""
        ...

    def claim(self, hosts: Mapping[str, Lease | None]) -> frozenset[str]:
        """Take leases, each as it was read (None: there was none) if nobody changed it meanwhile.

        Returns:
            The hosts whose lease is this replica's now.
        """
        ...

    def release(self, hosts: Collection[str]) -> None:
        """Give leases of one's own up; what was measured stays."""
        ...

    def keep(self, samples: Mapping[str, str], age: float) -> None:
        """Keep what was measured ``age`` seconds ago, by host, and use the leases.

        Nothing is kept of hosts whose lease is another's by now.
        """
        ...

    def samples(self, hosts: Collection[str]) -> Mapping[str, str]:
        """What is kept of hosts, by host; hosts of which nothing is are left out."""
        ...


class Past(Protocol):
    """The history as it is read. Every method may raise ``StoreError``."""

    def history(
        self, entities: Collection[str], metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, tuple[Bucket, ...]]:
        """Buckets of each entity, oldest first, as fine as keeps them few.

        1 or 5 minutes, an hour, a day.

        Entities of which nothing is known are left out.
        """
        ...

    def summary(
        self, kind: str, metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, Bucket]:
        """One bucket over the whole time for every entity of a kind (``vm``, ``host``.

        ``pool``) that has history.

        The mean is weighted by time; of longer times only whole hours, or whole days, count. The
        percentile is what 95 % of their own percentiles do not exceed.
        """
        ...


class Series(Past, Protocol):
    """The history. Raw values for two days, then rollups. Every method may raise ``StoreError``."""

    def write(self, at: datetime, points: Sequence[Point]) -> None:
        """Keep what was measured at a moment.

        What another replica wrote for the same moment stays.
        """
        ...

    def roll_up(self, now: datetime) -> None:
        """Make the rollups of every span that is over by now.

        Safe to repeat, and to run on several replicas.
        """
        ...

    def forget(self, now: datetime) -> None:
        """Drop what is older than it is kept."""
        ...


class Notes(Protocol):
    """Small texts by key, changed by compare-and-swap. Every method may raise ``StoreError``."""

    def note(self, key: str) -> tuple[str, int]:
        """The text and its version; ``("", 0)`` when there is none."""
        ...

    def notes(self, prefix: str) -> Mapping[str, str]:
        """Every text whose key begins so, by key."""
        ...

    def versioned_notes(self, prefix: str) -> Mapping[str, tuple[str, int]]:
        """Every text whose key begins so, with its version, by key; all of one moment."""
        ...

    def put_note(self, key: str, text: str, version: int) -> bool:
        """Replace the text if ``version`` is still the newest; whether it was.

        An empty text removes it.
        """
        ...

    def put_notes(self, changes: Mapping[str, tuple[str, int]]) -> frozenset[str]:
        """Replace several texts in one transaction, each as ``put_note`` does.

        Args:
            changes: new text and version that it is to replace, by key.

        Returns:
            The keys whose version was still the newest; of the others nothing is stored.
        """
        ...
