"""A command on a host that is started at most once, and what its mark there says of it; pure.

The mark is a directory on the host that only its owner can use. Who makes it begins the command,
apart from the connection; beside it lie the boot it began in, its process, its output and, at its
end, its exit code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

BEGIN = """
umask 077
if mkdir "$1" 2>/dev/null; then
  cat /proc/sys/kernel/random/boot_id >"$1/boot"
  setsid sh -c 'sh -c "$2" >"$1/out" 2>&1 </dev/null; echo $? >"$1/rc.new"
    mv "$1/rc.new" "$1/rc"' \\
    sh "$1" "$2" \\
    >/dev/null 2>&1 </dev/null &
  echo $! >"$1/pid"
elif [ ! -d "$1" ] || [ ! -O "$1" ]; then
  echo "$1 cannot be made, or belongs to somebody else" >&2
  exit 73
fi
"""
# The end is looked for last, for it may come between two of these lines. A fresh mark may still be
# being made.
LOOK = """
if [ ! -d "$1" ] || [ ! -O "$1" ]; then echo up same absent; exit; fi
up=up
if [ -e /run/systemd/shutdown/scheduled ]; then up=stopping; fi
if [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then up=stopping; fi
fresh=$(find "$1" -maxdepth 0 -mmin -1 2>/dev/null)
boot=other
if [ "$(cat "$1/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then boot=same; fi
if [ -n "$fresh" ] && [ ! -e "$1/boot" ]; then boot=same; fi
state=cut
if [ $boot = same ] && [ -n "$fresh" ] && [ ! -e "$1/pid" ]; then state=running; fi
if [ $boot = same ] && kill -0 "$(cat "$1/pid" 2>/dev/null)" 2>/dev/null; then state=running; fi
if [ -f "$1/rc" ]; then state="ended $(cat "$1/rc")"; fi
echo $up $boot $state
tail -c 2000 "$1/out" 2>/dev/null || true
"""
KILLED = frozenset({129, 137, 143})
"""Exit codes of a command that reboots its host: killed on the way down (128 + HUP, KILL, TERM)."""


class CommandStage(StrEnum):
    """How far a command is: no mark, running, ended, or cut off without an end."""

    ABSENT = "absent"
    RUNNING = "running"
    ENDED = "ended"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class MarkState:
    """What a mark says.

    ``stopping``: the host is going down; ``rebooted``: it has been, since the command began.
    """

    stage: CommandStage
    stopping: bool = False
    rebooted: bool = False
    code: int = 0
    output: str = ""

    @property
    def last_line(self) -> str:
        """The last thing that the command said."""
        return next((line for line in reversed(self.output.splitlines()) if line.strip()), "")


class CommandVerdict(StrEnum):
    """What is to be made of it."""

    GOOD = "good"
    NOT_YET = "not yet"
    FAILED = "failed"
    UNKNOWN = "unknown"


def begin(mark: str, command: str) -> tuple[str, ...]:
    """The program that begins a command under a mark, unless that was done before."""
    return ("sh", "-c", BEGIN, "sh", mark, command)


def look(mark: str) -> tuple[str, ...]:
    """The program that tells what a mark says."""
    return ("sh", "-c", LOOK, "sh", mark)


def read(said: str) -> MarkState:
    """What ``look`` answered.

    Raises:
        ValueError: it is no such answer.
    """
    first, _, output = said.partition("\n")
    up, boot, stage, *code = first.split()
    return MarkState(
        CommandStage(stage), up == "stopping", boot == "other", int(code[0]) if code else 0, output
    )


def verdict(seen: MarkState, *, reboots: bool) -> CommandVerdict:
    """Return whether a command did what it should; a rebooting one has taken the host down."""
    if seen.stage in (CommandStage.ABSENT, CommandStage.RUNNING) or seen.stopping:
        return CommandVerdict.NOT_YET
    if reboots and seen.rebooted:
        good = seen.stage is CommandStage.CUT or seen.code in {0, *KILLED}
        return CommandVerdict.GOOD if good else CommandVerdict.FAILED
    if seen.stage is CommandStage.CUT:
        return CommandVerdict.UNKNOWN
    if seen.code:
        return CommandVerdict.FAILED
    return CommandVerdict.NOT_YET if reboots else CommandVerdict.GOOD
