"""Volumes of hosts' storage pools."""

from __future__ import annotations

from typing import Protocol

from bot.domain.backing import Storage
from bot.ports.guests import Seed, Volume


class Volumes(Protocol):
    """Volumes of storage pools.

    Every method may raise ``HypervisorError``, ``HostUnreachableError`` when the host does not
    answer.

    A volume that is to be deleted and does not exist is no error.
    """

    def volume(self, host: str, pool: str, name: str) -> Volume | None:
        """A volume by pool and name, looked for afresh; None when there is none."""
        ...

    def create_volume(
        self,
        host: str,
        pool: str,
        name: str,
        capacity: int,
        *,
        base: Volume | None = None,
        copy: bool = False,
    ) -> Volume:
        """Make a qcow2 volume of ``capacity`` bytes, empty or grown from ``base``.

        On top of it, or a full copy.
        """
        ...

    def storage(self, host: str, *, whole: bool = True, directories: bool = True) -> Storage:
        """The images of a host, what each stands on.

        Also every definition and snapshot that names one.

        ``whole``: with all volumes of its pools, read afresh, which may take long; else only what
            definitions name.
        ``directories``: with what lies in directories that belong to no pool; a pool exists while
            one is looked at.
        """
        ...

    def upload_seed(
        self, host: str, pool: str, name: str, seed: Seed, *, form: str = "raw"
    ) -> Volume:
        """Make an ISO 9660 image labelled ``cidata`` and put it into a pool.

        One of this name is replaced.

        ``form`` is ``raw``, or ``qcow2`` around the image: a writable disk of a guest that is to
        have snapshots.
        """
        ...

    def delete_volume(self, host: str, pool: str, name: str) -> None:
        """Remove a volume and what is in it.

        Raises:
            HypervisorError: with the code ``VOLUME_BUSY``, while it is being made, copied or read;
                libvirt goes on with that when the client that asked for it is gone.
        """
        ...
