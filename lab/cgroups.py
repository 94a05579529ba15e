"""A cgroup subtree for each lab host, on cgroup v1, hybrid and v2 machines."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

# What libvirt tunes guests with. Controllers beyond these stay as the machine has them, so a lab
# never leaves the memory or device limits it was started under (v2 has one tree, so there it moves
# as a whole).
_WANTED = {"cpu", "cpuacct", "cpuset"}
_LEAF = "daemon"
RECORD = ".cgroups.json"
"""How the files end in which a lab writes down its groups."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted cgroup tree: where it is, its controllers, and the group this process is in."""

    mount: Path
    controllers: frozenset[str]
    version: int
    here: Path


def hierarchies() -> list[Hierarchy]:
    """The trees a lab uses: the v1 trees of the wanted controllers, else the one v2 tree."""
    found = [_hierarchy(line) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    trees = [tree for tree in found if tree]
    v1 = {
        tree.controllers: tree for tree in trees if tree.version == 1 and tree.controllers & _WANTED
    }
    if any("cpu" in controllers for controllers in v1):
        return list(v1.values())
    return [tree for tree in trees if "cpu" in tree.controllers][:1]


def missing() -> Iterator[str]:
    """What keeps CPU limits from working here, a sentence each."""
    trees = hierarchies()
    if not trees:
        yield "No cgroup tree with a cpu controller is mounted: mount cgroup2 on /sys/fs/cgroup."
    for tree in trees:
        if os.statvfs(tree.mount).f_flag & os.ST_RDONLY:
            yield (
                f"{tree.mount} is mounted read-only: run on a full machine or in a "
                f"privileged container."
            )


def under_systemd() -> bool:
    """Whether the v2 tree belongs to systemd.

    Which must then be asked for a delegated part of it.
    """
    running = Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") is not None
    return running and all(tree.version == 2 for tree in hierarchies())


def scope(lab: str, host: str) -> list[str]:
    """The start of a command line that runs the rest in a part of systemd's tree delegated.

    To it.
    """
    unit = f"{lab}-{host}"
    argv = ["systemd-run", "--quiet", "--scope", "--collect", "--property=Delegate=yes"]
    return [*argv, f"--unit={unit}", "--"]


def make(directory: Path, lab: str, host: str) -> list[Path]:
    """Make a group for one host in each tree and write them down first.

    So that they can be removed later.
    """
    groups = [tree.here / lab / host for tree in hierarchies()]
    record(directory, host, [group.parent for group in groups])
    for tree, group in zip(hierarchies(), groups, strict=True):
        for path in (group.parent, group):
            _make_group(tree, path)
    return groups


def record(directory: Path, host: str, groups: Sequence[Path]) -> None:
    """Write down which groups are to be removed with the lab.

    A file a host, for they start side by side.
    """
    path = directory / f"{host}{RECORD}"
    known = json.loads(path.read_text()) if path.exists() else []
    staged = directory / f".{path.name}"
    staged.write_text(json.dumps([*known, *map(str, groups)]))
    staged.rename(path)


def settle(directory: Path, host: str, pids: Sequence[int]) -> list[Path]:
    """The groups a host's first processes are in, outermost.

    On v2 they are moved into a leaf of it first.

    A v2 group that hands controllers down may hold no process itself.
    """
    trees = hierarchies()
    if any(tree.version == 1 for tree in trees):
        return [
            tree.mount / _own_path(pids[0], min(tree.controllers)).lstrip("/") for tree in trees
        ]
    group = trees[0].mount / _own_path(pids[0], "").lstrip("/")
    record(directory, host, [group])
    (group / _LEAF).mkdir(exist_ok=True)
    for pid in pids:
        (group / _LEAF / "cgroup.procs").write_text(str(pid))
    _hand_down(group)
    return [group]


def cpu_seconds(groups: Sequence[Path]) -> float:
    """CPU time all processes of a host have used so far, dead ones too.

    0 when its groups are gone.
    """
    for group in groups:
        if (group / "cpuacct.usage").exists():
            return int((group / "cpuacct.usage").read_text()) / 1e9
        if (group / "cpu.stat").exists() and not (group / "cpu.shares").exists():
            return int((group / "cpu.stat").read_text().split()[1]) / 1e6
    return 0.0


def mounts() -> str:
    """Shell lines that show a host its own groups only, where libvirt looks for them.

    The machine's own trees are taken out of sight first: libvirt would read of them in
    /proc/mounts.
    """
    fresh = "umount -R -l /sys\nmount -t sysfs sysfs /sys\n"
    trees = hierarchies()
    if all(tree.version == 2 for tree in trees):
        return fresh + "mount -t cgroup2 cgroup2 /sys/fs/cgroup\n"
    lines = ["mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup"]
    for tree in trees:
        names = ",".join(sorted(tree.controllers))
        lines += [f"mkdir /sys/fs/cgroup/{names}"]
        lines += [f"mount -t cgroup -o {names} cgroup /sys/fs/cgroup/{names}"]
    return fresh + "\n".join(lines) + "\n"


def _hierarchy(line: str) -> Hierarchy | None:
    """Read one line of /proc/self/mountinfo (proc(5))."""
    left, _, right = line.partition(" - ")
    kind, _source, options = right.split(" ", 2)
    root, mount = left.split(" ")[3:5]
    if kind == "cgroup":
        names = frozenset(
            word for word in options.split(",") if word not in {"rw", "ro"} and "=" not in word
        )
        return (
            Hierarchy(Path(mount), names, 1, _here(mount, root, min(names)))
            if names & _WANTED
            else None
        )
    if kind == "cgroup2":
        controllers = frozenset(Path(mount, "cgroup.controllers").read_text().split())
        return Hierarchy(Path(mount), controllers, 2, Path(mount))
    return None


def _here(mount: str, root: str, controller: str) -> Path:
    path = _own_path(os.getpid(), controller)
    # In a container the tree may be mounted from the container's own group down.
    inside = path.removeprefix(root.rstrip("/")) if path.startswith(root) else path
    here = Path(mount, inside.lstrip("/"))
    return here if here.is_dir() else Path(mount)


def _own_path(pid: int, controller: str) -> str:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    raise LabError(f"/proc/{pid}/cgroup names no group for the {controller or 'v2'} controller.")


def _make_group(tree: Hierarchy, group: Path) -> None:
    if tree.version == 2:
        _hand_down(group.parent)
    group.mkdir(exist_ok=True)
    if "cpuset" in tree.controllers and tree.version == 1:
        # A new v1 cpuset is empty, and no process may enter it so.
        for name in ("cpuset.cpus", "cpuset.mems"):
            (group / name).write_text((group.parent / name).read_text())


def _hand_down(group: Path) -> None:
    """Let the groups below use the CPU controllers this group has."""
    have = set((group / "cgroup.controllers").read_text().split())
    for name in sorted(have & _WANTED):
        try:
            (group / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError as error:
            raise LabError(
                f"{group} does not hand its {name} controller down ({error.strerror}): start "
                f"the lab from a"
                " session whose cgroup is delegated, for example with systemd-run --scope -p "
                "Delegate=yes."
            ) from error
