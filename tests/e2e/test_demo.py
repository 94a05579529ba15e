"""The demo as people start it: it shows all it says, has moves for `balance`, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_on_a_signal_and_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    kept = tmp_path / "tmp"
    kept.mkdir()
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-m", "bot", "demo"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(kept)},
            stdout=out,
            stderr=out,
        )
    try:
        until(
            lambda: b"The workspace is open at" in log.read_bytes() or process.poll() is not None,
            lambda: log.read_text()[-3000:],
            600,
        )
        assert process.poll() is None, log.read_text()[-3000:]
        process.send_signal(number)
        assert process.wait(120) == 0
        assert list(kept.iterdir()) == []
    finally:
        process.kill()
        process.wait(60)
