"""The ports ``Readiness`` and ``Shell`` over a cluster in memory.

Facts made from the drawing, shells that a test gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from bot.domain.cluster import Host, Vm
from bot.domain.errors import HypervisorError
from bot.domain.message import Message
from bot.domain.readiness import (
    CommandResult,
    CpuBaseline,
    CpuOrder,
    GuestCpu,
    HostFacts,
    Net,
    PairFacts,
)

Shell = Callable[[Sequence[str]], CommandResult]
"""Answers as a host's shell would; it may raise ``HypervisorError``, as SSH does."""


class FakeReadiness:
    """The part of ``FakeHypervisor`` that tells whether hosts are ready.

    Hosts have no shell until ``give_shell``. CPUs are identical where their models are, else
    incompatible.
    """

    def __init__(self) -> None:
        super().__init__()
        self._host_facts: dict[str, HostFacts] = {}
        self._shell_of: dict[str, Shell] = {}
        self.answers_knocks: dict[str, bool] = {}  # by host; others have no address
        self.mute_places: set[tuple[str, int]] = set()  # no hosts; others answer

    def _reach(self, host: str) -> None:
        raise NotImplementedError

    def _known_host(self, host: str) -> Host:
        raise NotImplementedError

    def _vms_on(self, host: str) -> Iterator[Vm]:
        raise NotImplementedError

    def _may(self, method: str) -> None:
        raise NotImplementedError

    def give_shell(self, host: str, shell: Shell) -> None:
        """Let a host have SSH; ``shell`` answers for its programs."""
        self._shell_of[host] = shell

    def give_facts(self, facts: HostFacts) -> None:
        """Let libvirt tell this of the host that it names."""
        self._host_facts[facts.host] = facts

    def host_facts(self, host: str) -> HostFacts:
        """What was given, else what the drawing says; see the port."""
        self._reach(host)
        self._may("host_facts")
        return self._host_facts.get(host) or facts_of(self._known_host(host))

    def pair_facts(self, source: str, target: str) -> PairFacts:
        """Whether the CPU models are the same; see the port."""
        here, there = self.host_facts(source), self.host_facts(target)
        self._may("pair_facts")
        same = here.cpu_model == there.cpu_model
        return PairFacts(
            source,
            target,
            CpuOrder.IDENTICAL if same else CpuOrder.INCOMPATIBLE,
            "" if same else f"{there.cpu_model} is not {here.cpu_model}",
            f"qemu+tls://{target}/system",
            migrate_tls=True,
        )

    def cpu_baseline(self, hosts: Collection[str]) -> CpuBaseline:
        """The one model of all hosts.

        Raises:
            HypervisorError: they have different models, or there are none.
        """
        told: dict[str, HostFacts] = {}
        left_out: list[tuple[str, Message]] = []
        for name in sorted(hosts):
            try:
                told[name] = self.host_facts(name)
            except HypervisorError as error:
                left_out.append((name, error.why))
        names, facts = list(told), list(told.values())
        self._may("cpu_baseline")
        if len({each.cpu_model for each in facts}) != 1:
            raise HypervisorError(
                f"No CPU model suits {', '.join(names) or 'no host'}.", "Leave hosts out."
            )
        model = facts[0].cpu_model
        guests = tuple(
            GuestCpu(
                vm.name,
                name,
                (vm.detail.cpu_mode if vm.detail else "") or "default",
                model,
                virt_type="kvm",
            )
            for name in names
            for vm in self._vms_on(name)
            if vm.state.active
        )
        xml = f'<cpu mode="custom" match="exact"><model fallback="forbid">{model}</model></cpu>'
        return CpuBaseline(tuple(names), "kvm", model, "", (), (), xml, guests, tuple(left_out))

    def run(
        self,
        host: str,
        argv: Sequence[str],
        *,
        deadline: float = 20.0,  # noqa: ARG002
    ) -> CommandResult | None:
        """What the given shell answers; None without one."""
        self._known_host(host)
        self._may("run")
        shell = self._shell_of.get(host)
        return None if shell is None else shell(argv)

    def knock(self, host: str) -> bool | None:
        """What a test said; None without."""
        self._known_host(host)
        return self.answers_knocks.get(host)

    def answers(self, place: str, port: int) -> bool:
        """True, unless a test said that it does not answer."""
        return (place, port) not in self.mute_places


def facts_of(host: Host) -> HostFacts:
    """The facts of a drawn host that nothing is wrong with."""
    return HostFacts(
        host=host.name,
        hostname=host.hostname or host.name,
        uuid=host.uuid,
        libvirt_version=host.libvirt_version,
        hypervisor_version=host.hypervisor_version,
        arch=host.arch,
        cpus=host.cpus,
        memory=host.memory,
        cpu_model=host.cpu_model,
        emulator="/usr/bin/qemu-system-x86_64",
        virt_types=frozenset({"kvm", "qemu"}),
        machines=host.machines,
        iommu=True,
        transports=("tcp",),
        security=("apparmor", "dac"),
        shared_pages=0,
        pools=host.pools,
        networks=tuple(Net(name, active=True, autostart=True) for name in sorted(host.networks)),
        bridges=host.bridges,
    )
