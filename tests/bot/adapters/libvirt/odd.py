"""A host in memory, told in libvirt's own terms, of which a test breaks any one answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import libvirt

UUID = "00000000-0000-4000-8000-00000000000{}"


def failure(code: int) -> libvirt.libvirtError:
    """An error of libvirt with this code, as its bindings raise it."""
    error = libvirt.libvirtError("made by a test")
    error.err = (code, 0, f"error {code}", 2, None, None, None, -1, -1)
    return error


@dataclass
class Answers:
    """What is broken: by object and method, what is raised or answered instead."""

    broken: dict[tuple[str, str], Any] = field(default_factory=dict)

    def give(self, who: str, method: str, truth: Callable[[], Any]) -> Any:
        wrong = self.broken.get((who, method), self)
        if wrong is self:
            return truth()
        if isinstance(wrong, BaseException):
            raise wrong
        return wrong


class Thing:
    """One object of a host. Its name and UUID are kept in the handle, as libvirt's bindings do."""

    def __init__(self, answers: Answers, who: str, **truth: Any) -> None:
        self._answers, self._who, self._truth = answers, who, truth

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method not in self._truth:
            raise AttributeError(method)
        return lambda *_, **__: self._answers.give(self._who, method, lambda: self._truth[method])


def _domain(answers: Answers, number: int) -> Thing:
    name = f"vm-{number}"
    xml = (
        f"<domain type='kvm'><name>{name}</name><uuid>{UUID.format(number)}</uuid><memory unit='MiB'>512</memory>"
        "<vcpu>2</vcpu><metadata><drover:tags xmlns:drover='https://drover.dev/tags/1'>"
        "<drover:tag key='env' value='dev'/></drover:tags></metadata><devices><emulator>/qemu</emulator>"
        "<disk type='file' device='disk'><source file='/pool/d.qcow2'/><target dev='vda'/></disk>"
        "<interface type='bridge'><source bridge='br0'/></interface></devices></domain>"
    )
    checkpoint = Thing(answers, f"{name}/check", getName="check", getXMLDesc=(
        "<domaincheckpoint><creationTime>1700000000</creationTime></domaincheckpoint>"
    ))  # fmt: skip
    snapshot = Thing(answers, f"{name}/snap", getName="snap", getXMLDesc=(
        "<domainsnapshot><name>snap</name><creationTime>1700000000</creationTime></domainsnapshot>"
    ), isCurrent=1)  # fmt: skip
    return Thing(
        answers, name, UUIDString=UUID.format(number), name=name, ID=number, XMLDesc=xml, isPersistent=1,
        isActive=1, snapshotNum=0, info=[1, 524288, 524288, 2, 10**9], state=[1, 1], listAllSnapshots=[snapshot],
        listAllCheckpoints=[checkpoint], blockInfo=[1 << 30, 1 << 20, 1 << 20], blockJobInfo={},
        jobStats={"type": 0}, interfaceAddresses={}, guestInfo={}, hasManagedSaveImage=0,
    )  # fmt: skip


CAPABILITIES = (
    "<capabilities><host><uuid>11111111-0000-4000-8000-000000000000</uuid><cpu><arch>x86_64</arch>"
    "<model>EPYC</model></cpu></host><guest><arch name='x86_64'><machine>q35</machine></arch></guest></capabilities>"
)


class OddHost:
    """A connection to the host: two VMs, two bridges, two networks, two pools, two secrets."""

    def __init__(self) -> None:
        self.answers = Answers()
        made = self.answers
        self.domains = [_domain(made, number) for number in (1, 2)]
        self.interfaces = [
            Thing(made, each, name=each, XMLDesc=f"<interface type='bridge' name='{each}'/>")
            for each in ("br0", "br1")
        ]
        self.networks = [
            Thing(made, each, name=each, isActive=1, autostart=1,
                  XMLDesc=f"<network><name>{each}</name><bridge name='{each}-br'/></network>")
            for each in ("net0", "net1")
        ]  # fmt: skip
        self.pools = [
            Thing(made, each, name=each, autostart=1, info=[2, 100, 40, 60], XMLDesc=(
                f"<pool type='dir'><name>{each}</name><target><path>/{each}</path></target></pool>"
            )) for each in ("pool0", "pool1")
        ]  # fmt: skip
        self.secrets = [Thing(made, f"secret{n}", UUIDString=UUID.format(5 + n)) for n in (0, 1)]
        self.devices = [
            Thing(made, each, name=each, XMLDesc=(
                f"<device><capability type='net'><interface>{each}</interface></capability></device>"
            )) for each in ("eth0", "eth1")
        ]  # fmt: skip
        stat = {
            "state.state": 1,
            "state.reason": 1,
            "cpu.time": 10**9,
            "vcpu.current": 2,
            "balloon.current": 1024,
        }
        self.truth: dict[str, Callable[..., Any]] = {
            "getCapabilities": lambda: CAPABILITIES,
            "getInfo": lambda: ["x86_64", 8192, 8, 2000, 1, 1, 8, 1],
            "getHostname": lambda: "host-a.example",
            "getVersion": lambda: 7002022,
            "getLibVersion": lambda: 9000000,
            "getMemoryStats": lambda *_: {
                "total": 8 << 20,
                "free": 4 << 20,
                "buffers": 0,
                "cached": 1 << 20,
            },
            "getFreeMemory": lambda: 4 << 30,
            "getCPUStats": lambda *_: {"kernel": 1, "user": 2, "intr": 0, "iowait": 0, "idle": 9},
            "getMemoryParameters": lambda *_: {"shm_pages_sharing": 0},
            "getSysinfo": lambda *_: (
                "<sysinfo><system><entry name='product'>Box</entry></system></sysinfo>"
            ),
            "getAllDomainStats": lambda *_: [
                (each, self._stat(each, stat)) for each in self.domains
            ],
            "domainListGetStats": lambda some, *_: [
                (each, self._stat(each, stat)) for each in some
            ],
            "listAllDomains": lambda *_: list(self.domains),
            "lookupByUUIDString": lambda uuid: next(
                d for d in self.domains if d._truth["UUIDString"] == uuid
            ),
            "listAllInterfaces": lambda *_: list(self.interfaces),
            "listAllNetworks": lambda *_: list(self.networks),
            "listAllStoragePools": lambda *_: list(self.pools),
            "listAllDevices": lambda *_: list(self.devices),
            "secretLookupByUUIDString": lambda _: self.secrets[0],
            "getDomainCapabilities": lambda *_: "<domainCapabilities/>",
            "listAllSecrets": lambda *_: list(self.secrets),
            "isAlive": lambda: True,
        }

    def _stat(self, domain: Thing, stat: dict[str, int]) -> Any:
        return self.answers.give(domain._who, "stats", lambda: dict(stat))

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.endswith(("EventRegisterAny", "EventDeregisterAny")):
            return lambda *_: self.answers.give("host", method, lambda: 1)
        if method in {"registerCloseCallback", "unregisterCloseCallback", "close", "setKeepAlive"}:
            return lambda *_: 0
        truth = self.__dict__["truth"].get(method)
        if truth is None:
            raise AttributeError(method)
        return lambda *args: self.answers.give("host", method, lambda: truth(*args))


CODES = sorted(
    {value for name, value in vars(libvirt).items() if name.startswith("VIR_ERR_") and value > 2}
)
"""Every error code of libvirt, but those that are errors' levels."""

GARBAGE: tuple[Any, ...] = (
    None, b"\xff\xfe", "", "<", "<x/>", "\x00", -1, 1 << 70, 3.5, float("nan"), True, [], {}, [None], {"a": None},
    object(),
)  # fmt: skip
