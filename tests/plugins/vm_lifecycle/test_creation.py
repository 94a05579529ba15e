"""What new guests are planned, where they go and why, and all that is refused, with what would fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bot import catalog
from bot.domain import codec
from bot.domain.cluster import GIB, MIB, Health, Pool, Snapshot
from bot.domain.plan import Plan, Refused, Risk
from bot.domain.unread import Unread
from bot.flow.commands.parse import as_typed, parse
from bot.ports.guests import Volume
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from plugins.vm_lifecycle import creation, forms, handler
from plugins.vm_lifecycle.intents import NewVms
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import CreateVm, CreateVms

TABLE = {
    "images": {
        "debian": {
            "base": "pool/debian.qcow2",
            "user": "debian",
            "least_memory": "512M",
            "least_disk": "2G",
        },
        "old": {"base": "pool/old.qcow2", "clone": "copy"},
    },
    "sizes": {"small": {"cpus": 1, "memory": "1G", "disk": "5G"}},
    "default_image": "debian",
    "pool": "pool",
    "network": "br0",
    "ssh_keys": ["ssh-ed25519 AAAA site"],
}
SETTINGS = VmLifecycleSettings.model_validate(TABLE)
POOL = Pool("pool", "dir", "/pool", active=True, autostart=True, capacity=200 * GIB, free=100 * GIB)


def cluster(text: str = "") -> Snapshot:
    seen = draw_cluster(
        text
        or """
        host-a 16cpu 64G reserve 2G | web-1 40G [env=prod]
        host-b 16cpu 64G reserve 2G | off-1 2G off
        host-c 8cpu 32G reserve 2G
        """
    )
    return replace(seen, hosts=tuple(replace(host, pools=(POOL,)) for host in seen.hosts))


def planned(
    snapshot: Snapshot | None = None, settings: VmLifecycleSettings = SETTINGS, **wish: Any
) -> Plan:
    answer = creation.plan(settings, NewVms(**{"name": "new", **wish}), snapshot or cluster(), ())
    assert isinstance(answer, Plan), answer
    return answer


def refused(snapshot: Snapshot | None = None, **wish: Any) -> dict[str, str]:
    answer = creation.plan(SETTINGS, NewVms(**{"name": "new", **wish}), snapshot or cluster(), ())
    assert isinstance(answer, Refused), answer
    assert all(each.remedy for each in answer.objections if each.code != "would-fit")
    told: dict[str, str] = {}
    for each in answer.objections:
        told[each.code] = f"{told.get(each.code, '')} {each.text} {each.remedy}".strip()
    return told


def step(plan: Plan) -> CreateVm:
    (only,) = plan.steps
    assert isinstance(only, CreateVm)
    return only


def test_a_vm_is_complete_in_its_step() -> None:
    plan = planned(size="small", tags=(("env", "dev"),))
    made = step(plan)
    assert plan.risk is Risk.MEDIUM
    assert (made.vcpus, made.memory, made.capacity) == (1, GIB, 5 * GIB)
    assert (made.base, made.full_copy, made.network_kind, made.network) == (
        "pool/debian.qcow2",
        False,
        "bridge",
        "br0",
    )
    assert made.disk == f"pool/new-{made.uuid[:8]}.qcow2"
    assert made.seed == f"pool/new-{made.uuid[:8]}-seed.qcow2"
    assert made.mac.startswith("52:54:00:")
    assert dict(made.tags) == {"env": "dev", "image": "debian"}
    assert plan.tags == ("env=dev", "image=debian")
    assert plan.blast.vms == ("new",)


def test_what_cloud_init_is_told() -> None:
    made = step(
        planned(ssh_keys=("ssh-rsa AAAABBBB mine",), address="10.0.0.5/24", gateway="10.0.0.1")
    )
    assert json.loads(made.meta_data) == {"instance-id": made.uuid, "local-hostname": "new"}
    (person,) = json.loads(made.user_data.removeprefix("#cloud-config\n"))["users"]
    assert person["name"] == "debian"
    assert person["ssh_authorized_keys"] == ["ssh-ed25519 AAAA site", "ssh-rsa AAAABBBB mine"]
    (card,) = json.loads(made.network_config)["ethernets"].values()
    assert card["match"] == {"macaddress": made.mac}
    assert card["addresses"] == ["10.0.0.5/24"]
    assert card["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]
    assert not made.vendor_data


def test_given_user_data_replaces_ours() -> None:
    made = step(planned(user_data="#!/bin/sh\ntrue"))
    assert made.user_data == "#!/bin/sh\ntrue"
    assert made.vendor_data.startswith("#cloud-config\n")
    assert json.loads(made.network_config)["ethernets"]["primary"]["dhcp4"] is True


def test_the_best_host_is_chosen_and_explained() -> None:
    plan = planned()
    assert step(plan).host == "host-b"
    assert any(
        "host-b" in str(each.text) and "least full" in str(each.text) for each in plan.reasons
    )
    bars = {bar.host: bar for bar in plan.bars}
    assert bars["host-b"].memory_after > bars["host-b"].memory_before
    assert bars["host-a"].memory_after == bars["host-a"].memory_before


def test_a_host_that_is_asked_for_is_taken() -> None:
    assert step(planned(host="host-c")).host == "host-c"


def test_several_are_spread_and_fill_hosts_one_after_the_other() -> None:
    plan = planned(count=6, address="10.0.0.10/24", memory=8 * GIB)
    (many,) = plan.steps
    assert isinstance(many, CreateVms)
    hosts = [each.host for each in many.guests]
    assert {host: hosts.count(host) for host in hosts} == {"host-a": 2, "host-b": 2, "host-c": 2}
    assert [each.name for each in many.guests] == [f"new-{number}" for number in range(1, 7)]
    assert len({each.uuid for each in many.guests} | {each.mac for each in many.guests}) == 12
    assert all(dict(each.tags)["apart"] == "new" for each in many.guests)
    told = [
        json.loads(each.network_config)["ethernets"]["primary"]["addresses"][0]
        for each in many.guests
    ]
    assert told == [f"10.0.0.{number}/24" for number in range(10, 16)]


def test_tags_decide_the_host() -> None:
    assert step(planned(tags=(("pin", "host-a, host-c"),))).host == "host-c"
    assert step(planned(tags=(("pin", "yes"),))).host == "host-b"
    assert "host-c" in refused(host="host-b", tags=(("pin", "host-a,host-c"),))["pinned"]
    seen = cluster("host-a 16cpu 64G | web-1 40G [together=shop]\nhost-b 16cpu 64G")
    assert step(planned(seen, tags=(("together", "shop"),))).host == "host-a"
    assert "host-a" in refused(seen, host="host-b", tags=(("together", "shop"),))["together"]
    seen = cluster("host-a 16cpu 64G | web-1 40G\nhost-b 16cpu 64G | web-2 1G [apart=web]")
    assert step(planned(seen, tags=(("apart", "web"),))).host == "host-a"


def test_several_that_do_not_fit_together_are_refused() -> None:
    told = refused(count=4, memory=30 * GIB)
    assert "memory" in told
    assert "Free memory and disk" in told["would-fit"]


def test_a_name_that_is_taken_is_refused_with_where() -> None:
    told = refused(name="off-1")["name-taken"]
    assert uuid_of("off-1") in told
    assert "host-b (powered off)" in told


def test_a_name_on_a_silent_host_is_taken_too() -> None:
    seen = cluster("host-a 16cpu 64G\nhost-b 16cpu 64G down | ghost 2G")
    assert "running when the host was last seen" in refused(seen, name="ghost")["name-taken"]


def test_a_host_nobody_has_heard_is_warned_of() -> None:
    seen = cluster("host-a 16cpu 64G\nhost-b 16cpu 64G down")
    seen = replace(
        seen, hosts=(seen.hosts[0], replace(seen.hosts[1], seen_at=None, health=Health.UNREACHABLE))
    )
    assert [each.code for each in planned(seen).warnings] == ["never-seen"]


@pytest.mark.parametrize("name", ["Web", "web_1", "-web", "web-", "w" * 64, "web.1", "", "wéb"])
def test_names_are_labels_of_rfc_1123(name: str) -> None:
    assert "bad-name" in refused(name=name)


def test_a_long_name_counts_with_its_number() -> None:
    assert "bad-name" in refused(name="w" * 62, count=2)
    assert step(planned(name="w" * 63)).name == "w" * 63


@pytest.mark.parametrize(
    ("wish", "code", "says"),
    [
        ({"image": "debain"}, "no-image", "Did you mean “debian”?"),
        ({"size": "smal"}, "no-size", "Did you mean “small”?"),
        ({"memory": 100 * MIB}, "too-little-memory", "--memory 512M"),
        ({"disk": GIB}, "too-little-disk", "--disk 2048M"),
        ({"network": "br1"}, "network", "Did you mean “br0”?"),
        ({"memory": 70 * GIB}, "memory", "host-b has room for 62 GiB"),
        ({"disk": 101 * GIB}, "disk-space", "100 GiB free"),
        ({"cpus": 17}, "cpus", "host-a has 16 CPUs"),
        ({"host": "host-x"}, "unknown-host", "host-x"),
        ({"user": "Ana B"}, "bad-user", "lower case letters"),
        ({"user_data": "packages: []"}, "bad-user-data", "#cloud-config"),
        ({"address": "10.0.0.5.6"}, "bad-address", "10.0.0.5/24"),
        ({"address": "10.0.0.5"}, "bad-address", "10.0.0.5/24"),
        ({"gateway": "10.0.0.1"}, "bad-gateway", "together with a fixed address"),
        ({"ssh_keys": ("abc",)}, "bad-key", "`.pub` file"),
        ({"address": "10.0.0.254/24", "count": 3}, "bad-address", "3 addresses"),
        ({"address": "10.0.0.5/24", "gateway": "gw"}, "bad-gateway", "10.0.0.1"),
        ({"count": 51}, "too-many", "50"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would(
    wish: dict[str, Any], code: str, says: str
) -> None:
    assert says in refused(**wish)[code]


def test_a_refusal_for_room_tells_what_is_left() -> None:
    assert "host-b 62 GiB and 100 GiB" in refused(memory=70 * GIB)["would-fit"]


def test_hosts_in_maintenance_and_without_the_pool_get_nothing() -> None:
    seen = cluster("host-a 16cpu 64G maintenance\nhost-b 16cpu 64G | x 1G\nhost-c 16cpu 64G")
    seen = replace(seen, hosts=(seen.hosts[0], seen.hosts[1], replace(seen.hosts[2], pools=())))
    plan = planned(seen)
    assert step(plan).host == "host-b"
    assert {"not-maintenance", "not-pool"} <= {each.code for each in plan.reasons}


def test_a_ttl_is_stored_with_its_moment() -> None:
    tags = dict(step(planned(tags=(("ttl", "2d"),))).tags)
    assert tags == {"image": "debian", "ttl": "2d", "expires": "2026-01-07T09:00:00+00:00"}


def test_a_plan_stays_good_until_memory_or_name_is_taken() -> None:
    wish, plan = NewVms("new"), planned()
    assert creation.still_good(SETTINGS, wish, plan, cluster(), ()) == ()
    seen = cluster(
        "host-a 16cpu 64G\nhost-b 16cpu 64G reserve 2G | big 61G | new 1M off\nhost-c 8cpu 32G"
    )
    codes = {each.code for each in creation.still_good(SETTINGS, wish, plan, seen, ())}
    assert {"memory", "name-taken"} <= codes


def test_plans_and_intents_are_stored_and_read_back() -> None:
    loaded = catalog.load(("vm_lifecycle",), {"vm_lifecycle": TABLE})
    wish = parse(
        loaded,
        "/kvm",
        "vm create new --count 2 --tag env=dev --address 10.0.0.5/24 --user-data '#!/x'",
    ).intent
    plan = creation.plan(SETTINGS, wish, cluster(), ())
    assert loaded.codec().loads(codec.text(plan)) == plan
    assert loaded.codec().loads(codec.text(wish)) == wish


def test_the_dialogs_fields_are_the_commands_own() -> None:
    loaded = catalog.load(("vm_lifecycle",), {"vm_lifecycle": TABLE})
    known = {parameter.name for parameter in loaded.commands["vm create"].grammar.params}
    assert {field.name for field in forms.create(SETTINGS).fields} <= known
    answers = {
        "name": "web",
        "size": "small",
        "tags": "env=dev",
        "count": "2",
        "user_data": "#!/bin/sh\necho 'hi'",
    }
    line = f"vm create {as_typed(loaded.commands['vm create'].grammar, answers)}"
    wish = parse(loaded, "/kvm", line).intent
    assert (wish.name, wish.size, wish.tags, wish.count) == ("web", "small", (("env", "dev"),), 2)
    assert wish.user_data == "#!/bin/sh\necho 'hi'"


# What is found on the hosts before anybody is asked


def surveyed(hypervisor: FakeHypervisor, **wish: Any) -> Plan | Refused:
    intent = handler.add_image_sizes(
        SETTINGS, NewVms(**{"name": "new", **wish}), hypervisor.snapshot(), hypervisor
    )
    return creation.plan(SETTINGS, intent, hypervisor.snapshot(), ())


def with_images(*hosts: str, size: int = 2 * GIB) -> FakeHypervisor:
    made = FakeHypervisor(cluster(), TickingClock())
    for host in hosts:
        made.volumes[host, "pool", "debian.qcow2"] = Volume(
            "pool", "debian.qcow2", "/debian.qcow2", size, MIB
        )
    return made


def test_a_missing_image_is_found_before_anybody_is_asked() -> None:
    plan = surveyed(with_images("host-b"))
    assert isinstance(plan, Plan)
    assert plan.blast.hosts == ("host-b",)
    assert any(
        "host-a does not have the image pool/debian.qcow2" in str(reason.text)
        for reason in plan.reasons
    )
    there = surveyed(with_images("host-b"), host="host-a")
    assert isinstance(there, Refused)
    (missing,) = [each for each in there.objections if each.code == "no-base"]
    assert "--host=host-b" in str(missing.remedy)
    nowhere = surveyed(with_images())
    assert isinstance(nowhere, Refused)
    (missing, _) = nowhere.objections
    assert str(missing.text) == "No reachable host has the image pool/debian.qcow2."
    assert "virsh pool-refresh pool" in str(missing.remedy)


def test_an_image_larger_than_the_disk_is_found_too() -> None:
    small = surveyed(with_images("host-a", "host-b", "host-c", size=9 * GIB), disk=3 * GIB)
    assert isinstance(small, Refused)
    assert {each.code for each in small.objections} == {"too-little-disk", "would-fit"}
    assert "--disk 9216M" in str(small.objections[0].remedy)


def test_a_host_that_cannot_be_asked_for_the_image_is_not_ruled_out() -> None:
    hypervisor = with_images("host-a", "host-b")
    hypervisor.refuse("volume", "Not now.", times=3)
    intent = handler.add_image_sizes(SETTINGS, NewVms("new"), hypervisor.snapshot(), hypervisor)
    assert intent.bases == ()
    assert isinstance(creation.plan(SETTINGS, intent, hypervisor.snapshot(), ()), Plan)


def test_an_image_removed_after_the_vote_makes_the_plan_stale() -> None:
    hypervisor = with_images("host-a")
    plan = surveyed(hypervisor, host="host-a")
    assert isinstance(plan, Plan)
    hypervisor.volumes.clear()
    intent = handler.add_image_sizes(
        SETTINGS, NewVms("new", host="host-a"), hypervisor.snapshot(), hypervisor
    )
    against = creation.still_good(SETTINGS, intent, plan, hypervisor.snapshot(), ())
    assert [each.code for each in against] == ["no-base"]


def test_disks_of_several_vms_count_together() -> None:
    placed = [each.host for each in creation.guests(planned(count=9, disk=30 * GIB, memory=GIB))]
    assert {host: placed.count(host) for host in placed} == {"host-a": 3, "host-b": 3, "host-c": 3}
    told = refused(count=10, disk=30 * GIB, memory=GIB)
    assert "has 10 GiB free, the disk needs 30 GiB" in told["disk-space"]
    shared = replace(POOL, shared=True)
    seen = cluster()
    seen = replace(seen, hosts=tuple(replace(host, pools=(shared,)) for host in seen.hosts))
    assert "disk-space" in refused(seen, count=4, disk=30 * GIB, memory=GIB)


def test_a_refusal_of_many_hosts_says_once_what_is_the_same_everywhere_and_names_some() -> None:
    many = cluster("\n".join(f"host-{number:02} 16cpu 8G" for number in range(30)))
    answer = creation.plan(SETTINGS, NewVms("new", network="br1", memory=9 * GIB), many, ())
    assert isinstance(answer, Refused)
    told = [str(each.text) for each in answer.objections]
    assert told[0] == "No host has a network or bridge “br1”. There are: br0, default."
    assert told[1].startswith("host-00 has room for 8 GiB")
    assert told[-2] == "26 more hosts cannot take it either."
    assert told[-1].endswith(" and 22 more.")
    assert len(told) == 7


def mixed() -> Snapshot:
    """In the middle of an upgrade: host-a has old QEMU, the others new."""
    seen = cluster()
    new = frozenset({"pc", "q35", "pc-q35-10.0", "pc-q35-7.2"})
    old, *rest = seen.hosts
    return replace(seen, hosts=(old, *(replace(host, machines=new) for host in rest)))


def test_a_new_vm_gets_the_newest_machine_type_that_all_hosts_know_and_its_plan_says_so() -> None:
    plan = planned(mixed(), host="host-b")
    assert step(plan).machine == "pc-q35-7.2"
    (told,) = [each.text for each in plan.reasons if each.code == "machine"]
    assert "pc-q35-7.2, the newest that all hosts know" in str(told)
    assert "pc-q35-10.0 of host-b" in str(told)


def test_where_its_host_has_nothing_newer_nothing_is_said_of_machine_types() -> None:
    for seen in (mixed(), cluster()):
        plan = planned(seen, host="host-a")
        assert step(plan).machine == "pc-q35-7.2"
        assert not [each for each in plan.reasons if each.code == "machine"]


def test_a_setting_leaves_the_machine_type_to_the_host() -> None:
    settings = SETTINGS.model_copy(update={"machine_version": "newest"})
    plan = planned(mixed(), settings, host="host-b")
    assert step(plan).machine == "q35"
    assert not [each for each in plan.reasons if each.code == "machine"]


def test_a_bridge_of_a_host_that_cannot_list_them_is_taken_and_warned_of() -> None:
    """As on Debian 13, which does not install libvirt's driver for interfaces by itself."""
    unread = (Unread("interface", "", "no driver"),)
    seen = cluster()
    hosts = tuple(replace(each, bridges=frozenset(), unread=unread) for each in seen.hosts)
    plan = planned(replace(seen, hosts=hosts), host="host-b", network="br7")
    assert (step(plan).network_kind, step(plan).network) == ("bridge", "br7")
    assert [each.code for each in plan.warnings] == ["network-unknown"]
    assert "network" in refused(seen, host="host-b", network="br7")


@pytest.mark.parametrize(
    ("images", "default", "line"),
    [
        ((), "", "vm create web-2 --image debian"),
        (("rocky", "ubuntu"), "", "vm create web-2 --image rocky"),
        (("rocky", "ubuntu"), "ubuntu", "vm create web-2 --image ubuntu"),
    ],
)
def test_the_example_names_an_image_that_there_is(
    images: tuple[str, ...], default: str, line: str
) -> None:
    table = {
        "images": {name: {"base": f"pool/{name}.qcow2"} for name in images},
        "default_image": default,
    }
    found = catalog.load(["vm_lifecycle"], {"vm_lifecycle": table})
    assert found.action("vm create").example == line
