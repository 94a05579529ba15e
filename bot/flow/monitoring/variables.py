"""Keeps copies of VMs' UEFI variables.

They are files on the hosts, and are kept where a shell reaches them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from bot.domain.definition import Definition, MaybeUnchanged, Variables
from bot.domain.errors import HypervisorError
from bot.ports import Clock, Hypervisor, Store

log = structlog.get_logger()

_DEADLINE = 20.0  # seconds
_AT_ONCE = 20  # files of one host that are read at a time; the others have their turn later

# When each file was last written, and its size; a line for each, `-` for one that cannot be read.
_STAMPS = 'for f in "$@"; do [ -r "$f" ] && stat -c %Y-%s "$f" 2>/dev/null || echo -; done'
# One that is written meanwhile is left for the next time; one beyond 4 MiB is no file of variables.
_READ = """
before=$(stat -c %Y-%s "$1") || exit 1
[ "${before#*-}" -le 4194304 ] || exit 1
data=$(gzip -9 -n -c "$1" | base64 | tr -d '\\n')
[ "$before" = "$(stat -c %Y-%s "$1")" ] && printf '%s %s' "$before" "$data"
"""


@dataclass(slots=True)
class KeptVariables:
    """Reads the files of UEFI variables that have changed into the store."""

    hypervisor: Hypervisor
    store: Store
    clock: Clock
    _stamps: dict[tuple[str, str], str] = field(default_factory=dict)
    _paths: dict[tuple[str, str], str] = field(default_factory=dict)  # by host and UUID

    def keep(self, host: str, there: Iterable[MaybeUnchanged]) -> None:
        """Copy what has changed of the VMs of a host; one without a shell is left alone.

        The store has what the host told: of a VM that another host has too, the file of its home
        counts alone.
        """
        files = {each.uuid: path for each in there if (path := self._path(host, each))}
        if not files:
            return
        homes = {each.uuid for each in self.store.definitions(host=host)}
        files = {uuid: path for uuid, path in files.items() if uuid in homes}
        try:
            copies = tuple(self._changes(host, files, self.clock.now()))
        except HypervisorError as error:
            log.warning("UEFI variables not read, will try again", host=host, error=str(error))
            return
        if copies:
            self.store.keep_variables(copies)
            self._stamps |= {(host, each.uuid): each.stamp for each in copies}

    def _path(self, host: str, told: MaybeUnchanged) -> str:
        """Where a VM's variables are: of an unchanged definition as it was read before."""
        if isinstance(told, Definition):
            self._paths.pop((host, told.uuid), None)
            if told.detail.nvram:
                self._paths[host, told.uuid] = told.detail.nvram
        return self._paths.get((host, told.uuid), "")

    def _changes(self, host: str, files: dict[str, str], now: datetime) -> Iterator[Variables]:
        stamps = self._run(host, _STAMPS, list(files.values())).split()
        if len(stamps) != len(files):
            return  # no shell, or one that cannot say
        changed = [
            uuid
            for uuid, stamp in zip(files, stamps, strict=True)
            if stamp != "-" and stamp != self._stamps.get((host, uuid))
        ]
        for uuid in changed[:_AT_ONCE]:
            stamp, _, data = self._run(host, _READ, [files[uuid]]).partition(" ")
            if data:
                yield Variables(uuid, now, stamp, data)

    def _run(self, host: str, script: str, arguments: Sequence[str]) -> str:
        told = self.hypervisor.run(host, ["sh", "-c", script, "sh", *arguments], deadline=_DEADLINE)
        return told.out.strip() if told is not None and not told.code else ""
