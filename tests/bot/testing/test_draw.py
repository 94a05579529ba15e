"""Clusters drawn as text."""

from functools import cache

import pytest

from bot.adapters.language import Language, Languages
from bot.domain.cluster import GIB, MIB, Health, VmState
from bot.testing import DrawingError, draw_cluster, uuid_of

CLUSTER = """
    # two racks
    host-a 16cpu 64G reserve 2G [rack=1] | web-1 4G 2cpu load 0.5 dirty 20M [env=prod owner=ann] | db-1 8G off autostart
    host-b 8cpus 32GiB load 1.5           | app-1 512M paused   # a comment

    host-c 8cpu 32G maintenance           | tmp-1 1G transient load 0
    host-d 8cpu 32G down
    host-e 8cpu 32G stale | old-1 1G
"""


def test_a_host_is_as_drawn() -> None:
    host = draw_cluster(CLUSTER).host("host-a")
    assert (host.cpus, host.memory, host.reserve, dict(host.tags)) == (
        16,
        64 * GIB,
        2 * GIB,
        {"rack": "1"},
    )
    assert host.up
    assert host.memory_free == 60 * GIB, "its running guest counts, the one that is off does not"
    assert (host.hostname, host.migrate_address) == ("host-a", "")


def test_host_words() -> None:
    cluster = draw_cluster(CLUSTER)
    assert cluster.host("host-b").cpu == 1.5
    assert cluster.host("host-a").cpu is None
    assert cluster.host("host-c").maintenance
    assert not cluster.host("host-a").maintenance
    assert cluster.host("host-d").health is Health.UNREACHABLE
    assert cluster.host("host-e").health is Health.STALE
    assert cluster.host("host-d").problem
    assert [vm.name for vm in cluster.on("host-e")] == ["old-1"], (
        "the guests of a lost host are as last seen"
    )


def test_a_guest_is_as_drawn() -> None:
    vm = draw_cluster(CLUSTER).vm("web-1")
    assert (vm.host, vm.state, vm.vcpus, vm.memory, vm.cpu) == (
        "host-a",
        VmState.RUNNING,
        2,
        4 * GIB,
        0.5,
    )
    assert (vm.dirty_rate, dict(vm.tags)) == (20 * MIB, {"env": "prod", "owner": "ann"})
    assert vm.detail is not None
    assert vm.detail.machine in draw_cluster(CLUSTER).host("host-a").machines


def test_guest_words() -> None:
    cluster = draw_cluster(CLUSTER)
    assert (cluster.vm("db-1").state, cluster.vm("db-1").autostart) == (VmState.SHUT_OFF, True)
    assert (cluster.vm("app-1").state, cluster.vm("app-1").paused_by) == (VmState.PAUSED, "user")
    assert (cluster.vm("app-1").vcpus, cluster.vm("app-1").cpu) == (1, None)
    assert (cluster.vm("tmp-1").persistent, cluster.vm("tmp-1").cpu) == (False, 0.0)


def test_uuids_stay_the_same() -> None:
    assert (
        draw_cluster(CLUSTER).vm("web-1").uuid
        == uuid_of("web-1")
        == draw_cluster("h 1cpu 8G | web-1 1G").vm("web-1").uuid
    )


@cache  # reading all that the bot says takes longer than the tests
def portuguese() -> Language:
    return Languages().of("pt_BR")


def test_drawing_twice_gives_equal_snapshots() -> None:
    assert draw_cluster(CLUSTER) == draw_cluster(CLUSTER)


@pytest.mark.parametrize(
    ("text", "line", "about"),
    [
        ("host-a 64G", "Line 1", "needs CPUs and memory"),
        ("host-a 4cpu", "Line 1", "needs CPUs and memory"),
        ("\nhost-a 4cpu 8G | web-1", "Line 2", "web-1 needs memory"),
        ("host-a 4cpu 8G | web-1 1G laod 0.5", "Line 1", "Did you mean “load”?"),
        ("host-a 4cpu 8G maintainance", "Line 1", "Did you mean “maintenance”?"),
        ("host-a 4cpu 8G xyzzy", "Line 1", "Known words: reserve"),
        ("host-a 4cpu 8G | web-1 1G load", "Line 1", "needs a value"),
        ("host-a 4cpu 8G | web-1 1G load much", "Line 1", "no number"),
        ("host-a 4cpu 8G reserve lots", "Line 1", "is not a size"),
        ("host-a 4cpu 8G | web-1 1G 2G", "Line 1", "one too many"),
        ("host-a 4cpu 8G 4cpu", "Line 1", "one too many"),
        ("host-a 4cpu 8G load 1 load 2", "Line 1", "one too many"),
        ("host-a 4cpu 8G | web-1 1G [prod]", "Line 1", "“prod” is no tag"),
        ("host-a 4cpu 8G | web-1 1G [env=prod", "Line 1", "bracket"),
        ("host-a 4cpu 8G | | web-1 1G", "Line 1", "is no name"),
        ("host-a 4cpu 8G | -x 1G", "Line 1", "“-x” is no name"),
        ("host-a 4cpu 8G down stale", "Line 1", "both `down` and `stale`"),
        ("host-a 4cpu 8G | web-1 1G off paused", "Line 1", "both `off` and `paused`"),
        ("host-a 4cpu 8G\nhost-a 4cpu 8G", "Line 2", "“host-a” is there twice"),
        ("host-a 4cpu 8G | v 1G\nhost-b 4cpu 8G | v 1G", "Line 2", "“v” is there twice"),
        ("# nothing", "The drawing", "no host"),
    ],
)
def test_bad_text_is_refused_with_its_line_and_what_to_write(
    text: str, line: str, about: str
) -> None:
    with pytest.raises(DrawingError) as caught:
        draw_cluster(text)
    assert line in str(caught.value.text)
    assert about in str(caught.value)
    assert caught.value.advice
    assert str(portuguese().translate(caught.value.text)) != str(caught.value.text)
