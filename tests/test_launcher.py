"""What the launcher asks of a machine that has Python alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[1] / "drover"
TOOLS = [
    "bash",
    "cat",
    "comm",
    "cut",
    "dirname",
    "env",
    "grep",
    "id",
    "mkdir",
    "readlink",
    "sed",
    "sha256sum",
    "sh",
    "sort",
]

pytestmark = pytest.mark.process


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment in which no package is installed, none can be, and Python tells what it was started with."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None, name
        (programs / name).symlink_to(found)
    _script(programs / "dpkg-query", "exit 0")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    _script(
        venv / "bin" / "python",
        '[ "$1" = -c ] || echo "${PYTHONDONTWRITEBYTECODE-writes} $*"',
    )
    lock = LAUNCHER.parent / "config" / "lock" / "dev.txt"
    (venv / ".drover-dev").write_text(hashlib.sha256(lock.read_bytes()).hexdigest())
    return {"PATH": str(programs), "DROVER_VENV": str(venv), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize(
    "arguments",
    ["--fast", "--fast -q", "-q --fast", "--fast tests/bot -k one", "tests/bot --fast -k one"],
)
def test_the_fast_run_needs_no_package_wherever_its_option_stands(
    machine: dict[str, str], arguments: str
) -> None:
    ended = _launch(machine, "test", *arguments.split())
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("writes -m pytest ")
    assert ended.stdout.endswith(f" {arguments}\n")


@pytest.mark.parametrize("arguments", ["", "-q", "--faster", "-k=--fast"])
def test_any_other_run_says_which_packages_are_missing(
    machine: dict[str, str], arguments: str
) -> None:
    ended = _launch(machine, "test", *arguments.split())
    assert ended.returncode == 1
    assert "qemu-system-x86" in ended.stderr
    assert ended.stdout == ""


def _launch(machine: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(LAUNCHER), *arguments],
        env=machine,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _script(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
