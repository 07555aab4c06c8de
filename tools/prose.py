"""Check pages, code and commit messages by docs/style.md. ``python -m tools.prose FILE…`` or ``--commit FILE``.

Python files have docstrings, messages and the documentation of plugins. YAML files have task names, messages and
descriptions.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
GLOSSARY = REPOSITORY / "docs" / "glossary.md"
LINE, WORDS, SUBJECT = 110, 25, 72
FENCE = re.compile(r"^\s*(?:```|~~~)")
# A heading, the beginning of an item, or a line that is no prose ends the sentence before it.
ITEM = re.compile(r"^\s*(?:[*+-]|\d+\.)\s+")
# Links, code and emphasis, each with what a reader sees of it; code counts as one word.
MARKUP = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"(`+).*?\1", re.DOTALL), "CODE"),
    (re.compile(r"!?\[([^]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\*\*|__"), ""),
)
CLAUSE = re.compile(r"^(?:What|Whatever|Who|Whoever|Whichever)\b[^?]*$")
FOR = re.compile(r"[,;] for (?:he|it|she|there|they|this|we|you) ")
# Markup of Ansible's documentation, and the parts that Jinja fills in.
FILLED_IN = (
    (re.compile(r"\b(?:[BCEILMOPUV]|RV)\((?:[^\\)]|\\.)*\)"), "CODE"),
    (re.compile(r"\{\{.*?\}\}", re.DOTALL), "X"),
    (re.compile(r"\{[%#].*?[%#]\}", re.DOTALL), ""),
)
# A string that is documentation of a plugin, in YAML.
DOCUMENTATION = re.compile(r"\s*(?:---\n|(?:name|module|options|\w+):(?: \w+)?\n)")
# A longer string, other than a docstring, is a file or a program.
MESSAGE_LINES = 2
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
COMMIT = re.compile(r"^[a-z][a-z0-9_./, -]*: \S.*[^.\s]$")


def blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Return the paragraphs, items and headings of a page, each with its first line's number; no code, no tables."""
    block: list[str] = []
    start, fenced = 0, False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        fence = bool(FENCE.match(line))
        plain = not (fenced or fence) and bool(line.strip()) and not line.lstrip().startswith("|")
        if block and (not plain or line.startswith("#") or ITEM.match(line)):
            yield start, block
            block = []
        if plain:
            start = start if block else number
            block.append(line)
            if line.startswith("#"):
                yield start, block
                block = []
        fenced ^= fence


def sentences(lines: list[str]) -> list[str]:
    """Return the sentences of a block, without its markup."""
    text = ITEM.sub("", " ".join(line.strip() for line in lines))
    for pattern, seen in MARKUP:
        text = pattern.sub(seen, text)
    return [
        found.strip()
        for found in re.split(r"(?<=[.!?])\s+(?<!e\.g\. )(?<!i\.e\. )", text.lstrip("#> "))
        if found.strip()
    ]


def replaced() -> dict[str, str]:
    """Return the words that the glossary replaces, each with its term."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|.*\| ([^|]*) \|$", GLOSSARY.read_text(), re.MULTILINE)
    return {word.strip(): term for term, words in rows for word in words.split(",") if word.strip()}


def sentence_problems(sentence: str, instead: dict[str, str]) -> Iterator[str]:
    """Return what is wrong with one sentence."""
    count = len(re.findall(r"\w\S*", sentence))
    if count > WORDS:
        yield f"{count} words, at most {WORDS}: {sentence}"
    if CLAUSE.match(sentence):
        yield f"a clause is the subject: {sentence}"
    if FOR.search(sentence):
        yield f"because, not for: {sentence}"
    for word, term in instead.items():
        if re.search(rf"\b{re.escape(word)}s?\b", sentence, re.IGNORECASE):
            yield f"{term}, not {word}: {sentence}"


def page_problems(text: str) -> list[str]:
    """Return what is wrong with a page, each with the number of its line."""
    instead, found = replaced(), []
    for start, lines in blocks(text):
        for number, line in enumerate(lines, start=start):
            if len(line) > LINE:
                found.append(f"{number}: {len(line)} characters, at most {LINE}")
        found += [f"{start}: {why}" for one in sentences(lines) for why in sentence_problems(one, instead)]
    return found


def yaml_texts(text: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """Return the values of YAML, each with its line; `first` is the line of the whole."""
    waiting: list[Any] = [node for node in yaml.compose_all(text, LOADER) if node]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield first + node.start_mark.line, node.value
        else:
            waiting += [item[1] if isinstance(item, tuple) else item for item in node.value]


def python_texts(text: str) -> Iterator[tuple[int, str]]:
    """Return the docstrings and other texts of a Python file, each with its line; "X" is what an f-string fills in."""
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        parts = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            parts = [part for part in parts if not isinstance(part, ast.Constant)]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno, without_code(inspect.cleandoc(str(node.value.value)))
            parts = []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from constant_texts(node.value, node.lineno)
        waiting += parts


def constant_texts(text: str, line: int) -> Iterator[tuple[int, str]]:
    """Return what is prose of a string: the documentation of a plugin, or a message, which is no file or program."""
    if DOCUMENTATION.match(text):
        yield from yaml_texts(text, line)
    elif text.count("\n") <= MESSAGE_LINES:
        yield line, text


def without_code(docstring: str) -> str:
    """Return a docstring without its examples, which are indented."""
    return "\n".join("" if line.startswith("    ") else line for line in docstring.splitlines())


def code_problems(path: Path) -> list[str]:
    """Return what is wrong with the texts of a Python or YAML file, each with the line where the text begins."""
    instead, found = replaced(), []
    for line, text in (python_texts if path.suffix == ".py" else yaml_texts)(path.read_text()):
        if " " not in text:  # the name of a thing
            continue
        for pattern, seen in FILLED_IN:
            text = pattern.sub(seen, text)
        for _start, lines in blocks(text):
            found += [f"{line}: {why}" for one in sentences(lines) for why in sentence_problems(one, instead)]
    return found


def file_problems(path: Path) -> list[str]:
    """Return what is wrong with a page, or with a Python or YAML file."""
    return page_problems(path.read_text()) if path.suffix == ".md" else code_problems(path)


def commit_problems(text: str) -> list[str]:
    """Return what is wrong with a commit's message."""
    subject, *body = [line for line in text.splitlines() if not line.startswith("#")] or [""]
    if subject.startswith(("Merge ", "Revert ", "fixup! ", "squash! ")):
        return []
    found = []
    if not COMMIT.match(subject):
        found.append(f"the subject is not `area: imperative`, without a full stop: {subject}")
    if len(subject) > SUBJECT:
        found.append(f"the subject has {len(subject)} characters, at most {SUBJECT}: {subject}")
    if ";" in subject:
        found.append(f"the subject has a semicolon. Make a commit of each change: {subject}")
    if body and body[0].strip():
        found.append("the second line is not empty")
    if not any(line.strip() for line in body):
        found.append("no body says why")
    return found


def main(arguments: list[str]) -> int:
    """Print what is wrong with files, or with a commit's message; return the exit status."""
    if arguments[:1] == ["--commit"]:
        found = commit_problems(Path(arguments[1]).read_text())
    else:
        found = [f"{path}:{problem}" for path in arguments for problem in file_problems(Path(path))]
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
