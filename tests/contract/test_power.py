"""One suite for every ``PowerControl``: the fake, sushy, and two fence agents over real controllers of lab hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from bot.adapters.fence import FenceAddress, FenceControl
from bot.domain.errors import PowerError
from bot.domain.power import Device, Power
from bot.ports.power import PowerControl
from bot.testing import TickingClock
from bot.testing.power import FakePower, Fault
from tests.waiting import RealClock

if TYPE_CHECKING:
    from lab import Lab
    from lab.bmc import Bmcs

A = Device("host-a", "bmc-a")
POWER_TIMEOUT = 60  # seconds that an agent waits for the power to change; its default is 20
DEADLINE = 90.0  # of controllers that answer, on a busy machine late
BRIEF = 2.0
"""The deadline where the controller never answers: waiting for longer shows nothing more."""


@dataclass
class Case:
    """``hasty``: the same controller with the brief deadline."""

    control: PowerControl
    hasty: PowerControl
    fault: Callable[[str], None]
    is_on: Callable[[], bool]
    uuid: str


@pytest.fixture(scope="module")
def bmcs() -> Iterator[tuple[Lab, Bmcs]]:
    from lab import Lab
    from lab.bmc import Bmcs

    with Lab(hosts=2) as lab, Bmcs(lab) as served:
        yield lab, served


def fake() -> Case:
    made = FakePower(TickingClock(), [A], {"host-a": "uuid-a"})
    faults = {
        "": None,
        "dead": Fault.DEAD,
        "idle": Fault.IDLE,
        "conflict": None,
        "liar": Fault.LIAR,
    }
    return Case(
        made,
        made,
        lambda kind: made.fault(A, faults[kind]),
        lambda: "host-a" in made.on,
        "uuid-a",
    )


def address(
    kind: str, lab: Lab, served: Bmcs, password: str, deadline: float = DEADLINE
) -> FenceAddress:
    from lab.bmc import ADDRESS, USER

    options = {
        "redfish": {
            "url": served.url,
            "ca_file": str(served.certificate),
            "system": served.system("host-a"),
        },
        "fence_redfish": {
            "ip": ADDRESS,
            "ipport": str(served.port),
            "systems_uri": served.system("host-a"),
            "ssl_insecure": "1",
        },
        "fence_ipmilan": {"ip": ADDRESS, "lanplus": "1", "cipher": "3"},
    }[kind]
    if kind != "redfish":
        options["power_timeout"] = str(POWER_TIMEOUT)
    if kind == "fence_ipmilan":
        options["ipport"] = str(served.ipmi("host-a"))
    assert lab.hosts
    return FenceAddress(A, kind, {**options, "username": USER}, password, deadline)


KINDS = ["redfish", "fence_redfish", "fence_ipmilan"]


@pytest.fixture(params=["fake", *(pytest.param(kind, marks=pytest.mark.lab) for kind in KINDS)])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "fake":
        yield fake()
        return
    from lab.bmc import PASSWORD

    lab, served = request.getfixturevalue("bmcs")
    control, hasty = (
        FenceControl([address(request.param, lab, served, PASSWORD, deadline)], RealClock())
        for deadline in (DEADLINE, BRIEF)
    )
    identity = lab.hosts["host-a"].uuid if request.param == "redfish" else ""
    yield Case(
        control,
        hasty,
        lambda kind: served.fault("host-a", *([kind] if kind else [])),
        lambda: bool(lab.is_on("host-a")),
        identity,
    )
    served.fault("host-a")
    if not lab.is_on("host-a"):
        lab.power_on("host-a")


def test_a_controller_is_listed_for_its_host_alone(case: Case) -> None:
    assert case.control.devices("host-a") == (A,)
    assert case.control.devices("host-b") == ()


def test_a_host_that_is_on_reads_on_and_names_its_machine(case: Case) -> None:
    seen = case.control.read(A)
    assert (seen.host, seen.device, seen.power, seen.identity) == (
        "host-a",
        "bmc-a",
        Power.ON,
        case.uuid,
    )


def test_off_switches_the_host_off_and_it_stays_off(case: Case) -> None:
    case.control.switch_off(A)
    assert not case.is_on()
    assert case.control.read(A).power is Power.OFF
    assert not case.is_on()


def test_off_for_a_host_that_is_off_is_no_error(case: Case) -> None:
    case.control.switch_off(A)
    case.fault("conflict")
    case.control.switch_off(A)
    assert case.control.read(A).power is Power.OFF


def test_on_gives_power_again(case: Case) -> None:
    case.control.switch_off(A)
    case.control.switch_on(A)
    assert case.is_on()
    assert case.control.read(A).power is Power.ON


def test_a_controller_that_does_not_answer_reads_unknown_says_why_and_takes_no_order(
    case: Case,
) -> None:
    case.fault("dead")
    seen = case.hasty.read(A)
    assert seen.power is Power.UNKNOWN
    assert seen.problem
    with pytest.raises(PowerError):
        case.hasty.switch_off(A)
    assert case.is_on()


def test_a_liar_reads_off_while_the_host_is_on(case: Case) -> None:
    """Why one reading proves nothing: the order is taken, the reading is OFF, the host runs on."""
    case.fault("liar")
    case.control.switch_off(A)
    assert case.control.read(A).power is Power.OFF
    assert case.is_on()


@pytest.mark.lab
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_password_reads_unknown_and_is_shown_nowhere(
    kind: str, bmcs: tuple[Lab, Bmcs]
) -> None:
    lab, served = bmcs
    secret = "not-the-password"
    control = FenceControl([address(kind, lab, served, secret)], RealClock())
    seen = control.read(A)
    assert seen.power is Power.UNKNOWN
    assert secret not in repr(seen)
    with pytest.raises(PowerError) as refused:
        control.switch_off(A)
    assert secret not in str(refused.value)
    assert lab.is_on("host-a")


@pytest.mark.lab
def test_only_force_off_is_ever_ordered(bmcs: tuple[Lab, Bmcs]) -> None:
    """``off`` as a graceful shutdown would save or shut down VMs, which may start again by themselves."""
    from lab.bmc import PASSWORD

    lab, served = bmcs
    before = len(served.orders("host-a"))
    for kind in KINDS:
        control = FenceControl([address(kind, lab, served, PASSWORD)], RealClock())
        control.switch_off(A)
        assert not lab.is_on("host-a")
        lab.power_on("host-a")
    assert set(served.orders("host-a")[before:]) == {"ForceOff"}
