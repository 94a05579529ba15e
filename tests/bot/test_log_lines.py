"""A log holds no secret, and what a VM is called neither forges a line nor moves a cursor."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest
import structlog

from bot.__main__ import main
from bot.log_lines import configure_logging

NASTY = "a\x1b[2J\x9b2J\u202eb\u200b\n2026-11-27 [info     ] op-5 approved by=UBRUNO"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]")


class Terminal(io.StringIO):
    """What stderr is when somebody looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[Terminal, io.StringIO])
def stderr(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[io.StringIO]:
    found: io.StringIO = request.param()
    root, before = logging.getLogger(), structlog.get_config()
    handlers, root.handlers = root.handlers, []
    levels = {
        name: logging.getLogger(name).level
        for name in ("slack_sdk.web.base_client", "paramiko.transport")
    }
    level = root.level
    monkeypatch.setattr(sys, "stderr", found)
    configure_logging("info")
    yield found
    root.handlers = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    structlog.configure(**before)


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_name_forges_no_line_and_orders_no_terminal_about(stderr: io.StringIO) -> None:
    structlog.get_logger().warning("vm unreadable", vm=NASTY, error=NASTY.replace(" ", ""))
    logging.getLogger("vendor").warning("host said %s", "\x1b[2J\x9b\u202e")
    shown = without_colours(stderr.getvalue())
    assert HARMFUL.search(shown) is None
    assert len(shown.splitlines()) == 2
    assert "vm unreadable" in shown
    assert "host said" in shown


def calls_slack(token: str) -> None:
    assert token
    raise ValueError(NASTY)


def test_a_traceback_shows_no_values(stderr: io.StringIO) -> None:
    token = "xoxb-very-secret"
    try:
        calls_slack(token)
    except ValueError:
        structlog.get_logger().exception("it failed")
    shown = without_colours(stderr.getvalue())
    assert "ValueError" in shown
    assert "calls_slack" in shown
    assert token not in shown
    assert HARMFUL.search(shown) is None


@pytest.mark.usefixtures("stderr")
def test_what_a_single_command_logs_is_not_in_its_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr(sys, "argv", ["drover", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    structlog.get_logger().warning("vm unreadable")
    shown = capsys.readouterr()
    assert "Usage" in shown.out
    assert "vm unreadable" not in shown.out
    assert "vm unreadable" in shown.err
