"""Answers about 300 hosts, of which many are in trouble: a page that a person can read, and the rest as a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.slack.blocks import render
from bot.domain.capacity import Room, rooms
from bot.domain.cluster import Disk, Host, Snapshot, VmDetail
from bot.domain.storage import shared_names
from bot.flow.monitoring.definitions import KeptDefinitions
from plugins.failover import candidates, places
from tests.bot.flow.small_bot import Bot, small_bot, text

HOSTS = 300
PLUGINS = ("monitor", "balance", "migrate", "vm_lifecycle", "host_check", "failover")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    cluster = "\n".join(f"host-{n:03} 16cpu 64G | vm-{n} 2G" for n in range(HOSTS))
    bot = small_bot(Path(tmp_path_factory.mktemp("crowd")), cluster, PLUGINS)
    for n in range(0, HOSTS, 2):
        bot.hypervisor.down(f"host-{n:03}", "no route to host" if n < 200 else f"problem {n}")
    yield bot
    bot.store.close()


def blocks_of(bot: Bot, line: str) -> list[Any]:
    card = bot.types(line)
    assert card is not None, line
    _, blocks = render(card)
    return list(blocks)


@pytest.mark.parametrize(
    "line",
    ["hosts", "status", "vms", "fits", "failover status", "forecast", "host check", "alerts"],
)
def test_an_answer_is_a_page_that_a_person_can_read(crowd: Bot, line: str) -> None:
    blocks = blocks_of(crowd, line)
    assert len(blocks) <= 40
    rows = [len(each["rows"]) for each in blocks if each["type"] == "table"]
    assert max(rows, default=0) <= 31
    texts = [
        each["text"]["text"] for each in blocks if each["type"] == "section" and "text" in each
    ]
    assert max(map(len, texts), default=0) <= 1200


def test_hosts_with_the_same_problem_are_told_together(crowd: Bot) -> None:
    told = json.dumps(blocks_of(crowd, "hosts"))
    assert "*host-000, host-002, host-004, host-006, host-008 and 95 more* do not answer: " in told
    assert "*host-200* does not answer: problem 200" in told
    assert "41 more hosts do not answer." in told


def test_failover_shows_hosts_with_trouble_first_and_all_in_the_file(crowd: Bot) -> None:
    card = crowd.types("failover status")
    assert card is not None
    assert card.export is not None
    assert len(card.export.rows) == HOSTS
    (table,) = [each for each in blocks_of(crowd, "failover status") if each["type"] == "table"]
    assert len(table["rows"]) == 31
    assert "270 more hosts are in the file" in json.dumps(blocks_of(crowd, "failover status"))


def test_a_host_that_answers_is_up_before_it_is_measured(tmp_path: Path) -> None:
    """Right after the bot's start, until the first sweep is over."""
    bot = small_bot(tmp_path, "host-a 16cpu 64G | web-1 4G\nhost-b 16cpu 64G", PLUGINS)
    bot.hypervisor.down("host-b")
    (table,) = [each for each in blocks_of(bot, "status") if each["type"] == "table"]
    rows = {row[0]["text"]: json.dumps(row) for row in table["rows"][1:]}
    assert "unreachable" not in rows["host-a"]
    assert "unreachable" in rows["host-b"]
    bot.store.close()


@pytest.fixture
def on_shared_disks(tmp_path: Path) -> Iterator[Bot]:
    """Twenty hosts with a VM each, whose definition is kept and whose disk every host reaches."""
    cluster = "\n".join(f"host-{n:02} 16cpu 64G | vm-{n} 2G" for n in range(20))
    bot = small_bot(tmp_path, cluster, PLUGINS)
    for vm in bot.hypervisor.snapshot().vms:
        disk = Disk("vda", "network", f"nbd://store/{vm.name}")
        bot.hypervisor.put(replace(vm, detail=VmDetail(disks=(disk,))))
    KeptDefinitions(bot.hypervisor, bot.store, bot.clock).keep(bot.hypervisor.snapshot())
    yield bot
    bot.store.close()


def test_who_writes_to_which_disk_is_looked_up_once_for_all_hosts(
    on_shared_disks: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each host anew it was the square of the cluster."""
    looks: list[str] = []

    def look(host: Host, detail: VmDetail) -> dict[str, Disk]:
        looks.append(host.name)
        return shared_names(host, detail)

    monkeypatch.setattr(candidates, "shared_names", look)
    assert "20 of 20 running VMs" in text(on_shared_disks.types("failover status"))
    assert len(looks) == 40, "each VM as one that may write, and as one that may be lost"


def test_the_room_of_all_hosts_is_looked_up_once_for_the_loss_of_each(
    on_shared_disks: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Snapshot] = []

    def look(seen: Snapshot, ratio: float) -> dict[str, Room]:
        looks.append(seen)
        return rooms(seen, ratio)

    monkeypatch.setattr(places, "rooms", look)
    assert "20 of 20 running VMs" in text(on_shared_disks.types("failover status"))
    assert len(looks) == 1
