"""Redfish controllers through sushy: the power, the machine's UUID, and ForceOff."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bot.adapters.fence.device import Answer, FenceAddress
from bot.domain.errors import PowerError
from bot.domain.message import Message, words
from bot.domain.power import Power

if TYPE_CHECKING:
    import sushy
    from sushy.resources.system.system import System

# What sushy would say of each failed try goes into our own answer; its log would show addresses and
# headers.
logging.getLogger("sushy").setLevel(logging.CRITICAL)

_CONNECT_S = 3.0  # a controller is near; the rest of the deadline is for its answer
_OPTIONS = frozenset({"url", "system", "username", "ca_file", "insecure"})


def complaint(address: FenceAddress) -> Message:
    """Why this configuration cannot work or would be dangerous; '' when nothing is seen."""
    unknown = sorted(set(address.options) - _OPTIONS)
    if unknown:
        return words(
            "there is no option “{option}”; there are {options}",
            option=unknown[0],
            options=sorted(_OPTIONS),
        )
    for needed in ("url", "system"):
        if not address.options.get(needed):
            return words("the option “{option}” is missing", option=needed)
    return ""


class RedfishAgent:
    """One machine of a Redfish controller.

    Every call logs in by itself: controllers have few sessions to give.

    Options: ``url`` of the controller, ``system`` the path of the machine, ``username``,
    ``ca_file`` for its certificate, or ``insecure = "1"`` to check none.

    Raises:
        PowerError: the configuration cannot work, or sushy is not installed.
    """

    def __init__(self, address: FenceAddress) -> None:
        if problem := complaint(address):
            raise PowerError(
                words(
                    "The power controller {name} cannot be used: {problem}.",
                    name=address.device.name,
                    problem=problem,
                )
            )
        self._address = address

    def read(self) -> Answer:
        """The power and the UUID that the controller tells of the machine."""
        import sushy

        try:
            system = self._system()
            state, identity = system.power_state, str(system.uuid or "")
        except (sushy.exceptions.SushyError, OSError, ValueError) as error:
            return Answer(Power.UNKNOWN, problem=_short(error))
        power = {sushy.PowerState.ON: Power.ON, sushy.PowerState.OFF: Power.OFF}.get(
            state, Power.UNKNOWN
        )
        if power is not Power.UNKNOWN:
            return Answer(power, identity)
        problem = words("it tells the power state “{state}”", state=str(state))
        return Answer(power, identity, problem)

    def order(self, *, on: bool) -> None:
        """Order On or ForceOff.

        A machine that is in that state already gets no order: many controllers refuse it.
        """
        import sushy

        wanted = sushy.PowerState.ON if on else sushy.PowerState.OFF
        try:
            system = self._system()
            if system.power_state != wanted:
                system.reset_system(sushy.ResetType.ON if on else sushy.ResetType.FORCE_OFF)
        except (sushy.exceptions.SushyError, OSError, ValueError) as error:
            raise PowerError(
                words(
                    "{name} did not carry out the power command: {reason}.",
                    name=self._address.device.name,
                    reason=_short(error),
                )
            ) from error

    def _system(self) -> System:
        return self._root().get_system(self._address.options["system"])

    def _root(self) -> sushy.Sushy:
        try:
            import sushy
            from sushy import auth
        except ImportError as error:
            raise PowerError(
                words("sushy is not installed"), words("Install kvm-drover[redfish].")
            ) from error
        options = self._address.options
        verify: bool | str = options.get("ca_file") or options.get("insecure") not in {
            "1",
            "true",
            "yes",
        }
        return sushy.Sushy(
            options["url"],
            verify=verify,
            auth=auth.BasicAuth(options.get("username", ""), self._address.password),
            server_side_retries=1,
            server_side_retries_delay=1,
            read_timeout=max(1.0, self._address.deadline / 2),
            connect_timeout=_CONNECT_S,
        )


def _short(error: Exception) -> str:
    """What went wrong in one short line, without addresses of memory and nested representations."""
    said = " ".join(str(error).split())
    return (said[:200] + "…" if len(said) > 200 else said).rstrip(".")
