"""What `drover init` is told: hosts, channels and people as people write them, and the file made of it."""

from __future__ import annotations

import tomllib

import pytest

from bot import settings
from bot.domain.errors import UsageError
from bot.settings import DroverSettings
from bot.setup import answers
from bot.setup.answers import Answers, Host, channel, configuration, host, person
from bot.setup.host_commands import certificate_commands, user_commands

TO = "qemu+ssh://drover@host-a/system?no_tty=1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host-a", Host("host-a", TO, "drover@host-a")),
        ("drover@host-a", Host("host-a", TO, "drover@host-a")),
        (" host-a ", Host("host-a", TO, "drover@host-a")),
        ("kvm@host-a:2222", Host("host-a", "qemu+ssh://kvm@host-a:2222/system?no_tty=1", "kvm@host-a:2222")),
        ("rack-1=10.0.0.1", Host("rack-1", "qemu+ssh://drover@10.0.0.1/system?no_tty=1", "drover@10.0.0.1")),
        ("qemu+tls://host-a/system", Host("host-a", "qemu+tls://host-a/system")),
        ("a=qemu+tls://10.0.0.1/system", Host("a", "qemu+tls://10.0.0.1/system")),
        ("here=qemu:///system", Host("here", "qemu:///system")),
    ],
)  # fmt: skip
def test_a_host_is_written_in_several_ways(text: str, found: Host) -> None:
    assert host(text) == found


def test_another_key_is_used_by_libvirt_and_by_the_shell() -> None:
    found = host("host-a", "/keys/drover")
    assert found.uri == f"{TO}&keyfile=/keys/drover"
    written = tomllib.loads(configuration(an_answer(found, key_file="/keys/drover")))
    assert written["hosts"][0]["ssh"] == {"to": "drover@host-a", "key_file": "/keys/drover"}


@pytest.mark.parametrize("text", ["", "host a", "=x", "qemu:///system", "a=b c", "-x", "a;b"])
def test_what_is_no_host_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        host(text)
    assert "host-a=qemu+tls" in str(refused.value.advice)


def test_channels_and_people_are_told_by_their_ids() -> None:
    assert (channel(" C0123AB "), person("U0123AB"), person("@kvm-approvers")) == (
        "C0123AB",
        "U0123AB",
        "kvm-approvers",
    )
    for wrong in ("#ops", "ops", ""):
        with pytest.raises(UsageError, match="id of a channel"):
            channel(wrong)
    with pytest.raises(UsageError, match="id of a person"):
        person("Ana Silva")


def an_answer(*hosts: Host, key_file: str = "") -> Answers:
    return Answers(
        hosts or (host("host-a"), host("host-b=10.0.0.2"), host("here=qemu:///system")),
        "C0APPROVALS",
        "C0OPS",
        ("U0ANA", "kvm-engineers"),
        ("U0BRUNO", "U0CARLA"),
        key_file,
        zone="Europe/Lisbon",
        locale="pt_BR",
    )


def test_the_file_is_a_configuration_that_the_bot_takes() -> None:
    found = DroverSettings(**tomllib.loads(configuration(an_answer())))
    assert [each.name for each in found.hosts] == ["host-a", "host-b", "here"]
    assert [each.migrate_uri for each in found.hosts] == [
        "qemu+tls://host-a/system",
        "qemu+tls://10.0.0.2/system",
        "",
    ]
    assert found.hosts[0].ssh == settings.SshSection(to="drover@host-a")
    assert found.hosts[2].ssh is None
    assert found.slack.approvals_channel == "C0APPROVALS"
    assert found.roles["engineer"].groups == ("kvm-engineers",)
    assert found.roles["approver"].users == ("U0BRUNO", "U0CARLA")
    assert found.roles["approver"].groups == ()
    assert [(each.votes, each.freeze) for each in found.policy.rules] == [(1, False)]
    assert (found.zone, found.locale) == ("Europe/Lisbon", "pt_BR")


def test_words_of_people_stay_words_in_the_file() -> None:
    odd = Answers((host("host-a"),), "C1A", "C2A", ("U1A",), ("U2A",), 'a"b\\c', zone="UTC")
    written = tomllib.loads(configuration(odd))
    assert written["hosts"][0]["ssh"]["key_file"] == 'a"b\\c'


def test_the_commands_for_hosts_name_the_user_the_key_and_every_host() -> None:
    told = user_commands("drover", "ssh-ed25519 AAAA")
    assert "usermod --append --groups libvirt drover" in told
    assert "echo 'restrict ssh-ed25519 AAAA' >> ~drover/.ssh/authorized_keys" in told
    certificates = certificate_commands(an_answer().hosts)
    assert "certificate host-a host-a\ncertificate host-b 10.0.0.2" in certificates
    assert "here" not in certificates.partition("}\n")[2]


def test_the_usual_user_is_that_of_the_guides() -> None:
    assert answers.USER == "drover"
