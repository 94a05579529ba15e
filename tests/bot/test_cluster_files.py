"""Clusters in files, and the terminal's planner on them: the same plan as chat's, judged step by step from outside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.clusters.generate import generate
from bench.clusters.judge import judge
from bot import catalog
from bot.__main__ import drover
from bot.cluster_files import snapshot_from
from bot.domain import codec
from bot.domain.cluster import GIB, Pool
from bot.domain.errors import DroverError
from bot.ports.guests import Volume
from bot.testing import FakeHypervisor, TickingClock, draw_cluster

SMALL = {
    "vcpu_ratio": 3.0,
    "hosts": [{"name": "h0", "mem": 4096, "reserve": 512, "cores": 8, "drain": True}],
    "vms": [{"name": "v0", "mem": 1024, "vcpus": 2, "cpu": 0.5, "aa": "db", "host": "h0"}],
}


def reader() -> codec.Codec:
    return catalog.load(["migrate", "balance"]).codec()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "drover.toml"
    path.write_text('[plugins]\nenabled = ["migrate", "balance"]\n', encoding="utf-8")
    return path


def planned(config: Path, *words: str) -> Result:
    return CliRunner().invoke(drover, ["--config", str(config), "plan", "balance", *words])


def written(path: Path, cluster: object) -> Path:
    path.write_text(json.dumps(cluster), encoding="utf-8")
    return path


def test_a_plain_list_becomes_a_snapshot(tmp_path: Path) -> None:
    seen = snapshot_from(written(tmp_path / "c.json", SMALL), reader())
    (host,), (vm,) = seen.hosts, seen.vms
    assert (host.name, host.up, host.maintenance, host.cpus, host.memory) == (
        "h0",
        True,
        True,
        8,
        4 * GIB,
    )
    assert (host.reserve, host.tags["vcpu-ratio"]) == (GIB // 2, "3")
    assert (vm.name, vm.host, vm.vcpus, vm.memory, vm.cpu, vm.tags) == (
        "v0",
        "h0",
        2,
        GIB,
        0.5,
        {"apart": "db"},
    )


def test_the_drawing_that_comes_along_can_be_planned_on(config: Path) -> None:
    drawing = Path(__file__).parents[2] / "config/clusters/uneven.txt"
    result = planned(config, "--cluster", str(drawing))
    assert result.exit_code == 0, result.output
    assert "from host-a" in result.output
    assert snapshot_from(drawing, reader()).host("host-d").maintenance


def test_a_slip_in_a_drawing_is_named_with_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("host-a 8cpu 8G\nhost-b 8cpu\n", encoding="utf-8")
    with pytest.raises(
        DroverError, match=r"c\.txt: Line 2: host-b needs CPUs and memory"
    ) as caught:
        snapshot_from(tmp_path / "c.txt", reader())
    assert "host-b 16cpu 64G" in str(caught.value.advice)


def test_what_check_saved_comes_back_as_it_was(tmp_path: Path) -> None:
    seen = draw_cluster("host-a 8cpu 16G | web-1 1G dirty 1M [env=prod]\nhost-b 8cpu 16G down")
    (tmp_path / "c.json").write_text(codec.text(seen), encoding="utf-8")
    assert snapshot_from(tmp_path / "c.json", reader()) == seen


@pytest.mark.parametrize(
    "broken",
    [
        "not json",
        "[]",
        "{}",
        json.dumps({**SMALL, "hosts": [{"name": "h0"}]}),
        json.dumps({**SMALL, "hosts": []}),
        json.dumps({**SMALL, "vms": [{"name": "v0"}]}),
        json.dumps({**SMALL, "vcpu_ratio": "much"}),
        json.dumps({"is": "Scheduler"}),
    ],
)
def test_a_file_that_holds_no_cluster_is_told_with_what_to_do(tmp_path: Path, broken: str) -> None:
    (tmp_path / "c.json").write_text(broken, encoding="utf-8")
    with pytest.raises(DroverError, match="check --save"):
        snapshot_from(tmp_path / "c.json", reader())


@pytest.mark.parametrize(("hosts", "vms", "het"), [(5, 40, False), (20, 300, True)])
def test_the_terminals_plan_is_legal_at_every_step_and_even(
    config: Path, tmp_path: Path, hosts: int, vms: int, *, het: bool
) -> None:
    cluster: dict[str, Any] = generate(hosts, vms, seed=3, het=het, drain=1)
    file, out = written(tmp_path / "c.json", cluster), tmp_path / "plan"
    done = planned(config, "--cluster", str(file), "--out", str(out))
    assert done.exit_code == 0, done.output
    moves = [
        (vm, host) for vm, host in map(str.split, out.read_text(encoding="utf-8").splitlines())
    ]
    verdict = judge(cluster, moves)
    assert verdict["illegal"] == []
    assert verdict["after"]["stranded"] == verdict["after"]["collisions"] == 0
    assert verdict["after"]["J"] < verdict["before"]["J"] / 4
    assert f"{len(moves)} migrations" in done.output
    assert "Imbalance" in done.output
    assert "GiB" in done.output
    assert "planned in" in done.output


def test_the_terminal_takes_the_commands_own_options_and_says_when_there_is_nothing(
    config: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "c.json", generate(5, 40, seed=3, het=False, drain=1))
    out = tmp_path / "plan"
    assert (
        planned(config, "--cluster", str(file), "--out", str(out), "--max-moves", "3").exit_code
        == 0
    )
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3
    calm = written(tmp_path / "calm.json", {**SMALL, "vms": []})
    done = planned(config, "--cluster", str(calm), "--out", str(out))
    assert done.exit_code == 1
    assert "within the threshold" in done.output
    assert out.read_text(encoding="utf-8") == ""


def test_a_plan_on_live_hosts_looks_for_what_no_snapshot_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "drover.toml"
    config.write_text(
        '[plugins]\nenabled = ["vm_lifecycle"]\n'
        '[plugins.vm_lifecycle]\npool = "pool"\nnetwork = "br0"\nimages = { tiny = { base = "pool/tiny.qcow2" } }\n',
        encoding="utf-8",
    )
    seen = draw_cluster("host-a 8cpu 64G\nhost-b 8cpu 64G")
    pool = Pool("pool", "dir", "/pool", active=True, autostart=True, free=90 * GIB)
    hosts = FakeHypervisor(
        replace(seen, hosts=tuple(replace(host, pools=(pool,)) for host in seen.hosts)),
        TickingClock(),
    )
    hosts.volumes["host-b", "pool", "tiny.qcow2"] = Volume(
        "pool", "tiny.qcow2", "/pool/tiny.qcow2", GIB, GIB
    )
    monkeypatch.setattr("bot.factories.connect_hypervisor", lambda _: hosts)

    def answer(*words: str) -> str:
        line = ["--config", str(config), "plan", "vm", "create", "new", *words]
        return str(CliRunner().invoke(drover, line).output)

    assert "Create new on host-b" in answer()
    assert "host-a does not have the image pool/tiny.qcow2" in answer("--host", "host-a")
