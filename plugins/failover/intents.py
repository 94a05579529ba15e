"""What people can ask for, and the words they ask with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from bot.domain.codec import later
from bot.domain.definition import Definition
from bot.domain.message import words
from bot.domain.power import Reading
from bot.domain.units import seconds_of
from bot.plugin_api import Instead
from plugins.failover.evidence import Evidence

FAILOVER, READMIT, ATTEST = "host failover", "host readmit", "host attest-off"
ATTEST_SUMMARY = words(
    "Start a dead host's VMs elsewhere by the word of two people who looked at it and saw it off."
)
_SEEN = words('What you saw, for example "its power cable is out".')
PROTECT, RESUME = "failover protect", "host resume"
PROTECT_SUMMARY = words("Let Drover start VMs at boot, so that a dead host's old copies never do.")
RESUME_SUMMARY = words("Start the VMs of a host that has started anew, in order of priority.")
_OFF = words("Give autostart back to libvirt.")
QUIET, TEST = "host quiet", "failover test"
QUIET_SUMMARY = words(
    "Expect a host to be unreachable for a while, so that it is not taken for dead."
)
TEST_SUMMARY = words(
    "Switch an empty host off and on, and so show whose its power controllers are."
)
TEST_VM = "failover test-vm"
TEST_VM_SUMMARY = words(
    "Force off a VM that is tagged for it, and start it on another host as a failover would."
)
_FOR = words("How long, such as 30m or 2h; 24h at most.")
_AGAIN = words("Expect it to answer again from now on.")
_REAL = words("Switch the empty host off and on.")
COPIES = "failover stop-copies"
COPIES_SUMMARY = words("Stop what runs twice since a dead host came back.")
REPORT = "failover report"
REPORT_SUMMARY = words("How long each VM was away in a failover, part by part.")
DRILL, STATUS, BIND = "failover drill", "failover status", "failover bind"
BIND_SUMMARY = words(
    "Say, two people, that a power controller that names no machine belongs to a host."
)
DRILL_SUMMARY = words("What a failover of a host would do now; nothing is done.")
STATUS_SUMMARY = words("What can prove each host off, and which VMs could start elsewhere.")
GUARD = "failover guard"
GUARD_SUMMARY = words("A hook for hosts that refuses the start of old copies; nothing is done.")
_DRY_RUN = words("Show what it would do now; nothing is done.")
FAILOVER_SUMMARY = words("Switch a dead host off, prove it, and start its VMs on other hosts.")
READMIT_SUMMARY = words("Admit a host again that failed, without the old copies of its VMs.")
_SKIP = words("A VM to leave off; may be given several times.")
_ONLY = words("Start this VM only; may be given several times.")
_DESPITE = words("Switch it off although it shows life; two people must approve.")
_DESPITE_CHECK = words("Admit it although something is wrong with it.")
_REASON = words("Why, for approvers and the audit.")


@dataclass(frozen=True, slots=True)
class Failover:
    """``host failover``. ``kept``: definitions of the host's VMs; ``evidence``: of its death.

    ``attested``: what people saw of it, where no controller can prove it off.
    ``by_itself``: nobody is asked, so two kinds of witnesses must be silent at the last moment too.
    ``quiet``: until when people expect the host to be silent; None: they do not. ``despite_life``:
    two people want it although somebody hears the host, such as one that hangs and still answers.
    """

    host: str
    skip: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    reason: str = ""
    kept: tuple[Definition, ...] = ()
    evidence: Evidence | None = None
    attested: str = ""
    by_itself: bool = False
    quiet: datetime | None = later(None)
    despite_life: bool = later(False)


@dataclass(frozen=True, slots=True)
class StopCopies:
    """``failover stop-copies``. ``before``, ``now``: the host's boot ids, '' not known."""

    host: str
    reason: str = ""
    before: str = ""
    now: str = ""

    @property
    def reborn(self) -> bool:
        """Whether the host has started anew: its copies are then the newer and the wrong ones."""
        return bool(self.before and self.now) and self.before != self.now


@dataclass(frozen=True, slots=True)
class Quiet:
    """``host quiet``. ``seconds`` 0: its silence is not expected any more."""

    host: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PowerTest:
    """``failover test``. ``readings``: what the host's controllers read now."""

    host: str
    reason: str = ""
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class VmTest:
    """``failover test-vm``. ``kept``: definitions of all VMs."""

    vm: str
    reason: str = ""
    kept: tuple[Definition, ...] = ()


@dataclass(frozen=True, slots=True)
class Drill:
    """``failover drill``."""

    host: str


@dataclass(frozen=True, slots=True)
class Status:
    """``failover status``."""


@dataclass(frozen=True, slots=True)
class Guard:
    """``failover guard``."""


@dataclass(frozen=True, slots=True)
class Report:
    """``failover report``. ``operation`` '': the newest failover."""

    operation: str = ""


@dataclass(frozen=True, slots=True)
class Bind:
    """``failover bind``. ``readings``: what the host's controllers read now."""

    host: str
    device: str
    reason: str = ""
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Protect:
    """``failover protect``. No ``vms``: all that it applies to.

    ``on`` False: libvirt starts them again.
    """

    vms: tuple[str, ...] = ()
    on: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """``host resume``. ``boot``: the host's boot id that it is about, '' not known."""

    host: str
    reason: str = ""
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Readmit:
    """``host readmit``.

    ``left``: VMs that the host still has defined, each with whether its memory is saved there.

    ``readings``: what its controllers read now, ``bound`` those that were shown to be its own.
    ``unheard``: other hosts, which heard it before it failed, do not hear it. ``despite_check``:
    whatever is found wrong with it.
    """

    host: str
    reason: str = ""
    left: tuple[tuple[str, str, bool], ...] = ()
    readings: tuple[Reading, ...] = later(())
    bound: frozenset[str] = later(frozenset())
    unheard: bool = later(False)
    despite_check: bool = later(False)


def failover_grammar() -> click.Command:
    """``host failover HOST [--skip VM]… [--only VM]… [--dry-run]`` → ``Failover``, or a drill."""

    def intent_of(host: str, *, dry_run: bool, **given: Any) -> Failover | Instead:
        return Instead(DRILL, Drill(host)) if dry_run else Failover(host, **given)

    return _command(
        FAILOVER,
        str(FAILOVER_SUMMARY),
        intent_of,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--skip"], multiple=True, metavar="VM", help=str(_SKIP)),
        click.Option(["--only"], multiple=True, metavar="VM", help=str(_ONLY)),
        click.Option(["--despite-life"], is_flag=True, help=str(_DESPITE)),
        click.Option(["--dry-run"], is_flag=True, help=str(_DRY_RUN)),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def attest_grammar() -> click.Command:
    """``host attest-off HOST --seen TEXT [--skip VM]… [--only VM]…`` → ``Failover``."""

    def intent_of(host: str, seen: str, **given: Any) -> Failover:
        return Failover(host, attested=seen, **given)

    return _command(
        ATTEST,
        str(ATTEST_SUMMARY),
        intent_of,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--seen"], required=True, metavar="TEXT", help=str(_SEEN)),
        click.Option(["--skip"], multiple=True, metavar="VM", help=str(_SKIP)),
        click.Option(["--only"], multiple=True, metavar="VM", help=str(_ONLY)),
    )


def drill_grammar() -> click.Command:
    """``failover drill HOST [--real]`` → ``Drill``, or a test."""

    def intent_of(host: str, *, real: bool) -> Drill | Instead:
        return Instead(TEST, PowerTest(host)) if real else Drill(host)

    return _command(
        DRILL,
        str(DRILL_SUMMARY),
        intent_of,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--real"], is_flag=True, help=str(_REAL)),
    )


def power_test_grammar() -> click.Command:
    """``failover test HOST`` → ``PowerTest``."""
    return _command(
        TEST,
        str(TEST_SUMMARY),
        PowerTest,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def vm_test_grammar() -> click.Command:
    """``failover test-vm VM`` → ``VmTest``."""
    return _command(
        TEST_VM,
        str(TEST_VM_SUMMARY),
        VmTest,
        click.Argument(["vm"], metavar="VM"),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def copies_grammar() -> click.Command:
    """``failover stop-copies HOST`` → ``StopCopies``."""
    return _command(
        COPIES,
        str(COPIES_SUMMARY),
        StopCopies,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def quiet_grammar() -> click.Command:
    """``host quiet HOST [--for TIME] [--off]`` → ``Quiet``."""

    def intent_of(host: str, *, lasts: str, off: bool, reason: str) -> Quiet:
        return Quiet(host, 0.0 if off else float(seconds_of(lasts)), reason)

    return _command(
        QUIET,
        str(QUIET_SUMMARY),
        intent_of,
        click.Argument(["host"], metavar="HOST"),
        click.Option(
            ["--for", "lasts"], default="30m", show_default=True, metavar="TIME", help=str(_FOR)
        ),
        click.Option(["--off"], is_flag=True, help=str(_AGAIN)),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def status_grammar() -> click.Command:
    """``failover status`` → ``Status``."""
    return _command(STATUS, str(STATUS_SUMMARY), Status)


def guard_grammar() -> click.Command:
    """``failover guard`` → ``Guard``."""
    return _command(GUARD, str(GUARD_SUMMARY), Guard)


def report_grammar() -> click.Command:
    """``failover report [OPERATION]`` → ``Report``."""
    operation = click.Argument(["operation"], required=False, default="", metavar="[OPERATION]")
    return _command(REPORT, str(REPORT_SUMMARY), Report, operation)


def bind_grammar() -> click.Command:
    """``failover bind HOST DEVICE`` → ``Bind``."""
    return _command(
        BIND,
        str(BIND_SUMMARY),
        Bind,
        click.Argument(["host"], metavar="HOST"),
        click.Argument(["device"], metavar="CONTROLLER"),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def protect_grammar() -> click.Command:
    """``failover protect [VM]… [--off]`` → ``Protect``."""

    def intent_of(vms: tuple[str, ...], *, off: bool, reason: str) -> Protect:
        return Protect(vms, not off, reason)

    return _command(
        PROTECT,
        str(PROTECT_SUMMARY),
        intent_of,
        click.Argument(["vms"], nargs=-1, metavar="[VM]…"),
        click.Option(["--off"], is_flag=True, help=str(_OFF)),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def resume_grammar() -> click.Command:
    """``host resume HOST`` → ``Resume``."""
    return _command(
        RESUME,
        str(RESUME_SUMMARY),
        Resume,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def readmit_grammar() -> click.Command:
    """``host readmit HOST [--despite-check]`` → ``Readmit``."""
    return _command(
        READMIT,
        str(READMIT_SUMMARY),
        Readmit,
        click.Argument(["host"], metavar="HOST"),
        click.Option(["--despite-check"], is_flag=True, help=str(_DESPITE_CHECK)),
        click.Option(["--reason"], default="", metavar="TEXT", help=str(_REASON)),
    )


def _command(
    name: str, summary: str, callback: Callable[..., object], *params: click.Parameter
) -> click.Command:
    return click.Command(
        name,
        params=list(params),
        callback=callback,
        help=summary,
        short_help=summary,
        add_help_option=False,
    )
