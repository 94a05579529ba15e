"""What one replica measured of a host, as text for the others.

Ages instead of moments, for clocks differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from bot.domain import codec
from bot.domain.codec import Codec
from bot.domain.metrics import HostSample, Pressure, SnapshotSeen, Sweep, VmSample
from bot.domain.unread import Unread

_CODEC = Codec((HostSample, Pressure, SnapshotSeen, Unread))
_VM = tuple(each.name for each in fields(VmSample))


@dataclass(frozen=True, slots=True)
class Part:
    """A host of a sweep with its VMs, and their snapshots and checkpoints."""

    host: HostSample
    vms: tuple[VmSample, ...]
    snapshots: tuple[SnapshotSeen, ...]
    checkpoints: tuple[SnapshotSeen, ...]


def parts_of(sweep: Sweep) -> Mapping[str, Part]:
    """The parts of a sweep, by host."""
    vms, snapshots, checkpoints = (
        _by_host(found) for found in (sweep.vms, sweep.snapshots, sweep.checkpoints)
    )
    return {
        host.name: Part(
            host,
            tuple(vms.get(host.name, ())),
            tuple(snapshots.get(host.name, ())),
            tuple(checkpoints.get(host.name, ())),
        )
        for host in sweep.hosts
    }


def _by_host(found: tuple[Any, ...]) -> dict[str, list[Any]]:
    by_host: dict[str, list[Any]] = {}
    for each in found:
        by_host.setdefault(each.host, []).append(each)
    return by_host


def to_text(part: Part, at: datetime) -> str:
    """A part as JSON. ``at``: when it was measured, by this replica's clock.

    VMs are rows under one heading: there are thousands of them, every few seconds.
    """
    seen_at = part.host.seen_at
    return json.dumps(
        {
            "host": codec.data(replace(part.host, seen_at=None)),
            "seen": None if seen_at is None else max(0.0, (at - seen_at).total_seconds()),
            "fields": _VM,
            "vms": [[getattr(vm, name) for name in _VM] for vm in part.vms],
            "snapshots": [codec.data(each) for each in part.snapshots],
            "checkpoints": [codec.data(each) for each in part.checkpoints],
        },
        ensure_ascii=False,
    )


def from_text(text: str, at: datetime) -> Part:
    """The part again. ``at``: when it was measured, by this replica's clock.

    Raises:
        CodecError: it was written by a Drover that measures something else.
    """
    stored = json.loads(text)
    host: HostSample = _CODEC.read(stored["host"])
    seen = stored["seen"]
    known = [name if name in _VM else "" for name in stored["fields"]]
    return Part(
        replace(host, seen_at=None if seen is None else at - timedelta(seconds=seen)),
        tuple(
            VmSample(**{name: value for name, value in zip(known, row, strict=True) if name})
            for row in stored["vms"]
        ),
        tuple(_CODEC.read(each) for each in stored["snapshots"]),
        tuple(_CODEC.read(each) for each in stored["checkpoints"]),
    )
