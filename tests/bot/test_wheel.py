"""What is installed from the wheel: every command works there, or says in words what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.process  # each starts `drover` as a program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel contains, and nothing else of the checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folder = tmp_path_factory.mktemp("site")
    for package in packages:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "LC_ALL": "C.UTF-8"}
    argv = [sys.executable, "-m", "bot", *words]
    return subprocess.run(
        argv, cwd=installed, env=environment, capture_output=True, text=True, check=False
    )


def test_the_demo_says_that_it_needs_a_checkout(installed: Path) -> None:
    done = run(installed, "demo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "drover: The demo needs a checkout of Drover: the module `lab` is not installed. "
        "Clone the repository, then run `./drover demo` there.\n"
    )


@pytest.mark.parametrize("command", ["test --fast", "bench ack", "docs"])
def test_what_the_launcher_has_says_that_it_needs_a_checkout(installed: Path, command: str) -> None:
    done = run(installed, *command.split())
    name = command.split(maxsplit=1)[0]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"drover: `{name}` needs a checkout of Drover. "
        f"Clone the repository, then run `./drover {name}` there.\n"
    )


@pytest.mark.parametrize("command", ["manifest", "plugins", "--help", "demo --help"])
def test_what_needs_no_checkout_works_without_one(installed: Path, command: str) -> None:
    done = run(installed, *command.split())
    assert (done.returncode, done.stderr) == (0, "")
