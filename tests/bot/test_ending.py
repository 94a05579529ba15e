"""The process ends in ten seconds after a signal, whatever hangs."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import threading, time
from bot import __main__ as program
program._LONGEST_END = 0.2
program._end_for_sure()
threading.Thread(target=time.sleep, args=(600,)).start()
print("hangs", flush=True)
time.sleep(600)
"""


@pytest.mark.process
def test_a_part_that_hangs_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, "hangs\n"), ended.stderr
