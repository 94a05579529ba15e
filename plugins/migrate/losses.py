"""Pure: what people are told when Drover cannot know or repair the end of a migration."""

from __future__ import annotations

from collections.abc import Iterable

from bot.domain.cluster import Sighting
from bot.domain.errors import Remedy, StepLostError
from bot.domain.message import Duration, Message, join, words
from bot.domain.state_names import state_text
from bot.domain.steps import MigrateVm
from bot.domain.words import command, virsh_name
from plugins.migrate.case import as_code
from plugins.migrate.outcome import Place, waits_for_memory

# no message: an argument of a command, kept in the audit trail as it was typed
LOST_MEMORY = "a failed post-copy migration left it without a part of its memory"


def sightings_text(sightings: Iterable[Sighting]) -> Message:
    """``host-a: paused (post-copy failed); host-b: running; host-c: does not answer``."""
    each = (words("{host}: {found}", host=each.host, found=_state_text(each)) for each in sightings)
    return join(each, "; ")


def _state_text(each: Sighting) -> Message:
    if not each.reachable:
        return words("does not answer")
    if each.state is None:
        return words("not there")
    return state_text(each.state, each.paused_by)


def loss_error(step: MigrateVm, place: Place, sightings: Iterable[Sighting]) -> StepLostError:
    """The error for an outcome that people must look at.

    It says what is wrong, what each host shows, and what is safe.
    """
    seen = tuple(sightings)
    code, what, advice = _loss(step, place)
    remedies: tuple[Remedy, ...] = ()
    if place is Place.DEAD:
        untold = any(waits_for_memory(each) for each in seen)
        remedies = (_force_off(step) if untold else _start_again(step),)
    return StepLostError(_with_sightings(what, seen), advice, remedies, code=code)


def _with_sightings(what: Message, sightings: Iterable[Sighting]) -> Message:
    return words("{what} {sightings}.", what=what, sightings=sightings_text(sightings))


def _loss(step: MigrateVm, place: Place) -> tuple[str, Message, Message]:
    """Code, text and advice."""
    code, describe = {
        Place.TWICE: ("running-twice", _running_twice),
        Place.ELSEWHERE: ("moved-elsewhere", _moved_elsewhere),
        Place.NOWHERE: ("on-no-host", _on_no_host),
        Place.POSTCOPY_FAILED: ("post-copy-failed", _broken_postcopy),
        Place.DEAD: ("post-copy-lost", _dead),
        Place.UNKNOWN: ("outcome-unknown", _unknown),
    }.get(place, ("half-moved", _half_moved))
    return code, *describe(step)


def _running_twice(step: MigrateVm) -> tuple[Message, Message]:
    return (
        words("{vm} seems to run in more than one place.", vm=step.name),
        words(
            "Check each host at once: two running copies destroy their disks. Drover touches "
            "neither."
        ),
    )


def _moved_elsewhere(step: MigrateVm) -> tuple[Message, Message]:
    return (
        words(
            "{vm} is neither on {source} nor on {target}, but on another host.",
            vm=step.name,
            source=step.source,
            target=step.target,
        ),
        words(
            "Something else moved it. Check that this is intended; its CPU limit and autostart "
            "were not carried over."
        ),
    )


def _on_no_host(step: MigrateVm) -> tuple[Message, Message]:
    return (
        words("{vm} is on no host that answers.", vm=step.name),
        words(
            "Check the hosts that do not answer before you start it anywhere: unreachable is not "
            "dead. Its last definition and log are on {source}.",
            source=step.source,
        ),
    )


def _dead(step: MigrateVm) -> tuple[Message, Message]:
    return (
        words(
            "{vm} is dead: its post-copy migration from {source} to {target} failed, and part of "
            "its memory is lost.",
            vm=step.name,
            source=step.source,
            target=step.target,
        ),
        words(
            "It cannot continue, whatever libvirt calls its state. Force it off and start it "
            "again; its disks are as after a power failure."
        ),
    )


def _broken_postcopy(step: MigrateVm) -> tuple[Message, Message]:
    return (
        words(
            "The post-copy migration of {vm} from {source} to {target} failed: each host has a "
            "part of its memory.",
            vm=step.name,
            source=step.source,
            target=step.target,
        ),
        words(
            "Neither resume nor destroy it on either host. Fix the network, then on {source}: "
            "{command} with the flags it had.",
            source=step.source,
            command=as_code(
                "virsh migrate --live --p2p --postcopy --postcopy-resume {} {}",
                virsh_name(step),
                f"URI-of-{step.target}",
            ),
        ),
    )


def _unknown(step: MigrateVm) -> tuple[Message, Message]:
    return (
        words(
            "It is unknown whether {vm} was moved from {source} to {target}: a host does not "
            "answer.",
            vm=step.name,
            source=step.source,
            target=step.target,
        ),
        words(
            "Unreachable is not dead. Bring the host back, then check with {command}. Start the VM "
            "nowhere before you know.",
            command=as_code("/kvm where {}", step.name),
        ),
    )


def unknown_text(step: MigrateVm, sightings: Iterable[Sighting]) -> tuple[Message, Message]:
    """Text and advice while source or target does not answer."""
    what, advice = _unknown(step)
    return _with_sightings(what, sightings), advice


def _half_moved(step: MigrateVm) -> tuple[Message, Message]:
    text = words(
        "{vm} is half moved: both {source} and {target} have it, and no migration is active.",
        vm=step.name,
        source=step.source,
        target=step.target,
    )
    return text, half_moved_advice(step)


def half_moved_advice(step: MigrateVm) -> Message:
    """What is safe when both hosts have it and at most one copy runs."""
    return words(
        "If it runs on {source}, remove the paused copy on {target}: {command}. Never resume it "
        "there, and never destroy the copy that runs.",
        source=step.source,
        target=step.target,
        command=as_code("virsh destroy {}", virsh_name(step)),
    )


def stillness_text(
    step: MigrateVm, sightings: Iterable[Sighting], still: Duration, *, switched: bool
) -> Message:
    """What each host shows of a migration without progress; ``switched``: it is in post-copy."""
    if switched:
        return words(
            "No progress for {time}. {vm}: {sightings}. Cancel is no longer possible: it runs on "
            "{target} and fetches its memory from {source}.",
            time=still,
            vm=step.name,
            sightings=sightings_text(sightings),
            source=step.source,
            target=step.target,
        )
    return words(
        "No progress for {time}. {vm}: {sightings}. Cancel ends the migration; {vm} then "
        "keeps running on {source}.",
        time=still,
        vm=step.name,
        sightings=sightings_text(sightings),
        source=step.source,
    )


def stall_error(step: MigrateVm, sightings: Iterable[Sighting], *, switched: bool) -> StepLostError:
    """The error for a migration without progress; ``switched``: it is in post-copy."""
    what = words(
        "The migration of {vm} from {source} to {target} makes no progress, and Drover no longer "
        "follows it.",
        vm=step.name,
        source=step.source,
        target=step.target,
    )
    if switched:
        advice = words(
            "It already runs on {target} and needs memory from {source}: do not cancel, destroy or "
            "resume it. Fix the network between the two hosts.",
            source=step.source,
            target=step.target,
        )
    else:
        advice = words(
            "On {source}, {command} ends the migration, and {vm} continues there: that is safe. "
            "Do not destroy or resume either copy by hand. If the migration should continue, check "
            "the network and libvirt on both hosts.",
            source=step.source,
            vm=step.name,
            command=as_code("virsh domjobabort {}", virsh_name(step)),
        )
    text = _with_sightings(what, sightings)
    return StepLostError(text, advice, (_look_at(step),), code="no-progress")


def _start_again(step: MigrateVm) -> Remedy:
    """Propose the only thing that helps a VM whose memory is lost.

    ``vm reboot`` forces such a VM off.
    """
    return Remedy(
        words("Force off and start {vm}…", vm=step.name),
        command("vm reboot {} --reason={}", step.name, LOST_MEMORY),
    )


def _force_off(step: MigrateVm) -> Remedy:
    """Propose to end a VM that QEMU lets wait for its lost memory: libvirt knows of no failure."""
    return Remedy(words("Force off {vm}…", vm=step.name), command("vm force-off {}", step.name))


def _look_at(step: MigrateVm) -> Remedy:
    return Remedy(words("Where is {vm}?", vm=step.name), command("where {}", step.name))
