"""Which commands of a script may fail unnoticed."""

from __future__ import annotations

import pytest

from pytest_dogfood.check.shell import ignored_failure, shell_of, stops_by_itself


@pytest.mark.parametrize(
    "text, line",
    [
        ('cd "$DOGFOOD_STATE"\nmkdir app && cd app\ncat /none > main.txt\necho done\n', 1),
        ("grep hello main.txt | sort\necho done\n", 1),
        ("echo begin\nmake\necho done\n", 2),
        ("# a comment\n\nmake\n# and another\necho done\n", 3),
        ("make \\\n  all\necho done\n", 1),
        ("version=$(git describe)\necho $version\n", 1),
        ("make  # don't\necho done\n", 1),
        ("psql <<END\nselect 1;\nEND\nmake\n", 1),
        ("for one in a b; do\n  make $one\ndone\necho done\n", 2),
        ("if true; then\n  make\nfi\necho done\n", 2),
        ("make; make install\n", 1),
        ('version="$(git describe)"\necho $version\n', 1),
        ('title="a b c"\nmake\necho done\n', 2),
        ("set +e\nmake\necho done\n", 2),
        ("# set -e\nmake\necho done\n", 2),
        ("echo set -e\nmake\necho done\n", 2),
    ],
)
def test_a_command_that_may_fail_before_the_last_one_is_found(text: str, line: int) -> None:
    assert ignored_failure(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "make\n",
        "echo begin\nmake\n",
        "set -e\nmake\necho done\n",
        "set -euo pipefail\nmake\necho done\n",
        "set -xe\nmake\necho done\n",
        "set -o errexit\nmake\necho done\n",
        "set -u -e\nmake\necho done\n",
        "cd x; set -e\nmake\necho done\n",
        "setopt ERR_EXIT\nmake\necho done\n",
        "shopt -so errexit\nmake\necho done\n",
        "trap 'exit 1' ERR\nmake\necho done\n",
        "make || exit 1\ncd x || exit\necho done\n",
        "make &&\n  make install\n",
        "server &\necho done\n",
        'name=x\nexport path="$name/y"\necho done\n',
        ". ./lib.sh\nmake\necho done\n",
        'cd "$(dirname "$0")"\nsource lib.sh\nmake\necho done\n',
        "python3 -c '\nimport sys\nsys.exit(1)\n'\n",
        "exec make all\n",
        'title="a b; c"\nexport PATH\nmake\n',
        "[ -d x ] && echo there\nmake\n",
        "cat <<END\nmake\nEND\nmake\n",
        'echo "a\nb"\nmake\n',
        "cat > x <<'END'\nmake\necho done\nEND\n",
        "case $1 in\n  a) echo a;;\n  *) exit 1;;\nesac\nmake\n",
        "",
    ],
)
def test_a_text_whose_failures_are_noticed_has_none(text: str) -> None:
    assert ignored_failure(text) is None


def test_a_quote_that_is_never_closed_takes_no_longer_than_the_text_is_long() -> None:
    assert ignored_failure("echo it's\n" + "make\n" * 100_000) is None


@pytest.mark.parametrize(
    "line, shell, stops",
    [
        ("/bin/sh", "sh", False),
        ("/usr/bin/env bash", "bash", False),
        ("/usr/bin/env -S bash -e", "bash", True),
        ("/usr/bin/env -S A=1 zsh", "zsh", False),
        ("/bin/bash -euo pipefail", "bash", True),
        ("/bin/bash --posix", "bash", False),
        ("/bin/sh -o errexit", "sh", True),
        ("/bin/busybox sh", "busybox", False),
        ("/usr/bin/env python3", "", False),
        ("", "", False),
    ],
)
def test_the_shell_of_a_line_is_known_and_whether_it_stops(line: str, shell: str, *, stops: bool) -> None:
    assert (shell_of(line.split()), stops_by_itself(line.split())) == (shell, stops)
