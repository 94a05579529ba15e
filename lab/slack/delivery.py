"""Carry payloads to the app: over its Socket Mode websockets.

Or as signed requests to its Request URL.
"""

import asyncio
import copy
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from lab.slack.cuts import READ, Cutter
from lab.slack.faults import Cut, Faults, Repeat
from lab.slack.people import APP_ID

Json = dict[str, Any]

MOST_SOCKETS = 10
EVENT_RETRIES = 3
PING_SECONDS = 0.5
"""Far oftener than Slack: slack_sdk's client can be closed only between two reads.

And each ping is one.
"""
TIMEOUT = "operation_timeout"
UNREACHED = "dispatch_failed"


@dataclass(frozen=True, slots=True)
class Reply:
    """The app's answer to one delivery.

    Attributes:
        ok: It acknowledged in time.
        payload: What it sent along with the ack; None when nothing.
        milliseconds: From sending to the ack (or to giving up).
        error: ``operation_timeout`` or ``dispatch_failed`` when not ok, as Slack shows it.
    """

    ok: bool
    payload: Any
    milliseconds: float
    error: str = ""


@dataclass(slots=True, eq=False)
class Socket:
    """One Socket Mode connection and the envelopes it has yet to acknowledge."""

    ws: web.WebSocketResponse
    request: web.Request
    waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    delivered: int = 0


@dataclass(slots=True)
class Delivery:
    """Sends each payload to exactly one connection and waits for its ack."""

    faults: Faults
    ack_seconds: float
    on_change: Callable[[], None]
    sockets: list[Socket] = field(default_factory=list)
    request_url: str = ""
    signing_secret: str = ""
    session: aiohttp.ClientSession | None = None
    sent: int = 0
    connection: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the app has a connection."""

    @property
    def connected(self) -> bool:
        """Whether there is anywhere to send to."""
        return bool(self.sockets or self.request_url)

    async def send(self, kind: str, payload: Json) -> list[Reply]:
        """Deliver a payload; kind is slash_commands, interactive or events_api.

        Answers one reply a delivery: one, or two when a duplicate was asked for (its reply comes
            second).
        """
        delay = self.faults.take_delay()
        if delay:
            await asyncio.sleep(delay)
        repeat = self.faults.take_repeat()
        first = self._deliver(kind, payload, None)
        if repeat is None:
            return [await first]
        again = copy.deepcopy(payload)
        if repeat.new_event_id and "event_id" in again:
            again["event_id"] = "Ev" + secrets.token_hex(5).upper()
        return list(await asyncio.gather(first, self._deliver(kind, again, repeat)))

    async def _deliver(self, kind: str, payload: Json, repeat: Repeat | None) -> Reply:
        attempt = 1 if repeat and repeat.retry_headers else 0
        cut = self.faults.take_cut() if self.sockets else None
        reply = await self._attempt(kind, payload, attempt, cut)
        if cut is not None and cut.again:
            await self.connection.wait()
            attempt += 1
            reply = await self._attempt(kind, payload, attempt)
        while (
            kind == "events_api"
            and not reply.ok
            and self.faults.redeliver_unacked
            and attempt < EVENT_RETRIES
        ):
            attempt += 1
            reply = await self._attempt(kind, payload, attempt)
        return reply

    async def _attempt(
        self, kind: str, payload: Json, attempt: int, cut: Cut | None = None
    ) -> Reply:
        started = time.perf_counter()
        try:
            if self.request_url:
                answer = await asyncio.wait_for(
                    self._post(kind, payload, attempt), self.ack_seconds
                )
            else:
                answer = await asyncio.wait_for(
                    self._over_socket(kind, payload, attempt, cut), self.ack_seconds
                )
        except TimeoutError:
            return Reply(ok=False, payload=None, milliseconds=_since(started), error=TIMEOUT)
        except (ConnectionError, aiohttp.ClientError) as problem:
            return Reply(
                ok=False, payload=str(problem), milliseconds=_since(started), error=UNREACHED
            )
        return Reply(ok=True, payload=answer, milliseconds=_since(started))

    # -- Socket Mode

    def _next_socket(self) -> Socket:
        live = [each for each in self.sockets if not each.ws.closed]
        if not live:
            raise ConnectionError("no app is connected")
        self.sent += 1
        return live[self.sent % len(live)]

    async def _over_socket(
        self, kind: str, payload: Json, attempt: int, cut: Cut | None = None
    ) -> Any:
        socket = self._next_socket()
        envelope: Json = {
            "envelope_id": secrets.token_hex(16),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": "timeout" if attempt else ""}
        acked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        socket.waiting[envelope["envelope_id"]] = acked
        socket.delivered += 1
        transport = socket.request.transport
        try:
            if cut is not None and transport is not None:
                transport.set_protocol(Cutter(transport, cut.at))
            await socket.ws.send_str(json.dumps(envelope))
            if cut is not None:
                await socket.ws.ping(READ)
            return await acked
        finally:
            socket.waiting.pop(envelope["envelope_id"], None)

    async def serve_socket(self, request: web.Request) -> web.WebSocketResponse:
        """Hold one Socket Mode connection until it closes."""
        ws = web.WebSocketResponse(heartbeat=None, max_msg_size=4 * 1024 * 1024)
        await ws.prepare(request)
        if len(self.sockets) >= MOST_SOCKETS:
            await ws.send_json(_disconnect_frame("too_many_websockets"))
            await ws.close()
            return ws
        socket = Socket(ws, request)
        self.sockets.append(socket)
        self.connection.set()
        await ws.send_json(_hello(len(self.sockets)))
        self.on_change()
        pinging = asyncio.get_running_loop().create_task(_ping(ws))
        try:
            async for message in ws:
                if message.type == aiohttp.WSMsgType.TEXT:
                    self._acknowledge(socket, message.data)
        finally:
            pinging.cancel()
            self._forget(socket)
        return ws

    def _acknowledge(self, socket: Socket, data: str) -> None:
        try:
            frame = json.loads(data)
        except ValueError:
            return  # Slack ignores what is not JSON
        waiting = socket.waiting.get(str(frame.get("envelope_id")))
        if waiting is not None and not waiting.done():
            waiting.set_result(frame.get("payload"))

    def _forget(self, socket: Socket) -> None:
        if socket in self.sockets:
            self.sockets.remove(socket)
        if not self.sockets:
            self.connection.clear()
        for waiting in socket.waiting.values():
            if not waiting.done():
                waiting.set_exception(
                    ConnectionError("the app's connection closed before it acknowledged")
                )
        self.on_change()

    async def disconnect(self, reason: str, *, abrupt: bool) -> None:
        """Close every connection, with Slack's disconnect frame unless `abrupt`."""
        for socket in list(self.sockets):
            if abrupt:
                self._forget(socket)
                if socket.request.transport is not None:
                    socket.request.transport.abort()
                continue
            with suppress(ConnectionError):
                await socket.ws.send_json(_disconnect_frame(reason))
            self._forget(socket)
            await socket.ws.close()

    # -- HTTP mode

    async def _post(self, kind: str, payload: Json, attempt: int) -> Any:
        body, content_type = encode(kind, payload)
        headers = {"Content-Type": content_type, **signature(self.signing_secret, body)}
        if attempt:
            headers |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "http_timeout"}
        if self.session is None:
            raise ConnectionError("the workspace is not running")
        async with self.session.post(self.request_url, data=body, headers=headers) as response:
            text = await response.text()
            if response.status != web.HTTPOk.status_code:
                raise ConnectionError(f"the app answered HTTP {response.status}: {text[:200]}")
            if response.content_type == "application/json" and text:
                return json.loads(text)
            return text or None


def encode(kind: str, payload: Json) -> tuple[bytes, str]:
    """Answer a request's body and content type.

    Commands as a form, interactions as `payload=`, events as JSON.
    """
    form = "application/x-www-form-urlencoded"
    if kind == "slash_commands":
        return urlencode(payload).encode(), form
    if kind == "interactive":
        return urlencode({"payload": json.dumps(payload)}).encode(), form
    return json.dumps(payload).encode(), "application/json"


def signature(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """Answer Slack's signature headers (scheme v0) for a request's body.

    `at` seconds since the epoch.
    """
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(
        secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256
    ).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


async def _ping(ws: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while not ws.closed:
            await ws.ping(b"Ping from drover lab")
            await asyncio.sleep(PING_SECONDS)


def _hello(connections: int) -> Json:
    return {
        "type": "hello",
        "num_connections": connections,
        "connection_info": {"app_id": APP_ID},
        "debug_info": {
            "host": "drover-lab",
            "build_number": 1,
            "approximate_connection_time": 18060,
        },
    }


def _disconnect_frame(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "drover-lab"}}
