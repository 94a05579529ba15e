"""A host of another Debian release: its tree is made once, and what keeps it from being made is said in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab import Lab, LabError, packages, releases


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "drover" / "releases"


@pytest.fixture
def made(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every program that is asked to make a tree; none is run."""
    asked: list[list[str]] = []

    def run(_release: str, argv: list[str]) -> None:
        asked.append(argv)
        if argv[0] == "debootstrap":
            Path(argv[3], "usr/sbin").mkdir(parents=True)

    monkeypatch.setattr(releases, "_run", run)
    monkeypatch.setattr(releases, "missing", lambda: iter(()))
    monkeypatch.setattr(releases, "mirror", lambda: "http://archive.example/debian/")
    return asked


def test_a_tree_is_made_once_from_the_machines_own_archive_and_kept(
    cache: Path, made: list[list[str]]
) -> None:
    tree = releases.tree("trixie")
    assert tree == cache / "trixie"
    assert made[0][-1] == "http://archive.example/debian/"
    assert "libvirt-daemon-system" in made[-2]
    assert not (tree / "usr/sbin/policy-rc.d").exists()
    count = len(made)
    assert releases.tree("trixie") == tree
    assert len(made) == count


def test_a_tree_of_other_packages_is_made_anew_and_what_was_broken_off_is_removed(
    cache: Path, made: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.tree("trixie")
    (cache / ".trixie-broken").mkdir()
    monkeypatch.setattr(releases, "PACKAGES", ("libvirt-daemon-system", "more"))
    count = len(made)
    releases.tree("trixie")
    assert len(made) == 2 * count
    assert sorted(path.name for path in cache.iterdir()) == ["trixie", "trixie.lock"]


def test_a_failure_leaves_nothing_and_tells_the_last_words(
    cache: Path, made: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    del made

    def run(_release: str, argv: list[str]) -> None:
        raise LabError(releases._failure("trixie", argv, "no such release"))

    monkeypatch.setattr(releases, "_run", run)
    with pytest.raises(LabError, match=r"(?s)debootstrap said:\nno such release.*try again"):
        releases.tree("trixie")
    assert [path.name for path in cache.iterdir()] == ["trixie.lock"]


def test_what_is_missing_is_told_with_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cache
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **how: None if name == "debootstrap" else which(name, **how)
    )
    with pytest.raises(LabError, match="apt-get install --no-install-recommends debootstrap"):
        releases.tree("trixie")


def test_sources_without_an_archive_of_debian_are_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cache
    monkeypatch.setattr(
        packages, "run", lambda _argv, _directory: "http://a.example/\tOther\tnoble\n"
    )
    monkeypatch.setattr(shutil, "which", lambda name, **_how: f"/usr/bin/{name}")
    assert releases.mirror() is None
    assert "name no archive of Debian" in "".join(releases.missing())


@pytest.mark.parametrize("release", ["", "../etc", "Trixie", "a b"])
def test_what_cannot_name_a_release_is_refused(release: str) -> None:
    with pytest.raises(LabError, match="cannot name a release"):
        releases.tree(release)


def test_a_release_for_a_host_that_the_lab_does_not_have_is_refused() -> None:
    with pytest.raises(LabError, match="no host 'host-d', only host-a"):
        Lab(2, release={"host-d": "trixie"})
