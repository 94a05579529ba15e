"""What this plugin adds to the steps of an operation.

Switch a host off, prove it, start its VMs elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.domain.cluster import POSTCOPY_INCOMING, POSTCOPY_SOURCE
from bot.domain.codec import later
from bot.domain.message import Duration, Message, When, words
from bot.domain.steps import Lane, OnHost, OnVm, Step


@dataclass(frozen=True, slots=True)
class FenceHost(OnHost):
    """Switch a host off at once by the controllers of one level, and see that it reads off.

    ``identity``: the UUID that its controllers were shown to control, '' when bound otherwise.
    ``despite_life``: also while somebody hears it, which takes two votes.
    """

    level: int
    devices: tuple[str, ...]
    identity: str = ""
    despite_life: bool = later(False)

    @property
    def least_votes(self) -> int:
        """Two where it shows life, whatever the policy says."""
        return 2 if self.despite_life else 0

    @property
    def destroys(self) -> bool:
        """What the VMs of a host that lives after all have in memory."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Switch off {host} with {devices}", host=self.host, devices=self.devices)


@dataclass(frozen=True, slots=True)
class ConfirmOff(OnHost):
    """Prove that a host is off: several readings of each controller, and silence of every witness.

    ``people``: two who attested it, where no controller answers.
    """

    level: int
    reads: int
    every: float
    people: tuple[str, ...] = ()

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Confirm that {host} is off", host=self.host)


@dataclass(frozen=True, slots=True)
class ClearCorpse(OnVm):
    """End what is left of a VM on another host after a post-copy migration that broke.

    It can never run on. ``reason``: libvirt's, when it was planned. ``lost``: the dead host that
    had its other half.
    """

    reason: str
    lost: str = later("")

    @property
    def destroys(self) -> bool:
        """A half of a VM that cannot run on."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if self.reason == POSTCOPY_INCOMING:
            return words(
                "Force off {vm} on {host}, which waits for memory from {lost}",
                vm=self.name,
                host=self.host,
                lost=self.lost,
            )
        if self.reason == POSTCOPY_SOURCE:
            return words(
                "Force off the old copy of {vm} on {host}; its newest memory was on {lost}",
                vm=self.name,
                host=self.host,
                lost=self.lost,
            )
        return words("Remove the broken copy of {vm} from {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class RestartVm(Step):
    """Define a VM from its kept definition on another host, and start it. ``memory`` in bytes.

    ``sha``: the very version of the definition that is kept; ``lost``: the dead host;
    ``most``: so many starts at a time on the target.
    """

    uuid: str
    name: str
    lost: str
    target: str
    sha: str
    memory: int
    wave: int
    most: int = 4
    reset_nvram: bool = False

    @property
    def lane(self) -> Lane:
        """With all others of its wave, ``most`` at a time on its target."""
        return Lane(self.wave, self.target, self.most, self.memory)

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Start {vm} on {host}", vm=self.name, host=self.target)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The target: it bears the limit."""
        return (self.target,)

    @property
    def vms(self) -> tuple[str, ...]:
        """The VM."""
        return (self.uuid,)


@dataclass(frozen=True, slots=True)
class AwaitReady(Step):
    """Wait until a VM is ready (``by``: agent, boot, none).

    After ``patience`` seconds go on, and say so.
    """

    uuid: str
    name: str
    target: str
    by: str
    patience: float
    wave: int

    @property
    def lane(self) -> Lane:
        """With all others of its wave."""
        return Lane(self.wave)

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Wait until {vm} is ready", vm=self.name)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    @property
    def vms(self) -> tuple[str, ...]:
        """The VM."""
        return (self.uuid,)


@dataclass(frozen=True, slots=True)
class ReadmitVm(OnVm):
    """Remove what a returned host still has of a VM that runs elsewhere.

    Its saved memory, then its definition.
    """

    lives_on: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Remove the old copy of {vm} from {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class BindDevice(OnHost):
    """Keep that a power controller belongs to a host, because two people say so."""

    device: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Trust that {device} switches {host}", device=self.device, host=self.host)

    @property
    def least_votes(self) -> int:
        """One beside the requester's word."""
        return 1


@dataclass(frozen=True, slots=True)
class OwnAutostart(OnVm):
    """Let Drover start a VM at boot instead of libvirt (``on``), or give that back."""

    on: bool

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if self.on:
            return words(
                "Let Drover, not libvirt, start {vm} with {host}", vm=self.name, host=self.host
            )
        return words("Let libvirt start {vm} with {host} again", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class StartAgain(OnVm):
    """Start a VM on its own host, which has started anew. ``memory`` in bytes."""

    memory: int
    wave: int
    most: int = 4

    @property
    def lane(self) -> Lane:
        """With all others of its wave, ``most`` at a time."""
        return Lane(self.wave, self.host, self.most, self.memory)

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Start {vm} on {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class ExpectSilence(Step):
    """Expect a host to be silent until a moment; one that has passed: not any more.

    ``seconds``: so long after this was carried out, whatever ``until`` says; 0 in old ones.
    """

    host: str
    until: datetime
    over: bool = later(False)  # taken back: the host is expected to answer
    seconds: float = later(0.0)

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if self.over:
            return words("Expect {host} to be reachable again", host=self.host)
        if self.seconds:
            time = Duration(self.seconds)
            return words("Expect {host} to be unreachable for {time}", host=self.host, time=time)
        return words(
            "Expect {host} to be unreachable until {at}", host=self.host, at=When(self.until)
        )


@dataclass(frozen=True, slots=True)
class PowerOff(OnHost):
    """Switch an empty host off with its controllers, and see that this host falls silent."""

    level: int
    devices: tuple[str, ...]
    patience: float

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words(
            "Switch {host} off with {devices}, and see it become unreachable",
            host=self.host,
            devices=self.devices,
        )


@dataclass(frozen=True, slots=True)
class PowerOn(OnHost):
    """Switch a host on again after a test, and keep that these controllers are its own."""

    level: int
    devices: tuple[str, ...]
    patience: float

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Switch {host} on again, and wait until it answers", host=self.host)


@dataclass(frozen=True, slots=True)
class KillVm(OnVm):
    """End a VM at once, as its host's death would, to see that it starts elsewhere."""

    @property
    def destroys(self) -> bool:
        """What it has in memory."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Force off {vm} on {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class StartKept(OnVm):
    """Start a VM that was killed on ``host`` on its ``target``, from its kept definition.

    ``memory`` in bytes.

    ``sha``: the very version of the definition that is kept.
    """

    target: str
    sha: str
    memory: int
    reset_nvram: bool = False

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Start {vm} on {host}", vm=self.name, host=self.target)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where it was, and where it starts."""
        return (self.host, self.target)


@dataclass(frozen=True, slots=True)
class StopCopy(OnVm):
    """Force off the copy of a VM on a host that has started anew; the other one runs on."""

    lives_on: str

    @property
    def destroys(self) -> bool:
        """What this copy has in memory."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Force off the second copy of {vm} on {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class PauseCopy(OnVm):
    """Pause one copy of a VM that runs twice, so that it writes no more.

    People choose which stays.
    """

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Pause {vm} on {host}", vm=self.name, host=self.host)
