"""Write what is generated from the table of servers and the argument specs. ``python -m tools.docs``, ``make docs``."""

import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / ".collections"))

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers  # noqa: E402

WIDTH = 110
YAML_WIDTH = 120
SPEC = REPOSITORY / "roles" / "wsgi" / "meta" / "argument_specs.yml"
SERVERS_PAGE = REPOSITORY / "docs" / "servers.md"
# What stands around a generated part of a file that is written by hand.
SPEC_MARKS = ("# Made by `make docs` from the table of servers.\n", "# End of what `make docs` makes.\n")
PAGE_MARKS = ("<!-- options -->\n", "<!-- /options -->\n")
INDENT = 12 * " "
TYPES = {"str": "text", "path": "path", "int": "number", "bool": "boolean", "list": "list", "dict": "dictionary"}


def main() -> None:
    """Write the files that are not as they should be."""
    for path, text in generated().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(REPOSITORY)}")


def generated() -> dict[Path, str]:
    """Return every file that is generated, in whole or in part, as it should be."""
    spec = between(SPEC.read_text(), SPEC_MARKS, servers_spec())
    pages = {SPEC: spec, SERVERS_PAGE: between(SERVERS_PAGE.read_text(), PAGE_MARKS, servers_table())}
    for path in sorted(REPOSITORY.glob("roles/*/meta/argument_specs.yml")):
        role = path.parent.parent
        pages[role / "README.md"] = readme(role.name, yaml.safe_load(pages.get(path) or path.read_text()))
    return pages


def between(text: str, marks: tuple[str, str], part: str) -> str:
    """Return the text with another part between the marks, whose lines may be indented."""
    pattern = rf"(?ms)(^ *{re.escape(marks[0])}).*?(^ *{re.escape(marks[1])})"
    made, number = re.subn(pattern, lambda found: found[1] + part + found[2], text)
    if number != 1:
        found = f"{marks[0].strip()!r} and {marks[1].strip()!r}"
        raise SystemExit(f"The marks {found} stand {number} times in one file. Write them once.")
    return made


# The servers


def defaults(option: str, show: Callable[[Any], str]) -> dict[str, dict[str, list[str]]]:
    """Return the defaults of an option as text: those of each kind, each with the worker classes or interfaces."""
    cells: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for kind, worker_class, interface, variant in servers().uses():
        if option in variant["options"]:
            names = cells[kind][show(variant["options"][option])]
            if (name := worker_class or interface) not in names:
                names.append(name)
    return cells


def everywhere(kind: str, names: list[str]) -> bool:
    """Tell whether these are all worker classes, or all interfaces, of a kind."""
    uses = ((worker_class or interface) for other, worker_class, interface, _ in servers().uses() if other == kind)
    return set(uses) == set(names)


def servers_table() -> str:
    """Return the table of the options: a row for each, a column for each kind, a cell with its defaults."""
    kinds = list(servers().kinds)
    lines = [f"| option | {' | '.join(f'`{kind}`' for kind in kinds)} |", f"| --- |{' --- |' * len(kinds)}"]
    for option in sorted(set(servers().options) - servers().common):
        found = defaults(option, short)
        cells = [
            ", ".join(
                value if everywhere(kind, names) else f"{value} ({', '.join(names)})"
                for value, names in found.get(kind, {}).items()
            )
            for kind in kinds
        ]
        lines.append(f"| `{option}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def short(value: Any) -> str:
    """Return a default short enough for a table."""
    if isinstance(value, list):
        return ", ".join(value)
    text = shown(value)
    return "(a line)" if len(text) > 20 else text


def defaults_sentence(option: str) -> str:
    """Say the defaults of each kind that has the option."""
    values: dict[str, list[str]] = defaultdict(list)
    for kind, cell in defaults(option, shown).items():
        for value, names in cell.items():
            values[value] += [kind] if everywhere(kind, names) else [f"{kind} {name}" for name in names]
    texts = [f"V({escaped(value)}) with {in_words(names)}" for value, names in values.items()]
    return f"The default is {'; '.join(texts)}."


def servers_spec() -> str:
    """Return the options of a server as the argument spec has them, each with the defaults of every kind."""
    lines = ["options:"]
    for option, entry in servers().argument_spec().items():
        lines.append(f"  {option}:")
        paragraphs = [entry["description"]]
        if option not in servers().common:
            paragraphs.append(defaults_sentence(option))
        lines += ["    description:", *(line for text in paragraphs for line in folded(text))]
        lines += [f"    {key}: {in_yaml(value)}" for key, value in entry.items() if key != "description"]
    return textwrap.indent("\n".join([*lines, ""]), INDENT)


def folded(text: str) -> list[str]:
    """Return an item of a list as YAML folds it."""
    lines = textwrap.wrap(text, YAML_WIDTH - len(INDENT) - 8, break_long_words=False, break_on_hyphens=False)
    return ["      - >-", *(f"        {line}" for line in lines)]


def escaped(value: str) -> str:
    """Return a value for Ansible's markup."""
    return value.replace("\\", "\\\\").replace(")", "\\)")


def in_words(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if names[1:] else names[0]


def in_yaml(value: Any) -> str:
    """Return a value as it is written in YAML, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...").replace("''", '""')


def shown(value: Any) -> str:
    """Return a value for readers: in YAML, but for the quotes around a text."""
    return in_yaml(value) if not value or not isinstance(value, str) else value


# The roles


def readme(role: str, specs: Mapping[str, Any]) -> str:
    """Return the page of a role."""
    entry_points = specs["argument_specs"]
    written: dict[int, str] = {}
    lines = [
        "<!-- Made by `make docs` from meta/argument_specs.yml. -->",
        f"# Role `baremetal.web.{role}`",
    ]
    for name, spec in entry_points.items():
        if name != "main":
            lines += ["", f"## Entry point `{name}`"]
        lines += ["", f"{spec['short_description']}.", ""]
        for paragraph in paragraphs(spec.get("description", [])):
            lines += [*wrapped(paragraph), ""]
        lines += ["```yaml", *use(role, name, spec["options"]), "```", ""]
        if name == "main":
            lines += ["## Variables", ""]
        for option in entries(spec["options"], written):
            lines += option
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*lines, ""]))


def use(role: str, entry_point: str, options: Mapping[str, Any]) -> list[str]:
    """Return the lines of a play that uses an entry point."""
    required = [name for name, option in options.items() if option.get("required")]
    if entry_point == "main" and not required:
        return ["- hosts: all", f"  roles: [baremetal.web.{role}]"]
    lines = [
        "- ansible.builtin.include_role:",
        f"    name: baremetal.web.{role}",
        f"    tasks_from: {entry_point}",
    ]
    return [*lines, "  vars:", *(f"    {name}: …" for name in required)] if required else lines


def entries(options: Mapping[str, Any], written: dict[int, str], above: str = "") -> Iterator[list[str]]:
    """Yield the lines of each option at any depth; keys that the spec has once are written once, too."""
    for name, option in options.items():
        path = f"{above}{name}"
        below, known = option.get("options", {}), written.get(id(option.get("options")))
        texts = [f"- `{path}` ({', '.join(facts(option))}):", *paragraphs(option["description"])]
        if below and known:
            texts.append(f"Its keys are those of `{known}`.")
        yield wrapped(" ".join(texts), "  ")
        if below and not known:
            written[id(below)] = path
            yield from entries(below, written, f"{path}{'[].' if option['type'] == 'list' else '.'}")


def facts(option: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an option takes."""
    elements = f" of {TYPES[option['elements']]}" if "elements" in option else ""
    yield f"{TYPES[option['type']]}{elements}"
    if option.get("required"):
        yield "required"
    if "default" in option:
        yield f"default `{shown(option['default'])}`"
    if choices := option.get("choices"):
        yield f"one of {', '.join(f'`{shown(value)}`' for value in choices)}"


def paragraphs(description: str | list[str]) -> list[str]:
    """Return a description's paragraphs in Markdown."""
    return [in_markdown(text) for text in ([description] if isinstance(description, str) else description)]


def in_markdown(text: str) -> str:
    """Turn Ansible's markup into Markdown's."""

    def code(found: re.Match[str]) -> str:
        return "`" + re.sub(r"\\(.)", r"\1", found[1]).partition("#")[0] + "`"

    return re.sub(r"\b[COPV]\(((?:[^\\)]|\\.)*)\)", code, text)


def wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    main()
