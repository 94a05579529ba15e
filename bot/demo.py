"""The main job, performed once as people would.

Typed, shown, approved, done on real hosts, then left open to try.
"""

from __future__ import annotations

import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from bot import tour
from bot.adapters.language import Language, Languages
from bot.domain.errors import DroverError
from bot.domain.message import Join, Message, Names, words
from bot.factories import app_manifest
from bot.settings import DroverSettings, PluginsSection
from bot.stage import POLICY, BotProcess, config_for, hosts_for, image_for, with_power
from lab import Guest, Lab, LabError, missing
from lab.bmc import Bmcs
from lab.slack import Workspace
from lab.slack.shown import Message as SlackMessage
from lab.sshd import Door, serve

GUESTS: Mapping[str, Mapping[str, Any]] = {
    "web-1": {
        "host": "host-a",
        "load": 0.2,
        "dirty_mib_s": 2.0,
        "tags": {"env": "dev", "failover": "first"},
    },
    # Two busy VMs on one host: `/kvm balance` has a move to propose
    "web-2": {"host": "host-a", "load": 0.1, "tags": {"env": "dev"}},
    "batch-1": {"host": "host-a", "load": 0.15, "tags": {"env": "dev"}},
    "mail-1": {"host": "host-b", "tags": {"env": "prod", "failover": "last"}},
    "db-1": {"host": "host-c", "disk": "local", "tags": {"env": "prod"}},
}
DEMO = "demo"
APPROVES = words("clicks Approve and confirms")
BALANCE: Mapping[str, Any] = {"cooldown_minutes": 0}
ON_HOST_B = ("web-1", "mail-1")
TWO_VOTES: Mapping[str, Any] = {
    "rules": [
        {
            "name": "dead hosts",
            "commands": ["host failover", "host readmit"],
            "votes": 2,
            "approvers": ["approver"],
            "expires": "1h",
        },
        *POLICY["rules"],
    ]
}
TRY: Sequence[Message] = (
    words("You are Ana, the engineer; at the left you become Bruno or Carla (approvers) or Gil (no "
          "rights). Try in #ops:"),
    words("`/kvm help`: what you may do"),
    words("`/kvm status`, `/kvm hosts`, `/kvm vms`, `/kvm top`: the cluster"),
    words("`/kvm migrate web-2`: Drover picks the host; approve it as Bruno in #approvals"),
    words("`/kvm migrate db-1 host-a`: refused, with what to do; try it with `--copy-storage`"),
    words('`/kvm vm create shop-1 --reason "to see it"`: a VM from one line; then '
          "`/kvm vm show shop-1` and `/kvm vm screenshot shop-1`"),
    words("`/kvm balance`, `/kvm host drain host-a`: even load, an empty host: one approval, "
          "a live "
          "checklist"),
    words("`/kvm host check host-b`, `/kvm host pair --all`: is it ready, and what to type if not"),
    words("`/kvm failover status`, `/kvm failover drill host-a`: what if host-a died now: "
          "who starts "
          "where, who cannot"),
    words("`/kvm host drain host-a --in 2m`: approved now, run then; `/kvm ops --scheduled`"),
    words("`/kvm audit op-1`, `/kvm why web-1`: everything that happened, and why it is "
          "where it is"),
)  # fmt: skip


PEOPLE = {
    "U0ANA": "Ana",
    "U0BRUNO": "Bruno",
    "U0CARLA": "Carla",
    "U0GIL": "Gil",
    "U0DROVER": "Drover",
}
_MENTION = re.compile(r"<@(\w+)>(?P<column>(?=  ))?")
_DATE = re.compile(r"<!date\^(\d+)\^[^>]*>")


def readable(text: str) -> str:
    """A message's text as the page shows it.

    Names for mentions, local times for dates, no markup.
    """
    text = _MENTION.sub(_name_of, text)
    text = _DATE.sub(
        lambda found: f"{datetime.fromtimestamp(int(found[1])).astimezone():%H:%M:%S}", text
    )
    return text.replace("*", "").replace("`", "")


def _name_of(found: re.Match[str]) -> str:
    """A mention's name; as wide as the mention was where a column of a table goes on behind it."""
    name = f"@{PEOPLE.get(found[1], found[1])}"
    return name if found["column"] is None else name.ljust(len(found[0]))


@dataclass
class Transcript:
    """Prints what happens with the seconds since the start, in the language of the workspace."""

    language: Language
    began: float = field(default_factory=time.monotonic)

    def translate(self, message: Message) -> str:
        """A message as it is read."""
        return str(self.language.translate(message)).replace("`", "")

    def say(self, speaker: Message, message: Message) -> None:
        """One line with its time; further lines are indented."""
        who, text = self.translate(speaker), self.translate(message)
        first, *rest = text.splitlines() or [""]
        click.echo(
            f"{time.monotonic() - self.began:7.1f} s  {click.style(who, bold=True)}  {first}"
        )
        for line in rest:
            click.echo(f"{'':11}{'':{len(who)}}  {line}")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it SIGINT, SIGTERM and SIGHUP all interrupt, once, however the demo was started.

    A shell starts what it runs in the background with SIGINT ignored. A second signal must not
    break the tidying off.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def perform(
    *, leave: bool, hosts: int, port: int, locale: str = "en", plugins: Sequence[str] = ()
) -> None:
    """Run the demo.

    Ended by a signal before the workspace is open, the exit code is 130; after it, 0.

    Args:
        leave: end after the transcript rather than stay open.
        hosts: how many real hosts.
        port: of the page; 0 takes any free one.
        locale: what the workspace's people, and so its channels, read.
        plugins: further plugins to load: names of entry points, or of modules on PYTHONPATH.

    Raises:
        DroverError: the machine cannot, or a step did not happen; nothing is left behind.
    """
    if lacking := missing():
        raise DroverError(words("This machine cannot run the demo: {why}", why=" ".join(lacking)))
    told = Transcript(Languages(locale).of(locale))
    with ended_by_signals(), _tell_signal(told), ExitStack() as stack:
        try:
            stage = _set_up(stack, told, Wish(hosts, port, locale, plugins))
            _main_job(stage, told)
            _dead_host(stage, told)
        except (TimeoutError, LabError) as error:
            raise DroverError(
                words("The demo stopped: {error}", error=str(error)),
                words("The machine may be very busy; try again."),
            ) from error
        if leave:
            told.say(
                DEMO,
                words(
                    "Asked, approved, moved, verified; a host died, and its VMs run again. To try "
                    "it yourself: `./drover demo`, without `--exit`"
                ),
            )
            return
        workspace = stage.workspace
        tour.post(workspace.bot_token, workspace.web_api, "C0OPS", locale)
        _invite(told, workspace.page, stage.bot.log)
        _until_interrupted()


@contextmanager
def _tell_signal(told: Transcript) -> Iterator[None]:
    """Tell that a signal ended the demo, when all is tidied up."""
    try:
        yield
    except KeyboardInterrupt:
        told.say(DEMO, words("Ended before it was ready; nothing is left behind."))
        sys.exit(130)


@dataclass(frozen=True, slots=True)
class DemoStage:
    """What the demo plays on."""

    lab: Lab
    workspace: Workspace
    bot: BotProcess
    guests: Mapping[str, Guest]
    powers: Bmcs


@dataclass(frozen=True, slots=True)
class Wish:
    """What the demo was started with; see ``perform``."""

    hosts: int
    port: int
    locale: str
    plugins: Sequence[str]


def _set_up(stack: ExitStack, told: Transcript, wish: Wish) -> DemoStage:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drover-demo-")))
    told.say(
        DEMO,
        words(
            "Starting hosts ({n}): libvirtd and QEMU, each in namespaces of its own", n=wish.hosts
        ),
    )
    lab = stack.enter_context(Lab(hosts=wish.hosts))
    guests = {name: _boot(lab, told, name, each) for name, each in GUESTS.items()}
    powers = stack.enter_context(Bmcs(lab))
    told.say(DEMO, words("Each host has a power controller (Redfish), which can switch it off"))
    workspace = stack.enter_context(
        Workspace(
            wish.port,
            manifest=app_manifest(DroverSettings()),
            locales=dict.fromkeys(PEOPLE, wish.locale.replace("_", "-")),
        )
    )
    _build_page(told)
    hosts = with_power(hosts_for(lab, _doors(lab, told)), powers, directory)
    bot = stack.enter_context(
        BotProcess(workspace, directory, _config(lab, workspace, directory, hosts, wish))
    )
    workspace.wait_connected()
    told.say(DEMO, words("The bot is connected to the local workspace"))
    return DemoStage(lab, workspace, bot, guests, powers)


def _doors(lab: Lab, told: Transcript) -> Mapping[str, Door]:
    """A shell on every host, for the checks; a machine that cannot have an sshd goes on without."""
    try:
        return {name: serve(lab, name) for name in lab.hosts}
    except LabError as error:
        told.say(
            DEMO,
            words(
                "The hosts get no SSH, so `/kvm host check` can tell less: {error}",
                error=str(error),
            ),
        )
        return {}


def _config(
    lab: Lab,
    workspace: Workspace,
    directory: Path,
    hosts: list[dict[str, Any]],
    wish: Wish,
) -> dict[str, Any]:
    """Every plugin, with an image to make VMs from.

    Measured often, and a host counts as dead after seconds, since people try things for minutes
    only. What the transcript moved may be moved again at once.
    """
    failover = {"silence": 10, "start_cooldown": 0, "confirm_every": 1}
    return config_for(
        lab,
        workspace,
        directory,
        hosts=hosts,
        plugins={
            "enabled": [*PluginsSection().enabled, *wish.plugins],
            "vm_lifecycle": image_for(lab),
            "failover": failover,
            "balance": BALANCE,
        },
        policy=TWO_VOTES,
        monitor={"every": "5s"},
        locale=wish.locale,
    )


def _boot(lab: Lab, told: Transcript, name: str, wish: Mapping[str, Any]) -> Guest:
    host = wish["host"] if wish["host"] in lab.hosts else "host-b"
    guest = lab.guest(name, **{**wish, "host": host})
    told.say(DEMO, words("{vm} has booted on {host}", vm=name, host=host))
    return guest


def _build_page(told: Transcript) -> None:
    """Serve the page, which is for people.

    The job itself does not need it, so a machine without npm's registry goes on.
    """
    from lab.slack.build import PageBuildError, built_page

    try:
        built_page()
    except PageBuildError as error:
        told.say(
            DEMO,
            words("The web page could not be built, going on without: {error}", error=str(error)),
        )


def _main_job(stage: DemoStage, told: Transcript) -> None:
    ana, bruno = stage.workspace.person("ana"), stage.workspace.person("bruno")
    ticks = stage.guests["web-1"].ticks()
    line = '/kvm migrate web-1 to host-b --reason "disk swap on host-a"'
    told.say(_in("Ana", "#ops"), line)
    ana.command(line, "#ops")
    proposal = _await_message(stage, told, "#approvals", _is_open)
    told.say(_in("Bruno", "#approvals"), APPROVES)
    bruno.click(proposal, "op.approve")
    done = _await_message(stage, told, "#approvals", _is_over, timeout=120)
    if "op.again" in _buttons(done):
        raise DroverError(words("The migration failed."), done.plain())
    _prove(stage, told, ticks)
    told.say(_in("Ana", "#ops"), "/kvm audit op-1")
    ana.command("/kvm audit op-1", "#ops")
    _await_message(stage, told, "#ops", _is_trail, seen_by="ana")


def _buttons(message: SlackMessage) -> set[str]:
    """What can be pressed under a message, whatever language it is in."""
    rows = [block for block in message.blocks if block["type"] == "actions"]
    return {str(each.get("action_id")) for row in rows for each in row["elements"]}


def _is_over(message: SlackMessage) -> bool:
    """Whether an operation's message is at its end: nothing is left to stop or decide."""
    return "op.details" in _buttons(message) and not {"op.cancel", "op.approve"} & _buttons(message)


def _is_trail(message: SlackMessage) -> bool:
    """Whether it tells everything that happened to the operation."""
    return "op-1" in message.plain() and any(block["type"] == "table" for block in message.blocks)


def _await_message(
    stage: DemoStage,
    told: Transcript,
    channel: str,
    wanted: Callable[[SlackMessage], bool],
    *,
    timeout: float = 30,
    seen_by: str | None = None,
) -> SlackMessage:
    found = stage.workspace.wait_message(channel, wanted, timeout, seen_by=seen_by)
    told.say(_in("Drover", channel), readable(found.plain()))
    return found


def _prove(stage: DemoStage, told: Transcript, ticks: int) -> None:
    """Ask the machine, not the bot.

    One QEMU process, on the target, and the guest went on counting.
    """
    where = stage.lab.where("web-1")
    if where != ["host-b"]:
        raise DroverError(
            words("The message says done, but web-1's QEMU processes are on: {hosts}.", hosts=where)
        )
    deadline = time.monotonic() + 20
    guest = stage.guests["web-1"]
    while guest.ticks() <= ticks:
        if time.monotonic() > deadline:
            raise DroverError(words("{vm} stands still after the migration.", vm="web-1"))
        time.sleep(0.1)
    told.say(
        DEMO,
        words(
            "Checked on the machine itself: the one QEMU process of {vm} runs on {host}, and the "
            "VM goes on",
            vm="web-1",
            host="host-b",
        ),
    )


def _dead_host(stage: DemoStage, told: Transcript) -> None:
    """A host loses its power; two people agree; its VMs run again elsewhere.

    It is admitted again.
    """
    ana = stage.workspace.person("ana")
    told.say(_in("Ana", "#ops"), "/kvm failover status")
    _status(stage, told)
    boots = {name: stage.guests[name].boots() for name in ON_HOST_B}
    told.say(
        DEMO,
        words(
            "Host {host} loses its power, with {vms} on it",
            host="host-b",
            vms=Names(ON_HOST_B, Join.AND),
        ),
    )
    stage.lab.power_off("host-b")
    proposal = _await_message(stage, told, "#approvals", _is_open, timeout=180)
    done = _both_approve(stage, told, proposal)
    if "op.again" in _buttons(done):
        raise DroverError(words("The failover failed."), done.plain())
    _prove_failover(stage, told, boots)
    told.say(_in("Ana", "#ops"), "/kvm failover report")
    ana.command("/kvm failover report", "#ops")
    _await_message(stage, told, "#ops", _is_report, seen_by="ana")
    told.say(
        DEMO,
        words("{host} is repaired and switched on; nothing on it starts by itself", host="host-b"),
    )
    stage.lab.power_on("host-b")
    _doors(stage.lab, told)
    _await_message(stage, told, "#ops", _offers("host readmit host-b"), timeout=120)
    told.say(_in("Ana", "#ops"), "/kvm host readmit host-b")
    ana.command("/kvm host readmit host-b", "#ops")
    _both_approve(stage, told, _await_message(stage, told, "#approvals", _is_open))


def _status(stage: DemoStage, told: Transcript) -> None:
    """Asked until the bot, which has just started, has kept the definitions of both VMs."""
    deadline = time.monotonic() + 120
    while True:
        stage.workspace.person("ana").command("/kvm failover status", "#ops")
        try:
            found = stage.workspace.wait_message("#ops", _both_could_start, 5, seen_by="ana")
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
        else:
            told.say(_in("Drover", "#ops"), readable(found.plain()))
            return


def _both_could_start(message: SlackMessage) -> bool:
    """Whether a table says that both VMs of host-b could start elsewhere."""
    lines = message.plain().splitlines()
    return any("bmc-host-b" in line and line.rstrip().endswith("2/2") for line in lines)


def _both_approve(stage: DemoStage, told: Transcript, proposal: SlackMessage) -> SlackMessage:
    """Two people click; the same message at the end of its operation."""
    for name in ("bruno", "carla"):
        told.say(_in(name.title(), "#approvals"), APPROVES)
        stage.workspace.person(name).click(proposal, "op.approve")
    return _await_message(
        stage,
        told,
        "#approvals",
        lambda each: each.ts == proposal.ts and _is_over(each),
        timeout=240,
    )


def _is_open(message: SlackMessage) -> bool:
    """Whether an operation waits for votes."""
    return "op.approve" in _buttons(message)


def _is_report(message: SlackMessage) -> bool:
    """Whether it tells how long each VM was away."""
    tables = [block for block in message.blocks if block["type"] == "table"]
    return bool(tables) and len(tables[0]["rows"][0]) == 9


def _offers(command: str) -> Callable[[SlackMessage], bool]:
    """Whether a button of a message types this."""
    return lambda message: any(command in value for _, _, value in message.buttons())


def _prove_failover(stage: DemoStage, told: Transcript, boots: Mapping[str, int]) -> None:
    """Ask the machine, not the bot.

    Each VM has one QEMU process, not on host-b, and has booted once more.
    """
    for name, before in boots.items():
        where = stage.lab.where(name)
        if len(where) != 1 or where == ["host-b"]:
            raise DroverError(
                words("The QEMU processes of {vm} are on: {hosts}.", vm=name, hosts=where)
            )
        deadline = time.monotonic() + 120
        while stage.guests[name].boots() <= before:
            if time.monotonic() > deadline:
                raise DroverError(words("{vm} did not boot again.", vm=name))
            time.sleep(0.2)
        told.say(
            DEMO,
            words(
                "Checked on the machine itself: {vm} runs once, on {host}, and has booted",
                vm=name,
                host=where[0],
            ),
        )


def _invite(told: Transcript, page: str, log: Path) -> None:
    """Say what to try, and how it ends."""
    first, *rest = TRY
    click.echo()
    click.echo(told.translate(words("The workspace is open at {page}", page=page)))
    click.echo(f"  {told.translate(first)}")
    for each in rest:
        click.echo(f"  · {told.translate(each)}")
    click.echo(told.translate(words("The log of the bot: {file}", file=str(log))))
    click.echo(told.translate(words("Ctrl-C ends everything and leaves nothing behind.")))


def _in(who: str, channel: str) -> Message:
    return words("{who} in {channel}", who=who, channel=channel)


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(1)  # a signal that the system gives to another thread does not wake this one
    except KeyboardInterrupt:
        sys.stdout.write("\n")
