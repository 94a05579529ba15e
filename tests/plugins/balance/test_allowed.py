"""Commands that patterns let run on hosts: word by word, and nothing that a shell or an option could turn around."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugins.balance.allowed import covers

# Words as people write them, options, and everything that a POSIX shell acts on.
WORDS = st.one_of(
    st.sampled_from(
        (
            "update",
            "nginx",
            "web-1",
            "a/b",
            "--host=root@b",
            "-o",
            "$(x)",
            "`x`",
            "a;b",
            "*",
            "..",
            "~",
            "",
        )
    ),
    st.text(alphabet="ab-./=*?[]$`;|&<>()\\\"'~#!\n\t\u00a0 ", max_size=8),
)
PATTERNS = (
    "apt-get *",
    "systemctl restart *",
    "systemctl restart web-*",
    "cat /var/log/*",
    "apt-get -y *",
    "* now",
)


@pytest.mark.parametrize(("pattern", "command", "may"), [
    ("systemctl restart *", "systemctl restart nginx.service", True),
    ("systemctl restart *", "systemctl restart --host=root@other", False),
    ("systemctl restart *", "systemctl restart a b", False),
    ("systemctl restart *", "systemctl  restart a", False),
    ("systemctl restart *", "systemctl restart *", False),
    ("systemctl restart web-*", "systemctl restart web-1", True),
    ("systemctl restart *-web", "systemctl restart -H-web", False),
    ("apt-get -y *", "apt-get -y full-upgrade", True),
    ("apt-get *", "apt-get -y", False),
    ("tool --level=*", "tool --level=3", True),
    ("tool --level=*", "tool --level=$(x)", False),
    ("cat /var/log/*", "cat /var/log/syslog", True),
    ("cat /var/log/*", "cat /var/log/../../etc/shadow", False),
    ("* now", "LD_PRELOAD=/tmp/x now", False),
    ("echo 'a b'", "echo 'a b'", True),
    ("a && b", "a && b", True),
    ("uname", "uname\nreboot", False),
    ("apt-get *", "apt-get upd\u00a0ate", False),
    ("*", "anything; at all", True),
])  # fmt: skip
def test_a_pattern_is_compared_word_by_word(pattern: str, command: str, *, may: bool) -> None:
    assert covers(pattern, command) is may


@given(st.sampled_from(PATTERNS), st.lists(WORDS, max_size=4))
@example("apt-get *", ["apt-get", "-o"])
def test_what_a_pattern_lets_through_is_one_program_with_the_named_options(
    pattern: str, words: list[str]
) -> None:
    """Whatever stands for ``*``: the words a shell makes of it are the words that were read, and no new option."""
    first = pattern.split(" ")
    for command in (
        " ".join(words),
        " ".join([*first[:-1], *words[:1]]),
        " ".join([*first, *words]),
    ):
        if covers(pattern, command):
            assert shlex.split(command) == command.split(" ")
            assert not set(command) & set("$`;|&<>(){}*?[]\\\"'~#!\n\t")
            assert len(command.split(" ")) == len(first)
            given_options = [word for word in command.split(" ") if word.startswith("-")]
            assert given_options == [word for word in first if word.startswith("-")]


def test_a_real_shell_makes_the_same_words_of_it() -> None:
    command = "printf %s, web-1.local:80 a@b,c+d=e%"
    assert covers("printf %s, * *", command)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "web-1.local:80,a@b,c+d=e%,"
