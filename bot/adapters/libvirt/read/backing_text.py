"""Read what an image names as the one beneath it, in the spellings that QEMU takes.

A path, ``file:…``, ``json:{…}`` and a network image's URL (QEMU's docs/system/images and
block-core.json). libvirt hands out the text of the image as it is.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from bot.domain.backing import network_image

_NETWORK = ("rbd", "gluster")
_PLAIN_FILE = frozenset({"", "file", "host_device", "host_cdrom"})
_DEEPEST = 50  # layers of filters and formats that one description nests; more is nonsense


def base_of(text: str, directory: str) -> str:
    """Return the path of the image beneath, ``kind:name`` of a network image, '' for none.

    A relative path is one from ``directory``, where the image lies. What cannot be read comes back
    as it is, so that it is told apart from nothing.
    """
    if text.startswith("json:"):
        return _of_json(text, directory)
    if text.startswith("file:"):
        return _absolute(text.removeprefix("file:"), directory)
    for kind in _NETWORK:
        if text.startswith((f"{kind}:", f"{kind}+")):
            return _of_network(kind, text)
    return _absolute(text, directory)


def is_place(base: str) -> bool:
    """Tell whether an answer of ``base_of`` names an image that can be looked for."""
    return not base.startswith("json:")


def _absolute(path: str, directory: str) -> str:
    protocol = ":" in path.partition("/")[0]
    return path if not path or protocol else posixpath.join(directory, path)


def _of_network(kind: str, text: str) -> str:
    """Return ``rbd:pool/image`` of ``rbd:pool/image:id=x``; of a URL its path."""
    if "://" in text:
        return network_image(kind, unquote(urlsplit(text).path).lstrip("/"))
    name = text.partition(":")[2].replace("\\:", "\0").partition(":")[0].replace("\0", ":")
    return network_image(kind, name)


def _of_json(text: str, directory: str) -> str:
    try:
        told = json.loads(text.removeprefix("json:"))
    except ValueError:
        return text
    found = _innermost(_nest(told)) if isinstance(told, dict) else ""
    return _absolute(found, directory) if found else text


def _nest(flat: Mapping[str, object]) -> dict[str, object]:
    """Return ``{"file": {"driver": …}}`` of ``{"file.driver": …}``."""
    made: dict[str, object] = {}
    for key, value in flat.items():
        at, (*way, last) = made, key.split(".")
        for part in way:
            at = _into(at, part)
        at[last] = _nest(value) if isinstance(value, dict) else value
    return made


def _into(at: dict[str, object], part: str) -> dict[str, object]:
    below = at.get(part)
    if not isinstance(below, dict):
        below = at[part] = {}
    return below


def _innermost(node: Mapping[str, object]) -> str:
    """Return the file or network image at the end of a description, '' when none is found."""
    for _ in range(_DEEPEST):
        driver = str(node.get("driver", ""))
        if driver in _NETWORK:
            return _network_name(driver, node)
        found = node.get("filename")
        if isinstance(found, str) and driver in _PLAIN_FILE:
            return found.removeprefix("file:")
        below = node.get("file")
        if not isinstance(below, dict):
            return ""
        node = below
    return ""


def _network_name(driver: str, node: Mapping[str, object]) -> str:
    keys = ("volume", "path") if driver == "gluster" else ("pool", "namespace", "image")
    parts = [str(node.get(key) or "").strip("/") for key in keys]
    return network_image(driver, "/".join(each for each in parts if each))
