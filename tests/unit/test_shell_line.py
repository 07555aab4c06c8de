"""A command of the inventory is a line of a shell, and its program is the process that gets the signals."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.shell_line import shell_command

# What the program tells: where it runs, FOO, OWN, and its arguments; ``$OWN`` is set as the release's own variables.
SHOW = '#!/bin/sh\necho "$$ ${PWD##*/} ${FOO-} $OWN $*"\n'
SHELLS = [shell for shell in ("/bin/sh", "/bin/dash", "/bin/bash") if os.path.exists(shell)]
# A line, what it says, and whether its last program has taken the shell's place.
LINES = [
    ("show a b", ["top  own a b"], True),
    ("show 'a && b' \"c; d\" e\\;f", ["top  own a && b c; d e;f"], True),
    ('show $(echo one two) `echo three` "$(echo four)"', ["top  own one two three four"], True),
    ("show a >&1 2>/dev/null", ["top  own a"], True),
    ("cd sub && show a", ["sub  own a"], True),
    ("cd sub; show a", ["sub  own a"], True),
    ("cd sub && FOO=1 show a", ["sub 1 own a"], True),
    ("FOO=1 show a", ["top 1 own a"], True),
    ("FOO='1 2' BAR= show a", ["top 1 2 own a"], True),
    ("export FOO=1 && show $FOO", ["top 1 own 1"], True),
    ("show first && show second", ["top  own first", "top  own second"], True),
    ("exec show a", ["top  own a"], True),
    ("cd sub && exec show a", ["sub  own a"], True),
    ("false && show a", [], False),
    ("false || show a", ["top  own a"], False),
    ("show a || show b", ["top  own a"], False),
    ("show a | sed s/own/piped/", ["top  piped a"], False),
    ("(cd sub; show a); show b", ["sub  own a", "top  own b"], False),
    ("show a & wait", ["top  own a"], False),
    ("if cd sub; then show a; fi", ["sub  own a"], False),
    ("for x in 1 2; do show $x; done", ["top  own 1", "top  own 2"], False),
    ("{ show a; show b; }", ["top  own a", "top  own b"], False),
    ("trap 'echo 0 trapped' EXIT; show a", ["top  own a", "trapped"], False),
    ("! show a", ["top  own a"], False),
    ("show a; cd sub", ["top  own a"], False),
    ("show a;", ["top  own a"], False),
    ("show $((1 + 2))", ["top  own 3"], False),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "top" / "sub").mkdir(parents=True)
    (tmp_path / "show").write_text(SHOW)
    (tmp_path / "show").chmod(0o755)
    return tmp_path


def run(shell: str, place: Path, script: str) -> tuple[int, list[list[str]]]:
    """Return the shell's process and the lines that the programs said, each as its process and the rest."""
    process = subprocess.Popen(
        [shell, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=place / "top",
        env={"PATH": f"{place}:/usr/bin:/bin"},
    )
    output, _ = process.communicate(timeout=60)
    return process.pid, [line.split(" ", 1) for line in output.splitlines()]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("line", "said", "is_leader"), LINES)
def test_a_command_does_what_a_line_of_a_shell_does_and_its_program_gets_the_signals(
    place: Path, shell: str, line: str, said: list[str], is_leader: bool
) -> None:
    _process, plain = run(shell, place, f"export OWN=own\n{line}")
    assert [text for _number, text in plain] == said
    process, lines = run(shell, place, f"true && export OWN=own && {shell_command(line)}")
    assert [text for _number, text in lines] == said
    if is_leader:
        assert lines[-1][0] == str(process)


def test_a_command_of_one_program_is_run_as_before_so_that_no_release_is_started_anew() -> None:
    assert shell_command("celery -A shop worker --concurrency $(nproc)") == (
        "exec celery -A shop worker --concurrency $(nproc)"
    )


def test_a_long_line_is_understood_at_once() -> None:
    assert shell_command("a=1 " * 5000 + "'").startswith("eval ")
    assert shell_command("x;" * 5000 + "(").startswith("eval ")
