"""What people can ask for, and the words they ask with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from bot.domain.backing import Fate
from bot.domain.codec import later
from bot.domain.units import seconds_of, size
from plugins.vm_lifecycle import cards


@dataclass(frozen=True, slots=True)
class VmVerb:
    """A verb about one guest (``vm``) or all that have a tag (``tag``, ``key=value``)."""

    verb: str
    vm: str = ""
    tag: str = ""
    reason: str = ""
    lose_definition: bool = later(False)  # noqa: FBT003 - shutdown and force-off of a transient VM
    fates: tuple[Fate, ...] = later(
        ()
    )  # of a purge: what becomes of its images; of a start: those that others stand on
    # UUIDs of the VMs whose hosts' storage was looked at for that
    looked: tuple[str, ...] = later(())


@dataclass(frozen=True, slots=True)
class NewVms:
    """``vm create``. Sizes in bytes, 0 where the size or the catalogue decides.

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
    """``vm clone``. ``unique``: what of the definition two VMs cannot both have, as its host tells."""

    vm: str
    to: str
    reason: str = ""
    unique: tuple[str, ...] = later(())


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
    """``vm ttl``; ``ttl`` as written, '' for no end."""

    vm: str
    ttl: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """``vm delete``; ``now`` leaves no grace. ``fates`` and ``looked`` as in ``VmVerb``."""

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
    fates: tuple[Fate, ...] = later(())  # of a revert: disks that others' images stand on


@dataclass(frozen=True, slots=True)
class DiskWish:
    """``vm disk add|grow``; ``capacity`` in bytes.

    ``taken``: volumes that a new disk must not be, for they exist.
    """

    verb: str
    vm: str
    capacity: int
    target: str = ""
    reason: str = ""
    taken: tuple[str, ...] = later(())


@dataclass(frozen=True, slots=True)
class NicWish:
    """``vm nic add|remove``: a network to add, or the MAC address of a card to remove."""

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
    """A query about one guest."""

    vm: str
    lines: int = 20


class _Size(click.ParamType[int]):
    """A size in bytes; a bare number is MiB for memory and GiB for disks."""

    name = "size"

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        try:
            found = size(value, self.unit)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found <= 0:
            self.fail(cards.no_size(value), param, ctx)
        return found


class _Tag(click.ParamType[tuple[str, str]]):
    """``key=value``."""

    name = "tag"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Key and value; a ``ttl`` must be a duration."""
        if isinstance(value, tuple):
            return value
        key, equals, content = value.partition("=")
        if not (key.strip() and equals and content.strip()):
            self.fail(cards.no_tag(value), param, ctx)
        if key.strip() == "ttl":
            content = TTL.convert(content, param, ctx)
        return key.strip(), content.strip()


class _Ttl(click.ParamType[str]):
    """A duration as written; ``off`` is ''."""

    name = "duration"

    def __init__(self, *, may_be_off: bool) -> None:
        self.may_be_off = may_be_off

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The duration, checked."""
        if self.may_be_off and value.strip().lower() in {"", "off"}:
            return ""
        try:
            seconds = seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not _LEAST_TTL <= seconds <= _MOST_TTL:
            self.fail(cards.no_ttl(value), param, ctx)
        return str(value).strip()


_LEAST_TTL, _MOST_TTL = 60, 3650 * 86_400  # seconds
TTL = _Ttl(may_be_off=False)
MEMORY, DISK, TAG = _Size("M"), _Size("G"), _Tag()
REASON = click.Option(["--reason"], default="", metavar="TEXT", help=cards.REASON_HELP)
VM = click.Argument(["vm"], metavar="VM")


def command(
    name: str, summary: str, callback: Callable[..., Any], *params: click.Parameter
) -> click.Command:
    """A click command of this plugin."""
    return click.Command(
        name,
        params=list(params),
        callback=callback,
        help=summary,
        short_help=summary,
        add_help_option=False,
    )


def create() -> click.Command:
    """``vm create NAME …`` → ``NewVms``."""

    def made(**given: Any) -> NewVms:
        tags, keys = tuple(given.pop("tags")), tuple(given.pop("ssh_keys"))
        return NewVms(tags=tags, ssh_keys=keys, start=not given.pop("off"), **given)

    option = click.Option
    return command(
        "vm create",
        cards.CREATE_HELP,
        made,
        click.Argument(["name"], metavar="NAME"),
        option(["--image"], default="", metavar="IMAGE", help=cards.IMAGE_HELP),
        option(["--size"], default="", metavar="SIZE", help=cards.SIZE_HELP),
        option(["--cpus"], type=click.IntRange(0, 512), default=0, help=cards.CPUS_HELP),
        option(["--memory"], type=MEMORY, default=0, metavar="4G", help=cards.MEMORY_HELP),
        option(["--disk"], type=DISK, default=0, metavar="20G", help=cards.DISK_HELP),
        option(["--network"], default="", metavar="NET", help=cards.NETWORK_HELP),
        option(["--host"], default="", metavar="HOST", help=cards.HOST_HELP),
        option(["--count"], type=click.IntRange(1, 1000), default=1, help=cards.COUNT_HELP),
        option(
            ["--tag", "tags"], type=TAG, multiple=True, metavar="KEY=VALUE", help=cards.TAG_HELP
        ),
        option(["--user"], default="", metavar="NAME", help=cards.USER_HELP),
        option(["--ssh-key", "ssh_keys"], multiple=True, metavar="KEY", help=cards.SSH_HELP),
        option(["--address"], default="", metavar="ADDRESS/BITS", help=cards.ADDRESS_HELP),
        option(["--gateway"], default="", metavar="ADDRESS", help=cards.GATEWAY_HELP),
        option(["--user-data"], default="", metavar="TEXT", help=cards.USER_DATA_HELP),
        option(["--off"], is_flag=True, help=cards.OFF_HELP),
        REASON,
    )


def verb(name: str, summary: str, *, bulk: bool = True) -> click.Command:
    """``vm VERB VM`` or ``vm VERB --tag key=value`` → ``VmVerb``."""

    def made(
        vm: str,
        reason: str,
        tag: tuple[str, str] | None = None,
        lose_definition: bool = False,  # noqa: FBT001, FBT002 - as click passes it
    ) -> VmVerb:
        _one_of(vm, tag)
        return VmVerb(name, vm, "=".join(tag) if tag else "", reason, lose_definition)

    if not bulk:
        return command(f"vm {name}", summary, made, VM, REASON)
    ends = name in {"shutdown", "force-off"}
    lose = click.Option(["--lose-definition"], is_flag=True, help=cards.LOSE_HELP)
    return command(
        f"vm {name}",
        summary,
        made,
        _optional_vm(),
        _tag_option(),
        *([lose] if ends else []),
        REASON,
    )


def delete() -> click.Command:
    """``vm delete VM --keep-disks|--remove-disks`` → ``Deletion``."""

    def made(
        vm: str,
        tag: tuple[str, str] | None,
        disks: str | None,
        now: bool,  # noqa: FBT001
        reason: str,
    ) -> Deletion:
        _one_of(vm, tag)
        if disks is None:
            raise click.UsageError(cards.WHICH_DISKS)
        return Deletion(vm, "=".join(tag) if tag else "", disks == "remove", now, reason)

    return command(
        "vm delete",
        cards.DELETE_HELP,
        made,
        _optional_vm(),
        _tag_option(),
        click.Option(
            ["--keep-disks", "disks"], flag_value="keep", default=None, help=cards.KEEP_HELP
        ),
        click.Option(["--remove-disks", "disks"], flag_value="remove", help=cards.REMOVE_HELP),
        click.Option(["--now"], is_flag=True, help=cards.NOW_HELP),
        REASON,
    )


def tag() -> click.Command:
    """``vm tag VM key=value… [--remove key]`` → ``NewTags``."""

    def made(
        vm: str, give: tuple[tuple[str, str], ...], take: tuple[str, ...], reason: str
    ) -> NewTags:
        if not give and not take:
            raise click.UsageError(cards.NO_TAGS)
        return NewTags(vm, tuple(give), tuple(take), reason)

    return command(
        "vm tag",
        cards.TAG_SUMMARY,
        made,
        VM,
        click.Argument(["give"], nargs=-1, type=TAG, metavar="[KEY=VALUE]…"),
        click.Option(["--remove", "take"], multiple=True, metavar="KEY", help=cards.UNTAG_HELP),
        REASON,
    )


def ttl() -> click.Command:
    """``vm ttl VM DURATION|off`` → ``NewTtl``."""
    when = click.Argument(["ttl"], type=_Ttl(may_be_off=True), metavar="DURATION|off")
    return command("vm ttl", f"{cards.TTL_SUMMARY}\n\n{cards.TTL_HELP}", NewTtl, VM, when, REASON)


def autostart() -> click.Command:
    """``vm autostart VM on|off`` → ``NewAutostart``."""

    def made(vm: str, state: str, reason: str) -> NewAutostart:
        return NewAutostart(vm, state == "on", reason)

    state = click.Argument(["state"], type=click.Choice(["on", "off"], case_sensitive=False))
    return command("vm autostart", cards.AUTOSTART, made, VM, state, REASON)


def resize() -> click.Command:
    """``vm resize VM [--cpus N] [--memory SIZE]`` → ``NewSize``."""

    def made(vm: str, cpus: int, memory: int, reason: str) -> NewSize:
        if not cpus and not memory:
            raise click.UsageError(cards.NO_NEW_SIZE)
        return NewSize(vm, cpus, memory, reason)

    return command(
        "vm resize",
        cards.RESIZE,
        made,
        VM,
        click.Option(["--cpus"], type=click.IntRange(0, 512), default=0, help=cards.CPUS_HELP),
        click.Option(["--memory"], type=MEMORY, default=0, metavar="4G", help=cards.MEMORY_HELP),
        REASON,
    )


def rename() -> click.Command:
    """``vm rename VM NEW`` → ``NewName``."""
    return command(
        "vm rename", cards.RENAME, NewName, VM, click.Argument(["to"], metavar="NEW-NAME"), REASON
    )


def clone() -> click.Command:
    """``vm clone VM NEW`` → ``NewClone``."""
    return command(
        "vm clone", cards.CLONE, NewClone, VM, click.Argument(["to"], metavar="NEW-NAME"), REASON
    )


def snapshot(which: str, summary: str) -> click.Command:
    """``vm snapshot create|revert|delete VM NAME`` → ``SnapshotWish``."""

    def made(vm: str, snapshot: str, reason: str, description: str = "") -> SnapshotWish:
        return SnapshotWish(which, vm, snapshot, description, reason)

    more = (
        [click.Option(["--description"], default="", metavar="TEXT")] if which == "create" else []
    )
    name = click.Argument(["snapshot"], metavar="SNAPSHOT")
    return command(f"vm snapshot {which}", summary, made, VM, name, *more, REASON)


def disk(which: str, summary: str) -> click.Command:
    """``vm disk add VM SIZE`` or ``vm disk grow VM TARGET SIZE`` → ``DiskWish``."""

    def made(vm: str, capacity: int, reason: str, target: str = "") -> DiskWish:
        return DiskWish(which, vm, capacity, target, reason)

    more = [click.Argument(["target"], metavar="TARGET")] if which == "grow" else []
    capacity = click.Argument(["capacity"], type=DISK, metavar="SIZE")
    return command(f"vm disk {which}", summary, made, VM, *more, capacity, REASON)


def nic(which: str, summary: str) -> click.Command:
    """``vm nic add VM NETWORK`` or ``vm nic remove VM MAC`` → ``NicWish``."""

    def made(vm: str, what: str, reason: str) -> NicWish:
        return NicWish(which, vm, what, reason)

    what = click.Argument(["what"], metavar="NETWORK" if which == "add" else "MAC")
    return command(f"vm nic {which}", summary, made, VM, what, REASON)


def eject() -> click.Command:
    """``vm eject VM [TARGET]`` → ``Ejection``."""
    target = click.Argument(["target"], default="", metavar="[TARGET]")
    return command("vm eject", cards.EJECT, Ejection, VM, target, REASON)


def look(name: str, summary: str) -> click.Command:
    """A query about one guest → ``LookAt``."""
    lines = click.Option(["--lines"], type=click.IntRange(1, 90), default=20, show_default=True)
    return command(f"vm {name}", summary, LookAt, VM, *([lines] if name == "console" else []))


def _optional_vm() -> click.Argument:
    return click.Argument(["vm"], default="", metavar="[VM]")


def _tag_option() -> click.Option:
    return click.Option(
        ["--tag"], type=TAG, default=None, metavar="KEY=VALUE", help=cards.BULK_HELP
    )


def _one_of(vm: str, tag: tuple[str, str] | None) -> None:
    if bool(vm) == bool(tag):
        raise click.UsageError(cards.ONE_OR_TAG)
