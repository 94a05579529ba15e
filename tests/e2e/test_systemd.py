"""The guide's installation with pipx and systemd, as it is written, on a fresh Debian where systemd runs.

The unit is ready when the bot is connected, keeps its secrets and its sandbox, moves a VM from chat, and is started
again when it hangs or dies.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tomli_w

from bot.adapters.slack.manifest import manifest
from bot.stage import PACE, config_for
from lab import Lab
from lab.slack import Workspace
from tests.e2e.booted import Booted, lacking, open_to_user
from tests.e2e.play import holds, runs_once
from tests.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]

ROOT = Path(__file__).parents[2]
THERE = "/srv/lab"
# Sooner than in the unit; the bot says every 5 s that it lives
SOON = "[Service]\nWatchdogSec=20\nTimeoutAbortSec=2\n"


def guide(name: str = "install", section: str = "## pipx and systemd") -> list[str]:
    """The commands of a guide's section that root runs, in order."""
    text = (ROOT / f"docs/how-to/{name}.md").read_text(encoding="utf-8")
    found = text.partition(section)[2].partition("\n## ")[0]
    return [line.partition("    #")[0] for line in re.findall(r"^ *# (.*)$", found, re.MULTILINE)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts of its own: their sockets are opened to another user than root."""
    with Lab(hosts=3) as made:
        yield made


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with Workspace(manifest=manifest(), pace=PACE) as space:
        yield space


@pytest.fixture(scope="module")
def machine(
    lab: Lab, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Booted]:
    """Debian 12 with the bot installed and started by the guide's own commands."""
    folder = tmp_path_factory.mktemp("machine")
    folder.chmod(0o755)
    booted = Booted("bookworm", folder / "tree", {lab.directory: THERE})
    checkout = folder / "tree/root/drover"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.rstrip("\0").split("\0"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    with booted:
        booted.run("apt-get -q -o Acquire::Check-Valid-Until=false update")
        for command in guide():
            follow(booted, command, lab, workspace)
        yield booted
    shutil.rmtree(folder / "tree")


def follow(booted: Booted, command: str, lab: Lab, workspace: Workspace) -> None:
    """Run a command of the guide, and what its reader does by hand."""
    if "drover.toml init" in command:  # tests/e2e/test_setup.py runs that one
        own = booted.tree / "var/lib/drover/drover.toml"
        own.write_text(configuration(lab, workspace, ["host-a", "host-b"]), encoding="utf-8")
        user, group = map(int, booted.run("id -u drover; id -g drover").stdout.split())
        for host in lab.hosts.values():
            open_to_user(lab, host, user, group)
        return
    if "apt-get install" in command:
        command = command.replace("apt-get install", "apt-get install -q -y")
    booted.run(command.replace("pipx install kvm-drover", "pipx install ."))
    if "/dev/null" in command:
        place = command.split()[-1]
        token = workspace.bot_token if "bot-token" in place else workspace.app_token
        (booted.tree / place.lstrip("/")).write_text(token, encoding="utf-8")


def configuration(lab: Lab, workspace: Workspace, names: list[str]) -> str:
    """The configuration of some hosts, their sockets where that machine has them."""
    config = config_for(lab, workspace, Path("/var/lib/drover"))
    del config["database"]  # the unit's own
    config["slack"]["pace"] = PACE
    config["hosts"] = [
        {**each, "uri": each["uri"].replace(str(lab.directory), THERE)}
        for each in config["hosts"]
        if each["name"] in names
    ]
    return tomli_w.dumps(config)


def state(machine: Booted, unit: str = "drover") -> dict[str, str]:
    return machine.shown(
        unit, "ActiveState", "SubState", "MainPID", "NRestarts", "Result", "ExecMainStatus"
    )


def status(machine: Booted) -> dict[str, str]:
    """What the kernel says of the bot's process."""
    said = machine.run(f"cat /proc/{state(machine)['MainPID']}/status").stdout
    return dict(re.findall(r"^(\w+):\t(.*)$", said, re.MULTILINE))


def test_the_unit_is_ready_with_its_user_its_secrets_and_its_sandbox(
    machine: Booted, workspace: Workspace
) -> None:
    said = machine.run("systemctl status drover").stdout
    assert "active (running)" in said, said
    workspace.wait_connected()
    found = status(machine)
    assert found["Uid"].split()[0] == machine.run("id -u drover").stdout.strip()
    assert (found["NoNewPrivs"], found["Seccomp"], int(found["CapBnd"], 16)) == ("1", "2", 0)
    pid = state(machine)["MainPID"]
    environment = machine.run(f"tr '\\0' '\\n' </proc/{pid}/environ").stdout
    assert "SLACK_BOT_TOKEN_FILE=/run/credentials/drover.service/slack-bot-token" in environment
    for secret in (workspace.bot_token, workspace.app_token):
        assert secret not in environment
    inside = f"nsenter --target {pid} --mount --"
    read = "cat /run/credentials/drover.service/slack-bot-token"
    assert machine.run(f"{inside} runuser -u drover -- {read}").stdout == workspace.bot_token
    assert machine.run(f"{inside} runuser -u nobody -- {read}", check=False).returncode
    assert machine.run(f"{inside} touch /etc/here", check=False).returncode, "it can write to /etc"
    rated = machine.run("systemd-analyze security --no-pager drover").stdout
    (exposure,) = re.findall(r"exposure level for drover.service: ([\d.]+)", rated)
    assert float(exposure) <= 2.0


@pytest.mark.usefixtures("machine")
def test_a_vm_moves_from_chat(lab: Lab, workspace: Workspace) -> None:
    guest = lab.guest("unit", host="host-a")
    workspace.person("ana").command(f"/kvm migrate {guest.name} to host-b", "#ops")
    asked = workspace.wait_message(
        "#approvals", lambda each: holds(each, "Approve?", guest.name), 90
    )
    workspace.person("bruno").click(asked, "op.approve")
    workspace.wait_message("#approvals", lambda each: each.ts == asked.ts and holds(each, "Done in"), 150)  # fmt: skip
    runs_once(lab, guest, "host-b")


def test_another_clusters_bot_runs_beside_it(machine: Booted, lab: Lab) -> None:
    there = lab.guest("southerner", host="host-c", load=0.0)
    own = manifest("/kvm-south", name="Drover South")
    with Workspace(manifest=own, pace=PACE) as south:
        settings = tomllib.loads(configuration(lab, south, ["host-c"]))
        settings["slack"]["command"] = "/kvm-south"
        file = machine.tree / "root/drover/drover-south.toml"
        file.write_text(tomli_w.dumps(settings), encoding="utf-8")
        for command in guide("several-clusters", "3. Run it"):
            follow(machine, command, lab, south)
        south.wait_connected()
        assert state(machine, "drover-south")["SubState"] == "running"
        assert state(machine)["SubState"] == "running"
        south.person("ana").command("/kvm-south vms", "#ops")
        shown = south.wait_message("#ops", lambda each: holds(each, there.name), 90, seen_by="ana")
        assert "host-a" not in shown.plain()
        files = machine.run("stat -c '%U %a %n' /var/lib/drover-south/drover.sqlite").stdout
        assert files == "drover 600 /var/lib/drover-south/drover.sqlite\n"
        machine.run("systemctl stop drover-south")
        assert state(machine, "drover-south")["Result"] == "success"
        assert state(machine)["SubState"] == "running"
    lab.kill_guest(there.name)


def test_it_is_started_again_when_it_dies_and_when_it_hangs(machine: Booted) -> None:
    machine.run(f"mkdir -p /run/systemd/system/drover.service.d && printf '{SOON}' >/run/systemd/system/drover.service.d/soon.conf".replace("\n", "\\n"))  # fmt: skip
    machine.run("systemctl daemon-reload && systemctl restart drover")
    for number in (signal.SIGKILL, signal.SIGSTOP):
        before = state(machine)
        machine.run(f"kill -{number.value} {before['MainPID']}")
        until(lambda before=before: up_again(machine, before), f"after {number.name}", 180)  # type: ignore[misc]


def up_again(machine: Booted, before: Mapping[str, str]) -> bool:
    now = state(machine)
    return (now["SubState"], int(now["NRestarts"])) == ("running", int(before["NRestarts"]) + 1)


def test_it_stops_whole(machine: Booted) -> None:
    machine.run("systemctl stop drover")
    now = state(machine)
    assert (now["ActiveState"], now["Result"], now["ExecMainStatus"]) == ("inactive", "success", "0")  # fmt: skip
    files = machine.run("stat -c '%U %a' /var/lib/drover/drover.sqlite").stdout
    assert files == "drover 600\n"
