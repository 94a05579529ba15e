"""Nothing a bot writes holds a secret: not its log, not its database, not what its commands print, not even failing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.slack import Workspace
from tests.e2e.play import Play

pytestmark = pytest.mark.lab


def everything_written(directory: Path) -> bytes:
    files = [each for each in directory.rglob("*") if each.is_file()]
    assert any(each.suffix == ".log" for each in files)
    return b"".join(each.read_bytes() for each in files)


def test_a_working_and_a_failing_bot_write_no_secret(
    stage: Play, workspace: Workspace, tmp_path: Path
) -> None:
    secrets = (workspace.bot_token, workspace.app_token, workspace.signing_secret)
    stage.asks("hosts")
    stage.told("ana", "3 of 3 hosts up")
    workspace.fault.server_error("chat.postEphemeral", times=4)
    stage.asks("hosts")
    workspace.fault.error("chat.postEphemeral", "invalid_auth", times=2)
    stage.asks("vms")
    workspace.fault.disconnect(abrupt=True)
    printed = [
        stage.bot.command(*words)
        for words in (("check",), ("check", "--json"), ("manifest",), ("plugins",))
    ]
    stage.bot.stop()
    said = (
        everything_written(tmp_path)
        + "".join(each.stdout + each.stderr for each in printed).encode()
    )
    assert b"running" in said
    for secret in secrets:
        assert len(secret) > 8
        assert secret.encode() not in said


def test_a_bot_that_cannot_sign_in_says_so_without_its_token(stage: Play, tmp_path: Path) -> None:
    stage.bot.stop()
    token = "xoxb-000000-not-the-right-one"
    with pytest.raises(Exception, match="did not start"):
        stage.bot.start(SLACK_BOT_TOKEN=token)
    assert b"invalid_auth" in everything_written(tmp_path)
    assert token.encode() not in everything_written(tmp_path)
