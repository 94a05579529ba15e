"""What e2e tests do with a bot between real hosts and the local workspace, said in their words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.stage import BotProcess, config_for
from lab import Guest, Lab
from lab.slack import Workspace
from lab.slack.shown import Message
from tests.waiting import PATIENCE, until

HOSTS = ("host-a", "host-b", "host-c")


def holds(message: Message, *words: str) -> bool:
    """Whether a message shows all the words, in whatever case: headers are drawn in capitals."""
    shown = message.plain().lower()
    return all(word.lower() in shown for word in words)


@dataclass
class Play:
    """One bot, its workspace, and the session's hosts."""

    lab: Lab
    workspace: Workspace
    bot: BotProcess
    command: str = "/kvm"

    def asks(self, line: str, by: str = "ana") -> None:
        """Type a command in #ops."""
        self.workspace.person(by).command(f"{self.command} {line}", "#ops")

    def proposal(self, what: str, timeout: float = PATIENCE) -> Message:
        """The message that asks to approve ``what``."""
        return self.message("#approvals", "Approve?", what, timeout=timeout)

    def message(
        self, channel: str, *words: str, timeout: float = PATIENCE, seen_by: str | None = None
    ) -> Message:
        """Wait for a message that holds all the words."""
        return self.workspace.wait_message(
            channel, lambda each: holds(each, *words), timeout, seen_by=seen_by
        )

    def told(self, who: str, *words: str, timeout: float = PATIENCE) -> Message:
        """Wait until one person alone is told all the words, in #ops or directly."""

        def wanted() -> Message | None:
            mine = [
                *self.workspace.messages("#ops", seen_by=who),
                *self.workspace.messages(f"@{who}", seen_by=who),
            ]
            mine += self.workspace.messages("#approvals", seen_by=who)
            return next((each for each in mine if holds(each, *words)), None)

        found = self.workspace.wait_for(wanted, timeout)
        assert found is not None, f"{who} was never told {words}"
        return found

    def approves(self, who: str, message: Message) -> None:
        """Click Approve on a message as it was seen."""
        self.workspace.person(who).click(message, "op.approve")

    def ended(self, what: str, message: Message, timeout: float = PATIENCE) -> Message:
        """Wait until the SAME message shows the end of its operation."""
        return self.workspace.wait_message(
            "#approvals", lambda each: each.ts == message.ts and holds(each, what), timeout
        )

    def operations_shown(self) -> list[Message]:
        """Every top message of an operation in #approvals."""
        return [each for each in self.workspace.messages("#approvals") if not each.thread_ts]


@contextmanager
def narrow_wire(lab: Lab, host: str, mib_s: float) -> Iterator[None]:
    """Let migrations from a host last.

    Not by ``--bandwidth``: a VM that writes more than that when its turn has come, such as right
    after its boot, has a higher risk than was approved, and is not moved.
    """
    lab.limit_bandwidth(host, mib_s)
    try:
        yield
    finally:
        lab.limit_bandwidth(host, None)


def other_host(lab: Lab, guest: Guest) -> str:
    """A host where the guest is not."""
    (here,) = lab.where(guest.name)
    return next(host for host in HOSTS if host != here)


def runs_once(lab: Lab, guest: Guest, host: str) -> None:
    """Assert, from /proc and the guest's own serial line, that it runs exactly once, there, and goes on."""
    assert lab.where(guest.name) == [host], lab.where(guest.name)
    assert guest.boots() == 1, (
        f"{guest.name} came up {guest.boots()} times; it said:\n{guest.serial_log()[-4000:]}"
    )
    before, used = guest.ticks(), guest.cpu_seconds()
    try:
        until(lambda: guest.ticks() > before, f"{guest.name} stands still")
    except AssertionError as error:
        # What tells a VM that hangs from one whose serial line or clock does
        state = lab.virsh(host, "domstate", guest.name, "--reason", check=False).strip()
        now = guest.cpu_seconds()
        asked = ("qemu-monitor-command", guest.name, "--hmp")
        seen = [
            lab.virsh(host, *asked, what, check=False)
            for what in ("info status", "info pic", "info registers")
        ]
        raise AssertionError(
            f"{error}: libvirt says {state}, it used {now - used:g} s of CPU meanwhile, "
            f"{now:g} s in all; {' '.join(seen)}; it said:\n{guest.serial_log()[-1000:]}"
        ) from error


def play(
    lab: Lab, workspace: Workspace, directory: Path, command: str = "/kvm", **config: object
) -> Play:
    """A play whose bot is not started yet."""
    environment = {
        "DIE_AFTER": "",
        "DIE_MARK": str(directory / "died"),
        "DROVER_SLACK__COMMAND": command,
    }
    return Play(
        lab,
        workspace,
        BotProcess(
            workspace, directory, config_for(lab, workspace, directory, **config), environment
        ),
        command,
    )
