"""The description of the apps: what it is completed with, what is refused, and what follows from it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.app_needs import app_needs
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine, resolve
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sites import sites
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import find_path, search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT, role_options
from conftest import HOST

Describe = Callable[..., dict[str, Any]]

# What the table adds to the defaults of the spec.
DEFAULT_SERVER = {"worker_class": "gthread", **servers().variant("gunicorn", "gthread", "wsgi")["options"]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "requirements.txt").touch()
    return directory


@pytest.fixture
def describe(source: Path) -> Describe:
    """Describe an app that is fine; a change has a dotted key."""

    def _describe(name: str = "shop", changes: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
        app = {"name": name, "source": {"path": str(source)}, "entrypoint": "shop:app", **keys}
        for dotted, value in (changes or {}).items():
            *parents, key = dotted.split(".")
            place = app
            for parent in parents:
                place = place.setdefault(parent, {})
            place[key] = value
        return app

    return _describe


def problems(*apps: Any, search: tuple[str, ...] = ()) -> list[str]:
    return examine(list(apps), list(search), ["web1"])[1]


def resolved(*apps: Any, **host: Any) -> dict[str, Any]:
    return resolve(list(apps), **{**HOST, "root": "/srv/wsgi", "search": [], **host})


def sites_of(*apps: Any, **host: Any) -> list[dict[str, Any]]:
    return sites(resolved(*apps, **host)["apps"])


def defaults_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dictionary with nothing in it becomes."""
    return {
        key: defaults_of(option["options"]) if option["type"] == "dict" and "options" in option else option["default"]
        for key, option in options.items()
        if "default" in option
    }


def test_an_app_without_problems_has_none(describe: Describe) -> None:
    assert problems(describe()) == []


def test_every_default_of_the_spec_is_applied_at_any_depth(describe: Describe) -> None:
    (app,), _ = examine([describe()], [], ["web1"])
    expected = defaults_of(role_options("wsgi")["wsgi_apps"]["options"])
    expected["site"]["server_names"] = ["web1"]  # nothing means the host's own
    expected["site"]["cors"] = None
    expected["server"].update(DEFAULT_SERVER)
    assert {key: app[key] for key in expected} == expected


def test_a_value_that_is_given_wins_over_the_default_beside_it(describe: Describe) -> None:
    (app,), _ = examine([describe(server={"threads": 9})], [], ["web1"])
    spec = role_options("wsgi")["wsgi_apps"]["options"]["server"]["options"]
    assert app["server"] == {**defaults_of(spec), **DEFAULT_SERVER, "threads": 9}


def test_the_operators_own_list_is_left_as_it_is(describe: Describe) -> None:
    apps = [describe(server={"workers": 2}, site={"server_names": ["a.example"]})]
    before = copy.deepcopy(apps)
    resolved(*apps)
    assert apps == before


def test_the_same_apps_are_resolved_to_the_same_again(describe: Describe) -> None:
    assert resolved(describe()) == resolved(describe())


def test_what_follows_for_one_app_does_not_reach_another(describe: Describe) -> None:
    one, two = resolved(describe("one"), describe("two", site={"prefix": "/two"}))["apps"]
    one["server"]["threads"] = 99
    one["site"]["server_names"].append("other.example")
    assert two["server"]["threads"] != 99
    assert "other.example" not in two["site"]["server_names"]


@pytest.mark.parametrize(
    ("key", "path"),
    [("nmae", "nmae"), ("server.wokers", "server.wokers"), ("source.git.barnch", "source.git.barnch")],
)
def test_a_misspelt_key_is_refused_by_name(describe: Describe, key: str, path: str) -> None:
    (problem,) = problems(describe(changes={"source.git.repo": "/r", key: 1} if "git" in key else {key: 1}))
    assert problem.startswith("app shop: ")
    assert path in problem


@pytest.mark.parametrize("key", ["name", "source", "entrypoint"])
def test_a_missing_key_is_named(describe: Describe, key: str) -> None:
    app = describe()
    del app[key]
    (problem,) = problems(app)
    assert key in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("site.listen", "http"),
        ("server.threads", "many"),
        ("server.preload_enabled", "perhaps"),
        ("server.worker_class", "turbo"),
        ("server.kind", "apache"),
        ("environment", ["A"]),
        ("environment", None),
        ("server", None),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(describe: Describe, key: str, value: Any) -> None:
    (problem,) = problems(describe(changes={key: value}))
    assert problem.startswith("app shop: ")
    assert key.rpartition(".")[2] in problem


def test_a_host_without_the_variable_is_refused_for_it_may_be_misspelt() -> None:
    (problem,) = examine(None, [], ["web1"])[1]
    assert "wsgi_apps is not defined" in problem
    assert examine([], [], ["web1"]) == ([], [])


@pytest.mark.parametrize("apps", ["shop", {"shop": {}}])
def test_apps_that_are_no_list_are_refused(apps: Any) -> None:
    (problem,) = examine(apps, [], ["web1"])[1]
    assert type(apps).__name__ in problem
    assert "list" in problem


@pytest.mark.parametrize("entry", [None, "shop", ["shop"]])
def test_an_entry_that_is_no_dictionary_is_refused_by_its_place(describe: Describe, entry: Any) -> None:
    (problem,) = problems(describe(), entry)
    assert "[1]" in problem
    assert repr(entry) in problem


@pytest.mark.parametrize(
    "name",
    [
        *("", "Shop", "../shop", "a/b", ".shop", "-shop", "9shop", "a b", "shop\n", "a" * 28),
        *("build", "stack", "supervisord"),  # whose user, files or word for removal are others'
    ],
)
def test_a_name_that_is_no_safe_file_name_is_refused(describe: Describe, name: str) -> None:
    (problem,) = problems(describe(name))
    assert problem.startswith(f"app {name}: name ")
    assert repr(name) in problem


WRONG = {
    "entrypoint": [
        *("shop", "shop:", ":app", "shop app", "shop/app:app", "1shop:app", "shop:app;id", "shop:app\n"),
        "shop:create_app(",
    ],
    "user": ["root", "wsgi-build", "Root", "a b", "9user", "../x", "u" * 33],
    "python.version": ["", "3", "2.7", "3.12.1", "3.x", "latest", ">=3.11"],
    "server.workers": [0, -1, 1.5, "two", ""],
    "server.threads": [0, -1],
    "server.worker_connections": [0, -1],
    "server.timeout": [0, -1],
    "server.graceful_timeout": [0, -1],
    "server.keepalive": [0, -1, 30],  # 30 is how long nginx keeps an idle connection
    "server.backlog": [0, -1],
    "server.max_requests": [-1],
    "server.max_requests_jitter": [-1],
    "server.bind": [
        *("", "5000", ":5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "unix:/run/app.sock"),
        *("127.0.0.1 --reload:5000", "127.0.0.1:$port", "$host:5000", "127.0.0.1:²"),
        *("127.0.0.1:0", "127.0.0.1:80", "127.0.0.1:1023", "127.0.0.1:65536"),
        *("app.example:5000", "127.0.0:5000", "256.0.0.1:5000", "[::1::]:5000", "[127.0.0.1]:5000"),
    ],
    "site.listen": [0, -1, 65536],
    "site.prefix": [
        *("", "a", "a/", "/a/", "//a", "/a//b", "/a b", "/a;return 200", "/a{", "/$uri", "/a\n", '/"a"'),
        *("/..", "/a/../b", "/."),
    ],
    "site.max_body_size": ["", "10 m", "10x", "-1", "10m; return 200", "1.5m"],
    "health.path": ["", "healthz", "/a b", "/a\nb", "/gesund-ü"],
    "health.timeout": [0, -1],
    "health.stable": [-1],
    "releases.keep": [1, 0, -1],
    "releases.warm": [-1],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_value_out_of_its_range_or_form_is_refused_with_app_key_and_value(
    describe: Describe, key: str, value: Any
) -> None:
    (problem,) = problems(describe(changes={key: value}))
    assert problem.startswith(f"app shop: {key} ")
    assert str(value) in problem or repr(value) in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a" * 27),
        ("name", "shop-2_b"),
        ("entrypoint", "shop.wsgi:app"),
        ("entrypoint", "shop:site.app"),
        ("entrypoint", 'shop:create_app("x", debug=False)'),
        ("python.version", "3.12"),
        ("server.workers", 1),
        ("server.workers", "3"),
        ("server.max_requests", 0),
        ("server.bind", "unix"),
        ("server.bind", "127.0.0.1:1024"),
        ("server.bind", "0.0.0.0:65535"),
        ("server.bind", "[::1]:5000"),
        ("server.bind", "localhost:5000"),
        ("site.listen", 1),
        ("site.listen", 65535),
        ("site.prefix", "/"),
        ("site.prefix", "/a/b.c~d-e_f"),
        ("site.max_body_size", "0"),
        ("site.max_body_size", "512k"),
        ("site.server_names", ["example.com", "*.example.com", "www.example.*", "web1", "192.0.2.1"]),
        ("health.path", "/healthz?deep=1"),
        ("health.stable", 0),
        ("releases.keep", 2),
        ("releases.warm", 0),
        ("shared", {"directories": ["uploads", "var/cache"], "files": ["db.sqlite3", "var/.one"]}),
        ("shared", {"directories": ["venv/var/shop-instance", "venvs/lib"], "files": ["venv/var/one.db"]}),
        ("programs", [{"name": "a" * 27, "command": "work --at a;b#c", "number": 100}]),
        ("programs", [{"name": "mailer", "command": "mail '100%'", "stop_timeout": 900}]),
        ("hooks", {"migrate": [{"name": "All of it", "command": "a && b ; c # d", "timeout": 1}]}),
        ("environment", {"A": "b", "_A1": "", "NUMBER": 1.5, "LINES": "a\r\nb", "QUOTES": "'\"\\"}),
    ],
)
def test_a_value_at_the_edge_of_its_range_or_form_is_taken(describe: Describe, key: str, value: Any) -> None:
    assert problems(describe(changes={key: value})) == []


@pytest.mark.parametrize("kind", ["directories", "files"])
@pytest.mark.parametrize(
    "path", ["", "/uploads", "../uploads", "a/../../b", "a/..", ".", "./a", "a/", "a//b", "a b", "a\nb", "a'b", "$HOME"]
)
def test_a_shared_path_that_leads_elsewhere_is_refused(describe: Describe, kind: str, path: str) -> None:
    (problem,) = problems(describe(shared={kind: ["fine", path]}))
    assert problem.startswith(f"app shop: shared.{kind} has {path!r}; ")


@pytest.mark.parametrize(
    "shared",
    [
        {"directories": ["var", "var/cache"]},
        {"directories": ["var"], "files": ["var/one.db"]},
        {"directories": ["var/cache", "var"]},
    ],
)
def test_a_shared_path_inside_a_shared_directory_is_refused(describe: Describe, shared: dict[str, list[str]]) -> None:
    (problem,) = problems(describe(shared=shared))
    assert "which is in another shared directory already" in problem


@pytest.mark.parametrize("path", ["venv", "venv/var", "venv/lib/python3.13/site-packages/shop", "venv/bin/shop"])
def test_what_the_environment_runs_is_not_shared(describe: Describe, path: str) -> None:
    (problem,) = problems(describe(shared={"directories": [path]}))
    assert problem.startswith(f"app shop: shared.directories has {path!r}; ")
    assert "only paths below venv/var can be shared" in problem


HOOK = {"name": "schema", "command": "migrate"}
PROGRAM = {"name": "mailer", "command": "mail"}


@pytest.mark.parametrize("kind", ["after_stage", "migrate", "before_activate", "after_activate"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"command": ""}, "command of schema is ''"),
        ({"command": " "}, "command of schema is ' '"),
        ({"command": "a\nb"}, "command of schema is 'a\\nb'"),
        ({"timeout": 0}, "timeout of schema is 0"),
    ],
)
def test_a_hook_that_cannot_run_is_refused_by_its_name(
    describe: Describe, kind: str, change: dict[str, Any], said: str
) -> None:
    (problem,) = problems(describe(hooks={kind: [{**HOOK, **change}]}))
    assert problem.startswith(f"app shop: hooks.{kind}")
    assert said in problem


def test_hooks_of_a_list_and_programs_of_an_app_have_names_of_their_own(describe: Describe) -> None:
    other = {"name": "other", "command": "x"}
    assert problems(describe(hooks={"migrate": [HOOK, other], "after_stage": [HOOK]}, programs=[PROGRAM, other])) == []
    (problem,) = problems(describe(hooks={"migrate": [HOOK, other, HOOK]}))
    assert problem.startswith("app shop: hooks.migrate has two hooks named 'schema'")
    (problem,) = problems(describe(programs=[PROGRAM, other, PROGRAM]))
    assert problem.startswith("app shop: programs has two programs named 'mailer'")


@pytest.mark.parametrize("key", ["irreversible_enabled", "comand"])
def test_a_key_that_a_hook_does_not_have_is_refused_by_name(describe: Describe, key: str) -> None:
    (problem,) = problems(describe(hooks={"before_activate": [{**HOOK, key: True}]}))
    assert key in problem


def test_a_migration_is_for_the_whole_fleet_and_any_other_hook_for_each_host(describe: Describe) -> None:
    kinds = ("after_stage", "migrate", "before_activate", "after_activate")
    (app,), found = examine([describe(hooks={kind: [HOOK] for kind in kinds})], [], ["web1"])
    assert found == []
    assert {kind: app["hooks"][kind][0]["run_once"] for kind in kinds} == {kind: kind == "migrate" for kind in kinds}
    assert app["hooks"]["migrate"][0]["irreversible_enabled"] is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({"name": name}, repr(name)) for name in ("", "Mailer", "a.b", "a b", "9", "a" * 28)),
        ({"command": ""}, "command of mailer is ''"),
        ({"command": "a\nb"}, "command of mailer is 'a\\nb'"),
        *(
            ({"command": command}, f"command of mailer is {command!r}. supervisord")
            for command in ("a ; b", "a # b", ";a", "# a", "a %(here)s")
        ),
        ({"number": 0}, "number of mailer is 0"),
        ({"number": 101}, "number of mailer is 101"),
        ({"stop_timeout": 0}, "stop_timeout of mailer is 0"),
        ({"stop_timeout": 901}, "stop_timeout of mailer is 901"),
    ],
)
def test_a_background_program_that_cannot_run_is_refused(describe: Describe, change: dict[str, Any], said: str) -> None:
    (problem,) = problems(describe(programs=[{**PROGRAM, **change}]))
    assert problem.startswith("app shop: programs")
    assert said in problem


def test_the_former_way_to_say_how_many_releases_stay_is_refused_by_name(describe: Describe) -> None:
    (problem,) = problems(describe(releases_kept=5))
    assert "releases_kept" in problem
    assert "releases" in problem


@pytest.mark.parametrize(
    "name", ["", "a b", "a;return 200", "a{", "a}", "$host", '"a"', "'a'", "a\nb", "a\tb", "~^(.*)$", "a\\", "#a", "-a"]
)
def test_a_server_name_that_nginx_would_take_for_more_than_a_name_is_refused(describe: Describe, name: str) -> None:
    (problem,) = problems(describe(site={"server_names": ["fine.example", name]}))
    assert problem.startswith("app shop: site.server_names ")
    assert repr(name) in problem
    assert "fine.example" not in problem


@pytest.mark.parametrize("name", ["", "A B", "1A", "A-B", "A=B", "A\n", "Ä"])
def test_an_environment_name_that_no_shell_knows_is_refused(describe: Describe, name: str) -> None:
    (problem,) = problems(describe(environment={"FINE": "1", name: "2"}))
    assert problem.startswith("app shop: environment ")
    assert repr(name) in problem


@pytest.mark.parametrize("value", [None, True, ["hunter2"], {"a": "hunter2"}, "hunter2\0"])
def test_an_environment_value_that_is_no_text_is_refused_by_name_and_not_shown(describe: Describe, value: Any) -> None:
    (problem,) = problems(describe(environment={"FINE": "1", "BROKEN": value}))
    assert problem.startswith("app shop: environment.BROKEN ")
    assert "hunter2" not in problem


def test_an_app_without_dependencies_needs_no_requirements_file(describe: Describe, source: Path) -> None:
    (source / "requirements.txt").unlink()
    assert problems(describe(python={"requirements": ""})) == []


@pytest.mark.parametrize("requirements", ["/etc/requirements.txt", "../requirements.txt", "lock/../../web.txt"])
def test_a_requirements_file_outside_the_source_is_refused(describe: Describe, requirements: str) -> None:
    (problem,) = problems(describe(python={"requirements": requirements}))
    assert problem.startswith(f"app shop: python.requirements is {requirements!r}")


CHECKSUM = f"sha256:{'0' * 64}"
MISSING = {
    "path": "no/such/place",
    "archive": {"path": "no/such/place", "checksum": CHECKSUM},
    "wheel": {"path": "no/such/place/shop-1-py3-none-any.whl", "checksum": CHECKSUM},
    "git": {"repo": "/r", "signers": "no/such/place"},
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_source_is_named_with_every_place_that_was_looked_in(describe: Describe, kind: str) -> None:
    python = {"requirements": ""}
    (problem,) = problems(describe(source={kind: MISSING[kind]}, python=python), search=("/first", "/second"))
    assert problem.startswith(f"app shop: source.{kind}")
    for part in ("'no/such/place", "/first", "/second", COLLECTION_ROOT):
        assert part in problem


def test_signers_that_are_a_directory_are_refused(describe: Describe, source: Path) -> None:
    (problem,) = problems(describe(source={"git": {"repo": "/r", "signers": str(source)}}))
    assert problem.startswith("app shop: source.git.signers ")


def test_a_source_path_that_is_a_file_is_refused(describe: Describe, source: Path) -> None:
    (problem,) = problems(describe(source={"path": str(source / "requirements.txt")}))
    assert "directory" in problem


def test_two_kinds_of_source_are_refused_by_name(describe: Describe, source: Path) -> None:
    (problem,) = problems(describe(source={"path": str(source), "git": {"repo": "/r"}}))
    assert problem.startswith("app shop: source ")
    assert "git" in problem
    assert "path" in problem


def test_an_app_without_a_source_is_told_the_kinds(describe: Describe) -> None:
    (problem,) = problems(describe(source={}))
    assert all(kind in problem for kind in ("path", "git", "archive", "wheel"))


@pytest.mark.parametrize(
    "checksum",
    ["", "sha256:", f"sha256:{'0' * 63}", f"sha256:{'0' * 65}", f"sha256:{'G' * 64}", f"sha1:{'0' * 40}", "0" * 64],
)
def test_a_checksum_of_another_form_is_refused(describe: Describe, checksum: str) -> None:
    (problem,) = problems(describe(source={"archive": {"url": "https://example.com/a.zip", "checksum": checksum}}))
    assert problem.startswith("app shop: source.archive.checksum ")
    assert repr(checksum) in problem


@pytest.mark.parametrize("kind", ["archive", "wheel"])
@pytest.mark.parametrize("place", ["path", "url"])
def test_a_packed_source_needs_a_checksum_wherever_it_is(
    describe: Describe, source: Path, kind: str, place: str
) -> None:
    name = "shop-1-py3-none-any.whl"
    (source / name).touch()
    packed = {place: name if place == "path" else f"https://me:hunter2@example.com/{name}?token=hunter3"}
    (problem,) = problems(describe(source={kind: packed}, python={"requirements": ""}), search=(str(source),))
    assert problem.startswith(f"app shop: source.{kind}.{place} ")
    assert "needs a checksum" in problem
    assert f"{name}'" in problem
    assert "hunter" not in problem


@pytest.mark.parametrize("kind", ["archive", "wheel"])
@pytest.mark.parametrize("packed", [{}, {"path": "a.zip", "url": "https://example.com/a.zip"}])
def test_a_packed_source_has_one_place(describe: Describe, kind: str, packed: dict[str, str]) -> None:
    (problem,) = problems(describe(source={kind: packed}, python={"requirements": ""}))
    assert problem.startswith(f"app shop: source.{kind} ")


WHEELS = [
    "hello_flask-1.2-py3-none-any.whl",
    "shop-1.2+local.1-1-py2.py3-none-any.whl",
    "shop-1.2-cp312-cp312-manylinux_2_28_x86_64.whl",
    "shop-1.2-cp39-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
]


@pytest.mark.parametrize("name", WHEELS)
def test_a_wheel_that_python_3_on_linux_can_install_is_taken(describe: Describe, name: str) -> None:
    wheel = {"url": f"https://example.com/{name.replace('+', '%2B')}?a=/b#c", "checksum": CHECKSUM}
    assert problems(describe(source={"wheel": wheel}, python={"requirements": ""})) == []


@pytest.mark.parametrize(
    "name",
    [
        *("shop.whl", "shop-1.2.tar.gz", "", "shop-one-py3-none-any.whl", "shop-1.2-py2-none-any.whl"),
        *("shop-1.2-cp312-cp312-win_amd64.whl", "shop-1.2-cp312-cp312-musllinux_1_2_x86_64.whl"),
    ],
)
def test_a_wheel_that_no_host_can_install_is_refused_by_its_name(describe: Describe, name: str) -> None:
    wheel = {"url": f"https://example.com/{name}", "checksum": CHECKSUM}
    (problem,) = problems(describe(source={"wheel": wheel}, python={"requirements": ""}))
    assert problem.startswith(f"app shop: source.wheel.url ends in {name!r}, ")


def test_the_requirements_of_a_wheel_are_a_file_of_the_controller(describe: Describe, source: Path) -> None:
    wheel = {"url": "https://example.com/shop-1-py3-none-any.whl", "checksum": CHECKSUM}
    assert problems(describe(source={"wheel": wheel}), search=(str(source),)) == []
    (problem,) = problems(describe(source={"wheel": wheel}, python={"requirements": "shop.txt"}), search=("/first",))
    assert problem.startswith("app shop: python.requirements names 'shop.txt'")
    for part in ("/first", COLLECTION_ROOT, 'requirements: ""'):
        assert part in problem


def test_a_name_is_used_once(describe: Describe) -> None:
    (problem,) = problems(describe(), describe(site={"listen": 81}))
    assert problem.startswith("app shop: ")
    assert "twice" in problem


def test_two_apps_on_one_site_and_prefix_are_refused_with_both_names(describe: Describe) -> None:
    site = {"server_names": ["a.example", "b.example"], "listen": 8080, "prefix": "/x"}
    (problem,) = problems(
        describe("one", site=site), describe("two", site={**site, "server_names": ["b.example", "a.example"]})
    )
    for part in ("app two", "one", "8080", "/x"):
        assert part in problem


def test_two_apps_that_say_nothing_of_their_site_are_refused(describe: Describe) -> None:
    (problem,) = problems(describe("one"), describe("two"))
    assert "app two" in problem
    assert "one" in problem


def test_sites_that_share_only_some_of_their_names_are_refused(describe: Describe) -> None:
    (problem,) = problems(
        describe("one", site={"server_names": ["a.example", "b.example"]}),
        describe("two", site={"server_names": ["b.example", "c.example"], "prefix": "/x"}),
    )
    for part in ("app two", "one", "b.example", "80"):
        assert part in problem


def test_names_that_differ_in_case_alone_are_the_same_name(describe: Describe) -> None:
    (problem,) = problems(
        describe("one", site={"server_names": ["a.example"]}), describe("two", site={"server_names": ["A.example"]})
    )
    assert "app two" in problem


def test_an_app_that_names_the_host_itself_and_one_that_names_nothing_cannot_share_a_place(describe: Describe) -> None:
    with pytest.raises(DescriptionError, match="app two"):
        resolved(describe("one"), describe("two", site={"server_names": ["web1"]}), names=["web1"])


@pytest.mark.parametrize(
    "other", [{"listen": 81}, {"prefix": "/x"}, {"server_names": ["b.example"]}], ids=lambda other: next(iter(other))
)
def test_apps_with_another_port_prefix_or_name_stand_side_by_side(describe: Describe, other: dict[str, Any]) -> None:
    site = {"server_names": ["a.example"]}
    assert problems(describe("one", site=site), describe("two", site={**site, **other})) == []


def test_an_address_is_bound_once(describe: Describe) -> None:
    (problem,) = problems(
        describe("one", server={"bind": "127.0.0.1:5000"}),
        describe("two", server={"bind": "127.0.0.1:5000"}, site={"prefix": "/x"}),
    )
    for part in ("app two", "one", "server.bind", "127.0.0.1:5000"):
        assert part in problem


@pytest.mark.parametrize(
    ("one", "two", "stand"),
    [
        ("127.0.0.1:5000", "localhost:5000", False),
        ("0.0.0.0:5000", "127.0.0.1:5000", False),
        ("127.0.0.1:5000", "0.0.0.0:5000", False),
        ("[::1]:5000", "[0:0::1]:5000", False),
        ("[::]:5000", "[::1]:5000", False),
        ("127.0.0.1:5000", "127.0.0.2:5000", True),
        ("127.0.0.1:5000", "127.0.0.1:5001", True),
        ("127.0.0.1:5000", "[::1]:5000", True),
        ("0.0.0.0:5000", "[::]:5000", True),
    ],
)
def test_two_apps_share_no_address_of_a_port(describe: Describe, one: str, two: str, stand: bool) -> None:
    first, second = describe("one", server={"bind": one}), describe("two", server={"bind": two}, site={"prefix": "/x"})
    found = problems(first, second)
    assert found == [] if stand else all(part in found[0] for part in ("app two", one, two, "of one"))


def test_a_port_of_a_site_is_no_apps_own(describe: Describe) -> None:
    (problem,) = problems(
        describe("one", server={"bind": "127.0.0.1:8080"}), describe("two", site={"listen": 8080, "prefix": "/x"})
    )
    for part in ("app one", "server.bind 127.0.0.1:8080", "the site of two", "site.listen"):
        assert part in problem


def test_every_problem_of_every_app_is_reported_at_once(describe: Describe) -> None:
    with pytest.raises(DescriptionError) as refusal:
        resolved(
            describe("one", wrong=1),
            describe("two", server={"workers": 0}, site={"listen": 0}),
            describe("three", source={"path": "no/such/place"}, site={"listen": 81}),
            describe("four"),
            describe("five"),
            "six",
        )
    said = str(refusal.value).splitlines()
    assert len(said) == 6
    for parts in (
        ("app one", "wrong"),
        ("app two", "server.workers"),
        ("app two", "site.listen"),
        ("app three", "source.path"),
        ("app five", "four"),
        ("[5]", "six"),
    ):
        assert [line for line in said if all(part in line for part in parts)], parts


@pytest.mark.parametrize(
    ("worker_class", "cpus", "workers"),
    [("sync", 1, 3), ("sync", 4, 9), ("gthread", 1, 2), ("gthread", 8, 8), ("gevent", 1, 2), ("gevent", 8, 8)],
)
def test_auto_workers_follow_the_worker_class_and_the_processors(
    describe: Describe, worker_class: str, cpus: int, workers: int
) -> None:
    (app,) = resolved(describe(server={"worker_class": worker_class}), cpus=cpus)["apps"]
    assert app["server"]["workers"] == workers


def test_a_number_of_workers_that_is_given_is_taken_on_any_host(describe: Describe) -> None:
    (app,) = resolved(describe(server={"workers": 5}), cpus=64)["apps"]
    assert app["server"]["workers"] == 5


@pytest.mark.parametrize("graceful_timeout", [1, 30, 300])
def test_supervisord_waits_longer_than_the_server_takes_to_finish_its_requests(
    describe: Describe, graceful_timeout: int
) -> None:
    (app,) = resolved(describe(server={"graceful_timeout": graceful_timeout}))["apps"]
    assert app["program"]["stopwaitsecs"] > graceful_timeout


@pytest.mark.parametrize("timeout", [1, 30, 300])
def test_nginx_waits_longer_than_a_worker_may_take(describe: Describe, timeout: int) -> None:
    ((location,),) = [site["locations"] for site in sites_of(describe(server={"timeout": timeout}))]
    assert location["read_timeout"] > timeout


def test_an_app_runs_as_a_user_of_its_own_or_as_the_one_it_names(describe: Describe) -> None:
    answer = resolved(describe("one"), describe("two", user="web", site={"prefix": "/x"}))
    assert [app["program"]["user"] for app in answer["apps"]] == ["wsgi-one", "web"]
    assert {"wsgi-one", "web"} <= set(answer["users"])


def test_a_user_of_several_apps_is_added_once(describe: Describe) -> None:
    users = resolved(describe("one", user="web"), describe("two", user="web", site={"prefix": "/x"}))["users"]
    assert users.count("web") == 1


def test_the_longest_name_still_makes_a_name_for_a_user(describe: Describe) -> None:
    (app,) = resolved(describe("a" * 27))["apps"]
    assert len(app["user"]) <= 32


def test_a_site_without_names_answers_to_each_name_of_the_host_once(describe: Describe) -> None:
    (site,) = sites_of(describe(), names=["web1", "192.0.2.1", "", "web1"])
    assert sorted(site["server_names"]) == ["192.0.2.1", "web1"]


def test_apps_that_share_names_and_port_share_one_site_each_below_its_prefix(describe: Describe) -> None:
    (site,) = sites_of(
        describe("two", site={"server_names": ["b.example", "a.example"], "prefix": "/two"}),
        describe("one", site={"server_names": ["a.example", "b.example"]}),
    )
    assert {location["prefix"]: location["name"] for location in site["locations"]} == {
        "/": "wsgi-one",
        "/two": "wsgi-two",
    }
    assert sorted(site["server_names"]) == ["a.example", "b.example"]


def test_apps_with_another_port_or_name_have_a_site_each(describe: Describe) -> None:
    found = sites_of(
        describe("one", site={"server_names": ["a.example"]}),
        describe("two", site={"server_names": ["a.example"], "listen": 81}),
        describe("three", site={"server_names": ["b.example"]}),
    )
    assert len({site["name"] for site in found}) == 3


def test_unknown_names_are_caught_once_on_each_port(describe: Describe) -> None:
    found = sites_of(
        describe("one", site={"server_names": ["a.example"]}),
        describe("two", site={"server_names": ["b.example"]}),
        describe("three", site={"server_names": ["c.example"], "listen": 81}),
    )
    assert sorted(site["listen"] for site in found if site["catch_all_enabled"]) == [80, 81]


def test_unknown_names_of_a_port_that_an_app_leaves_to_others_are_not_caught(describe: Describe) -> None:
    found = sites_of(
        describe("one", site={"server_names": ["a.example"]}),
        describe("two", site={"server_names": ["b.example"], "catch_all_enabled": False}),
        describe("three", site={"server_names": ["c.example"], "listen": 81}),
    )
    assert [site["listen"] for site in found if site["catch_all_enabled"]] == [81]


def test_a_shared_site_keeps_its_file_when_the_apps_change_places(describe: Describe) -> None:
    one, two = describe("one"), describe("two", site={"prefix": "/two"})
    assert [site["name"] for site in sites_of(one, two)] == [site["name"] for site in sites_of(two, one)]


@pytest.mark.parametrize("bind", ["unix", "127.0.0.1:5000"])
def test_nginx_asks_the_slot_that_is_live_and_else_whatever_is_live(describe: Describe, bind: str) -> None:
    for site in sites_of(describe(server={"bind": bind}), root="/apps"):
        (location,) = site["locations"]
        assert location["servers"] == ["unix:/apps/shop/slots/a.sock"]
        other = {"servers": ["unix:/apps/shop/slots/b.sock"], "protocol": "http"}
        assert location["alternative"] == {"file": "/apps/shop/slots/b", **other}
        assert location["backups"] == ["unix:/apps/shop/current.sock"]


def test_a_site_fits_the_role_that_publishes_it(describe: Describe) -> None:
    found = sites_of(describe(server={"bind": "[::1]:5000"}))
    completed = [complete(site, "nginx", "site", "nginx_site") for site in found]
    assert [site["locations"][0]["name"] for site in completed] == ["wsgi-shop", "wsgi-shop.bind"]


@pytest.mark.parametrize(
    ("bind", "name", "address"),
    [
        ("127.0.0.1:5000", "bind-5000-127.0.0.1", "127.0.0.1"),
        ("localhost:5000", "bind-5000-127.0.0.1", "127.0.0.1"),
        ("0.0.0.0:5000", "bind-5000-0.0.0.0", "0.0.0.0"),
        ("[0:0::1]:5000", "bind-5000-__1", "[::1]"),
    ],
)
def test_an_app_with_an_address_has_a_site_there_for_every_name_and_path(
    describe: Describe, bind: str, name: str, address: str
) -> None:
    app = describe(server={"bind": bind}, site={"prefix": "/shop", "max_body_size": "1g"})
    published, own = sites_of(app)
    assert (own["name"], own["address"], own["listen"], own["server_names"]) == (name, address, 5000, [])
    differs = {"name": "wsgi-shop.bind", "prefix": "/"}
    assert own["locations"] == [{**published["locations"][0], **differs}]


def test_an_app_is_told_its_environment_as_text(describe: Describe) -> None:
    (app,) = resolved(describe(environment={"PORT": 5000, "TMPDIR": "/elsewhere"}))["apps"]
    assert app["program"]["environment"]["PORT"] == "5000"
    assert app["program"]["environment"]["TMPDIR"] == "/elsewhere"


def test_a_misspelt_key_of_a_list_inside_a_typed_dictionary_is_refused_by_name() -> None:
    site = {"name": "a", "locations": [{"name": "a", "servers": [], "keepalvie": 1}]}
    with pytest.raises(DescriptionError, match="keepalvie"):
        complete(site, "nginx", "site", "nginx_site")


def alternative(file: str) -> dict[str, Any]:
    return {"name": "a", "servers": [], "alternative": {"file": file, "servers": []}}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("nginx_site", {"name": "../a"}, "../a"),
        ("nginx_site", {"name": "a", "server_names": ["a;return 200"]}, "a;return 200"),
        ("nginx_site", {"name": "a", "locations": [{"name": "a", "servers": ["a;b"]}]}, "a;b"),
        ("nginx_site", {"name": "a", "locations": [{"name": "a", "servers": [], "prefix": "/{"}]}, "/{"),
        ("nginx_site", {"name": "a", "locations": [{"name": "a", "servers": [], "backups": ["a;b"]}]}, "a;b"),
        *(("nginx_site", {"name": "a", "address": address}, address) for address in ("host", "::1", "1.2.3.4;", "[::")),
        *(
            ("nginx_site", {"name": "a", "locations": [alternative(file)]}, file)
            for file in ("slots/b", "/a b", "/a$b", "/a'b", '/a"b', "/a)b", "/a;b", "/a{b", "/", "/a#b")
        ),
        ("supervisor_program", {"name": "a/b"}, "a/b"),
        ("supervisor_program", {"name": "a", "user": "root\nx"}, "root"),
        ("supervisor_program", {"name": "a", "umask": "9"}, "9"),
        ("python_path", {"name": "a", "directories": ["/opt/$(id)/bin"]}, "$(id)"),
    ],
)
def test_a_typed_dictionary_with_a_value_that_means_more_than_it_says_is_refused(
    option: str, value: dict[str, Any], said: str
) -> None:
    role, _, entry_point = option.partition("_")
    with pytest.raises(DescriptionError) as refusal:
        complete(value, role, entry_point, option)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith(f"{option}: ")


def test_a_relative_path_is_looked_up_in_the_working_directory_then_beside_the_inventory_then_in_the_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, inventory = tmp_path / "here", tmp_path / "inventory"
    for directory in (here, inventory):
        (directory / "app").mkdir(parents=True)
    monkeypatch.chdir(here)
    search = search_path(str(inventory))
    assert find_path("app", search) == str(here / "app")
    (here / "app").rmdir()
    assert find_path("app", search) == str(inventory / "app")
    assert find_path("galaxy.yml", search) == f"{COLLECTION_ROOT}/galaxy.yml"
    assert find_path("no/such/place", search) is None


def test_each_python_version_is_wanted_once_beside_the_platforms_own(describe: Describe) -> None:
    apps = [describe(), describe(python={"version": "3.12"}), describe(python={"version": "3.12"}), describe(python={})]
    assert app_needs(apps)["python_versions"] == ["3.12", "auto"]


def test_an_app_that_names_no_python_gets_the_platforms_by_its_number(describe: Describe) -> None:
    apps = resolved(
        describe("one"), describe("two", python={"version": "3.11"}, site={"prefix": "/two"}), python="3.14"
    )
    assert [app["python"]["version"] for app in apps["apps"]] == ["3.14", "3.11"]
