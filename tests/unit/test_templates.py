"""Every template of every role, rendered by Ansible itself without a host, and read by whatever will read it."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import itertools
import json
import os
import pwd
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import pytest
import yaml

from ansible_collections.baremetal.web.plugins.filter.platform import platform
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Entry
from ansible_collections.baremetal.web.plugins.module_utils._host.generated_secrets import substitute
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, mount_problem
from ansible_collections.baremetal.web.plugins.module_utils._release.home import SHM, Home
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.web_servers import WEB_SERVERS, Layout
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from conftest import GROUP, LAUNCHER, OWNER, PATIENCE, ROOT, own_shm, run_ansible, wait_until
from conftest import listens as unix_listens

Text = Callable[[str], str]
Needs = Callable[[str], dict[str, Any]]

TEMPLATES = sorted(str(path.relative_to(ROOT / "roles")) for path in ROOT.glob("roles/*/templates/**/*.j2"))
# Those of the benchmark are no files of a host's own.
PLACED = [template for template in TEMPLATES if not template.startswith("benchmark/")]
# A platform of each family.
FAMILIES = {
    "Debian": {"distribution": "Debian", "distribution_version": "13.1", "distribution_major_version": "13"},
    "RedHat": {"distribution": "CentOS", "distribution_version": "9", "distribution_major_version": "9"},
}
PASSWORD = "correct horse battery staple"


class Rendering(NamedTuple):
    """One template with the variables that its role's tasks and the operator give it."""

    template: str
    variables: Mapping[str, Any] = {}
    family: str = "Debian"


def task_variables(role: str, file: str) -> dict[str, Any]:
    """Return the variables that the tasks of a role define for themselves."""
    tasks = yaml.safe_load((ROOT / "roles" / role / "tasks" / f"{file}.yml").read_text())
    variables: dict[str, Any] = {}
    for task in [inner for outer in tasks for inner in outer.get("block", [outer])]:
        variables |= task.get("vars", {}) | task.get("ansible.builtin.set_fact", {})
    return variables


def nginx_site(*locations: Mapping[str, Any], nginx_ipv6_enabled: bool = True, **more: Any) -> dict[str, Any]:
    """Return what renders a site, for the action sites."""
    site = {"name": "shop", "listen": 18080, "server_names": ["shop.example"], "locations": list(locations), **more}
    return {"nginx_site": site, "nginx_ipv6_enabled": nginx_ipv6_enabled}


def location(name: str, prefix: str = "/", **more: Any) -> dict[str, Any]:
    return {"name": name, "prefix": prefix, "servers": [f"unix:/srv/{name}.sock"], **more}


def slots(name: str, prefix: str = "/", **more: Any) -> dict[str, Any]:
    """Return a location whose requests move while a file exists."""
    alternative = {"file": f"/srv/{name}/slots/b", "servers": [f"unix:/srv/{name}/slots/b.sock"]}
    servers, backups = [f"unix:/srv/{name}/slots/a.sock"], [f"unix:/srv/{name}/current.sock"]
    return location(name, prefix, **{"servers": servers, "alternative": alternative, "backups": backups, **more})


def apache_site(site: Mapping[str, Any]) -> dict[str, Any]:
    """Return what renders the same site for Apache httpd."""
    return {**site, "__apache_listens": {"listen": ["Listen 80"]}}


def supervisord(**more: Any) -> dict[str, Any]:
    return {**task_variables("supervisor", "configure"), **more}


def wsgi(**keys: Any) -> dict[str, Any]:
    app = {"name": "shop", "source": {"path": "files/hello_flask"}, "entrypoint": "shop:app", **keys}
    resolved = task_variables("wsgi", "resolve")["__wsgi_resolved"]
    return {
        "wsgi_apps": [app, {**app, "name": "api", "site": {"prefix": "/api"}, "server": {}}],
        "__wsgi_resolved": resolved.replace("__wsgi_resolved |", "none |"),
        "__wsgi_app": "{{ __wsgi_resolved.apps | first }}",
    }


NGINX, CONF_D = "nginx/templates/etc/nginx/nginx.conf.j2", "nginx/templates/etc/nginx/conf.d"
SUPERVISORD = "supervisor/templates/etc/supervisord/supervisord.conf.j2"
UNIT = "supervisor/templates/etc/systemd/system/supervisord-baremetal.service.j2"
with socket.create_server(("127.0.0.1", 0)) as free:
    FREE_PORT = free.getsockname()[1]
APP_SOCKET = "/srv/wsgi/app/run/release.sock"
GUNICORN = "wsgi/templates/server/gunicorn.conf.py.j2"
WORKER_CLASSES = {**dict.fromkeys(("sync", "gthread", "gevent", "tornado"), "wsgi"), "asgi": "asgi"}
# Values that are no default and that survive only when they are written with care.
CAREFUL = {
    "entrypoint": """shop:create_app("it's", path='C:\\\\x', größe=1)""",
    "server": {"preload_enabled": True, "workers": 7, "timeout": 11, "graceful_timeout": 12, "keepalive": 99},
}

# All that a site may be asked for besides passing requests on.
FRONT = nginx_site(
    slots("live", "/live", websocket_enabled=True, cors={"origins": ["https://a.example", "https://b.example"]}),
    slots("open", "/open", cors={"origins": ["*"], "methods": ["PUT"], "max_age": 5}),
    slots("own", websocket_enabled=True, intercept_errors_enabled=True),
    error_pages=[{"codes": [404, 410], "path": "README.md"}, {"codes": [503], "path": "LICENSE"}],
    server_names=[],
    address="127.0.0.1",
)

# The real server reads what comes of it in test_redis.py.
REDIS = {
    **task_variables("redis", "configure"),
    "redis_memory": "64mb",
    "redis_password_group": "wsgi-shop",
}

TRUSTING = {"nginx_trusted_proxies": ["192.0.2.0/24", "2001:db8::1"]}

RENDERINGS = {
    **{f"nginx-{family}": Rendering(NGINX, family=family) for family in FAMILIES},
    "nginx-plain": Rendering(NGINX, {"nginx_gzip_enabled": False, "nginx_worker_processes": 3}),
    "nginx-limited": Rendering(NGINX, {"nginx_client_connections": 20, "nginx_unlimited_clients": ["127.0.0.3"]}),
    "nginx-unlimited": Rendering(NGINX, {"nginx_client_connections": 0}),
    "nginx-unit": Rendering("nginx/templates/etc/systemd/system/nginx.service.d/baremetal-web.conf.j2"),
    "site-root": Rendering(f"{CONF_D}/site.conf.j2", nginx_site(location("shop"))),
    "site-prefix": Rendering(f"{CONF_D}/site.conf.j2", nginx_site(location("shop", "/gunicorn"))),
    "site-several": Rendering(
        f"{CONF_D}/site.conf.j2",
        nginx_site(location("shop"), location("api", "/api", read_timeout=305, max_body_size="1g")),
    ),
    "site-ipv4": Rendering(f"{CONF_D}/site.conf.j2", nginx_site(location("shop"), nginx_ipv6_enabled=False)),
    "site-trusting": Rendering(f"{CONF_D}/site.conf.j2", {**nginx_site(location("shop")), **TRUSTING}),
    "site-second": Rendering(
        f"{CONF_D}/site.conf.j2",
        {
            **nginx_site(location("second", "/a.b~c"), server_names=["second.example"], catch_all_enabled=False),
            **TRUSTING,
        },
    ),
    "site-slots": Rendering(f"{CONF_D}/site.conf.j2", nginx_site(slots("shop"), slots("api-2.x", "/api"))),
    "site-everybody": Rendering(
        f"{CONF_D}/site.conf.j2", nginx_site(slots("live"), server_names=[], address="127.0.0.1", listen=FREE_PORT)
    ),
    "site-retrying": Rendering(
        f"{CONF_D}/site.conf.j2",
        nginx_site(location("once", "/once", non_idempotent_enabled=True), slots("shop", non_idempotent_enabled=True)),
    ),
    "site-uwsgi": Rendering(
        f"{CONF_D}/site.conf.j2",
        nginx_site(slots("shop", "/s", protocol="uwsgi"), location("api", protocol="uwsgi", cors={"origins": ["*"]})),
    ),
    "site-front": Rendering(f"{CONF_D}/site.conf.j2", FRONT),
    "nginx-unit-off": Rendering(
        "nginx/templates/etc/systemd/system/nginx.service.d/baremetal-web.conf.j2", {"nginx_manager": "supervisor"}
    ),
    "nginx-capability": Rendering("nginx/templates/etc/systemd/system/supervisord-baremetal.service.d/nginx.conf.j2"),
    "nginx-run": Rendering("nginx/templates/usr/local/share/nginx/run.sh.j2"),
    **{
        f"redis-{template}": Rendering(f"redis/templates/etc/{template}.j2", REDIS)
        for template in (
            "baremetal-redis/prepare",
            "baremetal-redis/redis.conf",
            "baremetal-redis/users.conf",
            "systemd/system/redis.service.d/baremetal-web.conf",
            "sysusers.d/baremetal-redis.conf",
        )
    },
    "apache": Rendering("apache/templates/etc/apache2/conf-enabled/zz-baremetal-web.conf.j2"),
    "apache-unit": Rendering("apache/templates/etc/systemd/system/httpd.service.d/baremetal-web.conf.j2"),
    "apache-slots": Rendering(
        "apache/templates/etc/apache2/sites-enabled/site.conf.j2",
        apache_site(nginx_site(slots("shop"), slots("api-2.x", "/api"))),
    ),
    "apache-site": Rendering("apache/templates/etc/apache2/sites-enabled/site.conf.j2", apache_site(FRONT)),
    "apache-shared": Rendering(
        "apache/templates/etc/apache2/sites-enabled/site.conf.j2",
        apache_site(nginx_site(location("shop", "/shop"), catch_all_enabled=False)),
    ),
    "50x": Rendering("nginx/templates/usr/local/share/nginx/50x.html.j2"),
    "path": Rendering(
        "python/templates/etc/profile.d/path.sh.j2",
        {"python_path": {"name": "tools", "directories": ["PLACE/tools/bin", "PLACE/apps/*/bin"]}},
    ),
    "app-run": Rendering("wsgi/templates/usr/local/bin/app-run.j2", {"wsgi_root": "/srv/wsgi"}),
    "apps-tmp": Rendering("wsgi/templates/etc/tmpfiles.d/baremetal-web.conf.j2", {"wsgi_root": "/srv/wsgi"}),
    "apps-path": Rendering("wsgi/templates/etc/profile.d/baremetal-web-apps.sh.j2"),
    "supervisord": Rendering(SUPERVISORD, supervisord()),
    "supervisord-password": Rendering(SUPERVISORD, supervisord(supervisor_web_password=PASSWORD)),
    "supervisord-no-web": Rendering(SUPERVISORD, supervisord(supervisor_web_enabled=False)),
    "supervisorctl": Rendering("supervisor/templates/opt/baremetal/etc/supervisord.conf.j2"),
    "unit": Rendering(UNIT),
    "group": Rendering("supervisor/templates/etc/sysusers.d/baremetal-supervisor.conf.j2"),
    "sysusers": Rendering("wsgi/templates/etc/sysusers.d/baremetal-web.conf.j2", wsgi(user="web")),
    **{
        f"gunicorn-{name}": Rendering(GUNICORN, wsgi(interface=interface, server={"worker_class": name}))
        for name, interface in WORKER_CLASSES.items()
    },
    "gunicorn-careful": Rendering(GUNICORN, wsgi(**CAREFUL)),
    # The real server takes it in test_launchers.py.
    "uwsgi": Rendering("wsgi/templates/server/uwsgi.ini.j2", wsgi(server={"kind": "uwsgi"})),
    "benchmark": Rendering(
        "benchmark/templates/nginx.conf.j2",
        {"__benchmark_configuration": "{{ __benchmark_configurations['tutorial.conf'] }}"},
    ),
}
# What tasks compute of a role's variables.
PUBLISHED = {
    "publication": nginx_site(location("shop"), listen=80, server_names=["*.shop.example"]),
    "publication-shared": nginx_site(location("shop"), listen=80, catch_all_enabled=False),
    "publication-everywhere": nginx_site(location("shop"), listen=80, address="0.0.0.0"),
    "publication-address": nginx_site(location("shop"), listen=80, address="192.0.2.1", server_names=[]),
}
GUNICORNS = [name for name in RENDERINGS if name.startswith("gunicorn-")]


def render(template: str) -> dict[str, Any]:
    """Return what a task does that renders a template."""
    if not template.endswith("site.conf.j2"):
        text = f"{{{{ lookup('ansible.builtin.template', '{ROOT}/roles/{template}') }}}}"
        return {"ansible.builtin.set_fact": {"text": text}}
    server = template.partition("/")[0]
    site = {"server": server, "sites": ["{{ nginx_site }}"], "layout": f"{{{{ __{server}_layout }}}}"}
    return {"baremetal.web.sites": {**site, "owner": "wsgi" if server == "apache" else ""}}


def play() -> list[dict[str, Any]]:
    """Return a play that renders everything and writes the results beside itself."""
    tasks: list[dict[str, Any]] = []
    for family, known in FAMILIES.items():
        facts = {"os_family": family, **known, "processor_nproc": 2, "hostname": "web1", "cacheable": True}
        facts |= {"memtotal_mb": 4096, "architecture": "x86_64"}
        tasks.append({"name": f"Be of the family {family}", "ansible.builtin.set_fact": facts})
        tasks += [
            {
                "name": f"Render {name}",
                **render(rendering.template),
                "vars": dict(rendering.variables),
                "register": f"rendered_{index}",
                "ignore_errors": True,
            }
            for index, (name, rendering) in enumerate(RENDERINGS.items())
            if rendering.family == family
        ]
        tasks += [
            {
                "name": f"Find the group of {server}",
                "ansible.builtin.set_fact": {"text": "{{ __wsgi_socket_group }}"},
                "vars": {"__wsgi_resolved": {"proxy": server}},
                "register": f"group_{family}_{server}",
            }
            for server in WEB_SERVERS
        ]
    tasks += [
        {
            "name": f"Compute {name}",
            **render(f"{CONF_D}/site.conf.j2"),
            "vars": variables,
            "register": f"rendered_{index}",
        }
        for index, (name, variables) in enumerate(PUBLISHED.items(), len(RENDERINGS))
    ]
    registered = {name: f"rendered_{index}" for index, name in enumerate([*RENDERINGS, *PUBLISHED])}
    registered |= {name: name for name in (f"group_{family}_{server}" for family in FAMILIES for server in WEB_SERVERS)}
    results = ", ".join(f"'{name}': {register}" for name, register in registered.items())
    content = f"{{{{ {{ {results} }} | to_json }}}}"
    tasks.append(
        {
            "name": "Write the results",
            "ansible.builtin.copy": {"content": content, "dest": "{{ playbook_dir }}/results.json", "mode": "0600"},
        }
    )
    files = [f"{ROOT}/roles/{path.parent.parent.name}/{path.parent.name}/main.yml" for path in sorted(variable_files())]
    return [{"name": "Render", "hosts": "web1", "gather_facts": False, "vars_files": files, "tasks": tasks}]


def variable_files() -> list[Path]:
    return [*ROOT.glob("roles/*/defaults/main.yml"), *ROOT.glob("roles/*/vars/main.yml")]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Render everything in one run of ansible-playbook; return its results by name."""
    place = tmp_path_factory.mktemp("rendered")
    (place / "play.yml").write_text(json.dumps(play()))
    (place / "templates" / "etc").mkdir(parents=True)  # where the roles' own tasks look
    for role, directory in (("nginx", "nginx"), ("apache", "apache2")):
        (place / "templates" / "etc" / directory).symlink_to(ROOT / "roles" / role / "templates" / "etc" / directory)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (place / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": local}}}))
    run_ansible(place, "playbook", "-i", "hosts.yml", "play.yml")
    return json.loads((place / "results.json").read_text())


@pytest.fixture
def text(rendered: dict[str, Any]) -> Text:
    def _text(name: str) -> str:
        result = rendered[name]
        assert not result.get("failed"), result.get("msg")
        return result["sites"][0]["files"][0]["content"] if "sites" in result else result["ansible_facts"]["text"]

    return _text


@pytest.fixture
def needs(rendered: dict[str, Any]) -> Needs:
    """Return what a site needs of its host."""
    return lambda name: rendered[name]["sites"][0]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_rendered_here(template: str) -> None:
    assert template in {rendering.template for rendering in RENDERINGS.values()}


@pytest.mark.parametrize("template", PLACED)
def test_a_template_stands_where_its_file_stands_on_a_host(template: str) -> None:
    """Below the role's templates as below /, or, for the files of a server, as in a release."""
    role, _templates, *path = Path(template).with_suffix("").parts
    assert path[0] in ("etc", "opt", "server", "usr")
    literal = f"lookup('baremetal.web.template', '{'/'.join(path)}.j2')"
    for file in ROOT.glob(f"roles/{role}/*/*.yml"):
        for before in file.read_text().split(literal)[:-1]:
            place = before.rpartition("path: ")[2].splitlines()[0].strip('"')
            pattern = ".+".join(map(re.escape, re.split(r"\{\{.*?\}\}", place)))
            assert re.fullmatch(pattern, "/" + "/".join(path)), place


@pytest.mark.parametrize("template", PLACED)
def test_a_template_has_no_default_of_a_variable(template: str) -> None:
    assert "default(" not in (ROOT / "roles" / template).read_text()


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_template_is_complete_with_the_defaults_of_its_role(text: Text, name: str) -> None:
    lines = text(name).splitlines(keepends=True)
    assert lines[-1].endswith("\n")
    assert "Ansible managed" in "".join(lines[:6])
    assert not [line for line in lines if "{{" in line or "{%" in line]
    assert not [line for line in lines if line.rstrip("\n") != line.rstrip()]
    assert "\n\n\n" not in "".join(lines)


class Directive(NamedTuple):
    """One line of nginx's configuration, with the blocks around it; a server block is told by its names."""

    block: tuple[str, ...]
    words: list[str]


def directives(config: str) -> list[Directive]:
    stack: list[str] = []
    found: list[Directive] = []
    names = iter(re.findall(r"^ *server_name (.*);$", config, re.MULTILINE))
    for line in re.sub(r"^\s*#.*$", "", config, flags=re.MULTILINE).replace("'\n", "' ").splitlines():
        words = line.strip()
        if words.endswith("{"):
            block = words.removesuffix("{").strip()
            stack.append(f"server {next(names)}" if block == "server" else block)
        elif words == "}":
            stack.pop()
        elif words:
            assert words.endswith(";"), words
            found.append(Directive(tuple(stack), shlex.split(words.removesuffix(";"))))
    assert stack == []
    return found


def settings(config: str, block: str) -> dict[str, str]:
    """Return what stands in one block of nginx, by name; headers by their own names."""
    found = {}
    for directive in directives(config):
        if directive.block[-1:] == (block,):
            name, *values = directive.words
            key = values.pop(0) if name == "proxy_set_header" else name
            found[key] = " ".join(values)
    assert found, f"there is no {block}"
    return found


@pytest.mark.parametrize(
    ("name", "place", "prefix"), [("site-root", "/", ""), ("site-prefix", "/gunicorn/", "/gunicorn")]
)
def test_an_app_is_told_its_prefix_and_no_client_can_tell_it_another(
    text: Text, name: str, place: str, prefix: str
) -> None:
    found = settings(text(name), f"location {place}")
    assert found["proxy_pass"] == "http://shop"  # without a path: the app gets the whole one
    assert found["SCRIPT_NAME"] == found["X-Forwarded-Prefix"] == prefix
    assert found["Forwarded"] == ""


def test_a_path_that_only_looks_like_the_prefix_is_refused(text: Text) -> None:
    refused = [found.block[-1] for found in directives(text("site-second")) if found.words == ["return", "400"]]
    (pattern,) = re.findall(r'if \(\$request_uri !~ "(.*)"\)', "\n".join(refused))
    for path in ("/a.b~c/", "/a.b~c/x", "/a.b~c?x"):
        assert re.search(pattern, path)
    for path in ("/axb~c/", "/%61.b~c/", "//a.b~c/", "/a.b~cd/"):
        assert not re.search(pattern, path)


def test_a_path_outside_of_every_prefix_is_not_found(text: Text) -> None:
    assert settings(text("site-prefix"), "location /") == {"return": "404"}


def test_each_location_has_its_own_upstream_and_limits(text: Text) -> None:
    config = text("site-several")
    for name, place, read_timeout, size in (("shop", "/", "60s", "10m"), ("api", "/api/", "305s", "1g")):
        found = settings(config, f"location {place}")
        assert found["proxy_pass"] == f"http://{name}"
        assert found["proxy_read_timeout"] == read_timeout
        assert found["client_max_body_size"] == size
        assert settings(config, f"upstream {name}")["server"] == f"unix:/srv/{name}.sock"


def test_a_server_keeps_idle_connections_longer_than_nginx_does(text: Text) -> None:
    upstream = settings(text("site-root"), "upstream shop")["keepalive_timeout"]
    assert int(upstream.removesuffix("s")) < configuration(text("gunicorn-gthread"))["keepalive"]


def listens(config: str, server: str) -> list[str]:
    found = [found.words for found in directives(config) if found.block == (f"server {server}",)]
    return [" ".join(words[1:]) for words in found if words[0] == "listen"]


@pytest.mark.parametrize(("server", "more"), [("shop.example", ""), ("_", " default_server")])
def test_ipv6_is_listened_on_unless_the_host_has_none(text: Text, server: str, more: str) -> None:
    assert listens(text("site-root"), server) == [f"18080{more}", f"[::]:18080{more}"]
    assert listens(text("site-ipv4"), server) == [f"18080{more}"]


def test_a_site_with_an_address_listens_there_alone(text: Text) -> None:
    assert listens(text("site-everybody"), "_") == [f"127.0.0.1:{FREE_PORT} default_server"]


def test_a_site_without_names_answers_every_name_itself(text: Text) -> None:
    config = text("site-everybody")
    assert [found.block for found in directives(config) if found.words[0] == "listen"] == [("server _",)]
    assert "444" not in config


@pytest.mark.parametrize(("name", "place"), [("shop", "/"), ("api-2.x", "/api/")])
def test_requests_go_to_the_alternative_servers_while_its_file_exists(text: Text, name: str, place: str) -> None:
    config = text("site-slots")
    found = settings(config, f"location {place}")
    variable = found["proxy_pass"].removeprefix("http://")
    assert found["set"] == f"{variable} {name}"
    assert settings(config, f"if (-e /srv/{name}/slots/b)") == {"set": f"{variable} {name}.alternative"}
    for group, slot in ((name, "a"), (f"{name}.alternative", "b")):
        words = [found.words for found in directives(config) if found.block == (f"upstream {group}",)]
        assert [" ".join(word[1:]) for word in words if word[0] == "server"] == [
            f"unix:/srv/{name}/slots/{slot}.sock max_fails=0",
            f"unix:/srv/{name}/current.sock max_fails=0 backup",
        ]
        assert ["keepalive", "64"] in words


@pytest.mark.parametrize(("server", "name"), [("nginx", "site-slots"), ("apache", "apache-slots")])
def test_a_site_that_is_tried_by_itself_keeps_the_locations_that_are_described(
    text: Text, server: str, name: str
) -> None:
    nowhere = WEB_SERVERS[server](Layout("", "", []), "wsgi", lambda *_: "", str)

    def keeps(*names: str) -> str:
        described = {"name": "tried", "locations": [location(name) for name in names]}
        return nowhere.keeps([complete(described, "nginx", "site", "nginx_site")])

    assert len(set(re.findall(keeps("shop", "api-2.x"), text(name), re.MULTILINE))) == 2
    assert len(set(re.findall(keeps("shop", "api"), text(name), re.MULTILINE))) == 1
    assert re.findall(keeps("sho", "other"), text(name), re.MULTILINE) == []


@pytest.mark.parametrize(
    ("name", "place", "retried"),
    [
        ("site-root", "/", None),
        ("site-retrying", "/once/", "error timeout non_idempotent"),
        ("site-slots", "/", "error"),
        ("site-retrying", "/", "error non_idempotent"),
    ],
)
def test_a_request_that_takes_too_long_is_not_sent_to_a_backup_as_well(
    text: Text, name: str, place: str, retried: str | None
) -> None:
    assert settings(text(name), f"location {place}").get("proxy_next_upstream") == retried


def test_an_unknown_host_gets_no_answer_from_the_one_site_of_a_port_that_catches_all(text: Text) -> None:
    assert settings(text("site-root"), "server _")["return"] == "444"
    assert not [found for found in directives(text("site-second")) if "default_server" in found.words]


@pytest.mark.parametrize("family", FAMILIES)
def test_nginx_reads_the_sites_and_runs_as_the_platforms_own_user(text: Text, family: str) -> None:
    words = directives(text(f"nginx-{family}"))
    user = platform({**FAMILIES[family], "os_family": family}, "row", "nginx")["user"]
    assert ((), ["user", user]) in words
    assert (("http",), ["include", "/etc/nginx/conf.d/*.conf"]) in words
    assert text(f"group_{family}_nginx") == user  # because its group may connect to the apps' sockets


@pytest.mark.parametrize(("family", "group"), [("Debian", "www-data"), ("RedHat", "apache")])
def test_the_group_of_httpd_may_connect_to_the_apps_sockets(text: Text, family: str, group: str) -> None:
    assert text(f"group_{family}_apache") == group


NEEDS_NGINX = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")


def nginx(place: Path, main: str, *sites: str) -> list[str]:
    """Write nginx's configuration to a place where anybody may run it; return the command."""
    for directory in ("etc/nginx/conf.d", "var/log/nginx", "run"):
        (place / directory).mkdir(parents=True)
    (place / "etc/nginx/mime.types").write_text("types {}\n")
    conf_d = place / "etc/nginx/conf.d"
    for index, site in enumerate(sites):
        (conf_d / f"site-{index}.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (conf_d / "temporary.conf").write_text("".join(f"{kind}_temp_path {place}/{kind};\n" for kind in kinds))
    config = re.sub(r"(?<=[ \t])/(?=(etc|var|run|usr)/)", f"{place}/", main)
    config = re.sub(r"^user .*;", f"user {OWNER} {GROUP};", config, flags=re.MULTILINE)
    (place / "nginx.conf").write_text(config)
    return ["nginx", "-p", str(place), "-c", str(place / "nginx.conf")]


@NEEDS_NGINX
@pytest.mark.parametrize(
    "site", [name for name, rendering in RENDERINGS.items() if name.startswith("site-") and name != "site-second"]
)
@pytest.mark.parametrize("main", ["nginx-Debian", "nginx-RedHat", "nginx-plain", "nginx-unlimited"])
def test_nginx_takes_its_configuration(text: Text, tmp_path: Path, main: str, site: str) -> None:
    command = nginx(tmp_path, text(main), text(site), text("site-second"))
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    unexpected = [line for line in done.stderr.splitlines() if "[warn]" in line and '"user" directive' not in line]
    assert unexpected == []


# Answers on a unix socket with its name and the size of what it got; keeps connections open.
SERVER = """
import http.server, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        size = len(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        body = f"{sys.argv[2]} {size}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128

Server(sys.argv[1], Handler).serve_forever()
"""


class Slots:
    """Two servers behind nginx, told apart by a file; each has a name."""

    def __init__(self, place: Path, start: Callable[..., subprocess.Popen]):
        self.home = place / "live"
        self.slots = self.home / "slots"
        self.slots.mkdir(parents=True)
        self.servers = {}
        for slot in "ab":
            (self.slots / f"{slot}.sock").symlink_to(self.home / f"release-{slot}.sock")
            command = (sys.executable, "-c", SERVER, str(self.home / f"release-{slot}.sock"), slot)
            self.servers[slot] = start(*command)
        wait_until(lambda: all(unix_listens(self.slots / f"{slot}.sock") for slot in "ab"))
        self.switch("a")

    def switch(self, slot: str) -> None:
        """Let all requests that come from now on go to a slot."""
        if slot == "b":
            (self.slots / "b").touch()
        else:
            (self.slots / "b").unlink(missing_ok=True)
        (self.home / "next").symlink_to(f"release-{slot}.sock")
        (self.home / "next").rename(self.home / "current.sock")


@pytest.fixture
def slots_behind_nginx(
    request: pytest.FixtureRequest,
    text: Text,
    tmp_path_factory: pytest.TempPathFactory,
    start: Callable[..., subprocess.Popen],
) -> Iterator[Slots]:
    place = tmp_path_factory.mktemp("n")  # short, for a socket's path may have 107 characters
    found = Slots(place, start)
    # Somebody's nginx.conf may remember files: a marker that is remembered would be seen too late.
    remembers = "open_file_cache max=100 inactive=60s;\nopen_file_cache_errors on;\n"
    main = re.sub(r"^worker_rlimit_nofile .*;$", "", text(getattr(request, "param", "nginx-plain")), flags=re.MULTILINE)
    command = nginx(place, main, text("site-everybody").replace("/srv/", f"{place}/"), remembers)
    master = start(*command, "-g", "daemon off;")
    wait_until(lambda: (place / "run" / "nginx.pid").exists())
    yield found
    master.terminate()  # a master that is killed leaves its workers
    master.wait(PATIENCE)


def ask(connection: http.client.HTTPConnection, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection.request("POST" if body else "GET", "/", body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


class Client(threading.Thread):
    """Asks without a pause; writes down when each question began and ended, and what was answered."""

    def __init__(self, body: bytes | None, kept: bool):
        super().__init__()
        self.body, self.kept = body, kept
        self.over = threading.Event()
        self.answers: list[tuple[float, float, tuple[int, str]]] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", FREE_PORT, timeout=PATIENCE)
        while not self.over.is_set():
            began = time.monotonic()
            answer = ask(connection, self.body, **({} if self.kept else {"Connection": "close"}))
            self.answers.append((began, time.monotonic(), answer))


@NEEDS_NGINX
def test_no_request_is_lost_and_none_goes_back_when_the_file_comes_and_goes(slots_behind_nginx: Slots) -> None:
    kinds = [(None, True), (None, False), (b"x" * 100_000, True), (b"x", False)]
    clients = [Client(body, kept) for body, kept in kinds]
    switches = []
    for client in clients:
        client.start()
    for slot in "ba" * 10:
        before = time.monotonic()
        slots_behind_nginx.switch(slot)
        switches.append((before, since := time.monotonic(), slot))
        time.sleep(0.1)
        wait_until(lambda since=since: all(client.answers and client.answers[-1][0] > since for client in clients))
    for client in clients:
        client.over.set()
        client.join(PATIENCE)
    for client in clients:
        size = len(client.body or b"")
        assert len(client.answers) > len(switches)
        assert {answer for _, _, answer in client.answers} == {(200, f"a {size}"), (200, f"b {size}")}
        for (_, since, slot), (until, _, _) in itertools.pairwise(switches):
            within = [answer for began, ended, (_, answer) in client.answers if since < began < ended < until]
            assert {answer[0] for answer in within} <= {slot}


@NEEDS_NGINX
def test_a_request_whose_slot_ends_while_it_is_uploaded_is_answered_by_the_live_one(slots_behind_nginx: Slots) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", FREE_PORT, timeout=PATIENCE)) as connection:
        assert ask(connection) == (200, "a 0")  # leaves an idle connection to the slot
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", "200000")
        connection.endheaders(b"x" * 100_000)
        time.sleep(0.2)  # nginx has chosen
        slots_behind_nginx.switch("b")
        slots_behind_nginx.servers["a"].kill()
        slots_behind_nginx.servers["a"].wait(PATIENCE)
        connection.send(b"x" * 100_000)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"b 200000")


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_site_is_published_when_nginx_mentions_its_file(needs: Needs, name: str) -> None:
    published = needs(name)
    (file,) = published["files"]
    assert published["check_expects"] == [f"# configuration file {file['path']}:"]  # as nginx -T says it
    assert file["path"] == "/etc/nginx/conf.d/shop.conf"
    assert "server_name" in file["content"]
    address = PUBLISHED[name]["nginx_site"].get("address")
    assert published["ports"] == [f"{address}:80" if address else "80"]
    assert published["open"] == ([] if address else [80])  # in the firewall


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("listen 80;", True),
        ("    listen 80 default_server;", True),
        ("listen *:80;", True),
        ("listen 0.0.0.0:80;", True),
        ("listen [::]:80 ipv6only=on;", True),
        ("listen 8080;", False),
        ("listen 127.0.0.1:80;", False),  # an address of its own has a default of its own
        ("# listen 80;", False),
        ("listen unix:/run/80;", False),
    ],
)
def test_a_port_where_somebody_else_listens_is_not_closed_to_unknown_names(
    needs: Needs, line: str, refused: bool
) -> None:
    (conflict,) = needs("publication")["conflicts"]
    assert bool(re.search(conflict["regex"], f"server {{\n{line}\n}}\n", re.MULTILINE)) == refused
    (everywhere,) = needs("publication-everywhere")["conflicts"]
    assert bool(re.search(everywhere["regex"], f"server {{\n{line}\n}}\n", re.MULTILINE)) == refused
    assert {"/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*.conf"} <= set(conflict["files"])
    assert needs("publication-shared")["conflicts"][0]["files"] == []


@pytest.mark.parametrize(
    ("line", "refused"),
    [("listen 192.0.2.1:80;", True), ("listen 80;", False), ("listen 192x0.2.1:80;", False), ("listen 8080;", False)],
)
def test_an_address_where_somebody_else_listens_is_not_taken(needs: Needs, line: str, refused: bool) -> None:
    (conflict,) = needs("publication-address")["conflicts"]
    assert bool(re.search(conflict["regex"], f"server {{\n{line}\n}}\n", re.MULTILINE)) == refused


@pytest.mark.parametrize(
    ("warning", "refused"),
    [
        ('[warn] conflicting server name "*.shop.example" on 0.0.0.0:80, ignored', True),
        ('[warn] conflicting server name "*.shop.example" on [::]:80, ignored', True),
        ('[warn] conflicting server name "*.shop.example" on 0.0.0.0:8080, ignored', False),
        ('[warn] conflicting server name "theirs.example" on 0.0.0.0:80, ignored', False),
        ('[warn] conflicting server name "a.shop.example" on 0.0.0.0:80, ignored', False),
    ],
)
def test_a_name_of_the_site_that_another_server_has_is_refused_and_others_conflicts_are_their_own(
    needs: Needs, warning: str, refused: bool
) -> None:
    (forbidden,) = needs("publication")["check_forbids"]
    assert bool(re.search(forbidden, f"nginx: {warning}\n")) == refused


@pytest.mark.parametrize(
    ("warning", "refused"),
    [
        ('[warn] conflicting server name "_" on 192.0.2.1:80, ignored', True),
        ('[warn] conflicting server name "_" on 0.0.0.0:80, ignored', False),
    ],
)
def test_a_site_of_one_address_is_refused_for_that_address_alone(needs: Needs, warning: str, refused: bool) -> None:
    (forbidden,) = needs("publication-address")["check_forbids"]
    assert bool(re.search(forbidden, f"nginx: {warning}\n")) == refused


class Profile:
    """The profile, with the directories that it is about."""

    def __init__(self, text: str, place: Path):
        for name in ("tools/bin", "apps/one/bin", "apps/two/bin"):
            (place / name).mkdir(parents=True)
        (place / "apps" / "none").mkdir()
        self.file = place / "profile.sh"
        self.file.write_text(text.replace("PLACE", str(place)))
        self.added = [str(place / name) for name in ("tools/bin", "apps/one/bin", "apps/two/bin")]

    def run(self, shell: str, script: str, path: str = "/usr/bin:/bin") -> str:
        words = shlex.split(shell)
        program = shutil.which(words[0])
        if not program:
            pytest.skip(f"{words[0]} is not installed")
        command = [program, *words[1:], "-c", script.replace("PROFILE", f". {self.file}")]
        done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def profile(text: Text, tmp_path: Path) -> Profile:
    return Profile(text("path"), tmp_path)


SHELLS = pytest.mark.parametrize("shell", ["sh", "sh -eu", "dash -eu", "bash", "bash -eu", "bash --posix -eu"])


@SHELLS
@pytest.mark.parametrize("times", [1, 3])
def test_each_directory_is_once_and_last_on_the_path_however_often_the_profile_is_read(
    profile: Profile, shell: str, times: int
) -> None:
    out = profile.run(shell, f"{'PROFILE; ' * times} echo $PATH")
    assert out.strip().split(":") == ["/usr/bin", "/bin", *profile.added]


@SHELLS
def test_a_directory_that_is_on_the_path_already_stays_where_it_is(profile: Profile, shell: str) -> None:
    out = profile.run(shell, "PROFILE; echo $PATH", path=f"{profile.added[1]}:/usr/bin:/bin")
    assert out.strip().split(":") == [profile.added[1], "/usr/bin", "/bin", profile.added[0], profile.added[2]]


@SHELLS
def test_programs_inherit_the_path_and_nothing_else_of_the_profile(profile: Profile, shell: str) -> None:
    inherited = profile.run(shell, "PROFILE; sh -c 'echo $PATH'")
    assert inherited.strip().endswith(profile.added[-1])
    names = [re.findall(r"^([a-z]\w*)=", profile.run(shell, f"{read} set"), re.MULTILINE) for read in ("", "PROFILE;")]
    assert names[0] == names[1]


def unit(config: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(config)
    return parser


def ini(config: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(config)
    return parser


def test_systemd_starts_supervisord_with_the_configuration_and_the_directory_that_it_is_given(text: Text) -> None:
    service, config = unit(text("unit"))["Service"], ini(text("supervisord"))
    directory = "/etc/supervisord"
    assert service["ExecStart"].split()[:4] == [
        "/opt/baremetal/bin/python",
        "/opt/baremetal/libexec/guarded_supervisord.py",
        "%n",
        '""',
    ]
    assert service["ExecStart"].split()[-2:] == ["--configuration", f"{directory}/supervisord.conf"]
    assert config["include"]["files"] == f"{directory}/conf.d/*.conf"
    runtime = f"/run/{service['RuntimeDirectory']}"
    assert config["unix_http_server"]["file"] == f"{runtime}/supervisor.sock"
    assert os.path.dirname(config["supervisord"]["pidfile"]) == runtime
    assert int(config["supervisord"]["minfds"]) <= int(service["LimitNOFILE"])


def test_supervisorctl_speaks_to_the_socket_that_supervisord_listens_on(text: Text) -> None:
    url = ini(text("supervisorctl"))["supervisorctl"]["serverurl"]
    assert url == f"unix://{ini(text('supervisord'))['unix_http_server']['file']}"


def test_a_program_is_not_killed_by_systemd_before_supervisord_would(text: Text) -> None:
    spec = yaml.safe_load((ROOT / "roles/supervisor/meta/argument_specs.yml").read_text())["argument_specs"]
    stop_timeout = spec["program"]["options"]["supervisor_program"]["options"]["stopwaitsecs"]["default"]
    assert int(unit(text("unit"))["Service"]["TimeoutStopSec"]) > stop_timeout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["unit", "nginx-unit", "apache-unit"])
def test_a_unit_of_root_is_exposed_by_5_of_10_at_most(text: Text, tmp_path: Path, name: str) -> None:
    head = "" if name == "unit" else "[Service]\nExecStart=/bin/true\n"
    (tmp_path / "one.service").write_text(head + re.sub(r"(?<==)/opt/\S+", "/bin/true", text(name)))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=50", str(tmp_path / "one.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["unit", "nginx-unit", "apache-unit"])
def test_systemd_knows_every_setting_of_its_units(text: Text, tmp_path: Path, name: str) -> None:
    head = "" if name == "unit" else "[Unit]\nDescription=nginx\n[Service]\nExecStart=/bin/true\n"
    (tmp_path / "one.service").write_text(head + re.sub(r"(?<==)/opt/\S+", "/bin/true", text(name)))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "one.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line] == []


def test_the_client_finds_supervisord_by_its_configuration(text: Text, tmp_path: Path) -> None:
    (tmp_path / "supervisord.conf").write_text(text("supervisord"))
    client = Supervisor(str(tmp_path / "supervisord.conf"))
    config = ini(text("supervisord"))
    assert client.directory == os.path.dirname(config["include"]["files"])
    assert client.log_directory == config["supervisord"]["childlogdir"]
    assert client.socket == config["unix_http_server"]["file"]


@pytest.fixture
def servers(text: Text, tmp_path: Path) -> Callable[[str], dict[str, dict[str, Any]]]:
    """Let supervisord's own code read its configuration; return its servers by their section."""
    options = pytest.importorskip("supervisor.options")

    def _servers(name: str) -> dict[str, dict[str, Any]]:
        config = tmp_path / "supervisord.conf"
        moved = re.sub(
            r"(?<== )/(var|run|etc)/[^/\s]*(/[^/\s]*)?(?=/|$)", str(tmp_path), text(name), flags=re.MULTILINE
        )
        ours = re.sub(r"^chown = .*$", f"chown = {OWNER}:{GROUP}", moved, flags=re.MULTILINE)
        secret = Entry("/etc/supervisord/web-password", PASSWORD.encode(), 0o600, OWNER, GROUP)
        config.write_text(substitute(ours, {"web": secret}))
        server = options.ServerOptions()
        server.realize(["--configuration", str(config)])
        return {found["section"]: found for found in server.server_configs}

    return _servers


@pytest.mark.parametrize("name", ["supervisord", "supervisord-password"])
def test_the_web_interface_is_on_loopback_and_lets_in_who_has_the_password(
    servers: Callable[[str], dict[str, dict[str, Any]]], name: str
) -> None:
    http = pytest.importorskip("supervisor.http")
    web = servers(name)["inet_http_server"]
    assert web["host"] == "127.0.0.1"
    door = http.encrypted_dictionary_authorizer({web["username"]: web["password"]})
    assert door.authorize((web["username"], PASSWORD))
    for password in ("", "wrong", web["password"]):
        assert not door.authorize((web["username"], password))


@pytest.mark.parametrize("name", ["supervisord", "supervisord-password"])
def test_no_password_stands_in_the_configuration(text: Text, name: str) -> None:
    assert PASSWORD not in text(name)


def test_supervisord_without_a_web_interface_listens_on_its_socket_alone(
    servers: Callable[[str], dict[str, dict[str, Any]]], text: Text
) -> None:
    assert list(servers("supervisord-no-web")) == ["unix_http_server"]
    assert "password" not in text("supervisord-no-web")


def test_the_socket_of_supervisord_is_open_to_its_group_and_closed_to_others(text: Text) -> None:
    socket = ini(text("supervisord"))["unix_http_server"]
    assert int(socket["chmod"], 8) & 0o007 == 0
    assert socket["chown"].startswith("root:")


def test_each_user_of_an_app_is_one_account_without_a_login(text: Text) -> None:
    lines = [shlex.split(line) for line in text("sysusers").splitlines() if line and not line.startswith("#")]
    assert sorted(line[1] for line in lines) == ["web", "wsgi-build"]
    assert {line[0] for line in lines} == {"u"}
    assert {line[5] for line in lines} == {"/usr/sbin/nologin"}


def test_the_operators_have_a_group_and_no_account(text: Text) -> None:
    lines = [line.split() for line in text("group").splitlines() if line and not line.startswith("#")]
    group = role_options("supervisor")["supervisor_group"]["default"]
    assert lines == [["g", group, "-"]]
    assert f":{group}" in ini(text("supervisord"))["unix_http_server"]["chown"]


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["group", "sysusers"])
def test_systemd_makes_the_accounts(text: Text, tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "accounts.conf").write_text(text(name))
    command = ["systemd-sysusers", f"--root={tmp_path}", str(tmp_path / "accounts.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "etc" / "group").read_text()
    wanted = [line.split()[1] for line in text(name).splitlines() if line.startswith(("g ", "u "))]
    assert [account for account in wanted if f"\n{account}:" not in f"\n{made}"] == []


def configuration(text: str) -> dict[str, Any]:
    """Run gunicorn's configuration; return what it sets."""
    found: dict[str, Any] = {}
    with mock.patch.dict(os.environ, APP_SOCKET=APP_SOCKET):
        exec(compile(text, "gunicorn.conf.py", "exec"), found)
    own = {name for name, value in found.items() if name[0] == "_" or isinstance(value, ModuleType)} | {"place"}
    return {name: value for name, value in found.items() if name not in own}


@pytest.mark.parametrize("name", GUNICORNS)
def test_gunicorn_knows_every_setting_that_it_is_given(text: Text, name: str) -> None:
    config = pytest.importorskip("gunicorn.config")
    known = {setting.name for setting in config.KNOWN_SETTINGS}
    assert set(configuration(text(name))) - known == set()


@pytest.mark.parametrize("name", GUNICORNS)
def test_gunicorn_takes_every_value_that_it_is_given(text: Text, name: str) -> None:
    config = pytest.importorskip("gunicorn.config").Config()
    for setting, value in configuration(text(name)).items():
        config.set(setting, value)
        taken = config.settings[setting].get()
        assert (",".join(taken) if setting == "forwarded_allow_ips" else taken) == value


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_gunicorn_gets_the_worker_class_and_the_options_that_this_class_has(text: Text, worker_class: str) -> None:
    found = configuration(text(f"gunicorn-{worker_class}"))
    assert found["worker_class"] == worker_class
    assert ("threads" in found) == (worker_class == "gthread")  # with threads, a sync worker becomes a gthread one
    assert ("worker_connections" in found) == (worker_class not in ("sync", "tornado"))


def test_gunicorn_gets_what_the_description_says(text: Text) -> None:
    found = configuration(text("gunicorn-careful"))
    wanted = {"preload_app": True, "workers": 7, "timeout": 11, "graceful_timeout": 12, "keepalive": 99}
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", GUNICORNS)
def test_gunicorn_shares_no_file_with_another_release_for_two_run_at_once(text: Text, name: str) -> None:
    found = configuration(text(name))
    assert found["bind"] == [f"unix:{APP_SOCKET}"]
    assert not {"pidfile", "control_socket"} & set(found)
    assert found["control_socket_disable"] is True


@pytest.fixture
def apps_home() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def app_run(text: Text, apps_home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command app-run with one app, whose user is ours, or nobody when we are root."""
    release = apps_home / "shop" / "releases" / "1"
    (release / "app").mkdir(parents=True)
    (release / "app" / "say").write_text('echo "$(id -un) $(pwd -P) $WORDS $# ${SECRET-none}"; exit 7')
    (release / "environment").write_text("export WORDS='a  b'\nexport PATH=/usr/bin:/bin\n")
    (apps_home / "shop" / "current").symlink_to(release)
    (apps_home / "shop" / "data").mkdir()
    (apps_home / "bare" / "data").mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(apps_home / "shop" / "data", "nobody")
    script = apps_home / "app-run"
    script.write_text(text("app-run").replace("/srv/wsgi", str(apps_home)))

    def _run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(script), *words]
        return subprocess.run(
            command, env={**os.environ, "SECRET": "ours"}, capture_output=True, text=True, check=False
        )

    return _run


def test_a_command_runs_as_the_apps_user_with_the_releases_environment(
    app_run: Callable[..., subprocess.CompletedProcess[str]], apps_home: Path
) -> None:
    done = app_run("shop", "sh", "say", "one", "two words")
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"
    assert (done.stdout, done.stderr) == (f"{user} {apps_home}/shop/releases/1/app a  b 2 none\n", "")
    assert done.returncode == 7


@pytest.mark.skipif(os.geteuid() != 0 or bool(mount_problem()), reason="may not mount")
def test_a_command_that_root_starts_sees_the_tmp_of_the_app(text: Text) -> None:
    shm, mark = own_shm(), f"app-run-{os.getpid()}"
    assert os.path.dirname(Home("shop", "/srv/wsgi").shm) == SHM
    with tempfile.TemporaryDirectory(dir="/var/lib") as directory:
        os.chmod(directory, 0o755)
        home = Path(directory, "shop")
        for place in ("current", "current/app", "data"):
            (home / "releases" / "1" if place == "current" else home / place).mkdir(parents=True, exist_ok=True)
            if place == "current":
                (home / "current").symlink_to("releases/1")
        shutil.chown(home / "data", "nobody")
        (home / "current" / "environment").write_text("export PATH=/usr/bin:/bin\n")
        config = Path(directory, "supervisord.conf")
        config.write_text(f"[baremetal]\nlauncher = {LAUNCHER}\n")
        script = text("app-run").replace("/etc/supervisord/supervisord.conf", str(config))
        script = script.replace(SHM, shm).replace("/srv/wsgi", directory)

        def run(command: str, private: bool) -> str:
            said = json.dumps({"description": {"private_tmp": private}}, indent=1)
            (home / "current" / "release.json").write_text(said)
            words = ["sh", "-c", script, "app-run", "shop", "sh", "-c", command]
            return subprocess.run(words, capture_output=True, text=True, check=False).stdout

        assert run(f"touch /tmp/{mark} /dev/shm/{mark}; id -un", private=True) == "nobody\n"
        assert os.listdir(home / "private" / "tmp") == os.listdir(f"{shm}/shop") == [mark]
        assert run(f"test ! -e /tmp/{mark} && id -un", private=False) == "nobody\n"


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="systemd is not installed")
def test_the_tmp_of_an_app_is_emptied_at_boot_and_old_files_go_and_nothing_else_does(
    text: Text, tmp_path: Path
) -> None:
    own = tmp_path / "srv/wsgi/shop"
    kept = [own / "data/file", own / "private/var-tmp/new"]
    for path in (*kept, own / "private/tmp/file", own / "private/tmp/.hidden/file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    config = tmp_path / "apps.conf"
    # Nobody can set back when a file was changed.
    config.write_text(text("apps-tmp").replace("10d", "1ms").replace("root root", "- -"))
    time.sleep(0.05)
    for words, left in ((["--clean"], [own / "private/tmp"]), (["--remove"], [own / "private/tmp"])):
        done = subprocess.run(
            ["systemd-tmpfiles", *words, f"--root={tmp_path}", str(config)], check=True, capture_output=True, text=True
        )
        assert done.stderr == ""
        assert all(path.exists() for path in (*kept, *left))
        assert os.listdir(own / "private/tmp") == []
    subprocess.run(["systemd-tmpfiles", "--remove", "--boot", f"--root={tmp_path}", str(config)], check=True)
    assert not (own / "private/tmp").exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "Usage: app-run APP COMMAND"),
        ([], 2, "Usage: app-run APP COMMAND"),
        (["shop"], 2, "Usage: app-run APP COMMAND"),
        (["../shop", "id"], 2, "'../shop' is not the name of an app"),
        (["other", "id"], 1, "There is no app 'other'"),
        (["bare", "id"], 1, "has no live release"),
    ],
)
def test_app_run_says_what_it_cannot_do(
    app_run: Callable[..., subprocess.CompletedProcess[str]], words: list[str], code: int, said: str
) -> None:
    done = app_run(*words)
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def slow_body(address: str) -> http.client.HTTPConnection:
    """Begin a request from an address whose body does not come."""
    connection = http.client.HTTPConnection("127.0.0.1", FREE_PORT, timeout=PATIENCE, source_address=(address, 0))
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", "100000")
    connection.endheaders(b"x")
    return connection


@NEEDS_NGINX
@pytest.mark.parametrize("slots_behind_nginx", ["nginx-limited"], indirect=True)
def test_one_address_cannot_take_all_connections_with_slow_bodies(slots_behind_nginx: Slots) -> None:
    with contextlib.ExitStack() as stack:
        slow = {
            address: [stack.enter_context(contextlib.closing(slow_body(address))) for _ in range(40)]
            for address in ("127.0.0.1", "127.0.0.3")
        }
        waiting = {connection.sock: connection for connection in slow["127.0.0.1"]}
        limited = wait_until(lambda: len(answered := select.select([*waiting], [], [], 0.2)[0]) >= 20 and answered)
        assert {waiting.pop(sock).getresponse().status for sock in limited} == {429}
        assert len(limited) == 20
        assert not select.select([*waiting], [], [], 0.2)[0]
        # An address that is not limited, another client, and the limited one when its requests are over.
        assert not select.select([connection.sock for connection in slow["127.0.0.3"]], [], [], 0.2)[0]
        other = http.client.HTTPConnection("127.0.0.1", FREE_PORT, timeout=PATIENCE, source_address=("127.0.0.2", 0))
        assert ask(stack.enter_context(contextlib.closing(other))) == (200, "a 0")
        for connection in slow["127.0.0.1"]:
            connection.close()
        again = http.client.HTTPConnection("127.0.0.1", FREE_PORT, timeout=PATIENCE)
        stack.enter_context(contextlib.closing(again))
        wait_until(lambda: ask(again) == (200, "a 0"))
