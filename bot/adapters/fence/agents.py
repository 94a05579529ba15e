"""Fence agents: programs of the ClusterLabs standard, told what to do on standard input.

Source: FenceAgentAPI.md of ClusterLabs/fence-agents. ``action=status`` ends with 0 for on, 2 for
off, 1 for an error.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess

from bot.adapters.fence.device import Answer, FenceAddress
from bot.domain.errors import PowerError
from bot.domain.message import Duration, Message, words
from bot.domain.power import Power

# Agents that read the power of a machine or an outlet from a controller apart from the host. Not
# here: agents that take a person's word (ack_manual), that only cut storage (scsi, mpath: another
# kind of proof), that switch a VM of another hypervisor off by its name (virsh, xvm), and those for
# tests (dummy).
AGENTS = frozenset(
    {
        "fence_amt_ws",
        "fence_apc",
        "fence_apc_snmp",
        "fence_bladecenter",
        "fence_brocade",
        "fence_cisco_mds",
        "fence_cisco_ucs",
        "fence_drac",
        "fence_drac5",
        "fence_eaton_snmp",
        "fence_emerson",
        "fence_eps",
        "fence_hds_cb",
        "fence_hpblade",
        "fence_ibm_powervs",
        "fence_ibmblade",
        "fence_idrac",
        "fence_ifmib",
        "fence_ilo",
        "fence_ilo2",
        "fence_ilo3",
        "fence_ilo3_ssh",
        "fence_ilo4",
        "fence_ilo4_ssh",
        "fence_ilo5",
        "fence_ilo5_ssh",
        "fence_ilo_moonshot",
        "fence_ilo_mp",
        "fence_ilo_ssh",
        "fence_imm",
        "fence_intelmodular",
        "fence_ipdu",
        "fence_ipmilan",
        "fence_ipmilanplus",
        "fence_lpar",
        "fence_netio",
        "fence_powerman",
        "fence_raritan",
        "fence_raritan_px3",
        "fence_redfish",
        "fence_rsa",
        "fence_rsb",
        "fence_supermicro",
        "fence_tripplite_snmp",
        "fence_vmware_rest",
        "fence_vmware_soap",
        "fence_wti",
    }
)
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")
_OWN = frozenset(
    {"action", "password", "passwd", "password_script", "passwd_script", "method", "delay"}
)
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_STATUS = {0: Power.ON, 2: Power.OFF}


def complaint(address: FenceAddress) -> Message:
    """Why this configuration cannot work or would be dangerous; '' when nothing is seen."""
    if address.agent not in AGENTS:
        return words("{agent} is not one of the fence agents that Drover uses", agent=address.agent)
    for name, value in address.options.items():
        if not _NAME.match(name) or "\n" in value or "\r" in value:
            return words("the option “{option}” is not a name and a value in one line", option=name)
        if name in _OWN:
            return words(
                "the option “{option}” is Drover's own; a password belongs into `password_file`",
                option=name,
            )
    if address.agent == "fence_redfish" and not (
        {"systems_uri", "systems-uri"} & set(address.options)
    ):
        # Without it the agent switches off the last system that the controller lists.
        return words(
            "fence_redfish needs the option `systems_uri`: without it the agent picks a machine "
            "itself"
        )
    return ""


class FenceAgent:
    """One controller by a fence agent.

    Raises:
        PowerError: the configuration cannot work.
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
        """The power as ``action=status`` tells it.

        An error, a timeout or any other code is UNKNOWN.
        """
        try:
            code, said = self._run("status")
        except PowerError as error:
            return Answer(Power.UNKNOWN, problem=error.text)
        power = _STATUS.get(code, Power.UNKNOWN)
        if power is not Power.UNKNOWN:
            return Answer(power)
        return Answer(power, problem=said or words("it ended with {code}", code=code))

    def order(self, *, on: bool) -> None:
        """Order the power on or off; a code of failure raises, and says nothing of the power."""
        code, said = self._run("on" if on else "off")
        if code:
            raise PowerError(
                words(
                    "{name} did not carry out the power command: {reason}.",
                    name=self._address.device.name,
                    reason=said or words("it ended with {code}", code=code),
                )
            )

    def _run(self, action: str) -> tuple[int, str]:
        """Exit code and last words of the agent.

        Raises:
            PowerError: it is not installed, or did not end in time; it is then killed.
        """
        program = shutil.which(self._address.agent, path=_PATH)
        if program is None:
            raise PowerError(
                words("{agent} is not installed here", agent=self._address.agent),
                words("Install the package fence-agents."),
            )
        options = {**self._address.options, "action": action}
        if self._address.password:
            options["password"] = self._address.password
        lines = "".join(f"{name}={value}\n" for name, value in options.items())
        try:
            process = subprocess.Popen(
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                # Nothing of the bot's environment: it holds tokens, and agents read proxies and
                # trace settings there.
                env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError as error:
            raise PowerError(
                words(
                    "{agent} cannot be started: {reason}",
                    agent=self._address.agent,
                    reason=str(error.strerror),
                )
            ) from error
        with process:
            try:
                out, err = process.communicate(lines, self._address.deadline)
            except subprocess.TimeoutExpired as error:
                # With what it started: an ipmitool that lives on would hold the pipes, and still
                # carry out the order.
                os.killpg(process.pid, signal.SIGKILL)
                raise PowerError(
                    words("no answer within {time}", time=Duration(self._address.deadline))
                ) from error
        return process.returncode, self._last_line(err or out)

    def _last_line(self, said: str) -> str:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1][-200:] if lines else ""
        return last.replace(self._address.password, "…") if self._address.password else last
