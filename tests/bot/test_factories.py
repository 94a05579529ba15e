"""The configuration as the adapters are handed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.adapters.libvirt import HostAddress
from bot.domain.errors import SettingsError, StoreError
from bot.factories import addresses, health_file, health_problem, power_control, say_well
from bot.settings import DatabaseSection, DroverSettings, FenceSection, HostSection


def test_a_hosts_table_says_how_it_is_reached_and_whether_memory_is_encrypted_on_its_way_there() -> (
    None
):
    whole = HostSection(
        name="host-a", uri="qemu+ssh://drover@host-a/system", migrate_uri="qemu+tls://host-a/system",
        migrate_data_uri="tcp://10.0.0.1", migrate_tls=True, reserve=1 << 30, tags={"rack": "r1"},
    )  # fmt: skip
    short = HostSection(name="host-b", uri="qemu+tls://host-b/system")
    assert addresses(DroverSettings(hosts=(whole, short))) == [
        HostAddress(
            "host-a", "qemu+ssh://drover@host-a/system", "qemu+tls://host-a/system", "tcp://10.0.0.1",
            migrate_tls=True, reserve=1 << 30, tags={"rack": "r1"},
        ),
        HostAddress("host-b", "qemu+tls://host-b/system", "qemu+tls://host-b/system"),
    ]  # fmt: skip


def test_power_controllers_come_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "bmc-a"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("PDU_PASSWORD", "other")
    fence = (
        FenceSection(
            agent="redfish",
            name="bmc-a",
            options={"url": "https://bmc-a", "system": "/redfish/v1/Systems/1"},
            password_file=str(secret),
        ),
        FenceSection(
            agent="fence_apc_snmp",
            level=2,
            shares_power=False,
            options={"ip": "pdu"},
            password_env="PDU_PASSWORD",
        ),
    )
    host = HostSection(name="host-a", uri="test:///default", fence=fence)
    settings = DroverSettings(hosts=(host,))
    assert [each.password() for each in settings.hosts[0].fence] == ["s3cret", "other"]
    devices = power_control(settings).devices("host-a")
    assert [(each.name, each.level, each.shares_power) for each in devices] == [
        ("bmc-a", 1, True),
        ("host-a-fence_apc_snmp-2", 2, False),
    ]


def test_a_power_controller_without_its_password_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    fence = FenceSection(agent="fence_ipmilan", options={"ip": "bmc"}, password_env="NOT_SET")
    host = HostSection(name="host-a", uri="test:///default", fence=(fence,))
    settings = DroverSettings(hosts=(host,))
    with pytest.raises(SettingsError, match="NOT_SET"):
        power_control(settings)


def test_the_health_file_lies_beside_the_database_and_is_each_replicas_own(tmp_path: Path) -> None:
    beside = DatabaseSection(url=f"sqlite:///{tmp_path}/drover.sqlite")
    one, two = (DroverSettings(database=beside, replica=name) for name in ("one", "two"))
    assert "No bot has started here" in str(health_problem(one))
    say_well(one)
    assert (health_problem(one), "No bot has started here" in str(health_problem(two))) == (
        "",
        True,
    )
    assert health_file(one).parent == tmp_path
    health_file(one).write_text("")
    assert "cannot be read" in str(health_problem(one))
    health_file(one).write_text("0")
    assert "The last sign of health" in str(health_problem(one))


def test_with_postgresql_the_health_file_lies_where_only_the_bot_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DroverSettings(database=DatabaseSection(url="postgresql://drover@db/drover"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/run:{tmp_path}/other")
    assert health_file(settings).parent == tmp_path / "run"
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = health_file(settings).parent
    assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
    folder.chmod(0o777)
    with pytest.raises(StoreError, match="Other users can write in"):
        health_file(settings)
