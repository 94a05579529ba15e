"""Clusters saved as plain JSON (sizes in MiB and cores), as problems for the solver."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plugins.balance.solver.model import NO_GROUP, BadProblem, Floats, Problem, group_numbers

MIB_PER_GIB = 1024.0


def problem_from(cluster: Mapping[str, Any]) -> Problem:
    """Read {vcpu_ratio, hosts: [{name, mem, reserve, cores, drain}], vms: [{name, mem, vcpus, …}]}.

    A VM also has ``cpu``, ``aa`` and ``host``.

    Memory is in MiB, `cpu` in cores in use, `aa` an anti-affinity group or null. BadProblem names
    what is missing.
    """
    try:
        return _problem(cluster["hosts"], cluster["vms"], float(cluster["vcpu_ratio"]))
    except KeyError as missing:
        raise BadProblem(
            # no message: for who wrote the file
            f"the cluster file lacks {missing} or names a host that it does not list"
        ) from missing


def _problem(
    hosts: Sequence[Mapping[str, Any]], vms: Sequence[Mapping[str, Any]], ratio: float
) -> Problem:
    memory, cores = _column(hosts, "mem") / MIB_PER_GIB, _column(hosts, "cores")
    size = _column(vms, "mem") / MIB_PER_GIB
    index = {host["name"]: number for number, host in enumerate(hosts)}
    return Problem(
        host_names=tuple(index),
        cores=cores,
        memory=memory,
        usable_memory=memory - _column(hosts, "reserve") / MIB_PER_GIB,
        vcpu_limit=ratio * cores,
        drained=np.array([bool(host["drain"]) for host in hosts], dtype=np.bool_),
        vm_names=tuple(vm["name"] for vm in vms),
        vm_memory=size,
        vcpus=_column(vms, "vcpus"),
        cpu=_column(vms, "cpu"),
        host=np.array([index[vm["host"]] for vm in vms], dtype=np.intp),
        anti_affinity=group_numbers([vm.get("aa") for vm in vms]),
        affinity=np.full(len(vms), NO_GROUP, dtype=np.intp),
        fixed=("",) * len(vms),
        transfer=size,
    )


def _column(rows: Sequence[Mapping[str, object]], name: str) -> Floats:
    return np.array([row[name] for row in rows], dtype=np.float64)
