"""The documentation says what the code says; ``make docs`` writes what is generated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.command_line import word_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT, role_options
from conftest import ROOT
from tools import docs, picture, prose

GENERATED = docs.generated()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(COLLECTION_ROOT)))
def test_what_is_generated_is_as_make_docs_writes_it(path: Path) -> None:
    assert path.read_text() == GENERATED[path]


def test_the_picture_of_the_readme_is_as_tools_picture_draws_it() -> None:
    assert picture.PICTURE.read_text() == picture.draw(picture.PAGE.read_text()), "run python -m tools.picture"


@pytest.mark.parametrize("role", sorted(path.name for path in Path(COLLECTION_ROOT, "roles").iterdir()))
def test_the_page_of_a_role_has_every_option_of_its_spec(role: str) -> None:
    specs = yaml.safe_load(Path(COLLECTION_ROOT, "roles", role, "meta", "argument_specs.yml").read_text())
    page = GENERATED[Path(COLLECTION_ROOT, "roles", role, "README.md")]
    for spec in specs["argument_specs"].values():
        assert [name for name in spec["options"] if f"- `{name}` (" not in page] == []


@pytest.mark.parametrize("use", [*servers().uses()], ids=lambda use: " ".join(use[:3]))
def test_ansible_doc_shows_the_default_of_every_option_of_a_server(use: tuple[str, str, str, dict[str, Any]]) -> None:
    """Each sentence of the argument spec is taken apart again, and compared with the table."""
    kind, worker_class, interface, variant = use
    spec = role_options("wsgi")["wsgi_apps"]["options"]["server"]["options"]
    for option, entry in spec.items():
        if option in servers().common:
            assert "default" in entry, option
            continue
        (sentence,) = re.findall(r"^The default is (.+)\.$", "\n".join(entry["description"]), re.MULTILINE)
        found = [
            value.replace("\\)", ")")
            for value, names in re.findall(r"V\(((?:[^\\)]|\\.)*)\) with ([^;]+)", sentence)
            if {kind, f"{kind} {worker_class}", f"{kind} {interface}"} & set(re.split(", | and ", names))
        ]
        assert found == [docs.shown(value) for name, value in variant["options"].items() if name == option], option


def test_every_command_in_the_documentation_says_words_that_its_playbook_reads() -> None:
    root = Path(COLLECTION_ROOT)
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "playbooks").glob("*.yml")]
    commands = [
        found
        for page in pages
        for found in re.findall(
            r"(?:ansible-playbook )?(baremetal\.web\.\w+|\bsite\.yml)([^\n`;]*-e [^\n`;]*)", page.read_text()
        )
    ]
    assert len(commands) > 20
    for playbook, words in commands:
        said = re.findall(r"-e ['\"]?(\w+)=", words)
        assert word_problems(said, [str(root / playbook) if playbook == "site.yml" else playbook], []) == [], words


PAGES = [
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "findings/*.md")
    for page in sorted(ROOT.glob(pattern))
    if page.name != "CHANGELOG.md"  # written by antsibull-changelog
]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_keeps_the_style_guide(page: str) -> None:
    assert prose.page_problems((ROOT / page).read_text()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x" * 111, "1: 111 characters, at most 110"),
        ("Fine.\n\n* " + "word " * 20 + "\n  " + "word " * 6 + ".", "3: 26 words, at most 25"),
        ("It runs. What fails is\nrefused.", "1: a clause is the subject: What fails is refused."),
        ("> Whoever comes is served.", "1: a clause is the subject"),
        ("It waits, for it is busy.", "1: because, not for"),
        ("Each **visitor** waits.", "1: client, not visitor"),
    ],
)
def test_prose_that_breaks_a_rule_is_told_with_its_line(text: str, problem: str) -> None:
    assert [found for found in prose.page_problems(text) if found.startswith(problem)]


@pytest.mark.parametrize(
    "text",
    [
        "```sh\n" + "x" * 111 + "\n```",
        "| " + "word " * 30 + " |\n| --- |",
        "What does it cost?",
        "It is for you, for a while, and `ledger` is code.",
        "Two sentences. " + "a " * 24,
        "* " + "word " * 20 + "\n* " + "word " * 20,
    ],
)
def test_prose_that_keeps_the_rules_is_let_alone(text: str) -> None:
    assert prose.page_problems(text) == []


# The texts of tests/unit are input of tests, often wrong on purpose.
CODE = [
    "files",
    "galaxy.yml",
    "inventories",
    "meta",
    "molecule",
    "playbooks",
    "plugins",
    "roles",
    "site.yml",
    "tests/fleet",
    "tests/vm",
]


@pytest.mark.parametrize("place", [*CODE, "tools"])
def test_messages_task_names_docstrings_and_descriptions_keep_the_style_guide(place: str) -> None:
    # A change of these restarts supervisord with all apps, so their words wait for a change that is worth it.
    installed = (ROOT / "roles" / "supervisor" / "files").glob("*.py")
    found = [path for path in (ROOT / place, *(ROOT / place).rglob("*")) if path.suffix in (".py", ".yml")]
    files = {*found} - {*installed}
    assert files
    assert [f"{path.relative_to(ROOT)}:{why}" for path in sorted(files) for why in prose.code_problems(path)] == []


LONG = "word " * 26


@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("x.py", '"""What fails is refused."""', "1: a clause is the subject: What fails is refused."),
        ("x.py", f'def f():\n    """Fine.\n\n    {LONG}\n    """', "2: 26 words"),
        (
            "x.py",
            'raise E(\n    f"{x} waits, for it "\n    "is busy"\n)',
            "2: because, not for: X waits, for it is busy",
        ),
        ("x.py", 'f"{x}: each visitor waits:\\n{y}"', "1: client, not visitor"),
        ("x.py", f"f\"{{len('{LONG}')}}\"", "1: 26 words"),
        ("x.py", 'DOCUMENTATION = r"""\nname: x\ndescription:\n  - What O(x) is.\n"""', "4: a clause is the subject"),
        ("x.py", 'RUN = r"""\noptions:\n  by:\n    description: Who did it.\n"""', "4: a clause is the subject"),
        ("x.yml", "- name: Ask each visitor", "1: client, not visitor"),
        (
            "x.yml",
            "- ansible.builtin.fail:\n    msg: >-\n      Who {{ x }} is.\n",
            "2: a clause is the subject: Who X is.",
        ),
        ("x.yml", f"a: &a\n  description: {LONG}\nb: *a\n", "2: 26 words"),
        ("x.yml", "description:\n  - C(a\\) b) is it.\n  - Whoever\n    comes.\n", "3: a clause is the subject"),
    ],
)
def test_code_whose_words_break_a_rule_is_told_with_its_line(
    tmp_path: Path, name: str, code: str, problem: str
) -> None:
    (tmp_path / name).write_text(code)
    (found,) = prose.code_problems(tmp_path / name)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x.py", f'"""Run it:\n\nx\n    {LONG}\n"""'),
        ("x.py", f'PROGRAM = """\n{LONG}\n{LONG}\n{LONG}\n"""'),
        ("x.py", 'OLD = ["visitor", "withdraw"]  # visitor'),
        ("x.py", 'f"x: {what}; What is it?"'),
        (
            "x.yml",
            "msg: The option C(the visitor\\) b) and {{ visitor if patience else '' }} are code.\nvisitor: visitor\n",
        ),
    ],
)
def test_code_whose_words_keep_the_rules_is_let_alone(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / name).write_text(code)
    assert prose.code_problems(tmp_path / name) == []


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("nginx behind the hop is named once\n\nbecause", "the subject is not `area: imperative`"),
        ("nginx: " + "x" * 66 + "\n\nbecause", "the subject has 73 characters"),
        ("nginx: do this; do that\n\nbecause", "the subject has a semicolon"),
        ("nginx: refuse port 443\n# a comment of git", "no body says why"),
        ("nginx: refuse port 443\nbecause", "the second line is not empty"),
    ],
)
def test_a_commit_message_that_breaks_a_rule_is_told(message: str, problem: str) -> None:
    assert [found for found in prose.commit_problems(message) if found.startswith(problem)]


def test_a_commit_message_that_keeps_the_rules_is_let_alone() -> None:
    assert prose.commit_problems("wsgi, nginx: refuse port 443\n\nSites speak no TLS.\n") == []


def test_the_glossary_is_sorted_and_has_one_sentence_and_a_file_for_each_term() -> None:
    rows = re.findall(
        r"^\| \*\*(.+?)\*\* \| (.+?) \| `(\S+)` \| .*\|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE
    )
    terms = [term for term, _meaning, _where in rows]
    assert terms == sorted(set(terms)), "not sorted"
    assert len(terms) == (ROOT / "docs/glossary.md").read_text().count("\n| **")
    for term, meaning, where in rows:
        assert meaning.endswith("."), term
        assert len(prose.sentences([meaning])) == 1, term
        assert list(prose.sentence_problems(meaning, prose.replaced())) == [], term
        assert (ROOT / where).is_file(), where


def test_each_fragment_says_object_and_change() -> None:
    for fragment in sorted((ROOT / "changelogs" / "fragments").glob("*.yml")):
        for section, bullets in yaml.safe_load(fragment.read_text()).items():
            for bullet in [bullets] if isinstance(bullets, str) else bullets:
                form = section == "release_summary" or re.match(r"[a-z][\w.\[\]/, `-]*? - .+[.]$", bullet)
                assert form, f"{fragment.name}: not `object - change.`: {bullet}"
                assert not re.search(r"\b[CVO]\(", bullet), f"{fragment.name}: markup of plugin documentation: {bullet}"
