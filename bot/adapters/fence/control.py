"""All power controllers of all hosts, each call under a deadline of our own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from typing import TypeVar

from bot.adapters.fence import agents, redfish
from bot.adapters.fence.device import REDFISH, Agent, Answer, FenceAddress
from bot.adapters.workers import Workers
from bot.domain.errors import PowerError
from bot.domain.message import Duration, Message, words
from bot.domain.power import Device, Power, Reading
from bot.ports.clock import Clock

T = TypeVar("T")
_GRACE = 1.0  # seconds that an agent may end later than its deadline


def complaint(address: FenceAddress) -> Message:
    """Why a configured controller cannot work; '' when nothing is seen."""
    return redfish.complaint(address) if address.agent == REDFISH else agents.complaint(address)


class FenceControl:
    """The port ``PowerControl`` over fence agents and Redfish. Safe for threads.

    Each controller has one thread: a call that hangs costs that controller alone, and while one
    hangs no other is begun. Those who ask for a reading while another call is under way share the
    next one: it begins after all of them asked.

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
        self._workers = {
            key: Workers(f"power-{each.device.name}", 1) for key, each in self._addresses.items()
        }
        self._next: dict[tuple[str, str], Future[Answer]] = {}
        # Those who ask at once share one call that has not begun
        self._lock = threading.Lock()

    def devices(self, host: str) -> tuple[Device, ...]:
        """The host's controllers, by level; see the port."""
        mine = [each.device for each in self._addresses.values() if each.device.host == host]
        return tuple(sorted(mine, key=lambda each: each.level))

    def read(self, device: Device) -> Reading:
        """The power now; see the port."""
        try:
            answer = self._answer_of(device, self._reading(device))
        except PowerError as error:
            answer = Answer(Power.UNKNOWN, problem=error.text)
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
        self._answer_of(device, self._line(device).submit(lambda _: agent.order(on=False)))

    def switch_on(self, device: Device) -> None:
        """Order On; see the port."""
        agent = self._agents[device.host, device.name]
        self._answer_of(device, self._line(device).submit(lambda _: agent.order(on=True)))

    def _reading(self, device: Device) -> Future[Answer]:
        """The next reading that begins, for everybody who asked before it did."""
        key = (device.host, device.name)
        agent, line = self._agents[key], self._line(device)

        def read(_number: int) -> Answer:
            with self._lock:
                self._next.pop(key, None)
            return agent.read()

        with self._lock:
            if key not in self._next:
                self._next[key] = line.submit(read)
            return self._next[key]

    def _line(self, device: Device) -> Workers:
        """The thread of a controller.

        Raises:
            PowerError: it is still at a call whose time was over long ago.
        """
        key = (device.host, device.name)
        if self._workers[key].longest_call(self._addresses[key].deadline + _GRACE) is not None:
            raise PowerError(words("its last call has not ended yet"))
        return self._workers[key]

    def _answer_of(self, device: Device, call: Future[T]) -> T:
        """What a call answered. It may have waited for the one before it."""
        deadline = self._addresses[device.host, device.name].deadline
        try:
            # The agents have the same deadline; this one is for what does not keep to it.
            return call.result(2 * (deadline + _GRACE))
        except NoAnswer as error:
            raise PowerError(words("no answer within {time}", time=Duration(deadline))) from error


def _agent(address: FenceAddress) -> Agent:
    return redfish.RedfishAgent(address) if address.agent == REDFISH else agents.FenceAgent(address)
