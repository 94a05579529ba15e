"""A VM's definition as Drover keeps it, so that it does not die with the host."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from bot.domain.cluster import (
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    VmDetail,
    VmState,
)
from bot.domain.message import Message

MOST_VERSIONS = 5
"""How many versions of one VM's definition are kept."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a VM's definition, as its host last told it. Memory in bytes.

    ``host``: where the VM is; '' when its host answers and has it no more. ``xml``: the stored
    definition, or the live one of a transient VM; without secrets. ``sha``: of the XML, names the
    version. ``taken_at``: when this version was first read; ``seen_at``: when the host last told it
    so. ``state``: the VM's at ``seen_at``, by ``state_to_keep``. ``detail``: what was read of the
    XML. ``password``: its screen has a password, which is not in the XML. ``nvram``: whether a copy
    of its UEFI variables is kept.
    """

    uuid: str
    name: str
    host: str
    xml: str
    sha: str
    taken_at: datetime
    seen_at: datetime
    state: VmState
    vcpus: int
    memory: int
    detail: VmDetail = field(default_factory=VmDetail)
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    persistent: bool = True
    password: bool = False
    nvram: bool = False

    @property
    def mark(self) -> str:
        """Equal to that of another look when nothing changed but the time of the look."""
        return _mark(self.host, self.sha, self.state, self.persistent, self.password)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A definition that reads as it did when it was last read whole.

    ``host``, ``state``, ``persistent``, ``password`` and ``seen_at`` are told anew; what is in the
    XML was not looked at again.
    """

    uuid: str
    host: str
    sha: str
    seen_at: datetime
    state: VmState
    persistent: bool = True
    password: bool = False

    @property
    def mark(self) -> str:
        """As that of ``Definition``."""
        return _mark(self.host, self.sha, self.state, self.persistent, self.password)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A VM that its host has, but whose definition it cannot tell now, and ``why``.

    What is kept of it stands.
    """

    uuid: str
    name: str
    host: str
    why: Message


MaybeUnchanged = Definition | Unchanged | Unreadable
"""What a host tells of a VM's definition, for who may know it already."""


def _mark(
    host: str,
    sha: str,
    state: VmState,
    persistent: bool,  # noqa: FBT001
    password: bool,  # noqa: FBT001
) -> str:
    return f"{sha} {state.value} {persistent:d}{password:d} {host}"


@dataclass(frozen=True, slots=True)
class Variables:
    """A copy of the file with a VM's UEFI variables: its bytes with gzip, in base64.

    ``stamp``: when it was last written and its size, as its host tells; ``at``: when it was read.
    """

    uuid: str
    at: datetime
    stamp: str
    data: str


def state_to_keep(state: VmState, why: str) -> VmState:
    """The state of a VM on a host as it counts for where the VM is at home.

    ``why``: libvirt's reason. While a post-copy migration is under way that is its source, with
    which it would be lost: the VM runs as long as both hosts do. What is on the target never runs
    without the source.
    """
    if why == POSTCOPY_SOURCE:
        return VmState.RUNNING
    return VmState.CRASHED if why in {POSTCOPY_INCOMING, POSTCOPY_FAILED} else state


def sha_of(xml: str) -> str:
    """SHA-256 of a definition, first 16 hex digits."""
    return hashlib.sha256(xml.encode()).hexdigest()[:16]


def merge(
    kept: Iterable[Definition], seen: Iterable[Definition], answered: Collection[str]
) -> Iterator[Definition]:
    """Yield what is to be kept now, in place of the newest versions.

    As new ones where the XML is another.

    A copy that is off does not stand in for one on a host that does not answer: that one may run.
    Of several copies the one that runs counts, then the one that was kept, then the newest name of
    a host.

    Args:
        kept: the newest kept version of each VM.
        seen: what the hosts told now.
        answered: the hosts that told all they have.
    """
    newest = {each.uuid: each for each in kept}
    found: dict[str, list[Definition]] = {}
    for each in seen:
        found.setdefault(each.uuid, []).append(each)
    for uuid, copies in found.items():
        before = newest.get(uuid)
        best = _best(copies, before)
        if (
            before is not None
            and before.host
            and before.host not in answered
            and not best.state.active
        ):
            continue
        same = before is not None and before.sha == best.sha
        yield (
            replace(best, taken_at=before.taken_at, nvram=before.nvram) if before and same else best
        )
    for uuid, before in newest.items():
        if uuid not in found and before.host in answered:
            yield replace(before, host="")


def _best(copies: Sequence[Definition], before: Definition | None) -> Definition:
    home = before.host if before else ""
    return max(copies, key=lambda each: (each.state.active, each.host == home, each.host))
