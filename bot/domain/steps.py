"""What an operation can consist of: one frozen value per kind of step, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.domain.cluster import Scheduler
from bot.domain.message import Message, words


@dataclass(frozen=True, slots=True)
class Lane:
    """How a step runs beside others of its plan.

    With all of its ``wave`` (from 1), but for those of the same VMs.

    ``host``: where it starts a VM, ``most`` such steps at a time there; ``memory``: bytes that the
    VM needs there.
    """

    wave: int
    host: str = ""
    most: int = 1
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Demand:
    """What a step makes a VM take: on ``host`` so many vCPUs and bytes; 0: as much as it has.

    ``starts``: it runs from then on.
    """

    uuid: str
    host: str
    vcpus: int = 0
    memory: int = 0
    starts: bool = True
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, complete: nothing about it is looked up later.

    Plugins may declare further kinds; ``hosts`` says where it works, for limits and partitions.
    """

    @property
    def title(self) -> Message:
        """The step as one imperative sentence."""
        raise NotImplementedError

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts it works on; the first one bears the limit."""
        return ()

    @property
    def vms(self) -> tuple[str, ...]:
        """UUIDs of the guests it touches."""
        return ()

    @property
    def lane(self) -> Lane | None:
        """How it runs beside other steps.

        None: alone, but for moves, which have rules of their own.
        """
        return None

    @property
    def least_votes(self) -> int:
        """How many votes its plan takes at least, whatever the policy says."""
        return 0

    @property
    def destroys(self) -> bool:
        """Whether it ends or removes what nobody can bring back: named first before a vote."""
        return False

    @property
    def demands(self) -> tuple[Demand, ...]:
        """What VMs take of hosts after it; moves say it themselves."""
        return ()


@dataclass(frozen=True, slots=True)
class OnHost(Step):
    """Something done to one host."""

    host: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host."""
        return (self.host,)


@dataclass(frozen=True, slots=True)
class OnVm(Step):
    """Something done to one VM on one host."""

    uuid: str
    name: str
    host: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host."""
        return (self.host,)

    @property
    def vms(self) -> tuple[str, ...]:
        """The VM."""
        return (self.uuid,)


class MigrationPolicy(StrEnum):
    """What a migration may do when a guest writes memory faster than the network carries it.

    SAFE gives up and leaves the guest where it runs; FAST throttles harder and pauses it at the
    end; POSTCOPY moves execution over and fetches memory afterwards (a failure then kills the
    guest).
    """

    SAFE = "safe"
    FAST = "fast"
    POSTCOPY = "postcopy"


@dataclass(frozen=True, slots=True)
class Carried:
    """What a migration must carry over, as it was when planned.

    Libvirt carries none of it reliably.
    """

    autostart: bool = False
    paused: bool = False
    persistent: bool = True
    scheduler: Scheduler = Scheduler()


@dataclass(frozen=True, slots=True)
class MigrateVm(Step):
    """Move a running guest from ``source`` to ``target``.

    ``memory`` in bytes, ``bandwidth`` in MiB/s (0: all).
    """

    uuid: str
    name: str
    source: str
    target: str
    memory: int
    policy: MigrationPolicy = MigrationPolicy.SAFE
    copy_storage: bool = False
    bandwidth: int = 0
    carried: Carried = Carried()
    reason: Message = ""

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words(
            "Move {vm} from {source} to {target}",
            vm=self.name,
            source=self.source,
            target=self.target,
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Source first: it bears the limit."""
        return (self.source, self.target)

    @property
    def vms(self) -> tuple[str, ...]:
        """The guest."""
        return (self.uuid,)


@dataclass(frozen=True, slots=True)
class SetMaintenance(OnHost):
    """Put a host into maintenance (nothing is placed there) or take it out."""

    on: bool
    reason: str = ""

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if self.on:
            return words("Put {host} into maintenance", host=self.host)
        return words("Take {host} out of maintenance", host=self.host)


@dataclass(frozen=True, slots=True)
class HoldHost(OnHost):
    """Put a host on hold, because it failed: nothing is started or moved there.

    Or admit it again.
    """

    on: bool
    why: Message = ""

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return (
            words("Put {host} on hold", host=self.host)
            if self.on
            else words("Admit {host} again", host=self.host)
        )


@dataclass(frozen=True, slots=True)
class AttestOff(OnHost):
    """Take the word of two people, who looked at a host, that it is off.

    ``seen``: what they saw.
    """

    seen: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Take the word of two people that {host} is off", host=self.host)

    @property
    def least_votes(self) -> int:
        """One beside the requester's word."""
        return 1


@dataclass(frozen=True, slots=True)
class WaitForPerson(Step):
    """Wait until somebody with the right lets the operation go on.

    After ``patience`` seconds it ends as failed.

    ``what``: what people are asked to see to, an imperative sentence. ``advice``: what to do when
    nobody came.
    """

    host: str
    what: Message
    patience: float
    advice: Message = ""

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return self.what

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host that it is about."""
        return (self.host,) if self.host else ()
