"""What a user may write, and what is said of it before any host is touched: one table of inputs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.plugin_utils import environment
from ansible_collections.baremetal.web.plugins.plugin_utils.apps import complete, examine, resolve
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
    ("site.server_names", ["two names.example"], ["'two names'"]),
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
]


def test_more_open_files_than_supervisord_of_the_host_may_have_are_refused() -> None:
    entry = described("limits", {"open_files": 8192})
    assert examine([entry], [], ["web1"], 8192)[1] == []
    (problem,) = examine([entry], [], ["web1"], 4096)[1]
    assert "open_files is 8192; it must be from 64 to 4096 (supervisor_open_files)" in problem


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
    sites = resolve([other, every], **{**HOST, "root": "/srv/wsgi", "search": []})["sites"]
    assert {site["name"]: (site["server_names"], site["catch_all_enabled"]) for site in sites} == {
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
