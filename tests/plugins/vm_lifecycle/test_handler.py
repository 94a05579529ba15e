"""Steps on a cluster in memory: done once, safe to repeat, unmade when they fail, and cut off at every point."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.cluster import GIB, MIB, STARTING_UP, Job, Pool, Vm, VmState
from bot.domain.errors import (
    DroverError,
    HostUnreachableError,
    HypervisorError,
    StepAsksError,
    StepCancelledError,
    StepLostError,
)
from bot.domain.message import Message, Size, nwords
from bot.domain.operation import Ask
from bot.domain.steps import Step
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.plugin_api import Settled
from bot.ports.guests import Blueprint, GuestDisk, Volume
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from plugins.vm_lifecycle import cloning, creation, handler, planner
from plugins.vm_lifecycle.intents import NewClone, NewVms
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import (
    AddDisk,
    AddNic,
    AutostartVm,
    CloneVm,
    CreateVm,
    CreateVms,
    DeleteVm,
    GrowDisk,
    PurgeVm,
    RemoveNic,
    RenameVm,
    ResizeVm,
    SnapshotVerb,
    SnapshotVm,
    TagVm,
    UndeleteVm,
)

SETTINGS = VmLifecycleSettings.model_validate({
    "images": {"tiny": {"base": "pool/tiny.qcow2", "user": "ana"}},
    "pool": "pool",
    "network": "br0",
    "default_memory": "1G",
    "default_disk": "1G",
    "shutdown_seconds": 10,
})  # fmt: skip
BASE = Volume("pool", "tiny.qcow2", "/pool/tiny.qcow2", 64 * MIB, MIB, "qcow2")


class Telling:
    """Progress that remembers."""

    def __init__(self, *asks: Ask) -> None:
        self.said: list[Message] = []
        self.notes: list[Message] = []
        self.slept = 0.0
        self._asks = frozenset(asks)

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None: ...

    def say(self, text: Message) -> None:
        self.said.append(text)

    def note(self, text: Message) -> None:
        self.notes.append(text)

    def asks(self) -> frozenset[Ask]:
        return self._asks

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class Killed(BaseException):
    """The bot's process ends."""


class Cuttable(FakeHypervisor):
    """Kills its caller before the change of this number."""

    at: int | None = None

    def _note(self, method: str, *arguments: str) -> None:
        if self.at is not None and len(self.calls) >= self.at:
            raise Killed(method)
        super()._note(method, *arguments)


def cluster(kind: type[FakeHypervisor] = FakeHypervisor) -> Any:
    seen = draw_cluster("""
        host-a 8cpu 16G | web-1 2G 2cpu [env=dev] | off-1 1G off
        host-b 8cpu 16G
    """)
    hosts = tuple(
        replace(
            host, pools=(Pool("pool", "dir", "/pool", active=True, autostart=True, free=50 * GIB),)
        )
        for host in seen.hosts
    )
    made = kind(replace(seen, hosts=hosts), TickingClock())
    for host in ("host-a", "host-b"):
        made.volumes[host, "pool", "tiny.qcow2"] = BASE
    return made


def new(hypervisor: FakeHypervisor, **wish: Any) -> Any:
    plan = creation.plan(SETTINGS, NewVms(**{"name": "new", **wish}), hypervisor.snapshot(), ())
    (step,) = plan.steps  # type: ignore[union-attr]
    return step


def run(step: Step, hypervisor: FakeHypervisor, progress: Telling | None = None) -> dict[str, Any]:
    return dict(handler.run(SETTINGS, step, hypervisor, progress or Telling()))


def settled(step: Step, hypervisor: FakeHypervisor) -> Settled:
    return handler.settle(step, hypervisor)


def leftovers(hypervisor: FakeHypervisor) -> tuple[set[str], set[str]]:
    names = {vm.name for vm in hypervisor.snapshot().vms if vm.name.startswith("new")}
    return names, {name for _, _, name in hypervisor.volumes if name != "tiny.qcow2"}


# Creating


def test_a_vm_is_created_and_started() -> None:
    hypervisor = cluster()
    step: CreateVm = new(hypervisor)
    assert settled(step, hypervisor) is Settled.NOT_YET
    run(step, hypervisor)
    assert settled(step, hypervisor) is Settled.DONE
    made = hypervisor.snapshot().vm("new")
    assert (made.state, made.host, made.memory) == (VmState.RUNNING, step.host, GIB)
    assert (
        hypervisor.seeds[step.host, "pool", step.seed.removeprefix("pool/")].meta_data
        == step.meta_data
    )
    before = len(hypervisor.calls)
    run(step, hypervisor)
    again = [call[0] for call in hypervisor.calls[before:]]
    assert again == ["start", "leave_mark"], "what is there is not made twice"


@pytest.mark.parametrize("fails", ["create_volume", "upload_seed", "define", "start", "leave_mark"])
def test_a_half_created_vm_is_removed_and_told(fails: str) -> None:
    hypervisor = cluster()
    step = new(hypervisor)
    hypervisor.refuse(fails, f"{fails} broke.", "Mend it.")
    with pytest.raises(DroverError, match=f"{fails} broke") as caught:
        run(step, hypervisor)
    assert leftovers(hypervisor) == (set(), set())
    assert str(caught.value.advice) == "Mend it."
    assert ("removed again" in str(caught.value.text)) is (fails != "create_volume")
    assert settled(step, hypervisor) is Settled.NOT_YET
    run(step, hypervisor)
    assert settled(step, hypervisor) is Settled.DONE


def test_what_could_not_be_removed_again_is_told_with_its_place() -> None:
    hypervisor = cluster()
    step = new(hypervisor)
    hypervisor.refuse("start", "No memory.")
    hypervisor.refuse("undefine", "Locked.")
    with pytest.raises(StepLostError) as caught:
        run(step, hypervisor)
    assert "Locked" in str(caught.value.text)
    assert step.uuid in str(caught.value.advice)


def test_an_unreachable_host_is_waited_for_and_nothing_is_removed() -> None:
    hypervisor = cluster()
    step = new(hypervisor)
    with hypervisor._lock:
        hypervisor._refusals["define"] = [
            HostUnreachableError("host-a cannot be reached.", "Wait.")
        ]
    with pytest.raises(HostUnreachableError):
        run(step, hypervisor)
    assert leftovers(hypervisor)[1]
    run(step, hypervisor)
    assert settled(step, hypervisor) is Settled.DONE


def test_a_bot_killed_at_any_point_goes_on_to_the_same_end() -> None:
    whole = cluster(Cuttable)
    step = new(whole)
    run(step, whole)
    for at in range(len(whole.calls)):
        hypervisor = cluster(Cuttable)
        hypervisor.at = at
        with pytest.raises(Killed):
            run(step, hypervisor)
        assert settled(step, hypervisor) is Settled.NOT_YET
        hypervisor.at = None
        run(step, hypervisor)
        assert settled(step, hypervisor) is Settled.DONE
        assert leftovers(hypervisor) == leftovers(whole)


def test_a_missing_image_names_the_hosts_that_have_it() -> None:
    hypervisor = cluster()
    step = new(hypervisor, host="host-a")
    del hypervisor.volumes["host-a", "pool", "tiny.qcow2"]
    with pytest.raises(
        DroverError, match=r"host-a does not have the image pool/tiny\.qcow2"
    ) as caught:
        run(step, hypervisor)
    assert "--host=host-b" in str(caught.value.advice)
    del hypervisor.volumes["host-b", "pool", "tiny.qcow2"]
    with pytest.raises(DroverError) as caught:
        run(step, hypervisor)
    assert "No reachable host" in str(caught.value.advice)


def test_a_disk_smaller_than_its_image_is_refused() -> None:
    hypervisor = cluster()
    with pytest.raises(DroverError, match="smaller than the image") as caught:
        run(new(hypervisor, disk=32 * MIB), hypervisor)
    assert "--disk 1G" in str(caught.value.advice)


def test_of_several_vms_those_that_fail_are_removed_and_named() -> None:
    hypervisor = cluster()
    step: CreateVms = new(hypervisor, count=4)
    hypervisor.refuse("define", "No more.", "Ask less.")
    with pytest.raises(
        DroverError, match="1 of 4 VMs could not be made; the others exist"
    ) as caught:
        run(step, hypervisor)
    names, volumes = leftovers(hypervisor)
    assert len(names) == 3
    assert len(volumes) == 6
    assert "No more." in str(caught.value.text)
    assert settled(step, hypervisor) is Settled.NOT_YET
    assert run(step, hypervisor) == {"created": 4}
    assert settled(step, hypervisor) is Settled.DONE


def test_a_name_taken_since_the_plan_is_refused() -> None:
    hypervisor = cluster()
    step = new(hypervisor, host="host-a")
    other = replace(
        hypervisor.snapshot().vm("off-1"), host="host-b", name="new", uuid=uuid_of("other")
    )
    hypervisor.put(other)
    with pytest.raises(DroverError, match=f"{uuid_of('other')} on host-b"):
        run(step, hypervisor)
    assert leftovers(hypervisor) == ({"new"}, set())
    rename = off(RenameVm, "new")
    with pytest.raises(DroverError, match="on host-b"):
        run(rename, hypervisor)


def test_of_two_vms_created_at_once_with_one_name_neither_stays() -> None:
    class Racing(FakeHypervisor):
        other: Vm

        def define(self, host: str, blueprint: Blueprint) -> None:
            super().define(host, blueprint)
            self.put(self.other)

    hypervisor = cluster(Racing)
    step = new(hypervisor, host="host-a")
    off_1 = hypervisor.snapshot().vm("off-1")
    hypervisor.other = replace(off_1, host="host-b", name="new", uuid=uuid_of("other"))
    with pytest.raises(DroverError, match="removed again: its definition"):
        run(step, hypervisor)
    assert [vm.uuid for vm in hypervisor.snapshot().vms if vm.name == "new"] == [uuid_of("other")]
    assert leftovers(hypervisor)[1] == set()


# Cloning


def cloned(hypervisor: FakeHypervisor) -> CloneVm:
    """A step that clones ``new``, which is made first and stays off."""
    run(new(hypervisor, start=False), hypervisor)
    case = planner.VmInCluster(SETTINGS, hypervisor.snapshot().vm("new"), hypervisor.snapshot(), ())
    (step,), against = cloning.clone(NewClone("new", "new-copy"), case)
    assert against == ()
    assert isinstance(step, CloneVm)
    return step


def test_a_clone_has_its_own_name_disks_seed_and_nic() -> None:
    hypervisor = cluster()
    step = cloned(hypervisor)
    assert settled(step, hypervisor) is Settled.NOT_YET
    run(step, hypervisor)
    assert settled(step, hypervisor) is Settled.DONE
    source, copy = hypervisor.snapshot().vm("new"), hypervisor.snapshot().vm("new-copy")
    assert (copy.state, copy.host, copy.memory) == (VmState.SHUT_OFF, source.host, source.memory)
    assert source.detail is not None
    assert copy.detail is not None
    assert not {each.source for each in source.detail.disks} & {
        each.source for each in copy.detail.disks
    }
    assert not {each.mac for each in source.detail.nics} & {each.mac for each in copy.detail.nics}
    seed = hypervisor.seeds[step.host, "pool", step.seed[1].removeprefix("pool/")]
    assert '"local-hostname": "new-copy"' in seed.meta_data


@pytest.mark.parametrize("fails", ["create_volume", "upload_seed", "define_copy", "leave_mark"])
def test_a_half_made_clone_is_removed(fails: str) -> None:
    hypervisor = cluster()
    step = cloned(hypervisor)
    before = leftovers(hypervisor)
    hypervisor.refuse(fails, f"{fails} broke.", "Mend it.")
    with pytest.raises(DroverError, match=f"{fails} broke"):
        run(step, hypervisor)
    assert leftovers(hypervisor) == before


class Waiting(Telling):
    """Lets something happen once it has slept for some time."""

    def __init__(self, seconds: float, happens: Callable[[], object]) -> None:
        super().__init__()
        self._left, self._happens = seconds, happens

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.slept >= self._left:
            self._happens()


def test_a_disk_that_libvirt_still_copies_for_a_bot_that_ended_is_waited_for() -> None:
    hypervisor = cluster()
    step = cloned(hypervisor)
    wanted = (step.host, *step.disks[0][2].split("/"))
    hypervisor.volumes[wanted] = BASE
    hypervisor.busy_volumes.add(wanted)
    progress = Waiting(1800, hypervisor.busy_volumes.clear)
    run(step, hypervisor, progress)
    assert settled(step, hypervisor) is Settled.DONE
    assert any(f"{step.host} still makes or copies pool/" in str(said) for said in progress.said)


def test_a_copy_that_never_ends_is_an_error_that_names_the_volume() -> None:
    hypervisor = cluster()
    step = new(hypervisor)
    wanted = (step.host, *step.disk.split("/"))
    hypervisor.volumes[wanted] = BASE
    hypervisor.busy_volumes.add(wanted)
    with pytest.raises(StepLostError, match=f"making or copying {step.disk} for 2 h"):
        run(step, hypervisor)
    assert wanted in hypervisor.volumes


def test_a_vm_that_was_started_since_the_plan_is_not_cloned() -> None:
    hypervisor = cluster()
    step = cloned(hypervisor)
    hypervisor.start(step.host, step.source)
    with pytest.raises(DroverError, match="would be inconsistent"):
        run(step, hypervisor)
    assert "new-copy" not in leftovers(hypervisor)[0]


# Starting what may run elsewhere


def start() -> PowerVm:
    return PowerVm(uuid_of("off-1"), "off-1", "host-a", PowerVerb.START)


def test_what_runs_elsewhere_is_not_started() -> None:
    hypervisor = cluster()
    off = hypervisor.snapshot().vm("off-1")
    hypervisor.put(replace(off, host="host-b", state=VmState.RUNNING))
    with pytest.raises(StepLostError, match="running on host-b"):
        run(start(), hypervisor)
    assert settled(start(), hypervisor) is Settled.NOT_YET


def test_a_start_that_is_under_way_is_not_done_yet() -> None:
    """It may still fail; whoever asked for it may be gone."""
    hypervisor = cluster()
    off = hypervisor.snapshot().vm("off-1")
    hypervisor.put(replace(off, state=VmState.PAUSED, paused_by=STARTING_UP))
    assert settled(start(), hypervisor) is Settled.NOT_YET
    run(start(), hypervisor)
    assert settled(start(), hypervisor) is Settled.DONE


def test_a_silent_host_that_had_it_last_counts_as_having_it() -> None:
    hypervisor = cluster()
    off = hypervisor.snapshot().vm("off-1")
    hypervisor.put(replace(off, host="host-b", state=VmState.SHUT_OFF))
    hypervisor.down("host-b")
    with pytest.raises(StepLostError, match="may run on host-b"):
        run(start(), hypervisor)


def test_a_silent_host_never_heard_counts_too_and_one_that_had_not_does_not() -> None:
    hypervisor = cluster()
    hypervisor.down("host-b")
    run(start(), hypervisor)
    assert settled(start(), hypervisor) is Settled.DONE
    hypervisor.force_off("host-a", uuid_of("off-1"))
    hypervisor.change("host-b", seen_at=None)
    with pytest.raises(StepLostError, match="may run on host-b"):
        run(start(), hypervisor)


# Every other step


def web(kind: Callable[..., Step], *rest: Any) -> Step:
    return kind(uuid_of("web-1"), "web-1", "host-a", *rest)


def off(kind: Callable[..., Step], *rest: Any) -> Step:
    return kind(uuid_of("off-1"), "off-1", "host-a", *rest)


STEPS = [
    web(PowerVm, PowerVerb.SHUTDOWN),
    web(PowerVm, PowerVerb.FORCE_OFF),
    web(PowerVm, PowerVerb.PAUSE),
    off(PowerVm, PowerVerb.START),
    web(ResizeVm, 4, 4 * GIB),
    off(ResizeVm, 1, 2 * GIB),
    off(RenameVm, "other"),
    web(AutostartVm, True),  # noqa: FBT003 - the step's own field
    web(TagVm, (("owner", "ann"),)),
    off(DeleteVm, True, 3600),  # noqa: FBT003
    web(SnapshotVm, SnapshotVerb.CREATE, "clean"),
    web(AddDisk, "pool/more.qcow2", "vdb", GIB),
    web(AddNic, "bridge", "br0", "52:54:00:00:00:09"),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_a_step_settles_runs_and_settles(step: Step) -> None:
    hypervisor = cluster()
    assert settled(step, hypervisor) is Settled.NOT_YET
    run(step, hypervisor)
    assert settled(step, hypervisor) is Settled.DONE


def test_a_paused_vm_is_resumed() -> None:
    hypervisor = cluster()
    run(web(PowerVm, PowerVerb.PAUSE), hypervisor)
    step = web(PowerVm, PowerVerb.RESUME)
    assert settled(step, hypervisor) is Settled.NOT_YET
    run(step, hypervisor)
    assert settled(step, hypervisor) is Settled.DONE


def test_a_vm_that_ignores_a_shutdown_is_asked_twice_and_then_people_are() -> None:
    hypervisor, telling = cluster(), Telling()
    hypervisor.deaf.add(uuid_of("web-1"))
    with pytest.raises(StepAsksError, match="did not shut down within 10 s") as caught:
        run(web(PowerVm, PowerVerb.SHUTDOWN), hypervisor, telling)
    (choice,) = caught.value.remedies
    assert str(choice.text) == "Force off web-1…"
    assert shlex.split(choice.command)[:3] == ["vm", "force-off", "web-1"]
    assert [call[0] for call in hypervisor.calls] == ["shutdown", "shutdown"]
    assert telling.said


def test_waiting_for_a_shutdown_can_be_cancelled() -> None:
    hypervisor = cluster()
    hypervisor.deaf.add(uuid_of("web-1"))
    with pytest.raises(StepCancelledError, match="still running"):
        run(web(PowerVm, PowerVerb.SHUTDOWN), hypervisor, Telling(Ask.CANCEL))


def test_a_size_that_waits_for_a_restart_is_note() -> None:
    hypervisor, telling = cluster(), Telling()
    assert run(web(ResizeVm, 2, 4 * GIB), hypervisor, telling) == {
        "now": nwords("takes effect at the next start (now {n} vCPU, {memory})",
                      "takes effect at the next start (now {n} vCPUs, {memory})", n=2, memory=Size(2 * GIB))}  # fmt: skip
    assert "vm reboot web-1" in str(telling.notes[0])


def test_a_snapshot_is_reverted_to_once_for_each_request() -> None:
    hypervisor = cluster()
    run(web(SnapshotVm, SnapshotVerb.CREATE, "clean"), hypervisor)
    for token in ("one", "two"):
        back = web(SnapshotVm, SnapshotVerb.REVERT, "clean", "", token)
        assert settled(back, hypervisor) is Settled.NOT_YET
        run(back, hypervisor)
        assert settled(back, hypervisor) is Settled.DONE
    run(web(SnapshotVm, SnapshotVerb.DELETE, "clean"), hypervisor)
    assert hypervisor.snapshots("host-a", uuid_of("web-1")) == ()


def test_a_revert_takes_no_tag_away_and_brings_none_back() -> None:
    hypervisor = cluster()
    web_1 = ("host-a", uuid_of("web-1"))
    hypervisor.set_tags(*web_1, {"expires": "2001-01-01T00:00:00+00:00"})
    run(web(SnapshotVm, SnapshotVerb.CREATE, "clean"), hypervisor)
    hypervisor.set_tags(*web_1, {"owner": "ana"})
    run(web(SnapshotVm, SnapshotVerb.REVERT, "clean", "", "x", (("owner", "ana"),)), hypervisor)
    assert dict(hypervisor.snapshot().vm("web-1").tags) == {"owner": "ana"}


def test_a_snapshot_that_is_still_being_taken_for_a_bot_that_ended_is_waited_for() -> None:
    hypervisor = cluster()
    step = web(SnapshotVm, SnapshotVerb.CREATE, "clean")
    run(step, hypervisor)
    hypervisor.jobs_of_others.add(uuid_of("web-1"))
    assert settled(step, hypervisor) is Settled.NOT_YET
    progress = Waiting(120, hypervisor.jobs_of_others.clear)
    run(step, hypervisor, progress)
    assert any("job of web-1 is under way on host-a" in str(said) for said in progress.said)
    assert settled(step, hypervisor) is Settled.DONE
    assert len(hypervisor.snapshots("host-a", uuid_of("web-1"))) == 1


def test_a_snapshot_that_fails_after_its_bot_has_ended_is_taken_again() -> None:
    hypervisor = cluster()
    step = web(SnapshotVm, SnapshotVerb.CREATE, "clean")
    run(step, hypervisor)
    hypervisor.jobs_of_others.add(uuid_of("web-1"))

    def fail() -> None:
        hypervisor.jobs_of_others.clear()
        hypervisor.delete_snapshot("host-a", uuid_of("web-1"), "clean")

    run(step, hypervisor, Waiting(120, fail))
    assert settled(step, hypervisor) is Settled.DONE


def test_a_vm_is_deleted_undeleted_and_purged() -> None:
    hypervisor = cluster()
    step: CreateVm = new(hypervisor, start=False)
    run(step, hypervisor)
    who = (step.uuid, "new", step.host)
    run(DeleteVm(*who, remove_disks=True, grace=3600), hypervisor)
    assert hypervisor.snapshot().vm("new").tags["drover.disks"] == "remove"
    run(UndeleteVm(*who), hypervisor)
    assert "drover.deleted" not in hypervisor.snapshot().vm("new").tags
    purge = PurgeVm(*who, volumes=(step.disk, step.seed))
    with pytest.raises(DroverError, match="not marked as deleted"):
        run(purge, hypervisor)
    run(DeleteVm(*who, remove_disks=True, grace=0), hypervisor)
    run(purge, hypervisor)
    assert settled(purge, hypervisor) is Settled.DONE
    run(purge, hypervisor)
    assert leftovers(hypervisor) == (set(), set())


def test_autostart_is_disabled_by_a_deletion_and_restored() -> None:
    hypervisor = cluster()
    run(off(AutostartVm, True), hypervisor)  # noqa: FBT003
    delete = off(DeleteVm, True, 3600)  # noqa: FBT003
    hypervisor.refuse("set_autostart", "Not now.")
    with pytest.raises(DroverError, match="Not now"):
        run(delete, hypervisor)
    assert settled(delete, hypervisor) is Settled.NOT_YET, "it would start with its host"
    run(delete, hypervisor)
    assert settled(delete, hypervisor) is Settled.DONE
    assert not hypervisor.autostart("host-a", uuid_of("off-1"))
    run(off(UndeleteVm), hypervisor)
    assert hypervisor.autostart("host-a", uuid_of("off-1"))
    assert dict(hypervisor.snapshot().vm("off-1").tags) == {}


def test_what_was_started_meanwhile_is_neither_deleted_nor_purged() -> None:
    hypervisor = cluster()
    with pytest.raises(DroverError, match=r"runs on host-a\. Nothing was removed"):
        run(web(DeleteVm, True, 0), hypervisor)  # noqa: FBT003
    hypervisor.set_tags("host-a", uuid_of("web-1"), {"drover.deleted": "2026-01-01T00:00:00+00:00"})
    with pytest.raises(DroverError, match="Nothing was removed"):
        run(web(PurgeVm, ()), hypervisor)


def test_a_disk_that_cannot_be_plugged_in_is_removed_again() -> None:
    hypervisor = cluster()
    hypervisor.refuse("attach_disk", "No port.", "Shut it down.")
    with pytest.raises(DroverError, match=r"removed again: pool/more\.qcow2"):
        run(web(AddDisk, "pool/more.qcow2", "vdb", GIB), hypervisor)
    assert leftovers(hypervisor)[1] == set()


def test_a_disk_that_was_plugged_in_after_all_is_never_removed() -> None:
    class Lying(FakeHypervisor):
        def attach_disk(self, host: str, uuid: str, disk: GuestDisk) -> None:
            super().attach_disk(host, uuid, disk)
            raise HypervisorError("The answer was lost.", "Look.")

    hypervisor, step = cluster(Lying), web(AddDisk, "pool/more.qcow2", "vdb", GIB)
    with pytest.raises(HypervisorError, match="answer was lost"):
        run(step, hypervisor)
    assert leftovers(hypervisor)[1] == {"more.qcow2"}
    assert settled(step, hypervisor) is Settled.DONE


def test_a_disk_grows_and_a_nic_is_removed() -> None:
    hypervisor = cluster()
    run(web(AddDisk, "pool/more.qcow2", "vdb", GIB), hypervisor)
    grow = web(GrowDisk, "vdb", 2 * GIB)
    assert settled(grow, hypervisor) is Settled.NOT_YET
    run(grow, hypervisor)
    assert settled(grow, hypervisor) is Settled.DONE
    run(web(AddNic, "bridge", "br0", "52:54:00:00:00:09"), hypervisor)
    gone = web(RemoveNic, "52:54:00:00:00:09")
    assert settled(gone, hypervisor) is Settled.NOT_YET
    run(gone, hypervisor)
    assert settled(gone, hypervisor) is Settled.DONE


def test_a_vm_that_is_not_there_any_more_is_a_clear_error() -> None:
    hypervisor = cluster()
    nobody = replace(STEPS[4], uuid="00000000-0000-4000-8000-000000000000")  # type: ignore[call-arg]
    with pytest.raises(DroverError, match="not on host-a any more"):
        settled(nobody, hypervisor)


def test_an_unreachable_host_is_no_answer() -> None:
    hypervisor = cluster()
    hypervisor.down("host-a")
    with pytest.raises(HostUnreachableError):
        settled(web(PowerVm, PowerVerb.SHUTDOWN), hypervisor)
