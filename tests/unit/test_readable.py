"""What an app, a hook, a build or git says reaches the operator's terminal without what a terminal obeys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.module_utils._host import venv
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.module_utils._release.home import ReleaseError
from ansible_collections.baremetal.web.plugins.plugin_utils._apps import sources
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.tables import table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text,\n\tindented: Größe 価格 🙂", "plain text,\n\tindented: Größe 価格 🙂"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq data\x1b\\text", "text"),
        ("\x1bctext \x1b(B", "text "),
        ("an end that never comes \x1b]0;title", "an end that never comes 0;title"),
        ("first\rsecond\r\nthird", "first\nsecond\nthird"),
        ("a\x00b\x08c\x7fd\x85e\x1b", "abcde"),
        ("abc\u202edef\u2066", "abcdef"),
    ],
)
def test_a_text_is_left_as_it_was_without_what_a_terminal_obeys(text: str, shown: str) -> None:
    assert readable(text) == shown


def test_errors_and_tables_show_what_a_terminal_may_have() -> None:
    assert str(ReleaseError("its log: \x1b[31mred")) == "its log: red"
    assert "\x1b" not in "".join(table(("app",), [{"app": "\x1b[31mred"}]))


def test_the_output_of_a_command_is_shown_so() -> None:
    program = r"print('\033]0;title\007\033[31mred'); raise SystemExit(3)"
    with pytest.raises(venv.VenvError) as failed:
        venv.run([sys.executable, "-c", program], "The hook h")
    assert str(failed.value) == "The hook h failed with exit status 3\nred"


def test_what_git_says_is_shown_so(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(AnsibleError) as failed:
        sources._git("checkout", "\x1b[31mred", cwd=str(tmp_path))
    assert "red" in str(failed.value)
    assert "\x1b" not in str(failed.value)
