"""What a user may write, and what is said of it before any host is touched: one table of inputs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.check_apps import check_apps
from ansible_collections.baremetal.web.plugins.filter.resolve_apps import resolve_apps
from ansible_collections.baremetal.web.plugins.plugin_utils._apps import environment
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine, resolve
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sites import sites
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from conftest import HOST, ROOT


def described(key: str = "", value: Any = None) -> dict[str, Any]:
    app: dict[str, Any] = {"name": "shop", "source": {"path": str(ROOT / "molecule/echo")}, "entrypoint": "echo:wsgi"}
    if key:
        *parents, last = key.split(".")
        place = app
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return app


# Key, value, and what the sentence has to say: what is wrong, or what to write.
REFUSED = [
    ("site.server_names", ["wrong.example:8080"], ["wrong.example, ", "site.listen: 8080"]),
    ("site.server_names", ["[::1]:8080"], ["[::1], ", "site.listen: 8080"]),
    ("site.server_names", ["_"], ["'_'", "'*'"]),
    ("site.server_names", [""], ["''", "'*'"]),
    ("site.server_names", ["*", "a.example"], ["'*'", "leave the others out"]),
    ("site.server_names", ["https://a.example/x"], ["a.example"]),
    ("site.server_names", ["a.example/shop"], ["a.example", "site.prefix"]),
    ("site.server_names", ["~^www\\d+\\.example$"], ["Regular expressions", "*.example.com"]),
    ("site.server_names", ["w*.example.com"], ["*.example.com"]),
    ("site.server_names", ["www.*.example.com"], ["*.example.com"]),
    ("site.server_names", ["*.example.*"], ["*.example.com"]),
    ("site.server_names", [f"{'a' * 64}.example"], ["63"]),
    ("site.server_names", [".".join(["a" * 60] * 5)], ["253"]),
    ("site.server_names", ["192.0.2.300"], ["IPv4"]),
    ("site.server_names", ["fe80::1%eth0"], ["[2001:db8::1]"]),
    ("site.server_names", ["-a.example"], ["'-a'"]),
    ("site.server_names", ["a..example"], ["''"]),
    ("site.server_names", ["a.example b.example"], ["'a.example b.example'", "an item of the list"]),
    ("site.server_names", ["a.example;"], ["'a.example;'", "semicolons"]),
    ("site.server_names", [" a.example"], ["' a.example'", "spaces"]),
    ("site.server_names", ["0.0.0.0"], ["'0.0.0.0'", "every address", "'*'"]),
    ("site.server_names", ["[::]"], ["'[::]'", "every address", "'*'"]),
    ("site.server_names", ["default_server"], ["'default_server'", "'*'"]),
    ("site.server_names", ["_default_"], ["'_default_'", "'*'"]),
    ("site.server_names", [":8080"], ["'*' for every name", "site.listen: 8080"]),
    ("site.server_names", ["a.example:"], ["Write a.example"]),
    ("site.server_names", ["HTTPS://me@a.example:443/x"], ["host name alone: a.example"]),
    ("site.server_names", ["/shop"], ["'/shop'", "no host name"]),
    ("site.server_names", [".."], ["'..'", "shop.example.com"]),
    ("site.server_names", ["//a.example"], ["'//a.example'", "host name alone: a.example"]),
    ("site.server_names", ["http://"], ["'http://'", "no host name"]),
    ("site.server_names", ["a\u200db.example"], ["xn--"]),
    ("site.server_names", ["\u0301a.example"], ["xn--"]),
    ("site.server_names", ["xn--zzzzzzzzz.example"], ["'xn--zzzzzzzzz'", "another script"]),
    ("programs", [{"name": "w", "command": "run 'a"}], ["programs: command of w", "a shell cannot read"]),
    ("programs", [{"name": "w", "command": "run a &"}], ["'run a &'", "leave the & out"]),
    ("hooks.migrate", [{"name": "m", "command": "cd x &&"}], ["migrate: command of m", "a shell cannot read"]),
    ("hooks.migrate", [{"name": "m", "command": "run $(a"}], ["'run $(a'", "a shell cannot read"]),
    ("limits", {"memory": "plenty"}, ["'plenty'", "512m"]),
    ("limits", {"memory": "4m"}, ["'4m'", "16m or more"]),
    ("limits", {"memory": "-512m"}, ["'-512m'", "16m or more"]),
    ("limits", {"processes": -1}, ["processes is -1", "1 or more"]),
    ("limits", {"open_files": 10}, ["open_files is 10", "from 64"]),
    ("limits", {"open_files": 9999999}, ["open_files is 9999999", "supervisor_open_files"]),
    ("programs", [{"name": "w", "command": "run", "limits": {"memory": "1k"}}], ["limits of w", "'1k'"]),
    ("site.listen", 443, ["443", "TLS"]),
    ("site.listen", "0443", ["443", "TLS"]),
    ("site.listen", True, ["true", "a number"]),
    ("health.timeout", False, ["false", "a number"]),
    ("environment", {False: "x"}, ["False", "in quotes"]),
    ("environment", {"X": "a\0"}, ["X has a NUL"]),
    ("environment", {"X": "a" * 131070}, ["131072", "into a file"]),
    ("site.listen", 22, ["22", "ssh"]),
    ("health.host", "_", ["'_'", "www.example.com"]),
    ("health.host", "~^www", ["'~^www'", "www.example.com"]),
    ("health.host", "a.example:70000", ["'a.example:70000'", "from 1 to 65535"]),
    ("health.host", "0.0.0.0", ["'0.0.0.0'"]),
    ("health.path", "/health#db", ["'/health#db'", "no #"]),
    ("health.path", "//health", ["'//health'", "one /"]),
    ("health.path", "/../health", ["'/../health'", ".."]),
    ("entrypoint", "app.py:app", ["'app.py:app'", "without .py"]),
    ("python.version", 3.1, ["'3.1'", "in quotes", "3.10"]),
    ("source", {"path": ""}, ["source.path is empty"]),
    ("source", {"git": {"repo": ""}}, ["source.git.repo is empty"]),
    (
        "source",
        {"git": {"repo": "git+https://me:hunter2@x/a.git"}},
        ["is 'git+https://x/a.git'", "git+: https://x/a.git"],
    ),
    ("source", {"git": {"repo": "github.com/a/b"}}, ["source.git.repo is 'github.com/a/b'", "https://"]),
    ("source", {"git": {"repo": "~/b"}}, ["source.git.repo is '~/b'", "no directory"]),
    ("source", {"git": {"repo": "/r", "version": ""}}, ["source.git.version is empty"]),
    ("source", {"git": {"repo": "/r", "version": 1.10}}, ["source.git.version is the number 1.1", "in quotes"]),
    ("source", {"git": {"repo": "/r", "version": 2024}}, ["source.git.version is the number 2024", "in quotes"]),
    (
        "source",
        {"archive": {"url": "files.example/a.tar.gz", "checksum": f"sha256:{'a' * 64}"}},
        ["source.archive.url is 'files.example/a.tar.gz'", "https://"],
    ),
    ("shared", {"directories": ["uploads"], "files": ["uploads"]}, ["shared has 'uploads' twice"]),
    ("shared", {"directories": ["uploads", "uploads"]}, ["shared has 'uploads' twice"]),
    ("hooks.migrate", [{"name": " ", "command": "run"}], ["hooks.migrate has the name ' '", "one line"]),
    ("hooks.migrate", [{"name": "a\nb", "command": "run"}], ["hooks.migrate has the name 'a\\nb'", "one line"]),
    ("hooks.migrate", [{"name": "m", "command": "run", "user": "no such"}], ["user of m is 'no such'", "lower-case"]),
    *(
        ("programs", [{"name": "w", "command": f"run --id {value}"}], [value, "nothing replaces", "$APP_NAME"])
        for value in ("%(process_num)s", "'%(process_num)02d'", "'%(program_name)s'", "'%(ENV_HOME)s'")
    ),
]


# Values of another type, and keys without a value: the whole sentence behind the name of the app.
SHAPES = [
    ("python", 3.12, "python is 3.12; it must be a dictionary with keys such as provider"),
    ("python", "3.12", "python is '3.12'; it must be a dictionary with keys such as provider"),
    ("python.requirements", None, "python.requirements has no value; give it one, or leave it out"),
    ("python.requirements", ["a.txt"], "python.requirements is ['a.txt']; it must be text"),
    ("python.source_builds_enabled", "maybe", "python.source_builds_enabled is 'maybe'; it must be true or false"),
    ("releases", 5, "releases is 5; it must be a dictionary with keys such as keep"),
    ("source", "https://me:hunter2@x.example/a.git", "source is 'https://x.example/a.git'; it must be a dictionary"),
    ("source.git", "https://x.example/a.git", "source.git is 'https://x.example/a.git'; it must be a dictionary"),
    ("site", None, "site has no value; give it one, or leave it out"),
    ("site.listen", "80,443", "site.listen is '80,443'; it must be a number, whole and without a unit"),
    ("site.cors", True, "site.cors is true; it must be a dictionary with keys such as origins"),
    ("site.server_names", {"a": 1}, "site.server_names is {'a': 1}; it must be a list"),
    ("site.server_names", [["a.example"]], "site.server_names[0] is ['a.example']; it must be text"),
    ("site.server_names", [True], "site.server_names[0] is true; it must be text, in quotes"),
    ("site.server_names", ["a.example", None], "site.server_names[1] has no value; give it one, or leave it out"),
    ("site.error_pages", {"404": "x"}, "site.error_pages is {'404': 'x'}; it must be a list of dictionaries"),
    ("site.proxy", "caddy", "site.proxy is 'caddy'; it must be one of nginx, apache"),
    ("health.timeout", "30s", "health.timeout is '30s'; it must be a number, whole and without a unit"),
    ("health.statuses", None, "health.statuses has no value; give it one, or leave it out"),
    ("server.kind", "hypercorn", "server.kind is 'hypercorn'; it must be one of gunicorn, uwsgi"),
    ("server.log_level", "warn", "server.log_level is 'warn'; it must be one of debug, info"),
    ("server.log_level", False, "server.log_level is false; it must be text, in quotes"),
    ("server.worker_class", "eventlet", "server.worker_class is 'eventlet': "),
    ("environment", ["A=hunter2"], "environment is a list; it must be a dictionary"),
    ("hooks.migrate", "run", "hooks.migrate is 'run'; it must be a list of dictionaries, each starting with -"),
    ("hooks.migrate", ["run"], "hooks.migrate[0] is 'run'; it must be a dictionary with keys such as name"),
    ("hooks.migrate", [{"name": "m"}], "hooks.migrate[0].command is missing; add it"),
    ("hooks.migrate", [{"name": "m", "command": ["a"]}], "hooks.migrate[0].command is ['a']; it must be text"),
    ("programs", {"w": {"command": "run"}}, "programs is {'w': {'command': 'run'}}; it must be a list of dict"),
    ("programs", [{"name": "w", "comand": "run"}], "unknown key programs[0].comand (did you mean command?); known"),
    ("programs", [None], "programs[0] has no value; give it one, or leave it out"),
]


@pytest.mark.parametrize(("key", "value", "said"), SHAPES)
def test_a_value_of_another_type_is_told_by_its_path(key: str, value: Any, said: str) -> None:
    problems = examine([described(key, value)], [], ["web1"])[1]
    assert problems[0].startswith(f"app shop: {said}")
    assert "hunter2" not in "".join(problems)


def test_a_key_that_is_missing_because_another_is_misspelt_is_told_with_it() -> None:
    app = described()
    app["entry_point"] = app.pop("entrypoint")
    assert [problem.partition(";")[0] for problem in examine([app], [], ["web1"])[1]] == [
        "app shop: unknown key entry_point (did you mean entrypoint?)",
        "app shop: entrypoint is missing",
    ]


def test_a_key_that_has_no_value_where_it_needs_none_is_as_if_it_were_not_there() -> None:
    app = described("user", None)
    app["site"] = {"cors": None}
    app["source"]["git"] = None
    assert examine([app], [], ["web1"])[1] == []


@pytest.mark.parametrize("form", [int, str])
def test_more_open_files_than_supervisord_of_the_host_may_have_are_refused(form: type) -> None:
    entry = described("limits", {"open_files": 8192})
    assert examine([entry], [], ["web1"], form(8192))[1] == []
    (problem,) = examine([entry], [], ["web1"], form(4096))[1]
    assert "open_files is 8192; it must be from 64 to 4096 (supervisor_open_files)" in problem


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"open_files": "many"}, "supervisor_open_files is 'many'; it must be a whole number"),
        ({"open_files": True}, "supervisor_open_files is True"),
        ({"proxy": None}, "python_proxy is "),
        ({"proxy": ""}, "python_proxy is "),
        ({"repositories": None}, "packages_repositories is "),
    ],
)
def test_a_setting_beside_the_apps_that_cannot_work_is_refused_with_them(settings: dict[str, Any], said: str) -> None:
    (problem,) = check_apps([described()], names=["web1"], **settings)["problems"]
    assert said in problem


@pytest.mark.parametrize("most", [None, "", "None", 1024, "1024"])
def test_a_limit_of_supervisord_that_is_not_known_or_text_is_taken(most: Any) -> None:
    assert check_apps([described()], names=["web1"], open_files=most)["problems"] == []


def test_without_the_environment_there_is_no_digest_of_it_either() -> None:
    known = {**{"names": ["web1"], "cpus": 2, "memory": 4096}, "machine": "x86_64", "python": "3.13"}
    app = described("environment", {"KEY": "hunter2"})
    assert "fingerprint" in resolve_apps([app], **known)
    found = resolve_apps([app], **known, environment=False)
    assert "fingerprint" not in found
    assert found["apps"][0]["program"]["environment"] == {}


VARIABLES = [(name, refused) for refused in environment.REFUSED for name in refused.names]


@pytest.mark.parametrize(("name", "refused"), VARIABLES)
def test_a_variable_that_servers_python_or_the_shell_act_upon_is_refused(
    name: str, refused: environment.Refused
) -> None:
    (problem,) = examine([described("environment", {name.replace("*", "X"): "hunter2", "FINE": "1"})], [], ["web1"])[1]
    assert problem == f"app shop: environment.{name.replace('*', 'X')} is refused. {refused.reason}. {refused.instead}"


def test_the_documentation_has_every_variable_that_is_refused() -> None:
    rows = (ROOT / "docs" / "deploy.md").read_text().splitlines()
    for names, reason, instead in environment.REFUSED:
        assert f"| {', '.join(f'`{name}`' for name in names)} | {reason} | {instead} |" in rows


@pytest.mark.parametrize(
    "path", [5, "/a\n/b", "/opt/bin:$PATH", "", "bin", "/opt/bin:", "/opt/bin:.:/x", "~/bin", "${HOME}/bin"]
)
def test_a_path_that_no_shell_would_expand_is_refused(path: Any) -> None:
    (problem,) = examine([described("environment", {"PATH": path})], [], ["web1"])[1]
    assert problem.startswith("app shop: environment.PATH is no list of absolute directories")


def test_a_variable_may_have_the_name_of_a_key_of_supervisord() -> None:
    names = ("name", "user", "umask", "log_name", "log_maxbytes", "command", "directories")
    entry = described("environment", dict.fromkeys(names, "My App / é"))
    (app,) = resolve([entry], **{**HOST, "root": "/srv/wsgi", "search": []})["apps"]
    assert {name: app["program"]["environment"][name] for name in names} == dict.fromkeys(names, "My App / é")


def test_a_limit_of_0_is_none() -> None:
    entry = described("limits", {"memory": 0, "processes": 0, "open_files": 0})
    (app,) = resolve([entry], **{**HOST, "root": "/srv/wsgi", "search": []})["apps"]
    assert app["limits"] == {"memory": 0, "processes": 0, "open_files": 0}


def test_values_that_look_like_those_that_are_refused_are_taken() -> None:
    entry = described("programs", [{"name": "w", "command": "run --format '%(asctime)s %(levelname)s'"}])
    entry["health"] = {"path": "/.well-known/health..x?next=//a/../b"}
    entry["hooks"] = {"migrate": [{"name": "collect static files", "command": "run", "user": "www-data"}]}
    entry["entrypoint"] = "shop.python:app"
    assert examine([entry], [], ["web1"])[1] == []


def test_variables_that_are_the_apps_own_are_taken() -> None:
    names = (
        "APP_ENV",
        "APP_SECRET_KEY",
        "PYTHONPATH",
        "LD_PRELOAD",
        "TZ",
        "LANG",
        "PORT",
        "TMPDIR",
        "SHELLEY",
        "USERS",
    )
    given = {**dict.fromkeys(names, "/x"), "PATH": "/opt/tools/bin:/opt/more"}
    assert examine([described("environment", given)], [], ["web1"])[1] == []


@pytest.mark.parametrize(("key", "value", "said"), REFUSED)
def test_a_value_that_does_not_do_what_it_seems_to_is_refused(key: str, value: Any, said: list[str]) -> None:
    (problem,) = examine([described(key, value)], [], ["web1"])[1]
    assert problem.startswith(f"app shop: {key}")
    assert [each for each in said if each not in problem] == []


NAMES = {
    "Shop.Example.COM": ["shop.example.com"],
    "shop.example.com.": ["shop.example.com"],
    ".example.com": ["example.com", "*.example.com"],
    "*.example.com": ["*.example.com"],
    "www.example.*": ["www.example.*"],
    "my_host": ["my_host"],
    "[2001:DB8:0::1]": ["[2001:db8::1]"],
    "::1": ["[::1]"],
    "192.0.2.1": ["192.0.2.1"],
    "M\u00fcnchen.example": ["xn--mnchen-3ya.example"],
    "stra\u00dfe.example": ["xn--strae-oqa.example"],
    "\u4f8b\u5b50\u3002example": ["xn--fsqu00a.example"],
    "\u0915\u094d\u200d\u0937.example": ["xn--11b2ezcw70k.example"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_what_clients_send(name: str) -> None:
    (app,), problems = examine(
        [described("site.server_names", [name, name.upper() if name.isascii() else name])], [], []
    )
    assert problems == []
    assert app["site"]["server_names"] == NAMES[name]
    site = {"name": "x", "server_names": [name], "locations": []}
    assert complete(site, "nginx", "site", "nginx_site")["server_names"] == NAMES[name]


def test_a_site_for_every_name_is_the_ports_own_and_others_are_found_before_it() -> None:
    every = described("site.server_names", ["*"])
    other = {**described("site.server_names", ["a.example"]), "name": "other"}
    published = sites(resolve([other, every], **{**HOST, "root": "/srv/wsgi", "search": []})["apps"])
    assert {site["name"]: (site["server_names"], site["catch_all_enabled"]) for site in published} == {
        "80-+": ([], True),
        "80-a.example": (["a.example"], False),
    }
    every["site"]["catch_all_enabled"] = False
    (problem,) = examine([every], [], ["web1"])[1]
    assert "catch_all_enabled" in problem


def test_without_names_a_site_has_those_of_the_host_that_a_client_can_send() -> None:
    (app,), problems = examine([described()], [], ["web1", "fd00::1", "fe80::1%eth0", ""])
    assert problems == []
    assert app["site"]["server_names"] == ["[fd00::1]", "web1"]
    (problem,) = examine([described()], [], ["no host"])[1]
    assert "server_names is empty" in problem
