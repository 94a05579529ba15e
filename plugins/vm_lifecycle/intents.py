"""What people can ask for, and the grammars of the commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from bot.domain.backing import Fate
from bot.domain.codec import later
from bot.domain.errors import MISSING, UsageError
from bot.domain.message import Message, words
from bot.domain.owner import stored_tag
from bot.domain.units import seconds_of, size

SUMMARIES: dict[str, Message] = {
    "vm create": words("Create one or more VMs from an image."),
    "vm start": words("Start a VM, after a check that no host runs it."),
    "vm shutdown": words("Request a shutdown of a VM and wait until it is off."),
    "vm reboot": words("Shut a VM down and start it again."),
    "vm force-off": words(
        "Power a VM off at once (like pulling the plug); unwritten data is lost."
    ),
    "vm pause": words("Pause a VM."),
    "vm resume": words("Resume a paused VM."),
    "vm undelete": words("Restore a deleted VM during its grace period."),
    "vm purge": words("Purge a deleted VM now, before its grace period ends."),
    "vm discard-memory": words(
        "Discard the saved memory of a powered-off VM (managed save); its next start boots."
    ),
    "vm resize": words("Change a VM's vCPUs or memory, at once where possible."),
    "vm rename": words("Rename a powered-off VM."),
    "vm clone": words("Clone a powered-off VM, with copies of its disks."),
    "vm autostart": words("Enable or disable autostart of a VM with its host."),
    "vm tag": words("Set or remove tags of a VM."),
    "vm ttl": words("Set or remove the time after which a VM is shut down."),
    "vm delete": words("Delete a powered-off VM; it can be restored during its grace period."),
    "vm snapshot create": words("Take a snapshot of a VM, memory included if it runs."),
    "vm snapshot list": words("List the snapshots of a VM."),
    "vm snapshot revert": words("Revert a VM to a snapshot; later changes are lost."),
    "vm snapshot delete": words("Delete a snapshot; the VM stays as it is."),
    "vm disk add": words("Add an empty disk to a VM."),
    "vm disk grow": words("Make a disk of a VM larger."),
    "vm nic add": words("Add a NIC to a VM."),
    "vm nic remove": words("Remove a NIC from a VM."),
    "vm eject": words("Eject the medium of a VM's drive."),
    "vm show": words(
        "Show one VM: state, host, addresses, load, disks, snapshots, tags, possible migrations."
    ),
    "vm screenshot": words("Show the screen of a VM."),
    "vm console": words("Show the last lines of a VM's serial console."),
}
"""What each command does, by name."""

EXAMPLES: dict[str, str] = {
    "vm start": "vm start web-1",
    "vm shutdown": "vm shutdown web-1",
    "vm reboot": "vm reboot web-1",
    "vm force-off": "vm force-off web-1",
    "vm pause": "vm pause web-1",
    "vm resume": "vm resume web-1",
    "vm undelete": "vm undelete web-1",
    "vm purge": "vm purge web-1",
    "vm discard-memory": "vm discard-memory web-1",
    "vm resize": "vm resize web-1 --memory 4G",
    "vm rename": "vm rename web-1 web-9",
    "vm clone": "vm clone web-1 web-2",
    "vm autostart": "vm autostart web-1 on",  # no message: a command
    "vm tag": "vm tag web-1 env=prod",
    "vm ttl": "vm ttl web-1 7d",
    "vm delete": "vm delete web-1 --keep-disks",
    "vm snapshot create": "vm snapshot create web-1 before-upgrade",
    "vm snapshot list": "vm snapshot list web-1",
    "vm snapshot revert": "vm snapshot revert web-1 before-upgrade",
    "vm snapshot delete": "vm snapshot delete web-1 before-upgrade",
    "vm disk add": "vm disk add web-1 10G",
    "vm disk grow": "vm disk grow web-1 vda 40G",
    "vm nic add": "vm nic add web-1 br0",
    "vm nic remove": "vm nic remove web-1 52:54:00:aa:bb:cc",
    "vm eject": "vm eject web-1",
    "vm show": "vm show web-1",
    "vm screenshot": "vm screenshot web-1",
    "vm console": "vm console web-1",
}
"""A line that can be typed, for each command but ``vm create``, which depends on the images."""

ALSO: dict[str, tuple[str, ...]] = {
    "vm create": ("new", "provision", "deploy", "launch", "make", "criar"),
    "vm start": ("boot", "power on", "poweron", "turn on", "iniciar", "ligar"),
    "vm shutdown": (
        "stop",
        "halt",
        "shut down",
        "power off",
        "poweroff",
        "turn off",
        "desligar",
        "parar",
    ),
    "vm reboot": ("restart", "reset", "cycle", "bounce", "reiniciar"),
    "vm force-off": ("kill", "destroy", "force off", "hard off"),
    "vm pause": ("suspend", "freeze", "pausar"),
    "vm resume": ("unpause", "unfreeze", "thaw", "retomar"),
    "vm undelete": ("restore", "recover", "restaurar"),
    "vm purge": ("wipe",),
    "vm resize": ("scale", "setmem", "setvcpus", "redimensionar"),
    "vm clone": ("copy", "duplicate", "clonar"),
    "vm rename": ("renomear",),
    "vm tag": ("label",),
    "vm ttl": ("expire", "expiry"),
    "vm delete": ("remove", "rm", "del", "undefine", "destroy", "excluir", "apagar"),
    "vm snapshot create": ("snapshot", "snap", "backup", "checkpoint"),
    "vm snapshot list": ("snapshots", "list snapshots"),
    "vm snapshot revert": ("rollback", "restore", "snapshot restore"),
    "vm snapshot delete": ("remove snapshot",),
    "vm disk add": ("attach disk",),
    "vm disk grow": ("extend disk", "resize disk", "disk resize"),
    "vm nic add": ("attach nic",),
    "vm nic remove": ("detach nic", "delete nic"),
    "vm eject": ("unmount", "cdrom"),
    "vm show": (
        "show",
        "info",
        "describe",
        "get",
        "inspect",
        "dominfo",
        "vm info",
        "vm status",
        "mostrar",
    ),
    "vm screenshot": ("screen", "screendump"),
    "vm console": ("serial", "tty"),
}
"""What people type who mean a command."""


@dataclass(frozen=True, slots=True)
class VmVerb:
    """A verb about one VM (``vm``) or all that have a tag (``tag``, ``key=value``)."""

    verb: str
    vm: str = ""
    tag: str = ""
    reason: str = ""
    lose_definition: bool = later(False)
    # Of a purge: what becomes of its images; of a start: those that others are based on
    fates: tuple[Fate, ...] = later(())
    # UUIDs of the VMs whose hosts' storage was read for that
    looked: tuple[str, ...] = later(())


@dataclass(frozen=True, slots=True)
class NewVms:
    """``vm create``. Sizes in bytes, 0 where the named size or the configuration decides.

    ``bases``: hosts that were asked for the image, each with its size there, 0 where it is missing.
    """

    name: str
    image: str = ""
    size: str = ""
    cpus: int = 0
    memory: int = 0
    disk: int = 0
    network: str = ""
    host: str = ""
    count: int = 1
    tags: tuple[tuple[str, str], ...] = ()
    user: str = ""
    ssh_keys: tuple[str, ...] = ()
    address: str = ""
    gateway: str = ""
    user_data: str = ""
    start: bool = True
    reason: str = ""
    bases: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class NewSize:
    """``vm resize``; 0 leaves it as it is. Memory in bytes."""

    vm: str
    cpus: int = 0
    memory: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewName:
    """``vm rename``."""

    vm: str
    to: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewClone:
    """``vm clone``. ``unique``: what of the definition two VMs cannot share.

    ``fates``: disks that another VM writes to.
    """

    vm: str
    to: str
    reason: str = ""
    unique: tuple[Message, ...] = later(())
    fates: tuple[Fate, ...] = later(())


@dataclass(frozen=True, slots=True)
class NewAutostart:
    """``vm autostart``."""

    vm: str
    on: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewTags:
    """``vm tag``: ``give`` to set, ``take`` to remove."""

    vm: str
    give: tuple[tuple[str, str], ...] = ()
    take: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewTtl:
    """``vm ttl``; ``ttl`` as written, '' to remove it."""

    vm: str
    ttl: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """``vm delete``; ``now``: no grace period. ``fates`` and ``looked`` as in ``VmVerb``."""

    vm: str = ""
    tag: str = ""
    remove_disks: bool = False
    now: bool = False
    reason: str = ""
    fates: tuple[Fate, ...] = later(())
    looked: tuple[str, ...] = later(())


@dataclass(frozen=True, slots=True)
class SnapshotWish:
    """``vm snapshot create|revert|delete``."""

    verb: str
    vm: str
    snapshot: str
    description: str = ""
    reason: str = ""
    # Disks that another VM writes to; of a revert those that others are based on, too
    fates: tuple[Fate, ...] = later(())


@dataclass(frozen=True, slots=True)
class DiskWish:
    """``vm disk add|grow``; ``capacity`` in bytes.

    ``taken``: volumes that a new disk must not be, for they exist. ``fates``: of ``grow``, disks
    that another VM writes to.
    """

    verb: str
    vm: str
    capacity: int
    target: str = ""
    reason: str = ""
    taken: tuple[str, ...] = later(())
    fates: tuple[Fate, ...] = later(())


@dataclass(frozen=True, slots=True)
class NicWish:
    """``vm nic add|remove``: a network to add, or the MAC address of a NIC to remove."""

    verb: str
    vm: str
    what: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ejection:
    """``vm eject``; ``target`` '' means the only drive that has a medium."""

    vm: str
    target: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LookAt:
    """A query about one VM."""

    vm: str
    lines: int = 20
    page: int = 1


class _Cpus(click.IntRange):
    """A number of vCPUs; 0 stands for none given, and cannot be typed."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:  # Any: as click gives it, text or the default
        """The number, checked."""
        return 0 if value == 0 else super().convert(value, param, ctx)


class _Size(click.ParamType[int]):
    """A size in bytes; a bare number is MiB for memory and GiB for disks."""

    name = "size"

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def convert(
        self, value: str | int, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        try:
            found = size(value, self.unit)
        except ValueError:
            found = 0
        if found <= 0:
            raise UsageError(
                words("“{value}” is not a size; use for example 512M or 4G.", value=value)
                if not value.startswith("+")
                else words("Write the whole new size, without “+”.")
            )
        return found


class _Tag(click.ParamType[tuple[str, str]]):
    """``key=value``."""

    name = "tag"

    def convert(
        self,
        value: str | tuple[str, str],
        _param: click.Parameter | None,
        _ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Key and value; a ``ttl`` must be a duration."""
        if isinstance(value, tuple):
            return value
        key, equals, content = value.partition("=")
        if not (key.strip() and equals and content.strip()):
            raise UsageError(words("“{value}” is not a tag; use for example env=dev.", value=value))
        if key.strip() == "ttl":
            content = TTL.convert(content, _param, _ctx)
        return key.strip(), stored_tag(key.strip(), content.strip())


class _Ttl(click.ParamType[str]):
    """A duration as written; ``off`` is ''."""

    name = "duration"

    def __init__(self, *, may_be_off: bool) -> None:
        self.may_be_off = may_be_off

    def convert(
        self, value: str, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> str:
        """The duration, checked."""
        if self.may_be_off and value.strip().lower() in {"", "off"}:
            return ""
        try:
            seconds = seconds_of(value)
        except ValueError:
            seconds = 0
        if not _LEAST_TTL <= seconds <= _MOST_TTL:
            raise UsageError(
                words(
                    "“{value}” is not a TTL; use for example 12h or 7d (1m to 3650d), or off.",
                    value=value,
                )
                if self.may_be_off
                else words(
                    "“{value}” is not a TTL; use for example 12h or 7d (1m to 3650d).",
                    value=value,
                )
            )
        return str(value).strip()


_LEAST_TTL, _MOST_TTL = 60, 3650 * 86_400  # seconds
TTL = _Ttl(may_be_off=False)
MEMORY, DISK, TAG, CPUS = _Size("M"), _Size("G"), _Tag(), _Cpus(1, 512)
REASON_HELP = words(
    'Why, for the approvers and the audit trail; quote several words: --reason "load test".'
)
REASON = click.Option(["--reason"], default="", metavar="TEXT", help=str(REASON_HELP))
VM = click.Argument(["vm"], metavar="VM")
_CPUS_HELP = words("Virtual CPUs.")
_MEMORY_HELP = words("Memory, such as 512M or 4G; a bare number is MiB.")
USER_DATA_HELP = words("Your own cloud-init user data, which begins with #cloud-config or #!.")


def command(name: str, callback: Callable[..., object], *params: click.Parameter) -> click.Command:
    """A click command of this plugin; its help is in ``SUMMARIES`` or ``_HELP``."""
    return click.Command(
        name,
        params=list(params),
        callback=callback,
        help=str(_HELP.get(name, SUMMARIES[name])),
        short_help=str(SUMMARIES[name]),
        add_help_option=False,
    )


_HELP: dict[str, Message] = {
    "vm create": words(
        "Create one or more VMs from an image.\n\n"
        "Without --host the best host is chosen, and the plan says why. "
        "Another person must approve it."
    ),
    "vm delete": words(
        "Delete a powered-off VM; it can be restored during its grace period.\n\n"
        "You must choose what happens to its disks; disks in use elsewhere stay."
    ),
    "vm ttl": words(
        "Set or remove the time after which a VM is shut down.\n\n"
        "The duration counts from now, such as 12h or 7d; off removes it."
    ),
}
"""Where the help says more than the summary."""


def _option(
    *names: str,
    help: Message,  # noqa: A002 - as click has it
    **given: Any,
) -> click.Option:
    return click.Option(list(names), help=str(help), **given)


def create() -> click.Command:
    """``vm create NAME …`` → ``NewVms``."""

    def intent_of(**given: Any) -> NewVms:
        tags, keys = tuple(given.pop("tags")), tuple(given.pop("ssh_keys"))
        return NewVms(tags=tags, ssh_keys=keys, start=not given.pop("off"), **given)

    option = _option
    return command(
        "vm create",
        intent_of,
        click.Argument(["name"], metavar="NAME"),
        option("--image", default="", metavar="IMAGE", help=words("A configured image.")),
        option(
            "--size",
            default="",
            metavar="SIZE",
            help=words("A configured size; --cpus, --memory and --disk override it."),
        ),
        option("--cpus", type=CPUS, default=0, help=_CPUS_HELP),
        option("--memory", type=MEMORY, default=0, metavar="4G", help=_MEMORY_HELP),
        option(
            "--disk",
            type=DISK,
            default=0,
            metavar="20G",
            help=words("Size of its disk, such as 20G; a bare number is GiB."),
        ),
        option(
            "--network",
            default="",
            metavar="NET",
            help=words("A libvirt network or a bridge of the host."),
        ),
        option("--host", default="", metavar="HOST", help=words("Host; default: best host.")),
        option(
            "--count",
            type=click.IntRange(1, 1000),
            default=1,
            help=words("Number of identical VMs, named NAME-1, NAME-2…, spread over hosts."),
        ),
        option(
            "--tag",
            "tags",
            type=TAG,
            multiple=True,
            metavar="KEY=VALUE",
            help=words(
                "Such as env=dev or owner=ana. ttl=7d: announced, then shut down; apart=X, "
                "together=X, pin=HOST: placement. May be repeated."
            ),
        ),
        option(
            "--user",
            default="",
            metavar="NAME",
            help=words("Its first user; default: that of the image."),
        ),
        option(
            "--ssh-key",
            "ssh_keys",
            multiple=True,
            metavar="KEY",
            help=words("A public key that can log in. May be repeated."),
        ),
        option(
            "--address",
            default="",
            metavar="ADDRESS/BITS",
            help=words(
                "A fixed address such as 10.0.0.5/24, counted up with --count; default: DHCP."
            ),
        ),
        option(
            "--gateway",
            default="",
            metavar="ADDRESS",
            help=words("The default gateway, with --address."),
        ),
        option("--user-data", default="", metavar="TEXT", help=USER_DATA_HELP),
        option("--off", is_flag=True, help=words("Do not start it.")),
        REASON,
    )


def verb(name: str, *, bulk: bool = True) -> click.Command:
    """``vm VERB VM`` or ``vm VERB --tag key=value`` → ``VmVerb``."""

    def intent_of(
        vm: str,
        reason: str,
        tag: tuple[str, str] | None = None,
        lose_definition: bool = False,  # noqa: FBT001, FBT002 - as click passes it
    ) -> VmVerb:
        _one_of(vm, tag)
        return VmVerb(name, vm, "=".join(tag) if tag else "", reason, lose_definition)

    if not bulk:
        return command(f"vm {name}", intent_of, VM, REASON)
    ends = name in {"shutdown", "force-off"}
    lose = _option(
        "--lose-definition",
        is_flag=True,
        help=words("Power off a transient VM although its definition is then lost."),
    )
    return command(
        f"vm {name}",
        intent_of,
        _optional_vm(),
        _tag_option(),
        *([lose] if ends else []),
        REASON,
    )


def delete() -> click.Command:
    """``vm delete VM --keep-disks|--remove-disks`` → ``Deletion``."""

    def intent_of(
        vm: str,
        tag: tuple[str, str] | None,
        disks: str | None,
        now: bool,  # noqa: FBT001
        reason: str,
    ) -> Deletion:
        _one_of(vm, tag)
        if disks is None:
            raise UsageError(
                words("Choose what happens to its disks: `--keep-disks` or `--remove-disks`."),
                code=MISSING,
            )
        return Deletion(vm, "=".join(tag) if tag else "", disks == "remove", now, reason)

    return command(
        "vm delete",
        intent_of,
        _optional_vm(),
        _tag_option(),
        _option(
            "--keep-disks",
            "disks",
            flag_value="keep",
            default=None,
            help=words("Keep its disks."),
        ),
        _option(
            "--remove-disks",
            "disks",
            flag_value="remove",
            help=words("Remove its disks when the grace period ends."),
        ),
        _option(
            "--now",
            is_flag=True,
            help=words("No grace period: delete it at once. It cannot be restored."),
        ),
        REASON,
    )


def tag() -> click.Command:
    """``vm tag VM key=value… [--remove key]`` → ``NewTags``."""

    def intent_of(
        vm: str, give: tuple[tuple[str, str], ...], take: tuple[str, ...], reason: str
    ) -> NewTags:
        if not give and not take:
            raise UsageError(
                words("Which tags? Use for example `env=dev`, or `--remove env`."), code=MISSING
            )
        return NewTags(vm, tuple(give), tuple(take), reason)

    return command(
        "vm tag",
        intent_of,
        VM,
        click.Argument(["give"], nargs=-1, type=TAG, metavar="[KEY=VALUE]…"),
        _option(
            "--remove",
            "take",
            multiple=True,
            metavar="KEY",
            help=words("Remove this tag. May be repeated."),
        ),
        REASON,
    )


def ttl() -> click.Command:
    """``vm ttl VM DURATION|off`` → ``NewTtl``."""
    when = click.Argument(["ttl"], type=_Ttl(may_be_off=True), metavar="DURATION|off")
    return command("vm ttl", NewTtl, VM, when, REASON)


def autostart() -> click.Command:
    """``vm autostart VM on|off`` → ``NewAutostart``."""

    def intent_of(vm: str, state: str, reason: str) -> NewAutostart:
        return NewAutostart(vm, state == "on", reason)

    state = click.Argument(["state"], type=click.Choice(["on", "off"], case_sensitive=False))
    return command("vm autostart", intent_of, VM, state, REASON)


def resize() -> click.Command:
    """``vm resize VM [--cpus N] [--memory SIZE]`` → ``NewSize``."""

    def intent_of(vm: str, cpus: int, memory: int, reason: str) -> NewSize:
        if not cpus and not memory:
            raise UsageError(
                words("Which size? Use for example `--cpus 4` or `--memory 8G`."), code=MISSING
            )
        return NewSize(vm, cpus, memory, reason)

    return command(
        "vm resize",
        intent_of,
        VM,
        _option("--cpus", type=CPUS, default=0, help=_CPUS_HELP),
        _option("--memory", type=MEMORY, default=0, metavar="4G", help=_MEMORY_HELP),
        REASON,
    )


def rename() -> click.Command:
    """``vm rename VM NEW`` → ``NewName``."""
    return command("vm rename", NewName, VM, click.Argument(["to"], metavar="NEW-NAME"), REASON)


def clone() -> click.Command:
    """``vm clone VM NEW`` → ``NewClone``."""
    return command("vm clone", NewClone, VM, click.Argument(["to"], metavar="NEW-NAME"), REASON)


def snapshot(which: str) -> click.Command:
    """``vm snapshot create|revert|delete VM NAME`` → ``SnapshotWish``."""

    def intent_of(vm: str, snapshot: str, reason: str, description: str = "") -> SnapshotWish:
        return SnapshotWish(which, vm, snapshot, description, reason)

    told = str(words("What it is for; the list of snapshots shows it."))
    description = click.Option(["--description"], default="", metavar="TEXT", help=told)
    more = [description] if which == "create" else []
    metavar = "NAME" if which == "create" else "SNAPSHOT"
    name = click.Argument(["snapshot"], metavar=metavar)
    return command(f"vm snapshot {which}", intent_of, VM, name, *more, REASON)


def disk(which: str) -> click.Command:
    """``vm disk add VM SIZE`` or ``vm disk grow VM TARGET SIZE`` → ``DiskWish``."""

    def intent_of(vm: str, capacity: int, reason: str, target: str = "") -> DiskWish:
        return DiskWish(which, vm, capacity, target, reason)

    more = [click.Argument(["target"], metavar="TARGET")] if which == "grow" else []
    capacity = click.Argument(["capacity"], type=DISK, metavar="SIZE")
    return command(f"vm disk {which}", intent_of, VM, *more, capacity, REASON)


def nic(which: str) -> click.Command:
    """``vm nic add VM NETWORK`` or ``vm nic remove VM MAC`` → ``NicWish``."""

    def intent_of(vm: str, what: str, reason: str) -> NicWish:
        return NicWish(which, vm, what, reason)

    what = click.Argument(["what"], metavar="NETWORK" if which == "add" else "MAC")
    return command(f"vm nic {which}", intent_of, VM, what, REASON)


def eject() -> click.Command:
    """``vm eject VM [TARGET]`` → ``Ejection``."""
    target = click.Argument(["target"], default="", metavar="[TARGET]")
    return command("vm eject", Ejection, VM, target, REASON)


def look(name: str) -> click.Command:
    """A query about one VM → ``LookAt``."""
    lines = click.Option(
        ["--lines"],
        type=click.IntRange(1, 90),
        default=20,
        show_default=True,
        help=str(words("How many lines, the last ones.")),
    )
    page = click.Option(
        ["--page"],
        type=click.IntRange(1, 1000),
        default=1,
        metavar="N",
        help=str(words("Which page of the list.")),
    )
    more = {"console": [lines], "snapshot list": [page]}
    return command(f"vm {name}", LookAt, VM, *more.get(name, []))


def _optional_vm() -> click.Argument:
    return click.Argument(["vm"], default="", metavar="[VM]")


def _tag_option() -> click.Option:
    return _option(
        "--tag",
        type=TAG,
        default=None,
        metavar="KEY=VALUE",
        help=words("All VMs with this tag instead of one; the plan lists them."),
    )


def _one_of(vm: str, tag: tuple[str, str] | None) -> None:
    if bool(vm) == bool(tag):
        code = "" if vm else MISSING
        raise UsageError(words("Name one VM, or all with a tag: `--tag env=dev`."), code=code)
