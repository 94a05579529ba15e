"""The container image: built without a registry, at most 350 MB, and a VM moved from chat by user 10001.

It takes buildah, debootstrap and Debian's and Python's packages; where those are not to be had it is skipped.
``DROVER_TEST_IMAGE`` names an image that is there already, and is to be tried.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tomli_w

from bot.stage import PACE, config_for
from lab import Lab
from lab.slack import Workspace
from tests import postgres
from tests.e2e import composed
from tests.e2e.booted import open_to_user
from tests.e2e.play import holds, runs_once
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
BUILDAH = ("buildah", "--storage-driver", "vfs")
BASE, IMAGE = "localhost/drover-test-base:12", "localhost/drover-test"
EXCLUDED = "".join(f"path-exclude=/usr/share/{each}/*\n" for each in ("doc", "man", "locale"))
SLIM = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")


def run(*argv: str, timeout: float = 900) -> str:
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts of its own: their sockets are opened to another user than root."""
    with Lab(hosts=2) as made:
        for host in made.hosts.values():
            open_to_user(made, host, 10001, 999)  # the group that useradd takes in a fresh Debian
        yield made


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image, on a base made by debootstrap, slim as Debian's own."""
    if given := os.environ.get("DROVER_TEST_IMAGE"):
        yield given
        return
    if lacking := [each for each in ("buildah", "debootstrap") if not shutil.which(each)]:
        pytest.skip(f"the image cannot be built here: {', '.join(lacking)} is missing")
    tree = tmp_path_factory.mktemp("base") / "tree"
    run("debootstrap", "--variant=minbase", "bookworm", str(tree))
    for each in SLIM:
        shutil.rmtree(tree / each)
        (tree / each).mkdir()
    (tree / "etc/dpkg/dpkg.cfg.d/slim").write_text(EXCLUDED, encoding="utf-8")
    start = run(*BUILDAH, "from", "scratch")
    run(*BUILDAH, "copy", "-q", start, str(tree), "/")
    run(*BUILDAH, "commit", "-q", "--rm", start, BASE)
    shutil.rmtree(tree)
    run(*BUILDAH, "bud", "--format", "docker", "--isolation", "chroot", "--build-arg", f"BASE={BASE}", *_pip(tmp_path_factory), "-t", IMAGE, ".")  # fmt: skip
    yield IMAGE
    for each in (IMAGE, BASE):
        subprocess.run([*BUILDAH, "rmi", "-f", each], capture_output=True, check=False)


def _pip(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The machine's own authorities for pip, where its network needs them."""
    authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
    settings = tmp_path_factory.mktemp("pip") / "pip.conf"
    settings.write_text("[global]\ncert = /etc/pip-ca.crt\n", encoding="utf-8")
    return ["-v", f"{authorities}:/etc/pip-ca.crt:ro", "-v", f"{settings}:/etc/pip.conf:ro"]


@pytest.fixture
def container(image: str) -> Iterator[str]:
    made = run(*BUILDAH, "from", "--pull-never", image)
    yield made
    run(*BUILDAH, "rm", made)


def inside(container: str, lab: Lab, folder: Path, secrets: Mapping[str, str]) -> list[str]:
    """How a program is run in the container: as its user, on the machine's network."""
    secret = [word for name, value in secrets.items() for word in ("--env", f"{name}={value}")]
    return [
        *BUILDAH, "run", "--isolation", "chroot", "--user", "drover", *secret,
        "-v", f"{folder}/drover.toml:/etc/drover/drover.toml:ro",
        "-v", f"{lab.directory}:{lab.directory}",
        container, "--", "python3", "-m", "bot",
    ]  # fmt: skip


def test_the_image_is_small_and_has_what_the_guide_says(image: str, container: str) -> None:
    size = json.loads(run(*BUILDAH, "images", "--json", image))[0]["size"]
    amount, unit = size.split()
    assert (unit, float(amount) <= 350) == ("MB", True), size
    found = run(*BUILDAH, "run", "--isolation", "chroot", "--user", "drover", container, "--",
                "sh", "-c", "id -u; head -1 config/drover.example.toml; echo $PYTHONPATH")  # fmt: skip
    number, example, path = found.splitlines()
    assert number == "10001"
    assert example.startswith("# Drover's configuration.")
    assert "/opt/plugins" in path


def test_a_vm_moves_from_chat(
    container: str, lab: Lab, workspace: Workspace, tmp_path: Path
) -> None:
    config = config_for(
        lab, workspace, tmp_path, database={"url": "sqlite:////var/lib/drover/drover.sqlite"}
    )
    config["slack"]["pace"] = PACE
    (tmp_path / "drover.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    tmp_path.chmod(0o755)
    guest = lab.guest("boxed", host="host-a")
    secrets = {"SLACK_BOT_TOKEN": workspace.bot_token, "SLACK_APP_TOKEN": workspace.app_token}
    drover = inside(container, lab, tmp_path, secrets)
    checked = subprocess.run(
        [*drover, "check", "--verbose"], capture_output=True, text=True, check=False
    )
    assert "host host-a: 1 VM" in checked.stdout, checked.stdout + checked.stderr
    assert "signed in to" in checked.stdout
    with subprocess.Popen([*drover, "run"]) as bot:
        try:
            workspace.wait_connected(120)
            until(lambda: not subprocess.run([*drover, "health"], check=False).returncode, "it is not healthy")  # fmt: skip
            workspace.person("ana").command("/kvm migrate boxed to host-b", "#ops")
            asked = workspace.wait_message("#approvals", lambda each: holds(each, "Approve?"), 90)
            workspace.person("bruno").click(asked, "op.approve")
            workspace.wait_message("#approvals", lambda each: holds(each, "Done:"), 150)
        finally:
            bot.terminate()
    assert lab.where("boxed") == ["host-b"]
    runs_once(lab, guest, "host-b")
    file = [*drover[:-3], "stat", "--format=%u", "/var/lib/drover/drover.sqlite"]
    assert run(*file) == "10001", "in the volume of the image"


def test_the_compose_file_runs_the_image_with_its_database(
    container: str, lab: Lab, workspace: Workspace, tmp_path: Path
) -> None:
    """By the guide's commands for it, with a PostgreSQL that wants the password; a VM moves from chat."""
    if lacks := postgres.missing():
        pytest.skip(lacks)
    image = composed.inspected(BUILDAH, container)
    tmp_path.chmod(0o755)
    with postgres.running() as server:
        prepare(lab, workspace, tmp_path, server)
        composed.database(server, tmp_path)
        argv = composed.argv(image, "drover", tmp_path, f"{tmp_path}/hosts:/etc/hosts:ro", f"{lab.directory}:{lab.directory}")  # fmt: skip
        healthy = image.config["Healthcheck"]["Test"]
        assert healthy[0] == "CMD"
        kind, program, *words = composed.service("db")["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "pg_isready")
        run(str(server.bin / program), "-h", "127.0.0.1", "-p", str(server.port), *words)
        with subprocess.Popen([*argv, *image.config["Entrypoint"], *image.config["Cmd"]]) as bot:
            try:
                workspace.wait_connected(120)
                check = [*composed.inside(image, "drover", bot.pid), *healthy[1:]]
                until(lambda: not subprocess.run(check, check=False).returncode, "it is not healthy", 90)  # fmt: skip
                guest = lab.guest("composed", host="host-a")
                workspace.person("ana").command("/kvm migrate composed to host-b", "#ops")
                asked = workspace.wait_message(
                    "#approvals", lambda each: holds(each, "Approve?"), 90
                )
                workspace.person("bruno").click(asked, "op.approve")
                workspace.wait_message("#approvals", lambda each: holds(each, "Done in"), 150)
            finally:
                bot.terminate()
        runs_once(lab, guest, "host-b")
        password = (tmp_path / "secrets/postgres-password").read_text(encoding="utf-8")
        asked_for = "SELECT count(*) FROM operations"
        told = run("env", f"PGPASSWORD={password}", str(server.bin / "psql"), "-tAX", "-h", "127.0.0.1", "-p", str(server.port), "drover", "drover", "-c", asked_for)  # fmt: skip
        assert int(told) == 1


def prepare(lab: Lab, workspace: Workspace, folder: Path, server: postgres.Postgres) -> None:
    """Make the files that the guide names, by its own commands where it has some."""
    text = (ROOT / "docs/how-to/install.md").read_text(encoding="utf-8")
    section = text.partition("## Container with PostgreSQL")[2].partition("\n## ")[0]
    commands = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    for name in ("config", "ssh", "plugins", "drover"):
        (folder / name).mkdir()
    config = config_for(lab, workspace, folder)
    del config["database"]
    config["slack"]["pace"] = PACE
    (folder / "config/drover.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    tokens = {"slack-bot-token": workspace.bot_token, "slack-app-token": workspace.app_token}
    for command in commands:
        if command.startswith("cat >"):
            for name, token in tokens.items():
                assert f"cat > secrets/{name}" in command
                (folder / "secrets" / name).write_text(f"{token}\n", encoding="utf-8")
            continue
        subprocess.run(["sh", "-ec", command.replace(" && docker compose up -d", "")], cwd=folder, check=True)  # fmt: skip
    url = folder / "secrets/database-url"
    assert "@db/drover" in url.read_text(encoding="utf-8")
    url.write_text(url.read_text(encoding="utf-8").replace("@db/", f"@db:{server.port}/"))
    (folder / "hosts").write_text("127.0.0.1 localhost db\n", encoding="utf-8")
    os.chown(folder / "drover", 10001, 10001)
