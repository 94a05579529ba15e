"""What MkDocs calls while it builds: it adds pages from elsewhere, and lets links lead to them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docsite import codes, commands, configuration, records

ROOT = Path(__file__).parents[1]
MADE = {
    "reference/commands.md": commands.chat_page,
    "reference/terminal.md": commands.terminal_page,
    "reference/settings.md": configuration.settings_page,
    "reference/codes.md": codes.codes_page,
    "reference/metrics.md": records.metrics_page,
    "reference/events.md": records.events_page,
}
"""Pages made from the code at each build, by their place in the site."""
TAKEN = {
    "plugins/README.md": "explanation/plugins.md",
    "SECURITY.md": "explanation/security.md",
    "CONTRIBUTING.md": "explanation/contributing.md",
    "CHANGELOG.md": "explanation/changelog.md",
}
"""Pages that the repository has elsewhere, and their place in the site."""
HOME = {"README.md": "index.md", "README.pt-BR.md": "tutorial.pt-BR.md"}
"""What the site has instead of these."""
_LINK = re.compile(r"(!?)\[((?:[^\]\\]|\\.)*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Put every decision into the navigation, by its number."""
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    pages = [{_title(each): f"decisions/{each.name}"} for each in decisions]
    for part in config.nav or []:
        for title, below in part.items():
            if title == "Explanation":
                below.append({"Decisions": pages})
    return config


def _title(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add what is made from the code and what is taken from elsewhere."""
    for place, make in MADE.items():
        files.append(File.generated(config, place, content=make()))
    for source, place in TAKEN.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to pages of the site, whatever the repository's folders are."""
    place = page.file.src_uri
    source = next((source for source, at in TAKEN.items() if at == place), f"docs/{place}")
    return linked(markdown, source, place)


def linked(markdown: str, source: str, place: str) -> str:
    """A page with its links as the site has them.

    Args:
        markdown: the page.
        source: where the repository has it, which its links start from.
        place: where the site has it.
    """

    def instead(found: re.Match[str]) -> str:
        picture, text, target, anchor = found.groups()
        to = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = TAKEN.get(to) or HOME.get(to) or _in_docs(to)
        if not inside:
            return text  # a file of the repository that is no page
        away = posixpath.relpath(inside, posixpath.dirname(place) or ".")
        return f"{picture}[{text}]({away}{anchor or ''})"

    return _LINK.sub(instead, markdown)


def _in_docs(path: str) -> str:
    """The place of a page or picture in `docs/`, of a folder its first page; '' for other files."""
    if not path.startswith("docs/"):
        return ""
    place = path.removeprefix("docs/")
    folder = ROOT / path
    if folder.is_dir():
        first = min((each.name for each in folder.glob("*.md")), default="")
        return f"{place}/{first}" if first else ""
    return place
