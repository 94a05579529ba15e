"""What is refused before a fence agent is ever started, and that nothing of it hangs or tells secrets."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.adapters.fence import FenceAddress, FenceControl, agents
from bot.adapters.fence import control as fence_control
from bot.adapters.fence.device import Answer
from bot.domain.errors import PowerError
from bot.domain.power import Device, Power
from bot.testing import TickingClock
from tests.waiting import until

A = Device("host-a", "bmc-a")


def address(agent: str, deadline: float = 5.0, password: str = "", **options: str) -> FenceAddress:
    return FenceAddress(A, agent, options, password, deadline)


@pytest.mark.parametrize(
    "agent", ["fence_dummy", "fence_virsh", "fence_ack_manual", "fence_scsi", "sh", "../sh", ""]
)
def test_what_proves_no_power_is_refused(agent: str) -> None:
    with pytest.raises(PowerError, match="not one of the fence agents"):
        FenceControl([address(agent)], TickingClock())


def test_an_option_cannot_smuggle_in_another() -> None:
    with pytest.raises(PowerError, match="one line"):
        FenceControl([address("fence_ipmilan", ip="bmc\naction=on")], TickingClock())


@pytest.mark.parametrize("name", ["action", "password", "passwd", "method", "delay"])
def test_drovers_own_options_are_not_configured(name: str) -> None:
    with pytest.raises(PowerError, match="Drover's own"):
        FenceControl([FenceAddress(A, "fence_ipmilan", {name: "x"})], TickingClock())


def test_fence_redfish_is_told_which_machine() -> None:
    with pytest.raises(PowerError, match="systems_uri"):
        FenceControl([address("fence_redfish", ip="bmc-a")], TickingClock())


def test_redfish_is_told_which_machine() -> None:
    with pytest.raises(PowerError, match="system"):
        FenceControl([address("redfish", url="https://bmc-a")], TickingClock())


def test_an_agent_that_is_not_installed_reads_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(agents, "_PATH", str(tmp_path))
    seen = FenceControl([address("fence_apc", ip="pdu")], TickingClock()).read(A)
    assert (seen.power, "not installed" in str(seen.problem)) == (Power.UNKNOWN, True)


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = tmp_path / "fence_apc"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(agents, "_PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "power"),
    [(0, Power.ON), (2, Power.OFF), (1, Power.UNKNOWN), (3, Power.UNKNOWN), (127, Power.UNKNOWN)],
)
def test_codes_are_read_as_the_standard_says(
    code: int, power: Power, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, f"cat >/dev/null; exit {code}")
    assert FenceControl([address("fence_apc", ip="pdu")], TickingClock()).read(A).power is power


@pytest.mark.process
def test_options_and_password_go_over_standard_input_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret")
    script(
        tmp_path,
        monkeypatch,
        f'cat >{tmp_path}/in; echo "$*" >{tmp_path}/argv; env >{tmp_path}/env; exit 0',
    )
    FenceControl(
        [address("fence_apc", password="s3cret", ip="pdu", plug="7")], TickingClock()
    ).read(A)
    assert (tmp_path / "in").read_text().splitlines() == [
        "ip=pdu",
        "plug=7",
        "action=status",
        "password=s3cret",
    ]
    assert (tmp_path / "argv").read_text() == "\n"
    assert "xoxb-secret" not in (tmp_path / "env").read_text()


@pytest.mark.process
def test_a_password_in_an_agents_words_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, "cat >/dev/null; echo 'login with s3cret failed' >&2; exit 1")
    seen = FenceControl([address("fence_apc", password="s3cret", ip="pdu")], TickingClock()).read(A)
    assert seen.problem == "login with … failed"


@pytest.mark.process
def test_an_agent_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, f"sleep 300 & echo $! >{tmp_path}/child; wait")
    seen = FenceControl([address("fence_apc", deadline=0.5, ip="pdu")], TickingClock()).read(A)
    assert (seen.power, str(seen.problem)) == (Power.UNKNOWN, "no answer within 500 ms")
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and _alive(child):
        assert time.monotonic() < until, "the agent's child lives on"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return " Z " not in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.process
def test_a_failed_order_raises_and_its_password_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, "cat >/dev/null; echo 'bad s3cret' >&2; exit 1")
    control = FenceControl([address("fence_apc", password="s3cret", ip="pdu")], TickingClock())
    with pytest.raises(PowerError, match="did not carry out the power command") as error:
        control.switch_off(A)
    assert "s3cret" not in str(error.value)


def test_a_repr_tells_no_password() -> None:
    assert "s3cret" not in repr(address("fence_apc", password="s3cret"))


class SlowAgent:
    """Counts its readings; each takes as long as a test wants."""

    def __init__(self) -> None:
        self.began = 0
        self.go_on = threading.Event()

    def read(self) -> Answer:
        self.began += 1
        assert self.go_on.wait(60)
        return Answer(Power.OFF)

    def order(self, *, on: bool) -> None:
        raise NotImplementedError


def control_with(agent: SlowAgent, deadline: float) -> FenceControl:
    made = FenceControl([address("fence_apc", deadline, ip="pdu")], TickingClock())
    made._agents["host-a", "bmc-a"] = agent
    return made


def test_those_who_ask_at_once_all_get_an_answer_that_began_after_they_asked() -> None:
    agent = SlowAgent()
    control = control_with(agent, 5.0)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(control.read, A)
        until(lambda: agent.began == 1)
        others = [pool.submit(control.read, A) for _ in range(7)]
        until(lambda: len(control._next) == 1)
        agent.go_on.set()
        answers = [each.result(60) for each in (first, *others)]
    assert [each.power for each in answers] == [Power.OFF] * 8
    assert agent.began <= 8
    assert all(not each.problem for each in answers)


def test_a_controller_that_hangs_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence_control, "_GRACE", 0.1)
    agent = SlowAgent()
    control = control_with(agent, 0.01)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(control.read, A)
        until(lambda: str(control.read(A).problem) == "its last call has not ended yet")
        assert agent.began == 1
        assert control.read(A).power is Power.UNKNOWN
        with pytest.raises(PowerError, match="not ended"):
            control.switch_off(A)
        agent.go_on.set()
        hanging.result(60)
    until(lambda: control.read(A).power is Power.OFF)
