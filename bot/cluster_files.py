"""Clusters kept in files.

What `check --save` wrote, a plain list of hosts and VMs, or a drawing, as one snapshot.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.domain.cluster import MIB, Health, Host, Snapshot, Vm, VmState
from bot.domain.codec import TAG, Codec
from bot.domain.errors import DroverError
from bot.domain.message import join, words
from bot.testing import draw_cluster

_ADVICE = words(
    "Save one with `drover check --save FILE`, or draw one as config/clusters/uneven.txt does."
)


def write_file(path: Path, text: str) -> None:
    """Write a file that somebody named.

    Raises:
        DroverError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DroverError(
            words(
                "{file} cannot be written: {reason}.", file=str(path), reason=error.strerror or ""
            ),
            words("Name a file where you may write."),
        ) from error


def snapshot_from(path: Path, codec: Codec) -> Snapshot:
    """The cluster in a file.

    Args:
        path: a drawing (see ``bot.testing.draw``), or JSON: a tagged snapshot, or ``{vcpu_ratio,
            hosts: [{name, mem, reserve, cores, drain}], vms: [{name, mem, vcpus, cpu, aa, host}]}``
            with memory in MiB, ``cpu`` in cores in use and ``aa`` an anti-affinity group or null.
        codec: reads tagged snapshots.

    Raises:
        DroverError: it cannot be read, or holds no cluster.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if not text.lstrip().startswith(("{", "[")):
            return draw_cluster(text, datetime.now(UTC))
        stored = json.loads(text)
    except DroverError as error:
        raise DroverError(
            words("{path}: {reason}", path=str(path), reason=error.text),
            join((error.advice, _ADVICE)),
        ) from error
    except (ValueError, OSError) as error:
        raise DroverError(
            words("{path} cannot be read: {reason}.", path=str(path), reason=str(error)), _ADVICE
        ) from error
    value = (
        codec.read(stored)
        if isinstance(stored, dict) and TAG in stored
        else _cluster_of(path, stored)
    )
    if not isinstance(value, Snapshot):
        raise DroverError(words("{path} contains no cluster.", path=str(path)), _ADVICE)
    return value


def _cluster_of(path: Path, stored: Any) -> Snapshot:
    try:
        ratio = float(stored["vcpu_ratio"])
        hosts = tuple(_host(each, ratio) for each in stored["hosts"])
        vms = tuple(_vm(each) for each in stored["vms"])
    except (KeyError, TypeError, ValueError) as error:
        raise DroverError(
            words(
                "{path} contains no cluster: {reason}.",
                path=str(path),
                reason=f"{type(error).__name__}: {error}",
            ),
            _ADVICE,
        ) from error
    names = {host.name for host in hosts}
    if lost := [vm for vm in vms if vm.host not in names]:
        raise DroverError(
            words(
                "{path}: {vm} is on “{host}”, but no such host is listed.",
                path=str(path),
                vm=lost[0].name,
                host=lost[0].host,
            ),
            _ADVICE,
        )
    return Snapshot(datetime.now(UTC), hosts, vms)


def _host(said: Mapping[str, Any], ratio: float) -> Host:
    memory = round(said["mem"] * MIB)
    name = str(said["name"])
    return Host(
        name,
        Health.UP,
        hostname=name,
        cpus=int(said["cores"]),
        memory=memory,
        memory_free=memory,
        reserve=round(said["reserve"] * MIB),
        maintenance=bool(said["drain"]),
        tags={"vcpu-ratio": f"{ratio:g}"},
    )


def _vm(said: Mapping[str, Any]) -> Vm:
    name = str(said["name"])
    apart = said.get("aa")
    return Vm(
        uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        name=name,
        host=str(said["host"]),
        state=VmState.RUNNING,
        vcpus=int(said["vcpus"]),
        memory=round(said["mem"] * MIB),
        cpu=float(said["cpu"]),
        tags={"apart": str(apart)} if apart else {},
    )
