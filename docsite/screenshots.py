"""The pictures of the documentation, of the local workspace: `./drover docs pictures [NAME…]`.

It starts real hosts, a bot and the workspace, acts as people do, and overwrites `docs/images`. It
needs root, the demo's packages, chromium, and npm's registry at its first run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.slack.manifest import manifest
from bot.stage import BotProcess, config_for
from lab import Lab
from lab.slack import Workspace
from lab.slack.build import Node, built_page, find_node
from lab.slack.shown import Message

ROOT = Path(__file__).parents[1]
CAMERA = ROOT / "tests" / "e2e" / "page"
IMAGES = ROOT / "docs" / "images"
OPS, APPROVALS = "C0OPS", "C0APPROVALS"
VMS: Mapping[str, str] = {
    "web-1": "host-a",
    "web-2": "host-a",
    "shop-1": "host-b",
    "db-1": "host-c",
}


@dataclass(frozen=True, slots=True)
class Studio:
    """What pictures are taken of."""

    lab: Lab
    workspace: Workspace
    node: Node
    language: str

    def asks(self, line: str) -> None:
        """As Ana, in #ops."""
        self.workspace.person("ana").command(f"/kvm {line}", "#ops")

    def message(self, channel: str, *words: str) -> Message:
        """The newest message with all the words; waited for."""
        return self.workspace.wait_message(
            channel, lambda each: all(word in each.plain() for word in words), 180, seen_by="ana"
        )

    def shoot(self, name: str, message: Message, channel: str, who: str) -> None:
        """Take a picture of one message as ``who`` sees it."""
        file = IMAGES / f"{name}{self.language}.png"
        view = f"{self.workspace.page}#as={who}&channel={channel}"
        argv = [str(self.node.node), "shoot.mjs", view, str(file), "--width", "1100"]
        argv += ["--clip-selector", f'[data-ts="{message.ts}"]', "--padding", "0"]
        done = subprocess.run(
            argv,
            cwd=CAMERA,
            env=dict(self.node.environment),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            sys.exit(f"{file.name} could not be taken: {done.stderr.strip()}")
        print(file.relative_to(ROOT))  # noqa: T201 - its output


def status(studio: Studio) -> None:
    """What the cluster is like."""
    studio.asks("status")
    studio.shoot("status", studio.message("#ops", "host-a", "host-c"), OPS, "U0ANA")


def approval(studio: Studio) -> None:
    """A proposal with its buttons, as an approver sees it."""
    studio.asks('migrate web-1 to host-b --reason "disk swap on host-a"')
    studio.shoot("approval", studio.message("#approvals", "web-1", "host-b"), APPROVALS, "U0BRUNO")


def drained(studio: Studio) -> None:
    """A host that was drained."""
    studio.asks('host drain host-a --reason "new memory"')
    asked = studio.message("#approvals", "host-a", "new memory")
    studio.workspace.person("bruno").click(asked, "op.approve")
    ended = studio.workspace.wait_message(
        "#approvals", lambda each: each.ts == asked.ts and _is_over(each), 180
    )
    studio.shoot("drained", ended, APPROVALS, "U0BRUNO")


def top(studio: Studio) -> None:
    """The VMs that use most, once the load of all of them is measured."""
    studio.asks("top")
    measured = studio.workspace.wait_message(
        "#ops",
        lambda each: each.plain().startswith("== Top VMs") and "–" not in each.plain(),
        180,
        seen_by="ana",
    )
    studio.shoot("top", measured, OPS, "U0ANA")


def digest(studio: Studio) -> None:
    """What a digest says of the day so far."""
    studio.asks("digest preview")
    studio.shoot("digest", studio.message("#ops", "requests"), OPS, "U0ANA")


def alert(studio: Studio) -> None:
    """A host that does not answer, because its power is off. Nothing after it finds this host."""
    studio.lab.power_off("host-c")
    studio.shoot("alert", studio.message("#ops", "host-c", "Acknowledge"), OPS, "U0ANA")


def _is_over(message: Message) -> bool:
    rows = [block["elements"] for block in message.blocks if block["type"] == "actions"]
    buttons = {str(each.get("action_id")) for row in rows for each in row}
    return "op.details" in buttons and not {"op.cancel", "op.approve"} & buttons


PICTURES: Mapping[str, Callable[[Studio], None]] = {
    "status": status,
    "approval": approval,
    "drained": drained,
    "top": top,
    "digest": digest,
    "alert": alert,
}
"""Taken in this order: the later ones show what the earlier ones did."""


def main(names: list[str]) -> None:
    """Take the named pictures, or all; and the approval in Portuguese."""
    wanted = names or list(PICTURES)
    if unknown := [each for each in wanted if each not in PICTURES]:
        sys.exit(f"There is no picture {unknown[0]}. These are: {', '.join(PICTURES)}.")
    node = find_node()
    built_page()
    if not (CAMERA / "node_modules" / "playwright-core").is_dir():
        argv = [*node.npm, "ci", "--ignore-scripts"]
        subprocess.run(argv, cwd=CAMERA, env=dict(node.environment), check=True, timeout=600)
    with Lab(hosts=3) as lab:
        for name, host in VMS.items():
            lab.guest(name, host=host, load=0.1, tags={"env": "prod" if name == "db-1" else "dev"})
        if "approval" in wanted:
            _session(lab, node, "pt_BR", ["approval"])
        _session(lab, node, "en", wanted)


def _session(lab: Lab, node: Node, locale: str, names: list[str]) -> None:
    """One workspace whose people read one language."""
    language = "" if locale == "en" else f".{locale.replace('_', '-')}"
    people = dict.fromkeys(("U0ANA", "U0BRUNO"), locale.replace("_", "-"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drover-docs-")))
        workspace = stack.enter_context(Workspace(manifest=manifest(), locales=people, pace=20.0))
        config = config_for(lab, workspace, folder, locale=locale, monitor={"every": "2s"})
        stack.enter_context(BotProcess(workspace, folder, config))
        workspace.wait_connected()
        for name in sorted(names, key=list(PICTURES).index):
            PICTURES[name](Studio(lab, workspace, node, language))


if __name__ == "__main__":
    main(sys.argv[1:])
