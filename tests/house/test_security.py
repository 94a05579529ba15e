"""SECURITY.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_security_md_names_exists() -> None:
    named = NAMED.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for file, test in named:
        assert (
            f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")
            if test
            else (ROOT / file).exists()
        ), (
            file,
            test,
        )
