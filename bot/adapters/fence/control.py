"""All power controllers of all hosts, each call under a deadline of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import TimeoutError as NoAnswer
from typing import TypeVar

from bot.adapters.fence import agents, redfish
from bot.adapters.fence.device import REDFISH, Agent, Answer, FenceAddress
from bot.adapters.workers import Workers
from bot.domain.errors import PowerError
from bot.domain.message import Duration, words
from bot.domain.power import Device, Power, Reading
from bot.ports.clock import Clock

T = TypeVar("T")


def complaint(address: FenceAddress) -> str:
    """Why a configured controller cannot work; '' when nothing is seen."""
    return redfish.complaint(address) if address.agent == REDFISH else agents.complaint(address)


class FenceControl:
    """The port ``PowerControl`` over fence agents and Redfish. Safe for threads.

    Each controller has one thread: a call that hangs costs that controller alone, and one that is
    still waited for is not asked again.

    Args:
        addresses: of all hosts, in the order of the configuration.
        clock: for the time of readings.

    Raises:
        PowerError: a controller's configuration cannot work.
    """

    def __init__(self, addresses: Iterable[FenceAddress], clock: Clock) -> None:
        self._clock = clock
        self._addresses = {(each.device.host, each.device.name): each for each in addresses}
        self._agents = {key: _agent(each) for key, each in self._addresses.items()}
        self._workers: dict[tuple[str, str], Workers] = {}
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def devices(self, host: str) -> tuple[Device, ...]:
        """The host's controllers, by level; see the port."""
        mine = [each.device for each in self._addresses.values() if each.device.host == host]
        return tuple(sorted(mine, key=lambda each: each.level))

    def read(self, device: Device) -> Reading:
        """The power now; see the port."""
        agent = self._agents[device.host, device.name]
        try:
            answer = self._within(device, agent.read)
        except PowerError as error:
            answer = Answer(Power.UNKNOWN, problem=str(error.text))
        return Reading(
            device.host,
            device.name,
            device.level,
            answer.power,
            self._clock.now(),
            answer.identity,
            answer.problem,
        )

    def switch_off(self, device: Device) -> None:
        """Order ForceOff; see the port."""
        agent = self._agents[device.host, device.name]
        self._within(device, lambda: agent.order(on=False))

    def switch_on(self, device: Device) -> None:
        """Order On; see the port."""
        agent = self._agents[device.host, device.name]
        self._within(device, lambda: agent.order(on=True))

    def _within(self, device: Device, call: Callable[[], T]) -> T:
        key = (device.host, device.name)
        deadline = self._addresses[key].deadline
        with self._lock:
            if key in self._busy:
                raise PowerError(words("its last call has not ended yet"))
            self._busy.add(key)
            workers = self._workers.setdefault(key, Workers(f"power-{device.name}", 1))

        def free_after(_number: int) -> T:
            try:
                return call()
            finally:
                with self._lock:
                    self._busy.discard(key)

        try:
            # The agents have the same deadline; this one is for what does not keep to it.
            return workers.submit(free_after).result(deadline + 1.0)
        except NoAnswer as error:
            raise PowerError(words("no answer within {time}", time=Duration(deadline))) from error


def _agent(address: FenceAddress) -> Agent:
    return redfish.RedfishAgent(address) if address.agent == REDFISH else agents.FenceAgent(address)
