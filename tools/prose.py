"""Check pages and commit messages by docs/style.md. ``python -m tools.prose PAGE…`` or ``--commit FILE``."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

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
    """Print what is wrong with pages, or with a commit's message; return the exit status."""
    if arguments[:1] == ["--commit"]:
        found = commit_problems(Path(arguments[1]).read_text())
    else:
        found = [f"{page}:{problem}" for page in arguments for problem in page_problems(Path(page).read_text())]
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
