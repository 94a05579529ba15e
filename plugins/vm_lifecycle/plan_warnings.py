"""Pure: what approvers should know of a plan for one VM: data that is lost, kept, or removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.domain import only_live
from bot.domain.backing import Fate
from bot.domain.cluster import OS_CRASHED, POSTCOPY_FAILED, Vm
from bot.domain.message import Duration, Member, Names, words
from bot.domain.plan import Reason
from plugins.vm_lifecycle import fates, reverts, texts


def of(intent: Any, vm: Vm, grace: int) -> Iterator[Reason]:
    """Yield the warnings of a request about one VM; ``grace``: the grace period in seconds."""
    verb = getattr(intent, "verb", "")
    if vm.state.active and verb in {"shutdown", "force-off", "reboot"}:
        yield from _power_off(verb, vm)
    if verb == "revert":
        yield Reason(
            "data-loss",
            words("All changes of {vm} since that snapshot are lost.", vm=vm.name),
        )
        yield from only_live.warnings(vm)
        yield from reverts.warnings(intent.snapshot, vm)
    if verb == "discard-memory":
        yield Reason(
            "data-loss",
            words(
                "Everything {vm} had in memory when it was saved is lost; its next start boots.",
                vm=vm.name,
            ),
        )
    elif vm.saved:
        yield _memory_saved(intent, verb, vm)
    if verb == "purge":
        yield from _deletion(intent, vm, remove=vm.tags.get("drover.disks") == "remove", grace=0)
    if hasattr(intent, "remove_disks"):
        yield from _deletion(
            intent, vm, remove=intent.remove_disks, grace=0 if intent.now else grace
        )
    if hasattr(intent, "unique"):
        yield from _not_cloned(intent.to, vm)


def _power_off(verb: str, vm: Vm) -> Iterator[Reason]:
    if verb == "force-off":
        yield Reason("data-loss", words("{vm} runs: unwritten data is lost.", vm=vm.name))
        if vm.detail is not None and vm.detail.local_job:
            yield Reason(
                "job-lost",
                words(
                    "{vm} has a job in progress, which ends with it: {job}.",
                    vm=vm.name,
                    job=vm.detail.job,
                ),
            )
        if vm.detail is not None and vm.detail.silent:
            yield Reason(
                "job-unknown",
                words(
                    "QEMU of {vm} does not answer: whether a job is in progress is not known.",
                    vm=vm.name,
                ),
            )
    yield from only_live.warnings(vm)
    yield from only_live.aborted_jobs(vm)
    if verb != "reboot" and not vm.persistent:
        yield Reason(
            "definition-lost",
            words(
                "{vm} is transient: its definition is not stored on {host} and is lost when it "
                "is off.",
                vm=vm.name,
                host=vm.host,
            ),
        )
    if verb == "reboot" and vm.paused_by == OS_CRASHED:
        yield Reason(
            "data-loss",
            words(
                "The operating system of {vm} crashed: it is forced off, and unwritten data and "
                "what its memory shows of the crash are lost.",
                vm=vm.name,
            ),
        )
    if verb == "reboot" and vm.paused_by == POSTCOPY_FAILED:
        yield Reason(
            "data-loss",
            words(
                "{vm} lost a part of its memory when its post-copy migration failed: it is "
                "forced off, and unwritten data is lost.",
                vm=vm.name,
            ),
        )


def _memory_saved(intent: object, verb: str, vm: Vm) -> Reason:
    args = {"vm": vm.name, "host": vm.host}
    if verb == "start":
        text = words("{vm} restores the memory saved on {host}; it does not boot.", **args)
    elif hasattr(intent, "remove_disks") or verb == "purge":
        text = words(
            "{vm} is off with its memory saved on {host}; a purge loses that memory.", **args
        )
    else:
        text = words(
            "{vm} is off with its memory saved on {host}; its next start restores that memory, "
            "with the settings of then.",
            **args,
        )
    return Reason("memory-saved", text)


def _not_cloned(name: str, vm: Vm) -> Iterator[Reason]:
    """Yield what a clone does not get."""
    if vm.detail and vm.detail.tpm == "emulator":
        yield Reason(
            "new-tpm",
            words(
                "{clone} gets an empty TPM: what the TPM of {vm} sealed cannot be opened there.",
                clone=name,
                vm=vm.name,
            ),
        )
    if vm.detail and vm.detail.nvram:
        yield Reason(
            "new-nvram",
            words(
                "{clone} gets UEFI variables from the template, not those of {vm}.",
                clone=name,
                vm=vm.name,
            ),
        )


_KEPT = {
    "no-pool": words("not in a storage pool"),
    "shared": words("shared or read-only"),
    "beneath": words("a base image that was not the VM's own disk"),
}


def _deletion(intent: Any, vm: Vm, *, remove: bool, grace: int) -> Iterator[Reason]:
    """Yield what is deleted and when, how to undelete it, and what is kept."""
    mine = [each for each in intent.fates if each.vm == vm.uuid]
    gone = [each.place for each in mine if not each.stays and (each.seed or remove)]
    firmware = remove and not any(each.stays == fates.FIRMWARE for each in mine)
    parts: list[Member] = [words("its definition, snapshot records and saved memory")]
    parts += [*(_firmware_state(vm) if firmware else ()), *gone]
    if grace:
        text = words(
            "{vm} is deleted after the grace period ({grace} after the approval): {parts}. "
            "Until then: {undelete}.",
            vm=vm.name,
            grace=Duration(grace),
            parts=parts,
            undelete=texts.chat("vm undelete {}", vm.name),
        )
        yield Reason("deleted", text)
    else:
        text = words(
            "{vm} is deleted at once and cannot be undeleted: {parts}.", vm=vm.name, parts=parts
        )
        yield Reason("no-grace", text)
    kept: list[Member] = [_fate_place(each) for each in mine if each.place not in gone]
    kept += () if firmware else _firmware_state(vm)
    if kept:
        yield Reason("kept", words("Kept of {vm}: {parts}.", vm=vm.name, parts=kept))


def _firmware_state(vm: Vm) -> list[Member]:
    """What its firmware stores; disks may be sealed with it."""
    detail = vm.detail
    found: list[Member] = [words("its UEFI variables")] if detail and detail.nvram else []
    return found + ([words("its TPM state")] if detail and detail.tpm == "emulator" else [])


def _fate_place(fate: Fate) -> Member:
    if not fate.stays:
        return fate.place
    if fate.holders:
        return words(
            "{disk} (in use by {users})",
            disk=fate.place,
            users=Names(fate.holders, most=texts.MOST_NAMED),
        )
    why = _KEPT.get(fate.stays, words("in use elsewhere"))
    return words("{disk} ({why})", disk=fate.place, why=why)
