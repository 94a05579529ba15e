"""Steps about hosts that failed, which are Drover's own knowledge.

Holds, and the word of people.
"""

from __future__ import annotations

from bot.domain import policy as policies
from bot.domain.errors import DroverError
from bot.domain.message import Message, Person, words
from bot.domain.operation import BOT, SCRIPTS, Facts, Operation
from bot.domain.power import Hold, Lack, Missing, Proof, Reading, Round, attestation
from bot.domain.steps import AttestOff, HoldHost
from bot.flow.context import Services
from bot.plugin_api import Settled, StepHandler
from bot.ports import Hypervisor, Progress

FACTS = (words("said so by"), words("seen"))
"""The names of the facts of a step, which are labels, for translation."""


def hold_handler(services: Services, operation: str) -> StepHandler:
    """Put a host on hold, or admit it; a hold that stands keeps its proof."""

    def settle(
        step: HoldHost,
        hypervisor: Hypervisor,  # noqa: ARG001 - a handler's shape
    ) -> Settled:
        held = any(each.host == step.host for each in services.store.holds())
        return Settled.DONE if held is step.on else Settled.NOT_YET

    def run(step: HoldHost, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
        if step.on:
            services.store.put_hold(Hold(step.host, services.clock.now(), step.why, operation))
        else:
            services.store.lift_hold(step.host)
        return {}

    return StepHandler(HoldHost, settle, run)


def attest_handler(services: Services, operation: str) -> StepHandler:
    """Take the word of the requester and of those who voted, while nothing speaks against it."""

    def settle(step: AttestOff, hypervisor: Hypervisor) -> Settled:
        proven = hypervisor.power.standing(step.host) is not None
        return Settled.DONE if proven else Settled.NOT_YET

    def run(step: AttestOff, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
        found = _proof(services, services.store.operation(operation), step.host, hypervisor)
        if isinstance(found, Missing):
            raise DroverError(_lack(step.host, found), _ADVICE, code="not-attested")
        hypervisor.power.prove(found)
        people = words("{people}", people=[Person(each) for each in found.people])
        return {"said so by": people, "seen": step.seen}

    return StepHandler(AttestOff, settle, run)


def _proof(
    services: Services, operation: Operation, host: str, hypervisor: Hypervisor
) -> Proof | Missing:
    """What the words of two people prove at this moment."""
    origin = operation.origin
    # Who asks has seen it; the bot, a script or an agent has seen nothing
    seen_by_nobody = (
        origin.by == BOT or origin.by.startswith(SCRIPTS) or origin.via == policies.AGENT
    )
    said = [] if seen_by_nobody else [(origin.by, operation.proposed_at)]
    said += [(vote.by, vote.at) for vote in operation.votes]
    readings: tuple[Reading, ...] = tuple(
        hypervisor.power.read(each) for each in hypervisor.power.devices(host)
    )
    heard = ("libvirt",) if hypervisor.snapshot().host(host).up else ()
    now = services.clock.now()
    return attestation(host, said, (Round(host, now, ("libvirt",), heard),), readings, now)


_ADVICE = words("Look at the host again, then ask anew.")


def _lack(host: str, found: Missing) -> Message:
    if found.lack is Lack.TOO_FEW:
        return words("It takes two people who say within 15 minutes that {host} is off.", host=host)
    if found.lack is Lack.ON:
        return words("{who} reads that {host} has power.", who=found.who, host=host)
    return words("{host} was heard by {who}.", host=host, who=found.who)
