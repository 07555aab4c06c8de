# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read requirements files as pip and uv do, decide each line, and write what is allowed into files of our own."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urldefrag, urlsplit

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.lfs import is_pointer
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.secrets import without_credentials

# ansible-core brings it; the environment of its import test does not.
with suppress(ImportError):
    from packaging.markers import InvalidMarker, Marker
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import canonicalize_name

REQUIREMENTS = "requirements.txt"
CONSTRAINTS = "constraints.txt"

ALLOWED, BUILDS, REFUSED = "allowed", "builds", "refused"


class Rule(NamedTuple):
    """The decision about one kind of line; docs/sources.md has the same table."""

    example: str
    decision: str
    why: str
    instead: str = ""


RULES = {
    "package": Rule("`flask==3.1.3`, with extras and markers", ALLOWED, "A wheel of the index."),
    "hash": Rule("`--hash=sha256:…`", ALLOWED, "Once one line has a hash, every line needs one, in all files."),
    "--require-hashes": Rule("`--require-hashes`", ALLOWED, "Every line needs a hash."),
    "--requirement": Rule("`-r other.txt`", ALLOWED, "Relative to the file that has the line, inside the source."),
    "--constraint": Rule("`-c constraints.txt`", ALLOWED, "Relative to the file that has the line, inside the source."),
    "wheel": Rule("`./wheels/NAME.whl`", ALLOWED, "A file in the source, relative to the top of the source."),
    "url": Rule("`NAME @ https://…/NAME.whl --hash=…`", ALLOWED, "A wheel behind an address needs a hash."),
    "--only-binary": Rule("`--only-binary NAME`", ALLOWED, "Wheels only is the default for all packages."),
    "path": Rule(
        "`./libs/common`, `file:libs/common`, `./NAME.tar.gz`",
        BUILDS,
        "It is built on the host. The path is relative to the top of the source.",
        "bring it as a wheel, such as ./wheels/NAME.whl",
    ),
    "--editable": Rule(
        "`-e ./libs/common`",
        BUILDS,
        "It is built on the host. The path is relative to the top of the source.",
        "leave the line out if it names the app itself, whose code can be imported anyway "
        "(`uv export --no-emit-project`)",
    ),
    "sdist": Rule(
        "`NAME @ https://…/NAME.tar.gz --hash=…`", BUILDS, "It is built on the host.", "name a wheel, or a version"
    ),
    "--no-binary": Rule("`--no-binary NAME`", BUILDS, "The package is built on the host.", "leave the line out"),
    "unnamed": Rule("`https://…/NAME.whl`", REFUSED, "The package has no name.", "write NAME @ URL --hash=sha256:…"),
    "file": Rule(
        "`file:///…`, `NAME @ ./path`, `/opt/NAME`",
        REFUSED,
        "The file would be the host's.",
        "bring it in the source and write its path, such as ./wheels/NAME.whl",
    ),
    "scheme": Rule(
        "`NAME @ s3://…`", REFUSED, "Hosts fetch by http and https alone.", "write NAME @ https://… --hash=sha256:…"
    ),
    "vcs": Rule(
        "`NAME @ git+https://…`",
        REFUSED,
        "Hosts have neither git nor its keys.",
        "name a version, or bring a wheel in the source, such as ./wheels/NAME.whl",
    ),
    "login": Rule(
        "`NAME @ https://me:secret@…`",
        REFUSED,
        "A release would hold the login.",
        "set python_index_url, from the vault, and name a version",
    ),
    "variable": Rule("`${NAME}`", REFUSED, "Hosts have no such variable.", "write its value"),
    "--index-url": Rule(
        "`-i`, `--index-url`", REFUSED, "A source does not choose where hosts fetch packages.", "set python_index_url"
    ),
    "--extra-index-url": Rule(
        "`--extra-index-url`",
        REFUSED,
        "A name that two indexes have could come from the wrong one.",
        "set python_index_url to one index that has all packages, or name the wheel's address with its hash",
    ),
    "--find-links": Rule(
        "`-f`, `--find-links`",
        REFUSED,
        "A source does not choose where hosts fetch packages.",
        "set python_index_url or python_wheelhouse, or name each wheel's path in the source",
    ),
    "--no-index": Rule(
        "`--no-index`",
        REFUSED,
        "A source does not choose where hosts fetch packages.",
        "set python_wheelhouse, with which no index is asked",
    ),
    "--trusted-host": Rule(
        "`--trusted-host`",
        REFUSED,
        "It would turn off the check of the index's certificate.",
        "let the hosts trust the authority that signed it",
    ),
    "--pre": Rule(
        "`--pre`", REFUSED, "uv does not read it.", "name the version of the early release, such as NAME==2.0rc1"
    ),
    "--prefer-binary": Rule("`--prefer-binary`", REFUSED, "uv does not read it.", "leave the line out"),
    "--use-feature": Rule("`--use-feature`", REFUSED, "uv does not read it.", "leave the line out"),
    "--config-settings": Rule(
        "`--config-settings`, `--global-option`",
        REFUSED,
        "uv reads no option of one package's build.",
        "bring the package as a wheel, such as ./wheels/NAME.whl",
    ),
}
_ALIASES = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
    "-C": "--config-settings",
    "--config-setting": "--config-settings",
    **dict.fromkeys(("--global-option", "--install-option", "--build-option"), "--config-settings"),
}
_FLAGS = frozenset(("--require-hashes", "--no-index", "--pre", "--prefer-binary"))

_EXPORT = "uv pip compile --universal --generate-hashes {0} -o requirements.txt"
_PDM_EXPORT = "pdm export --format requirements -o requirements.txt"
_CONDA_EXPORT = "conda run --name NAME python -m pip list --format freeze > requirements.txt"
# What other tools call their locks and descriptions, and the command that makes requirements of each.
OTHER_FORMATS = {
    "uv.lock": "uv export --format requirements-txt --no-emit-project -o requirements.txt",
    "poetry.lock": "poetry export --format requirements.txt -o requirements.txt",
    **dict.fromkeys(("Pipfile.lock", "Pipfile"), "pipenv requirements --hash --exclude-index > requirements.txt"),
    "pdm.lock": _PDM_EXPORT,
    "pylock.toml": "uv export --format requirements-txt --no-emit-project -o requirements.txt",
    **dict.fromkeys(("environment.yml", "environment.yaml", "conda-lock.yml", "pixi.lock", "pixi.toml"), _CONDA_EXPORT),
    "setup.py": _EXPORT.format("setup.py"),
    "setup.cfg": _EXPORT.format("setup.cfg"),
}

# Lines that stand for something else than a package of an index.
_NO_PACKAGES = {
    "python": "It is no package. Set python.version, and leave the line out.",
    "pkg-resources": "It is no package, though pip of Debian lists it. Leave the line out.",
}
_EXTRA = re.compile(r"\bextra\b")
# Settings of uv that change nothing of what is installed, or only what the run says of groups.
_UV_HARMLESS = frozenset(
    (
        *("package", "managed", "required-version", "build-backend", "default-groups", "dev-dependencies"),
        *("cache-dir", "cache-keys", "compile-bytecode", "link-mode", "python-preference", "python-downloads"),
        *("environments", "required-environments", "publish-url", "check-url"),
    )
)
_HASH = re.compile(r"(sha256):([0-9a-f]{64})|(sha384):([0-9a-f]{96})|(sha512):([0-9a-f]{128})")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.lzma", ".tlz", ".tar")
_VCS = re.compile(r"(git|hg|svn|bzr)\+|(git|ssh):|git@(?!https?:)[\w.-]+[:/]", re.IGNORECASE)
_PATH = re.compile(r"(?P<path>[^\s;\[\]#'\"]+)(?P<extras>\[[A-Za-z0-9._, -]+\])?\s*(;(?P<marker>.*))?")


@dataclass
class Entry:
    """One package that is wanted, or one constraint."""

    where: str
    shown: str
    text: str
    hashes: frozenset[str]
    requirement: Requirement | None = None
    directory: bool = False

    @property
    def pinned(self) -> str:
        """Return the one version that it allows; empty when there are more, or an address says which."""
        specifiers = list(self.requirement.specifier) if self.requirement else []
        if len(specifiers) == 1 and specifiers[0].operator in ("==", "===") and "*" not in specifiers[0].version:
            return specifiers[0].version
        return ""

    def __str__(self) -> str:
        return " ".join([self.text, *(f"--hash={value}" for value in sorted(self.hashes))])


@dataclass
class Requirements:
    """The requirements of a file and of those that it names, all lines decided."""

    requirements: list[Entry] = field(default_factory=list)
    constraints: list[Entry] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        return [*self.requirements, *self.constraints]

    def files(self) -> dict[str, str]:
        """Return the texts that hosts get, by name: what was checked, and nothing else."""
        head = [f"-c {CONSTRAINTS}"] if self.constraints else []
        files = {REQUIREMENTS: _lines([*head, *self.options, *self.requirements])}
        if self.constraints:
            files[CONSTRAINTS] = _lines(self.constraints)
        return files


def _lines(lines: list[object]) -> str:
    return "".join(f"{line}\n" for line in dict.fromkeys(map(str, lines)))


def decode(data: bytes, name: str) -> str:
    """Return the text of a file; raise ValueError with a sentence when it is not UTF-8."""
    if is_pointer(data):
        raise ValueError(
            f"{name} is a pointer of Git LFS, not the file itself. Run `git lfs pull` where it comes from."
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{name} is in UTF-16, as some programs of Windows write it. Save it as UTF-8.")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise ValueError(f"{name} line {line}: it has a NUL byte, as files in UTF-16 do. Save the file as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{name} line {line}: {data[error.start]:#04x} is no UTF-8. Save the file as UTF-8.") from None


def other_format(name: str) -> str:
    """Return a sentence when a file is that of another tool."""
    base = posixpath.basename(name).lower()
    base = "pylock.toml" if re.fullmatch(r"pylock\..+\.toml", base) else base
    # A description of a conda environment has any name, and its format in the ending.
    base = "environment.yml" if base.endswith((".yml", ".yaml")) else base
    if command := {other.lower(): command for other, command in OTHER_FORMATS.items()}.get(base):
        return f"{name} is no requirements file. `{command}` makes one of it; then name that one."
    return ""


class Reader:
    """Reads one requirements file, and all that it names."""

    def __init__(
        self,
        read: Callable[[str], bytes | None],
        kind_of: Callable[[str], str],
        *,
        builds: bool = False,
        option: str = "python.source_builds_enabled",
        offline: bool = False,
        python: str = "",
    ):
        """Read files by name; ``kind_of`` tells of a path in the source whether it is a "file" or a "directory".

        ``offline`` is for hosts that ask no address; ``python`` is the app's version, such as 3.13, where it is known.
        """
        self._read = read
        self._kind_of = kind_of
        self._builds = builds
        self._option = option
        self._offline = offline
        self._python = python
        self._stack: list[str] = []
        self._strict = False
        self._found = Requirements()

    def file(self, name: str) -> Requirements:
        """Read a file that is there."""
        self._file(posixpath.normpath(name), constraint=False)
        return self._checked()

    def text(self, text: str, name: str) -> Requirements:
        """Read a text."""
        self._text(text, name, constraint=False)
        return self._checked()

    def _problem(self, where: str, problem: str) -> None:
        self._found.problems.append(f"{where}: {problem}")

    def _rule(self, where: str, shown: str, kind: str) -> bool:
        """Tell whether a kind of line is allowed; note a problem when it is not."""
        rule = RULES[kind]
        if rule.decision == ALLOWED or (rule.decision == BUILDS and self._builds):
            return True
        allow = f"set {self._option}: true, or " if rule.decision == BUILDS else ""
        said = f"{allow}{rule.instead}."
        self._problem(where, f"{shown!r} is not allowed. {rule.why} {said[0].upper()}{said[1:]}")
        return False

    # --- files

    def _file(self, name: str, *, constraint: bool) -> None:
        if sentence := other_format(name):
            self._found.problems.append(sentence)
            return
        data = self._read(name)
        if data is None:
            raise FileNotFoundError(name)
        try:
            text = decode(data, name)
        except ValueError as error:
            self._found.problems.append(str(error))
            return
        self._stack.append(name)
        if posixpath.basename(name) == "pyproject.toml":
            self._project(text, name, constraint)
        else:
            self._text(text, name, constraint)
        self._stack.pop()

    def _project(self, text: str, name: str, constraint: bool) -> None:
        """Read the dependencies that a project declares; nothing of it is run."""
        try:
            whole = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._problem(name, f"it is no TOML ({error}).")
            return
        tables = [whole.get("project", {}), tool := whole.get("tool", {})]
        if isinstance(tool, dict):
            tables += [tool.get(each, {}) for each in ("uv", "poetry", "pdm")]
        if not all(isinstance(table, dict) for table in tables):
            self._problem(name, "project, tool, tool.uv, tool.poetry and tool.pdm are tables. Correct it.")
            return
        project, tools = tables[:2]
        dynamic = project.get("dynamic", [])
        if not _is_list_of_texts(dynamic):
            self._problem(name, f'project.dynamic is {dynamic!r}. Write it as a list, such as dynamic = ["version"].')
        elif "dependencies" in dynamic:
            self._problem(name, f"its dependencies are dynamic. {_dynamic_advice(name, tools)}")
        elif "poetry" in tools and "dependencies" not in project:
            self._problem(name, f"its dependencies are Poetry's. `{OTHER_FORMATS['poetry.lock']}` writes them.")
        elif "dependencies" not in project and "flit" in tools:
            self._problem(name, "its dependencies are in tool.flit, as for older flit. Move them to project.")
        elif "dependencies" not in project:
            self._problem(name, "it has no project.dependencies. Add them, or name a requirements file.")
        elif not _is_list_of_texts(project["dependencies"]):
            self._problem(name, 'project.dependencies is no list of texts. Write it as dependencies = ["flask>=3"].')
        elif set(tools.get("poetry", {}).get("dependencies", {})) - {"python"}:
            named = "it has tool.poetry.dependencies beside project.dependencies, which is not read here"
            self._problem(name, f"{named}. `{OTHER_FORMATS['poetry.lock']}` applies both.")
        elif settings := sorted({"source", "resolution"} & set(tools.get("pdm", {}))):
            named = ", ".join(f"tool.pdm.{setting}" for setting in settings)
            self._problem(name, f"it has {named}, which is not read here. `{_PDM_EXPORT}` applies it.")
        elif "source" in tools.get("poetry", {}):
            self._problem(
                name,
                "it has tool.poetry.source, and a source does not choose where hosts fetch packages. Take it out, and "
                "set python_index_url.",
            )
        elif settings := sorted(set(tools.get("uv", {})) - _UV_HARMLESS):
            named = ", ".join(f"tool.uv.{setting}" for setting in settings)
            self._problem(name, f"it has {named}, which is not read here. `{OTHER_FORMATS['uv.lock']}` applies it.")
        else:
            self._wanted_python(name, project.get("requires-python", ""))
            self._found.left_out += _left_out(name, whole, dynamic)
            for number, line in enumerate(project["dependencies"], 1):
                self._line(f"{name}, dependency {number}", line.strip(), constraint)

    def _wanted_python(self, name: str, wanted: object) -> None:
        """Note a problem when a project does not run on the app's Python, whatever its last number is."""
        try:
            allowed = SpecifierSet(wanted) if isinstance(wanted, str) else None
        except InvalidSpecifier:
            allowed = None
        if allowed is None:
            self._problem(name, f"requires-python is {wanted!r}, which is no range of versions. Write it as '>=3.11'.")
        elif self._python and not any(allowed.contains(f"{self._python}.{last}") for last in range(100)):
            self._problem(
                name,
                f"requires-python is {wanted!r}, and the app's Python is {self._python}. Set python.version to one "
                "that it allows, or correct requires-python.",
            )

    def _text(self, text: str, name: str, constraint: bool) -> None:
        for number, line in logical_lines(text):
            self._line(f"{name} line {number}", line, constraint)

    def _nested(self, where: str, option: str, value: str, constraint: bool) -> None:
        here = self._stack[-1] if self._stack else ""
        if not here:
            self._problem(where, f"{option} {value} names a file, which a text cannot. Put its lines here.")
            return
        if "://" in value:
            self._problem(where, f"{option} names an address. Put the file into the source, and name it.")
            return
        name = posixpath.normpath(posixpath.join(posixpath.dirname(here), value))
        if constraint and option == "--requirement":
            self._problem(where, f"-r {value} stands in a file of constraints, where pip and uv differ. Write -c.")
        elif name in self._stack:
            self._problem(where, f"{option} {value} leads back to {name}. Take one of the two out.")
        else:
            try:
                self._file(name, constraint=constraint or option == "--constraint")
            except FileNotFoundError:
                self._problem(
                    where,
                    f"{option} {value} is no file: {name} was looked for, relative to {here}. Correct the path.",
                )
            except PermissionError:
                self._problem(where, f"{option} {value} leads out of the source. Put the file into the source.")

    # --- lines

    def _line(self, where: str, line: str, constraint: bool) -> None:
        shown = without_credentials(line[:100])
        if line.endswith("\\"):
            self._problem(where, f"{shown!r} ends in a backslash with spaces behind it. Take the spaces away.")
        elif "${" in line:
            self._rule(where, shown, "variable")
        elif line.startswith("-"):
            self._option_line(where, shown, line, constraint)
        else:
            self._requirement(where, shown, line, constraint)

    def _option_line(self, where: str, shown: str, line: str, constraint: bool) -> None:
        found = re.fullmatch(r"(--[A-Za-z-]+|-[A-Za-z])\s*=?\s*(.*)", line)
        option = _ALIASES.get(found[1], found[1]) if found else ""
        if option == "--hash":
            self._problem(
                where, f"{shown!r} stands alone. Write it behind its package, or end the line before with a backslash."
            )
            return
        if option not in RULES or option == "hash":
            self._problem(where, f"{shown!r} is no option that is known here. Correct it, or leave it out.")
            return
        if RULES[option].decision == REFUSED:
            self._rule(where, shown, option)
            return
        words = _words(found[2])
        if len(words) != (0 if option in _FLAGS else 1):
            self._problem(where, f"{shown!r} cannot be read. Write one option in a line, with one value if it has one.")
        elif option in ("--requirement", "--constraint"):
            self._nested(where, option, words[0], constraint)
        elif option == "--require-hashes":
            self._strict = True
        elif option == "--editable":
            self._path(where, shown, _without_scheme(words[0]), frozenset(), constraint, editable=True)
        elif option == "--only-binary" and ":none:" in words[0]:
            self._rule(where, shown, "--no-binary")
        elif not re.fullmatch(r":all:|:none:|[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*", words[0]):
            self._problem(where, f"{shown!r} cannot be read. Name packages, with commas between them.")
        elif self._rule(where, shown, option) and self._builds:  # else every package is to be a wheel anyway
            self._found.options.append(f"{option} {words[0]}")

    def _requirement(self, where: str, shown: str, line: str, constraint: bool) -> None:
        body, *rest = re.split(r"\s+(?=--?[A-Za-z])", line, maxsplit=1)
        body = _without_scheme(body)
        try:
            hashes = self._hashes(where, rest[0] if rest else "")
        except ValueError as error:
            self._problem(where, f"{shown!r} cannot be read. {error}")
            return
        if hashes is None:
            return
        plain = body.split(";")[0].split("[")[0].strip()
        if plain.lower().endswith(_ARCHIVES) and "@" not in plain and "://" not in plain:
            self._path(where, shown, body, hashes, constraint)
            return
        if _VCS.match(body):
            self._rule(where, shown, "vcs")
            return
        if re.fullmatch(r"[A-Za-z0-9._-]+\s*@\s*([~^=]?v?[0-9][\w.*]*)?", body):
            self._problem(where, f"{shown!r} is no requirement. Write a version as NAME==VERSION.")
            return
        try:
            requirement = Requirement(body)
        except InvalidRequirement as error:
            self._unnamed(where, shown, body, plain, hashes, constraint, str(error).partition("\n")[0])
            return
        if instead := _NO_PACKAGES.get(canonicalize_name(requirement.name)):
            self._problem(where, f"{shown!r} is not allowed. {instead}")
        elif requirement.marker and _EXTRA.search(str(requirement.marker)):
            self._problem(
                where,
                f"{shown!r} asks for an extra of a project, which nothing here has, so it would never be installed. "
                "Leave that marker out, or the line.",
            )
        elif constraint and requirement.extras:
            self._problem(where, f"{shown!r} is a constraint with extras, which pip refuses. Leave the extras out.")
        elif requirement.url:
            self._address(where, shown, requirement, hashes, constraint)
        else:
            self._add(constraint, Entry(where, shown, str(requirement), hashes, requirement))

    def _hashes(self, where: str, options: str) -> frozenset[str] | None:
        """Return the hashes of a line; None when it has an option that was refused."""
        words, hashes = _words(options), []
        while words:
            option, _sign, value = words.pop(0).partition("=")
            if option != "--hash":
                self._trailing(where, option)
                return None
            value = value or (words.pop(0) if words else "")
            if not _HASH.fullmatch(value):
                raise ValueError("A hash is sha256:, sha384: or sha512: and hexadecimal digits in lower case.")
            hashes.append(value)
        return frozenset(hashes)

    def _trailing(self, where: str, option: str) -> None:
        """Refuse an option that stands behind a package."""
        known = _ALIASES.get(option, option)
        if known in RULES and RULES[known].decision == REFUSED:
            self._rule(where, option, known)
        elif known in RULES:
            self._problem(where, f"{option!r} stands behind a package. Write it in a line of its own.")
        else:
            self._problem(where, f"{option!r} is no option that is known here. Correct it, or leave it out.")

    def _unnamed(
        self, where: str, shown: str, body: str, plain: str, hashes: frozenset[str], constraint: bool, error: str
    ) -> None:
        """Decide a line that does not begin with the name of a package."""
        if plain.startswith(("file:", "/", "~")):
            self._rule(where, shown, "file")
        elif "://" in plain:
            self._rule(where, shown, "unnamed")
        elif re.match(r"[A-Za-z0-9._-]+\s*@", body):
            self._rule(where, shown, "file")
        elif plain.startswith(".") or "/" in plain:
            self._path(where, shown, body, hashes, constraint)
        else:
            self._problem(where, f"{shown!r} is no requirement ({error}). Write one as NAME>=3,<4, each in a line.")

    def _address(
        self, where: str, shown: str, requirement: Requirement, hashes: frozenset[str], constraint: bool
    ) -> None:
        """Decide ``NAME @ URL``; a hash in the fragment is one of the line."""
        url, fragment = urldefrag(requirement.url or "")
        parts = urlsplit(url)
        values = parse_qsl(fragment)
        hashes |= {f"{name}:{value}" for name, value in values if _HASH.fullmatch(f"{name}:{value}")}
        if _VCS.match(url):
            self._rule(where, shown, "vcs")
            return
        if parts.scheme not in ("http", "https"):
            self._rule(where, shown, "file" if parts.scheme in ("", "file") else "scheme")
            return
        if "@" in parts.netloc or parts.query:
            self._rule(where, shown, "login")
            return
        if not parts.path.lower().endswith(".whl") and not self._rule(where, shown, "sdist"):
            return
        if self._offline:
            self._problem(
                where,
                f"{shown!r} names an address. With python_wheelhouse hosts ask none. Bring the wheel in the source, "
                "such as ./wheels/NAME.whl, or name a version.",
            )
            return
        if not hashes:
            self._problem(where, f"{shown!r} has no hash. Add --hash=sha256: and what sha256sum says of the file.")
            return
        kept = "&".join(f"{name}={value}" for name, value in values if name == "subdirectory")
        requirement.url = f"{url}#{kept}" if kept else url
        self._add(constraint, Entry(where, shown, str(requirement), hashes, requirement))

    def _path(
        self, where: str, shown: str, body: str, hashes: frozenset[str], constraint: bool, *, editable: bool = False
    ) -> None:
        """Decide a path in the source."""
        if _VCS.match(body):
            self._rule(where, shown, "vcs")
            return
        if body.startswith(("/", "~", "file:")) or "://" in body:
            self._rule(where, shown, "file")
            return
        if "#" in body:
            self._problem(where, f"{shown!r} is a path with #{body.partition('#')[2]} behind it. Leave that out.")
            return
        found = _PATH.fullmatch(body.strip())
        if found is None:
            self._problem(where, f"{shown!r} is no path that can be read. Use a path without spaces and quotes.")
            return
        path = posixpath.normpath(found["path"])
        wheel = path.lower().endswith(".whl")
        if constraint:
            self._problem(where, f"{shown!r} is a constraint without a name. Write a name and a version.")
        elif path.startswith(".."):
            self._problem(where, f"{shown!r} leads out of the source. Put it into the source.")
        elif not self._rule(where, shown, "--editable" if editable else "wheel" if wheel else "path"):
            return
        elif not (kind := self._kind_of(path)):
            self._problem(
                where,
                f"{shown!r} is not in the source. A path is relative to the top of the source, "
                "not to the file that has the line. Correct it, or put the file into the source.",
            )
        else:
            marker = (found["marker"] or "").strip()
            try:
                tail = f" ; {Marker(marker)}" if marker else ""
            except InvalidMarker:
                self._problem(where, f"{marker!r} is no marker. Correct it.")
                return
            place = "." if path == "." else f"./{path}"
            text = f"{'-e ' * editable}{place}{found['extras'] or ''}{tail}"
            self._add(False, Entry(where, shown, text, hashes, None, editable or kind == "directory"))

    def _add(self, constraint: bool, entry: Entry) -> None:
        (self._found.constraints if constraint else self._found.requirements).append(entry)

    # --- all together

    def _checked(self) -> Requirements:
        self._found.problems += [*self._hash_problems(), *self._pin_problems()]
        return self._found

    def _pin_problems(self) -> Iterator[str]:
        """Find two lines that allow one version each, and not the same; with markers they may be for two platforms."""
        pins: dict[str, Entry] = {}
        for entry in self._found.entries:
            if not entry.pinned or not entry.requirement or entry.requirement.marker:
                continue
            first = pins.setdefault(canonicalize_name(entry.requirement.name), entry)
            if not first.requirement.specifier.contains(entry.pinned, prereleases=True):
                yield (
                    f"{entry.where}: {entry.shown!r} wants another version than {first.where}, {first.shown!r}. Take "
                    "one of the two out."
                )

    def _hash_problems(self) -> Iterator[str]:
        """Find what has no hash while something else has one."""
        first = next((entry.where for entry in self._found.entries if entry.hashes), "")
        if not first and not self._strict:
            return
        because = f"{first} has a hash, so every line needs one" if first else "--require-hashes stands there"
        for entry in self._found.requirements:
            if entry.directory:
                yield (
                    f"{entry.where}: {entry.shown!r} is a directory, which has no hash. Yet {because}. "
                    "Bring it as a wheel with its hash, or leave it out."
                )
            elif not entry.hashes:
                yield (
                    f"{entry.where}: {entry.shown!r} has no hash. Yet {because}. "
                    f"`{_EXPORT.format('requirements.in')}` writes them all."
                )
            elif entry.requirement and not entry.requirement.url and not entry.pinned:
                yield f"{entry.where}: {entry.shown!r} has a hash and not one exact version. Write NAME==VERSION."


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that says something, with its number: comments taken out, continued lines put together."""
    begun, parts = 0, []
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        begun = begun if parts else number
        comment = re.match(r"\s*#", raw)
        if raw.endswith("\\") and not comment:
            parts.append(raw[:-1])
            continue
        line = re.sub(r"(^|\s)#.*$", "", "".join([*parts, " " if comment else "", raw])).strip()
        parts = []
        if line:
            yield begun, line


def _left_out(name: str, whole: dict[str, object], dynamic: list[str]) -> list[str]:
    """Return sentences about what of a project is not installed or compared."""
    groups = [f"{place} {', '.join(sorted(table))}" for place, table in _tables(whole, _GROUPS) if table]
    more = [place for place, found in _tables(whole, _MORE, list, dict) if found]
    sentences = []
    if groups:
        sentences.append(
            f"{name} has {' and '.join(groups)}, which are not installed. To install some, make a requirements file "
            f"with `{_EXPORT.format(name)} --extra NAME` or `--group NAME`, and name that one."
        )
    if more:
        sentences.append(
            f"{name} has {' and '.join(more)}, whose packages are not installed. Name those that the app needs in "
            "project.dependencies."
        )
    if "requires-python" in dynamic:
        sentences.append(
            f"{name} has a dynamic requires-python, which is not compared with the app's Python. Write it into project."
        )
    return sentences


# Where tools keep what is installed on demand: tables of lists, and lists or tables of packages.
_GROUPS = ("project.optional-dependencies", "dependency-groups", "tool.pdm.dev-dependencies", "tool.poetry.group")
_MORE = (
    *("tool.uv.dev-dependencies", "tool.poetry.dev-dependencies", "tool.rye.dev-dependencies"),
    *("tool.pixi.dependencies", "tool.pixi.pypi-dependencies"),
)


def _tables(whole: dict[str, object], places: tuple[str, ...], *kinds: type) -> Iterator[tuple[str, Any]]:
    """Yield what stands at dotted places of a document, where it is of one of the kinds; a table by default."""
    for place in places:
        found: object = whole
        for key in place.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, kinds or dict):
            yield place.removeprefix("project."), found


def _dynamic_advice(name: str, tools: dict[str, Any]) -> str:
    """Say what to do about dynamic dependencies: often they stand in a file that can be named itself."""
    places = ("setuptools.dynamic.dependencies", "hatch.metadata.hooks.requirements_txt")
    for _place, table in _tables(tools, places):
        files = table.get("file", table.get("files", []))
        files = [files] if isinstance(files, str) else files
        if _is_list_of_texts(files) and len(files) == 1:
            return f"They are read from {files[0]}. Name that file in python.requirements."
    return f"Code would say what they are. `{_EXPORT.format(name)}` writes them."


def _without_scheme(body: str) -> str:
    """Return a path of the source that is written as file:PATH by its path alone."""
    return re.sub(r"^file:(?!/)", "./", body) if body.startswith("file:") else body


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def in_directory(root: str) -> tuple[Callable[[str], bytes | None], Callable[[str], str]]:
    """Return what a reader needs of a source's tree."""
    top = os.path.realpath(root)

    def place(name: str) -> str:
        path = os.path.realpath(os.path.join(top, name))
        if os.path.commonpath([top, path]) != top:
            raise PermissionError(name)
        return path

    def read(name: str) -> bytes | None:
        path = place(name)
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as stream:
            return stream.read()

    def kind_of(name: str) -> str:
        try:
            path = place(name)
        except PermissionError:
            return ""
        return "directory" if os.path.isdir(path) else "file" if os.path.isfile(path) else ""

    return read, kind_of
