"""The Web API's file methods, the upload address and the serving of what was uploaded."""

import mimetypes
import secrets
from typing import Any

from aiohttp import web

from lab.slack import speech
from lab.slack.api_call import Args, Method, SlackError
from lab.slack.people import BOT_USER_ID
from lab.slack.records import Post, StoredFile
from lab.slack.site import Site

Json = dict[str, Any]

_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


def upload_url(args: Args) -> Json:
    """files.getUploadURLExternal."""
    name, length = args.needed("filename"), args.whole("length", 0)
    if length <= 0:
        raise SlackError(
            "invalid_arguments", response_metadata={"messages": ["[ERROR] length must be positive"]}
        )
    file = StoredFile("F" + secrets.token_hex(5).upper(), name.replace("/", "_"), length)
    with args.site.records.change():
        args.site.records.files[file.id] = file
    return {"upload_url": f"{args.site.records.base_url}/upload/{file.id}", "file_id": file.id}


def _uploaded(args: Args) -> list[StoredFile]:
    entries = args.structure("files", "invalid_arguments")
    if not isinstance(entries, list) or not entries:
        raise SlackError("invalid_arguments")
    found: list[StoredFile] = []
    for entry in entries:
        file = args.site.records.files.get(str(entry.get("id")))
        if file is None or not file.uploaded:
            raise SlackError("file_not_found")
        file.title = str(entry.get("title") or file.name)
        found.append(file)
    return found


def complete(args: Args) -> Json:
    """files.completeUploadExternal.

    Makes the files usable and, with a channel, shares them in a message.
    """
    files = _uploaded(args)
    names = [args.text("channel_id"), *args.names("channels")]
    channels = [Args(args.site, {"channel": name}).channel(joined=True) for name in names if name]
    with args.site.records.change():
        for file in files:
            file.ready = True
            file.channels = [each.id for each in channels]
    for channel in channels:
        post = Post(
            channel.id,
            args.site.records.new_ts(),
            BOT_USER_ID,
            args.text("initial_comment"),
            args.structure("blocks", "invalid_blocks_format") or [],
            thread_ts=args.text("thread_ts"),
            files=[file.id for file in files],
        )
        speech.put(args.site, post)
    return {"files": [args.site.records.as_file(file) for file in files]}


def files_info(args: Args) -> Json:
    """files.info."""
    file = args.site.records.files.get(args.text("file"))
    if file is None or not file.ready:
        raise SlackError("file_not_found")
    return {"file": args.site.records.as_file(file)}


def files_delete(args: Args) -> Json:
    """files.delete."""
    with args.site.records.change():
        if args.site.records.files.pop(args.text("file"), None) is None:
            raise SlackError("file_not_found")
    return {}


def _kind_of(name: str, content: bytes) -> str:
    for start, kind in _SIGNATURES.items():
        if content.startswith(start):
            return kind
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return "application/octet-stream" if guessed.startswith("image/") else guessed


async def receive_upload(site: Site, request: web.Request) -> web.Response:
    """Take a file's bytes, sent raw or as a form."""
    file = site.records.files.get(request.match_info["file"])
    if file is None:
        return web.Response(status=404, text="file_not_found")
    content = await _content(request)
    if len(content) != file.length:
        return web.Response(status=400, text=f"expected {file.length} bytes, got {len(content)}")
    with site.records.change():
        file.content, file.mimetype, file.uploaded = content, _kind_of(file.name, content), True
    return web.Response(text=f"OK - {len(content)}")


async def _content(request: web.Request) -> bytes:
    if request.content_type == "multipart/form-data":
        parts = await request.post()
        for part in parts.values():
            if isinstance(part, web.FileField):
                return part.file.read()
            if isinstance(part, bytes):
                return part
        return b""
    return await request.read()


async def serve_file(site: Site, request: web.Request) -> web.Response:
    """Answer an uploaded file; unlike Slack without a token, so that the page can show it."""
    file = site.records.files.get(request.match_info["file"])
    if file is None or not file.ready:
        return web.Response(status=404, text="file_not_found")
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
    if "download" in request.query:
        headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    return web.Response(body=file.content, content_type=file.mimetype, headers=headers)


METHODS = {
    "files.getUploadURLExternal": Method(upload_url, ("files:write",)),
    "files.completeUploadExternal": Method(complete, ("files:write",)),
    "files.info": Method(files_info, ("files:read",)),
    "files.delete": Method(files_delete, ("files:write",)),
}
