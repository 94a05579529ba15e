"""What `docker compose up` does with compose.yaml, done without Docker: each key that it has counts, none is skipped.

A service runs on its image's own root, which is read-only, as the image's user, without capabilities, with the
environment, secrets and volumes that the file gives it. The network is the machine's.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.postgres import Postgres, _as_server

ROOT = Path(__file__).parents[2]
SERVICE_KEYS = frozenset(
    {"build", "cap_drop", "depends_on", "environment", "healthcheck", "image", "read_only", "restart", "secrets", "security_opt", "tmpfs", "volumes"}
)  # fmt: skip
"""Keys of a service that this module, or Docker alone (``restart``), acts on."""
# The image's root and what the file mounts into it; then the service, with nothing it could become root by
_ENTER = """
set -e
mount --make-rprivate /
root=$1; user=$2; group=$3; shift 3
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
    place=$root${1#*:}; from=${1%%:*}; how=${1##*:}; place=${place%:r[ow]}
    if [ -d "$from" ]; then mkdir -p "$place"; else mkdir -p "$(dirname "$place")"; touch "$place"; fi
    mount --bind "$from" "$place"
    [ "$how" = ro ] && mount -o remount,bind,ro "$place"
    shift
done
shift
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
for each in $TMPFS; do mount -t tmpfs tmpfs "$root$each"; done
unset TMPFS
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


@dataclass(frozen=True)
class Image:
    """An image's root file system, and what it says of its programs."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """What ``ENV`` of its Dockerfile sets."""
        return dict(each.split("=", 1) for each in self.config["Env"])


def service(name: str) -> Mapping[str, Any]:
    """Return one service of compose.yaml."""
    found = document()["services"][name]
    assert set(found) <= SERVICE_KEYS, f"not looked at: {set(found) - SERVICE_KEYS}"
    return dict(found)


def document() -> dict[str, Any]:
    """Return compose.yaml whole."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))


def argv(image: Image, name: str, folder: Path, *more: str) -> list[str]:
    """How a service's program, or another one in its container, is run; ``folder`` holds compose.yaml's files.

    ``more``: mounts of the test's own, FROM:TO.
    """
    found = service(name)
    assert found["cap_drop"] == ["ALL"], "--bounding-set=-all"
    assert found["security_opt"] == ["no-new-privileges:true"], "--no-new-privs"
    assert found["read_only"] is True
    mounts = [*_volumes(found, folder), *_secrets(found, folder), *more]
    user, group = _numbers(image)
    return [
        *_environment(image, name), f"TMPFS={' '.join(found['tmpfs'])}", "unshare", "--mount", "sh", "-c", _ENTER, "sh",
        str(image.root), user, group, *sorted(mounts, key=lambda each: each.split(":")[1]), "--",
        "sh", "-c", f"cd {image.config['WorkingDir']} && exec \"$@\"", "sh",
    ]  # fmt: skip


def inside(image: Image, name: str, pid: int) -> list[str]:
    """How another program is run in the container of a service whose first process is ``pid``."""
    user, group = _numbers(image)
    return [
        *_environment(image, name), "nsenter", f"--target={pid}", "--mount", "--root", "--wd", "--",
        "setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs", "--bounding-set=-all",
    ]  # fmt: skip


def _environment(image: Image, name: str) -> list[str]:
    given = {**image.environment, **service(name)["environment"], "HOME": "/var/lib/drover"}
    return ["env", "-i", *(f"{key}={value}" for key, value in given.items())]


def _volumes(found: Mapping[str, Any], folder: Path) -> list[str]:
    """Bind mounts as they stand; a named volume is a folder beside them, as Docker makes one."""
    named = document()["volumes"]
    mounts = []
    for each in found["volumes"]:
        where, _, rest = each.partition(":")
        if not where.startswith("./"):
            assert where in named, f"the volume {where} is not declared"
        assert (folder / where).exists(), f"{each}: nobody has made {where}"
        mounts.append(f"{folder / where}:{rest}")
    return mounts


def _secrets(found: Mapping[str, Any], folder: Path) -> list[str]:
    declared = document()["secrets"]
    return [
        f"{folder / declared[each]['file']}:/run/secrets/{each}:ro" for each in found["secrets"]
    ]


def _numbers(image: Image) -> tuple[str, str]:
    """Return the user and the group of the image's user."""
    users = (image.root / "etc/passwd").read_text(encoding="utf-8")
    user = re.search(rf"^{image.config['User']}:x:(\d+):(\d+):", users, re.MULTILINE)
    assert user, users
    return user[1], user[2]


def inspected(buildah: tuple[str, ...], container: str) -> Image:
    """Read an image by a container of it, whose root is mounted."""
    told = subprocess.run([*buildah, "inspect", container], capture_output=True, check=True)
    root = subprocess.run(
        [*buildah, "mount", container], capture_output=True, text=True, check=True
    )
    return Image(Path(root.stdout.strip()), json.loads(told.stdout)["Docker"]["config"])


def database(server: Postgres, folder: Path) -> None:
    """Set the server up as the image of the service ``db`` does by its environment: a user with a password."""
    environment = service("db")["environment"]
    (secret,) = service("db")["secrets"]
    assert environment["POSTGRES_PASSWORD_FILE"] == f"/run/secrets/{secret}"
    password = (folder / document()["secrets"][secret]["file"]).read_text(encoding="utf-8")
    user, name = environment["POSTGRES_USER"], environment["POSTGRES_DB"]
    url = f"postgresql://drover@127.0.0.1:{server.port}/postgres"
    psql = [str(server.bin / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", url, "-c"]
    rename = [] if user == "drover" else [f'CREATE ROLE "{user}" LOGIN']
    for each in (
        *rename,
        f"ALTER ROLE \"{user}\" PASSWORD '{password}'",
        f'CREATE DATABASE "{name}" OWNER "{user}"',
    ):
        _as_server([*psql, each])
    rules = server.data / "pg_hba.conf"
    rules.write_text(
        rules.read_text(encoding="utf-8").replace("trust", "scram-sha-256"), encoding="utf-8"
    )
    server.run("reload")
