"""The workspace runs by itself: python -m lab.slack."""

import json
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]


def test_it_tells_its_address_serves_a_manifest_and_ends_on_sigterm(tmp_path: Path) -> None:
    manifest = tmp_path / "app.json"
    manifest.write_text(
        json.dumps(
            {
                "features": {"slash_commands": [{"command": "/mule"}]},
                "settings": {"socket_mode_enabled": True},
            }
        )
    )
    started = [
        sys.executable,
        "-m",
        "lab.slack",
        "--port",
        "0",
        "--no-page",
        "--manifest",
        str(manifest),
    ]
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().split()[-1])
        connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
        connection.request("GET", "/lab/api/state?as=U0ANA")
        state = json.loads(connection.getresponse().read())
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert [each["command"] for each in state["commands"]] == ["/mule"]
