"""A workspace for each test, and ways to bring a Bolt app to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_bolt.adapter.wsgi import SlackRequestHandler
from slack_sdk import WebClient

from bot.adapters.slack.socket_mode import hang_up
from lab.slack import Workspace

Connect = Callable[[App], SocketModeHandler]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing on stderr for each request."""


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace(pace=0) as running:
        yield running


@pytest.fixture
def client(workspace: Workspace) -> WebClient:
    return WebClient(token=workspace.bot_token, base_url=workspace.web_api)


@pytest.fixture
def bare_app(workspace: Workspace, client: WebClient) -> App:
    """An app that listens to nothing yet."""
    return App(client=client, signing_secret=workspace.signing_secret, process_before_response=True)


@pytest.fixture
def connect(workspace: Workspace) -> Iterator[Connect]:
    """Connect a Bolt app in Socket Mode; closed when the test ends."""
    with ExitStack() as stack:

        def connected(app: App) -> SocketModeHandler:
            before = len(workspace.deliveries)
            own = WebClient(token=workspace.app_token, base_url=workspace.web_api)
            handler = SocketModeHandler(app, workspace.app_token, web_client=own, ping_interval=1)
            handler.connect()
            stack.callback(hang_up, handler)
            workspace.wait_connected(sockets=before + 1)
            return handler

        yield connected


@pytest.fixture
def serve_http(workspace: Workspace) -> Iterator[Callable[[App], str]]:
    """Serve a Bolt app over HTTP and have the workspace deliver there; answers the Request URL."""
    with ExitStack() as stack:

        def served(app: App) -> str:
            wsgi = SlackRequestHandler(app, path="/slack/events")
            server = make_server("127.0.0.1", 0, wsgi, handler_class=Quiet)
            thread = Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
            )
            thread.start()
            stack.callback(thread.join, 5)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            url = f"http://127.0.0.1:{server.server_address[1]}/slack/events"
            workspace.deliver_to(url)
            return url

        yield served


@pytest.fixture(params=["socket", "http"])
def bring(request: pytest.FixtureRequest) -> Callable[[App], object]:
    """Bring an app to the workspace, once in each mode."""
    brought: Callable[[App], object] = request.getfixturevalue(
        {"socket": "connect", "http": "serve_http"}[request.param]
    )
    return brought
