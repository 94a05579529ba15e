"""Run the workspace until Ctrl-C: ``python -m lab.slack --port 8099``."""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from lab.slack.build import PageBuildError, built_page
from lab.slack.workspace import Workspace


def prepare_page() -> None:
    """Build the page where needed.

    Without it the workspace still serves apps, so a failure is only told.
    """
    try:
        built_page()
    except PageBuildError as problem:
        print(f"The workspace starts without its page: {problem}", file=sys.stderr)


def main() -> None:
    """Start the workspace and tell how an app connects to it."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.slack", description="A Slack-compatible workspace on 127.0.0.1."
    )
    parser.add_argument(
        "--port", type=int, default=8099, help="0 takes any free port (default 8099)"
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        help="the app's manifest (JSON): its commands, scopes and events hold",
    )
    parser.add_argument(
        "--no-page", action="store_true", help="don't build the web page, only serve the app"
    )
    asked = parser.parse_args()
    if not asked.no_page:
        prepare_page()
    manifest = json.loads(asked.manifest.read_text()) if asked.manifest else None
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with Workspace(asked.port, manifest=manifest) as workspace:
        print(f"The workspace is at {workspace.page}")
        print(f"An app connects with base_url {workspace.web_api}")
        print(
            f"  bot token {workspace.bot_token}, app token {workspace.app_token}, secret "
            f"{workspace.signing_secret}"
        )
        print("Ctrl-C ends it.", flush=True)
        while not done.wait(1):  # a signal given to another thread does not wake this one
            pass


if __name__ == "__main__":
    main()
