"""libvirt's configuration files as its own parser (src/util/virconf.c) reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.host_check import virconf
from plugins.host_check.readings import settings_in


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('auth_tcp = "none" # default: SASL', {"auth_tcp": "none"}),
        ("auth_tcp = 'none'   # default: \"sasl\"", {"auth_tcp": "none"}),
        ("listen_tcp = 1 # on", {"listen_tcp": "1"}),
        ("listen_tcp=1#on", {"listen_tcp": "1"}),
        ("   listen_tcp = 1", {"listen_tcp": "1"}),
        ("\tlisten_tcp\t=\t1\t", {"listen_tcp": "1"}),
        ("listen_tcp = 1\r\nlisten_tls = 0\r\n", {"listen_tcp": "1", "listen_tls": "0"}),
        ("# listen_tcp = 1", {}),
        ("  #listen_tcp = 1\n", {}),
        ('lock_manager = "lockd" # two hosts', {"lock_manager": "lockd"}),
        ('name = "a # b" # c', {"name": "a # b"}),
        ('name = "it\'s"', {"name": "it's"}),
        ("name = 'say \"x\"'", {"name": 'say "x"'}),
        (r'path = "C:\new\"', {"path": "C:\\new\\"}),
        ('long = """one\ntwo # three"""', {"long": "one\ntwo # three"}),
        ('empty = ""', {"empty": ""}),
        ("n = -5\nm = +7\nz = 007\nnull = -0", {"n": "-5", "m": "7", "z": "7", "null": "0"}),
        ("n = " + "9" * 5000, {"n": "9" * 5000}),
        ("a = [[1], ['x']]", {"a": '[ [ 1 ], [ "x" ] ]'}),
        ("a = 1; b = 2", {"a": "1", "b": "2"}),
        ('a = [ "x", "y" ] # both', {"a": '[ "x", "y" ]'}),
        ('a = [\n  "x",\n  "y",\n]\nb = 1', {"a": '[ "x", "y" ]', "b": "1"}),
        ("a = []", {"a": "[ ]"}),
        ('auth_tcp = "sasl"\nauth_tcp = "none"', {"auth_tcp": "sasl"}),  # the first counts
        ("", {}),
        ("\n\n", {}),
    ],
)
def test_what_libvirt_takes_is_read_as_libvirt_reads_it(
    text: str, settings: dict[str, str]
) -> None:
    assert settings_in(text) == settings
    assert virconf.parse(text).problem == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("auth_tcp = none", "line 1: a value is missing"),
        ("listen_tcp = yes", "line 1: a value is missing"),
        ('auth_tcp = "none', "line 1: a value is missing, or its quotes are not closed"),
        ("listen_tcp = 1 on", "line 1: something follows the value"),
        ('a = 1\n\nb = [ "x" "y" ]', "line 3: a list is not closed"),
        ("a", "line 1: no = follows a"),
        ("a = 1\n= 2", "line 2: a name is missing"),
        ("[section]", "line 1: a name is missing"),
        ("a.b = 1", "line 1: no = follows a"),
        ("a = 1 // remark", "line 1: something follows the value"),
        ("a = 1\nb = " + "[" * 5000, "line 2: lists are nested too deep"),
    ],
)
def test_what_libvirt_refuses_is_told_with_its_line(text: str, problem: str) -> None:
    assert str(virconf.parse(text).problem).startswith(problem)


def test_each_setting_knows_its_line() -> None:
    found = virconf.parse('# one\na = 1\nlist = [ "x",\n "y" ]\n  b = "2" # remark\n').settings
    assert {name: setting.line for name, setting in found.items()} == {"a": 2, "list": 3, "b": 5}


@given(st.text("ab=\"'#[], \t\n1;\\"))
def test_any_text_is_read_or_refused(text: str) -> None:
    virconf.parse(text)


NAMES, VALUES = (
    st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
    st.from_regex(r"[^\"\r\n]{0,9}", fullmatch=True),
)


@given(
    st.dictionaries(NAMES, VALUES),
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(["", " # remark", '#x "y"', " ; # z"]),
)
def test_what_is_written_is_read_again(settings: dict[str, str], indent: str, remark: str) -> None:
    text = "\n".join(f'{indent}{name} = "{value}"{remark}' for name, value in settings.items())
    assert settings_in(text) == settings
