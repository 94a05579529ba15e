"""A file that nobody can open: storage that hangs for as long as a test wants."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError

# Numbers of the kernel: see fanotify(7).
_CLOEXEC, _CLASS_CONTENT = 0x01, 0x04
_MARK_ADD = 0x01
_OPEN_PERM = 0x10000
_AT_FDCWD = -100


@contextlib.contextmanager
def closed_gate(path: Path) -> Iterator[None]:
    """Let every ``open`` of the file at ``path`` wait until this context ends.

    The kernel asks this process before anybody opens the file, in whatever mount namespace and also
    with ``O_NONBLOCK`` (fanotify's permission events). Nobody answers; when the question's
    descriptor is closed, the kernel lets everybody go on.

    Raises:
        LabError: the kernel does not offer it, or this process may not.
    """
    kernel = ctypes.CDLL(None, use_errno=True)
    asked = kernel.fanotify_init(_CLOEXEC | _CLASS_CONTENT, os.O_RDONLY)
    if asked < 0:
        raise LabError(f"fanotify_init failed: {os.strerror(ctypes.get_errno())}")
    with contextlib.closing(os.fdopen(asked, "rb", buffering=0)):
        event = ctypes.c_uint64(_OPEN_PERM)
        if kernel.fanotify_mark(asked, _MARK_ADD, event, _AT_FDCWD, os.fsencode(path)) < 0:
            raise LabError(f"fanotify_mark of {path}: {os.strerror(ctypes.get_errno())}")
        yield
