"""Draws the README's picture of the terminal: `python -m docsite.terminal_picture [FILE.svg]`.

The cards are those of the small bot of the tests, over the bot's real socket.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from bot.adapters.terminal.render import card_of, for_people
from tests.bot.flow.terminals import AtTerminal, at_terminal

FILE = Path("docs/images/terminal.svg")
# Nothing is fetched from elsewhere: the reader's own font
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    """Draw it."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    console = Console(
        record=True,
        width=104,
        force_terminal=True,
        file=io.StringIO(),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        at_terminal(Path(folder), plugins=("migrate", "balance")) as here,
    ):
        _types(console, here, "ana", 'drover do "hosts"', "hosts")
        _types(console, here, "ana", 'drover do "host drain host-a"', "host drain host-a")
        digest = here.bot.operation().plan.digest
        _types(console, here, "bruno", "drover approve op-1", f"approve op-1 {digest}")
        here.bot.works()
        console.print(Text("$ drover details op-1 --wait 1h", "bold green"))
        here.call("ana", "follow", operation="op-1")
        console.print(for_people(card_of(here.shown[-1]["card"])))
    console.save_svg(str(file), title="drover: Slack is down", code_format=FORMAT)


def _types(console: Console, here: AtTerminal, who: str, typed: str, line: str) -> None:
    console.print(Text(f"{who}$ {typed}", "bold green"))
    here.do(who, line)
    for shown in here.shown:
        console.print(for_people(card_of(shown["card"])))


if __name__ == "__main__":
    main()
