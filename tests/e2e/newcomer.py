"""A workspace and a bot with the configuration that `drover init` wrote, on one machine: a VM moves by chat.

Run inside the hosts' network: newcomer.py CONFIG VM TARGET.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bot.adapters.slack.manifest import manifest
from bot.stage import PACE
from lab.slack import Workspace
from lab.slack.shown import Message


def main(config: Path, vm: str, target: str) -> None:
    """Ask as Ana, approve as Bruno, and see the end."""
    with Workspace(manifest=manifest(), pace=PACE) as workspace:
        environment = {
            **os.environ,
            "SLACK_BOT_TOKEN": workspace.bot_token,
            "SLACK_APP_TOKEN": workspace.app_token,
            "DROVER_SLACK__API_URL": workspace.web_api,
            "DROVER_SLACK__PACE": str(PACE),
            "DROVER_DATABASE__URL": f"sqlite:///{config.parent}/drover.sqlite",
        }
        argv = [sys.executable, "-m", "bot", "--config", str(config)]
        subprocess.run([*argv, "check"], env=environment, check=False)  # lab hosts have no KVM
        with subprocess.Popen([*argv, "run"], env=environment) as bot:
            try:
                workspace.wait_connected()
                workspace.person("ana").command(f"/kvm migrate {vm} to {target}", "#ops")
                asked = workspace.wait_message(
                    "#approvals", lambda each: _says(each, "Approve?"), 60
                )
                workspace.person("bruno").click(asked, "op.approve")
                workspace.wait_message("#approvals", lambda each: _says(each, "Done:"), 120)
            finally:
                bot.terminate()


def _says(message: Message, text: str) -> bool:
    return text.lower() in message.plain().lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
