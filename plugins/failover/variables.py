"""Lays the kept copy of a VM's UEFI variables onto the host where it is to start."""

from __future__ import annotations

from bot.domain.cluster import Disk, Host
from bot.domain.definition import Definition
from bot.domain.errors import StepSkippedError
from bot.domain.message import Message, words
from bot.domain.storage import is_shared
from bot.ports import Hypervisor

_CHUNK = 24_000  # characters in one command line
_ADD = 'umask 077; printf %s "$2" >> "$1.drover"'  # no message: a line of shell
_BEGIN = 'mkdir -p "$(dirname "$1")" && rm -f "$1.drover" "$1.drover-new"'  # no message: shell
# Whole or not at all: libvirt gives the file to QEMU's user when it starts the VM.
_END = """
umask 077
base64 -d < "$1.drover" | gzip -d -c > "$1.drover-new" && mv -f "$1.drover-new" "$1" &&
rm -f "$1.drover"
"""


def on_share(host: Host, kept: Definition) -> bool:
    """Tell whether the variables lie where other hosts see them: what is there is the newest."""
    return bool(kept.detail.nvram) and is_shared(host, Disk("", "file", kept.detail.nvram))


def are_lost(host: Host, kept: Definition) -> bool:
    """Tell whether the variables were on ``host`` alone and no copy of them is kept."""
    return bool(kept.detail.nvram) and not kept.nvram and not on_share(host, kept)


def restore(host: str, kept: Definition, hypervisor: Hypervisor) -> None:
    """Write the kept copy to the place that the definition names, whole or not at all.

    A file in shared storage is left as it is.

    Raises:
        StepSkippedError: no copy is kept any more, or the host's shell cannot write it.
        HypervisorError: the shell fails.
    """
    if on_share(hypervisor.snapshot().host(host), kept):
        return
    copy = hypervisor.power.variables(kept.uuid)
    if copy is None:
        raise _skip_error(kept, host, words("no copy is kept any more"))
    parts = [copy.data[start : start + _CHUNK] for start in range(0, len(copy.data), _CHUNK)]
    for script, *rest in ((_BEGIN,), *((_ADD, part) for part in parts), (_END,)):
        argv = ["sh", "-c", script, "sh", kept.detail.nvram, *rest]
        told = hypervisor.run(host, argv)
        if told is None:
            raise _skip_error(kept, host, words("no SSH is configured for it"))
        if told.code:
            raise _skip_error(kept, host, told.err.strip() or str(told.code))


def _skip_error(kept: Definition, host: str, why: Message) -> StepSkippedError:
    return StepSkippedError(
        words(
            "The UEFI variables of {vm} could not be written on {host}: {why}.",
            vm=kept.name,
            host=host,
            why=why,
        ),
        words(
            'Put them there by hand, or set `nvram = "reset"` in `[plugins.failover]` to make them '
            "anew from the template."
        ),
    )
