"""Reads of the whole cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from bot.domain.cluster import Sighting, Snapshot


class ClusterReader(Protocol):
    """Reads all hosts side by side; one that does not answer delays no other."""

    def snapshot(
        self,
        focus: Collection[str] = (),
        chosen: Callable[[Snapshot], Collection[str]] | None = None,
    ) -> Snapshot:
        """One read of the cluster, all hosts side by side, each under a deadline.

        A host that does not answer is in the snapshot with its health and last known guests; it
        never delays the others. ``focus``: names or UUIDs of guests to read in depth (``detail``
        fresh, ``cpu_fits`` for each host that is up, the dirty rate when it can be measured without
        disturbing anything). ``chosen``: UUIDs of guests, picked from the very snapshot, of which
        only their own host is asked: jobs, disks, snapshots and the definition of the next start.
        """
        ...

    def glance(self) -> Snapshot:
        """A read of the cluster for those who watch it, without depth, and at less cost.

        Whether each host answers is asked at this moment. Of one that told no change since it was
        read last, the rest is of then: loads and free memory, and what no event tells.
        """
        ...

    def sightings(self, uuid: str) -> tuple[Sighting, ...]:
        """The guest's state on every configured host, asked afresh.

        A host that does not answer and is proven off, by its controllers read at this moment, is
        told as one that answers and has no such guest; one that answers voids whatever proved it
        off.
        """
        ...
