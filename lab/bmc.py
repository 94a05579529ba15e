"""Power controllers of lab hosts.

A real Redfish server and real IPMI ones, which switch the hosts off and on.

The Redfish server is OpenStack's sushy-tools, the IPMI ones are OpenIPMI's ``ipmi_sim``; the lab is
only the machine behind them. Each can be made to fail in the ways that real ones do.
"""

import base64
import hmac
import logging
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.errors import LabError
from lab.hosts import Lab

USER, PASSWORD = "drover", "lab-power"
ADDRESS = "127.0.0.1"
FAULTS = frozenset({"liar", "slow", "stale", "idle", "dead", "wrong-machine", "conflict"})
"""``liar``: it reads Off as soon as it is told to, and the host lives on. ``slow``.

It answers after ``SLOW_S``.
``stale``: it reads what was read when the fault began. ``idle``: it takes orders and does nothing.
``dead``: it does not answer. ``wrong-machine``: it is another host's. ``conflict``: it refuses an
order for the state that is (409)."""
SLOW_S = 6.0
_OPEN = frozenset({"redfish", "redfish/v1"})  # the standard lets everybody read the root (DSP0266)


@dataclass(slots=True)
class Machine:
    """What stands behind one host's controllers."""

    host: str
    uuid: str
    faults: set[str] = field(default_factory=set)
    shown: bool | None = None  # what a stale or lying controller reads
    orders: list[str] = field(default_factory=list)


class Bmcs:
    """Controllers of every host of a lab, for the time of a ``with``.

    One Redfish server serves all hosts, with TLS, at ``url``; ``system(host)`` is the path of one.
    Raises LabError where something is missing.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.machines = {name: Machine(name, host.uuid) for name, host in lab.hosts.items()}
        self.certificate = lab.directory / "bmc" / "cert.pem"
        self._lock = threading.Lock()
        self._ipmi: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.certificate.parent.mkdir(exist_ok=True)
        key = self.certificate.with_name("key.pem")
        _certify(self.certificate, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = make_server(ADDRESS, 0, _Door(self), threaded=True, ssl_context=context)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="bmc", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for process in self._ipmi.values():
            process.kill()
            process.wait()

    @property
    def url(self) -> str:
        """The address of the Redfish server."""
        return f"https://{ADDRESS}:{self.port}"

    def system(self, host: str) -> str:
        """The path of a host's machine."""
        return f"/redfish/v1/Systems/{self.machines[host].uuid}"

    def fault(self, host: str, *faults: str) -> None:
        """Let a host's controllers fail so, and in no other way.

        Without faults they are well again.
        """
        if unknown := set(faults) - FAULTS:
            raise LabError(
                f"There is no fault {', '.join(sorted(unknown))}, only {', '.join(sorted(FAULTS))}."
            )
        machine = self.machines[host]
        machine.faults, machine.shown = set(faults), None
        if "stale" in faults:
            machine.shown = self.lab.is_on(host)
        if host in self._ipmi:
            self._ipmi[host].send_signal(signal.SIGSTOP if "dead" in faults else signal.SIGCONT)

    def orders(self, host: str) -> tuple[str, ...]:
        """What was ordered of a host's power through its controllers, in order."""
        return tuple(self.machines[host].orders)

    def press_button(self, host: str) -> None:
        """Switch a host on or off at its front, as a person in the room does."""
        with self._lock:
            if self.lab.is_on(host):
                self.lab.power_off(host)
            else:
                self.lab.power_on(host)

    def ipmi(self, host: str) -> int:
        """Start an IPMI controller of a host, unless it runs, and answer its UDP port.

        It ends with this object.
        """
        if host in self._ports:
            return self._ports[host]
        program = shutil.which("ipmi_sim", path="/usr/bin:/usr/sbin:/bin")
        if program is None:
            raise LabError("ipmi_sim is missing: apt-get install --no-install-recommends openipmi")
        home = self.certificate.parent / f"ipmi-{host}"
        (home / "state").mkdir(parents=True)
        port = self._ports[host] = _free_udp_port()
        (home / "lan.conf").write_text(self._lan_conf(host, port, home))
        (home / "emu").write_text(
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 "
            "0xf02\nmc_enable 0x20\n"
        )
        with (home / "log").open("wb") as log:
            argv = [
                program,
                "-c",
                str(home / "lan.conf"),
                "-f",
                str(home / "emu"),
                "-s",
                str(home / "state"),
                "-n",
            ]
            self._ipmi[host] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return port

    def machine_of(self, uuid: str) -> Machine:
        """The machine that answers under this UUID.

        Another host's under the fault ``wrong-machine``.
        """
        named = next(each for each in self.machines.values() if each.uuid == uuid)
        if "wrong-machine" not in named.faults:
            return named
        return next(each for each in self.machines.values() if each is not named)

    def power(self, machine: Machine) -> bool:
        """What a controller reads of a machine."""
        return machine.shown if machine.shown is not None else self.lab.is_on(machine.host)

    def switch(self, machine: Machine, order: str) -> None:
        """Carry out an order such as ``ForceOff`` or ``On``, as far as the faults let it."""
        machine.orders.append(order)
        on = order in {"On", "ForceOn"}
        if "liar" in machine.faults:
            machine.shown = on
        if machine.faults & {"liar", "idle", "stale"}:
            return
        with self._lock:
            if on and not self.lab.is_on(machine.host):
                self.lab.power_on(machine.host)
            elif not on and self.lab.is_on(machine.host):
                self.lab.power_off(machine.host)

    def _lan_conf(self, host: str, port: int, home: Path) -> str:
        control = home / "chassis"
        control.write_text(_chassis_script(f"{self.url}/lab/{host}"))
        control.chmod(0o700)
        guid = self.machines[host].uuid.replace("-", "")
        return f"""\
name "{host}"
set_working_mc 0x20
  startlan 1
    addr {ADDRESS} {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid {guid}
  endlan
  chassis_control "{control}"
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "{USER}" "{PASSWORD}" admin 10 none md2 md5 straight
"""


class _Door:
    """The WSGI application: a log-in before sushy-tools, the faults.

    Also a word for the IPMI controllers.
    """

    def __init__(self, bmcs: Bmcs) -> None:
        self._bmcs = bmcs
        from lab import bmc_driver  # it needs the lab's own packages

        self._redfish, self._serve = bmc_driver.application(), bmc_driver.serve

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if path.startswith("/lab/"):
            return self._lab(path.removeprefix("/lab/"), environ, start)
        if path.strip("/") not in _OPEN and not _knows(environ.get("HTTP_AUTHORIZATION", "")):
            start(
                "401 Unauthorized",
                [("WWW-Authenticate", 'Basic realm="bmc"'), ("Content-Type", "application/json")],
            )
            return [
                b'{"error": {"code": "Base.1.0.GeneralError", "message": "wrong user or password"}}'
            ]
        machine = next((each for each in self._bmcs.machines.values() if each.uuid in path), None)
        if machine is not None:
            if "dead" in machine.faults:
                time.sleep(SLOW_S)
                raise ConnectionAbortedError
            if "slow" in machine.faults:
                time.sleep(SLOW_S)
        self._serve(self._bmcs)
        answer: Iterable[bytes] = self._redfish(environ, start)
        return answer

    def _lab(
        self, rest: str, environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        host, _, order = rest.partition("/")
        machine = self._bmcs.machine_of(self._bmcs.machines[host].uuid)
        if order and environ["REQUEST_METHOD"] == "POST":
            self._bmcs.switch(machine, order)
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"1" if self._bmcs.power(machine) else b"0"]


def _knows(header: str) -> bool:
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return hmac.compare_digest(header, expected)


def _certify(certificate: Path, key: Path) -> None:
    argv = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", str(key), "-out", str(certificate), "-days", "30", "-subj", "/CN=bmc",
        "-addext", f"subjectAltName=IP:{ADDRESS}",
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"No certificate could be made: {done.stderr.strip()}")


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def _chassis_script(url: str) -> str:
    """What ``ipmi_sim`` calls as ``PROG ARG get power`` and ``PROG ARG set power 0``.

    It may do so twice.
    """
    return f"""\
#!/usr/bin/env python3
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
words = sys.argv[2:] if sys.argv[1:2] and sys.argv[1] not in ("get", "set") else sys.argv[1:]
def ask(path, data=None):
    return urllib.request.urlopen("{url}" + path, data, context=context, timeout=20).read().decode()
if words[0] == "get":
    for what in words[1:]:
        print(f"{{what}}:{{ask('') if what == 'power' else 'none'}}")
else:
    pairs = dict(zip(words[1::2], words[2::2]))
    if "power" in pairs:
        ask("/On" if pairs["power"] == "1" else "/ForceOff", b"")
"""
