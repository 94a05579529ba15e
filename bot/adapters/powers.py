"""Power controllers with what is known of their hosts.

The port ``Powers`` over a control and a store of holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import structlog

from bot.domain.cluster import Sighting
from bot.domain.definition import Definition, Variables
from bot.domain.errors import PowerError
from bot.domain.message import words
from bot.domain.power import (
    MOST_MINUTES_ATTESTED,
    Binding,
    Bound,
    Device,
    Hold,
    LastSeen,
    Power,
    Proof,
    ProofKind,
    Reading,
)
from bot.ports.clock import Clock
from bot.ports.power import Holds, PowerControl, Powers

log = structlog.get_logger()


class ProvenPowers:
    """The port ``Powers``. Safe for threads.

    Args:
        control: reads and switches.
        holds: where holds, proofs and bonds are kept.
        clock: for the age of people's word.
    """

    def __init__(self, control: PowerControl, holds: Holds, clock: Clock) -> None:
        self._control = control
        self._holds = holds
        self._clock = clock

    def devices(self, host: str) -> tuple[Device, ...]:
        """The host's controllers; see the port."""
        return self._control.devices(host)

    def read(self, device: Device) -> Reading:
        """The power now; see the port."""
        return self._control.read(device)

    def switch_off(self, device: Device) -> None:
        """Order the power off; see the port."""
        self._control.switch_off(device)

    def switch_on(self, device: Device) -> None:
        """Order the power on; see the port."""
        self._control.switch_on(device)

    def bonds(self, host: str) -> tuple[Bound, ...]:
        """The host's controllers that were shown to be its own; see the port."""
        return tuple(each for each in self._holds.bonds() if each.host == host and each.by.proves)

    def wrong_bonds(self, host: str) -> tuple[Bound, ...]:
        """The host's controllers that read OFF while it ran on; see the port."""
        return tuple(
            each for each in self._holds.bonds() if each.host == host and each.by is Binding.REFUTED
        )

    def last_seen(self, host: str) -> LastSeen | None:
        """What was last read of the host while it answered; see the port."""
        return self._holds.last_seen(host)

    def put_last_seen(self, seen: Sequence[LastSeen]) -> None:
        """Keep what was read of hosts that answer; see the port."""
        self._holds.put_last_seen(seen)

    def definition(self, uuid: str, sha: str = "") -> Definition | None:
        """The kept version of a VM's definition; see the port."""
        versions = self._holds.definitions(uuid=uuid)
        return next((each for each in versions if sha in {"", each.sha}), None)

    def variables(self, uuid: str) -> Variables | None:
        """The kept copy of a VM's UEFI variables; see the port."""
        return self._holds.variables(uuid)

    def bind(self, bound: Bound) -> None:
        """Keep whose a controller is; see the port."""
        refuted = {each.device for each in self.wrong_bonds(bound.host)}
        if bound.by is Binding.UUID and bound.device in refuted:
            return
        self._holds.put_bond(bound)

    def hold(self, host: str) -> Hold | None:
        """The hold on a host; see the port."""
        return next((each for each in self._holds.holds() if each.host == host), None)

    def prove(self, proof: Proof) -> None:
        """Keep the proof that a held host is off; see the port."""
        hold = self.hold(proof.host)
        if hold is None:
            raise PowerError(words("{host} is not on hold.", host=proof.host), code="not-held")
        self._holds.put_hold(replace(hold, proof=proof))

    def void(self, host: str) -> None:
        """Whatever proved the host off does so no more; see the port."""
        hold = self.hold(host)
        if hold is not None and hold.proof is not None:
            log.warning("a proof that a host is off is void", host=host)
            self._holds.put_hold(replace(hold, proof=None, void=hold.proof))

    def standing(self, host: str) -> Proof | None:
        """The proof that stands at this moment; see the port."""
        hold = self.hold(host)
        if hold is None or hold.proof is None:
            return None
        proof = hold.proof
        readings = read_all(self._control, self._control.devices(host))
        if any(each.power is Power.ON for each in readings):
            self.void(host)
            return None
        return proof if self._is_good(proof, readings) else None

    def _is_good(self, proof: Proof, readings: Sequence[Reading]) -> bool:
        if proof.kind is ProofKind.ATTESTED:
            return self._clock.now() - proof.since <= timedelta(minutes=MOST_MINUTES_ATTESTED)
        if proof.kind is ProofKind.REBIRTH:
            return False  # it answers, and is asked itself
        identities = {each.device: each.identity.lower() for each in self.bonds(proof.host)}
        mine = {each.device: each for each in readings if each.device in proof.devices}
        # All of them are still shown to be the host's: one that was found wrong proves nothing.
        return set(mine) == set(proof.devices) <= set(identities) and all(
            each.power is Power.OFF
            and each.identity.lower() in {"", identities[each.device] or each.identity.lower()}
            for each in mine.values()
        )


def read_all(control: PowerControl, devices: Sequence[Device]) -> tuple[Reading, ...]:
    """One reading of each, side by side."""
    if not devices:
        return ()
    with ThreadPoolExecutor(len(devices), thread_name_prefix="power") as pool:
        return tuple(pool.map(control.read, devices))


def with_proofs(seen: Sequence[Sighting], powers: Powers) -> tuple[Sighting, ...]:
    """Sightings in which a host that is proven off answers.

    A proof of one that answers itself is void.
    """
    return tuple(_with_proof(each, powers) for each in seen)


def _with_proof(seen: Sighting, powers: Powers) -> Sighting:
    if seen.reachable:
        powers.void(seen.host)
        return seen
    proof = powers.standing(seen.host)
    return seen if proof is None else Sighting(seen.host, reachable=True, proven=proof.kind.value)


class NoPowers:
    """The port ``Powers`` where no power controller and no store is at hand.

    Nothing is proven of any host.
    """

    def devices(self, host: str) -> tuple[Device, ...]:  # noqa: ARG002
        """None."""
        return ()

    def read(self, device: Device) -> NoReturn:
        """Nobody can read it.

        Raises:
            PowerError: always.
        """
        raise PowerError(words("{device} is not configured.", device=device.name))

    switch_off = switch_on = read

    def bonds(self, host: str) -> tuple[Bound, ...]:  # noqa: ARG002
        """None."""
        return ()

    wrong_bonds = bonds

    def last_seen(self, host: str) -> LastSeen | None:  # noqa: ARG002
        """None."""
        return None

    def put_last_seen(self, seen: Sequence[LastSeen]) -> None:
        """There is nowhere to keep it."""

    def definition(self, uuid: str, sha: str = "") -> Definition | None:  # noqa: ARG002
        """None."""
        return None

    def variables(self, uuid: str) -> Variables | None:  # noqa: ARG002
        """None."""
        return None

    def bind(self, bound: Bound) -> None:
        """There is nowhere to keep it.

        Raises:
            PowerError: always.
        """
        raise PowerError(words("{device} is not configured.", device=bound.device))

    def hold(self, host: str) -> Hold | None:  # noqa: ARG002
        """None."""
        return None

    def prove(self, proof: Proof) -> None:
        """There is no hold.

        Raises:
            PowerError: always.
        """
        raise PowerError(words("{host} is not on hold.", host=proof.host), code="not-held")

    def void(self, host: str) -> None:
        """Nothing is proven."""

    def standing(self, host: str) -> Proof | None:  # noqa: ARG002
        """None."""
        return None
