"""Small proposals, moves and requests for tests of the store, the work queue and the domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.domain import plan, steps
from bot.domain.cluster import Scheduler
from bot.domain.codec import Codec
from bot.domain.operation import EVENTS, Attempted, Origin, Proposed
from bot.domain.plan import Blast, Objection, Plan, Prediction, Reason, Risk
from bot.domain.policy import Ruling
from bot.ports import Request

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Migrate:
    """An intent, as a plugin would have one."""

    vm: str
    to: str = ""


CODEC = Codec(
    (
        *EVENTS, Attempted, Migrate, Plan, Origin, Ruling, Blast, Prediction, Reason, Objection, plan.HostBar, plan.Spread,
        steps.MigrateVm, steps.SetMaintenance, steps.WaitForPerson, steps.Carried, Scheduler,
    )
)  # fmt: skip


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def move(vm: str = "web-1", source: str = "host-a", target: str = "host-b") -> steps.MigrateVm:
    return steps.MigrateVm(f"uuid-of-{vm}", vm, source, target, memory=1 << 30)


def planned(*moves: steps.Step) -> Plan:
    chosen = moves or (move(),)
    return Plan(
        "Move web-1 to host-b",
        chosen,
        Risk.MEDIUM,
        Blast(vms=("web-1",), hosts=("host-a", "host-b"), memory=1 << 30),
        Prediction(seconds=9, downtime=0.03, converges=True, basis="measured"),
        reasons=(Reason("emptiest", "host-b is the emptiest"),),
    )


def proposal(
    key: str = "request-1",
    *,
    by: str = "UENG",
    votes: int = 1,
    plan: Plan | None = None,
    expires: float = 3600,
) -> Proposed:
    return Proposed(
        at=START,
        by=by,
        action="migrate",
        intent=Migrate("web-1", "host-b"),
        plan=plan or planned(),
        ruling=Ruling(votes, ("approver",), 3600, "default"),
        origin=Origin(by, "COPS", "migrate web-1 to host-b", key),
        expires_at=later(expires),
    )


def request(key: str = "command-1", text: str = "migrate web-1") -> Request:
    return Request(
        key,
        "command",
        "UENG",
        START,
        "COPS",
        text,
        answers=(("why", "“ünïcode” \0 \n"),),
        trigger="t.1",
    )
