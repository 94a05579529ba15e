"""What programs on hosts say, taken apart; texts as the real programs write them."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.readiness import CommandResult, Severity
from plugins.host_check import probes, readings
from plugins.host_check.findings import Seen
from plugins.host_check.readings import Mode

VALIDATE = """\
  QEMU: Checking for hardware virtualization                                 : PASS
  QEMU: Checking if device /dev/vhost-net exists                             : WARN (Load the 'vhost_net' module)
  QEMU: Checking for cgroup 'cpu' controller support                         : PASS
  QEMU: Checking for device assignment IOMMU support                         : FAIL (No ACPI DMAR table found)
  QEMU: Checking for secure guest support                                    : NOTE (AMD SEV is off)
"""
UNITS = "libvirtd.service inactive\nlibvirtd.socket inactive\n"


def seen(**answers: str) -> Seen:
    return Seen(
        "host-a",
        answers={name.replace("_", "-"): CommandResult(0, text) for name, text in answers.items()},
    )


def test_the_rows_of_virt_host_validate() -> None:
    assert readings.validate_rows(VALIDATE) == {
        "for hardware virtualization": (Severity.PASS, ""),
        "if device /dev/vhost-net exists": (Severity.WARN, "Load the 'vhost_net' module"),
        "for cgroup 'cpu' controller support": (Severity.PASS, ""),
        "for device assignment IOMMU support": (Severity.FAIL, "No ACPI DMAR table found"),
        "for secure guest support": (Severity.PASS, "AMD SEV is off"),
    }


def test_only_lines_that_set_something_are_settings() -> None:
    text = '#listen_tls = 0\n\n  listen_tcp=1  \nauth_tcp = "none"\n # x = 1\nlist = [ "a" ]\n'
    assert readings.settings_in(text) == {"listen_tcp": "1", "auth_tcp": "none", "list": '[ "a" ]'}


@pytest.mark.lab
@pytest.mark.parametrize("file", ["libvirtd.conf", "qemu.conf"])
def test_libvirts_lens_knows_every_key_of_libvirts_own_file(file: str) -> None:
    """The files that the distribution ships hold every option as a comment."""
    keys = readings.known_keys(
        Path("/usr/share/augeas/lenses", probes.LENSES[file]).read_text(encoding="utf-8")
    )
    example = Path("/etc/libvirt", file).read_text(encoding="utf-8")
    shown = {
        line[1:].split("=")[0].strip()
        for line in example.splitlines()
        if line.startswith("#") and " = " in line
    }
    shown = {each for each in shown if each.replace("_", "").isalnum() and " " not in each}
    assert len(shown) > 20
    assert shown <= keys
    assert not {"live_migration", "max_client_connections"} & keys


def test_listeners_of_ss() -> None:
    text = "LISTEN 0 128 10.77.0.11:22 0.0.0.0:*\nLISTEN 0 30 [::]:16509 [::]:*\nLISTEN 0 5 127.0.0.1%lo:53 0.0.0.0:*"
    assert list(readings.listeners(text)) == [("10.77.0.11", 22), ("::", 16509), ("127.0.0.1", 53)]


@pytest.mark.parametrize(
    ("address", "own"), [("127.0.1.1", True), ("::1", True), ("*", False), ("10.0.0.1", False)]
)
def test_loopback(address: str, own: bool) -> None:  # noqa: FBT001 - a table
    assert readings.is_loopback(address) is own


@pytest.mark.parametrize(
    ("processes", "units", "mode", "activated"),
    [
        ("/usr/sbin/libvirtd --listen", "", Mode.MONOLITHIC, False),
        ("", "libvirtd.socket active", Mode.MONOLITHIC, True),
        ("/usr/sbin/virtqemud --timeout 120", "virtqemud.socket active", Mode.MODULAR, True),
        ("", "virtqemud.socket active", Mode.MODULAR, True),
        ("/usr/sbin/libvirtd", "virtqemud.socket active", Mode.BOTH, True),
        ("/usr/sbin/sshd -D", "libvirtd.service inactive", Mode.UNKNOWN, False),
        ("grep libvirtd", "", Mode.UNKNOWN, False),
    ],
)
def test_how_the_daemons_run(processes: str, units: str, mode: Mode, activated: bool) -> None:  # noqa: FBT001
    looked = seen(processes=processes, units=units)
    assert readings.mode(looked) is mode
    assert readings.socket_activated(looked) is activated


def test_controllers_of_both_versions_of_cgroups() -> None:
    old = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup /sys/fs/cgroup/mem cgroup rw,memory 0 0"
    assert readings.controllers(seen(cgroup_mounts=old)) == {"cpu", "cpuacct", "memory"}
    new = seen(
        cgroup_mounts="cgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
        cgroup_controllers="cpuset cpu io memory pids",
    )
    assert readings.controllers(new) == {"cpuset", "cpu", "cpuacct", "blkio", "memory", "devices"}
    assert readings.controllers(seen()) == frozenset()


def test_the_people_of_a_group() -> None:
    assert readings.members("libvirt:x:110:ann,bob\n") == ("ann", "bob")
    assert readings.members("libvirt:x:110:\n") == ()


def openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def certificate(path: Path, days: int, signed_by: Path | None = None) -> None:
    """A certificate, of its own or of another's, with its key beside it."""
    signer = [] if signed_by is None else ["-CA", str(signed_by), "-CAkey", f"{signed_by}.key"]
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key", "-out", str(path),
            "-subj", f"/CN={path.stem}", "-days", str(days), *signer)  # fmt: skip


def looked_at(places: str) -> dict[str, readings.Certificate]:
    words = probes.certificate_script(places)
    told = subprocess.run(["sh", "-c", probes.script([probes.Probe("certificates", words)])],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return {
        each.file: each
        for each in readings.certificates(probes.parse_answers(told.stdout)["certificates"].out)
    }


@pytest.mark.process
def test_a_real_certificates_end_and_issuer_are_read_from_what_openssl_says(tmp_path: Path) -> None:
    certificate(tmp_path / "ca.pem", 400)
    certificate(tmp_path / "other.pem", 400)
    certificate(tmp_path / "good.pem", 20, tmp_path / "ca.pem")
    certificate(tmp_path / "strange.pem", 20, tmp_path / "other.pem")
    (tmp_path / "broken.pem").write_text("nothing")
    files = " ".join(
        f"{tmp_path}/{name}.pem" for name in ("ca", "good", "strange", "broken", "none")
    )
    found = looked_at(f"signed {files}")
    ends = found["good.pem"].ends
    assert ends is not None
    assert abs(ends - datetime.now(UTC) - timedelta(days=20)) < timedelta(hours=1)
    assert found["broken.pem"].ends is None
    assert {name for name, each in found.items() if each.strange} == {"strange.pem"}
    assert found.keys() == {"ca.pem", "good.pem", "strange.pem", "broken.pem"}


def test_every_probe_of_the_script_is_answered_apart_with_its_exit_code() -> None:
    asked = [
        probes.Probe("one", "echo a; echo b >&2"),
        probes.Probe("two", "exit 7"),
        probes.Probe("three", "printf x"),
    ]
    told = subprocess.run(
        ["sh", "-c", probes.script(asked)], capture_output=True, text=True, check=True
    )
    found = probes.parse_answers(told.stdout)
    assert {name: (each.code, each.out) for name, each in found.items()} == {
        "one": (0, "a\nb"), "two": (7, ""), "three": (0, "x"),
    }  # fmt: skip


def test_the_probes_cannot_read_the_script_as_their_input() -> None:
    told = subprocess.run(["sh", "-c", probes.script([probes.Probe("cat", "cat"), probes.Probe("last", "echo here")])],
                          capture_output=True, text=True, check=True, input="secret")  # fmt: skip
    assert probes.parse_answers(told.stdout)["cat"].out == ""
    assert probes.parse_answers(told.stdout)["last"].out == "here"


@given(st.text(max_size=300))
def test_no_text_whatever_makes_a_reader_fail(text: str) -> None:
    readings.validate_rows(text)
    readings.settings_in(text)
    list(readings.listeners(text))
    readings.programs(text)
    readings.active_units(text)
    list(readings.certificates(text))
    readings.members(text)
    readings.meminfo(text)
    probes.parse_answers(text)


@pytest.mark.lab
def test_the_accelerators_test_run_works_and_tells_a_wrong_accelerator_apart() -> None:
    def run(accelerator: str) -> CommandResult:
        script = probes.script(
            [probes.Probe("accelerator", probes.accelerator_script(accelerator))]
        )
        told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        return probes.parse_answers(told.stdout)["accelerator"]

    assert run("tcg").code == probes.RAN
    assert run("nonsense").code not in {probes.RAN, 0}
