"""The table of the servers: it is consistent, refuses what cannot work, and the servers take what is made of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from serving import Release, configuration, resolved

from ansible_collections.baremetal.web.plugins.filter.place_apps import place_apps
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine, resolve
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import place_slots, servers
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sites import sites
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from conftest import HOST, PATIENCE, ROOT

SPEC = role_options("wsgi")["wsgi_apps"]["options"]["server"]["options"]
# Each kind with each of its worker classes, for each interface.
USES = [
    (kind, worker_class, interface)
    for kind, worker_class in servers().variants()
    for interface in servers().variant(kind, worker_class, "")["interfaces"]
]


def describe(name: str = "shop", site: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Describe an app; any key but these is one of its server."""
    own = {key: keys.pop(key) for key in ("interface", "environment", "python") if key in keys}
    app = {"name": name, "source": {"path": "molecule/echo"}, "entrypoint": "echo:wsgi", "server": keys, **own}
    return {**app, "site": dict(site or {})}


def problems(*apps: Any) -> list[str]:
    return examine(list(apps), [str(ROOT)], ["web1"])[1]


def resolve_on(*apps: dict[str, Any], **host: Any) -> dict[str, Any]:
    return resolve(list(apps), **{**HOST, "root": "/srv/wsgi", "search": [str(ROOT)], **host})


# The table agrees with itself and with the argument spec.


def test_every_option_of_the_table_is_in_the_spec_and_the_other_way_round() -> None:
    table = {option for use in USES for option in servers().variant(*use)["options"]}
    assert table | servers().common == set(SPEC)
    assert table & servers().common == set()


def test_an_option_has_its_default_in_one_place() -> None:
    table = {option for use in USES for option in servers().variant(*use)["options"]}
    # Empty is for what has choices, and stands for the table's.
    assert [option for option in table if SPEC[option].get("default")] == []
    assert [option for option in table if "default" in SPEC[option] and "choices" not in SPEC[option]] == []
    assert [option for option in servers().common if "default" not in SPEC[option]] == []


def test_options_with_choices_have_a_default_for_two_apps_may_share_the_dictionary_that_ansible_fills_in() -> None:
    assert [option for option in SPEC if "choices" in SPEC[option] and "default" not in SPEC[option]] == []


@pytest.mark.parametrize("use", USES, ids=" ".join)
def test_a_server_works_with_nothing_but_its_defaults(use: tuple[str, str, str]) -> None:
    kind, worker_class, interface = use
    chosen = {"kind": kind, **({"worker_class": worker_class} if worker_class else {})}
    assert problems(describe(**chosen, interface=interface, environment={"APP_ENV": "development"})) == []


@pytest.mark.parametrize("use", USES, ids=" ".join)
def test_a_server_is_known_in_full_and_by_known_words(use: tuple[str, str, str]) -> None:
    variant = servers().variant(*use)
    assert set(variant) == {*servers().defaults, "lock", "command"}
    assert set(variant["interfaces"]) <= set(role_options("wsgi")["wsgi_apps"]["options"]["interface"]["choices"])
    assert set(variant["websocket_interfaces"]) <= set(variant["interfaces"])
    assert set(variant["protocols"]) <= set(SPEC["protocol"]["choices"])
    assert variant["auto"] in servers().worker_rules


@pytest.mark.parametrize("use", USES, ids=" ".join)
def test_a_default_is_of_the_type_that_the_spec_names(use: tuple[str, str, str]) -> None:
    types = {"str": str, "int": int, "bool": bool, "list": list}
    for option, value in servers().variant(*use)["options"].items():
        assert type(value) is types[SPEC[option]["type"]], option
        assert value in SPEC[option].get("choices", [value]), option


def test_no_setting_is_refused_that_is_an_option() -> None:
    assert set(servers().refused) & set(SPEC) == set()


def test_what_is_to_be_used_in_place_of_a_refused_setting_is_there() -> None:
    named = {name for text in servers().refused.values() for name in re.findall(r"\bserver\.([a-z_]+)", text)}
    assert named <= set(SPEC)


@pytest.mark.parametrize("kind", SPEC["kind"]["choices"])
def test_a_change_of_the_kind_alone_is_all_that_another_server_takes(kind: str) -> None:
    interface = next(interface for name, _, interface, _ in servers().uses() if name == kind)
    keys = {"environment": {"APP_ENV": "development"}, "interface": interface}
    before, after = (resolve_on(describe(**changed, **keys)) for changed in ({}, {"kind": kind}))
    assert sites(before["apps"]) == sites(after["apps"])


@pytest.mark.parametrize("interface", ["wsgi", "asgi", "tornado"])
def test_gunicorn_has_a_worker_class_for_each_interface_by_itself(interface: str) -> None:
    (app,) = resolve_on(describe(interface=interface))["apps"]
    assert app["server"]["worker_class"] == {"wsgi": "gthread", "asgi": "asgi", "tornado": "tornado"}[interface]


# What cannot work is refused, with both options and their values.

SEPARATE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "threads on gevent": (
        {"worker_class": "gevent", "threads": 4},
        ["server.threads is 4", "server.worker_class gevent", "gunicorn gthread", "uwsgi", "waitress"],
    ),
    "threads on sync": ({"worker_class": "sync", "threads": 2}, ["server.threads is 2", "server.worker_class sync"]),
    "threads in an event loop": (
        {"kind": "granian", "interface": "asgi", "threads": 2},
        ["server.threads is 2", "server.kind granian"],
    ),
    "connections of sync": (
        {"worker_class": "sync", "worker_connections": 9},
        ["server.worker_connections is 9", "server.worker_class sync", "gunicorn gevent"],
    ),
    "workers of twisted": ({"kind": "twisted", "workers": 4}, ["server.workers is '4'", "server.kind twisted"]),
    "statistics of gunicorn": ({"stats_port": 5000}, ["server.stats_port is 5000", "gthread", "take uwsgi"]),
    "statsd of uwsgi": (
        {"kind": "uwsgi", "statsd_host": "127.0.0.1:8125"},
        ["server.statsd_host is '127.0.0.1:8125'", "server.kind uwsgi"],
    ),
    "preload in gevent": ({"kind": "gevent", "preload_enabled": False}, ["server.preload_enabled is False", "gevent"]),
    "uwsgi with waitress": (
        {"kind": "waitress", "protocol": "uwsgi"},
        ["server.protocol is uwsgi", "server.kind waitress", "gunicorn gthread", "uwsgi"],
    ),
    "uwsgi with tornado workers": (
        {"worker_class": "tornado", "protocol": "uwsgi"},
        ["server.protocol is uwsgi", "server.worker_class tornado"],
    ),
    "asgi on sync": (
        {"worker_class": "sync", "interface": "asgi"},
        ["interface is asgi", "server.worker_class sync", "gunicorn asgi", "granian"],
    ),
    "asgi on uwsgi": ({"kind": "uwsgi", "interface": "asgi"}, ["interface is asgi", "server.kind uwsgi", "granian"]),
    "wsgi on asgi": ({"worker_class": "asgi"}, ["interface is wsgi", "server.worker_class asgi", "gunicorn gthread"]),
    "tornado on granian": (
        {"kind": "granian", "interface": "tornado"},
        ["interface is tornado", "server.kind granian", "gunicorn tornado", "tornado"],
    ),
    "a worker class of another kind": (
        {"kind": "uwsgi", "worker_class": "gevent"},
        ["server.worker_class is 'gevent'", "server.kind uwsgi", "gunicorn"],
    ),
    "websockets of wsgi": (
        {"worker_class": "sync", "site": {"websocket_enabled": True}},
        [
            "site.websocket_enabled is true",
            "server.worker_class sync",
            "interface wsgi",
            "gthread (wsgi)",
            "asgi (asgi)",
        ],
    ),
    "websockets over uwsgi": (
        {"interface": "asgi", "protocol": "uwsgi", "site": {"websocket_enabled": True}},
        ["site.websocket_enabled is true", "protocol is uwsgi"],
    ),
    "a prefix of tornado": (
        {"kind": "tornado", "interface": "tornado", "site": {"prefix": "/shop"}},
        ["site.prefix is '/shop'", "interface tornado", "site.server_names"],
    ),
    "reload in production": (
        {"reload_enabled": True, "environment": {"APP_ENV": "production"}},
        ["server.reload_enabled is true", "environment.APP_ENV is not development", "server.development_enabled"],
    ),
    "reload nowhere": ({"reload_enabled": True}, ["server.reload_enabled is true", "environment.APP_ENV"]),
    "the development server in production": (
        {"kind": "werkzeug", "environment": {"APP_ENV": "production"}},
        ["server.kind is werkzeug", "environment.APP_ENV is not development", "server.development_enabled"],
    ),
    "reload of what is preloaded": (
        {"reload_enabled": True, "preload_enabled": True, "environment": {"APP_ENV": "development"}},
        ["server.reload_enabled", "server.preload_enabled", "both true"],
    ),
}


@pytest.mark.parametrize("case", SEPARATE)
def test_what_cannot_go_together_is_refused_with_both_options(case: str) -> None:
    keys, parts = SEPARATE[case]
    (problem,) = problems(describe(**keys))
    assert problem.startswith("app shop: ")
    assert [part for part in parts if part not in problem] == [], problem


@pytest.mark.parametrize("keys", [{"kind": "werkzeug"}, {"reload_enabled": True}], ids=str)
def test_what_is_for_development_is_allowed_there_or_by_force(keys: dict[str, Any]) -> None:
    assert problems(describe(**keys, environment={"APP_ENV": "development"})) == []
    assert problems(describe(**keys, development_enabled=True)) == []


@pytest.mark.parametrize("interface", ["wsgi", "asgi", "tornado"])
def test_websockets_are_allowed_where_a_server_has_them(interface: str) -> None:
    assert problems(describe(interface=interface, site={"websocket_enabled": True})) == []


@pytest.mark.parametrize("setting", [name for name in servers().refused if " " not in name])
def test_a_setting_of_other_times_is_refused_with_what_to_use_instead(setting: str) -> None:
    (problem,) = problems(describe(**{setting: "x"}))
    assert problem == f"app shop: server.{setting} is 'x': {servers().refused[setting]}"


@pytest.mark.parametrize(
    "setting", ["debug", "logfile", "x_forwarded_for_header", "daemon", "spew", "ssl_version", "http_protocols"]
)
def test_the_settings_that_old_guides_have_are_known(setting: str) -> None:
    assert servers().refused[setting]


def test_a_worker_class_that_is_gone_is_refused_with_what_to_use_instead() -> None:
    (problem,) = problems(describe(worker_class="eventlet"))
    assert "eventlet" in problem
    assert "server.worker_class gevent" in problem


WRONG: dict[str, list[Any]] = {
    "threads": [0, -1],
    "worker_memory": [0],
    "limit_request_line": [0, 8191],
    "limit_request_fields": [0, 32769],
    "limit_request_field_size": [-1],
    "graceful_timeout": [0, 901],
    "keepalive": [30],
    "port": [80, 1023, 65535, -1],
    "workers": ["0", "n+1", "3n", "auto ", "1.5"],
    "chdir": ["/srv", "../x", "a/../b", "a b", "a;b", "$HOME"],
    "access_log_format": ["a\nb"],
    "statsd_host": ["127.0.0.1", "127.0.0.1:", "a b:1", "http://x:1"],
    "forwarded_allow_ips": [["10.0.0.1/8"], ["localhost"], ["*"], ["127.0.0.1", "fe80::1/64"], [""]],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in WRONG for value in WRONG[option]])
def test_a_value_that_no_server_could_use_is_refused(option: str, value: Any) -> None:
    (problem,) = problems(describe(**{option: value}))
    assert problem.startswith(f"app shop: server.{option} ")
    assert repr(value[-1] if isinstance(value, list) else value) in problem or f" {value};" in problem


def test_host_bits_of_a_network_are_told() -> None:
    (problem,) = problems(describe(forwarded_allow_ips=["10.0.0.1/8"]))
    assert "has host bits set" in problem


@pytest.mark.parametrize(
    "keys",
    [
        {"workers": "n"},
        {"workers": "2n+1"},
        {"workers": 3},
        {"graceful_timeout": 900},
        {"port": 1024},
        {"port": 65534},
        {"chdir": "backend/src"},
        {"forwarded_allow_ips": ["10.0.0.0/8", "::1", "192.0.2.1"]},
        {"forwarded_allow_ips": []},
        {"limit_request_field_size": 0},
        {"statsd_host": "statsd.example:8125"},
    ],
    ids=str,
)
def test_a_value_at_the_edge_is_taken(keys: dict[str, Any]) -> None:
    assert problems(describe(**keys)) == []


PORTS = {
    "an app and its neighbour": (
        [describe("one", port=5000), describe("two", {"prefix": "/two"}, port=5001)],
        ["app two", "server.port 5001", "server.port of one"],
    ),
    "statistics and a port": (
        [describe("one", kind="uwsgi", port=5000, stats_port=5001)],
        ["app one", "server.stats_port 5001", "server.port of one"],
    ),
    "a port and a site": (
        [describe("one", port=8079), describe("two", {"listen": 8080})],
        ["app one", "server.port 8079 uses 8080", "site of two", "site.listen"],
    ),
    "a port and an address of another app": (
        [describe("one", port=5000), describe("two", {"prefix": "/two"}, bind="127.0.0.1:5001")],
        ["app two", "server.bind 127.0.0.1:5001", "server.port of one"],
    ),
    "an address of the app itself": (
        [describe("one", port=5000, bind="127.0.0.1:5000")],
        ["app one", "server.bind 127.0.0.1:5000", "server.port of one"],
    ),
}


@pytest.mark.parametrize("case", PORTS)
def test_ports_that_collide_are_refused_with_who_has_them(case: str) -> None:
    apps, parts = PORTS[case]
    (problem,) = problems(*apps)
    assert [part for part in parts if part not in problem] == [], problem


def test_ports_that_do_not_touch_stand_side_by_side() -> None:
    two = describe("two", {"prefix": "/two"}, kind="uwsgi", port=5002, stats_port=5004, bind="127.0.0.1:5006")
    assert problems(describe("one", port=5000), two) == []


@pytest.mark.parametrize(
    ("python", "machine"), [("3.9", "x86_64"), ("3.99", "x86_64"), ("3.13", "s390x"), ("3.13", "riscv64")]
)
def test_a_host_without_a_wheel_of_the_server_is_told_before_anything_is_done(python: str, machine: str) -> None:
    with pytest.raises(DescriptionError) as refusal:
        resolve_on(describe(kind="uwsgi"), python=python, machine=machine)
    for part in ("app shop", "server uwsgi", f"Python {python} on {machine}", "python.source_builds_enabled"):
        assert part in str(refusal.value)
    resolve_on(describe(kind="uwsgi", python={"source_builds_enabled": True}), python=python, machine=machine)
    resolve_on(describe(kind="waitress"), python=python, machine=machine)


# How many workers.


@pytest.mark.parametrize(
    ("workers", "cpus", "memory", "number"),
    [
        ("auto", 1, 65536, 2),
        ("auto", 8, 65536, 8),
        ("auto", 8, 1000, 5),  # half of the memory, 100 MiB each
        ("auto", 8, 100, 1),
        ("n", 1, 65536, 2),
        ("n", 8, 100, 8),  # by name, memory is the operator's business
        ("2n+1", 1, 65536, 3),
        ("2n+1", 8, 100, 17),
        ("5", 64, 100, 5),
    ],
)
@pytest.mark.parametrize("kind", ["gunicorn", "uwsgi", "granian"])
def test_workers_are_a_number_or_follow_processors_and_memory(
    kind: str, workers: str, cpus: int, memory: int, number: int
) -> None:
    (app,) = resolve_on(describe(kind=kind, workers=workers), cpus=cpus, memory=memory)["apps"]
    assert app["server"]["workers"] == app["runner"]["options"]["workers"] == number


def test_sync_workers_are_more_for_each_answers_one_request_at_a_time() -> None:
    (app,) = resolve_on(describe(worker_class="sync"), cpus=4, memory=65536)["apps"]
    assert app["server"]["workers"] == 9


def test_a_worker_that_needs_much_leaves_room_for_few() -> None:
    (app,) = resolve_on(describe(worker_memory=1000), cpus=8, memory=8192)["apps"]
    assert app["server"]["workers"] == 4


# Where a web server finds the slots.

HTTP, UWSGI = {"protocol": "http", "port": 0}, {"protocol": "uwsgi", "port": 0}


def test_the_slots_of_a_port_are_this_one_and_the_next_and_nobody_stands_in_for_them() -> None:
    placed = place_slots("/w/shop", {slot: {"protocol": "uwsgi", "port": 5000} for slot in "ab"})
    assert placed == {
        "servers": ["127.0.0.1:5000"],
        "protocol": "uwsgi",
        "alternative": {"file": "/w/shop/slots/b", "servers": ["127.0.0.1:5001"], "protocol": "uwsgi"},
        "backups": [],
    }


@pytest.mark.parametrize("other", [UWSGI, {"protocol": "http", "port": 5000}], ids=str)
def test_slots_that_are_reached_differently_do_not_stand_in_for_each_other(other: dict[str, Any]) -> None:
    placed = place_slots("/w/shop", {"a": HTTP, "b": other})
    assert placed["backups"] == []
    assert placed["servers"] == ["unix:/w/shop/slots/a.sock"]
    assert placed["alternative"]["protocol"] == other["protocol"]


def test_an_app_that_is_not_released_now_stays_where_the_web_server_finds_it() -> None:
    apps = resolve_on(describe("one"), describe("two", {"prefix": "/two"}, protocol="uwsgi"))
    rows = [{"app": "two", "slots": {"a": HTTP, "b": HTTP}}, {"app": "one", "slots": {}}]
    staged = {"one": {"slots": {"a": HTTP, "b": UWSGI}}}
    ((one, two),) = (site["locations"] for site in place_apps(apps, staged, rows))
    assert (one["protocol"], one["alternative"]["protocol"]) == ("http", "uwsgi")
    assert (two["protocol"], two["alternative"]["protocol"]) == ("http", "http")


def test_sites_say_what_the_slots_are_on_the_host_for_the_app_and_its_own_address_alone() -> None:
    apps = resolve_on(describe("one", bind="127.0.0.1:6000"), describe("two", {"prefix": "/two"}))
    staged = {"one": {"slots": {"a": HTTP, "b": {"protocol": "http", "port": 5000}}}, "two": {}}
    places = {
        location["name"]: location["alternative"]["servers"]
        for site in place_apps(apps, staged)
        for location in site["locations"]
    }
    assert places == {
        "wsgi-one": ["127.0.0.1:5001"],
        "wsgi-one.bind": ["127.0.0.1:5001"],
        "wsgi-two": ["unix:/srv/wsgi/two/slots/b.sock"],
    }
    for site in place_apps(apps, staged):
        complete(site, "nginx", "site", "nginx_site")


# gunicorn says itself what it has understood; a setting that it does not know it leaves out without a word.

ASKED: dict[str, dict[str, Any]] = {
    "gthread": {"threads": 7, "worker_connections": 77},
    "sync": {},
    "gevent": {"worker_connections": 77},
    "tornado": {},
    "asgi": {"worker_connections": 77},
}
EVERYTHING: dict[str, Any] = {
    "workers": 5,
    "backlog": 99,
    "timeout": 41,
    "graceful_timeout": 42,
    "keepalive": 43,
    "max_requests": 44,
    "max_requests_jitter": 45,
    "preload_enabled": True,
    "log_level": "debug",
    "access_log_enabled": True,
    "access_log_format": "%(h)s '\"é\\ %(s)s",
    "pid_file_enabled": True,
    "control_socket_enabled": True,
    "limit_request_line": 4000,
    "limit_request_fields": 50,
    "limit_request_field_size": 4001,
    "forwarded_allow_ips": ["192.0.2.1", "198.51.100.0/24"],
    "statsd_host": "127.0.0.1:8126",
    "statsd_prefix": "shop",
}
# What gunicorn calls it, where that is not the option's name.
SETTINGS = {
    **{"preload_enabled": "preload_app", "reload_enabled": "reload", "log_level": "loglevel"},
    **{"access_log_enabled": "accesslog", "pid_file_enabled": "pidfile", "control_socket_enabled": "control_socket"},
}


def understood(release: Release, what: str = "--print-config") -> dict[str, str]:
    """Return the settings that gunicorn has understood."""
    command = f"$python -m gunicorn --config $release/server/gunicorn.conf.py {what}"
    process = release.command(command)
    assert process.wait(PATIENCE) == 0, release.said()
    return dict(re.findall(r"^(\w+) += (.*)$", release.said(), re.MULTILINE))


@pytest.fixture
def gunicorn(tmp_path: Path) -> Callable[..., Release]:
    """Lay a release with this gunicorn."""
    interfaces = {"asgi": "asgi"}

    def _gunicorn(worker_class: str, place: str = "", **server: Any) -> Release:
        interface = interfaces.get(worker_class, "wsgi")
        app = resolved({"worker_class": worker_class, **server}, interface=interface, entrypoint=f"echo:{interface}")
        return Release(tmp_path, app, place)

    return _gunicorn


@pytest.mark.parametrize("worker_class", ASKED)
def test_gunicorn_understands_every_option_as_it_is_described(
    gunicorn: Callable[..., Release], worker_class: str
) -> None:
    asked = {**EVERYTHING, **ASKED[worker_class]}
    assert {*asked, "reload_enabled"} == set(servers().variant("gunicorn", worker_class, "wsgi")["options"]) - {
        "worker_memory"
    } | {"timeout"}
    release = gunicorn(worker_class, **asked)
    found = understood(release)
    run = f"{release.run}/r1"
    said = {
        **{SETTINGS.get(option, option): str(value) for option, value in asked.items()},
        **{"accesslog": "-", "errorlog": "-", "pidfile": f"{run}.pid", "control_socket": f"{run}.ctl"},
        **{"wsgi_app": "baremetal_web.entry:application", "protocol": "http", "worker_tmp_dir": "/dev/shm"},
        **{"bind": f"['unix:{release.place}']", "control_socket_disable": "False", "reload": "False"},
        "statsd_host": "('127.0.0.1', 8126)",
        "worker_class": found["worker_class"],  # the class itself; see below
        "forwarded_allow_ips": found["forwarded_allow_ips"],
    }
    assert {name: found[name] for name in said} == said
    assert worker_class.removeprefix("g") in found["worker_class"].lower()
    assert [peer for peer in asked["forwarded_allow_ips"] if peer not in found["forwarded_allow_ips"]] == []


@pytest.mark.parametrize("worker_class", ASKED)
def test_gunicorn_understands_no_option_as_another_one_by_default(
    gunicorn: Callable[..., Release], worker_class: str
) -> None:
    found = understood(gunicorn(worker_class))
    said = {"accesslog": "None", "control_socket_disable": "True", "pidfile": "None", "preload_app": "False"}
    said |= {"statsd_host": "None", "max_requests": "0", "keepalive": "75", "timeout": "30", "loglevel": "info"}
    assert {name: found[name] for name in said} == said


def test_gunicorn_understands_reload_protocol_and_address(gunicorn: Callable[..., Release]) -> None:
    found = understood(gunicorn("sync", "127.0.0.1:5000", reload_enabled=True, protocol="uwsgi"))
    told = {"reload": "True", "protocol": "uwsgi", "bind": "['127.0.0.1:5000']"}
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize("worker_class", ASKED)
def test_gunicorn_checks_the_app_with_everything_set(gunicorn: Callable[..., Release], worker_class: str) -> None:
    understood(gunicorn(worker_class, **EVERYTHING, **ASKED[worker_class]), "--check-config")


def test_every_setting_of_gunicorns_configuration_is_one_that_it_has() -> None:
    config = pytest.importorskip("gunicorn.config")
    known = {setting.name for setting in config.KNOWN_SETTINGS}
    for worker_class, options in ASKED.items():
        interface = "asgi" if worker_class == "asgi" else "wsgi"
        text = configuration(resolved({"worker_class": worker_class, **EVERYTHING, **options}, interface=interface))
        names = {
            target.id
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert names - known == {"place", "run"}


def test_uwsgi_takes_every_option_that_it_is_given(tmp_path: Path) -> None:
    options = servers().variant("uwsgi", "", "wsgi")["options"]
    asked = {
        **{
            "access_log_enabled": True,
            "backlog": 50,
            "graceful_timeout": 7,
            "max_requests": 9,
            "preload_enabled": True,
        },
        **{"stats_port": 5000, "threads": 3, "workers": "2"},
    }
    assert set(asked) == set(options) - {"worker_memory", "uwsgi_port_enabled"}
    found = dict(
        line.split(" = ", 1)
        for line in configuration(resolved({"kind": "uwsgi", "timeout": 8, **asked})).splitlines()
        if " = " in line
    )
    wanted = {"disable-logging": "false", "listen": "50", "reload-mercy": "7", "worker-reload-mercy": "7"}
    wanted |= {"max-requests": "9", "harakiri": "8", "threads": "3", "processes": "2"}
    assert {name: found[name] for name in wanted} == wanted
    assert "lazy-apps" not in found
    # strict = true makes uwsgi refuse what it does not know.
    release = Release(tmp_path, resolved({"kind": "uwsgi", **asked}))
    config = release.path / "server" / "uwsgi.ini"
    config.write_text(config.read_text() + "no-such-option = 1\n")
    assert release.command(APP_STATS_PORT="5000").wait(PATIENCE) != 0
    assert "no-such-option" in release.said()
