"""The HTTP server: routes, the built page, and a thread to run it in."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from lab.slack import api_files, page_api, response_urls, web_api
from lab.slack.site import Site

PAGE = Path(__file__).parent / "page" / "dist"
NOT_BUILT = """<!doctype html><meta charset="utf-8"><title>Drover Lab</title>
<h1>The workspace runs, but its page is not built</h1>
<p>Build it with <code>python -m lab.slack.build</code>, then load this again.</p>
"""
MOST_BYTES = 64 * 1024 * 1024
Handler = Callable[[Site, web.Request], Awaitable[web.StreamResponse]]


def _bound(site: Site, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(site, request)

    return handle


@web.middleware
async def only_local(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse other hosts' names and pages: a website must not drive the lab through the browser."""
    host = request.host.rsplit(":", 1)[0]
    origin = request.headers.get("Origin", "")
    if host not in ("127.0.0.1", "localhost"):
        return web.Response(status=403, text="this workspace answers to 127.0.0.1 only")
    if origin and origin.split("://", 1)[-1].rsplit(":", 1)[0] not in ("127.0.0.1", "localhost"):
        return web.Response(status=403, text="pages of other sites may not use this workspace")
    return await handler(request)


async def _page(_: Site, request: web.Request) -> web.StreamResponse:
    """Answer the built page or one of its assets; unknown paths get the page."""
    wanted = (PAGE / (request.match_info.get("path") or "index.html")).resolve()
    if PAGE.resolve() in wanted.parents and wanted.is_file():
        return web.FileResponse(wanted)
    index = PAGE / "index.html"
    if index.is_file():
        return web.FileResponse(index)
    return web.Response(text=NOT_BUILT, content_type="text/html")


async def _socket(site: Site, request: web.Request) -> web.StreamResponse:
    return await site.delivery.serve_socket(request)


def build(site: Site) -> web.Application:
    """Answer the application with every route."""
    app = web.Application(client_max_size=MOST_BYTES, middlewares=[only_local])
    app.router.add_route("*", "/api/{method}", _bound(site, web_api.serve_call))
    app.router.add_get("/link/", _bound(site, _socket))
    app.router.add_post("/actions/{team}/{secret}", _bound(site, response_urls.receive))
    app.router.add_post("/upload/{file}", _bound(site, api_files.receive_upload))
    app.router.add_get("/files/{file}/{name}", _bound(site, api_files.serve_file))
    app.router.add_get("/lab/api/live", _bound(site, page_api.serve_live))
    app.router.add_get("/lab/api/{what}", _bound(site, page_api.serve_read))
    app.router.add_post("/lab/api/{what}", _bound(site, page_api.serve_act))
    app.router.add_get("/{path:.*}", _bound(site, _page))
    return app


class Server:
    """Runs a site on 127.0.0.1 in a thread of its own."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.port = port
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="slack-lab", daemon=True)

    def start(self) -> None:
        """Start and wait until it listens; OSError when the port is taken."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Close every connection and wait for the thread to end."""
        loop = self.site.loop
        if loop is not None and self._stop is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as problem:
            self._failure = problem
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.site.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        runner = web.AppRunner(build(self.site), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        async with aiohttp.ClientSession(trust_env=False) as session:
            self.site.delivery.session = session
            try:
                await web.TCPSite(runner, "127.0.0.1", self.port).start()
                self.port = runner.addresses[0][1]
                self.site.records.base_url = f"http://127.0.0.1:{self.port}"
                self._ready.set()
                await self._stop.wait()
            finally:
                await self.site.delivery.disconnect("link_disabled", abrupt=False)
                await runner.cleanup()
