"""sushy-tools' Redfish emulator over the lab's hosts: the driver that it has no place for."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from sushy_tools import error
from sushy_tools.emulator import main
from sushy_tools.emulator.resources.systems import base, fakedriver

if TYPE_CHECKING:
    from lab.bmc import Bmcs, Machine

# The emulator's application is one for the process; labs may be several
_serving = threading.local()


def serve(bmcs: Bmcs) -> None:
    """Answer the present thread's request from this lab."""
    _serving.bmcs = bmcs


def application() -> Any:
    """The emulator as a WSGI application; ``serve`` says over which lab."""
    main.app.config["SUSHY_EMULATOR_FAKE_DRIVER"] = True
    main.app.config["SUSHY_EMULATOR_FEATURE_SET"] = "minimum"
    main.app.config["SUSHY_EMULATOR_STATE_DIR"] = _state()
    main.app.logger.setLevel(logging.CRITICAL)
    fakedriver.FakeDriver.initialize = _driver
    return main.app.wsgi_app


@cache
def _state() -> str:
    """A folder for what the emulator keeps, for the life of the process, as its application is."""
    folder = tempfile.mkdtemp(prefix="drover-bmc-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _driver(_config: object, _logger: object) -> type[LabDriver]:
    return LabDriver


class ConflictError(error.FishyError):  # type: ignore[misc] # the package has no types
    """An order for the state that is, as many controllers refuse it."""

    def __init__(self) -> None:
        super().__init__("The machine is in the requested state already.", 409)


class LabDriver(base.AbstractSystemsDriver):  # type: ignore[misc] # the package has no types
    """The hosts of a lab as machines."""

    @property
    def driver(self) -> str:
        """A name for people."""
        return "lab"

    @property
    def systems(self) -> list[str]:
        """The UUIDs of all machines."""
        return [each.uuid for each in _serving.bmcs.machines.values()]

    def _machine(self, identity: str) -> Machine:
        if identity not in self.systems:
            raise error.NotFound(f"There is no system {identity}.")
        machine: Machine = _serving.bmcs.machine_of(identity)
        return machine

    def uuid(self, identity: str) -> str:
        """The machine's UUID."""
        return self._machine(identity).uuid

    def name(self, identity: str) -> str:
        """The host's name."""
        return self._machine(identity).host

    def get_power_state(self, identity: str) -> str:
        """On or Off, as the controller reads it."""
        return "On" if _serving.bmcs.power(self._machine(identity)) else "Off"

    def set_power_state(self, identity: str, state: str) -> None:
        """Carry out On or ForceOff."""
        machine = self._machine(identity)
        wanted = state in {"On", "ForceOn"}
        if "conflict" in machine.faults and _serving.bmcs.power(machine) == wanted:
            machine.orders.append(state)
            raise ConflictError
        if state not in {"On", "ForceOn", "ForceOff"}:
            machine.orders.append(state)
            raise error.NotSupportedError(f"The lab's machines know On and ForceOff, not {state}.")
        _serving.bmcs.switch(machine, state)

    def get_boot_device(self, identity: str) -> str:
        """Always the disk."""
        self._machine(identity)
        return "Hdd"

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Refuse: lab hosts boot from nothing else."""
        raise error.NotSupportedError(f"{identity} boots from the disk, not from {boot_source}.")
