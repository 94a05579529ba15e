"""Slack's own JavaScript SDK, @slack/bolt from npm, works against the workspace in both modes."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.slack import Message, Workspace
from lab.slack.build import Node, find_node

HERE = Path(__file__).parent / "js"
INSTALLED = HERE / "node_modules" / ".package-lock.json"


@pytest.fixture(scope="module")
def node() -> Node:
    """Node, with @slack/bolt installed as the lock file says."""
    node = find_node()
    lock = HERE / "package-lock.json"
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(
            [*node.npm, "ci", "--ignore-scripts"],
            cwd=HERE,
            env=dict(node.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(
                f"npm ci could not install @slack/bolt; run it in {HERE} to see why:\n{done.stderr}"
            )
    return node


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@pytest.fixture(params=["socket", "http"])
def js(request: pytest.FixtureRequest, workspace: Workspace, node: Node) -> Iterator[Workspace]:
    """The workspace with the JavaScript app connected."""
    told = {
        "SLACK_API_URL": workspace.web_api,
        "SLACK_BOT_TOKEN": workspace.bot_token,
        "SLACK_APP_TOKEN": workspace.app_token,
        "SLACK_SIGNING_SECRET": workspace.signing_secret,
        "HTTP_PORT": str(free_port()) if request.param == "http" else "",
    }
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    own = {name: value for name, value in os.environ.items() if name not in proxies}
    process = subprocess.Popen(
        [str(node.node), "app.mjs"],
        cwd=HERE,
        env=own | told,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        if request.param == "http":
            workspace.deliver_to(f"http://127.0.0.1:{told['HTTP_PORT']}/slack/events")
        else:
            workspace.wait_connected()
        yield workspace
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture
def choice(js: Workspace) -> Message:
    ack = js.person("ana").command("/kvm create")
    assert ack.ok, ack.text
    return js.wait_message("#ops", lambda each: bool(each.buttons()))


def test_a_command_is_acknowledged_with_text_and_a_message_posted(
    js: Workspace, choice: Message
) -> None:
    assert [each.text for each in js.person("ana").ephemerals()] == ["js heard create"]
    assert choice.plain() == "[Open] [Replace] [Host ▾]"


def test_a_modal_is_opened_refused_and_taken(js: Workspace, choice: Message) -> None:
    ana = js.person("ana")
    assert ana.click(choice, "open").ok
    view = ana.wait_view(title="Name it")
    assert dict(ana.submit(view, {"name": "bad"}).errors) == {"name": "Another one."}
    assert ana.submit(view, {"name": "web-9"}).ok
    assert js.wait_message("#ops", lambda each: each.text == "<@U0ANA> named it web-9")
    assert ana.view is None


def test_a_click_replaces_its_message_and_a_select_is_filled(
    js: Workspace, choice: Message
) -> None:
    ana = js.person("ana")
    assert ana.options(choice, "host", "-b") == [("host-b", "host-b")]
    assert ana.click(choice, "replace").ok
    replaced = js.wait_message("#ops", lambda each: each.text == "replaced v1")
    assert (replaced.ts, replaced.blocks) == (choice.ts, [])


def test_mentions_home_and_slacks_refusals_reach_javascript(js: Workspace) -> None:
    ana = js.person("ana")
    ana.say("@drover hello")
    said = js.wait_message("#ops", lambda each: each.text == "js in the thread: <@U0DROVER> hello")
    assert said.thread_ts
    ana.say("please refuse")
    expected = (
        "invalid_blocks: must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    )
    assert js.wait_message("#ops", lambda each: each.text == expected)
    ana.open_home()
    assert js.wait_for(lambda: ana.home) is not None
    assert ana.home is not None
    assert ana.home.plain() == "== From JavaScript =="
