"""A VM's definition as Drover keeps it, so that it does not die with the host."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from bot.domain.cluster import VmDetail, VmState


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a VM's definition, as its host last told it.

    ``xml``: the stored definition, or the live one of a transient VM; without secrets. ``sha``: of the XML, names the
    version. ``taken_at``: when this version was first read; ``seen_at``: when the host last told it so. ``state``: the
    VM's at ``seen_at``. ``detail``: what was read of the XML. ``nvram``: whether a copy of its UEFI variables is kept.
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
    detail: VmDetail = VmDetail()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    persistent: bool = True
    nvram: bool = False


def sha_of(xml: str) -> str:
    """SHA-256 of a definition, first 16 hex digits."""
    return hashlib.sha256(xml.encode()).hexdigest()[:16]
